//! The switches of a lab: an Open vSwitch for each host that asks for one, in the host's namespace,
//! with a database, sockets and a run directory of its own. Nothing of the machine's is touched.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use selvage_host::NetNs;

use super::failed;
use super::plan::{Host, Plan};
use crate::exit::{Failure, Kind};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// How long a switch that nobody keeps any more may take to end.
const STOP: Duration = Duration::from_secs(5);

/// One of the two daemons of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `ovsdb-server`.
    Database,
    /// `ovs-vswitchd`.
    Switch,
}

impl Part {
    /// Its name in logs.
    pub fn name(self, host: &Host) -> String {
        format!("{}-{}", host.name, self.program())
    }

    fn program(self) -> &'static str {
        match self {
            Part::Database => "ovsdb-server",
            Part::Switch => "ovs-vswitchd",
        }
    }
}

/// The socket of the host's database.
pub fn database(plan: &Plan, host: &Host) -> PathBuf {
    plan.switch_dir(host).join("db.sock")
}

/// Whether a daemon is behind the socket it is to open.
pub fn is_up(plan: &Plan, host: &Host, part: Part) -> bool {
    let socket = match part {
        Part::Database => database(plan, host),
        Part::Switch => plan.switch_dir(host).join("ovs-vswitchd.0.ctl"),
    };
    UnixStream::connect(socket).is_ok()
}

/// Makes an empty database.
pub fn prepare(plan: &Plan, host: &Host) -> Result<(), Failure> {
    let folder = plan.switch_dir(host);
    let file = folder.join("conf.db");
    fs::create_dir_all(&folder).map_err(|e| failed(&format!("making {}", folder.display()), e))?;
    if find("ovs-vswitchd").is_none() {
        let message = "Open vSwitch is missing: no `ovs-vswitchd`";
        return Err(Failure::new(Kind::Unable, message)
            .hint("install the package openvswitch-switch, or use --dataplane ebpf"));
    }
    let file = file.to_string_lossy().into_owned();
    finish(plan, host, "ovsdb-tool", &["create", &file, SCHEMA])
}

/// Writes the database's one row, which every switch needs.
pub fn initialise(plan: &Plan, host: &Host) -> Result<(), Failure> {
    let remote = format!("--db=unix:{}", database(plan, host).display());
    finish(plan, host, "ovs-vsctl", &[&remote, "--no-wait", "init"])
}

/// One daemon, ready to be started.
pub fn command(plan: &Plan, host: &Host, part: Part) -> Result<Command, Failure> {
    let folder = plan.switch_dir(host);
    let socket = database(plan, host);
    let control = folder.join(format!("{}.0.ctl", part.program()));
    // Left by one that was killed; the daemon makes its own.
    let _ = fs::remove_file(&control);
    let mut command = tool(plan, host, part.program())?;
    match part {
        Part::Database => {
            let _ = fs::remove_file(&socket);
            command.arg(folder.join("conf.db"));
            command.arg(format!("--remote=punix:{}", socket.display()));
        }
        Part::Switch => {
            command.arg(format!("unix:{}", socket.display()));
            // The machine's own switch may be using the kernel's datapath.
            command.arg("--disable-system");
        }
    }
    command.arg(format!("--unixctl={}", control.display()));
    command.arg(format!("--pidfile={}", pid_file(&folder, part).display()));
    Ok(command)
}

/// Ends what a lab that was killed left running.
pub fn stop(plan: &Plan, host: &Host) {
    let folder = plan.switch_dir(host);
    for part in [Part::Switch, Part::Database] {
        let Some(pid) = running(&folder, part) else { continue };
        let _ = signal::kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + STOP;
        while running(&folder, part).is_some() {
            if Instant::now() > deadline {
                let _ = signal::kill(pid, Signal::SIGKILL);
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The daemon that the pid file names, if that is still the one that wrote it.
fn running(folder: &Path, part: Part) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(pid_file(folder, part)).ok()?.trim().parse().ok()?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let folder = folder.to_string_lossy();
    String::from_utf8_lossy(&line).contains(&*folder).then(|| Pid::from_raw(pid))
}

fn pid_file(folder: &Path, part: Part) -> PathBuf {
    folder.join(format!("{}.pid", part.program()))
}

/// A program of Open vSwitch, in the host's namespace, with the host's folder as its own.
fn tool(plan: &Plan, host: &Host, program: &str) -> Result<Command, Failure> {
    let doing = || format!("starting {program}");
    let path = find(program).ok_or_else(|| failed(&doing(), "it is not installed"))?;
    let mut command = Command::new(path);
    let folder = plan.switch_dir(host);
    for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
        command.env(name, &folder);
    }
    let namespace = NetNs::named(&host.netns).map_err(|error| failed(&doing(), error))?;
    namespace.enter(&mut command).map_err(|error| failed(&doing(), error))?;
    Ok(command)
}

fn finish(plan: &Plan, host: &Host, program: &str, words: &[&str]) -> Result<(), Failure> {
    let mut command = tool(plan, host, program)?;
    command.args(words).stdin(Stdio::null());
    let output = command.output().map_err(|error| failed(&format!("running {program}"), error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(program, String::from_utf8_lossy(&output.stderr).trim()))
}

/// Where a program is: those of daemons may not be in the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")];
    std::env::split_paths(&path)
        .chain(known)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
