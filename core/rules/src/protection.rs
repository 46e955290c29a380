//! A second gate beside contracts: what may reach and leave a single endpoint.
//!
//! Once any policy protects an endpoint, only what the rules of its policies permit passes it, each
//! way; rules of several policies are tried together.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Match, Packet, Prefix};

/// A host protection policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Protection {
    /// What may reach the endpoint, in the order in which it is tried.
    pub ingress: Vec<Gate>,
    /// What may leave it, in the order in which it is tried.
    pub egress: Vec<Gate>,
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Its DN.
    pub name: Arc<str>,
    /// Lower is tried first; among equals the lesser name.
    pub order: u16,
    /// What it is about.
    pub matches: Match,
    /// Who is at the other end.
    pub remote: FarEnd,
    /// It lets these packets pass; otherwise it drops them.
    pub permit: bool,
    /// Replies to what it permits pass by the connection.
    pub reflexive: bool,
    /// What it decides is logged.
    pub log: bool,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FarEnd {
    /// Anybody.
    Anyone,
    /// Whoever has an address in one of these; nobody if there are none.
    These(Vec<Prefix>),
}

impl FarEnd {
    fn includes(&self, address: Option<IpAddr>) -> bool {
        match self {
            FarEnd::Anyone => true,
            FarEnd::These(prefixes) => {
                address.is_some_and(|ip| prefixes.iter().any(|prefix| prefix.contains(ip)))
            }
        }
    }
}

impl Protection {
    /// Of all `policies` of an endpoint the rule that decides about a packet that reaches it, if
    /// `inward`, or leaves it. `remote` is the address at the other end, where it is known.
    pub fn decide<'p>(
        policies: impl IntoIterator<Item = &'p Protection>,
        inward: bool,
        packet: &Packet,
        remote: Option<IpAddr>,
    ) -> Option<&'p Gate> {
        let first = |policy: &'p Protection| {
            let gates = if inward { &policy.ingress } else { &policy.egress };
            gates.iter().find(|gate| gate.matches.matches(packet) && gate.remote.includes(remote))
        };
        let found = policies.into_iter().filter_map(first);
        found.min_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EtherType;

    fn gate(name: &str, order: u16, permit: bool, remote: FarEnd) -> Gate {
        let matches = Match::EVERYTHING;
        Gate { name: name.into(), order, matches, remote, permit, reflexive: false, log: false }
    }

    #[test]
    fn rules_of_several_policies_are_tried_by_their_order() {
        let of = |ingress| Protection { ingress, egress: Vec::new() };
        let near = FarEnd::These(vec!["10.0.0.0/8".parse().unwrap()]);
        let policies =
            [of(vec![gate("a", 2, true, FarEnd::Anyone)]), of(vec![gate("b", 1, false, near)])];
        let packet = Packet::tcp_syn(EtherType::IPV4, 1, 2);
        let decided = |remote: &str, inward| {
            let remote = remote.parse().ok();
            Protection::decide(&policies, inward, &packet, remote).map(|gate| &*gate.name)
        };
        assert_eq!(decided("10.1.1.1", true), Some("b"));
        assert_eq!(decided("192.0.2.1", true), Some("a"));
        assert_eq!(decided("", true), Some("a"));
        assert_eq!(decided("10.1.1.1", false), None);
    }
}
