//! `selvage status`: which host enforces which revision.

use serde::Deserialize;

use super::output::{self, Format};
use super::rest::Target;
use crate::exit::{Failure, Kind};

/// Arguments of `selvage status`.
#[derive(clap::Args)]
#[command(after_help = "Ends with exit code 1 when a connected host is behind, or none is there.")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The parts of the controller's answer that are shown.
#[derive(Deserialize)]
struct Status {
    progress: Progress,
    hosts: Vec<Host>,
    endpoints: usize,
    objects: usize,
    policy: Policy,
    faults: std::collections::BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Progress {
    revision: u64,
    hosts: usize,
    enforcing: usize,
    pending: Vec<String>,
}

#[derive(Deserialize)]
struct Policy {
    groups: usize,
    pairs: usize,
    rules: usize,
}

#[derive(Deserialize)]
struct Host {
    name: String,
    online: bool,
    tunnel: Option<String>,
    enforces: u64,
    pending: bool,
    took_ms: Option<u64>,
    last_seen_ms: u64,
    endpoints: usize,
}

/// Asks the controller, and prints its answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let answer = args.target.login()?.get("/selvage/v1/status")?;
    let status = Status::deserialize(&answer)
        .map_err(|error| Failure::new(Kind::Failed, format!("the controller's answer: {error}")))?;
    match args.output {
        Format::Json => output::json(&answer)?,
        Format::Text => show(&status)?,
    }
    let behind = &status.progress.pending;
    if !behind.is_empty() {
        let message = format!("behind: {}", behind.join(", "));
        return Err(Failure::new(Kind::Failed, message).hint("the agent's log there says why"));
    }
    if status.hosts.is_empty() {
        return Err(Failure::new(Kind::Failed, "no host has ever connected")
            .hint("start `selvage agent --controller ADDR:8009` on a host"));
    }
    Ok(())
}

fn show(status: &Status) -> Result<(), Failure> {
    let progress = &status.progress;
    output::line(&format!(
        "{} of {} hosts enforce revision {}",
        progress.enforcing, progress.hosts, progress.revision
    ))?;
    let policy = &status.policy;
    output::line(&format!(
        "{} objects, {} groups, {} pairs, {} rules, {} endpoints",
        status.objects, policy.groups, policy.pairs, policy.rules, status.endpoints
    ))?;
    for (severity, count) in &status.faults {
        output::line(&format!("{count} {severity} faults: `selvage get faultInst` shows them"))?;
    }
    let headings = ["host", "state", "enforces", "took", "endpoints", "tunnel", "last heard of"];
    output::columns(&headings, status.hosts.iter().map(row).collect(), "no hosts")
}

fn row(host: &Host) -> Vec<String> {
    let state = match (host.online, host.pending) {
        (false, _) => "offline",
        (true, true) => "behind",
        (true, false) => "ok",
    };
    vec![
        host.name.clone(),
        state.to_owned(),
        host.enforces.to_string(),
        host.took_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
        host.endpoints.to_string(),
        host.tunnel.clone().unwrap_or_else(|| "-".to_owned()),
        format!("{}.{} s ago", host.last_seen_ms / 1000, host.last_seen_ms % 1000 / 100),
    ]
}
