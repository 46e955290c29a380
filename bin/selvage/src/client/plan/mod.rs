//! `selvage plan`: what applying files would do, before anything is touched.

mod text;

use std::fs;
use std::path::{Path, PathBuf};

use selvage_model::Post;
use selvage_policy::plan::Change;
use serde::Deserialize;
use serde_json::Value;

use super::files::{self, Files};
use super::output::{self, Format};
use super::rest::{Rest, Target};
use crate::exit::{Difference, Failure, Kind};

pub use text::Paint;

/// Arguments of `selvage plan`.
#[derive(clap::Args)]
#[command(after_help = "\
Says which groups gain or lose what traffic, by which contract, and a packet to see each change by;
which objects change; and how many entries change on which host. Nothing is touched.

Examples:
  selvage plan -f shop.nac.yaml
  selvage plan -f shop.nac.yaml -o json > plan.json && selvage apply -f shop.nac.yaml --plan plan.json
  selvage plan --offline before.nac.yaml after.nac.yaml     compare two files, without a controller")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    files: Option<Files>,
    /// Compare two files as if each were all of the policy; asks no controller
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"], conflicts_with = "files")]
    offline: Vec<PathBuf>,
    /// End with 10 if objects would change, 11 if traffic would
    #[arg(long)]
    detailed_exitcode: bool,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Asks what files would do, and prints it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let plan = match (&args.offline[..], &args.files) {
        ([before, after], _) => offline(before, after)?,
        (_, Some(files)) => {
            let (posts, _) = files::read_all(&files.files)?;
            Plan::ask(&args.target.login()?, &files::body(&posts))?
        }
        _ => {
            let message = "nothing to plan: name files with -f, or two with --offline";
            return Err(Failure::new(Kind::Input, message));
        }
    };
    match args.output {
        Format::Json => output::json(&plan.raw)?,
        Format::Text => output::line(plan.text(Paint::for_stdout()).trim_end())?,
    }
    let found = if !plan.view.traffic.is_empty() {
        Difference::Traffic
    } else if !plan.view.objects.is_empty() {
        Difference::Objects
    } else {
        return Ok(());
    };
    if args.detailed_exitcode { Err(Failure::new(Kind::Found(found), "")) } else { Ok(()) }
}

fn offline(before: &Path, after: &Path) -> Result<Plan, Failure> {
    let read = |path: &Path| -> Result<Post, Failure> {
        let (posts, _) = files::read_all(&[path.to_owned()])?;
        Ok(posts.into_iter().fold(Post::new("polUni"), Post::child))
    };
    let planned =
        selvage_controller::compare(&read(before)?, &read(after)?).map_err(|refusals| {
            let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            Failure::new(Kind::Input, texts.join("\n"))
        })?;
    let raw = serde_json::to_value(planned)
        .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    Plan::of(raw)
}

/// A plan, as the controller gives it and as it is shown.
pub struct Plan {
    raw: Value,
    view: View,
}

/// What is shown of a plan.
#[derive(Deserialize)]
struct View {
    /// Absent where no controller was asked.
    revision: Option<u64>,
    traffic: Vec<Change>,
    objects: Objects,
    endpoints: Vec<Endpoints>,
    hosts: Vec<Host>,
    faults: Faults,
}

#[derive(Deserialize)]
struct Objects {
    created: Vec<Object>,
    modified: Vec<Object>,
    deleted: Vec<Object>,
}

impl Objects {
    fn is_empty(&self) -> bool {
        self.created.is_empty() && self.modified.is_empty() && self.deleted.is_empty()
    }
}

#[derive(Deserialize)]
struct Object {
    dn: String,
    #[serde(default)]
    props: Vec<Prop>,
}

#[derive(Deserialize)]
struct Prop {
    name: String,
    before: String,
    after: String,
}

#[derive(Deserialize)]
struct Endpoints {
    endpoints: usize,
}

#[derive(Deserialize)]
struct Host {
    name: String,
    endpoints: usize,
    pairs: Entries,
    rules: Entries,
}

#[derive(Deserialize)]
struct Entries {
    added: usize,
    changed: usize,
    removed: usize,
}

#[derive(Deserialize)]
struct Faults {
    raised: Vec<Fault>,
    cleared: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    dn: String,
    text: String,
}

impl Plan {
    /// Asks the controller what a posted tree would do.
    pub fn ask(rest: &Rest, body: &Value) -> Result<Plan, Failure> {
        Plan::of(rest.post("/selvage/v1/plan", body)?)
    }

    /// Reads what `selvage plan -o json` printed.
    pub fn read(path: &Path) -> Result<Plan, Failure> {
        let bad = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Input, format!("{} is no plan: {error}", path.display()))
                .hint("`selvage plan -f FILE -o json` makes one")
        };
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::new(Kind::Input, format!("cannot read {}: {error}", path.display()))
        })?;
        let raw: Value = serde_json::from_str(&text).map_err(|error| bad(&error))?;
        let plan = Plan::of(raw).map_err(|failure| bad(&failure))?;
        match plan.view.revision {
            Some(_) => Ok(plan),
            None => Err(bad(&"it was made offline, against no revision of a controller")),
        }
    }

    fn of(raw: Value) -> Result<Plan, Failure> {
        let view = View::deserialize(&raw)
            .map_err(|error| Failure::new(Kind::Failed, format!("the plan: {error}")))?;
        Ok(Plan { raw, view })
    }

    /// The revision it was made against.
    pub fn revision(&self) -> u64 {
        self.view.revision.unwrap_or_default()
    }

    /// Whether nothing at all would change.
    pub fn is_nothing(&self) -> bool {
        self.view.objects.is_empty() && self.view.traffic.is_empty()
    }

    /// Whether this plan, which was read from `path`, is what `now` says too.
    pub fn check_against(&self, now: &Plan, path: &Path) -> Result<(), Failure> {
        let name = path.display();
        if self.revision() != now.revision() {
            let message = format!(
                "{name} was made against revision {}, but revision {} is in force: nothing was \
                 applied",
                self.revision(),
                now.revision(),
            );
            return Err(Failure::new(Kind::Stale, message)
                .hint("plan again: somebody else has changed the policy since"));
        }
        let differs = |part: &str| self.raw.get(part) != now.raw.get(part);
        if differs("objects") || differs("traffic") {
            let message = format!("{name} is not the plan of these files: nothing was applied");
            return Err(Failure::new(Kind::Input, message)
                .hint("the files have changed since, or are others; plan again"));
        }
        Ok(())
    }

    /// The plan in words.
    pub fn text(&self, paint: Paint) -> String {
        text::render(&self.view, paint)
    }
}
