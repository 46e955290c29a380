//! A small fabric, written by hand: what the controller would compile.

#![allow(clippy::unwrap_used, reason = "a test whose text is wrong fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{
    Action, BdId, BridgeDomain, ClassId, EtherMatch, Gateway, IcmpMatch, Mac, Match, PairKey,
    PortRange, Reason, Rule, RuleId, RuleSet, RuleSetId, ScopeId, Table, Treatment, Vrf, proto,
};

/// The VRF of everything here.
pub const SCOPE: ScopeId = ScopeId(1000);
/// Bridge domain of web and app.
pub const FRONT: BdId = BdId(1001);
/// Bridge domain of db.
pub const BACK: BdId = BdId(1002);
/// Class of the web tier.
pub const WEB: ClassId = ClassId(16386);
/// Class of the app tier.
pub const APP: ClassId = ClassId(16387);
/// Class of the db tier.
pub const DB: ClassId = ClassId(16388);
/// MAC of every gateway.
pub const GATEWAY_MAC: Mac = Mac([0x00, 0x22, 0xbd, 0xf8, 0x19, 0xff]);

/// An address from text.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A bridge domain with these gateways, each `ADDRESS/LENGTH`.
pub fn bridge_domain(name: &str, gateways: &[&str]) -> BridgeDomain {
    BridgeDomain {
        name: name.into(),
        scope: SCOPE,
        mac: GATEWAY_MAC,
        routed: true,
        gateways: gateways
            .iter()
            .map(|text| {
                let (ip, len) = text.split_once('/').unwrap();
                Gateway { ip: ip.parse().unwrap(), prefix_len: len.parse().unwrap() }
            })
            .collect(),
    }
}

/// A stateless permit.
pub fn permit(id: u32, matches: Match) -> Rule {
    Rule {
        id: RuleId(id),
        priority: 100,
        matches,
        action: Action::Permit,
        reason: Reason::Contract,
        stateful: false,
        log: false,
        treatment: Treatment::default(),
    }
}

/// A stateful permit.
pub fn stateful(id: u32, matches: Match) -> Rule {
    Rule { stateful: true, ..permit(id, matches) }
}

/// TCP to a port.
pub fn tcp(port: u16) -> Match {
    Match {
        ether: EtherMatch::Ip,
        proto: Some(proto::TCP),
        dport: PortRange::one(port),
        ..Match::EVERYTHING
    }
}

/// UDP to a port.
pub fn udp(port: u16) -> Match {
    Match { proto: Some(proto::UDP), ..tcp(port) }
}

/// The way back of a match by ports.
pub fn back(matches: Match) -> Match {
    Match { sport: matches.dport, dport: matches.sport, ..matches }
}

/// Echo, or its reply, by ICMP type.
pub fn echo(kind: u8, proto: u8) -> Match {
    Match {
        ether: EtherMatch::Ip,
        proto: Some(proto),
        icmp: IcmpMatch { kind: Some(kind), code: None },
        ..Match::EVERYTHING
    }
}

/// VRF and two bridge domains, no rules.
pub fn empty_table() -> Table {
    let mut table = Table::default();
    table.vrfs.insert(SCOPE, Vrf { name: "vrf".into() });
    let front = bridge_domain("front", &["10.1.0.1/24", "2001:db8:1::1/64"]);
    let back = bridge_domain("back", &["10.2.0.1/24", "2001:db8:2::1/64"]);
    table.bridge_domains = BTreeMap::from([(FRONT, front), (BACK, back)]);
    table
}

/// Puts these rules, as set number `set`, from one class to another.
pub fn set_pair(table: &mut Table, src: ClassId, dst: ClassId, set: u32, rules: Vec<Rule>) {
    let id = RuleSetId(set);
    table.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules)));
    table.pairs.insert(PairKey { scope: SCOPE, src, dst }, id);
}

/// web -> app tcp 8080 (stateless, both ways) and ping; app -> db tcp 5432 and udp 5353 (stateful);
/// any -> web tcp 80 (stateful); inside app everything.
pub fn three_tier() -> Table {
    let mut table = empty_table();
    let ping = [(proto::ICMP, 8, 0), (proto::ICMPV6, 128, 129)];
    let mut there = vec![permit(1, tcp(8080))];
    let mut home = vec![permit(2, back(tcp(8080)))];
    for (id, (proto, request, reply)) in (3..).step_by(2).zip(ping) {
        there.push(permit(id, echo(request, proto)));
        home.push(permit(id + 1, echo(reply, proto)));
    }
    set_pair(&mut table, WEB, APP, 1, there);
    set_pair(&mut table, APP, WEB, 2, home);
    set_pair(&mut table, APP, DB, 3, vec![stateful(10, tcp(5432)), stateful(11, udp(5353))]);
    set_pair(&mut table, ClassId::ANY, WEB, 4, vec![stateful(12, tcp(80))]);
    let inside = Rule { reason: Reason::IntraGroup, ..permit(13, Match::EVERYTHING) };
    set_pair(&mut table, APP, APP, 5, vec![inside]);
    table
}
