//! The lowered flows against the rule table, on generated tables and packets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use selvage_agent::untreated::without_services;
use selvage_ovs::eval::Tables;
use selvage_ovs::lower::{Bridge, lower};
use selvage_rules::{
    Action, ClassId, Desired, EtherMatch, EtherType, IcmpMatch, Match, Packet, PairKey, PortRange,
    Reason, Rule, RuleId, RuleSet, RuleSetId, ScopeId, Table, TcpFlags, TcpMatch, Treatment,
    Verdict, proto,
};

const SCOPE: ScopeId = ScopeId(7);

/// Code points that rules and packets have.
const DSCP: std::ops::Range<u8> = 45..48;

fn bridge() -> Bridge {
    Bridge {
        ports: BTreeMap::new(),
        tunnel_port: 1,
        exits: BTreeMap::new(),
        tunnel: IpAddr::from([192, 0, 2, 1]),
    }
}

fn ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        Just(PortRange::ANY),
        (0_u16..8).prop_map(PortRange::one),
        (0_u16..8, 0_u16..8).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
        (0_u16..8).prop_map(|first| PortRange { first, last: u16::MAX }),
    ]
}

prop_compose! {
    fn matches()(
        ether in prop_oneof![
            Just(EtherMatch::Any),
            Just(EtherMatch::Ip),
            Just(EtherMatch::Is(EtherType::IPV4)),
            Just(EtherMatch::Is(EtherType::IPV6)),
            Just(EtherMatch::Is(EtherType::ARP)),
        ],
        proto in prop_oneof![
            Just(None),
            prop::sample::select(&[1_u8, 6, 17, 47, 58, 132][..]).prop_map(Some),
        ],
        sport in ports(),
        dport in ports(),
        tcp in prop_oneof![
            4 => Just(TcpMatch::Any),
            1 => Just(TcpMatch::Established),
            1 => prop::sample::select(&[0x02_u8, 0x10, 0x12, 0x01][..])
                .prop_map(|flags| TcpMatch::All(TcpFlags(flags))),
        ],
        kind in prop::option::weighted(0.2, prop::sample::select(&[0_u8, 8, 128, 129][..])),
        code in prop::option::weighted(0.1, 0_u8..2),
        arp_op in prop::option::weighted(0.1, 1_u16..3),
        later_fragments_only in prop::bool::weighted(0.1),
        dscp in prop::option::weighted(0.2, DSCP),
    ) -> Match {
        let icmp = IcmpMatch { kind, code };
        Match { ether, proto, sport, dport, tcp, icmp, arp_op, later_fragments_only, dscp }
    }
}

prop_compose! {
    fn rule()(
        matches in matches(),
        priority in prop::sample::select(&[3_u16, 7, 9, 13, 17][..]),
        action in prop::sample::select(&[Action::Permit, Action::Deny, Action::Redirect][..]),
        stateful in any::<bool>(),
        log in prop::bool::weighted(0.2),
    ) -> Rule {
        let reason =
            if action == Action::Redirect { Reason::Service } else { Reason::Contract };
        let treatment = Treatment::default();
        Rule { id: RuleId(0), priority, matches, action, reason, stateful, log, treatment }
    }
}

fn table() -> impl Strategy<Value = Table> {
    let class = || prop::sample::select(&[0_u16, 20, 21][..]);
    let sets = prop::collection::vec(prop::collection::vec(rule(), 0..5), 1..5);
    let pairs = prop::collection::btree_map((class(), class()), 0_usize..4, 0..9);
    (sets, pairs).prop_map(|(sets, pairs)| {
        let mut table = Table::default();
        let mut next = 1;
        for (number, rules) in (1..).zip(&sets) {
            let numbered = rules.iter().map(|rule| {
                next += 1;
                Rule { id: RuleId(next), ..rule.clone() }
            });
            let set = RuleSet::new(RuleSetId(number), numbered.collect());
            table.rule_sets.insert(set.id, Arc::new(set));
        }
        for ((src, dst), at) in pairs {
            let id = RuleSetId(u32::try_from(at % sets.len()).unwrap() + 1);
            let key = PairKey { scope: SCOPE, src: ClassId(src), dst: ClassId(dst) };
            table.pairs.insert(key, id);
        }
        table
    })
}

prop_compose! {
    fn packet()(
        // The other family's ICMP never gets as far as the rules.
        (ether, proto) in prop::sample::select(&[
            (EtherType::IPV4, 1_u8), (EtherType::IPV4, 6), (EtherType::IPV4, 17),
            (EtherType::IPV4, 47), (EtherType::IPV4, 132), (EtherType::IPV6, 58),
            (EtherType::IPV6, 6), (EtherType::IPV6, 17), (EtherType::IPV6, 47),
            (EtherType::IPV6, 132), (EtherType::ARP, 0),
        ][..]),
        sport in 0_u16..9,
        dport in 0_u16..9,
        flags in prop::sample::select(&[0_u8, 0x02, 0x10, 0x12, 0x04, 0x11][..]),
        kind in prop::sample::select(&[0_u8, 8, 128, 129, 3][..]),
        code in 0_u8..2,
        arp_op in 1_u16..3,
        fragment in prop::bool::weighted(0.2),
        dscp in prop_oneof![2 => Just(0_u8), 1 => DSCP],
    ) -> Packet {
        let mut packet = Packet::ip(ether, proto);
        if ether == EtherType::ARP {
            packet.arp_op = arp_op;
            return packet;
        }
        packet.dscp = dscp;
        packet.later_fragment = fragment;
        if fragment {
            return packet;
        }
        match proto {
            proto::TCP | proto::UDP | proto::SCTP => {
                packet.sport = sport;
                packet.dport = dport;
            }
            proto::ICMP | proto::ICMPV6 => {
                packet.icmp_type = kind;
                packet.icmp_code = code;
            }
            _ => {}
        }
        if proto == proto::TCP {
            packet.tcp_flags = TcpFlags(flags);
        }
        packet
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_flows_say_what_the_table_says(
        table in table(),
        packets in prop::collection::vec(packet(), 16),
    ) {
        let desired = Desired { table, ..Desired::default() };
        let lowered = lower(&desired, &bridge()).unwrap();
        let tables = Tables::new(&lowered.flows);
        for packet in &packets {
            for (src, dst) in [(20, 21), (21, 20), (20, 20), (22, 21), (20, 22), (22, 22)] {
                let (src, dst) = (ClassId(src), ClassId(dst));
                let expected = without_services(desired.table.judge(SCOPE, src, dst, packet));
                let got: Verdict = tables.judge(SCOPE, src, dst, packet);
                if packet.later_fragment && packet.ether == EtherType::IPV6 {
                    // The switch does not see what it is a part of: it may deny more.
                    let open = expected.action != Action::Permit && got.action == Action::Permit;
                    prop_assert!(!open, "{:?} to {:?}: {:?} passes", src, dst, packet);
                    continue;
                }
                prop_assert_eq!(got, expected, "{:?} to {:?}: {:?}", src, dst, packet);
            }
        }
    }
}
