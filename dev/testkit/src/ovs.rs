//! A private Open vSwitch: its own database, daemon, run directory and log, in a test's namespace,
//! with the userspace datapath. Gone with the test.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvage_host::NetNs;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// How long a daemon may take to open its socket, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Told apart within one process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running switch.
#[derive(Debug)]
pub struct Ovs {
    folder: PathBuf,
    namespace: NetNs,
    database: Option<Child>,
    switch: Option<Child>,
}

impl Ovs {
    /// Starts database and switch daemon inside `namespace`, without any bridge.
    pub fn start(namespace: &NetNs) -> Result<Ovs> {
        for program in ["ovsdb-server", "ovs-vswitchd", "ovsdb-tool"] {
            ensure!(find(program).is_some(), "no `{program}`; hint: dev/install-deps.sh");
        }
        end_stale()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket has at most 107 bytes.
        let folder = Path::new("/tmp").join(format!("svovs-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let namespace = NetNs::open(namespace.path())?;
        let mut ovs = Ovs { folder, namespace, database: None, switch: None };
        let database = ovs.folder.join("conf.db");
        ovs.tool("ovsdb-tool", &["create", &database.to_string_lossy(), SCHEMA])?;
        ovs.start_database()?;
        let remote = format!("--db=unix:{}", ovs.database().display());
        ovs.tool("ovs-vsctl", &[&remote, "--no-wait", "init"])?;
        ovs.start_switch()?;
        Ok(ovs)
    }

    /// Its run directory; `BRIDGE.mgmt` in it is the socket of a bridge.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket of its database.
    pub fn database(&self) -> PathBuf {
        self.folder.join("db.sock")
    }

    /// The socket of a bridge.
    pub fn bridge(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.mgmt"))
    }

    /// The control socket of the switch daemon.
    pub fn control(&self) -> PathBuf {
        self.folder.join("ovs-vswitchd.0.ctl")
    }

    /// Kills the switch daemon (SIGKILL): its flows and connections are lost.
    pub fn kill_switch(&mut self) -> Result<()> {
        end(&mut self.switch, Signal::SIGKILL)
    }

    /// Starts the switch daemon, on the database as it is.
    pub fn start_switch(&mut self) -> Result<()> {
        ensure!(self.switch.is_none(), "the switch daemon is running");
        let remote = format!("unix:{}", self.database().display());
        let control = self.control();
        // Left by one that was killed.
        let _ = fs::remove_file(&control);
        self.switch = Some(self.daemon("ovs-vswitchd", &[&remote], &control)?);
        wait_for(&control)
    }

    /// Makes the switch daemon hang (SIGSTOP) until it is killed or resumed.
    pub fn hang_switch(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Ends the hanging of the switch daemon.
    pub fn resume_switch(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Kills the database server (SIGKILL).
    pub fn kill_database(&mut self) -> Result<()> {
        end(&mut self.database, Signal::SIGKILL)
    }

    /// Starts the database server.
    pub fn start_database(&mut self) -> Result<()> {
        ensure!(self.database.is_none(), "the database server is running");
        let socket = self.database();
        let _ = fs::remove_file(&socket);
        let file = self.folder.join("conf.db");
        let remote = format!("--remote=punix:{}", socket.display());
        let control = self.folder.join("ovsdb-server.0.ctl");
        let arguments = [&*file.to_string_lossy(), &remote];
        self.database = Some(self.daemon("ovsdb-server", &arguments, &control)?);
        wait_for(&socket)
    }

    /// Runs one of Open vSwitch's own tools inside, and gives what it prints.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program)?;
        command.args(arguments).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("running {program}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = arguments.join(" ");
        ensure!(output.status.success(), "{program} {line}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// The end of the switch daemon's log, for a failing test to print.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("ovs-vswitchd.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let switch = self.switch.as_ref().context("the switch daemon is not running")?;
        Ok(kill(Pid::from_raw(i32::try_from(switch.id())?), signal)?)
    }

    fn daemon(&self, program: &str, arguments: &[&str], control: &Path) -> Result<Child> {
        let log = self.folder.join(format!("{program}.log"));
        let mut command = self.command(program)?;
        command.args(arguments);
        command.arg(format!("--unixctl={}", control.display()));
        command.arg(format!("--log-file={}", log.display()));
        command.args(["-vconsole:off", "-vsyslog:off", "--no-chdir"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("starting {program}"))?;
        fs::write(self.folder.join(format!("{program}.pid")), child.id().to_string())?;
        Ok(child)
    }

    fn command(&self, program: &str) -> Result<Command> {
        let path = find(program).with_context(|| format!("no `{program}`"))?;
        let mut command = Command::new(path);
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, &self.folder);
        }
        self.namespace.enter(&mut command)?;
        Ok(command)
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for child in [&mut self.switch, &mut self.database] {
            if let Err(error) = end(child, Signal::SIGTERM) {
                eprintln!("ovs: {error}");
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ends a daemon and waits until it has; by force when it does not by itself.
fn end(child: &mut Option<Child>, signal: Signal) -> Result<()> {
    let Some(mut child) = child.take() else { return Ok(()) };
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let _ = kill(pid, signal);
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("process {pid} did not end by {signal}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn wait_for(socket: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                let folder = socket.parent().unwrap_or(socket);
                let log = fs::read_to_string(folder.join("ovs-vswitchd.log")).unwrap_or_default();
                bail!("nobody listens at {}: {error}\n{log}", socket.display());
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Where a program is; `/usr/sbin` may not be in the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.exists())
}

/// Ends the daemons of tests that were killed. Only a process that names the folder is one.
fn end_stale() -> Result<()> {
    for entry in fs::read_dir("/tmp")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = name.strip_prefix("svovs-").and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if Path::new("/proc").join(owner).exists() {
            continue;
        }
        for program in ["ovs-vswitchd", "ovsdb-server"] {
            let pid = fs::read_to_string(entry.path().join(format!("{program}.pid")));
            let Some(pid) = pid.ok().and_then(|pid| pid.parse::<i32>().ok()) else { continue };
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&format!("/{name}/")) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = fs::remove_dir_all(entry.path());
    }
    Ok(())
}
