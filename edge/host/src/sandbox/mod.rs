//! A small sandbox: a command in namespaces of its own, with limits, on a read-only view of the
//! host.
//!
//! Three processes take part. The *caller* asks ([`Sandbox`]). The *monitor* is the caller's own
//! program started again in another role ([`launched`]); it makes the namespaces and control
//! groups, and cleans up after the sandbox whatever happens to the caller. The *first process* is
//! process 1 inside: it builds the file system, gives up every right outside, waits to be released,
//! then runs the command, passes signals on and reaps.
//!
//! ```text
//! caller            monitor                     first process
//!   | Create(spec)    |                             |
//!   |---------------->| cgroups                     |
//!   |                 | user+net+ipc+uts namespaces |
//!   |                 | pid namespace, fork ------->| waits
//!   |                 | pid into cgroups            |
//!   |                 | Build --------------------->| net+ipc+uts, mounts, pivot_root,
//!   |                 |                             | user namespace, capabilities, no-new-privs
//!   | Created{pid}    |<---------------------- Ready| waits
//!   |<----------------|                             |
//!   | (attaches the network through /proc/PID/ns/net)
//!   | Release         | Run ----------------------->| fork, exec
//!   |<------- Started |<-------------------- Running| reaps
//!   |                 |<------- exits with the command's status
//!   |<--- Ended{status} after cgroups are removed
//! ```
//!
//! What is inside is not the host's root: its user ids are a range the host gives to nobody
//! ([`IdRange`]), its capabilities count in its own network, IPC and UTS namespaces only, and its
//! mounts belong to the host.

mod capabilities;
mod cgroup;
mod init;
mod join;
mod monitor;
mod namespaces;
mod root;
mod spec;
mod sys;
mod wire;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

pub use join::{Entry, join};
pub use monitor::launched;
pub use spec::{Bind, IdRange, IoLimits, Limits, Spec};

use wire::{Channel, News, Order};

/// First argument of a monitor.
const ROLE: &str = "__sandbox";

/// Why there is no sandbox, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SandboxError {
    /// No such program inside.
    #[error("no program `{command}` in the sandbox")]
    CommandNotFound {
        /// As it was asked for.
        command: String,
    },
    /// The program is there, but does not run.
    #[error("cannot run `{command}` in the sandbox: {why}")]
    CannotExecute {
        /// As it was asked for.
        command: String,
        /// The kernel's words.
        why: String,
    },
    /// A limit that cannot be kept here.
    #[error("the {limit} limit cannot be kept: {why}\n  hint: {hint}")]
    Limit {
        /// `cpu`, `memory`, `pids` or `io`.
        limit: String,
        /// What is in the way.
        why: String,
        /// What to do.
        hint: String,
    },
    /// The root file system does not serve as one.
    #[error("`{}` cannot be a sandbox's root: {why}", .path.display())]
    Rootfs {
        /// The path asked for.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A step failed.
    #[error("{doing}: {why}")]
    Step {
        /// The step.
        doing: String,
        /// The kernel's words.
        why: String,
    },
    /// The first process ended before its time.
    #[error("the sandbox ended with status {status} before its command ran")]
    Died {
        /// Its exit status.
        status: String,
    },
    /// The monitor is gone.
    #[error("the sandbox's monitor is gone")]
    Lost,
}

/// The standard streams of a command.
#[derive(Debug)]
pub struct Streams {
    /// Standard input.
    pub input: Stdio,
    /// Standard output.
    pub output: Stdio,
    /// Standard error.
    pub error: Stdio,
}

impl Streams {
    /// Those of the caller.
    pub fn inherit() -> Streams {
        Streams { input: Stdio::inherit(), output: Stdio::inherit(), error: Stdio::inherit() }
    }
}

/// A sandbox, from its caller's side. Dropped, it is ended and nothing of it is left.
#[derive(Debug)]
pub struct Sandbox {
    channel: Channel,
    /// It is the monitor's alone.
    detached: bool,
    monitor: Child,
    pid: u32,
    cgroups: Vec<PathBuf>,
}

impl Sandbox {
    /// Makes a sandbox, up to the point where everything but its command is there.
    ///
    /// `program` is started as the monitor: a program whose `main` begins with [`launched`], as
    /// `/proc/self/exe`. The monitor keeps `held` open for as long as it lives.
    pub fn create(
        program: &Path,
        spec: &Spec,
        streams: Streams,
        held: Option<OwnedFd>,
    ) -> Result<Sandbox, SandboxError> {
        let (near, far) = UnixStream::pair().setup("making a channel")?;
        let mut command = Command::new(program);
        command.arg0("selvage").arg(ROLE).arg(far.as_raw_fd().to_string());
        command.stdin(streams.input).stdout(streams.output).stderr(streams.error);
        let passed: Vec<OwnedFd> = std::iter::once(far.into()).chain(held).collect();
        // SAFETY: between fork and exec only fcntl(2) runs, a plain system call; the closure owns
        // the descriptors it names.
        unsafe {
            command.pre_exec(move || {
                for fd in &passed {
                    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
                }
                Ok(())
            });
        }
        let monitor =
            command.spawn().setup(|| format!("starting `{}` as monitor", program.display()))?;
        // With it goes our copy of the far end, so that the monitor's death is seen.
        drop(command);
        let channel = Channel::new(near);
        let mut sandbox =
            Sandbox { channel, detached: false, monitor, pid: 0, cgroups: Vec::new() };
        sandbox.order(&Order::Create(Box::new(spec.clone())));
        match sandbox.news()? {
            News::Created { pid, cgroups } => {
                (sandbox.pid, sandbox.cgroups) = (pid, cgroups);
                Ok(sandbox)
            }
            other => Err(unexpected(other)),
        }
    }

    /// The first process, as the host numbers it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The monitor's process id.
    pub fn monitor(&self) -> u32 {
        self.monitor.id()
    }

    /// Where its network namespace can be opened.
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    /// The folders of its control groups.
    pub fn cgroups(&self) -> &[PathBuf] {
        &self.cgroups
    }

    /// Runs the command. Returns when it executes.
    pub fn release(&mut self) -> Result<(), SandboxError> {
        self.order(&Order::Release);
        match self.news()? {
            News::Started => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Passes a signal on to the command.
    pub fn signal(&mut self, signal: Signal) {
        self.order(&Order::Signal(signal as i32));
    }

    /// Waits for the end of the command and of everything else inside, and gives the command's exit
    /// status (128 and the signal's number where a signal ended it). Nothing of it is left then.
    pub fn wait(mut self) -> Result<i32, SandboxError> {
        match self.news()? {
            News::Ended { status } => Ok(status),
            other => Err(unexpected(other)),
        }
    }

    /// Leaves it to its monitor, which outlives this process, and cleans up when the command ends.
    pub fn detach(mut self) -> Result<(), SandboxError> {
        self.order(&Order::Detach);
        match self.news()? {
            News::Detached => {
                self.detached = true;
                Ok(())
            }
            other => Err(unexpected(other)),
        }
    }

    fn order(&mut self, order: &Order) {
        // A monitor that failed said so before it went; that is what is read next.
        let _ = self.channel.send(order);
    }

    fn news(&mut self) -> Result<News, SandboxError> {
        self.channel.receive().ok().flatten().ok_or(SandboxError::Lost)
    }
}

/// Readable when the command has ended.
impl AsFd for Sandbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.detached {
            // The end of the channel ends the sandbox; its monitor exits when nothing is left.
            self.channel.close();
            let _ = self.monitor.wait();
        }
    }
}

fn unexpected(news: News) -> SandboxError {
    match news {
        News::Failed(error) => error,
        News::Ended { status } => SandboxError::Died { status: status.to_string() },
        _ => SandboxError::Lost,
    }
}

/// Names the step that failed.
trait Setup<T> {
    fn setup(self, doing: impl Words) -> Result<T, SandboxError>;
}

impl<T, E: Into<io::Error>> Setup<T> for Result<T, E> {
    fn setup(self, doing: impl Words) -> Result<T, SandboxError> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            SandboxError::Step { doing: doing.words(), why: error.to_string() }
        })
    }
}

/// The words for a step: fixed, or put together only when needed.
trait Words {
    fn words(self) -> String;
}

impl Words for &str {
    fn words(self) -> String {
        self.to_owned()
    }
}

impl<F: FnOnce() -> String> Words for F {
    fn words(self) -> String {
        self()
    }
}
