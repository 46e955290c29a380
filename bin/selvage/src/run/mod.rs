//! A command in a sandbox, as an endpoint of a group.
//!
//! The order is the promise: the sandbox exists and waits, the agent attaches its network and says
//! when its policy is in force, and only then the command runs. Whatever fails on the way, or
//! whoever is killed, the sandbox's monitor removes what there is ([`clean`]).

mod clean;
mod exec;
mod foreground;
mod limits;
mod ps;
mod record;
mod stop;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use selvage_agent::local::{Attach, EndpointView, Nothing, Request, Response};
use selvage_host::probe::{self, Feature};
use selvage_host::sandbox::{Bind, IdRange, Sandbox, SandboxError, Spec, Streams};
use selvage_rules::{EndpointId, Mac};

use crate::client::{Agents, Format, output};
use crate::exit::{Failure, Kind};

use foreground::{Interrupts, Wait};
use record::{Claim, Workload};

pub use clean::monitored;
pub use exec::{Args as ExecArgs, run as exec};
pub use ps::{Args as PsArgs, run as ps};
pub use stop::{Args as StopArgs, run as stop};

/// Arguments of `selvage run`.
#[derive(clap::Args)]
#[command(after_help = "\
The command sees the host's files read-only, with its own /tmp, /var/tmp, /run, /root, /dev, /proc and
/sys; it is root in a user namespace whose ids the host gives to nobody, with few capabilities.

Exit status: the command's, once it runs (128 and the signal's number where a signal ended it);
before that:
  1  the agent or the machine refused         3  the agent cannot be reached
  2  bad arguments, no such group or program  4  no root, or a kernel feature is missing")]
pub struct Args {
    /// The group: TENANT/APP/EPG, or a DN
    #[arg(long, value_name = "TENANT/APP/EPG")]
    epg: String,
    /// Name of the workload [default: the group's, with a number]
    #[arg(long, value_parser = record::parse_name)]
    name: Option<String>,
    /// Address to have; may be given twice, for IPv4 and IPv6 [default: the agent chooses]
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// Ethernet address to have [default: the agent chooses]
    #[arg(long)]
    mac: Option<Mac>,
    #[command(flatten)]
    limits: limits::AskedLimits,
    /// Folder to be seen as /, read-only [default: the host's /]
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// File or folder of the host to be seen inside as well, read-only; may be given repeatedly
    #[arg(long, value_name = "HOST[:INSIDE]", value_parser = parse_bind)]
    bind: Vec<Bind>,
    /// Variable for the command; without a value, the caller's; may be given repeatedly
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Host name inside [default: the workload's name]
    #[arg(long)]
    hostname: Option<String>,
    /// Folder to start in, inside
    #[arg(long, value_name = "DIR", default_value = "/")]
    workdir: PathBuf,
    #[command(flatten)]
    agents: Agents,
    /// Leave it running in the background; its output goes to a file beside the agent's socket
    #[arg(long, short)]
    detach: bool,
    /// What says that it runs: on standard output with --detach, else on standard error
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command to its end, or detached to its start.
pub fn run(args: Args) -> Result<(), Failure> {
    check_group(&args.epg)?;
    probe::require(Feature::SANDBOX)
        .map_err(|error| Failure::new(Kind::Unable, error.to_string()))?;
    let socket = one_agent(&args.agents)?;
    // Asked before anything is made: an agent that is not there should cost nothing.
    Agents::ask_one(&socket, &Request::Status(Nothing {}))?;
    let claim = Claim::take(&record::folder(&socket), &name(&args)?)?;
    let interrupts = Interrupts::catch()?;
    let mut sandbox = create(&args, &socket, &claim)?;
    let view = attach(&args, &socket, &claim, &sandbox, &interrupts)?;
    let workload = Workload::new(&args.command, &sandbox, &view, &socket);
    claim.write(&workload)?;
    sandbox.release().map_err(refused)?;
    if args.detach {
        sandbox.detach().map_err(refused)?;
        return match args.output {
            Format::Text => output::line(claim.name()),
            Format::Json => output::json(&workload),
        };
    }
    match args.output {
        Format::Text => eprintln!("{}", workload.sentence()),
        Format::Json => eprintln!("{}", serde_json::to_string(&workload).unwrap_or_default()),
    }
    let status = foreground::wait(sandbox, &interrupts)?;
    // Everything is cleaned up by now; what is left is to pass the status on as it is.
    std::process::exit(status)
}

/// Makes the sandbox, with the claim to its name kept by its monitor.
fn create(args: &Args, socket: &Path, claim: &Claim) -> Result<Sandbox, Failure> {
    let streams = if args.detach { detached(claim)? } else { Streams::inherit() };
    let note = clean::Note::new(claim.name(), claim.path(), socket).text();
    let spec = Spec {
        name: claim.group_name(),
        command: args.command.clone(),
        env: environment(&args.env)?,
        folder: args.workdir.clone(),
        hostname: args.hostname.clone().unwrap_or_else(|| claim.name().to_owned()),
        rootfs: args.rootfs.clone(),
        binds: args.bind.clone(),
        ids: IdRange::for_name(claim.name()),
        limits: args.limits.limits(),
        note,
    };
    let monitor = Path::new("/proc/self/exe");
    Sandbox::create(monitor, &spec, streams, Some(claim.share()?)).map_err(refused)
}

/// Has the agent attach the sandbox's network. Interrupted, or refused, the sandbox goes with the
/// failure.
fn attach(
    args: &Args,
    socket: &Path,
    claim: &Claim,
    sandbox: &Sandbox,
    interrupts: &Interrupts,
) -> Result<EndpointView, Failure> {
    let request = Request::Attach(Attach {
        id: EndpointId(claim.name().into()),
        epg: args.epg.clone(),
        netns: sandbox.network(),
        ifname: "eth0".to_owned(),
        ip: args.ip.clone(),
        mac: args.mac,
        from: Vec::new(),
        handover: false,
        timeout_ms: None,
    });
    let socket = socket.to_owned();
    let answer = interrupts.unless_interrupted(move || Agents::ask_one(&socket, &request));
    match answer {
        Wait::Interrupted => Err(Failure::new(Kind::Interrupted, "interrupted while attaching")),
        Wait::Done(Ok(Response::Attached(view))) => Ok(*view),
        Wait::Done(Ok(_)) => {
            Err(Failure::new(Kind::Failed, "the agent answered something else than was asked"))
        }
        Wait::Done(Err(failure)) => Err(failure),
    }
}

/// The one agent that is meant.
fn one_agent(agents: &Agents) -> Result<PathBuf, Failure> {
    let mut sockets = agents.sockets()?;
    match (sockets.pop(), sockets.is_empty()) {
        (Some(socket), true) => Ok(socket),
        (last, _) => {
            sockets.extend(last);
            let names: Vec<String> = sockets.iter().map(|s| s.display().to_string()).collect();
            let message = format!("several agents run here: {}", names.join(", "));
            Err(Failure::new(Kind::Input, message).hint("name one with --agent"))
        }
    }
}

fn name(args: &Args) -> Result<String, Failure> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let group = args.epg.rsplit(['/', '-']).next().unwrap_or("workload").to_lowercase();
    let group: String = group.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let mut number = [0; 2];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut number))
        .map_err(|error| Failure::new(Kind::Failed, format!("choosing a name: {error}")))?;
    Ok(format!("{group}-{:04x}", u16::from_ne_bytes(number)))
}

/// A first look, so that a slip costs no sandbox; whether the group exists is the agent's to say.
fn check_group(epg: &str) -> Result<(), Failure> {
    let parts: Vec<&str> = epg.split('/').collect();
    if epg.starts_with("uni/") || parts.len() == 3 && parts.iter().all(|part| !part.is_empty()) {
        return Ok(());
    }
    Err(Failure::new(Kind::Input, format!("`{epg}` is not a group"))
        .hint("write TENANT/APP/EPG, or a DN like uni/tn-TENANT/ap-APP/epg-EPG"))
}

/// A clean environment: what a login has, and what was asked for. The caller's own may hold what is
/// none of the command's business.
fn environment(asked: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), path.to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
    ]);
    for name in ["TERM", "LANG"] {
        if let Ok(value) = std::env::var(name) {
            env.insert(name.to_owned(), value);
        }
    }
    for text in asked {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (text.as_str(), std::env::var(text).unwrap_or_default()),
        };
        if name.is_empty() {
            return Err(Failure::new(Kind::Input, format!("`{text}` names no variable"))
                .hint("write --env NAME=VALUE"));
        }
        env.insert(name.to_owned(), value);
    }
    Ok(env)
}

fn detached(claim: &Claim) -> Result<Streams, Failure> {
    let path = claim.log();
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Failed, format!("opening `{}`: {error}", path.display()))
    };
    let log = File::create(&path).map_err(failed)?;
    let copy = log.try_clone().map_err(failed)?;
    Ok(Streams { input: Stdio::null(), output: log.into(), error: copy.into() })
}

fn parse_bind(text: &str) -> Result<Bind, String> {
    let (host, inside) = text.split_once(':').unwrap_or((text, text));
    if !inside.starts_with('/') {
        return Err("the place inside must begin with `/`".to_owned());
    }
    Ok(Bind { host: PathBuf::from(host), inside: PathBuf::from(inside) })
}

/// Why there is no sandbox, with the exit code that says so.
fn refused(error: SandboxError) -> Failure {
    let kind = match &error {
        SandboxError::CommandNotFound { .. }
        | SandboxError::CannotExecute { .. }
        | SandboxError::Rootfs { .. } => Kind::Input,
        SandboxError::Limit { .. } => Kind::Unable,
        _ => Kind::Failed,
    };
    let failure = Failure::new(kind, error.to_string());
    match error {
        SandboxError::CommandNotFound { .. } => failure.hint(
            "the sandbox sees the host's files read-only, except /root and /tmp; --bind shows one",
        ),
        _ => failure,
    }
}
