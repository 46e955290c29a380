//! What caller, monitor and first process say to each other: one JSON value a line.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{SandboxError, Spec};

/// From the caller to the monitor. The end of the stream means: end it, now.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Make it, up to the point where it waits.
    Create(Box<Spec>),
    /// Let it run its command.
    Release,
    /// Pass a signal on to its command.
    Signal(i32),
    /// Look after it alone; the caller goes.
    Detach,
}

/// From the monitor to the caller.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// It exists with its namespaces, and waits. The process id is the host's.
    Created { pid: u32, cgroups: Vec<PathBuf> },
    /// Its command runs.
    Started,
    /// From now on the monitor is alone.
    Detached,
    /// It could not be made or started, and nothing of it is left.
    Failed(SandboxError),
    /// Its command ended, and nothing of it is left.
    Ended { status: i32 },
}

/// From the monitor to the first process. The end of the stream means: exit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Step {
    /// Its cgroups hold it; build the rest.
    Build,
    /// Its network is attached; run the command.
    Run,
}

/// From the first process to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Progress {
    /// Everything is built; it waits.
    Ready,
    /// The command runs.
    Running,
    /// It did not work.
    Failed(SandboxError),
}

/// One end of a conversation.
#[derive(Debug)]
pub(super) struct Channel {
    stream: BufReader<UnixStream>,
}

impl Channel {
    pub fn new(stream: UnixStream) -> Channel {
        Channel { stream: BufReader::new(stream) }
    }

    pub fn send<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)
    }

    /// The next value; `None` when the other end is gone.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(serde_json::from_slice(&line)?)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says that nothing more will come, and hears nothing more.
    pub fn close(&self) {
        // It fails only where the other end has closed it already.
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }

    /// Whether a value may be waiting that poll(2) does not see any more.
    pub fn has_buffered(&self) -> bool {
        !self.stream.buffer().is_empty()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }
}
