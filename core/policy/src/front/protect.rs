//! Host protection policies: what may reach and leave an endpoint, whatever contracts say.
//!
//! Which endpoints a policy protects the tree does not say: an orchestrator knows, and an endpoint
//! that is told names its policies (see [`crate::batch`]).

use std::net::IpAddr;

use selvage_model::{Dn, Mo};
use selvage_rules::{
    EtherMatch, FarEnd, Gate, IcmpMatch, Match, PortRange, Prefix, Protection, proto,
};

use super::Reader;
use super::entry::{ether_type, named_port, named_protocol};
use crate::ir::Intent;
use crate::problem::Cause;

/// Reads the policies.
pub(super) fn policies(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("hostprotPol") {
        let mut policy = Protection::default();
        let subjects = reader.objects.under(mo.dn(), "hostprotSubj");
        let rules = subjects.iter().flat_map(|mo| reader.objects.under(mo.dn(), "hostprotRule"));
        for mo in rules.collect::<Vec<_>>() {
            match gate(reader, mo) {
                Ok(gate) if mo.get("direction") == "egress" => policy.egress.push(gate),
                Ok(gate) => policy.ingress.push(gate),
                Err(why) => {
                    let text = format!("{why}: the rule matches nothing");
                    reader.problem(mo.dn(), Cause::BadProtection, text);
                    // What a broken rule was to drop is unknown, so nothing may pass after it.
                    if denies(mo) {
                        let closed = closed(mo);
                        policy.ingress.push(closed.clone());
                        policy.egress.push(closed);
                    }
                }
            }
        }
        for gates in [&mut policy.ingress, &mut policy.egress] {
            gates.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
        }
        intent.protections.insert(mo.dn().clone(), policy);
    }
}

fn denies(mo: &Mo) -> bool {
    mo.get("action").split(',').any(|word| word == "deny")
}

fn order(mo: &Mo) -> u16 {
    mo.get("order").parse().unwrap_or(u16::MAX)
}

/// Drops everything at the place of the rule `mo`.
fn closed(mo: &Mo) -> Gate {
    Gate {
        name: mo.dn().shared(),
        order: order(mo),
        matches: Match::EVERYTHING,
        remote: FarEnd::Anyone,
        permit: false,
        reflexive: false,
        log: false,
    }
}

fn gate(reader: &Reader<'_>, mo: &Mo) -> Result<Gate, String> {
    if !mo.get("toDns").is_empty() {
        return Err(format!("domain names such as `{}` are not known here", mo.get("toDns")));
    }
    Ok(Gate {
        matches: matches(mo)?,
        remote: remote(reader, mo)?,
        permit: !denies(mo),
        reflexive: mo.get("connTrack") != "normal",
        log: mo.get("action").split(',').any(|word| word == "log"),
        ..closed(mo)
    })
}

fn matches(mo: &Mo) -> Result<Match, String> {
    let ether = match mo.get("ethertype") {
        "undefined" | "" => EtherMatch::Any,
        word => ether_type(word)?,
    };
    let protocol = named_protocol(mo.get("protocol"))?;
    let is_ip =
        matches!(ether, EtherMatch::Any) || matches!(ether, EtherMatch::Is(ether) if ether.is_ip());
    if protocol.is_some() && !is_ip {
        return Err(format!("protocol `{}` needs an IP Ethernet type", mo.get("protocol")));
    }
    let (from, to) = (named_port(mo.get("fromPort"))?, named_port(mo.get("toPort"))?);
    let dport = match (from, to) {
        (None, None) => PortRange::ANY,
        (Some(one), None) | (None, Some(one)) => PortRange::one(one),
        (Some(first), Some(last)) if first <= last => PortRange { first, last },
        (Some(first), Some(last)) => {
            return Err(format!("port range `{first}` to `{last}` is upside down"));
        }
    };
    let has_ports = matches!(protocol, Some(proto::TCP | proto::UDP | proto::SCTP));
    if dport != PortRange::ANY && !has_ports {
        return Err(format!("ports need a protocol that has them, not `{}`", mo.get("protocol")));
    }
    let byte = |prop: &str| mo.get(prop).parse::<u8>().ok();
    let icmp = IcmpMatch { kind: byte("icmpType"), code: byte("icmpCode") };
    let is_icmp = matches!(protocol, Some(proto::ICMP | proto::ICMPV6));
    if icmp != IcmpMatch::default() && !is_icmp {
        return Err(format!("an ICMP type needs protocol `icmp`, not `{}`", mo.get("protocol")));
    }
    Ok(Match { ether, proto: protocol, dport, icmp, ..Match::EVERYTHING })
}

/// Who is at the other end: addresses of the rule, and of the sets that it names, of these only those
/// whose labels fit if it asks for labels.
fn remote(reader: &Reader<'_>, mo: &Mo) -> Result<FarEnd, String> {
    let own = reader.objects.under(mo.dn(), "hostprotRemoteIp");
    let named = reader.objects.under(mo.dn(), "hostprotRsRemoteIpContainer");
    let filters = reader.objects.under(mo.dn(), "hostprotFilterContainer");
    if own.is_empty() && named.is_empty() && filters.is_empty() {
        return Ok(FarEnd::Anyone);
    }
    let mut prefixes: Vec<Prefix> =
        own.into_iter().map(|mo| prefix(mo.get("addr"))).collect::<Result<_, _>>()?;
    for relation in named {
        let missing = || format!("there is no set of addresses `{}`", relation.get("tDn"));
        let set = reader.target(relation).ok_or_else(missing)?;
        for address in reader.objects.under(&set, "hostprotRemoteIp") {
            if filters.is_empty() || filters.iter().any(|mo| fits(reader, mo.dn(), address.dn())) {
                prefixes.push(prefix(address.get("addr"))?);
            }
        }
    }
    prefixes.sort();
    prefixes.dedup();
    Ok(FarEnd::These(prefixes))
}

/// Whether the labels of an address fulfil every condition of a filter.
fn fits(reader: &Reader<'_>, filter: &Dn, address: &Dn) -> bool {
    let labels = reader.objects.under(address, "hostprotEpLabel");
    reader.objects.under(filter, "hostprotPodFilter").iter().all(|condition| {
        let label = labels.iter().find(|label| label.get("key") == condition.get("key"));
        let among = || {
            let value = label.map_or("", |label| label.get("value"));
            condition.get("values").split(',').any(|wanted| wanted.trim() == value)
        };
        match condition.get("operator") {
            "exists" => label.is_some(),
            "doesnotexists" => label.is_none(),
            "notin" => label.is_none() || !among(),
            _ => label.is_some() && among(),
        }
    })
}

/// A prefix, or an address as the prefix of just that.
fn prefix(text: &str) -> Result<Prefix, String> {
    let wrong = || format!("`{text}` is no address or prefix");
    if let Ok(prefix) = text.parse() {
        return Ok(prefix);
    }
    let ip: IpAddr = text.parse().map_err(|_| wrong())?;
    Prefix::new(ip, if ip.is_ipv4() { 32 } else { 128 }).ok_or_else(wrong)
}
