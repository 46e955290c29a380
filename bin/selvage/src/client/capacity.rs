//! `selvage capacity`: how many entries each host needs for a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use selvage_controller::need_of;
use selvage_ebpf::Sizes;
use selvage_policy::capacity::Present;
use selvage_policy::trace::{Place, find};
use selvage_policy::{Numbers, compile};
use selvage_rules::Room;
use serde_json::{Value, json};

use super::batch;
use super::files::{self, Files};
use super::output::{self, Format};
use super::rest::Target;
use crate::exit::{Failure, Kind};

/// Arguments of `selvage capacity`.
#[derive(clap::Args)]
#[command(after_help = "\
A host needs the pairs of classes of the groups that have endpoints on it, and the rules behind them;
while it swaps, those of the old policy and of the new one at once. The controller refuses a change
that some host has no room for.

Without --live the hosts are those of --places, a JSON object of group lists:
  {\"host-1\": [\"shop/store/web\", \"shop/store/app\"], \"host-2\": [\"shop/store/db\"]}
or one host that has every group. Exit code 1 when something does not fit.

Examples:
  selvage capacity -f shop.nac.yaml
  selvage capacity -f shop.nac.yaml --places places.json --rules 1000
  selvage capacity --live -f change.yaml     the controller's hosts and their limits")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    files: Files,
    /// Ask the running controller, whose hosts say what they hold
    #[arg(long, conflicts_with_all = ["places", "pairs", "rules"])]
    live: bool,
    /// Which groups have endpoints on which host
    #[arg(long, value_name = "FILE.json")]
    places: Option<PathBuf>,
    /// Pairs of classes that a host holds [default: what the eBPF plane makes room for]
    #[arg(long)]
    pairs: Option<u64>,
    /// Rules that a host holds [default: what the eBPF plane makes room for]
    #[arg(long)]
    rules: Option<u64>,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Counts, and fails if something does not fit.
pub fn run(args: &Args) -> Result<(), Failure> {
    let answer = if args.live {
        let (posts, _) = files::read_all(&args.files.files)?;
        args.target.login()?.post("/selvage/v1/capacity", &files::body(&posts))?
    } else {
        offline(args)?
    };
    match args.output {
        Format::Json => output::json(&answer)?,
        Format::Text => show(&answer)?,
    }
    let hosts = answer.get("hosts").and_then(Value::as_array);
    let full: Vec<&str> = hosts
        .into_iter()
        .flatten()
        .filter(|host| host.get("over").and_then(Value::as_array).is_some_and(|o| !o.is_empty()))
        .filter_map(|host| host.get("name").and_then(Value::as_str))
        .collect();
    if full.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Failed, format!("no room for it on {}", full.join(", "))))
}

fn offline(args: &Args) -> Result<Value, Failure> {
    fn input(error: impl ToString) -> Failure {
        Failure::new(Kind::Input, error.to_string())
    }
    let tree = batch::read_tree(&args.files.files)?;
    let compiled = compile(&tree, &mut Numbers::default());
    let sizes = Sizes::default();
    let room = Room {
        pairs: Some(args.pairs.unwrap_or(sizes.pairs.into())),
        rules: Some(args.rules.unwrap_or(sizes.rules.into())),
    };
    let mut hosts: BTreeMap<String, Present> = BTreeMap::new();
    match &args.places {
        None => {
            let groups = compiled.groups.keys().map(|dn| dn.as_str().into()).collect();
            hosts.insert("any host".to_owned(), Present { groups, node: None });
        }
        Some(path) => {
            let name = path.display();
            let text = std::fs::read(path).map_err(|error| input(format!("{name}: {error}")))?;
            let places: BTreeMap<String, BTreeSet<String>> =
                serde_json::from_slice(&text).map_err(|error| input(format!("{name}: {error}")))?;
            for (host, groups) in places {
                let mut present = Present::default();
                for group in groups {
                    match find(&tree, &group).map_err(input)? {
                        Place::Group(dn) => present.groups.insert(dn.as_str().into()),
                        Place::Endpoint(end) => present.groups.insert(end.group.as_str().into()),
                    };
                }
                hosts.insert(host, present);
            }
        }
    }
    let needs: Vec<_> =
        hosts.iter().map(|(name, present)| need_of(&compiled, name, present, room)).collect();
    Ok(json!({ "hosts": needs }))
}

fn show(answer: &Value) -> Result<(), Failure> {
    let hosts = answer.get("hosts").and_then(Value::as_array);
    let number = |host: &Value, path: &str| {
        host.pointer(path).and_then(Value::as_u64).map_or("-".to_owned(), |n| n.to_string())
    };
    let mut rows = Vec::new();
    for host in hosts.into_iter().flatten() {
        let name = host.get("name").and_then(Value::as_str).unwrap_or_default();
        for table in ["pairs", "rules"] {
            let at = |part: &str| number(host, &format!("/{part}/{table}"));
            let shares = host.get("heaviest").and_then(Value::as_array);
            let heaviest = shares
                .into_iter()
                .flatten()
                .max_by_key(|share| share.get(table).and_then(Value::as_u64).unwrap_or_default());
            let heaviest = heaviest.map(|share| {
                let contract = share.get("contract").and_then(Value::as_str).unwrap_or_default();
                format!("{contract} {}", number(share, &format!("/{table}")))
            });
            rows.push(vec![
                name.to_owned(),
                table.to_owned(),
                at("need"),
                at("at_once"),
                at("room"),
                heaviest.unwrap_or_default(),
            ]);
        }
    }
    output::columns(&["host", "table", "needs", "at once", "holds", "heaviest"], rows, "no hosts")
}
