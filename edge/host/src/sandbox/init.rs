//! The first process of a sandbox: builds it from inside, waits, runs the command, reaps.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    AccessFlags, ForkResult, Gid, Pid, Uid, access, chdir, execve, fork, pipe, setgroups,
    sethostname, setresgid, setresuid, setsid,
};

use super::namespaces::Namespaces;
use super::wire::{Channel, Progress, Step};
use super::{SandboxError, Setup, Spec, capabilities, root, sys};
use crate::Netlink;

/// The life of process 1. `monitor` is the other end of the monitor's channel.
pub(super) fn live(spec: &Spec, namespaces: Namespaces, mut monitor: Channel) -> ! {
    // Unwinding would run the monitor's clean-up in this process.
    std::panic::set_hook(Box::new(|_| sys::exit_now(125)));
    let status = match start(spec, namespaces, &mut monitor) {
        Ok(Some(command)) => attend(command),
        Ok(None) => 125,
        Err(error) => {
            let _ = monitor.send(&Progress::Failed(error));
            125
        }
    };
    sys::exit_now(status)
}

/// `None` when the monitor has gone or changed its mind.
fn start(
    spec: &Spec,
    namespaces: Namespaces,
    monitor: &mut Channel,
) -> Result<Option<Pid>, SandboxError> {
    if !matches!(monitor.receive().setup("waiting for the monitor")?, Some(Step::Build)) {
        return Ok(None);
    }
    build(spec, namespaces)?;
    let program = find(spec)?;
    sys::close_all_but(&*monitor).setup("closing what the sandbox must not have")?;
    SigSet::all().thread_block().setup("blocking signals")?;
    monitor.send(&Progress::Ready).setup("telling the monitor")?;
    if !matches!(monitor.receive().setup("waiting for the monitor")?, Some(Step::Run)) {
        return Ok(None);
    }
    let command = run(spec, &program)?;
    monitor.send(&Progress::Running).setup("telling the monitor")?;
    Ok(Some(command))
}

/// The order matters: everything that needs the host's root first, the user namespace next, and
/// last what the change of user would undo.
fn build(spec: &Spec, namespaces: Namespaces) -> Result<(), SandboxError> {
    // A session of its own takes the terminal's control away: a program could otherwise type into
    // the caller's shell (TIOCSTI, ioctl_tty(2)).
    setsid().setup("starting a session")?;
    umask(Mode::from_bits_truncate(0o022));
    unshare(CloneFlags::CLONE_NEWCGROUP).setup("making a cgroup namespace")?;
    namespaces.enter_resources().setup("entering the namespaces")?;
    sethostname(&spec.hostname).setup("setting the host name")?;
    settle_network().setup("setting up the network namespace")?;
    root::build(spec)?;
    namespaces.enter_user().setup("entering the user namespace")?;
    become_user(spec)?;
    // Cleared by every change of user (prctl(2)), so only now. A monitor that died before this is
    // seen by the end of its channel.
    set_pdeathsig(Signal::SIGKILL).setup("tying the sandbox to its monitor")
}

/// Loopback up; ports and echo for every user inside, as it is their own network; and no address or
/// route from anybody but the agent. Whoever enters the network later inherits these defaults.
fn settle_network() -> io::Result<()> {
    Netlink::open().and_then(|mut netlink| netlink.set_up("lo")).map_err(io::Error::other)?;
    for (key, value) in [
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/ping_group_range", "0 65535"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/router_solicitations", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
    ] {
        match std::fs::write(format!("/proc/sys/net/{key}"), value) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The range of groups must be mapped where the network namespace belongs, and older
            // kernels look at the writer instead; raw sockets remain.
            Err(_) if key == "ipv4/ping_group_range" => {}
            done => done?,
        }
    }
    Ok(())
}

fn become_user(spec: &Spec) -> Result<(), SandboxError> {
    let doing = "becoming root of the sandbox";
    setgroups(&[Gid::from_raw(0)]).setup(doing)?;
    let (group, user) = (Gid::from_raw(0), Uid::from_raw(0));
    setresgid(group, group, group).setup(doing)?;
    setresuid(user, user, user).setup(doing)?;
    capabilities::reduce().setup("reducing capabilities")?;
    set_no_new_privs().setup("forbidding new privileges")?;
    sys::leave_keyring().setup("leaving the caller's keyring")?;
    chdir(&spec.folder).setup(|| format!("entering `{}`", spec.folder.display()))
}

/// The program, as execvp(3) would look for it; here, so that a missing one is told before the
/// network is attached.
pub(super) fn find(spec: &Spec) -> Result<PathBuf, SandboxError> {
    let command = spec.command.first().cloned().unwrap_or_default();
    let candidates: Vec<PathBuf> = if command.contains('/') {
        vec![PathBuf::from(&command)]
    } else {
        let path = spec.env.get("PATH").map_or("/usr/bin:/bin", String::as_str);
        path.split(':').map(|folder| Path::new(folder).join(&command)).collect()
    };
    let mut refused = None;
    for candidate in candidates.into_iter().filter(|_| !command.is_empty()) {
        match access(&candidate, AccessFlags::X_OK) {
            Ok(()) if candidate.is_file() => return Ok(candidate),
            Ok(()) => refused = Some(Errno::EISDIR),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => refused = Some(errno),
        }
    }
    Err(match refused {
        None => SandboxError::CommandNotFound { command },
        Some(errno) => SandboxError::CannotExecute { command, why: errno.desc().to_owned() },
    })
}

/// Starts the command and gives its process id once it executes.
fn run(spec: &Spec, program: &Path) -> Result<Pid, SandboxError> {
    // Both ends close on exec, which is how success is told.
    let (told, tell) = pipe().setup("making a pipe")?;
    for end in [&told, &tell] {
        let flag = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
        nix::fcntl::fcntl(end, flag).setup("making a pipe")?;
    }
    // SAFETY: this process has one thread, so the child finds every lock free.
    match unsafe { fork() }.setup("starting a process")? {
        ForkResult::Child => {
            let errno = execute(spec, program);
            let _ = File::from(tell).write_all(&(errno as i32).to_ne_bytes());
            sys::exit_now(127)
        }
        ForkResult::Parent { child } => {
            drop(tell);
            let mut errno = [0; 4];
            match File::from(told).read_exact(&mut errno) {
                Ok(()) => {
                    let why = Errno::from_raw(i32::from_ne_bytes(errno)).desc().to_owned();
                    let command = spec.command.first().cloned().unwrap_or_default();
                    Err(SandboxError::CannotExecute { command, why })
                }
                Err(_) => Ok(child),
            }
        }
    }
}

/// Becomes the command; comes back only with an error.
pub(super) fn execute(spec: &Spec, program: &Path) -> Errno {
    let texts = |texts: &mut dyn Iterator<Item = String>| -> Option<Vec<CString>> {
        texts.map(|text| CString::new(text).ok()).collect()
    };
    let arguments = texts(&mut spec.command.iter().cloned());
    let environment = texts(&mut spec.env.iter().map(|(key, value)| format!("{key}={value}")));
    let program = CString::new(program.as_os_str().as_encoded_bytes()).ok();
    let (Some(arguments), Some(environment), Some(program)) = (arguments, environment, program)
    else {
        return Errno::EINVAL;
    };
    let _ = setsid();
    if sys::close_on_exec().is_err() {
        return Errno::EBADF;
    }
    sys::default_signals();
    if let Err(errno) = SigSet::all().thread_unblock() {
        return errno;
    }
    match execve(&program, &arguments, &environment) {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}

/// Passes signals on to the command and reaps whatever ends, until the command does. Then this
/// process exits, and the kernel ends everything that is left inside (pid_namespaces(7)).
fn attend(command: Pid) -> i32 {
    loop {
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(status) = reap(command) {
                    return status;
                }
            }
            // It may have ended in between; its SIGCHLD is on the way.
            Ok(signal) => drop(kill(command, signal)),
            // Interrupted, or a real-time signal, which has no name to pass on.
            Err(_) => {}
        }
    }
}

fn reap(command: Pid) -> Option<i32> {
    loop {
        let ended = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL));
        match ended {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => return Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Some(status_of(signal));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}

/// The exit status that stands for an end by a signal, as shells have it.
pub(super) fn status_of(signal: Signal) -> i32 {
    128 + signal as libc::c_int
}
