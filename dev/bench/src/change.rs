//! How long a change takes from `selvage apply` to enforcement on every host.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::progress::Progress;
use crate::report::{Row, Section};
use crate::stats::Median;

const NAME: &str = "bench";

/// How long a lab may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Applied {
    enforced_us: u64,
    hosts: usize,
    enforcing: usize,
}

struct Lab {
    selvage: PathBuf,
    run_dir: PathBuf,
    up: Child,
}

/// Applies two policies in turn, which differ in one contract.
pub fn measure(
    rounds: usize,
    selvage: &Path,
    policy: &Path,
    progress: &Progress,
) -> Result<Section> {
    let folder = tempfile::tempdir()?;
    let text =
        fs::read_to_string(policy).with_context(|| format!("reading {}", policy.display()))?;
    ensure!(text.contains("5432"), "{} has no port 5432 to change", policy.display());
    let other = folder.path().join("other.nac.yaml");
    fs::write(&other, text.replace("5432", "5433"))?;
    progress.step("a lab of two hosts")?;
    let lab = Lab::up(selvage, folder.path())?;
    lab.apply(policy)?;
    let mut there = Vec::new();
    for round in 0..rounds {
        progress.step(&format!("apply to enforced, round {} of {rounds}", round + 1))?;
        for file in [&other, policy] {
            let applied = lab.apply(file)?;
            ensure!(applied.hosts == 2 && applied.enforcing == 2, "not both hosts enforce it");
            there.push(applied.enforced_us as f64 / 1000.0);
        }
    }
    let mut section = Section::new("a changed contract, two hosts", "ms");
    section
        .rows
        .push(Row::new("apply to enforced on both, as the client sees it", Median::of(&there)));
    Ok(section)
}

impl Lab {
    fn up(selvage: &Path, folder: &Path) -> Result<Lab> {
        let (run_dir, log) = (folder.join("run"), folder.join("log"));
        let talk = File::create(&log)?;
        let up = Command::new(selvage)
            .args(["up", "--name", NAME, "--listen", "127.0.0.1:0"])
            .env("SELVAGE_RUN_DIR", &run_dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(talk)
            .spawn()
            .with_context(|| format!("starting {}", selvage.display()))?;
        let mut lab = Lab { selvage: selvage.to_owned(), run_dir, up };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("the lab is up") {
                return Ok(lab);
            }
            let ended = lab.up.try_wait()?.is_some();
            ensure!(!ended && Instant::now() < deadline, "the lab did not come up: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn apply(&self, policy: &Path) -> Result<Applied> {
        let output = self.command(&["apply", "-o", "json", "-f"]).arg(policy).output()?;
        let talk = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "selvage apply: {}", talk.trim());
        serde_json::from_slice(&output.stdout).context("what `selvage apply` printed")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.selvage);
        command.args(words).env("SELVAGE_RUN_DIR", &self.run_dir).stdin(Stdio::null());
        for name in ["SELVAGE_CONTROLLER", "SELVAGE_AGENT", "SELVAGE_PASSWORD_FILE", "SELVAGE_CA"] {
            command.env_remove(name);
        }
        command.process_group(0);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let removed = self.command(&["down", "--name", NAME]).output();
        if !removed.is_ok_and(|output| output.status.success()) {
            let _ = self.up.kill();
        }
        let _ = self.up.wait();
    }
}
