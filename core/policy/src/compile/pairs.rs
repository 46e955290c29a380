//! Sides to pairs: every pair of groups between which contracts lie, and the rule set for them.

use std::collections::BTreeMap;

use selvage_rules::{ClassId, PairKey, Rule, RuleSetId};

use super::Builder;
use super::priority::Breadth;
use super::sides::{Draft, Sides};

/// One direction of a contract, by its place in the list of sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SideId(u32);

/// Puts every pair into the table. Cost follows the number of pairs, sorted once.
pub(super) fn fill(builder: &mut Builder<'_>, sides: Vec<Sides>) {
    let mut lists: Vec<Vec<Draft>> = Vec::with_capacity(sides.len() * 2);
    let mut between: Vec<(PairKey, SideId)> = Vec::new();
    for Sides { forward, back, domains } in sides {
        let mut add = |rules: Vec<Draft>, toward_provider: bool| {
            if rules.is_empty() {
                return;
            }
            let side = SideId(u32::try_from(lists.len()).unwrap_or(u32::MAX));
            lists.push(rules);
            for domain in &domains {
                for provider in &domain.providers {
                    for consumer in &domain.consumers {
                        // A group's talk to itself is no contract's business; any's is.
                        if provider.key == consumer.key && provider.key.class != ClassId::ANY {
                            continue;
                        }
                        let (from, to) = if toward_provider {
                            (consumer, provider)
                        } else {
                            (provider, consumer)
                        };
                        let scope = from.key.scope;
                        for src in from.sources() {
                            for dst in to.destinations() {
                                between.push((PairKey { scope, src, dst }, side));
                            }
                        }
                    }
                }
            }
        };
        add(forward, true);
        add(back, false);
    }
    between.sort_unstable();
    between.dedup();

    let mut sets: BTreeMap<(Breadth, Vec<SideId>), Option<RuleSetId>> = BTreeMap::new();
    let mut pairs: Vec<(PairKey, RuleSetId)> = Vec::new();
    let mut key: (Breadth, Vec<SideId>) = (Breadth::Pair, Vec::new());
    for run in between.chunk_by(|(a, _), (b, _)| a == b) {
        let Some((pair, _)) = run.first() else { continue };
        key.0 = Breadth::of(*pair);
        key.1.clear();
        key.1.extend(run.iter().map(|(_, side)| *side));
        let set = match sets.get(&key) {
            Some(set) => *set,
            None => {
                let set = builder.rule_set(union(&lists, &key.1, key.0));
                sets.insert(key.clone(), set);
                set
            }
        };
        pairs.extend(set.map(|set| (*pair, set)));
    }
    builder.table.pairs = pairs.into_iter().collect();
}

fn union(lists: &[Vec<Draft>], sides: &[SideId], breadth: Breadth) -> Vec<Rule> {
    let of = |side: &SideId| lists.get(side.0 as usize).map(Vec::as_slice).unwrap_or_default();
    sides.iter().flat_map(of).map(|draft| draft.at(breadth)).collect()
}
