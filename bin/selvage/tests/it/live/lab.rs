//! A lab of two hosts through the command line, and workloads in it.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvage_host::NetNs;
use selvage_testkit::eventually;
use selvage_testkit::probe::{Outcome, What, probe};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running lab; gone when dropped, with all that ran in it.
pub struct Lab {
    dir: TempDir,
    name: String,
    child: Child,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub talk: String,
}

impl Said {
    /// What it printed as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It was done.
    #[track_caller]
    pub fn ok(self) -> Said {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// A workload's namespace and addresses.
pub struct Workload {
    pub ns: NetNs,
    pub v4: IpAddr,
}

impl Workload {
    /// Whether a TCP connection is answered.
    pub fn reaches(&self, to: &Workload, port: u16, patience: Duration) -> bool {
        let targets = [(to.v4, What::Tcp(port))];
        let outcomes = probe(self.ns.path(), &targets, patience).unwrap();
        matches!(outcomes[0], Outcome::Reached { .. })
    }
}

impl Lab {
    pub fn up() -> Lab {
        Lab::with(&[])
    }

    /// A lab that is started with these arguments.
    pub fn with(arguments: &[&str]) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("l{}", std::process::id());
        let log = File::create(dir.path().join("up.log")).unwrap();
        let mut command = selvage(&dir);
        command.args(["up", "--name", &name, "--listen", "127.0.0.1:0"]).args(arguments);
        command.process_group(0).stderr(log).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let mut lab = Lab { dir, name, child };
        eventually(PATIENCE, "the lab is up", || {
            let text = fs::read_to_string(lab.dir.path().join("up.log")).unwrap();
            assert!(lab.child.try_wait().unwrap().is_none(), "the lab ended:\n{text}");
            if text.contains("the lab is up") { Ok(()) } else { Err(text) }
        });
        lab
    }

    /// Runs a verb to its end.
    pub fn run(&self, words: &[&str]) -> Said {
        let output = selvage(&self.dir).args(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Said { code, out: text(output.stdout), talk: text(output.stderr) }
    }

    /// A file of these words.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Starts a workload that does nothing by itself.
    pub fn start(&self, host: &str, epg: &str) -> Workload {
        let folder = format!("{}-{host}", self.name);
        let socket = self.dir.path().join(folder).join("agent.sock");
        let words =
            ["run", "--agent", socket.to_str().unwrap(), "--epg", epg, "--detach", "-o", "json"];
        let said = self.run(&[&words[..], &["--", "sleep", "1000000"]].concat()).ok();
        let started = said.json();
        let ns = PathBuf::from(started["netns"].as_str().unwrap());
        let addresses = started["addresses"].as_array().unwrap();
        let mut addresses =
            addresses.iter().map(|a| a.as_str().unwrap().parse::<IpAddr>().unwrap());
        let v4 = addresses.find(IpAddr::is_ipv4).unwrap();
        Workload { ns: NetNs::open(&ns).unwrap(), v4 }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        // It may have ended by itself; what it left, `down` removes.
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
        let _ = selvage(&self.dir).args(["down", "--name", &self.name]).output();
    }
}

fn selvage(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
    command.env("SELVAGE_RUN_DIR", dir.path()).stdin(Stdio::null());
    for name in ["SELVAGE_CONTROLLER", "SELVAGE_AGENT", "SELVAGE_PASSWORD_FILE", "SELVAGE_CA"] {
        command.env_remove(name);
    }
    command
}
