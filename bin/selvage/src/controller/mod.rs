//! The controller's shell: REST, OpFlex and the store around the controller core.
//!
//! ```text
//! rest/ (HTTPS) --\                      /-- store (redb)
//!                  >-- desk (one thread) <
//! peers (OpFlex) -/     owns the core     \-- views for readers
//! ```

mod clock;
mod desk;
mod files;
mod netns;
mod notes;
mod password;
mod peers;
mod rest;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvage_opflex::server::ServerConfig;
use selvage_store::{DirLock, FileStore, StoreError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use self::clock::Clock;
use self::desk::{Ask, Desk, OpenError};
use self::password::Gate;
use self::rest::{Api, Door};
use crate::exit::{Failure, Kind};

/// Arguments of this verb.
#[derive(clap::Args)]
pub struct Args {
    /// Where policy, certificate and password are kept
    #[arg(long, env = "SELVAGE_STATE_DIR", default_value = "/var/lib/selvage/controller")]
    state_dir: PathBuf,
    /// Where `controller.json` tells other programs how to reach this one; none is written without
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Address of the REST API, over TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Address for agents, by OpFlex; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8009")]
    opflex_listen: SocketAddr,
    /// Listen for agents inside this network namespace
    #[arg(long, value_name = "PATH")]
    opflex_netns: Option<PathBuf>,
    /// What agents have in their configuration for this controller; by default the address that
    /// they connect to
    #[arg(long, value_name = "HOST:PORT")]
    opflex_advertise: Vec<String>,
    /// Name of this controller
    #[arg(long, default_value = "controller-1")]
    name: String,
}

/// Runs it until it is told to stop.
pub fn run(args: Args) -> Result<(), Failure> {
    start_log();
    // First of all, so that a port in use leaves no files behind.
    let rest = listen(args.listen, None, "--listen")?;
    let opflex = listen(args.opflex_listen, args.opflex_netns.as_deref(), "--opflex-listen")?;
    files::make_dir(&args.state_dir)?;
    let _lock = DirLock::acquire(&args.state_dir).map_err(|error| store_failure(&error))?;
    let store = FileStore::open(&args.state_dir.join("policy.redb"));
    let store = store.map_err(|error| store_failure(&error))?;
    let identity = tls::load_or_make(&args.state_dir, args.listen.ip())?;
    let is_new = !args.state_dir.join(password::HASH_FILE).exists();
    let gate = Gate::load_or_make(&args.state_dir)?;
    let reach = files::Reach::new(&args.state_dir, &rest, &opflex, &identity.fingerprint)?;
    let clock = Clock::start();
    let mut config = ServerConfig::new(&args.name);
    config.advertise = args.opflex_advertise;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| anyhow::anyhow!("cannot start threads: {error}"))?;
    let result = runtime.block_on(async {
        let (desk, thread) =
            desk::open(Box::new(store), config, clock).map_err(|error| open_failure(&error))?;
        let api = Arc::new(Api::new(Door::new(gate, clock), desk.clone()));
        let acceptor = TlsAcceptor::from(identity.config);
        let listeners = (from_std(rest)?, from_std(opflex)?);
        tokio::spawn(rest::serve(listeners.0, acceptor, api));
        tokio::spawn(peers::serve(listeners.1, desk.clone()));
        let mut signals = Signals::new()?;
        let written = args.run_dir.as_deref().map(|dir| reach.write(dir)).transpose()?;
        reach.announce(is_new);
        let why = tokio::select! {
            why = signals.wait() => why,
            // Without its state this process is of no use; whoever supervises it starts another.
            () = desk.closed() => {
                return Err(Failure::new(Kind::Failed, "the thread that holds the state ended")
                    .hint("nothing that was acknowledged is lost; start it again"));
            }
        };
        tracing::info!(signal = why, "stopping");
        drop(written);
        stop(&desk, thread).await;
        Ok(())
    });
    // Connections that are still open end with the process; nothing of theirs is half-done.
    runtime.shutdown_background();
    result
}

/// The log goes to standard error; `RUST_LOG` says how much of it (`info` by default).
fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init();
}

/// Lets the desk finish what it is doing: a commit in progress is done or not, never in between.
async fn stop(desk: &Desk, thread: std::thread::JoinHandle<()>) {
    desk.tell(Ask::Stop).await;
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    if !matches!(joined, Ok(Ok(()))) {
        tracing::error!("the desk ended badly");
    }
}

fn listen(address: SocketAddr, netns: Option<&Path>, flag: &str) -> Result<TcpListener, Failure> {
    netns::listen(address, netns).map_err(|error| {
        let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let failure = Failure::new(Kind::Failed, format!("{error:#}"));
        match cause {
            Some(io::ErrorKind::AddrInUse) => {
                failure.hint(format!("another program has this port; choose another with `{flag}`"))
            }
            Some(io::ErrorKind::AddrNotAvailable) => {
                failure.hint(format!("this machine does not have that address; see `{flag}`"))
            }
            Some(io::ErrorKind::PermissionDenied) => {
                failure.hint("ports below 1024 and network namespaces need root")
            }
            _ => failure,
        }
    })
}

fn from_std(listener: TcpListener) -> Result<tokio::net::TcpListener, Failure> {
    tokio::net::TcpListener::from_std(listener)
        .map_err(|error| anyhow::anyhow!("cannot listen: {error}").into())
}

fn store_failure(error: &StoreError) -> Failure {
    let failure = Failure::new(Kind::Failed, error.to_string());
    match error {
        StoreError::InUse { .. } => {
            failure.hint("stop the other one, or give this one its own `--state-dir`")
        }
        StoreError::Open { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            failure.hint("run as root, or choose a directory you may write with `--state-dir`")
        }
        StoreError::Open { .. } => failure.hint("check the path and the disk"),
        StoreError::Damaged { .. } => failure.hint(
            "nothing was changed; restore the file from a backup, or move it away to start empty",
        ),
        StoreError::Format { .. } => failure.hint("use the newer version that wrote it"),
        StoreError::Write { .. } | StoreError::Order { .. } => failure.hint("check the disk"),
    }
}

fn open_failure(error: &OpenError) -> Failure {
    match error {
        OpenError::Store(error) => store_failure(error),
        OpenError::Restore(_) | OpenError::Number(_) => {
            Failure::new(Kind::Failed, error.to_string()).hint(
                "nothing was changed; use the version that wrote it, or move `policy.redb` away \
                 to start empty",
            )
        }
    }
}

/// The signals that end a daemon.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| anyhow::anyhow!("cannot listen for signals: {error}"))
        };
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
