//! The lab, through the command line that a user has.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvage_agent::local::{DropView, EndpointView, Nothing, Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::interrupted;

/// Where this lab lives: beside, not in, the place of daemons that serve this machine.
pub const RUN_DIR: &str = "/run/selvage-quickstart";
const NAME: &str = "qs";

/// What the lab itself says; removed with it.
const LOG: &str = "/run/selvage-quickstart.log";

/// How often the lab is looked at until it is up.
const GLANCE: Duration = Duration::from_millis(50);

/// A running lab; dropping it removes it.
pub struct Fabric {
    selvage: PathBuf,
    /// The program that workloads run.
    pub probe: PathBuf,
    up: Option<Child>,
}

/// What `selvage apply` says.
#[derive(Deserialize)]
pub struct Applied {
    pub revision: u64,
    pub enforced_us: u64,
    pub hosts: usize,
    pub enforcing: usize,
}

/// What `selvage run` says of a workload.
#[derive(Deserialize)]
pub struct Started {
    pub name: String,
    pub group: String,
    pub host: String,
    pub addresses: Vec<std::net::IpAddr>,
    pub netns: PathBuf,
    pub attach_us: Option<u64>,
}

/// What the lab wrote down.
#[derive(Deserialize)]
struct LabPlan {
    hosts: Vec<HostPlan>,
}

/// One host of it.
#[derive(Deserialize)]
pub struct HostPlan {
    pub name: String,
    pub netns: String,
}

impl Fabric {
    /// Starts a lab in which `dataplane` enforces, and removes first what a killed run of this program left.
    pub fn up((selvage, probe): (PathBuf, PathBuf), dataplane: &str) -> Result<Fabric> {
        let mut fabric = Fabric { selvage, probe, up: None };
        fabric.run(&["down", "--name", NAME])?;
        let mut words = vec!["up", "--name", NAME, "--listen", "127.0.0.1:0"];
        words.extend(["--dataplane", dataplane]);
        let mut command = fabric.command(&words);
        // Its talk goes to a file, since it may outlive this program.
        let talk = File::create(LOG).with_context(|| format!("creating {LOG}"))?;
        // A group of its own: Ctrl-C is for this program, which then stops the lab in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(talk);
        fabric.up = Some(command.spawn().context("starting `selvage up`")?);
        fabric.wait_until_up()?;
        Ok(fabric)
    }

    /// Repeats what the lab says until it says that it is up.
    fn wait_until_up(&mut self) -> Result<()> {
        let mut said = 0;
        loop {
            let ended = self.up.as_mut().is_some_and(|up| !matches!(up.try_wait(), Ok(None)));
            let text = fs::read_to_string(LOG).unwrap_or_default();
            for line in text.lines().skip(said) {
                eprintln!("   {line}");
                said += 1;
            }
            if text.contains("the lab is up") {
                return Ok(());
            }
            ensure!(!ended, "the lab did not come up");
            interrupted()?;
            std::thread::sleep(GLANCE);
        }
    }

    /// Applies a policy and waits until both hosts are ready for it.
    pub fn apply(&self, policy: &Path) -> Result<Applied> {
        let policy = policy.to_str().context("the policy's path is no text")?;
        let applied: Applied = self.json(&["apply", "-f", policy, "-o", "json"])?;
        let millis = applied.enforced_us as f64 / 1000.0;
        eprintln!(
            "   {} of {} hosts enforce revision {} after {millis:.1} ms",
            applied.enforcing, applied.hosts, applied.revision
        );
        Ok(applied)
    }

    /// Starts a workload on a host.
    pub fn start(&self, host: &str, epg: &str, name: &str, ports: &[String]) -> Result<Started> {
        const INSIDE: &str = "/run/selvage-probe";
        let socket = format!("{RUN_DIR}/{host}/agent.sock");
        let bind = format!("{}:{INSIDE}", self.probe.display());
        let mut words =
            vec!["run", "--agent", &socket, "--epg", epg, "--name", name, "--bind", &bind];
        words.extend(["--memory", "64M", "--pids", "64", "--detach", "-o", "json", "--"]);
        words.extend([INSIDE, "serve", "--name", name]);
        words.extend(ports.iter().map(String::as_str));
        self.json(&words)
    }

    /// The hosts, as the lab wrote them down.
    pub fn hosts(&self) -> Result<Vec<HostPlan>> {
        let text = fs::read_to_string(format!("{RUN_DIR}/lab.json")).context("reading lab.json")?;
        let plan: LabPlan = serde_json::from_str(&text).context("lab.json")?;
        Ok(plan.hosts)
    }

    /// The endpoints of a host.
    pub fn endpoints(&self, host: &str) -> Result<Vec<EndpointView>> {
        let mut stream = UnixStream::connect(format!("{RUN_DIR}/{host}/agent.sock"))?;
        writeln!(stream, "{}", serde_json::to_string(&Request::List(Nothing {}))?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        match serde_json::from_str(&line)? {
            Response::Endpoints(list) => Ok(list),
            other => bail!("the agent of {host} answered {other:?}"),
        }
    }

    /// What the agents dropped.
    pub fn drops(&self) -> Result<Vec<DropView>> {
        let output = self.run(&["drops", "-o", "json"])?;
        let lines = std::str::from_utf8(&output.stdout)?.lines();
        lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Which host enforces what, as `selvage status` prints it.
    pub fn status(&self) -> Result<String> {
        Ok(String::from_utf8(self.run(&["status"])?.stdout)?)
    }

    /// Stops and removes everything.
    pub fn down(&mut self) -> Result<()> {
        let Some(mut child) = self.up.take() else { return Ok(()) };
        // `down` removes the workloads too, and waits for the lab to end.
        let removed = self.run(&["down", "--name", NAME]);
        if removed.is_err() {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        }
        child.wait().context("waiting for the lab to end")?;
        let _ = fs::remove_file(LOG);
        removed.map(drop)
    }

    /// Leaves it running, and says how to look around. `inside` is a command that runs another in a
    /// workload.
    pub fn keep(&mut self, inside: &str) {
        self.up = None;
        let selvage = self.selvage.display();
        eprintln!(
            "\nit is left running; to look around:\n  \
             export SELVAGE_RUN_DIR={RUN_DIR}\n  \
             alias selvage={selvage}\n  \
             selvage status\n  \
             selvage ps\n  \
             selvage get uni/tn-shop --tree\n  \
             selvage trace shop/store/web shop/store/db tcp/5432\n  \
             selvage drops -f\n  \
             {inside}\n\
             and to stop it:\n  \
             selvage down --name {NAME}"
        );
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.selvage);
        command.args(words).env("SELVAGE_RUN_DIR", RUN_DIR);
        // Nothing of the caller's own set-up may lead elsewhere.
        for name in ["SELVAGE_CONTROLLER", "SELVAGE_AGENT", "SELVAGE_PASSWORD_FILE", "SELVAGE_CA"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, words: &[&str]) -> Result<Output> {
        let mut command = self.command(words);
        command.process_group(0).stdin(Stdio::null());
        let output = command.output().context("starting selvage")?;
        let talk = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`selvage {}`: {}", words.join(" "), talk.trim());
        Ok(output)
    }

    fn json<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        let output = self.run(words)?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("what `selvage {}` printed", words.join(" ")))
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!("quickstart: {error:#}");
        }
    }
}
