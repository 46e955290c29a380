//! Another command in a workload that runs.

use std::path::PathBuf;

use selvage_host::probe::{self, Feature};
use selvage_host::sandbox::{Entry, join};

use super::{environment, record, refused};
use crate::client::Agents;
use crate::exit::{Failure, Kind};

/// Arguments of `selvage exec`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    agents: Agents,
    /// Variable for the command; without a value, the caller's; may be given repeatedly
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Folder to start in, inside
    #[arg(long, value_name = "DIR", default_value = "/")]
    workdir: PathBuf,
    /// The workload
    name: String,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs it to its end; the exit status is the command's.
pub fn run(args: Args) -> Result<(), Failure> {
    probe::require(Feature::SANDBOX)
        .map_err(|error| Failure::new(Kind::Unable, error.to_string()))?;
    let workload = record::find(&args.agents.sockets()?, &args.name)?;
    let entry = Entry {
        pid: workload.pid,
        cgroups: workload.cgroups,
        command: args.command,
        env: environment(&args.env)?,
        folder: args.workdir,
    };
    let status = join(entry).map_err(refused)?;
    std::process::exit(status)
}
