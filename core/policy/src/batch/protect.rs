//! The second gate: host protection policies that endpoints are told to have.
//!
//! An endpoint names its policies in its attribute `protection`: DNs, or names of policies of its own
//! tenant or tenant `common`, between commas or spaces. One that does not exist lets nothing pass.

use std::net::IpAddr;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{Gate, Packet, Protection, Table};

/// The attribute that names policies.
pub(super) const ATTRIBUTE: &str = "protection";

/// What protects one end of a flow.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    /// Policies by DN; an end without any is not protected.
    pub policies: Vec<Arc<str>>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What the gates of both ends say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pass {
    /// Who stops the packet: a rule, or the policies none of whose rules lets it pass.
    pub stopped_by: Option<Vec<String>>,
    /// A rule that decided asks to log it.
    pub log: bool,
}

/// The policies that `text` names for an endpoint of `group`.
pub(super) fn named(table: &Table, group: &Dn, text: &str) -> Vec<Arc<str>> {
    let tenant = group.ancestor("tn-").map_or_else(String::new, |tenant| tenant.to_string());
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let policy = |word: &str| -> Arc<str> {
        if word.starts_with("uni/") {
            return word.into();
        }
        let own = format!("{tenant}/pol-{word}");
        let common = format!("uni/tn-common/pol-{word}");
        let found = [&own, &common].into_iter().find(|dn| table.protections.contains_key(&***dn));
        found.unwrap_or(&own).as_str().into()
    };
    words.map(policy).collect()
}

/// The gates of both ends for a packet that nobody knows a connection of.
pub(super) fn first(table: &Table, from: &Guard, to: &Guard, packet: &Packet) -> Pass {
    both(from, to, packet, |guard, inward, remote| decide(table, guard, inward, packet, remote))
}

/// The gates of both ends for a packet that answers `opening`, which had passed everything.
pub(super) fn answer(
    table: &Table,
    from: &Guard,
    to: &Guard,
    packet: &Packet,
    opening: &Packet,
) -> Pass {
    both(from, to, packet, |guard, inward, remote| {
        let opened = decide(table, guard, !inward, opening, remote);
        let tracked = opened.filter(|gate| gate.permit && gate.reflexive && packet.ether.is_ip());
        tracked.or_else(|| decide(table, guard, inward, packet, remote))
    })
}

fn both<'t>(
    from: &Guard,
    to: &Guard,
    packet: &Packet,
    decide: impl Fn(&Guard, bool, Option<IpAddr>) -> Option<&'t Gate>,
) -> Pass {
    let mut pass = Pass::default();
    for (guard, inward, other) in [(from, false, to), (to, true, from)] {
        if guard.policies.is_empty() {
            continue;
        }
        let family =
            |ip: &&IpAddr| ip.is_ipv6() == (packet.ether == selvage_rules::EtherType::IPV6);
        let remote = other.addresses.iter().find(family).copied();
        let gate = decide(guard, inward, remote);
        pass.log |= gate.is_some_and(|gate| gate.log);
        if !gate.is_some_and(|gate| gate.permit) {
            let policies = || guard.policies.iter().map(|dn| dn.to_string()).collect();
            pass.stopped_by = Some(gate.map_or_else(policies, |gate| vec![gate.name.to_string()]));
            return pass;
        }
    }
    pass
}

fn decide<'t>(
    table: &'t Table,
    guard: &Guard,
    inward: bool,
    packet: &Packet,
    remote: Option<IpAddr>,
) -> Option<&'t Gate> {
    let policies = guard.policies.iter().filter_map(|dn| table.protections.get(dn));
    Protection::decide(policies, inward, packet, remote)
}
