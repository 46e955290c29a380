//! Starting and uninstalling: what is checked, what is taken over, what is put away.

use nix::sched::{CloneFlags, setns};
use selvage_agent::datapath::{Datapath, Port};
use selvage_agent::{Agent, Config, Restored};
use selvage_host::probe::{self, Feature};
use selvage_host::watch::Watcher;
use selvage_host::{NetNs, bpffs};
use selvage_rules::NodeId;
use tokio::sync::mpsc::unbounded_channel;

use super::exits::WaysOut;
use super::files::StateDir;
use super::hands::{Hands, now};
use super::links::{self, Links};
use super::owner::{Event, Owner};
use super::socket::Socket;
use super::{Args, Dataplane, drops, plane};
use crate::docker::Plugin;
use crate::exit::{Failure, Kind};

/// Runs the agent until SIGTERM or SIGINT. What it enforces stays in force.
pub fn serve(args: Args) -> Result<(), Failure> {
    start_log();
    let host = host_name(&args)?;
    enter(&args)?;
    let state = StateDir::open(&args.state_dir)?;
    let kept = state.endpoints()?;
    if let Some(other) = kept.as_ref().filter(|kept| kept.host != host) {
        let message = format!(
            "state directory `{}` belongs to host `{}`, not `{host}`",
            args.state_dir.display(),
            other.host
        );
        return Err(Failure::new(Kind::Input, message).hint("give each agent its own --state-dir"));
    }
    let policy = state.policy().unwrap_or_else(|why| {
        tracing::warn!("{why}; endpoints keep what is in force until the controller says more");
        None
    });
    // Subscribe first: a link that vanishes from here on is heard of.
    let watcher = Watcher::open().map_err(system)?;
    let mut links = Links::open(&host).map_err(system)?;
    let mut plane = plane::open(&args, &host)?;
    links.fill_checksums = plane.reads_bytes();
    let endpoints = kept.map(|kept| kept.endpoints).unwrap_or_default();
    let endpoints = adopt(endpoints, &mut links, plane.as_mut())?;
    let source = plane.drops().map_err(refused)?;
    let config = Config {
        host,
        tunnel: args.tunnel_address.ok_or_else(|| required("--tunnel-address"))?,
        controllers: args.controller.clone().into_iter().collect(),
        dataplane: plane.name().to_owned(),
        encapsulations: plane.encapsulations(),
        room: plane.room(),
        node: args.node_id.map(NodeId),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    };
    let agent = Agent::new(config, Restored { endpoints, policy }, now());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Failed, format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let socket = Socket::bind(&args.run_dir)?;
        let plugin = args.docker_socket.as_ref();
        let plugin = plugin.map(|path| Plugin::open(path, &args.state_dir)).transpose()?;
        let (events, queue) = unbounded_channel();
        let ways = WaysOut::open(links.group()).map_err(system)?;
        let hands = Hands { plane, links, ways, state, desired: None, events: events.clone() };
        let (jobs, thread) = hands.start().map_err(failed("start a thread"))?;
        let told = events.clone();
        spawn("drops", move || drops::read(source, &told))?;
        let told = events.clone();
        spawn("links", move || links::watch(watcher, &told))?;
        tokio::spawn(stop_on_signal(events.clone())?);
        let asked = events.clone();
        let docker = async move {
            match plugin {
                Some(plugin) => plugin.serve(asked).await,
                None => std::future::pending().await,
            }
        };
        let owner = Owner::new(agent, jobs, events.clone());
        tracing::info!("the agent is up: {}", args.run_dir.join("agent.sock").display());
        tokio::select! {
            () = owner.run(queue) => {}
            () = socket.serve(events) => {}
            () = docker => {}
        }
        // The hands end once nobody can ask them; then the state directory is free again.
        tokio::task::spawn_blocking(move || drop(thread.join())).await.ok();
        Ok(())
    })
}

/// Removes everything that an agent of this name left on this host.
pub fn uninstall(args: &Args) -> Result<(), Failure> {
    let host = host_name(args)?;
    let state = StateDir::open(&args.state_dir)?;
    if args.netns.as_deref().is_some_and(|name| NetNs::named(name).is_err()) {
        // The links went with their namespace; what is pinned is left.
        plane::remove_pins(&host)?;
    } else {
        enter(args)?;
        plane::remove(args, &host)?;
        let mut links = Links::open(&host).map_err(system)?;
        for port in links.ours().map_err(system)? {
            links.remove(&port.name).map_err(system)?;
        }
        WaysOut::open(links.group()).and_then(|mut ways| ways.remove_all()).map_err(system)?;
    }
    let _ = std::fs::remove_file(args.run_dir.join("agent.sock"));
    if let Some(socket) = &args.docker_socket {
        let _ = std::fs::remove_file(socket);
    }
    state.clear().map_err(|why| Failure::new(Kind::Failed, why))
}

/// Matches what was kept with the links that exist. Links of this agent that no endpoint owns were
/// being made when it ended; they go, and so do ports the data plane holds for nobody.
fn adopt(
    kept: Vec<selvage_agent::record::EndpointRecord>,
    links: &mut Links,
    plane: &mut dyn Datapath,
) -> Result<Vec<(selvage_agent::record::EndpointRecord, Option<u32>)>, Failure> {
    let ours = links.ours().map_err(system)?;
    let owned = |name: &str| kept.iter().any(|record| record.host_ifname == name);
    for orphan in ours.iter().filter(|port| !owned(&port.name)) {
        tracing::info!("removing `{}`, which an attach that never ended has left", orphan.name);
        plane.detach_port(orphan).map_err(refused)?;
        links.remove(&orphan.name).map_err(system)?;
    }
    let installed = plane.installed().map_err(refused)?;
    for stale in installed.ports.iter().filter(|port| !ours.contains(port)) {
        plane.detach_port(stale).map_err(refused)?;
    }
    let mut adopted = Vec::new();
    for record in kept {
        let port = ours.iter().find(|port| port.name == record.host_ifname);
        if let Some(port) = port.filter(|port| !installed.ports.contains(port)) {
            hold(plane, port)?;
        }
        let ifindex = port.map(|port| port.ifindex);
        adopted.push((record, ifindex));
    }
    Ok(adopted)
}

/// The data plane lost its hold on a port, say because its pins were removed by hand.
fn hold(plane: &mut dyn Datapath, port: &Port) -> Result<(), Failure> {
    tracing::warn!("the data plane has no hold on `{}` any more; taking it again", port.name);
    plane.attach_port(port).map_err(refused)
}

/// Checks what this machine must have, and goes into the host's network namespace. The network
/// only: the file systems below `/sys` stay those of the machine. Before any thread, since a thread
/// inherits its maker's namespace.
fn enter(args: &Args) -> Result<(), Failure> {
    let is_ebpf = args.dataplane == Dataplane::Ebpf;
    let needed = if is_ebpf { Feature::AGENT } else { Feature::SWITCH };
    probe::require(needed).map_err(|error| unable(&error))?;
    if is_ebpf {
        bpffs::ensure(bpffs::PATH).map_err(system)?;
    }
    if let Some(name) = &args.netns {
        let namespace = NetNs::named(name).map_err(|error| {
            Failure::new(Kind::Input, error.to_string())
                .hint("`ip netns list` shows the named ones")
        })?;
        setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot enter `{name}`: {error}"))
        })?;
    }
    Ok(())
}

fn host_name(args: &Args) -> Result<String, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => nix::unistd::gethostname()
            .map_err(|error| Failure::new(Kind::Failed, format!("no host name: {error}")))?
            .to_string_lossy()
            .into_owned(),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) || name.starts_with('.') {
        return Err(Failure::new(Kind::Input, format!("`{name}` cannot name a host"))
            .hint("1 to 64 letters, digits, `_`, `.` or `-`; give one with --name"));
    }
    Ok(name)
}

fn stop_on_signal(
    events: tokio::sync::mpsc::UnboundedSender<Event>,
) -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).map_err(failed("catch signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("catch signals"))?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = events.send(Event::Stop);
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(drop).map_err(failed("start a thread"))
}

/// The log goes to standard error; `RUST_LOG` says how much of it (`info` by default).
fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
}

fn required(flag: &str) -> Failure {
    Failure::new(Kind::Input, format!("{flag} is needed"))
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(Kind::Failed, format!("cannot {what}: {error}"))
}

/// What this machine lacks, with the hint apart where there is one.
fn unable(error: &selvage_host::Error) -> Failure {
    let text = error.to_string();
    match text.split_once("\n  hint: ") {
        Some((message, hint)) if !hint.contains('\n') => {
            Failure::new(Kind::Unable, message).hint(hint)
        }
        _ => Failure::new(Kind::Unable, text),
    }
}

/// What the kernel refused.
pub fn system(error: selvage_host::Error) -> Failure {
    Failure::new(Kind::Failed, error.to_string())
}

/// What the data plane could not do, for the person who started the agent.
pub fn refused(error: selvage_agent::datapath::PlaneError) -> Failure {
    use selvage_agent::datapath::PlaneError;
    match error {
        PlaneError::Unsupported { feature, hint } => {
            Failure::new(Kind::Unable, format!("{feature} is missing")).hint(hint)
        }
        PlaneError::Incompatible { .. } => Failure::new(Kind::Failed, error.to_string())
            .hint("run `selvage agent --uninstall` with the same --name, then start again"),
        other => Failure::new(Kind::Failed, other.to_string()),
    }
}
