//! `selvage apply`: make the controller's tree what files say, and wait for the hosts.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use selvage_model::Post;
use selvage_model::manifest::{self, Diagnostic, Span};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::output::{self, Format};
use super::picture;
use super::rest::{Rest, Target};
use crate::exit::{Failure, Kind};

/// Arguments of `selvage apply`.
#[derive(clap::Args)]
#[command(after_help = "\
Files are YAML in the ACI data model of Network-as-Code. All of them are one transaction: either the
whole is accepted or nothing is touched.

Examples:
  selvage apply -f examples/three-tier.nac.yaml
  selvage apply -f tenants/ --check     say what is wrong with the files, touch nothing
  cat shop.yaml | selvage apply -f -")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// A file, a directory of *.yaml and *.yml files, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Only read the files and say what is wrong with them
    #[arg(long)]
    check: bool,
    /// How long to wait until every host that is touched enforces the change, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One file that was read.
struct Source {
    name: String,
    text: String,
    places: BTreeMap<String, Span>,
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
    let (posts, sources) = read_all(&args.files)?;
    if args.check {
        eprintln!("{} objects, nothing wrong", posts.iter().map(count).sum::<usize>());
        return Ok(());
    }
    let rest = args.target.login()?;
    let start = Instant::now();
    let answer = rest.post("/api/mo/uni.json?rsp-subtree=modified", &body(&posts))?;
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

/// Reads every file; the failure shows all that is wrong with all of them.
fn read_all(paths: &[PathBuf]) -> Result<(Vec<Post>, Vec<Source>), Failure> {
    let mut posts = Vec::new();
    let mut sources = Vec::new();
    let mut pictures = Vec::new();
    let mut wrong = 0;
    for path in expand(paths)? {
        let (name, text) = read(&path)?;
        match manifest::parse(&text) {
            Ok(manifest) => {
                posts.extend(manifest.posts);
                sources.push(Source { name, text, places: manifest.places });
            }
            Err(diagnostics) => {
                wrong += diagnostics.len();
                pictures.extend(draw(&name, &text, &diagnostics));
            }
        }
    }
    if pictures.is_empty() {
        return Ok((posts, sources));
    }
    let noun = if wrong == 1 { "mistake" } else { "mistakes" };
    let message = format!("{}\n{wrong} {noun}; nothing was sent", pictures.join("\n"));
    Err(Failure::new(Kind::Input, message))
}

fn draw(name: &str, text: &str, diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|d| picture::draw(name, text, d)).collect()
}

/// Directories as the files in them, by name.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
            .collect();
        if found.is_empty() {
            let message = format!("no *.yaml or *.yml file in {}", path.display());
            return Err(Failure::new(Kind::Input, message));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn read(path: &Path) -> Result<(String, String), Failure> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
        return Ok(("standard input".to_owned(), text));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok((path.display().to_string(), text))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Input, format!("cannot read {}: {error}", path.display()))
}

fn count(post: &Post) -> usize {
    1 + post.children.iter().map(count).sum::<usize>()
}

/// The posted tree as the body of one transaction.
fn body(posts: &[Post]) -> Value {
    json!({"polUni": {"attributes": {}, "children": posts.iter().map(object).collect::<Vec<_>>()}})
}

fn object(post: &Post) -> Value {
    let attributes: Map<String, Value> = post
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    let children: Vec<Value> = post.children.iter().map(object).collect();
    let mut object = Map::new();
    object.insert(post.class.clone(), json!({"attributes": attributes, "children": children}));
    Value::Object(object)
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
    let ours: Vec<String> =
        posts.iter().filter_map(|p| p.get("name")).map(|n| format!("uni/tn-{n}/")).collect();
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
            place: sources.iter().find_map(|source| place_of(source, &dn)),
            dn,
        })
        .collect())
}

/// Where the object of a fault, or the nearest one above it, was written.
fn place_of(source: &Source, fault: &str) -> Option<String> {
    let (_, span) = source
        .places
        .iter()
        .filter(|(dn, _)| fault.starts_with(&format!("{dn}/")))
        .max_by_key(|(dn, _)| dn.len())?;
    debug_assert!(span.start <= source.text.len());
    Some(format!("{}:{}:{}", source.name, span.line, span.column))
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
