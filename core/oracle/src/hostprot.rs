//! Host protection: a second gate at the endpoint itself, beside contracts.
//!
//! As the host protection policies of *Cisco ACI and Kubernetes* and *Cisco ACI and OpenStack* have
//! it (`hostprotPol`, which network policies and security groups are compiled to), and as OpFlex's
//! `SecurityGroup` states: an endpoint under at least one policy may send only what an `egress` rule
//! of its policies permits, and get only what an `ingress` rule permits. What answers a packet that a
//! rule with `connTrack=reflexive` permitted passes by the connection. An endpoint under no policy
//! has no gate. A policy that does not exist permits nothing.

use std::net::IpAddr;

use selvage_model::{Mo, Tree};
use selvage_rules::Packet;

use crate::entry::{ether_number, port_range, protocol_number};
use crate::prefix::Prefix;
use crate::{End, State};

/// Whether both ends let the packet through their gates.
pub(crate) fn lets_pass(
    tree: &Tree,
    from: End<'_>,
    to: End<'_>,
    packet: &Packet,
    state: State,
) -> bool {
    let opening = match state {
        State::New => None,
        State::Established { opening } => Some(opening),
    };
    let gate = |end: End<'_>, other: End<'_>, sends: bool| {
        let (there, back) = if sends { ("egress", "ingress") } else { ("ingress", "egress") };
        let answers = opening.is_some_and(|opening| {
            allowed(tree, end, other, &opening, back).is_some_and(|reflexive| reflexive)
        });
        !is_gated(end) || answers || allowed(tree, end, other, packet, there).is_some()
    };
    gate(from, to, true) && gate(to, from, false)
}

fn is_gated(end: End<'_>) -> bool {
    matches!(end, End::Member(endpoint) if !endpoint.protection.is_empty())
}

/// Whether the policies of `end` allow the packet in this direction, seen from `end`, and if so,
/// whether the rule that does keeps the connection.
///
/// The rules of all policies are one list by `order`, then by name; the first that matches decides.
fn allowed(
    tree: &Tree,
    end: End<'_>,
    other: End<'_>,
    packet: &Packet,
    direction: &str,
) -> Option<bool> {
    let End::Member(endpoint) = end else { return None };
    let policies = endpoint.protection.iter().filter_map(|dn| tree.get(dn));
    let first = policies
        .filter(|policy| policy.class().name == "hostprotPol")
        .flat_map(|policy| tree.children_of_class(policy.dn(), "hostprotSubj"))
        .flat_map(|subject| tree.children_of_class(subject.dn(), "hostprotRule"))
        .filter(|rule| rule.get("direction") == direction)
        .filter(|rule| about(rule, packet) && concerns(tree, rule, other))
        .min_by_key(|rule| (rule.get("order").parse().unwrap_or(u64::MAX), rule.dn().as_str()))?;
    (first.get("action") == "permit").then(|| first.get("connTrack") == "reflexive")
}

/// Whether the packet is one that the rule describes. Ports are destination ports; a rule for a
/// domain name, which nobody here resolves, is about no packet.
fn about(rule: &Mo, packet: &Packet) -> bool {
    let is_ip = matches!(packet.ether.0, 0x0800 | 0x86dd);
    let ether = match rule.get("ethertype") {
        "undefined" | "unspecified" | "" => true,
        name => ether_number(name) == Some(packet.ether.0),
    };
    let protocol = match rule.get("protocol") {
        "unspecified" | "" | "0" => true,
        name => is_ip && protocol_number(name) == Some(packet.proto),
    };
    let ports = match port_range(rule.get("fromPort"), rule.get("toPort")) {
        None => false,
        Some(range) if range == (0..=0) || range == (0..=u16::MAX) => true,
        Some(range) => {
            let has = matches!(packet.proto, 6 | 17 | 132) && !packet.later_fragment;
            is_ip && has && range.contains(&packet.dport)
        }
    };
    let icmp = |wanted: &str, value: u8| match wanted {
        "unspecified" | "" => true,
        text => {
            is_ip
                && matches!(packet.proto, 1 | 58)
                && !packet.later_fragment
                && text.parse() == Ok(value)
        }
    };
    ether
        && protocol
        && ports
        && icmp(rule.get("icmpType"), packet.icmp_type)
        && icmp(rule.get("icmpCode"), packet.icmp_code)
        && rule.get("toDns").is_empty()
}

/// Whether the other end is one that the rule means: one of its addresses, or one of a set that it
/// names. A rule without either means everybody, one whose set does not exist nobody.
fn concerns(tree: &Tree, rule: &Mo, other: End<'_>) -> bool {
    let listed: Vec<&Mo> = tree.children_of_class(rule.dn(), "hostprotRemoteIp").collect();
    let sets: Vec<&Mo> = tree.children_of_class(rule.dn(), "hostprotRsRemoteIpContainer").collect();
    if listed.is_empty() && sets.is_empty() {
        return true;
    }
    let Some(address) = address_of(other) else { return false };
    let filters: Vec<&Mo> = tree
        .children_of_class(rule.dn(), "hostprotFilterContainer")
        .flat_map(|filter| tree.children_of_class(filter.dn(), "hostprotPodFilter"))
        .collect();
    let in_sets = sets
        .iter()
        .filter_map(|set| tree.get(set.get("tDn")))
        .flat_map(|set| tree.children_of_class(set.dn(), "hostprotRemoteIp"))
        .filter(|remote| filters.iter().all(|filter| is_meant(tree, filter, remote)));
    let covers =
        |remote: &Mo| Prefix::read(remote.get("addr")).is_some_and(|at| at.covers(address));
    listed.into_iter().any(covers) || in_sets.into_iter().any(covers)
}

/// Whether the labels of an address of a set are as a filter asks.
fn is_meant(tree: &Tree, filter: &Mo, remote: &Mo) -> bool {
    let label = tree
        .children_of_class(remote.dn(), "hostprotEpLabel")
        .find(|label| label.get("key") == filter.get("key"));
    let listed = label.is_some_and(|label| {
        filter.get("values").split(',').any(|value| value == label.get("value"))
    });
    match filter.get("operator") {
        "in" => listed,
        "notin" => !listed,
        "exists" => label.is_some(),
        "doesnotexists" => label.is_none(),
        _ => false,
    }
}

fn address_of(end: End<'_>) -> Option<IpAddr> {
    match end {
        End::Member(endpoint) => endpoint.ip,
        End::Outside { address, .. } => Some(address),
    }
}
