//! `selvage doctor`: can this machine do it, and is what is installed what is desired?

mod agents;
mod machine;

use serde::Serialize;

use crate::client::Agents;
use crate::client::output::{self, Format};
use crate::exit::{Failure, Kind};

/// Arguments of `selvage doctor`.
#[derive(clap::Args)]
#[command(after_help = "Changes nothing. Ends with exit code 1 when an agent's data plane is not \
                        what it should be, and with 4 when this machine can run no data plane.")]
pub struct Args {
    #[command(flatten)]
    agents: Agents,
    /// Database socket of the Open vSwitch to look at
    #[arg(long, value_name = "SOCKET", default_value = "/run/openvswitch/db.sock")]
    ovs_db: std::path::PathBuf,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// All that was found.
#[derive(Serialize)]
struct Report {
    machine: Vec<machine::Ability>,
    agents: Vec<agents::Checkup>,
}

/// Looks, and says what it saw.
pub fn run(args: &Args) -> Result<(), Failure> {
    let machine = machine::look(&args.ovs_db);
    let agents = agents::look(&args.agents)?;
    let report = Report { machine, agents };
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => show(&report)?,
    }
    let sick: Vec<&str> = report
        .agents
        .iter()
        .filter(|agent| !agent.well())
        .map(|agent| agent.socket.as_str())
        .collect();
    if !sick.is_empty() {
        let message = format!("not as it should be: {}", sick.join(", "));
        return Err(Failure::new(Kind::Failed, message)
            .hint("an agent that is started again installs what is desired; its log says more"));
    }
    if !report.machine.iter().any(|ability| ability.is_plane() && ability.able()) {
        return Err(Failure::new(Kind::Unable, "this machine can run no data plane"));
    }
    Ok(())
}

fn show(report: &Report) -> Result<(), Failure> {
    for ability in &report.machine {
        let verdict = if ability.able() { "yes" } else { "no" };
        output::line(&format!("{}: {verdict}", ability.what))?;
        for check in &ability.checks {
            let mark = if check.found { "ok     " } else { "missing" };
            output::line(&format!("  {mark}  {}", check.words))?;
        }
    }
    if report.agents.is_empty() {
        return output::line("agents: none runs here");
    }
    output::line("agents:")?;
    for agent in &report.agents {
        output::line(&format!("  {}: {}", agent.socket, agent.words()))?;
        for drift in &agent.drift {
            output::line(&format!(
                "    table {}: {} missing, {} different, {} that nobody desires",
                drift.table, drift.missing, drift.different, drift.extra
            ))?;
        }
    }
    Ok(())
}
