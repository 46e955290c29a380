//! The extension classes: objects and back, tables and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use selvage_opflex::ext::{
    Applied, BridgeDomain, Group, Host, Location, Malformed, Pair, PairPeer, RuleSet, Vrf, Within,
    revision_object, revision_of, slice,
};
use selvage_opflex::message::Update;
use selvage_opflex::mo::{Object, Reference};
use selvage_opflex::modb::Modb;
use selvage_opflex::server::PolicySource;
use selvage_rules::{
    Action, Arm, BdId, ClassId, Comparison, Encapsulation, EndpointId, EtherMatch, EtherType,
    Gateway, GroupId, IcmpMatch, Mac, Match, Origin, PortRange, Prefix, Reason, Revision, Room,
    Rule, RuleId, RuleSetId, ScopeId, TcpFlags, TcpMatch, Test, Treatment,
};

use crate::support::{Policy, group_name};

fn name() -> impl Strategy<Value = Arc<str>> {
    "[a-zA-Z0-9/_.:\\[\\] %-]{1,20}|uni/tn-[a-z]{1,5}/ap-[a-z]{1,5}/epg-[a-z]{1,5}"
        .prop_map(Arc::from)
}

prop_compose! {
    fn pair()(src in 0u16.., dst in 0u16.., set in 1u32..,
              peer in proptest::option::of((name(), 1u16.., 1u32.., proptest::option::of(1u32..)))) -> Pair {
        let peer = peer.map(|(name, class, encap, bd)| PairPeer {
            name, class: ClassId(class), encap: GroupId(encap), bd: bd.map(BdId),
        });
        Pair { src: ClassId(src), dst: ClassId(dst), rule_set: RuleSetId(set), peer }
    }
}

fn ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        Just(PortRange::ANY),
        any::<(u16, u16)>().prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
    ]
}

fn matches() -> impl Strategy<Value = Match> {
    let ether = prop_oneof![
        Just(EtherMatch::Any),
        Just(EtherMatch::Ip),
        any::<u16>().prop_map(|t| EtherMatch::Is(EtherType(t))),
    ];
    let tcp = prop_oneof![
        Just(TcpMatch::Any),
        Just(TcpMatch::Established),
        any::<u8>().prop_map(|f| TcpMatch::All(TcpFlags(f))),
    ];
    let icmp = any::<(Option<u8>, Option<u8>)>().prop_map(|(kind, code)| IcmpMatch { kind, code });
    let rest = any::<(Option<u8>, Option<u16>, bool)>();
    (ether, tcp, icmp, ports(), ports(), rest).prop_map(
        |(ether, tcp, icmp, sport, dport, (proto, arp_op, later_fragments_only))| Match {
            ether,
            proto,
            sport,
            dport,
            tcp,
            icmp,
            arp_op,
            later_fragments_only,
            dscp: None,
        },
    )
}

fn rule() -> impl Strategy<Value = (Rule, Option<Origin>)> {
    let rest = (1u32.., any::<(u16, bool, bool, bool)>(), prop::sample::select(Reason::ALL));
    let origin = proptest::option::of((name(), name(), any::<bool>()));
    (matches(), rest, origin).prop_map(
        |(matches, (id, (priority, permit, stateful, log), reason), origin)| {
            let action = if permit { Action::Permit } else { Action::Deny };
            let treatment = Treatment::default();
            let id = RuleId(id);
            let rule = Rule { id, priority, matches, action, reason, stateful, log, treatment };
            (rule, origin.map(|(dn, entry, reverse)| Origin { dn, entry, reverse }))
        },
    )
}

/// The same objects after a journey over the wire.
fn travelled(objects: &[Object]) -> Vec<Object> {
    let text = serde_json::to_string(objects).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn within() -> impl Strategy<Value = Within> {
    (any::<bool>(), name()).prop_map(|(is_vrf, dn)| match is_vrf {
        true => Within::Vrf(dn),
        false => Within::BridgeDomain(dn),
    })
}

fn arms() -> impl Strategy<Value = Arc<Vec<Arm>>> {
    let test = prop_oneof![
        any::<[u8; 6]>().prop_map(|mac| Test::Mac(Mac(mac))),
        any::<std::net::IpAddr>().prop_map(|ip| Test::Ip(Prefix::new(ip, 24).unwrap())),
        name().prop_map(|name| Test::All(vec![Test::Attached(name.clone()), Test::Within(name)])),
        name().prop_map(|value| Test::Label {
            keys: vec!["tag".into()],
            comparison: Comparison::Contains,
            value,
        }),
    ];
    let arm = (test, proptest::option::of(name()), name()).prop_map(|(test, group, cause)| Arm {
        test,
        group,
        cause,
    });
    proptest::collection::vec(arm, 0..4).prop_map(Arc::new)
}

proptest! {
    #[test]
    fn groups(name in name(), class in 1u16.., encap in 1u32.., within in within(),
              pairs in proptest::collection::vec(pair(), 0..5)) {
        let (class, encap) = (ClassId(class), GroupId(encap));
        let group = Group { name, class, encap, within, pairs };
        prop_assert_eq!(Group::from_objects(&travelled(&group.to_objects())), Ok(group));
    }

    #[test]
    fn vrfs(name in name(), scope in 1u32.., arms in arms(), pairs in proptest::collection::vec(pair(), 0..5)) {
        let vrf = Vrf { name, scope: ScopeId(scope), pairs, outside: Default::default(), arms };
        prop_assert_eq!(Vrf::from_objects(&travelled(&vrf.to_objects())), Ok(vrf));
    }

    #[test]
    fn bridge_domains(name in name(), id in 1u32.., mac in any::<[u8; 6]>(), routed in any::<bool>(),
                      vrf in name(), arms in arms(),
                      gateways in proptest::collection::vec(any::<(std::net::IpAddr, u8)>(), 0..4)) {
        let gateways =
            gateways.into_iter().map(|(ip, prefix_len)| Gateway { ip, prefix_len }).collect();
        let bd = BridgeDomain { name, id: BdId(id), mac: Mac(mac), routed, vrf, gateways, arms };
        prop_assert_eq!(BridgeDomain::from_objects(&travelled(&bd.to_objects())), Ok(bd));
    }

    #[test]
    fn rule_sets(id in 1u32.., rules in proptest::collection::vec(rule(), 0..20)) {
        let mut origins = BTreeMap::new();
        for (rule, origin) in &rules {
            origins.remove(&rule.id);
            if let Some(origin) = origin {
                origins.insert(rule.id, origin.clone());
            }
        }
        // A number stands for one origin, and so does one rule for one number.
        let mut seen = BTreeSet::new();
        let rules: Vec<Rule> =
            rules.into_iter().rev().map(|(rule, _)| rule).filter(|r| seen.insert(r.id)).collect();
        let set = RuleSet { set: selvage_rules::RuleSet { id: RuleSetId(id), rules }, origins };
        let mut objects = travelled(&set.to_objects());
        objects[1..].reverse();
        prop_assert_eq!(RuleSet::from_objects(&objects), Ok(set), "the order of a list means nothing");
    }

    #[test]
    fn locations_and_hosts(agent in name(), endpoint in name(), group in name(), bd in name(),
                           vrf in name(), mac in any::<[u8; 6]>(),
                           ips in proptest::collection::btree_set(any::<std::net::IpAddr>(), 0..4),
                           tunnel in any::<std::net::IpAddr>(), revision in any::<u64>(),
                           both in any::<bool>()) {
        let encapsulations = Encapsulation::ALL.into_iter().skip(usize::from(!both)).collect();
        let node = both.then_some(selvage_rules::NodeId(101));
        let room = Room { pairs: both.then_some(7), rules: None };
        let host = Host { name: agent.clone(), tunnel, encapsulations, node, room };
        prop_assert_eq!(Host::from_object(&travelled(&host.to_objects())[0]), Ok(host));
        let applied = Applied { agent: agent.clone(), revision: Revision(revision) };
        prop_assert_eq!(Applied::from_object(&travelled(&[applied.to_object()])[0]), Ok(applied));
        prop_assert_eq!(
            revision_of(&travelled(&[revision_object(Revision(revision))])[0]),
            Some(Revision(revision)));
        let location = Location {
            agent, endpoint: EndpointId(endpoint), group, class: ClassId(17),
            encap: GroupId(18), bridge_domain: bd,
            bd: BdId(3), vrf, mac: Mac(mac), ips: ips.into_iter().collect(), tunnel,
        };
        let objects = travelled(&location.to_objects());
        prop_assert_eq!(objects.len(), 2 + location.ips.len());
        prop_assert_eq!(Location::from_object(&objects[1]), Ok(location));
    }

    #[test]
    fn a_table_served_and_sliced_is_the_part_of_it_that_concerns_the_groups(
        groups in proptest::collection::btree_set(0usize..6, 1..6),
        pairs in proptest::collection::btree_map(
            (proptest::option::of(0usize..6), proptest::option::of(0usize..6)), 1u16..50, 0..12),
        mine in proptest::collection::btree_set(0usize..6, 0..4),
    ) {
        let policy = Policy { groups, pairs, gateway: 0 };
        let source = policy.source();
        let mine: BTreeSet<usize> = mine.intersection(&policy.groups).copied().collect();
        let names: Vec<String> = mine.iter().map(|i| group_name(*i)).collect();

        // Whatever is pointed at is fetched, as a client does.
        let mut db = Modb::default();
        let mut asked = Vec::new();
        for name in &names {
            let target = Reference::new("SelvageGroup", selvage_opflex::ext::group_uri(name));
            asked.extend(db.want(&target).tracked);
        }
        while let Some(target) = asked.pop() {
            let found = source.resolve(&target.subject, &target.uri);
            prop_assert!(!found.is_empty(), "{target:?} points at nothing");
            asked.extend(db.resolved(&[target], found).tracked);
        }
        let slice = slice(&db, names.iter().map(String::as_str), None).unwrap();
        prop_assert_eq!(slice.table, policy.slice(&mine));

        let everything = Update {
            delete: db.objects().map(Object::reference).collect(),
            ..Update::default()
        };
        db.update(everything);
        prop_assert_eq!(db.objects().count(), 0);
    }
}

#[test]
fn a_malformed_object_is_named_with_its_property() {
    let objects = Vrf {
        name: "v".into(),
        scope: ScopeId(1),
        pairs: Vec::new(),
        outside: Default::default(),
        arms: Default::default(),
    }
    .to_objects();
    let mut broken = objects[0].clone();
    broken.properties.retain(|(name, _)| &**name != "scope");
    let error = Vrf::from_objects([&broken]).unwrap_err();
    assert_eq!(error.to_string(), "`/SelvageUniverse/SelvageVrf/v/` has no valid `scope`");
    let error = Group::from_objects(&objects).unwrap_err();
    assert!(matches!(error, Malformed::Class { .. }), "{error}");
}

#[test]
fn an_incomplete_closure_is_named() {
    let policy =
        Policy { groups: [0, 1].into(), pairs: [((Some(0), Some(1)), 80)].into(), gateway: 0 };
    let source = policy.source();
    let mut db = Modb::default();
    let target = Reference::new("SelvageGroup", selvage_opflex::ext::group_uri(&group_name(0)));
    db.want(&target);
    db.resolved(std::slice::from_ref(&target), source.resolve(&target.subject, &target.uri));
    let incomplete = slice(&db, [group_name(0).as_str()], None).unwrap_err();
    let text = incomplete.to_string();
    assert!(text.contains("`/SelvageUniverse/SelvageBridgeDomain/"), "{text}");
}
