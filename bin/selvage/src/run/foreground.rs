//! Waiting for a workload with the caller's signals passed on to it.

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use selvage_host::sandbox::Sandbox;

use super::refused;
use crate::exit::{Failure, Kind};

/// What is passed on. The first four ask a program to end.
const PASSED: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
];

/// How often a workload may be asked to end by signals before it is made to.
const ASKED: u32 = 3;

/// The signals of this process, as messages from now on.
pub struct Interrupts {
    signals: SignalFd,
}

/// How waiting ended.
pub enum Wait<T> {
    /// With what was waited for.
    Done(T),
    /// With a signal that asks to end.
    Interrupted,
}

impl Interrupts {
    /// Catches them. Call it while the process has one thread.
    pub fn catch() -> Result<Interrupts, Failure> {
        let mut set = SigSet::empty();
        PASSED.iter().for_each(|signal| set.add(*signal));
        set.thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            })
            .map(|signals| Interrupts { signals })
            .map_err(|error| failed(error.into()))
    }

    /// Runs `f` in a thread and waits for it. Interrupted, it is left to itself: it is a request to
    /// a daemon, which this process does not outlive.
    pub fn unless_interrupted<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Wait<T> {
        let Ok(done) = EventFd::from_flags(EfdFlags::EFD_CLOEXEC) else { return Wait::Done(f()) };
        let done = std::sync::Arc::new(done);
        let (sender, receiver) = mpsc::channel();
        let tell = done.clone();
        thread::spawn(move || {
            let _ = sender.send(f());
            let _ = tell.write(1);
        });
        loop {
            let (_, finished) = self.either(&*done).unwrap_or((false, true));
            if finished {
                return receiver.recv().map_or(Wait::Interrupted, Wait::Done);
            }
            while let Some(signal) = self.next() {
                if asks_to_end(signal) {
                    return Wait::Interrupted;
                }
            }
        }
    }

    /// The next signal that has come.
    fn next(&self) -> Option<Signal> {
        let info = self.signals.read_signal().ok().flatten()?;
        Signal::try_from(info.ssi_signo as i32).ok()
    }

    /// Waits for a signal, or for `other` to be readable, and says which it was.
    fn either(&self, other: impl AsFd) -> std::io::Result<(bool, bool)> {
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(other.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let [signal, other] = fds.map(|fd| fd.any().unwrap_or(true));
        Ok((signal, other))
    }
}

/// Waits for the command's end and gives its exit status. Asked to end for the third time, it is
/// killed.
pub fn wait(mut sandbox: Sandbox, interrupts: &Interrupts) -> Result<i32, Failure> {
    let mut asked = 0;
    loop {
        let (_, ended) = interrupts.either(&sandbox).map_err(failed)?;
        if ended {
            return sandbox.wait().map_err(refused);
        }
        while let Some(signal) = interrupts.next() {
            asked += u32::from(asks_to_end(signal));
            if asked == ASKED {
                drop(sandbox);
                return Err(Failure::new(Kind::Interrupted, "interrupted, and the command killed"));
            }
            sandbox.signal(signal);
        }
    }
}

fn asks_to_end(signal: Signal) -> bool {
    PASSED.iter().take(4).any(|s| *s == signal)
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("waiting for signals: {error}"))
}
