//! `make bench`: what policy costs, as ratios of interleaved rounds, with intervals.
//!
//! Every number is the median of at least 30 rounds, and every round measures all that is compared,
//! so that whatever else the machine does hits all alike. A ratio whose interval straddles its
//! promise is unproven, and is reported so.

mod change;
mod compare;
mod load;
mod path;
mod policy;
mod program;
mod progress;
mod report;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::compare::{Against, Comparison};
use crate::load::Load;
use crate::progress::Progress;
use crate::report::{Machine, Report, Section};

/// Measures what policy costs on this machine. Needs root; leaves nothing behind.
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    /// Rounds; fewer than 30 say little
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(2..))]
    rounds: u16,
    /// How long each load lasts each round, in milliseconds
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(20..))]
    millis: u64,
    /// Only these parts
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Where the numbers go, as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// The binary to start labs with [default: `selvage` beside this program]
    #[arg(long)]
    selvage: Option<PathBuf>,
    /// The policy whose contract is changed
    #[arg(long, default_value = "examples/three-tier.nac.yaml")]
    policy: PathBuf,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The programs alone, by table size
    Program,
    /// Two workloads of one host
    Host,
    /// Two workloads of two hosts
    Across,
    /// Two workloads of one host with Open vSwitch
    Switch,
    /// From apply to enforcement
    Change,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    selvage_host::probe::require(selvage_host::probe::Feature::AGENT)?;
    let progress = Progress::start()?;
    let mut report = Report { machine: Machine::this(), sections: Vec::new() };
    let all = [Part::Program, Part::Host, Part::Across, Part::Switch, Part::Change];
    for part in all.into_iter().filter(|part| args.parts.is_empty() || args.parts.contains(part)) {
        report.sections.extend(measure(part, args, &progress)?);
    }
    progress.done();
    report::print(&report);
    if let Some(folder) = args.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.json, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("writing {}", args.json.display()))?;
    eprintln!("\nthe same as JSON: {}", args.json.display());
    Ok(())
}

fn measure(part: Part, args: &Args, progress: &Progress) -> Result<Vec<Section>> {
    let (rounds, time) = (usize::from(args.rounds), Duration::from_millis(args.millis));
    match part {
        Part::Program => Ok(vec![program::measure(rounds, progress)?]),
        Part::Host => one_host()?.measure(rounds, time, progress),
        Part::Across => two_hosts()?.measure(rounds, time, progress),
        Part::Switch => one_switch()?.measure(rounds, time, progress),
        Part::Change => {
            let selvage = match &args.selvage {
                Some(path) => path.clone(),
                None => std::env::current_exe()?.with_file_name("selvage"),
            };
            Ok(vec![change::measure(rounds, &selvage, &args.policy, progress)?])
        }
    }
}

fn one_host() -> Result<Comparison> {
    const POLICY: &str = "selvage, 1,000 entries";
    let promised = vec![
        (Load::Stream, Some(0.97)),
        (Load::RequestResponse, Some(0.97)),
        (Load::Connect, Some(0.93)),
    ];
    Ok(Comparison {
        title: "two workloads of one host",
        paths: vec![
            path::bare()?,
            path::empty()?,
            path::policy(POLICY, policy::table(1_000))?,
            path::bridge()?,
            path::docker_bridge()?,
        ],
        ratios: vec![
            Against { path: POLICY, other: "empty program", loads: promised },
            Against { path: POLICY, other: "bare veth pair", loads: unpromised() },
            Against { path: POLICY, other: "Linux bridge", loads: unpromised() },
            Against { path: POLICY, other: "Docker bridge", loads: unpromised() },
        ],
    })
}

fn one_switch() -> Result<Comparison> {
    const POLICY: &str = "selvage on Open vSwitch, 1,000 entries";
    let promised =
        vec![(Load::Stream, Some(0.85)), (Load::RequestResponse, None), (Load::Connect, None)];
    Ok(Comparison {
        title: "two workloads of one host, Open vSwitch's userspace datapath",
        paths: vec![path::switched(POLICY, policy::table(1_000))?, path::normal()?],
        ratios: vec![Against { path: POLICY, other: "Open vSwitch, NORMAL", loads: promised }],
    })
}

fn two_hosts() -> Result<Comparison> {
    const POLICY: &str = "selvage, VXLAN with Group Policy";
    let overlay =
        vec![(Load::Stream, Some(1.3)), (Load::RequestResponse, Some(1.0)), (Load::Connect, None)];
    Ok(Comparison {
        title: "two workloads of two hosts",
        paths: vec![
            path::across(POLICY, &policy::table(1_000))?,
            path::tunnelled_bridge()?,
            path::docker_overlay()?,
        ],
        ratios: vec![
            Against { path: POLICY, other: "Linux bridges over VXLAN", loads: unpromised() },
            Against { path: POLICY, other: "Docker overlay", loads: overlay },
        ],
    })
}

fn unpromised() -> Vec<(Load, Option<f64>)> {
    Load::ALL.map(|load| (load, None)).to_vec()
}
