//! Properties over generated tenants. The domains are small so that names collide, targets are
//! missing and rules overlap.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use selvage_model::Tree;
use selvage_policy::matrix::matrix;
use selvage_policy::slice::{Index, slice};
use selvage_policy::{Numbers, compile};
use selvage_rules::{
    Action, ClassId, EtherType, GroupKey, Packet, PairKey, RuleSet, TcpFlags, Verdict, proto,
};

use super::world::{objects, put, tree};

const GROUPS: usize = 5;

pub fn line() -> impl Strategy<Value = String> {
    prop_oneof![3 => plain(), 1 => beside()]
}

fn plain() -> impl Strategy<Value = String> {
    let tenant = select(&["t", "common"]);
    let n = 0..3_u8;
    let group = 0..GROUPS;
    let entry = select(&[
        "",
        "",
        "",
        "etherT=ip",
        "etherT=ip prot=tcp",
        "etherT=ip prot=tcp dFromPort=80 dToPort=81",
        "etherT=ip prot=tcp dFromPort=81 dToPort=82 stateful=yes",
        "etherT=ipv6 prot=udp sFromPort=80 sToPort=80",
        "etherT=ip prot=icmp icmpv4T=echo",
        "etherT=arp",
        "etherT=ip prot=tcp tcpRules=est",
        "etherT=ip applyToFrag=yes",
        "prot=tcp",
    ]);
    let subject = select(&["", "revFltPorts=no"]);
    let used = select(&[
        "",
        "action=deny",
        "action=deny priorityOverride=level1",
        "action=deny priorityOverride=level2",
        "action=deny priorityOverride=level3",
        "directives=log",
    ]);
    let scope = select(&["context", "tenant", "application-profile", "global"]);
    let group_props = select(&["", "pcEnfPref=enforced", "shutdown=yes"]);
    let vrf = select(&["", "pcEnfPref=unenforced"]);
    let relation = select(&["rsprov", "rscons"]);
    let kept = select(&["private", "shared"]);
    let more = prop_oneof![
        4 => (tenant.clone(), n.clone(), select(&["Prov", "Cons"]), n.clone())
            .prop_map(|(t, v, r, c)| format!("uni/tn-{t}/ctx-v{v}/any/rsanyTo{r}-c{c}")),
        1 => (tenant.clone(), n.clone(), select(&["enabled", "disabled"]))
            .prop_map(|(t, v, p)| format!("uni/tn-{t}/ctx-v{v}/any prefGrMemb={p}")),
        1 => (group.clone(), select(&["include", "exclude"]))
            .prop_map(|(g, p)| format!("ap-a{}/epg-g{g} prefGrMemb={p}", g % 2)),
        1 => (group.clone(), n.clone())
            .prop_map(|(g, c)| format!("ap-a{}/epg-g{g}/rsintraEpg-c{c}", g % 2)),
        1 => (group.clone(), n.clone())
            .prop_map(|(g, t)| format!("ap-a{}/epg-g{g}/rsprotBy-t{t}", g % 2)),
        1 => (tenant.clone(), n.clone(), n.clone())
            .prop_map(|(t, n, f)| format!("uni/tn-{t}/taboo-t{n}/tsubj-s/rsdenyRule-f{f}")),
        1 => (n.clone(), kept.clone())
            .prop_map(|(b, s)| format!("BD-b{b}/subnet-[10.{b}.0.1/24] scope={s}")),
        1 => (group.clone(), kept, any::<bool>()).prop_map(|(g, s, v6)| {
            let subnet = if v6 { format!("2001:db8:{g}::1/64") } else { format!("10.1{g}.0.1/24") };
            format!("ap-a{}/epg-g{g}/subnet-[{subnet}] scope={s}", g % 2)
        }),
    ];
    prop_oneof![
        10 => more,
        1 => (tenant.clone(), n.clone(), vrf)
            .prop_map(|(t, v, p)| format!("uni/tn-{t}/ctx-v{v} {p}")),
        2 => (tenant.clone(), n.clone(), n.clone())
            .prop_map(|(t, b, v)| format!("uni/tn-{t}/BD-b{b}/rsctx tnFvCtxName=v{v}")),
        3 => (group.clone(), n.clone())
            .prop_map(|(g, b)| format!("ap-a{}/epg-g{g}/rsbd tnFvBDName=b{b}", g % 2)),
        1 => (group.clone(), group_props)
            .prop_map(|(g, p)| format!("ap-a{}/epg-g{g} {p}", g % 2)),
        6 => (group, relation, n.clone())
            .prop_map(|(g, r, c)| format!("ap-a{}/epg-g{g}/{r}-c{c}", g % 2)),
        1 => (tenant.clone(), n.clone(), scope)
            .prop_map(|(t, c, s)| format!("uni/tn-{t}/brc-c{c} scope={s}")),
        1 => (tenant.clone(), n.clone(), subject)
            .prop_map(|(t, c, p)| format!("uni/tn-{t}/brc-c{c}/subj-s {p}")),
        5 => (tenant.clone(), n.clone(), n.clone(), used).prop_map(|(t, c, f, p)| {
            format!("uni/tn-{t}/brc-c{c}/subj-s/rssubjFiltAtt-f{f} {p}")
        }),
        4 => (tenant, n.clone(), n, entry)
            .prop_map(|(t, f, e, p)| format!("uni/tn-{t}/flt-f{f}/e-e{e} {p}")),
    ]
}

/// A tenant in which most things exist, and then whatever the lines say.
pub fn policy() -> impl Strategy<Value = Vec<String>> {
    let ground = ["ctx-v0", "BD-b0/rsctx tnFvCtxName=v0", "BD-b1/rsctx tnFvCtxName=v0"];
    let groups = (0..GROUPS).map(|g| format!("ap-a{}/epg-g{g}/rsbd tnFvBDName=b{}", g % 2, g % 2));
    let ground = ground.iter().chain(DEVICE).map(|line| (*line).to_owned());
    let ground: Vec<String> = ground.chain(groups).collect();
    // Half of the time the groups are in two VRFs that may know each other's.
    let own =
        (0..GROUPS).map(|g| format!("ap-a{}/epg-g{g}/subnet-[10.1{g}.0.1/24] scope=shared", g % 2));
    let two = [
        "ctx-v1",
        "BD-b0/subnet-[10.0.0.1/24] scope=shared",
        "BD-b1/subnet-[10.1.0.1/24] scope=shared",
        "BD-b1/rsctx tnFvCtxName=v1",
        "brc-c0 scope=global",
        "brc-c1 scope=tenant",
    ];
    let two: Vec<String> = two.into_iter().map(str::to_owned).chain(own).collect();
    let more = (any::<bool>(), prop::collection::vec(line(), 0..50));
    more.prop_map(move |(in_two, lines)| {
        let second = if in_two { two.clone() } else { Vec::new() };
        [ground.clone(), second, lines].concat()
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let port = select(&[0_u16, 79, 80, 81, 82, 83, 49152]);
    (
        select(&[EtherType::IPV4, EtherType::IPV6, EtherType::ARP]),
        select(&[proto::TCP, proto::UDP, proto::ICMP, proto::ICMPV6]),
        (port.clone(), port),
        select(&[TcpFlags::SYN, TcpFlags::ACK]),
        select(&[0_u8, 8, 128]),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(ether, proto, (sport, dport), tcp_flags, icmp_type, later_fragment)| {
            Packet {
                sport,
                dport,
                tcp_flags,
                icmp_type,
                arp_op: u16::from(ether == EtherType::ARP),
                later_fragment,
                ..Packet::ip(ether, proto)
            }
        })
}

/// What narrows contracts, hands them on, and says what happens to what they permit.
fn beside() -> impl Strategy<Value = String> {
    let n = 0..3_u8;
    let group = 0..GROUPS;
    let word = select(&["x", "y"]);
    let of_group =
        select(&["rsprov/provlbl", "rsprov/provsubjlbl", "rscons/conslbl", "rscons/conssubjlbl"]);
    let of_subject = select(&["provsubjlbl", "conssubjlbl"]);
    let kind = select(&["All", "AtleastOne", "AtmostOne", "None"]);
    let name = select(&["g.*", "g0", "g1", "([", ""]);
    let service = select(&[
        "svcCont/svcRedirectPol-p thresholdEnable=yes",
        "svcCont/svcRedirectPol-p thresholdEnable=yes thresholdDownAction=deny",
        "svcCont/svcRedirectPol-p/RedirectDest_ip-[10.9.0.1] mac=00:00:00:00:09:01",
        "svcCont/svcRedirectPol-p/RedirectDest_ip-[10.9.0.2] mac=00:00:00:00:09:02",
        "ldevCtx-c-any-g-g-n-N/lIfCtx-c-consumer/rsLIfCtxToSvcRedirectPol \
         tDn=uni/tn-t/svcCont/svcRedirectPol-p",
        "ldevCtx-c-any-g-g-n-N/lIfCtx-c-provider",
        "AbsGraph-g/AbsNode-M",
    ]);
    prop_oneof![
        3 => (group.clone(), of_group, n.clone(), word.clone()).prop_map(|(g, of, c, w)| {
            let (relation, label) = of.split_once('/').unwrap();
            format!("ap-a{}/epg-g{g}/{relation}-c{c}/{label}-{w}", g % 2)
        }),
        2 => (n.clone(), of_subject, word)
            .prop_map(|(c, label, w)| format!("brc-c{c}/subj-s/{label}-{w}")),
        1 => (n.clone(), kind.clone())
            .prop_map(|(c, k)| format!("brc-c{c}/subj-s provMatchT={k} consMatchT={k}")),
        1 => (group.clone(), n.clone(), kind)
            .prop_map(|(g, c, k)| format!("ap-a{}/epg-g{g}/rsprov-c{c} matchT={k}", g % 2)),
        2 => (n.clone(), select(&["", "/subj-s"]), name.clone(), name).prop_map(|(c, of, a, b)| {
            format!("brc-c{c}{of}/excp-e field=EPg consRegex={a} provRegex={b}")
        }),
        2 => (group.clone(), group.clone()).prop_map(|(a, b)| {
            format!("ap-a{}/epg-g{a}/rssecInherited-[uni/tn-t/ap-a{}/epg-g{b}]", a % 2, b % 2)
        }),
        1 => (group, n.clone())
            .prop_map(|(g, c)| format!("ap-a{}/epg-g{g}/rsconsIf-c{c}", g % 2)),
        1 => n.clone().prop_map(|c| format!("cif-c{c}/rsif tDn=uni/tn-t/brc-c{c}")),
        1 => n.clone().prop_map(|c| format!("brc-c{c}/subj-s prio=level1 targetDscp=EF")),
        2 => n.prop_map(|c| format!("brc-c{c}/subj-s/rsSubjGraphAtt tnVnsAbsGraphName=g")),
        3 => service.prop_map(str::to_owned),
    ]
}

/// What a device needs for graph `g` to be made.
const DEVICE: &[&str] = &[
    "AbsGraph-g/AbsNode-N",
    "ldevCtx-c-any-g-g-n-N/lIfCtx-c-consumer",
    "ldevCtx-c-any-g-g-n-N/lIfCtx-c-provider/rsLIfCtxToSvcRedirectPol \
     tDn=uni/tn-t/svcCont/svcRedirectPol-q",
    "svcCont/svcRedirectPol-q/RedirectDest_ip-[10.9.1.1] mac=00:00:00:00:09:09",
];

fn keys() -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..GROUPS, 0..GROUPS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_reference_in_a_table_leads_somewhere(lines in policy()) {
        let table = compile(&tree(&lines.join("\n")), &mut Numbers::default()).table;
        for (pair, id) in &table.pairs {
            prop_assert!(table.vrfs.contains_key(&pair.scope));
            let set = &table.rule_sets[id];
            prop_assert!(!set.rules.is_empty());
            prop_assert_eq!(&RuleSet::new(*id, set.rules.clone()), &**set);
            for rule in &set.rules {
                prop_assert!(table.origins.contains_key(&rule.id));
                let service = rule.treatment.service;
                prop_assert_eq!(rule.action == Action::Redirect, service.is_some());
                prop_assert!(service.is_none_or(|id| table.services.contains_key(&id)));
            }
        }
        let used: BTreeSet<_> = table.pairs.values().collect();
        prop_assert!(table.rule_sets.keys().all(|id| used.contains(id)));
        for group in table.groups.values() {
            prop_assert!(group.bd.is_some_and(|bd| table.bridge_domains.contains_key(&bd)));
        }
        for bd in table.bridge_domains.values() {
            prop_assert!(table.vrfs.contains_key(&bd.scope));
        }
    }

    #[test]
    fn the_order_of_writing_does_not_matter(lines in policy(), seed in any::<u64>()) {
        let last_wins = tree(&lines.join("\n"));
        let mut shuffled: Vec<_> = last_wins.iter().cloned().collect();
        let len = shuffled.len();
        for i in 1..len {
            shuffled.swap(i, (seed as usize).wrapping_mul(i + 7) % (i + 1));
        }
        let mut other = Tree::default();
        for mo in shuffled {
            other.insert(mo);
        }
        let a = compile(&last_wins, &mut Numbers::default());
        prop_assert_eq!(a, compile(&other, &mut Numbers::default()));
    }

    #[test]
    fn numbers_survive_an_edit_and_its_undoing(lines in policy(), edit in line()) {
        let mut numbers = Numbers::default();
        let mut edited = tree(&lines.join("\n"));
        let before = compile(&edited, &mut numbers);
        for mo in objects(&edit) {
            put(&mut edited, mo);
        }
        let during = compile(&edited, &mut numbers);
        for (dn, key) in &before.groups {
            // A group that begins to offer to other VRFs gets a class of the fabric.
            let is_global = |key: &GroupKey| key.class < ClassId::FIRST_LOCAL;
            let same = |now: &&GroupKey| {
                now.scope == key.scope && is_global(now) == is_global(key)
            };
            if let Some(now) = during.groups.get(dn).filter(same) {
                prop_assert_eq!(now, key);
            }
        }
        for (id, set) in &during.table.rule_sets {
            if let Some(held) = before.table.rule_sets.get(id) {
                prop_assert_eq!(set, held);
            }
        }
        let after = compile(&tree(&lines.join("\n")), &mut numbers);
        prop_assert_eq!(before, after);
    }

    #[test]
    fn a_slice_judges_as_the_whole_table_does(
        lines in policy(), chosen in keys(), packets in prop::collection::vec(packet(), 8),
    ) {
        let table = compile(&tree(&lines.join("\n")), &mut Numbers::default()).table;
        let all: Vec<GroupKey> = table.groups.keys().copied().collect();
        let present: BTreeSet<GroupKey> =
            chosen.iter().filter_map(|i| all.get(*i)).copied().collect();
        let part = slice(&table, &Index::new(&table), &present);
        for local in &present {
            for other in &all {
                for packet in &packets {
                    for (src, dst) in [(local, other), (other, local)] {
                        let scope = table.meeting((*src, None), (*dst, None), packet.ether);
                        let Some(scope) = scope else { continue };
                        let whole = table.judge(scope, src.class, dst.class, packet);
                        let sliced = part.judge(scope, src.class, dst.class, packet);
                        prop_assert_eq!(whole, sliced);
                        prop_assert!(whole.rule.is_none_or(|r| part.origins.contains_key(&r)));
                    }
                }
            }
        }
        for pair in part.pairs.keys() {
            let ends = [pair.src, pair.dst].map(|class| GroupKey { scope: pair.scope, class });
            let any = ends.iter().any(|end| end.class == ClassId::ANY);
            prop_assert!(any || ends.iter().any(|end| present.contains(&table.home(*end))));
        }
    }

    #[test]
    fn every_verdict_says_who_gave_it(
        lines in policy(), packets in prop::collection::vec(packet(), 4),
    ) {
        let compiled = compile(&tree(&lines.join("\n")), &mut Numbers::default());
        let groups: Vec<_> = compiled.groups.keys().cloned().collect();
        for cell in matrix(&compiled, &groups, &packets) {
            let Verdict { action, reason, rule, stateful, .. } = cell.verdict;
            prop_assert_eq!(action != Action::Deny, reason.is_allow());
            prop_assert!(!stateful || action != Action::Deny);
            prop_assert!(action == Action::Deny || rule.is_some());
            prop_assert!(rule.is_some() || cell.by == reason.name());
        }
    }
}

#[test]
fn generated_tenants_have_everything_that_is_to_be_tested() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeSet<u16> = BTreeSet::new();
    let mut across = 0;
    for _ in 0..250 {
        let lines = policy().new_tree(&mut runner).unwrap().current();
        let table = compile(&tree(&lines.join("\n")), &mut Numbers::default()).table;
        seen.extend(table.rule_sets.values().flat_map(|set| &set.rules).map(|r| r.priority));
        for (src, dst) in table.groups.keys().flat_map(|a| table.groups.keys().map(move |b| (a, b)))
        {
            let met = table.meeting((*src, None), (*dst, None), EtherType::IPV4);
            let Some(scope) = met.filter(|_| src.scope != dst.scope) else { continue };
            let exact = PairKey { scope, src: src.class, dst: dst.class };
            across += usize::from(table.pairs.contains_key(&exact));
        }
    }
    let all = [1, 2, 3, 5, 7, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21];
    assert_eq!(all.iter().filter(|p| !seen.contains(p)).collect::<Vec<_>>(), [&0_u16; 0]);
    assert!(across > 10, "groups of two VRFs met {across} times");
}
