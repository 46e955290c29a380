//! How many entries of its tables a host needs for a policy, and by whose doing: known before anything
//! is committed, so that what does not fit is a refusal and never a rule that is missing.
//!
//! A data plane swaps by holding the old and the new at once, so that is what must fit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{GroupKey, NodeId, PairKey, Room, RuleSetId, ScopeId, Table};
use serde::Serialize;

use crate::slice::Index;

/// Entries, by table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Need {
    /// Pairs of classes.
    pub pairs: u64,
    /// Rules of all sets together.
    pub rules: u64,
}

impl Need {
    /// Both together.
    pub fn and(self, other: Need) -> Need {
        Need { pairs: self.pairs + other.pairs, rules: self.rules + other.rules }
    }
}

/// What one contract has of the entries of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The contract, or the object whose default it is, by DN.
    pub contract: String,
    /// Pairs that have a rule of it.
    pub pairs: u64,
    /// Its rules in all sets.
    pub rules: u64,
}

/// A table that would not hold what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Over {
    /// Its name.
    pub table: &'static str,
    /// Entries it needs.
    pub need: u64,
    /// Entries it holds at most.
    pub limit: u64,
}

/// Who is on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// Groups of its endpoints, by DN.
    pub groups: BTreeSet<Arc<str>>,
    /// Its number, by which policy may make it a border of a VRF.
    pub node: Option<NodeId>,
}

/// A table that is asked host by host.
#[derive(Debug)]
pub struct Counter<'t> {
    table: &'t Table,
    index: Index,
    keys: BTreeMap<&'t str, GroupKey>,
}

/// The pairs of one host, each with its rule set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries(BTreeMap<PairKey, RuleSetId>);

impl<'t> Counter<'t> {
    /// Asks `table`.
    pub fn new(table: &'t Table) -> Counter<'t> {
        let keys = table.groups.iter().map(|(key, group)| (&*group.name, *key)).collect();
        Counter { table, index: Index::new(table), keys }
    }

    /// What a host needs: the pairs of its groups and of the VRFs they are in; on a border those of
    /// what is outside as well.
    pub fn entries(&self, present: &Present) -> Entries {
        let mut found = BTreeSet::new();
        let mut scopes: BTreeSet<ScopeId> = BTreeSet::new();
        for key in present.groups.iter().filter_map(|dn| self.keys.get(&**dn)) {
            scopes.insert(key.scope);
            found.extend(self.index.of_group(*key));
            let shared = self.table.shared.get(key).into_iter();
            for scope in shared.flat_map(|shared| &shared.offers_in) {
                let there = GroupKey { scope: *scope, class: key.class };
                found.extend(self.index.of_group(there));
            }
        }
        for (scope, outside) in &self.table.outside {
            if !present.node.is_some_and(|node| outside.borders().contains(&node)) {
                continue;
            }
            scopes.insert(*scope);
            for group in outside.groups.values() {
                for class in [group.source, group.destination] {
                    found.extend(self.index.of_group(GroupKey { scope: *scope, class }));
                }
            }
        }
        found.extend(scopes.iter().flat_map(|scope| self.index.of_any(*scope)));
        let entry = |key: &PairKey| Some((*key, *self.table.pairs.get(key)?));
        Entries(found.iter().filter_map(entry).collect())
    }

    /// How many entries these are.
    pub fn need(&self, entries: &Entries) -> Need {
        let sets: BTreeSet<RuleSetId> = entries.0.values().copied().collect();
        Need { pairs: count(entries.0.len()), rules: self.rules(&sets) }
    }

    fn rules(&self, sets: &BTreeSet<RuleSetId>) -> u64 {
        let rules = sets.iter().filter_map(|id| self.table.rule_sets.get(id));
        rules.map(|set| count(set.rules.len())).sum()
    }

    /// What each contract has of these entries, the heaviest first.
    pub fn shares(&self, entries: &Entries) -> Vec<Share> {
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        let mut pairs: BTreeMap<RuleSetId, u64> = BTreeMap::new();
        for id in entries.0.values() {
            *pairs.entry(*id).or_default() += 1;
        }
        for (id, pairs) in pairs {
            let rules = self.table.rule_sets.get(&id).map(|set| set.rules.as_slice());
            let mut seen = BTreeSet::new();
            for rule in rules.unwrap_or_default() {
                let Some(origin) = self.table.origins.get(&rule.id) else { continue };
                let contract = contract_of(&origin.dn, &origin.entry);
                let fresh = || Share { contract: contract.clone(), pairs: 0, rules: 0 };
                let share = shares.entry(contract.clone()).or_insert_with(fresh);
                share.rules += 1;
                if seen.insert(contract) {
                    share.pairs += pairs;
                }
            }
        }
        let mut shares: Vec<Share> = shares.into_values().collect();
        shares.sort_by(|a, b| {
            (b.pairs + b.rules, &a.contract).cmp(&(a.pairs + a.rules, &b.contract))
        });
        shares
    }
}

/// What a host needs while it swaps from one policy to another.
pub fn at_once(
    (before, old): (&Counter<'_>, &Entries),
    (after, new): (&Counter<'_>, &Entries),
) -> Need {
    let pairs: BTreeSet<&PairKey> = old.0.keys().chain(new.0.keys()).collect();
    let sets: BTreeSet<RuleSetId> = old.0.values().copied().collect();
    let more: BTreeSet<RuleSetId> =
        new.0.values().copied().filter(|id| !sets.contains(id)).collect();
    Need { pairs: count(pairs.len()), rules: before.rules(&sets) + after.rules(&more) }
}

/// Tables that would not hold what is needed.
pub fn over(need: Need, room: Room) -> Vec<Over> {
    let tables = [("pairs", need.pairs, room.pairs), ("rules", need.rules, room.rules)];
    let over = tables.into_iter().filter_map(|(table, need, limit)| {
        limit.filter(|limit| need > *limit).map(|limit| Over { table, need, limit })
    });
    over.collect()
}

/// At most what any host could need of a table.
pub fn whole(table: &Table) -> Need {
    let rules = table.rule_sets.values().map(|set| count(set.rules.len())).sum();
    Need { pairs: count(table.pairs.len()), rules }
}

/// The contract of a subject; a default stands for itself.
fn contract_of(subject: &str, entry: &str) -> String {
    let dn: Option<Dn> = subject.parse().ok().filter(|_| !entry.is_empty());
    dn.and_then(|dn| dn.parent()).map_or_else(|| subject.to_owned(), |dn| dn.to_string())
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
