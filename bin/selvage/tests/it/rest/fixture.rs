//! A controller of one's own, on free ports, with its files in a directory that goes with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;

/// The longest a controller may take to get ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running controller.
pub struct Controller {
    child: Child,
    dir: TempDir,
    /// What it wrote into `controller.json`.
    pub reach: Value,
}

impl Controller {
    /// Starts one that has a certificate and a password, but no policy.
    pub fn start() -> Controller {
        Controller::start_in(equipped_dir())
    }

    /// Starts one on what an earlier one left.
    pub fn start_in(dir: TempDir) -> Controller {
        Controller::spawn(command(dir.path()), dir)
    }

    /// Starts one by this command, which works on `dir`.
    pub fn spawn(mut command: Command, dir: TempDir) -> Controller {
        let run_dir = dir.path().join("run");
        let mut child = command.stderr(log(dir.path())).spawn().unwrap();
        let beacon = run_dir.join("controller.json");
        let ready = eventually(|| {
            assert!(child.try_wait().unwrap().is_none(), "it ended:\n{}", read_log(dir.path()));
            let reach: Value = serde_json::from_str(&fs::read_to_string(&beacon).ok()?).ok()?;
            (reach["pid"].as_u64() == Some(u64::from(child.id()))).then_some(reach)
        });
        let Some(reach) = ready else { panic!("not ready:\n{}", read_log(dir.path())) };
        Controller { child, dir, reach }
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn log(&self) -> String {
        read_log(self.dir.path())
    }

    pub fn opflex(&self) -> SocketAddr {
        self.reach["opflex"].as_str().unwrap().parse().unwrap()
    }

    /// Someone without a token.
    pub fn stranger(&self) -> Client {
        let url = self.reach["url"].as_str().unwrap();
        let address = url.strip_prefix("https://").unwrap().parse().unwrap();
        Client::new(address, &self.state_dir().join("tls.crt"))
    }

    /// The administrator, logged in.
    pub fn admin(&self) -> Client {
        let mut client = self.stranger();
        let answer = client.login("admin", &self.password());
        assert_eq!(answer.status, 200, "{answer:?}");
        client
    }

    pub fn password(&self) -> String {
        let text = fs::read_to_string(self.state_dir().join("admin.password")).unwrap();
        text.trim().to_owned()
    }

    /// Ends it at once, as the kernel does when memory is short. Returns what it leaves.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.into_dir()
    }

    /// Asks it to end. Returns how it did, and what it leaves.
    pub fn stop(mut self) -> (ExitStatus, TempDir) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = eventually(|| self.child.try_wait().unwrap());
        let Some(status) = status else { panic!("it does not end:\n{}", self.log()) };
        (status, self.into_dir())
    }

    fn into_dir(mut self) -> TempDir {
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that starts a controller on the files in `dir`, and free ports.
pub fn command(dir: &Path) -> Command {
    command_on(dir, "127.0.0.1:0", "127.0.0.1:0")
}

/// The command that starts a controller on the files in `dir`, and these addresses.
pub fn command_on(dir: &Path, rest: &str, opflex: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
    command
        .arg("controller")
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--run-dir")
        .arg(dir.join("run"))
        .args(["--listen", rest, "--opflex-listen", opflex])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Runs a controller that is expected to end by itself.
pub fn run_to_end(mut command: Command) -> Output {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    if eventually(|| child.try_wait().unwrap()).is_none() {
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        panic!("it does not end:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    child.wait_with_output().unwrap()
}

/// A directory with the certificate and password of the first controller that was ever started
/// here: making an RSA key takes a while.
pub fn equipped_dir() -> TempDir {
    static FIRST: OnceLock<TempDir> = OnceLock::new();
    let first = FIRST.get_or_init(|| Controller::start_in(tempfile::tempdir().unwrap()).stop().1);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    for file in ["tls.crt", "tls.key", "admin.password", "admin.hash"] {
        let of = |dir: &TempDir| dir.path().join("state").join(file);
        fs::copy(of(first), of(&dir)).unwrap();
    }
    dir
}

/// Asks again and again until there is an answer, or patience ends.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn log(dir: &Path) -> fs::File {
    fs::File::options().create(true).append(true).open(dir.join("log")).unwrap()
}

fn read_log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}
