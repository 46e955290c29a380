//! Entries that permit more than a service, and those that let the provider open.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{Action, EtherType, Match, PortRange, Rule, TcpMatch, proto};

use super::decides::{Cell, Cells};
use super::{Code, Finding, finding};
use crate::compile::Compiled;
use crate::plan::cube::{Bytes, Cube, Layout, established};
use crate::trace::{describe, name};

/// Ports in one range that are still one service: FTP's passive ranges and the like are narrower.
const MOST_PORTS: u32 = 1024;

/// What is wide or opens back, of the entries that decide about a packet.
pub(super) fn findings(compiled: &Compiled, cells: &Cells<'_>) -> Vec<Finding> {
    let mut wide: BTreeMap<Arc<str>, Finding> = BTreeMap::new();
    let mut opens: BTreeMap<Arc<str>, Finding> = BTreeMap::new();
    for (rule, cell, cubes) in cells.deciding() {
        if rule.action == Action::Deny || cubes.is_empty() {
            continue;
        }
        let Some(origin) = compiled.table.origins.get(&rule.id) else { continue };
        let Ok(entry) = origin.entry.parse::<Dn>() else { continue };
        if origin.reverse {
            if !rule.stateful && cubes.iter().any(opens_something) {
                let found = || opens_back(&entry, rule, cell);
                opens.entry(origin.entry.clone()).or_insert_with(found);
            }
        } else if let Some(why) = breadth(&rule.matches) {
            wide.entry(origin.entry.clone()).or_insert_with(|| {
                let text =
                    format!("entry `{}` permits {}: {why}", name(&entry), describe(&rule.matches));
                let mend = "name the protocols and ports that are needed".to_owned();
                finding(Code::Wide, &entry, None, text, mend)
            });
        }
    }
    wide.into_values().chain(opens.into_values()).collect()
}

fn breadth(matches: &Match) -> Option<String> {
    let narrow = matches.arp_op.is_some() || matches.later_fragments_only;
    let is_ip = matches.ether.matches(EtherType::IPV4) || matches.ether.matches(EtherType::IPV6);
    if narrow || !is_ip {
        return None;
    }
    let Some(protocol) = matches.proto else {
        return Some("every protocol".to_owned());
    };
    if !matches!(protocol, proto::TCP | proto::UDP | proto::SCTP) || matches.tcp != TcpMatch::Any {
        return None;
    }
    let size = |range: PortRange| u32::from(range.last) - u32::from(range.first) + 1;
    let ports = size(matches.dport).min(size(matches.sport));
    match ports {
        65536 => Some("every port".to_owned()),
        ports if ports > MOST_PORTS => Some(format!("{ports} ports")),
        _ => None,
    }
}

/// Whether a packet of these may be the first of a connection.
fn opens_something(cube: &Cube) -> bool {
    let first: Bytes = established().complement();
    match cube.layout {
        Layout::Tcp => (0..=u8::MAX).any(|byte| first.has(byte) && cube.flags.has(byte)),
        Layout::Ports => true,
        _ => false,
    }
}

fn opens_back(entry: &Dn, rule: &Rule, cell: &Cell<'_>) -> Finding {
    let short = |dn: &Option<Arc<str>>| {
        let dn = dn.as_ref().and_then(|text| text.parse::<Dn>().ok());
        dn.map(|dn| name(&dn).to_owned()).unwrap_or_default()
    };
    let text = format!(
        "entry `{}` is not stateful, so a provider may open connections to its consumers with {}, for \
         one {} to {}",
        name(entry),
        describe(&rule.matches),
        short(&cell.from.group),
        short(&cell.to.group),
    );
    let mend = "make it stateful: answers then pass by the connection, and nothing else does";
    finding(Code::OpensBack, entry, None, text, mend.to_owned())
}
