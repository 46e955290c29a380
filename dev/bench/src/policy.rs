//! Tables to measure with: one contract that the loads need, among as many others as wanted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{
    Action, BdId, BridgeDomain, ClassId, Encapsulation, EtherMatch, Gateway, Mac, Match, PairKey,
    PortRange, Reason, Rule, RuleId, RuleSet, RuleSetId, ScopeId, Table, Treatment, Vrf, proto,
};

use crate::load::PORTS;

/// The VRF of everything here.
pub const SCOPE: ScopeId = ScopeId(1000);
/// The bridge domain of both workloads.
pub const BD: BdId = BdId(1001);
/// Class of the workload that asks.
pub const CLIENTS: ClassId = ClassId(16386);
/// Class of the workload that serves.
pub const SERVERS: ClassId = ClassId(16387);

/// A port that a stateless rule lets pass, both ways.
pub const STATELESS: u16 = 8080;

/// How many rule sets the other pairs share, and how many rules each has.
const SETS: u32 = 64;
const RULES: u32 = 4;

/// A table of `pairs` class pairs, one of which is the contract under load.
pub fn table(pairs: usize) -> Table {
    let mut table = Table::default();
    table.vrfs.insert(SCOPE, Vrf { name: "vrf".into() });
    let gateways = vec![
        Gateway { ip: IpAddr::from([10, 1, 0, 1]), prefix_len: 24 },
        Gateway { ip: IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xff]), prefix_len: 64 },
    ];
    let mac = Mac([0x00, 0x22, 0xbd, 0xf8, 0x19, 0xff]);
    let bd = BridgeDomain { name: "bd".into(), scope: SCOPE, mac, routed: true, gateways };
    table.bridge_domains = BTreeMap::from([(BD, bd)]);
    let there = vec![rule(1, PORTS.into_inner(), true), rule(2, one(STATELESS), false)];
    let back = vec![Rule {
        matches: Match { sport: PortRange::one(STATELESS), dport: PortRange::ANY, ..tcp() },
        ..rule(3, one(STATELESS), false)
    }];
    set(&mut table, CLIENTS, SERVERS, 1, there);
    set(&mut table, SERVERS, CLIENTS, 2, back);
    for number in 0..SETS {
        let id = RuleSetId(10 + number);
        let first = 100 + number * RULES;
        let rules = (first..first + RULES)
            .map(|id| rule(id, one(u16::try_from(id).unwrap_or(u16::MAX)), true))
            .collect();
        table.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules)));
    }
    // A square of other classes, above those of the workloads.
    let side = (pairs as f64).sqrt().ceil() as u16;
    let others = (0..side).flat_map(|src| (0..side).map(move |dst| (src, dst)));
    for (number, (src, dst)) in (0_u32..).zip(others.take(pairs.saturating_sub(2))) {
        let key = PairKey { scope: SCOPE, src: ClassId(20_000 + src), dst: ClassId(20_000 + dst) };
        table.pairs.insert(key, RuleSetId(10 + number % SETS));
    }
    table
}

/// Tunnel addresses as a host is to know them.
pub fn tunnels(addresses: [IpAddr; 2]) -> BTreeMap<IpAddr, Encapsulation> {
    addresses.map(|address| (address, Encapsulation::Gbp)).into()
}

fn set(table: &mut Table, src: ClassId, dst: ClassId, id: u32, rules: Vec<Rule>) {
    let id = RuleSetId(id);
    table.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules)));
    table.pairs.insert(PairKey { scope: SCOPE, src, dst }, id);
}

fn tcp() -> Match {
    Match { ether: EtherMatch::Ip, proto: Some(proto::TCP), ..Match::EVERYTHING }
}

fn one(port: u16) -> (u16, u16) {
    (port, port)
}

fn rule(id: u32, (first, last): (u16, u16), stateful: bool) -> Rule {
    Rule {
        id: RuleId(id),
        priority: 100,
        matches: Match { dport: PortRange { first, last }, ..tcp() },
        action: Action::Permit,
        reason: Reason::Contract,
        stateful,
        log: false,
        treatment: Treatment::default(),
    }
}
