//! The lab's daemons: started, watched, started again when they die, stopped.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, Uid};
use selvage_agent::local::{Nothing, Request, Response};

use super::failed;
use super::plan::{Enforces, Host, Plan};
use super::switch::{self, Part};
use crate::client::Agents;
use crate::exit::{Failure, Kind};

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(30);

/// How long a daemon may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// How often something that must become true is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// A daemon that dies is started again after this long.
const RESTART: Duration = Duration::from_secs(1);

/// OpFlex's registered port (IANA: 8009 is what the public servers listen on).
const OPFLEX_PORT: u16 = 8009;

/// Making namespaces and loading programs is for root.
pub fn require_root() -> Result<(), Failure> {
    if Uid::effective().is_root() {
        return Ok(());
    }
    Err(Failure::new(Kind::Unable, "a lab needs root: it makes namespaces and loads eBPF programs")
        .hint("run it with sudo"))
}

/// Whether this process is one of ours.
pub fn is_selvage(pid: u32) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    program.ends_with(b"selvage")
}

/// Stops the process that keeps a lab, if it is there, and waits until it has gone.
pub fn stop_lab(plan: &Plan) -> Result<(), Failure> {
    if plan.pid == 0 || !is_selvage(plan.pid) {
        return Ok(());
    }
    let pid = Pid::from_raw(plan.pid.cast_signed());
    let _ = signal::kill(pid, Signal::SIGTERM);
    let deadline = Instant::now() + 3 * STOP;
    while is_selvage(plan.pid) {
        if Instant::now() > deadline {
            let message = format!("process {} does not stop", plan.pid);
            return Err(Failure::new(Kind::Failed, message).hint("kill it, and run this again"));
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// Ends every workload of one host, whether its agent still runs or not.
pub fn stop_workloads(plan: &Plan, host: &Host) -> Result<(), Failure> {
    let folder = plan.host_dir(host).join("workloads");
    let names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| !name.starts_with('.'))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut command = selvage();
    let socket = plan.host_dir(host).join("agent.sock");
    command.arg("stop").arg("--agent").arg(socket).args(["--time", "1"]).args(names);
    run(command, &format!("stopping the workloads of {}", host.name))
}

/// Removes what an agent left in the kernel, running or not.
pub fn uninstall_agent(plan: &Plan, host: &Host) -> Result<(), Failure> {
    if host.dataplane == Enforces::Ovs {
        // What the agent made is in a switch that goes as a whole, and in the host's namespace.
        switch::stop(plan, host);
        return Ok(());
    }
    let mut command = agent_command(plan, host);
    command.arg("--uninstall");
    run(command, &format!("cleaning up host {}", host.name))
}

/// Makes the child start with no signal blocked: a mask is inherited through exec (signal(7)).
fn unblock(command: &mut Command) {
    // SAFETY: between fork and exec only sigprocmask(2) runs, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            signal::sigprocmask(signal::SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            Ok(())
        });
    }
}

/// Runs one of our own verbs to its end.
fn run(mut command: Command, what: &str) -> Result<(), Failure> {
    unblock(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().map_err(|error| failed(what, error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(what, String::from_utf8_lossy(&output.stderr).trim()))
}

/// Signals as messages.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals that would end this process.
    pub fn catch() -> Result<Signals, Failure> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
            set.add(signal);
        }
        let catch = || -> nix::Result<SignalFd> {
            set.thread_block()?;
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        };
        catch().map(Signals).map_err(|error| failed("catching signals", error))
    }

    /// Waits at most this long; true once somebody asked us to stop.
    fn stop_within(&self, patience: Duration) -> Result<bool, Failure> {
        let failed = |error: Errno| failed("waiting for signals", error);
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(failed(error)),
        }
        while let Some(message) = self.0.read_signal().map_err(failed)? {
            if message.ssi_signo.cast_signed() != Signal::SIGCHLD as i32 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The running daemons.
#[derive(Default)]
pub struct Daemons(Vec<Daemon>);

struct Daemon {
    name: String,
    child: Child,
    role: Role,
}

/// What a daemon is. A number is the place of its host in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Controller,
    Agent(usize),
    Part(usize, Part),
}

impl Daemons {
    /// Starts the controller and waits until it says where it listens.
    pub fn start_controller(&mut self, plan: &Plan, signals: &Signals) -> Result<(), Failure> {
        let beacon = plan.run_dir.join("controller.json");
        self.0.push(Daemon {
            name: "controller".to_owned(),
            child: spawn(controller_command(plan), plan, "controller")?,
            role: Role::Controller,
        });
        self.wait(plan, signals, || beacon.exists())
    }

    /// Starts the agent of one host and waits until it has a session with the controller.
    pub fn start_agent(
        &mut self,
        plan: &Plan,
        host: &Host,
        signals: &Signals,
    ) -> Result<(), Failure> {
        let socket = plan.host_dir(host).join("agent.sock");
        self.0.push(Daemon {
            name: host.name.clone(),
            child: spawn(agent_command(plan, host), plan, &host.name)?,
            role: Role::Agent(place_of(plan, host)),
        });
        self.wait(plan, signals, || is_connected(&socket))
    }

    /// Starts the switch of one host and waits until it answers.
    pub fn start_switch(
        &mut self,
        plan: &Plan,
        host: &Host,
        signals: &Signals,
    ) -> Result<(), Failure> {
        switch::prepare(plan, host)?;
        for part in [Part::Database, Part::Switch] {
            let name = part.name(host);
            let child = spawn(switch::command(plan, host, part)?, plan, &name)?;
            self.0.push(Daemon { name, child, role: Role::Part(place_of(plan, host), part) });
            self.wait(plan, signals, || switch::is_up(plan, host, part))?;
            if part == Part::Database {
                switch::initialise(plan, host)?;
            }
        }
        Ok(())
    }

    /// Waits until the daemon started last is ready.
    fn wait(
        &mut self,
        plan: &Plan,
        signals: &Signals,
        ready: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let Some(daemon) = self.0.last_mut() else { return Ok(()) };
        let deadline = Instant::now() + START;
        while !ready() {
            let ended = daemon.child.try_wait().map_err(|error| failed("waiting", error))?;
            if ended.is_some() || Instant::now() > deadline {
                let what = if ended.is_some() { "ended at once" } else { "does not get ready" };
                let log = last_lines(&plan.logs().join(format!("{}.log", daemon.name)));
                return Err(failed(&format!("{} {what}", daemon.name), log));
            }
            if signals.stop_within(GLANCE)? {
                return Err(Failure::new(Kind::Interrupted, "interrupted"));
            }
        }
        eprintln!("{} is ready", daemon.name);
        Ok(())
    }

    /// Starts again what dies, until somebody asks us to stop.
    pub fn watch(&mut self, plan: &Plan, signals: &Signals) -> Result<(), Failure> {
        while !signals.stop_within(RESTART)? {
            for daemon in &mut self.0 {
                let Ok(Some(status)) = daemon.child.try_wait() else { continue };
                eprintln!("{} ended ({status}); starting it again", daemon.name);
                daemon.child = spawn(daemon.role.command(plan)?, plan, &daemon.name)?;
            }
        }
        Ok(())
    }

    /// Stops every daemon, the last started first.
    pub fn stop(&mut self) {
        while let Some(mut daemon) = self.0.pop() {
            let pid = Pid::from_raw(daemon.child.id().cast_signed());
            let _ = signal::kill(pid, Signal::SIGTERM);
            let deadline = Instant::now() + STOP;
            while matches!(daemon.child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    // It had its chance to end by itself; the next step cleans up after it.
                    let _ = daemon.child.kill();
                    let _ = daemon.child.wait();
                    break;
                }
                std::thread::sleep(GLANCE);
            }
        }
    }
}

impl Role {
    fn command(self, plan: &Plan) -> Result<Command, Failure> {
        let host = |place: usize| {
            plan.hosts.get(place).ok_or_else(|| failed("starting a daemon again", "no such host"))
        };
        match self {
            Role::Controller => Ok(controller_command(plan)),
            Role::Agent(place) => Ok(agent_command(plan, host(place)?)),
            Role::Part(place, part) => switch::command(plan, host(place)?, part),
        }
    }
}

fn place_of(plan: &Plan, host: &Host) -> usize {
    plan.hosts.iter().position(|one| one.name == host.name).unwrap_or_default()
}

fn controller_command(plan: &Plan) -> Command {
    let mut command = selvage();
    command
        .args(["controller", "--listen", &plan.listen])
        .args(["--opflex-listen", &format!("{}:{OPFLEX_PORT}", plan.opflex)])
        .args(["--opflex-netns", &format!("{}/{}", selvage_host::netns::FOLDER, plan.spine)])
        .arg("--run-dir")
        .arg(&plan.run_dir)
        .arg("--state-dir")
        .arg(plan.state().join("controller"));
    command
}

fn agent_command(plan: &Plan, host: &Host) -> Command {
    let mut command = selvage();
    command
        .args(["agent", "--name", &host.name])
        .args(["--controller", &format!("{}:{OPFLEX_PORT}", plan.opflex)])
        .args(["--tunnel-address", &host.address.to_string()])
        .args(["--node-id", &host.node_id.to_string()])
        .args(["--netns", &format!("{}/{}", selvage_host::netns::FOLDER, host.netns)])
        .arg("--run-dir")
        .arg(plan.host_dir(host))
        .arg("--state-dir")
        .arg(plan.state().join(&host.name));
    if host.dataplane == Enforces::Ovs {
        command.args(["--dataplane", "ovs", "--ovs-datapath", "netdev"]);
        command.args(["--ovs-underlay", &host.link]);
        command.arg("--ovs-db").arg(switch::database(plan, host));
    }
    command.arg(format!("--docker-socket={}", plan.plugins(host).join("selvage.sock").display()));
    command
}

/// This very binary.
fn selvage() -> Command {
    Command::new(std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()))
}

fn spawn(mut command: Command, plan: &Plan, name: &str) -> Result<Child, Failure> {
    let path = plan.logs().join(format!("{name}.log"));
    let log = File::options().create(true).append(true).open(&path);
    let log = log.map_err(|error| failed(&format!("opening {}", path.display()), error))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    unblock(&mut command);
    command.spawn().map_err(|error| failed(&format!("starting {name}"), error))
}

fn is_connected(socket: &Path) -> bool {
    socket.exists()
        && matches!(
            Agents::ask_one(socket, &Request::Status(Nothing {})),
            Ok(Response::Status(status)) if status.controller.connected
        )
}

/// The end of a log, for whoever must find out why a daemon did not start.
fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n  ")
}
