//! Another command in a sandbox that runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, chdir, fork, setgroups, setresgid, setresuid};

use super::{IdRange, Limits, SandboxError, Setup, Spec, capabilities, cgroup, init, sys};

/// A command to be run in a sandbox.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The sandbox's first process ([`super::Sandbox::pid`]).
    pub pid: u32,
    /// Its control groups ([`super::Sandbox::cgroups`]).
    pub cgroups: Vec<PathBuf>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts, inside.
    pub folder: PathBuf,
}

/// Runs a command beside those of a sandbox, with the standard streams of the caller, and gives its
/// exit status. It has what they have: namespaces, limits, rights.
///
/// Only for a process of one thread, which this spends: the kernel lets no other enter a user
/// namespace (setns(2)), and afterwards the process is partly inside.
pub fn join(entry: Entry) -> Result<i32, SandboxError> {
    let gone = |_| SandboxError::Step {
        doing: "entering the sandbox".to_owned(),
        why: "it has ended".to_owned(),
    };
    let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", entry.pid));
    let user = open("user").map_err(gone)?;
    let resources = ["cgroup", "ipc", "uts", "net", "pid", "mnt"];
    let resources =
        resources.into_iter().map(open).collect::<io::Result<Vec<_>>>().map_err(gone)?;
    for folder in &entry.cgroups {
        cgroup::add(folder, std::process::id())?;
    }
    for namespace in &resources {
        setns(namespace, CloneFlags::empty()).setup("entering the sandbox")?;
    }
    let spec = Spec {
        name: String::new(),
        command: entry.command,
        env: entry.env,
        folder: entry.folder,
        hostname: String::new(),
        rootfs: None,
        binds: Vec::new(),
        ids: IdRange::for_name(""),
        limits: Limits::default(),
        note: String::new(),
    };
    let signals = SigSet::all();
    signals.thread_block().setup("blocking signals")?;
    // The child, not this process, is in the process-id namespace (setns(2)).
    // SAFETY: this process has one thread, so the child finds every lock free.
    match unsafe { fork() }.setup("starting a process")? {
        ForkResult::Child => {
            std::panic::set_hook(Box::new(|_| sys::exit_now(125)));
            let error = become_command(&spec, &user);
            eprintln!("selvage: {error}");
            sys::exit_now(match error {
                SandboxError::CommandNotFound { .. } => 127,
                SandboxError::CannotExecute { .. } => 126,
                _ => 125,
            })
        }
        ForkResult::Parent { child } => Ok(attend(child, &signals)),
    }
}

fn become_command(spec: &Spec, user: &File) -> SandboxError {
    let prepared = || -> Result<PathBuf, SandboxError> {
        setns(user, CloneFlags::CLONE_NEWUSER).setup("entering the user namespace")?;
        let doing = "becoming root of the sandbox";
        setgroups(&[Gid::from_raw(0)]).setup(doing)?;
        let (group, user) = (Gid::from_raw(0), Uid::from_raw(0));
        setresgid(group, group, group).setup(doing)?;
        setresuid(user, user, user).setup(doing)?;
        capabilities::reduce().setup("reducing capabilities")?;
        set_no_new_privs().setup("forbidding new privileges")?;
        sys::leave_keyring().setup("leaving the caller's keyring")?;
        set_pdeathsig(Signal::SIGKILL).setup("tying the command to its caller")?;
        chdir(&spec.folder).setup(|| format!("entering `{}`", spec.folder.display()))?;
        init::find(spec)
    };
    match prepared() {
        Err(error) => error,
        Ok(program) => {
            let why = init::execute(spec, &program).desc().to_owned();
            let command = spec.command.first().cloned().unwrap_or_default();
            SandboxError::CannotExecute { command, why }
        }
    }
}

/// Passes signals on until the child ends.
fn attend(child: Pid, signals: &SigSet) -> i32 {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, status)) => return status,
            Ok(WaitStatus::Signaled(_, signal, _)) => return init::status_of(signal),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 125,
        }
        match signals.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => drop(kill(child, signal)),
        }
    }
}
