//! The lowered tables against the judge, without a kernel: every swap, at every step of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use selvage_agent::untreated::without_services;
use selvage_ebpf::eval::Tables;
use selvage_ebpf::swap::{Limits, Policy, Swap};
use selvage_rules::{
    Action, ClassId, EtherMatch, EtherType, IcmpMatch, Match, Packet, PairKey, PortRange, Reason,
    Rule, RuleId, RuleSet, RuleSetId, ScopeId, Table, TcpFlags, TcpMatch, Treatment,
};

/// Code points that rules and packets have.
const DSCP: std::ops::Range<u8> = 45..48;

const LIMITS: Limits = Limits { pairs: 64, rules: 256, counters: 64 };
pub const SCOPES: [ScopeId; 2] = [ScopeId(7), ScopeId(8)];

// Few values of each field, so that rules, pairs and packets meet often.
fn ether() -> impl Strategy<Value = EtherType> {
    prop::sample::select(vec![EtherType::IPV4, EtherType::IPV6, EtherType::ARP, EtherType(0x88cc)])
}

fn proto() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![0_u8, 1, 6, 17, 47, 58, 132])
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![0_u16, 1, 22, 80, 81, 443, 65535])
}

fn ports() -> impl Strategy<Value = PortRange> {
    let range = (port(), port());
    prop_oneof![
        2 => Just(PortRange::ANY),
        3 => range.prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
    ]
}

fn flags() -> impl Strategy<Value = TcpFlags> {
    prop::sample::select(vec![0_u8, 1, 2, 4, 0x10, 0x12, 0x14, 0xff]).prop_map(TcpFlags)
}

fn class() -> impl Strategy<Value = ClassId> {
    (1_u16..4).prop_map(ClassId)
}

fn any_class() -> impl Strategy<Value = ClassId> {
    (0_u16..4).prop_map(ClassId)
}

fn scope() -> impl Strategy<Value = ScopeId> {
    prop::sample::select(SCOPES.to_vec())
}

fn matches() -> impl Strategy<Value = Match> {
    let ether =
        prop_oneof![Just(EtherMatch::Any), Just(EtherMatch::Ip), ether().prop_map(EtherMatch::Is)];
    let tcp = prop_oneof![
        4 => Just(TcpMatch::Any),
        1 => Just(TcpMatch::Established),
        1 => flags().prop_map(TcpMatch::All),
    ];
    let byte = || option::weighted(0.2, prop::sample::select(vec![0_u8, 3, 8, 128]));
    let icmp = (byte(), byte()).prop_map(|(kind, code)| IcmpMatch { kind, code });
    let arp_op = option::weighted(0.1, 0_u16..4);
    let rest = (prop::bool::weighted(0.1), option::weighted(0.2, DSCP));
    (ether, option::of(proto()), ports(), ports(), tcp, icmp, arp_op, rest).prop_map(
        |(ether, proto, sport, dport, tcp, icmp, arp_op, (later_fragments_only, dscp))| Match {
            ether,
            proto,
            sport,
            dport,
            tcp,
            icmp,
            arp_op,
            later_fragments_only,
            dscp,
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop::sample::select(vec![Action::Permit, Action::Deny, Action::Redirect]);
    (1_u32..40, 1_u16..5, matches(), action, any::<[bool; 2]>()).prop_map(
        |(id, priority, matches, action, [stateful, log])| Rule {
            id: RuleId(id),
            priority,
            matches,
            action,
            reason: if action == Action::Redirect { Reason::Service } else { Reason::Contract },
            stateful,
            log,
            treatment: Treatment::default(),
        },
    )
}

/// Sets keep their number as long as they keep their rules, but for the odd one: the data plane
/// must not rely on it.
pub fn table() -> impl Strategy<Value = Table> {
    let sets = vec(vec(rule(), 0..6), 1..5);
    let pairs = vec((scope(), any_class(), any_class(), 0_usize..5), 0..10);
    (sets, pairs, 0_u32..3).prop_map(|(sets, pairs, first)| {
        let mut table = Table::default();
        for (number, rules) in (first..).zip(sets) {
            let id = RuleSetId(number);
            table.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules)));
        }
        let sets = u32::try_from(table.rule_sets.len()).unwrap();
        for (scope, src, dst, set) in pairs {
            // One number beyond the last: a pair whose set is missing.
            let id = RuleSetId(first + u32::try_from(set).unwrap() % (sets + 1));
            table.pairs.insert(PairKey { scope, src, dst }, id);
        }
        table
    })
}

pub fn packet() -> impl Strategy<Value = Packet> {
    let l4 = (proto(), port(), port(), flags());
    let icmp = prop::sample::select(vec![0_u8, 3, 8, 128]);
    let dscp = prop_oneof![2 => Just(0_u8), 1 => DSCP];
    let rest = (0_u16..4, prop::bool::weighted(0.2), dscp);
    (ether(), l4, icmp.clone(), icmp, rest).prop_map(
        |(ether, (proto, sport, dport, tcp_flags), icmp_type, icmp_code, rest)| {
            let (arp_op, later, dscp) = rest;
            Packet {
                ether,
                proto,
                dscp: if ether.is_ip() { dscp } else { 0 },
                sport,
                dport,
                tcp_flags,
                icmp_type,
                icmp_code,
                arp_op,
                later_fragment: later,
            }
        },
    )
}

fn question() -> impl Strategy<Value = (ScopeId, ClassId, ClassId, Packet)> {
    (scope(), class(), class(), packet())
}

fn agree(tables: &Tables, table: &Table, asked: &[(ScopeId, ClassId, ClassId, Packet)]) {
    for (scope, src, dst, packet) in asked {
        let got = tables.judge(*scope, *src, *dst, packet);
        let want = without_services(table.judge(*scope, *src, *dst, packet));
        assert_eq!(got, want, "{scope} {src} -> {dst}: {packet:?}");
    }
}

/// All writes of a swap up to the flip. Nothing of it may show.
fn write_before_flip(swap: &Swap, kernel: &mut Tables) {
    kernel.rules.extend(swap.rules.iter().copied());
    kernel.pairs.extend(swap.pairs.iter().copied());
}

fn write_after_flip(swap: &Swap, kernel: &mut Tables) {
    for key in &swap.gone {
        kernel.pairs.remove(key);
    }
    if let Some(word) = swap.last_word {
        kernel.word = word;
    }
}

fn all_classes() -> BTreeSet<(ScopeId, ClassId)> {
    SCOPES.iter().flat_map(|scope| (1..4).map(|class| (*scope, ClassId(class)))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Before the flip the old table holds, after it the new one: for any sequence of tables, with
    /// the process ending anywhere in between and another one taking over.
    #[test]
    fn a_swap_is_one_step(
        steps in vec((table(), 0_u8..4), 1..6),
        asked in vec(question(), 1..40),
    ) {
        let mut kernel = Tables::default();
        let mut policy = Policy::recover(LIMITS, &kernel);
        let mut held = Table::default();
        for (table, fate) in steps {
            let swap = policy.swap(&table, &all_classes()).unwrap();
            write_before_flip(&swap, &mut kernel);
            agree(&kernel, &held, &asked);
            if fate == 0 {
                // Killed before the flip: what was before still holds, and is found again.
                policy = Policy::recover(LIMITS, &kernel);
                continue;
            }
            kernel.word = swap.word.unwrap_or(kernel.word);
            agree(&kernel, &table, &asked);
            held = table;
            if fate == 1 {
                policy = Policy::recover(LIMITS, &kernel);
                continue;
            }
            write_after_flip(&swap, &mut kernel);
            agree(&kernel, &held, &asked);
            if fate == 2 {
                policy.reclaim();
            } else {
                policy = Policy::recover(LIMITS, &kernel);
            }
        }
    }

    /// However tables come and go, nothing is lost: the empty table leaves empty maps.
    #[test]
    fn what_is_not_used_is_free(tables in vec(table(), 1..6)) {
        let mut policy = Policy::recover(LIMITS, &Tables::default());
        for table in tables {
            policy.swap(&table, &all_classes()).unwrap();
            policy.reclaim();
        }
        policy.swap(&Table::default(), &all_classes()).unwrap();
        policy.reclaim();
        prop_assert_eq!(policy.used(), (0, 0, 0));
    }

    /// A table that is too large is refused, and the one before stays as it was.
    #[test]
    fn a_full_table_changes_nothing(
        before in table(),
        rules in vec(rule(), 257..260),
        asked in vec(question(), 1..20),
    ) {
        let mut kernel = Tables::default();
        let mut policy = Policy::recover(LIMITS, &kernel);
        let swap = policy.swap(&before, &all_classes()).unwrap();
        write_before_flip(&swap, &mut kernel);
        kernel.word = swap.word.unwrap_or_default();
        let used = policy.used();
        let mut large = before.clone();
        let id = RuleSetId(99);
        large.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules)));
        large.pairs.insert(PairKey { scope: SCOPES[0], src: ClassId(1), dst: ClassId(2) }, id);
        prop_assert_eq!(policy.swap(&large, &all_classes()).unwrap_err().table, "rules");
        prop_assert_eq!(policy.used(), used);
        // The same table again costs nothing.
        let same = policy.swap(&before, &all_classes()).unwrap();
        prop_assert!(same.rules.is_empty() && same.pairs.is_empty() && same.word.is_none());
        agree(&kernel, &before, &asked);
    }
}

#[test]
fn a_pair_of_a_class_without_endpoints_outlives_the_flip() {
    let mut table = Table::default();
    let id = RuleSetId(1);
    let rule = Rule {
        id: RuleId(1),
        priority: 1,
        matches: Match::EVERYTHING,
        action: Action::Permit,
        reason: Reason::Contract,
        stateful: false,
        log: false,
        treatment: Treatment::default(),
    };
    table.rule_sets.insert(id, Arc::new(RuleSet::new(id, vec![rule])));
    let key = PairKey { scope: SCOPES[0], src: ClassId(1), dst: ClassId::ANY };
    table.pairs.insert(key, id);
    let mut kernel = Tables::default();
    let mut policy = Policy::recover(LIMITS, &kernel);
    let swap = policy.swap(&table, &all_classes()).unwrap();
    write_before_flip(&swap, &mut kernel);
    kernel.word = swap.word.unwrap();

    // Class 1 has no endpoint any more, and no pair.
    let classes = BTreeSet::from([(SCOPES[0], ClassId(2))]);
    let swap = policy.swap(&Table::default(), &classes).unwrap();
    write_before_flip(&swap, &mut kernel);
    kernel.word = swap.word.unwrap_or(kernel.word);
    let packet = Packet::tcp_syn(EtherType::IPV4, 1, 2);
    let judge = |kernel: &Tables| kernel.judge(SCOPES[0], ClassId(1), ClassId(2), &packet).action;
    assert_eq!(judge(&kernel), Action::Permit);
    write_after_flip(&swap, &mut kernel);
    assert_eq!(judge(&kernel), Action::Deny);
    assert_eq!(kernel.pairs, BTreeMap::new());
}
