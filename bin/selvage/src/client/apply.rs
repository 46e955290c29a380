//! `selvage apply`: make the controller's tree what files say, and wait for the hosts.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use selvage_model::{Dn, Post};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{self, Files, Source};
use super::output::{self, Format};
use super::plan::{self, Plan};
use super::rest::{Rest, Target};
use crate::exit::{Failure, Kind};

/// Arguments of `selvage apply`.
#[derive(clap::Args)]
#[command(after_help = "\
Files are YAML in the ACI data model of Network-as-Code, or managed objects in JSON, where
\"status\":\"deleted\" takes an object away. All of them are one transaction: either the whole is
accepted or nothing is touched.

On a terminal the plan is shown first, and applied when you say yes. With --plan or --at it is
refused (exit code 5) if the controller has moved on since.

Examples:
  selvage apply -f examples/three-tier.nac.yaml
  selvage plan -f shop.yaml -o json > plan.json && selvage apply -f shop.yaml --plan plan.json
  selvage apply -f tenants/ --check     say what is wrong with the files, touch nothing
  cat shop.yaml | selvage apply -f -")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    files: Files,
    /// Only read the files and say what is wrong with them
    #[arg(long)]
    check: bool,
    /// Apply only what this plan says (of `selvage plan -o json`), and only if it still holds
    #[arg(long, value_name = "PLAN.json", conflicts_with = "at")]
    plan: Option<PathBuf>,
    /// Apply only if this revision is in force
    #[arg(long, value_name = "REVISION")]
    at: Option<u64>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How long to wait until every host that is touched enforces the change, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What came of it.
#[derive(Serialize)]
struct Outcome {
    /// The controller changed its tree.
    changed: bool,
    #[serde(flatten)]
    progress: Progress,
    /// From before the files were sent until the last host had swapped and this program heard of
    /// it, in microseconds.
    enforced_us: u64,
    faults: Vec<Fault>,
}

/// What the tree says is wrong below what was posted.
#[derive(Serialize)]
struct Fault {
    dn: String,
    code: String,
    severity: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

/// How far the hosts are with a revision, as the controller says it.
#[derive(Serialize, Deserialize)]
struct Progress {
    revision: u64,
    hosts: usize,
    enforcing: usize,
    pending: Vec<String>,
    offline: Vec<String>,
}

/// Reads the files, posts them, waits.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (posts, sources) = files::read_all(&args.files.files)?;
    if args.check {
        eprintln!("{} objects, nothing wrong", posts.iter().map(files::count).sum::<usize>());
        return Ok(());
    }
    let rest = args.target.login()?;
    let body = files::body(&posts);
    let at = agreed(args, &rest, &body)?;
    let start = Instant::now();
    let at = at.map(|revision| format!("&at-revision={revision}")).unwrap_or_default();
    let answer = rest.post(&format!("/api/mo/uni.json?rsp-subtree=modified{at}"), &body)?;
    let changed = answer.get("totalCount").and_then(Value::as_str) != Some("0");
    let progress = wait(&rest, start + Duration::from_secs(args.timeout))?;
    let enforced_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let faults = faults(&rest, &posts, &sources)?;
    let outcome = Outcome { changed, progress, enforced_us, faults };
    show(&outcome, args.output)?;
    let pending = &outcome.progress.pending;
    if pending.is_empty() {
        return Ok(());
    }
    let message = format!(
        "after {} s these hosts do not enforce revision {}: {}",
        args.timeout,
        outcome.progress.revision,
        pending.join(", ")
    );
    Err(Failure::new(Kind::Failed, message)
        .hint("the change is committed; `selvage status` says how far each host is"))
}

/// The revision that the change was looked at with: the one asked for, the plan's, or the one that
/// somebody at a terminal has just agreed to.
fn agreed(args: &Args, rest: &Rest, body: &Value) -> Result<Option<u64>, Failure> {
    if let Some(path) = &args.plan {
        let held = Plan::read(path)?;
        let now = Plan::ask(rest, body)?;
        held.check_against(&now, path)?;
        return Ok(Some(held.revision()));
    }
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if args.at.is_some() || args.yes || !asks || args.output == Format::Json {
        return Ok(args.at);
    }
    let plan = Plan::ask(rest, body)?;
    if plan.is_nothing() {
        return Ok(Some(plan.revision()));
    }
    let mut talk = std::io::stderr().lock();
    let told = write!(talk, "{}\napply this? [y/N] ", plan.text(plan::Paint::for_stderr()));
    told.and_then(|()| talk.flush())
        .map_err(|error| Failure::new(Kind::Failed, format!("writing standard error: {error}")))?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(Kind::Failed, format!("reading the answer: {error}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(Some(plan.revision())),
        _ => Err(Failure::new(Kind::Interrupted, "nothing was applied")),
    }
}

/// Waits until every connected host enforces the newest revision, or the deadline.
fn wait(rest: &Rest, deadline: Instant) -> Result<Progress, Failure> {
    let ask = |query: &str| -> Result<Progress, Failure> {
        serde_json::from_value(rest.get(&format!("/selvage/v1/revision{query}"))?).map_err(
            |error| Failure::new(Kind::Failed, format!("the controller's answer: {error}")),
        )
    };
    let mut progress = ask("")?;
    while !progress.pending.is_empty() && Instant::now() < deadline {
        let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(20));
        progress = ask(&format!("?wait={}&timeout={}", progress.revision, left.as_secs().max(1)))?;
    }
    Ok(progress)
}

/// The faults below the tenants that were posted.
fn faults(rest: &Rest, posts: &[Post], sources: &[Source]) -> Result<Vec<Fault>, Failure> {
    let tenant = |post: &Post| match post.get("dn") {
        Some(dn) => dn.parse::<Dn>().ok().map(|dn| format!("{dn}/")),
        None => post.get("name").map(|name| format!("uni/tn-{name}/")),
    };
    let ours: Vec<String> = posts.iter().filter_map(tenant).collect();
    let answer = rest.get("/api/class/faultInst.json")?;
    let objects = answer.get("imdata").and_then(Value::as_array).cloned().unwrap_or_default();
    let attribute = |object: &Value, name: &str| {
        let path = format!("/faultInst/attributes/{name}");
        object.pointer(&path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Ok(objects
        .iter()
        .map(|object| (attribute(object, "dn"), object))
        .filter(|(dn, _)| ours.iter().any(|tenant| dn.starts_with(tenant.as_str())))
        .map(|(dn, object)| Fault {
            code: attribute(object, "code"),
            severity: attribute(object, "severity"),
            description: attribute(object, "descr"),
            place: sources.iter().find_map(|source| files::place_of(source, &dn)),
            dn,
        })
        .collect())
}

fn show(outcome: &Outcome, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(outcome);
    }
    for fault in &outcome.faults {
        let place = fault.place.as_deref().unwrap_or(&fault.dn);
        output::line(&format!(
            "{}: {} {}: {}",
            fault.severity, fault.code, place, fault.description
        ))?;
    }
    let progress = &outcome.progress;
    if !progress.offline.is_empty() {
        output::line(&format!(
            "not connected, and enforcing what they had: {}",
            progress.offline.join(", ")
        ))?;
    }
    if !outcome.changed {
        return output::line(&format!("nothing to change; revision {} stands", progress.revision));
    }
    let millis = outcome.enforced_us as f64 / 1000.0;
    output::line(&format!(
        "{} of {} hosts enforce revision {} ({millis:.1} ms)",
        progress.enforcing, progress.hosts, progress.revision
    ))
}
