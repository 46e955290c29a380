//! `selvage trace`: what happens to a flow, and which objects decide it.

use std::path::PathBuf;

use selvage_policy::explain::explain;
use selvage_policy::trace::{find, parse_flow, trace};
use selvage_policy::{Numbers, compile};
use serde_json::{Value, json};

use super::batch;
use super::judges;
use super::output::{self, Format};
use super::rest::Target;
use crate::exit::{Failure, Kind};

/// Arguments of `selvage trace`.
#[derive(clap::Args)]
#[command(after_help = "\
Ends are groups (`shop/store/web`, or a DN), or endpoints (their address or name).
Flows are `tcp/443`, `udp/53`, `icmp`, `icmp6`, or a protocol number.

Examples:
  selvage trace shop/store/web shop/store/db tcp/5432
  selvage trace 10.1.1.17 10.1.2.8 tcp/5432 -o json
  selvage trace --config shop.nac.yaml --endpoints ends.json --flows flows.jsonl -o jsonl
  selvage trace --config shop.nac.yaml shop/store/web shop/store/db tcp/5432
  selvage trace web-7 db-2 tcp/5432 --judges

The answer ends in the smallest change that would turn the verdict, as a file to apply.

With --judges, each judge speaks for itself: the oracle, the rule table, and on every host involved
whose agent runs on this machine what is installed and the data plane itself, which is shown a packet
that nobody sent. No counter, connection or drop comes of it. Exit code 1 when they differ.

With --flows, a line asks and a line answers:
  {\"from\":\"web-1\",\"to\":\"db-1\",\"ether\":\"ipv4\",\"proto\":\"tcp\",\"dport\":5432,\"state\":\"new\"}
  {\"verdict\":\"deny\",\"reason\":\"no-contract\",\"origin\":[],\"log\":false, ...}")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    batch: batch::Asked,
    /// Where the flow comes from
    #[arg(required_unless_present = "flows")]
    from: Option<String>,
    /// Where it goes
    #[arg(required_unless_present = "flows")]
    to: Option<String>,
    /// What it is
    #[arg(required_unless_present = "flows")]
    flow: Option<String>,
    /// Ask every judge, and fail if they differ
    #[arg(long, conflicts_with_all = ["flows", "config"])]
    judges: bool,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Asks the controller, and prints its answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(flows) = &args.batch.flows {
        return batch::run(&args.batch, flows, &args.target, args.output);
    }
    let mut answer = match &args.batch.config[..] {
        [] => {
            let question = json!({
                "from": args.from, "to": args.to, "flow": args.flow,
                "judges": args.judges, "explain": true,
            });
            args.target.login()?.post("/selvage/v1/trace", &question)?
        }
        files => offline(args, files)?,
    };
    let hearing = args.judges.then(|| judges::hear(&answer, &args.target.run_dir)).transpose()?;
    match (args.output, &hearing) {
        (Format::Json, None) => output::json(&answer)?,
        (Format::Json, Some(hearing)) => {
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("judges".to_owned(), json!(hearing));
            }
            output::json(&answer)?;
        }
        (Format::Text, None) => show(&answer)?,
        (Format::Text, Some(hearing)) => {
            output::line(text(&answer, "/text"))?;
            hearing.show()?;
        }
    }
    hearing.map_or(Ok(()), |hearing| hearing.verdict())
}

/// The answer of files, each applied to what those before it say; no controller is asked.
fn offline(args: &Args, files: &[PathBuf]) -> Result<Value, Failure> {
    fn input(error: impl ToString) -> Failure {
        Failure::new(Kind::Input, error.to_string())
    }
    let tree = batch::read_tree(files)?;
    let compiled = compile(&tree, &mut Numbers::default());
    let end = |text: &Option<String>| find(&tree, text.as_deref().unwrap_or_default());
    let (from, to) = (end(&args.from).map_err(input)?, end(&args.to).map_err(input)?);
    let (flow, family) = parse_flow(args.flow.as_deref().unwrap_or_default()).map_err(input)?;
    let packet = trace(&compiled, &from, &to, flow, family).forward.packet;
    let explanation = explain(&tree, &compiled, (&from, &to), &packet);
    serde_json::to_value(explanation).map_err(|error| Failure::new(Kind::Failed, error.to_string()))
}

fn show(answer: &Value) -> Result<(), Failure> {
    output::line(text(answer, "/text"))?;
    for (end, title) in [("/from", "from"), ("/to", "to")] {
        let part = |name: &str| text(answer, &format!("{end}/{name}")).to_owned();
        output::line(&format!("  {title:5} {}", part("group")))?;
        let because = text(answer, &format!("{end}_because"));
        let because = if because.is_empty() { String::new() } else { format!(": {because}") };
        output::line(&format!("        in {} of {}{because}", part("bridge_domain"), part("vrf")))?;
    }
    show_rules(answer)?;
    for (leg, title) in [("/forward", "there"), ("/back", "back")] {
        output::line(&format!("  {title:5} {}", text(answer, &format!("{leg}/text"))))?;
        for object in ["provider", "consumer", "contract", "subject", "filter", "entry"] {
            let dn = text(answer, &format!("{leg}/chain/{object}"));
            if !dn.is_empty() {
                output::line(&format!("        {object:8} {dn}"))?;
            }
        }
    }
    show_misses(answer)?;
    show_change(answer)
}

/// The rules that were looked at, those that match and what stands beside them.
fn show_rules(answer: &Value) -> Result<(), Failure> {
    let rules = answer.get("considered").and_then(Value::as_array);
    for (at, rule) in rules.into_iter().flatten().enumerate() {
        let title = if at == 0 { "rules" } else { "" };
        let is = |name: &str| rule.get(name).and_then(Value::as_bool).unwrap_or_default();
        let sign = match (is("decides"), is("matches")) {
            (true, _) => "decides",
            (_, true) => "matches",
            _ => "-",
        };
        let origin = [text(rule, "/entry"), text(rule, "/subject")];
        let origin = origin.into_iter().find(|dn| !dn.is_empty()).unwrap_or_default();
        let (action, traffic) = (text(rule, "/action"), text(rule, "/traffic"));
        let rank = rule.get("priority").and_then(Value::as_u64).unwrap_or_default();
        output::line(&format!("  {title:5} {sign:8} {rank:2} {action} {traffic}  {origin}"))?;
    }
    Ok(())
}

fn show_misses(answer: &Value) -> Result<(), Failure> {
    let misses = answer.pointer("/forward/misses").and_then(Value::as_array);
    for (at, miss) in misses.into_iter().flatten().enumerate() {
        let title = if at == 0 { "near" } else { "" };
        output::line(&format!("  {title:5} {}", text(miss, "/text")))?;
    }
    Ok(())
}

/// The smallest change, as a file: YAML where that can say it.
fn show_change(answer: &Value) -> Result<(), Failure> {
    let Some(change) = answer.get("change") else { return Ok(()) };
    let makes = text(change, "/makes");
    let objects = change.get("objects").and_then(Value::as_array).map_or(0, Vec::len);
    let others = change.get("other_pairs").and_then(Value::as_u64).unwrap_or_default();
    let also = match others {
        0 => "nothing else changes".to_owned(),
        1 => "1 other pair of groups changes with it".to_owned(),
        more => format!("{more} other pairs of groups change with it"),
    };
    let noun = if objects == 1 { "object" } else { "objects" };
    let text_of_it = text(change, "/text");
    output::line(&format!("  to {makes} it: {text_of_it} ({objects} {noun}; {also})"))?;
    let file = match change.get("yaml").and_then(Value::as_str) {
        Some(yaml) => yaml.to_owned(),
        None => change.get("json").map(Value::to_string).unwrap_or_default(),
    };
    file.lines().try_for_each(|line| output::line(&format!("    {line}")))
}

fn text<'v>(answer: &'v Value, pointer: &str) -> &'v str {
    answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
