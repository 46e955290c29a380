//! The namespaces that belong to the sandbox's own user namespace.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe};

use super::spec::IdRange;
use super::sys;

/// A user namespace, and a network, an IPC and a UTS namespace that it owns.
///
/// Owned by it, because a capability counts in the user namespace that owns the thing
/// (user_namespaces(7)): root inside may bind port 80 and send an echo in this network, and has no
/// say in any other. Mounts and process ids stay with the host's user namespace on purpose, so that
/// root inside has no say in them at all.
#[derive(Debug)]
pub(super) struct Namespaces {
    user: File,
    network: File,
    ipc: File,
    uts: File,
}

impl Namespaces {
    /// Makes them with a process that lives just long enough to be looked at: only from outside can
    /// its id map be written with ids that are not its maker's own. Must be called while the process
    /// has one thread.
    pub fn create(ids: IdRange) -> io::Result<Namespaces> {
        let (made, tell_made) = pipe()?;
        let (release, tell_release) = pipe()?;
        // SAFETY: this process has one thread, so the child finds every lock free.
        let child = match unsafe { fork() }? {
            ForkResult::Child => hold(tell_made, release, tell_release),
            ForkResult::Parent { child } => child,
        };
        drop((tell_made, release));
        let found = wait_for_byte(made).and_then(|()| {
            std::fs::write(format!("/proc/{child}/uid_map"), ids.map())?;
            std::fs::write(format!("/proc/{child}/gid_map"), ids.map())?;
            let open = |kind: &str| File::open(format!("/proc/{child}/ns/{kind}"));
            Ok(Namespaces {
                user: open("user")?,
                network: open("net")?,
                ipc: open("ipc")?,
                uts: open("uts")?,
            })
        });
        drop(tell_release);
        waitpid(child, None)?;
        found
    }

    /// Enters all but the user namespace. The caller keeps the host's root rights.
    pub fn enter_resources(&self) -> io::Result<()> {
        setns(&self.network, CloneFlags::CLONE_NEWNET)?;
        setns(&self.ipc, CloneFlags::CLONE_NEWIPC)?;
        Ok(setns(&self.uts, CloneFlags::CLONE_NEWUTS)?)
    }

    /// Enters the user namespace: from here on there are no rights outside of it.
    pub fn enter_user(&self) -> io::Result<()> {
        Ok(setns(&self.user, CloneFlags::CLONE_NEWUSER)?)
    }
}

/// The life of the process that makes them. When it fails, its end of the pipe closes silent.
fn hold(made: OwnedFd, release: OwnedFd, tell_release: OwnedFd) -> ! {
    drop(tell_release);
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if let Err(errno) = unshare(flags) {
        let _ = File::from(made).write_all(&[errno as u8]);
        sys::exit_now(1);
    }
    let _ = File::from(made).write_all(&[0]);
    let _ = File::from(release).read(&mut [0]);
    sys::exit_now(0)
}

fn wait_for_byte(made: OwnedFd) -> io::Result<()> {
    let mut byte = [0];
    File::from(made).read_exact(&mut byte)?;
    match byte {
        [0] => Ok(()),
        [errno] => Err(io::Error::from_raw_os_error(errno.into())),
    }
}
