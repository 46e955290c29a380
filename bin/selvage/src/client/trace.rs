//! `selvage trace`: what happens to a flow, and which objects decide it.

use serde_json::{Value, json};

use super::batch;
use super::judges;
use super::output::{self, Format};
use super::rest::Target;
use crate::exit::Failure;

/// Arguments of `selvage trace`.
#[derive(clap::Args)]
#[command(after_help = "\
Ends are groups (`shop/store/web`, or a DN), or endpoints (their address or name).
Flows are `tcp/443`, `udp/53`, `icmp`, `icmp6`, or a protocol number.

Examples:
  selvage trace shop/store/web shop/store/db tcp/5432
  selvage trace 10.1.1.17 10.1.2.8 tcp/5432 -o json
  selvage trace --config shop.nac.yaml --endpoints ends.json --flows flows.jsonl -o jsonl
  selvage trace web-7 db-2 tcp/5432 --judges

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
    #[arg(long, conflicts_with = "flows")]
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
    let question = json!({
        "from": args.from, "to": args.to, "flow": args.flow, "judges": args.judges
    });
    let mut answer = args.target.login()?.post("/selvage/v1/trace", &question)?;
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

fn show(answer: &Value) -> Result<(), Failure> {
    output::line(text(answer, "/text"))?;
    for (end, title) in [("/from", "from"), ("/to", "to")] {
        let part = |name: &str| text(answer, &format!("{end}/{name}")).to_owned();
        output::line(&format!("  {title:5} {}", part("group")))?;
        output::line(&format!("        in {} of {}", part("bridge_domain"), part("vrf")))?;
    }
    for (leg, title) in [("/forward", "there"), ("/back", "back")] {
        output::line(&format!("  {title:5} {}", text(answer, &format!("{leg}/text"))))?;
        for object in ["provider", "consumer", "contract", "subject", "filter", "entry"] {
            let dn = text(answer, &format!("{leg}/chain/{object}"));
            if !dn.is_empty() {
                output::line(&format!("        {object:8} {dn}"))?;
            }
        }
    }
    Ok(())
}

fn text<'v>(answer: &'v Value, pointer: &str) -> &'v str {
    answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
