//! `selvage check` and `selvage lint`: what files say of themselves, before anybody is asked to do it.

use selvage_controller::Checked;
use selvage_model::{Post, initial_tree};
use selvage_policy::lint::Level;
use serde_json::{Value, json};

use super::files::{self, Files, Source};
use super::output::{self, Format};
use super::rest::Target;
use crate::exit::{Failure, Kind};

/// Arguments of `selvage check`.
#[derive(clap::Args)]
#[command(after_help = "\
Assertions stand in the `selvage:` section of the files:

  selvage:
    assertions:
      - name: app-reaches-db
        assert: reachable          # all of it passes, and answers come back
        from: shop/store/app
        to: shop/store/db
        traffic: [tcp/5432]
      - name: only-app-reaches-db
        assert: only               # nothing outside `from` reaches `to`
        from: shop/store/app
        to: shop/store/db

Kinds are reachable, unreachable, only, isolated. Each holds for every packet there is, or a packet
shows that it does not. Applied with the policy, they stay with it: the controller refuses a change
that would make one false.

Examples:
  selvage check -f shop.nac.yaml
  selvage check -f shop.nac.yaml -f assertions.yaml -o json
  selvage check --live -f change.yaml    the controller's policy with this file applied to it")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    files: Files,
    /// Ask the running controller about its policy with these files applied to it; touches nothing
    #[arg(long)]
    live: bool,
    /// Fail (exit code 7) when lint finds something
    #[arg(long)]
    strict: bool,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `selvage lint`.
#[derive(clap::Args)]
#[command(after_help = "\
Warnings are hardly what was meant: shadowed, never-matches, not-provided, not-consumed, no-subject,
no-filter. Notes may be: redundant, unused-contract, unused-filter, wide, opens-back.

Examples:
  selvage lint -f shop.nac.yaml
  selvage lint -f tenants/ --strict -o json")]
pub struct LintArgs {
    #[command(flatten)]
    files: Files,
    /// Fail (exit code 7) when something is found
    #[arg(long)]
    strict: bool,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Checks, and fails if an assertion does not hold.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (posts, sources) = files::read_all(&args.files.files)?;
    let checked = match args.live {
        true => args.target.login()?.post("/selvage/v1/check", &files::body(&posts))?,
        false => as_json(&offline(posts)?)?,
    };
    let checked = placed(checked, &sources);
    match args.output {
        Format::Json => output::json(&checked)?,
        Format::Text => show(&checked)?,
    }
    let list =
        |name: &str| checked.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let untrue = list("assertions").iter().filter(|one| !holds(one)).count();
    if untrue > 0 {
        let noun = if untrue == 1 { "assertion does" } else { "assertions do" };
        return Err(Failure::new(Kind::Untrue, format!("{untrue} {noun} not hold")));
    }
    strict(args.strict, list("lint").len())
}

/// Lints.
pub fn lint(args: &LintArgs) -> Result<(), Failure> {
    let (posts, sources) = files::read_all(&args.files.files)?;
    let checked = placed(as_json(&offline(posts)?)?, &sources);
    let found = checked.get("lint").cloned().unwrap_or_else(|| json!([]));
    let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
    match args.output {
        Format::Json => output::json(&found)?,
        Format::Text => {
            show_lint(found)?;
            output::line(&count(found))?;
        }
    }
    strict(args.strict, found.len())
}

fn strict(strict: bool, found: usize) -> Result<(), Failure> {
    if !strict || found == 0 {
        return Ok(());
    }
    let noun = if found == 1 { "thing" } else { "things" };
    Err(Failure::new(Kind::Untidy, format!("lint found {found} {noun}")))
}

fn offline(posts: Vec<Post>) -> Result<Checked, Failure> {
    let all = posts.into_iter().fold(Post::new("polUni"), Post::child);
    selvage_controller::check(&initial_tree(), &[all]).map_err(|refusals| {
        let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        Failure::new(Kind::Input, texts.join("\n"))
    })
}

fn as_json(checked: &Checked) -> Result<Value, Failure> {
    serde_json::to_value(checked).map_err(|error| Failure::new(Kind::Failed, error.to_string()))
}

/// With the place in the files of whatever an answer is about.
fn placed(mut checked: Value, sources: &[Source]) -> Value {
    for list in ["assertions", "lint", "faults"] {
        let items = checked.get_mut(list).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
            let below = item.get("dn").and_then(Value::as_str).map(|dn| format!("{dn}/"));
            let place = |source| files::place_of(source, below.as_deref().unwrap_or_default());
            if let Some(place) = sources.iter().find_map(place) {
                item.insert("place".to_owned(), Value::String(place));
            }
        }
    }
    checked
}

fn holds(answer: &Value) -> bool {
    answer.get("holds").and_then(Value::as_bool).unwrap_or_default()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn show(checked: &Value) -> Result<(), Failure> {
    let list = |name: &str| checked.get(name).and_then(Value::as_array);
    let list = |name: &str| list(name).map(Vec::as_slice).unwrap_or_default();
    let (assertions, lint, faults) = (list("assertions"), list("lint"), list("faults"));
    for answer in assertions {
        let sign = if holds(answer) { "holds" } else { "FALSE" };
        output::line(&format!("{sign}  {}: {}", text(answer, "name"), text(answer, "asserts")))?;
        if !holds(answer) {
            output::line(&format!("       {}", text(answer, "why")))?;
            line_if("       at", text(answer, "place"))?;
        }
    }
    for fault in faults {
        let place = place_or_dn(fault);
        let (severity, code) = (text(fault, "severity"), text(fault, "code"));
        output::line(&format!("{severity}  {code} {place}: {}", text(fault, "text")))?;
    }
    show_lint(lint)?;
    let untrue = assertions.iter().filter(|one| !holds(one)).count();
    output::line(&format!(
        "{} assertions, {untrue} false; {} faults; {}",
        assertions.len(),
        faults.len(),
        count(lint),
    ))
}

fn show_lint(found: &[Value]) -> Result<(), Failure> {
    for finding in found {
        let (level, code, place) =
            (text(finding, "level"), text(finding, "code"), place_or_dn(finding));
        output::line(&format!("{level}  {code} {place}: {}", text(finding, "text")))?;
        let dn = text(finding, "dn");
        if place != dn {
            output::line(&format!("         {dn}"))?;
        }
        line_if("         mend:", text(finding, "mend"))?;
    }
    Ok(())
}

fn place_or_dn(value: &Value) -> &str {
    match text(value, "place") {
        "" => text(value, "dn"),
        place => place,
    }
}

fn line_if(before: &str, text: &str) -> Result<(), Failure> {
    if text.is_empty() { Ok(()) } else { output::line(&format!("{before} {text}")) }
}

fn count(found: &[Value]) -> String {
    let is = |level: Level| {
        let level = serde_json::to_value(level).unwrap_or_default();
        found.iter().filter(|one| one.get("level") == Some(&level)).count()
    };
    format!("lint: {} warnings, {} notes", is(Level::Warning), is(Level::Note))
}
