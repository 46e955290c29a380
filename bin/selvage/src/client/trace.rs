//! `selvage trace`: what happens to a flow, and which objects decide it.

use serde_json::{Value, json};

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
  selvage trace 10.1.1.17 10.1.2.8 tcp/5432 -o json")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Where the flow comes from
    from: String,
    /// Where it goes
    to: String,
    /// What it is
    flow: String,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Asks the controller, and prints its answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let question = json!({"from": args.from, "to": args.to, "flow": args.flow});
    let answer = args.target.login()?.post("/selvage/v1/trace", &question)?;
    if args.output == Format::Json {
        return output::json(&answer);
    }
    output::line(text(&answer, "/text"))?;
    for (end, title) in [("/from", "from"), ("/to", "to")] {
        let part = |name: &str| text(&answer, &format!("{end}/{name}")).to_owned();
        output::line(&format!("  {title:5} {}", part("group")))?;
        output::line(&format!("        in {} of {}", part("bridge_domain"), part("vrf")))?;
    }
    for (leg, title) in [("/forward", "there"), ("/back", "back")] {
        output::line(&format!("  {title:5} {}", text(&answer, &format!("{leg}/text"))))?;
        for object in ["provider", "consumer", "contract", "subject", "filter", "entry"] {
            let dn = text(&answer, &format!("{leg}/chain/{object}"));
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
