//! The control socket of the switch daemon, by which `ovs-appctl` speaks to it: what neither of the
//! two protocols can tell.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::jsonrpc::{Failure, Peer};

/// The switch daemon did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no daemon behind the socket.
    #[error("cannot connect to the switch daemon at `{}`: {cause}; hint: is ovs-vswitchd running?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// It ended, stayed silent, or talks nonsense.
    #[error("the switch daemon failed at `{command}`: {cause}")]
    Broken {
        /// What it was told.
        command: String,
        /// What is wrong.
        cause: String,
    },
    /// It refused.
    #[error("the switch daemon refused `{command}`: {cause}")]
    Refused {
        /// What it was told.
        command: String,
        /// Its words.
        cause: String,
    },
}

/// A connection to the control socket (`RUNDIR/ovs-vswitchd.PID.ctl`).
#[derive(Debug)]
pub struct Control {
    peer: Peer,
}

impl Control {
    /// Connects; no command may take longer than `timeout`.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Control, ControlError> {
        match Peer::connect(path, timeout) {
            Ok(peer) => Ok(Control { peer }),
            Err(failure) => {
                let path = path.to_owned();
                Err(ControlError::Connect { path, cause: words(failure) })
            }
        }
    }

    /// The control socket of the daemon whose run directory is `folder`: the newest one there, for
    /// one that was killed leaves its own behind.
    pub fn find(folder: &Path) -> Option<PathBuf> {
        let sockets = std::fs::read_dir(folder).ok()?.filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let name = name.to_str()?;
            let fits = name.starts_with("ovs-vswitchd.") && name.ends_with(".ctl");
            fits.then(|| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))?
        });
        sockets.max().map(|(_, path)| path)
    }

    /// Runs a command, such as `ofproto/trace`, and gives what it prints.
    pub fn run(&mut self, command: &str, arguments: &[&str]) -> Result<String, ControlError> {
        said(command, arguments, self.peer.call(command, &json!(arguments)))
    }

    /// The same, and does something else once the daemon was told, and again every `interval` until
    /// it has answered.
    pub fn run_while<E>(
        &mut self,
        command: &str,
        interval: Duration,
        mut meanwhile: impl FnMut() -> Result<(), E>,
    ) -> Result<Result<String, ControlError>, E> {
        let deadline = Instant::now() + self.peer.timeout();
        let begun = self.peer.begin(command, &json!([]));
        loop {
            meanwhile()?;
            let answer = begun.clone().and_then(|id| self.peer.finish(id, interval));
            if answer != Err(Failure::Timeout) || Instant::now() > deadline {
                return Ok(said(command, &[], answer));
            }
        }
    }
}

fn said(
    command: &str,
    arguments: &[&str],
    answer: Result<Value, Failure>,
) -> Result<String, ControlError> {
    let line = || format!("{command} {}", arguments.join(" ")).trim_end().to_owned();
    match answer {
        Ok(Value::String(text)) => Ok(text),
        Ok(other) => Ok(other.to_string()),
        Err(Failure::Refused(Value::String(cause))) => {
            Err(ControlError::Refused { command: line(), cause: cause.trim_end().to_owned() })
        }
        Err(failure) => Err(ControlError::Broken { command: line(), cause: words(failure) }),
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Connect(cause) | Failure::Closed(cause) => cause,
        Failure::Timeout => "no answer in time".to_owned(),
        Failure::Malformed(cause) => format!("malformed answer: {cause}"),
        Failure::Refused(value) => value.to_string(),
    }
}
