//! `selvage get`: managed objects, as the controller holds them.

use serde_json::{Map, Value};

use super::output::{self, Format};
use super::rest::Target;
use super::support;
use crate::exit::{Failure, Kind};

/// Arguments of `selvage get`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  selvage get fvTenant                   every tenant
  selvage get fvAEPg --in uni/tn-shop    every EPG of one tenant
  selvage get uni/tn-shop --tree         a tenant with all that is in it
  selvage get faultInst                  what is wrong
  selvage get fvCEp -o json              every endpoint, as the REST API answers
  selvage get --support                  what of each class is enforced, stored only, refused
  selvage get --support vzEntry          the same of one class")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// A class (`fvAEPg`) or the DN of an object (`uni/tn-shop/ap-store/epg-web`)
    #[arg(value_name = "CLASS|DN", required_unless_present = "support")]
    what: Option<String>,
    /// Only objects of the class below this DN
    #[arg(long = "in", value_name = "DN")]
    within: Option<String>,
    /// With everything below it
    #[arg(long)]
    tree: bool,
    /// List what of each class is enforced, stored only, or refused; asks no controller
    #[arg(long, conflicts_with_all = ["within", "tree"])]
    support: bool,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Attributes that nearly every object has and nobody looks for; `-o json` shows them.
const HOUSEKEEPING: &[&str] = &[
    "childAction",
    "dn",
    "extMngdBy",
    "forceResolve",
    "lcOwn",
    "modTs",
    "monPolDn",
    "name",
    "rType",
    "rn",
    "stateQual",
    "status",
    "tCl",
    "tRn",
    "tType",
    "triggerSt",
    "uid",
    "userdom",
];

/// Asks, and prints the objects.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.support {
        return support::run(args.what.as_deref(), args.output);
    }
    let answer = args.target.login()?.get(&args.path())?;
    if args.output == Format::Json {
        return output::json(&answer);
    }
    let objects = answer.get("imdata").and_then(Value::as_array).cloned().unwrap_or_default();
    if objects.is_empty() && args.is_dn() {
        let message = format!("no object `{}`", args.what());
        return Err(Failure::new(Kind::Failed, message)
            .hint("`selvage get fvTenant` lists the tenants; DNs are case-sensitive"));
    }
    if objects.is_empty() {
        eprintln!("no objects of class `{}`", args.what());
    }
    objects.iter().try_for_each(|object| print(object, 0))
}

impl Args {
    /// Empty with `--support` only.
    fn what(&self) -> &str {
        self.what.as_deref().unwrap_or_default()
    }

    /// Every DN but the root's has a slash; no class name has one.
    fn is_dn(&self) -> bool {
        self.what() == "uni" || self.what().contains('/')
    }

    fn path(&self) -> String {
        let subtree = if self.tree { "?rsp-subtree=full" } else { "" };
        match (&self.within, self.is_dn()) {
            (_, true) => format!("/api/mo/{}.json{subtree}", escape(self.what())),
            (Some(dn), false) => {
                format!("/api/class/{}/{}.json{subtree}", escape(dn), escape(self.what()))
            }
            (None, false) => format!("/api/class/{}.json{subtree}", escape(self.what())),
        }
    }
}

/// Percent-encodes what a URL path cannot hold raw.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An object a line: class, name, then the properties that say something.
fn print(object: &Value, depth: usize) -> Result<(), Failure> {
    let Some((class, body)) = object.as_object().and_then(|o| o.iter().next()) else {
        return Ok(());
    };
    let empty = Map::new();
    let attributes = body.get("attributes").and_then(Value::as_object).unwrap_or(&empty);
    let text = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = if text("dn").is_empty() { text("rn") } else { text("dn") };
    let telling: Vec<String> = attributes
        .iter()
        .filter(|(key, _)| !HOUSEKEEPING.contains(&key.as_str()))
        .filter_map(|(key, value)| value.as_str().map(|v| (key, v)))
        .filter(|(_, value)| !matches!(*value, "" | "unspecified" | "not-applicable" | "0"))
        .map(|(key, value)| {
            if value.contains(' ') { format!("{key}={value:?}") } else { format!("{key}={value}") }
        })
        .collect();
    output::line(
        format!("{:depth$}{class} {name}  {}", "", telling.join(" "), depth = depth * 2).trim_end(),
    )?;
    let children = body.get("children").and_then(Value::as_array).into_iter().flatten();
    children.into_iter().try_for_each(|child| print(child, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_escaped_in_paths() {
        assert_eq!(escape("BD-b/subnet-[10.0.0.1/24]"), "BD-b/subnet-%5B10.0.0.1/24%5D");
    }
}
