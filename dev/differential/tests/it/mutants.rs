//! A comparison is worth what it notices: tables with one deliberate fault must all be caught.

use std::sync::Arc;

use selvage_differential::atoms::{answer_to, atoms};
use selvage_differential::compare::{Comparison, Who};
use selvage_differential::sketch;
use selvage_model::Tree;
use selvage_oracle::Ends;
use selvage_policy::{Numbers, compile};
use selvage_rules::{Action, EtherMatch, Packet, PortRange, Rule, RuleSet, Table, TcpMatch};

use crate::ground;

/// What is done to one rule; `false` if it cannot be done to this one.
type Fault = fn(&mut Rule, reverse: bool) -> bool;

const FAULTS: [(&str, Fault); 10] = [
    ("the action is flipped", |rule, _| {
        rule.action = if rule.action == Action::Permit { Action::Deny } else { Action::Permit };
        true
    }),
    ("the last destination port is one too many", |rule, _| {
        shift(&mut rule.matches.dport, |range| range.last = range.last.saturating_add(1))
    }),
    ("the last destination port is missing", |rule, _| {
        shift(&mut rule.matches.dport, |range| {
            range.last = range.last.saturating_sub(u16::from(range.first < range.last));
        })
    }),
    ("the first source port is one too many", |rule, _| {
        shift(&mut rule.matches.sport, |range| range.first = range.first.saturating_sub(1))
    }),
    ("the reversed rule is not reversed", |rule, reverse| {
        let matches = &mut rule.matches;
        std::mem::swap(&mut matches.sport, &mut matches.dport);
        reverse && matches.sport != matches.dport
    }),
    ("a deny comes after the permits", |rule, _| {
        rule.priority += 100;
        rule.action == Action::Deny
    }),
    ("the connection is not kept", |rule, _| std::mem::replace(&mut rule.stateful, false)),
    ("the family is forgotten", |rule, _| {
        let was = std::mem::replace(&mut rule.matches.ether, EtherMatch::Ip);
        matches!(was, EtherMatch::Is(_)) && rule.matches.arp_op.is_none()
    }),
    ("flags are not looked at", |rule, _| {
        std::mem::replace(&mut rule.matches.tcp, TcpMatch::Any) != TcpMatch::Any
    }),
    ("the type is not looked at", |rule, _| rule.matches.icmp.kind.take().is_some()),
];

/// What is done to rules of features.
const FEATURE_FAULTS: [(&str, Fault); 6] = [
    ("the action is flipped", |rule, _| {
        rule.action = if rule.action == Action::Permit { Action::Deny } else { Action::Permit };
        true
    }),
    ("the code point is not looked at", |rule, _| rule.matches.dscp.take().is_some()),
    ("nothing is logged", |rule, _| std::mem::replace(&mut rule.log, false)),
    ("the reversed rule is not reversed", |rule, reverse| {
        let matches = &mut rule.matches;
        std::mem::swap(&mut matches.sport, &mut matches.dport);
        reverse && matches.sport != matches.dport
    }),
    ("the last destination port is one too many", |rule, _| {
        shift(&mut rule.matches.dport, |range| range.last = range.last.saturating_add(1))
    }),
    ("a deny comes after the permits", |rule, _| {
        rule.priority += 100;
        rule.action == Action::Deny
    }),
];

fn shift(range: &mut PortRange, by: impl Fn(&mut PortRange)) -> bool {
    let was = *range;
    if was != PortRange::ANY {
        by(range);
    }
    was != *range
}

#[test]
fn every_faulty_table_is_caught() {
    let tree = sketch::tree(&ground::with(ground::EVERY_RULE_COUNTS)).unwrap();
    let tried = all_caught(&tree, &["web", "app", "lone"], &FAULTS);
    println!("{tried} faulty tables, all caught");
}

/// The same for tables of vzAny, preferred groups, taboos, labels and the rest; and for those of a
/// compiler that forgot one of these or took it for another.
#[test]
fn nearly_every_misread_feature_is_caught() {
    let text = ground::with(ground::EVERY_FEATURE_COUNTS);
    let tree = sketch::tree(&text).unwrap();
    let people = people(&["web", "app", "db", "old", "new"]);
    let judges = Judges::of(&tree, &people);
    assert!(!judges.notice(&compile(&tree, &mut Numbers::default()).table), "nothing is wrong yet");
    let mut missed = Vec::new();
    for (there, instead) in ground::FEATURES_THAT_COUNT {
        assert!(text.contains(there), "`{there}` is not there");
        let misread = sketch::tree(&text.replacen(there, instead, 1)).unwrap();
        if !judges.notice(&compile(&misread, &mut Numbers::default()).table) {
            missed.push(format!("`{there}` read as `{instead}`"));
        }
    }
    let mut tried = ground::FEATURES_THAT_COUNT.len();
    let table = compile(&tree, &mut Numbers::default()).table;
    let faults = FEATURE_FAULTS.iter().flat_map(|(name, fault)| {
        let mutants = with_fault(&table, *fault);
        assert!(!mutants.is_empty(), "no rule could have this fault: {name}");
        mutants.into_iter().map(move |(rule, mutant)| (format!("{name}, in {rule}"), mutant))
    });
    for (name, mutant) in faults.chain(without_rules(&table)).chain(without_pairs(&table)) {
        tried += 1;
        if !judges.notice(&mutant) {
            missed.push(name);
        }
    }
    println!("{tried} misreadings, {} of them missed", missed.len());
    assert!(missed.len() * 20 <= tried, "missed:\n{}", missed.join("\n"));
}

fn people(names: &[&str]) -> Vec<Who> {
    names.iter().map(|name| Who::of(&ground::group(name))).collect()
}

/// The oracle about every pair of people, and the packets it is asked about.
struct Judges<'a> {
    pairs: Vec<(&'a Who, &'a Who, Ends<'a>, Ends<'a>)>,
    packets: Vec<Packet>,
}

impl<'a> Judges<'a> {
    fn of(tree: &'a Tree, people: &'a [Who]) -> Judges<'a> {
        let ends = people.iter().flat_map(|from| people.iter().map(move |to| (from, to)));
        let pairs = ends.map(|(from, to)| {
            let there = Ends::of(tree, from.end(), to.end());
            (from, to, there, Ends::of(tree, to.end(), from.end()))
        });
        Judges { pairs: pairs.collect(), packets: atoms() }
    }

    /// Whether the oracle disagrees with a table; stops at the first flow.
    fn notice(&self, table: &Table) -> bool {
        self.pairs.iter().any(|(from, to, there, back)| {
            self.packets.iter().any(|packet| {
                let mut comparison = Comparison::default();
                comparison.put(there, table, (from, to), packet, None);
                comparison.put(back, table, (to, from), &answer_to(packet), Some(*packet));
                !comparison.disagreements.is_empty()
            })
        })
    }
}

/// Tries every fault on every rule, and every rule and pair away; how many that were.
fn all_caught(tree: &Tree, names: &[&str], faults: &[(&str, Fault)]) -> usize {
    let table = compile(tree, &mut Numbers::default()).table;
    let people = people(names);
    let judges = Judges::of(tree, &people);
    assert!(!judges.notice(&table), "the table without a fault must pass");
    let mut tried = 0;
    for (name, fault) in faults {
        let mutants = with_fault(&table, *fault);
        assert!(!mutants.is_empty(), "no rule could have this fault: {name}");
        for (rule, mutant) in mutants {
            tried += 1;
            assert!(judges.notice(&mutant), "{name}, in {rule}: nobody noticed");
        }
    }
    for (name, mutant) in without_rules(&table).into_iter().chain(without_pairs(&table)) {
        tried += 1;
        assert!(judges.notice(&mutant), "{name}: nobody noticed");
    }
    tried
}

/// A table for each rule that can have the fault.
fn with_fault(table: &Table, fault: Fault) -> Vec<(String, Table)> {
    let mut mutants = Vec::new();
    for (id, set) in &table.rule_sets {
        for at in 0..set.rules.len() {
            let mut rules = set.rules.clone();
            let origin = table.origins.get(&rules[at].id).unwrap();
            // A rule without an entry stands for a default and is all its pair has: whether it is
            // there is what matters, and that is tried below.
            if origin.entry.is_empty() {
                continue;
            }
            if fault(&mut rules[at], origin.reverse) {
                let mut mutant = table.clone();
                mutant.rule_sets.insert(*id, Arc::new(RuleSet::new(*id, rules)));
                mutants.push((format!("{} {}", origin.dn, origin.entry), mutant));
            }
        }
    }
    mutants
}

/// A table for each rule, without it.
fn without_rules(table: &Table) -> Vec<(String, Table)> {
    let mut mutants = Vec::new();
    for (id, set) in &table.rule_sets {
        for at in 0..set.rules.len() {
            let mut rules = set.rules.clone();
            let gone = rules.remove(at);
            let origin = table.origins.get(&gone.id).unwrap();
            let mut mutant = table.clone();
            mutant.rule_sets.insert(*id, Arc::new(RuleSet::new(*id, rules)));
            let way = if origin.reverse { "reversed rule" } else { "rule" };
            mutants.push((format!("the {way} of {} {} is gone", origin.dn, origin.entry), mutant));
        }
    }
    mutants
}

/// A table for each pair, without it: the group with itself among them.
fn without_pairs(table: &Table) -> Vec<(String, Table)> {
    table
        .pairs
        .keys()
        .map(|key| {
            let mut mutant = table.clone();
            mutant.pairs.remove(key);
            (format!("the pair {} -> {} is gone", key.src, key.dst), mutant)
        })
        .collect()
}
