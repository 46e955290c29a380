//! Ending a workload.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::record::{self, Workload};
use crate::client::Agents;
use crate::exit::{Failure, Kind};

/// Arguments of `selvage stop`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    agents: Agents,
    /// How long it may take to end by itself, in seconds
    #[arg(long, default_value_t = 10)]
    time: u64,
    /// The workloads
    #[arg(required = true)]
    names: Vec<String>,
}

/// Asks each to end, then makes it, and returns when nothing of it is left.
pub fn run(args: Args) -> Result<(), Failure> {
    let sockets = args.agents.sockets()?;
    let named: Result<Vec<Workload>, Failure> =
        args.names.iter().map(|name| record::find(&sockets, name)).collect();
    let workloads = named?;
    // All are asked before any is waited for.
    workloads.iter().try_for_each(|workload| signal(workload, Signal::SIGTERM))?;
    let deadline = Instant::now() + Duration::from_secs(args.time);
    for workload in &workloads {
        if wait(workload, deadline) {
            continue;
        }
        signal(workload, Signal::SIGKILL)?;
        if !wait(workload, Instant::now() + Duration::from_secs(10)) {
            let message = format!("`{}` does not end", workload.name);
            return Err(Failure::new(Kind::Failed, message));
        }
    }
    Ok(())
}

/// To the first process, which passes on what it can. Its record is locked by its living monitor,
/// so the number is still its own.
fn signal(workload: &Workload, signal: Signal) -> Result<(), Failure> {
    match kill(Pid::from_raw(workload.pid.cast_signed()), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(Failure::new(
            Kind::Failed,
            format!("signalling `{}`: {}", workload.name, error.desc()),
        )),
    }
}

/// Whether its record is gone before the deadline: the last thing its monitor removes.
fn wait(workload: &Workload, deadline: Instant) -> bool {
    let sockets = std::slice::from_ref(&workload.agent);
    loop {
        let same = |other: &Workload| other.pid == workload.pid && other.name == workload.name;
        if !record::list(sockets).iter().any(same) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
