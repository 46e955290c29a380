//! `make quickstart`: two hosts, nine workloads, one policy, every pair probed.
//!
//! It drives the `selvage` binary as a user would, by its command line; what the policy says it asks
//! of the oracle, which shares no code with the compiler that the controller runs.

mod containers;
mod expect;
mod fabric;
mod options;
mod progress;
mod report;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};

use containers::Containers;
use fabric::{Applied, Fabric};
use options::{Options, Workloads};
use progress::step;

/// Set by Ctrl-C; looked at between steps and in every wait.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/three-tier.nac.yaml");

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("quickstart: {wrong}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let handler = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed));
    let result = handler.context("catching Ctrl-C").and_then(|()| run(&options));
    match result {
        Ok(otherwise) => ExitCode::from(u8::from(otherwise > 0)),
        Err(error) if interrupted().is_err() => {
            eprintln!("quickstart: interrupted; everything is removed ({error:#})");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the run if somebody pressed Ctrl-C.
fn interrupted() -> Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// The whole story; how many probes went otherwise than the policy says.
fn run(options: &Options) -> Result<usize> {
    ensure!(nix::unistd::Uid::effective().is_root(), "root is needed: namespaces, eBPF; use sudo");
    let policy = Path::new(POLICY).canonicalize().context("finding the example policy")?;
    let expected = expect::Policy::read(&policy)?;

    let planes = match options.dataplane.as_str() {
        "mixed" => "eBPF on one, Open vSwitch on the other",
        "ovs" => "Open vSwitch on both",
        _ => "eBPF on both",
    };
    step(&format!("two hosts, a controller, an agent on each host; {planes}"));
    containers::remove_left()?;
    let mut fabric = Fabric::up(programs()?, &options.dataplane)?;
    interrupted()?;

    step(&format!("the policy: {}", POLICY.rsplit('/').next().unwrap_or_default()));
    fabric.apply(&policy)?;
    interrupted()?;

    let mut containers = match options.workloads {
        Workloads::Sandbox => None,
        Workloads::Docker => {
            step("a Docker engine on each host, with a network for each tier");
            Some(Containers::start(&fabric, &fabric.probe, options.keep)?)
        }
    };
    step("nine workloads, three a tier, over both hosts");
    let workloads = workloads::start(&fabric, containers.as_ref())?;

    step("a change and its undoing, with the workloads there to feel it");
    let applied = change_and_undo(&fabric, &policy)?;
    interrupted()?;

    step("every ordered pair, on every port of interest, over IPv4 and IPv6");
    let results = workloads::probe_all(&workloads, &expected)?;
    interrupted()?;

    report::matrix(&results);
    report::drops(&fabric.drops()?);
    let status = fabric.status()?;
    report::status(&status);
    let otherwise = results.iter().filter(|r| !r.as_expected()).count();
    let mut inside = "selvage exec web-1 -- ping -c1 10.1.1.1".to_owned();
    match containers.take() {
        Some(containers) if options.keep => inside = containers.keep(),
        Some(containers) => containers.remove(&fabric)?,
        None => {}
    }
    if options.keep {
        fabric.keep(&inside);
    } else {
        fabric.down()?;
    }
    report::last_line(&results, &workloads, &applied);
    Ok(otherwise)
}

/// Moves the database's port in the policy and back; what the last apply says is what is measured.
fn change_and_undo(fabric: &Fabric, policy: &Path) -> Result<Applied> {
    let text = std::fs::read_to_string(policy)?;
    let moved = text.replace("destination_from_port: 5432", "destination_from_port: 5433");
    ensure!(moved != text, "the example no longer mentions port 5432");
    let file = tempfile::Builder::new().suffix(".nac.yaml").tempfile()?;
    std::fs::write(file.path(), moved)?;
    fabric.apply(file.path())?;
    fabric.apply(policy)
}

/// The two programs, which are built beside this one.
fn programs() -> Result<(PathBuf, PathBuf)> {
    let here = std::env::current_exe()?;
    let beside = |name: &str| {
        let path = here.with_file_name(name);
        if !path.exists() {
            bail!("{} is not built; run `make quickstart`", path.display());
        }
        Ok(path)
    };
    Ok((beside("selvage")?, beside("selvage-probe")?))
}
