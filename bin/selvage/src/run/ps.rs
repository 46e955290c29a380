//! The workloads of this machine.

use super::record;
use crate::client::{Agents, Format, output};
use crate::exit::Failure;

/// Arguments of `selvage ps`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    agents: Agents,
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Prints them.
pub fn run(args: Args) -> Result<(), Failure> {
    let workloads = record::list(&args.agents.sockets()?);
    if args.output == Format::Json {
        return output::json(&workloads);
    }
    let rows = workloads.iter().map(|workload| {
        let group = workload.group.strip_prefix("uni/").unwrap_or(&workload.group);
        vec![
            workload.name.clone(),
            group.to_owned(),
            workload.host.clone(),
            workload.pid.to_string(),
            workload.addresses(),
            workload.command.join(" "),
        ]
    });
    let headings = ["name", "group", "host", "pid", "addresses", "command"];
    output::columns(&headings, rows.collect(), "no workload runs here")
}
