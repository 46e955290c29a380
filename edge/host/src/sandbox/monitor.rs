//! The monitor: a process of one thread that makes a sandbox, watches it, and cleans up after it.
//!
//! Namespaces are made by forking, and a fork of a process with threads may only make simple system
//! calls (signal-safety(7)). So a caller starts its own program again in this role. Since the
//! monitor outlives a caller that is killed, nothing of a sandbox outlives its caller either.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_name;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};

use super::cgroup::{Cgroup, Hierarchies};
use super::namespaces::Namespaces;
use super::wire::{Channel, News, Order, Progress, Step};
use super::{ROLE, SandboxError, Setup, Spec, init, sys};

/// Takes over when this process was started as a monitor; gives `None` when it was not. A program
/// that makes sandboxes calls this first of all in `main`, before it has threads.
///
/// `clean` is called with the [`Spec::note`] when the sandbox is gone, whoever ended it, and before
/// the caller is told.
pub fn launched(clean: impl FnOnce(&str)) -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != ROLE {
        return None;
    }
    let number: i32 = arguments.next()?.parse().ok()?;
    // SAFETY: the caller passed this descriptor on for this process to own (`Sandbox::create`).
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) });
    let mut caller = Channel::new(stream);
    let last = live(&mut caller, clean);
    // The caller may be gone; then nobody waits to hear it.
    let _ = caller.send(&last);
    Some(ExitCode::SUCCESS)
}

fn live(caller: &mut Channel, clean: impl FnOnce(&str)) -> News {
    let created = match caller.receive() {
        Ok(Some(Order::Create(spec))) => spec,
        _ => return News::Ended { status: 125 },
    };
    let news = match Charge::create(&created) {
        Err(error) => News::Failed(error),
        Ok(mut charge) => {
            let news = charge.watch(caller).unwrap_or_else(News::Failed);
            match charge.end() {
                Ok(status) => match news {
                    News::Ended { .. } => News::Ended { status },
                    other => other,
                },
                Err(error) => News::Failed(error),
            }
        }
    };
    clean(&created.note);
    news
}

/// The sandbox in a monitor's care.
struct Charge {
    init: Pid,
    /// Readable when the first process has ended.
    ended: OwnedFd,
    channel: Channel,
    cgroup: Cgroup,
    /// Set once it was reaped: its number may by now be another's.
    status: Option<i32>,
}

impl Charge {
    fn create(spec: &Spec) -> Result<Charge, SandboxError> {
        let _ = set_name(c"selvage-sandbox");
        // Out of the terminal's foreground: Ctrl-C is for the caller, who passes it on.
        let _ = setsid();
        SigSet::all().thread_block().setup("blocking signals")?;
        let root = spec.rootfs.as_deref().unwrap_or(Path::new("/"));
        let hierarchies = Hierarchies::of_this_machine()?;
        let cgroup = Cgroup::create(&hierarchies, &spec.name, &spec.limits, root)?;
        let namespaces = Namespaces::create(spec.ids).setup("making namespaces")?;
        // The next child is process 1 of a new process-id namespace.
        unshare(CloneFlags::CLONE_NEWPID).setup("making a process-id namespace")?;
        let (near, far) = UnixStream::pair().setup("making a channel")?;
        // SAFETY: this process has one thread, so the child finds every lock free.
        let init = match unsafe { fork() }.setup("starting the first process")? {
            ForkResult::Child => {
                drop(near);
                // The parent removes the groups, not this copy.
                std::mem::forget(cgroup);
                init::live(spec, namespaces, Channel::new(far))
            }
            ForkResult::Parent { child } => child,
        };
        drop(far);
        // What the command writes to must end with the command, not with its monitor.
        let quiet = quiet_stdio();
        let channel = Channel::new(near);
        let ended = sys::open_pid(init).setup("watching the first process");
        let mut charge = match ended {
            Ok(ended) => Charge { init, ended, channel, cgroup, status: None },
            Err(error) => {
                let _ = kill(init, Signal::SIGKILL);
                let _ = waitpid(init, None);
                return Err(error);
            }
        };
        match quiet.setup("closing the standard streams").and_then(|()| charge.build()) {
            Ok(()) => Ok(charge),
            Err(error) => {
                charge.end()?;
                Err(error)
            }
        }
    }

    fn build(&mut self) -> Result<(), SandboxError> {
        self.cgroup.add(self.init.as_raw() as u32)?;
        self.channel.send(&Step::Build).setup("building the sandbox")?;
        match self.channel.receive().setup("building the sandbox")? {
            Some(Progress::Ready) => Ok(()),
            Some(Progress::Failed(error)) => Err(error),
            _ => Err(self.died()),
        }
    }

    /// Serves the caller until the command ends or the caller is gone.
    fn watch(&mut self, caller: &mut Channel) -> Result<News, SandboxError> {
        let pid = self.init.as_raw() as u32;
        let cgroups = self.cgroup.folders().to_vec();
        if caller.send(&News::Created { pid, cgroups }).is_err() {
            return Ok(News::Ended { status: 125 });
        }
        let mut attached = true;
        loop {
            let (order, ended) = self.next(attached.then_some(&*caller))?;
            if ended {
                return Ok(News::Ended { status: 0 });
            }
            if !order {
                continue;
            }
            let news = match caller.receive() {
                Ok(Some(Order::Release)) => {
                    self.release()?;
                    News::Started
                }
                Ok(Some(Order::Signal(signal))) => {
                    if let Ok(signal) = Signal::try_from(signal) {
                        let _ = kill(self.init, signal);
                    }
                    continue;
                }
                Ok(Some(Order::Detach)) => {
                    attached = false;
                    News::Detached
                }
                _ => return Ok(News::Ended { status: 125 }),
            };
            // A caller that is gone is seen by the next read.
            let _ = caller.send(&news);
        }
    }

    fn release(&mut self) -> Result<(), SandboxError> {
        self.channel.send(&Step::Run).setup("starting the command")?;
        match self.channel.receive().setup("starting the command")? {
            Some(Progress::Running) => Ok(()),
            Some(Progress::Failed(error)) => Err(error),
            _ => Err(self.died()),
        }
    }

    /// Waits for an order or for the end, and says which there is.
    fn next(&self, caller: Option<&Channel>) -> Result<(bool, bool), SandboxError> {
        if caller.is_some_and(Channel::has_buffered) {
            return Ok((true, false));
        }
        let mut fds = vec![PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        fds.extend(caller.map(|channel| PollFd::new(channel.as_fd(), PollFlags::POLLIN)));
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).setup("watching the sandbox"),
            }
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let ended = ready.next().unwrap_or(false);
        Ok((ready.next().unwrap_or(false), ended))
    }

    /// Ends whatever runs, reaps it and removes the groups. Gives the first process's exit status.
    fn end(&mut self) -> Result<i32, SandboxError> {
        let status = self.reap().setup("ending the sandbox")?;
        self.cgroup.remove()?;
        Ok(status)
    }

    /// Killing process 1 kills all others of its namespace, and it is not reaped before they are
    /// (pid_namespaces(7)). One that has exited already keeps its status.
    fn reap(&mut self) -> io::Result<i32> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        match kill(self.init, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        loop {
            match waitpid(self.init, None) {
                Ok(WaitStatus::Exited(_, status)) => return Ok(*self.status.insert(status)),
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    return Ok(*self.status.insert(init::status_of(signal)));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn died(&mut self) -> SandboxError {
        let status = self.reap().map_or_else(|error| error.to_string(), |s| s.to_string());
        SandboxError::Died { status }
    }
}

/// Points the standard streams at /dev/null.
fn quiet_stdio() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for target in 0..=2 {
        let from = std::os::fd::AsRawFd::as_raw_fd(&null);
        // SAFETY: the standard streams belong to this process, and replacing what they lead to is
        // the point.
        Errno::result(unsafe { libc::dup2(from, target) })?;
    }
    Ok(())
}
