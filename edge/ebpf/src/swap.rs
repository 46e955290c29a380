//! How one rule table takes the place of another, packet by packet either the one or the other.
//! Pure: it plans the writes, [`crate::datapath`] does them.
//!
//! ```text
//!   1. rules of new sets        nobody refers to them
//!   2. pairs that change        {before: what holds now, after: what shall hold, since: next}
//!   3. the state word           one store: the generation is `next`, and all of 2 holds
//!      (endpoints move)
//!   4. pairs that are no more   removed
//!   5. runs nobody refers to    free again, once every packet that was under way is through
//! ```
//!
//! A pair that goes away because one of its classes has no endpoint left is not part of 2: it stays
//! until its endpoints are gone, so that an endpoint that changes its class is never between two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_agent::datapath::Drift;
use selvage_rules::{ClassId, PairKey, RuleId, RuleSet, RuleSetId, ScopeId, Table};

use crate::eval::{Tables, current, wildcard};
use crate::layout::{Bytes, types};
use crate::lower;
use crate::runs::FreeRuns;

/// How much the policy maps hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the pair map.
    pub pairs: u32,
    /// Entries of the rules array.
    pub rules: u32,
    /// Entries of the rule counters: different rule numbers.
    pub counters: u32,
}

/// A table is too small. Nothing was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Name of the map.
    pub table: &'static str,
    /// What it holds at most.
    pub limit: u32,
    /// What it would have to hold.
    pub need: u64,
}

/// Writes, in the order in which to do them.
#[derive(Debug, Clone, Default)]
pub struct Swap {
    /// Counter slots that begin at zero.
    pub fresh_counters: Vec<u32>,
    /// Entries of the rules array.
    pub rules: Vec<(u32, Bytes<types::rule>)>,
    /// Entries of the pair map.
    pub pairs: Vec<(Bytes<types::pair_key>, Bytes<types::pair>)>,
    /// The state word then, if it moves.
    pub word: Option<u64>,
    /// Entries of the pair map that go, after the endpoints have moved.
    pub gone: Vec<Bytes<types::pair_key>>,
    /// The state word at last, if it moves once more.
    pub last_word: Option<u64>,
}

impl Swap {
    /// What this swap would mend of the pairs in `found`, with the rules they lead to.
    pub fn drift(&self, found: &Tables) -> Option<Drift> {
        let stays: Vec<_> = self.pairs.iter().filter(|(key, _)| !self.gone.contains(key)).collect();
        let there = stays.iter().filter(|(key, _)| found.pairs.contains_key(key)).count();
        let drift = Drift {
            table: "pairs".to_owned(),
            missing: (stays.len() - there) as u64,
            different: there as u64,
            extra: self.gone.len() as u64,
        };
        (drift.missing + drift.different + drift.extra > 0).then_some(drift)
    }
}

/// A set that is installed.
#[derive(Debug, Clone)]
struct Held {
    set: Arc<RuleSet>,
    run: types::run,
}

/// A set that an earlier run installed: its rules say which it is.
#[derive(Debug, Clone)]
struct Orphan {
    run: types::run,
    rules: Vec<Bytes<types::rule>>,
}

/// A pair that is installed.
#[derive(Debug, Clone, Copy)]
struct Installed {
    run: types::run,
    /// A swap was begun with it that was never finished.
    unfinished: bool,
}

/// What the policy maps hold, as far as the next swap has to know.
#[derive(Debug, Clone)]
pub struct Policy {
    limits: Limits,
    word: u64,
    pairs: BTreeMap<PairKey, Installed>,
    sets: BTreeMap<RuleSetId, Held>,
    orphans: Vec<Orphan>,
    free: FreeRuns,
    retired: Vec<types::run>,
    counters: BTreeMap<RuleId, Slot>,
    free_counters: BTreeSet<u32>,
}

/// A rule's counter, and how many installed sets have the rule.
#[derive(Debug, Clone, Copy)]
struct Slot {
    slot: u32,
    uses: u32,
}

impl Policy {
    /// Of maps that hold `found`: nothing, or what an earlier process left.
    pub fn recover(limits: Limits, found: &Tables) -> Policy {
        let mut policy = Policy {
            limits,
            word: found.word,
            pairs: BTreeMap::new(),
            sets: BTreeMap::new(),
            orphans: Vec::new(),
            free: FreeRuns::all(limits.rules),
            retired: Vec::new(),
            counters: BTreeMap::new(),
            free_counters: (0..limits.counters).collect(),
        };
        for (key, pair) in &found.pairs {
            let run = current(&pair.0, found.word);
            let unfinished = (found.word as u32).wrapping_sub(pair.0.since) as i32 == -1;
            policy.pairs.insert(lower::pair_of(&key.0), Installed { run, unfinished });
            if run.count > 0 && policy.free.claim(run) {
                let slots = run.start..run.start.saturating_add(run.count);
                let rules: Vec<_> =
                    slots.filter_map(|slot| found.rules.get(&slot).copied()).collect();
                policy.adopt_counters(&rules);
                policy.orphans.push(Orphan { run, rules });
            }
        }
        policy
    }

    fn adopt_counters(&mut self, rules: &[Bytes<types::rule>]) {
        for rule in rules {
            self.free_counters.remove(&rule.0.counter);
            let fresh = Slot { slot: rule.0.counter, uses: 0 };
            self.counters.entry(RuleId(rule.0.id)).or_insert(fresh).uses += 1;
        }
    }

    /// Counter slots by rule.
    pub fn counters(&self) -> impl Iterator<Item = (RuleId, u32)> {
        self.counters.iter().map(|(rule, slot)| (*rule, slot.slot))
    }

    /// Entries in use, of pairs, rules and counters.
    pub fn used(&self) -> (u32, u32, u32) {
        let pairs = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
        let counters = u32::try_from(self.counters.len()).unwrap_or(u32::MAX);
        (pairs, self.limits.rules - self.free.total(), counters)
    }

    /// Whether there are runs that wait for [`Policy::reclaim`].
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Every packet that was under way at the last swap is through: old runs are free.
    pub fn reclaim(&mut self) {
        for run in std::mem::take(&mut self.retired) {
            self.free.give_back(run);
        }
    }

    /// Plans the swap to `table`, and takes it as done. `classes` are those that some endpoint will
    /// have.
    pub fn swap(
        &mut self,
        table: &Table,
        classes: &BTreeSet<(ScopeId, ClassId)>,
    ) -> Result<Swap, Full> {
        let wanted: BTreeMap<PairKey, RuleSetId> = table
            .pairs
            .iter()
            .filter(|(_, id)| table.rule_sets.get(id).is_some_and(|set| !set.rules.is_empty()))
            .map(|(key, id)| (*key, *id))
            .collect();
        self.check_pairs(&wanted)?;
        let mut swap = Swap::default();
        let before = std::mem::take(&mut self.sets);
        let sets: BTreeSet<RuleSetId> = wanted.values().copied().collect();
        if let Err(full) = self.install_sets(&before, &sets, table, &mut swap) {
            self.undo_sets(before);
            return Err(full);
        }
        self.swap_pairs(&wanted, classes, &mut swap);
        self.retire(before);
        Ok(swap)
    }

    fn check_pairs(&self, wanted: &BTreeMap<PairKey, RuleSetId>) -> Result<(), Full> {
        let new = wanted.keys().filter(|key| !self.pairs.contains_key(key)).count();
        let need = (self.pairs.len() + new) as u64;
        if need > self.limits.pairs.into() {
            return Err(Full { table: "pairs", limit: self.limits.pairs, need });
        }
        Ok(())
    }

    /// Keeps, recognises or installs each set.
    fn install_sets(
        &mut self,
        before: &BTreeMap<RuleSetId, Held>,
        wanted: &BTreeSet<RuleSetId>,
        table: &Table,
        swap: &mut Swap,
    ) -> Result<(), Full> {
        for id in wanted {
            let Some(set) = table.rule_sets.get(id) else { continue };
            let known = before
                .get(id)
                .filter(|held| Arc::ptr_eq(&held.set, set) || held.set.rules == set.rules);
            let run = match known {
                Some(held) => held.run,
                None => {
                    let mut rules = lower::rules(set);
                    match self.recognise(&rules) {
                        Some(run) => run,
                        None => self.install(&mut rules, swap)?,
                    }
                }
            };
            self.sets.insert(*id, Held { set: Arc::clone(set), run });
        }
        Ok(())
    }

    /// A run of an earlier process with these very rules.
    fn recognise(&mut self, rules: &[Bytes<types::rule>]) -> Option<types::run> {
        let same = |held: &Bytes<types::rule>, rule: &Bytes<types::rule>| {
            Bytes(types::rule { counter: 0, ..held.0 }) == *rule
        };
        let at = self.orphans.iter().position(|orphan| {
            orphan.rules.len() == rules.len()
                && orphan.rules.iter().zip(rules).all(|(held, rule)| same(held, rule))
        })?;
        Some(self.orphans.swap_remove(at).run)
    }

    fn install(
        &mut self,
        rules: &mut [Bytes<types::rule>],
        swap: &mut Swap,
    ) -> Result<types::run, Full> {
        let count = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let used = u64::from(self.limits.rules - self.free.total());
        let full = Full { table: "rules", limit: self.limits.rules, need: used + u64::from(count) };
        let run = self.free.take(count).ok_or(full)?;
        let mut given = 0;
        for rule in rules.iter_mut() {
            let Some(slot) = self.counter_of(RuleId(rule.0.id), swap) else { break };
            rule.0.counter = slot;
            given += 1;
        }
        if given < rules.len() {
            rules.iter().take(given).for_each(|rule| self.release_counter(RuleId(rule.0.id)));
            self.free.give_back(run);
            let limit = self.limits.counters;
            return Err(Full { table: "rule_counters", limit, need: u64::from(limit) + 1 });
        }
        swap.rules.extend((run.start..).zip(rules.iter().copied()));
        Ok(run)
    }

    fn counter_of(&mut self, rule: RuleId, swap: &mut Swap) -> Option<u32> {
        if let Some(slot) = self.counters.get_mut(&rule) {
            slot.uses += 1;
            return Some(slot.slot);
        }
        let slot = self.free_counters.pop_first()?;
        self.counters.insert(rule, Slot { slot, uses: 1 });
        swap.fresh_counters.push(slot);
        Some(slot)
    }

    /// Puts back what [`Policy::install_sets`] did before it failed.
    fn undo_sets(&mut self, before: BTreeMap<RuleSetId, Held>) {
        let kept: BTreeSet<u32> = before.values().map(|held| held.run.start).collect();
        for (_, held) in std::mem::replace(&mut self.sets, before) {
            if kept.contains(&held.run.start) {
                continue;
            }
            let rules = lower::rules(&held.set);
            if self.pairs.values().any(|pair| pair.run.start == held.run.start) {
                self.orphans.push(Orphan { run: held.run, rules });
            } else {
                self.release_counters(&held.set);
                self.free.give_back(held.run);
            }
        }
    }

    fn release_counters(&mut self, set: &RuleSet) {
        for rule in &set.rules {
            self.release_counter(rule.id);
        }
    }

    fn release_counter(&mut self, rule: RuleId) {
        let Some(slot) = self.counters.get_mut(&rule) else { return };
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses == 0 {
            self.free_counters.insert(slot.slot);
            self.counters.remove(&rule);
        }
    }

    fn swap_pairs(
        &mut self,
        wanted: &BTreeMap<PairKey, RuleSetId>,
        classes: &BTreeSet<(ScopeId, ClassId)>,
        swap: &mut Swap,
    ) {
        let next = (self.word as u32).wrapping_add(1);
        let none = types::run::default();
        let mut change = |key: PairKey, before: types::run, after: types::run| {
            let check = lower::pair_check(key);
            let pair = types::pair { before, after, since: next, check };
            swap.pairs.push((Bytes(lower::pair_key(key)), Bytes(pair)));
        };
        let mut pairs = BTreeMap::new();
        for (key, id) in wanted {
            let after = self.sets.get(id).map_or(none, |held| held.run);
            let held = self.pairs.get(key);
            let before = held.map_or(none, |held| held.run);
            if Bytes(before) != Bytes(after) || held.is_some_and(|held| held.unfinished) {
                change(*key, before, after);
            }
            pairs.insert(*key, Installed { run: after, unfinished: false });
        }
        let lives = |scope, class| class == ClassId::ANY || classes.contains(&(scope, class));
        let mut stays = Vec::new();
        for (key, held) in self.pairs.iter().filter(|(key, _)| !wanted.contains_key(key)) {
            if lives(key.scope, key.src) && lives(key.scope, key.dst) {
                change(*key, held.run, none);
            } else if held.unfinished {
                change(*key, held.run, held.run);
                stays.push(*key);
            } else {
                stays.push(*key);
            }
            swap.gone.push(Bytes(lower::pair_key(*key)));
        }
        let generation = if swap.pairs.is_empty() { self.word as u32 } else { next };
        let word = u64::from(generation) | wildcards(wanted.keys().chain(&stays));
        let last = u64::from(generation) | wildcards(wanted.keys());
        swap.word = Some(word).filter(|word| *word != self.word);
        swap.last_word = Some(last).filter(|last| *last != word);
        self.word = last;
        self.pairs = pairs;
    }

    /// What was installed and is not any more.
    fn retire(&mut self, before: BTreeMap<RuleSetId, Held>) {
        for (id, held) in before {
            if self.sets.get(&id).is_none_or(|now| Bytes(now.run) != Bytes(held.run)) {
                self.release_counters(&held.set);
                self.retired.push(held.run);
            }
        }
        for orphan in std::mem::take(&mut self.orphans) {
            for rule in &orphan.rules {
                self.release_counter(RuleId(rule.0.id));
            }
            self.retired.push(orphan.run);
        }
    }
}

/// Which lookups beside the first can find anything.
fn wildcards<'a>(pairs: impl Iterator<Item = &'a PairKey>) -> u64 {
    pairs.fold(0, |bits, key| {
        bits | match (key.src == ClassId::ANY, key.dst == ClassId::ANY) {
            (false, false) => 0,
            (false, true) => wildcard::DST,
            (true, false) => wildcard::SRC,
            (true, true) => wildcard::BOTH,
        }
    })
}
