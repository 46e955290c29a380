//! Sides to pairs: every pair of groups between which contracts lie, and the rule set for them.

use std::collections::BTreeMap;

use selvage_rules::{ClassId, PairKey, Rule, RuleSetId};

use super::priority::Breadth;
use super::sides::{Draft, Sides};
use super::{Builder, Ends, shared};

/// One direction of a contract, by its place in the list of sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SideId(u32);

/// What of one side lies between two classes, and how general that pair is.
type Part = (Breadth, SideId);

/// Puts every pair into the table. Cost follows the number of pairs, sorted once.
pub(super) fn fill(builder: &mut Builder<'_>, sides: Vec<Sides>) {
    let mut lists: Vec<Vec<Draft>> = Vec::with_capacity(sides.len() * 2);
    let mut between: Vec<(PairKey, Part)> = Vec::new();
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
                        let put = |pair, breadth| between.push((pair, (breadth, side)));
                        if provider.key.scope == consumer.key.scope {
                            within(provider, consumer, toward_provider, put);
                        } else {
                            shared::between(builder, provider, consumer, toward_provider, put);
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

    let mut sets: BTreeMap<Vec<Part>, Option<RuleSetId>> = BTreeMap::new();
    let mut pairs: Vec<(PairKey, RuleSetId)> = Vec::new();
    let mut key: Vec<Part> = Vec::new();
    for run in between.chunk_by(|(a, _), (b, _)| a == b) {
        let Some((pair, _)) = run.first() else { continue };
        key.clear();
        key.extend(run.iter().map(|(_, part)| *part));
        let set = match sets.get(&key) {
            Some(set) => *set,
            None => {
                let set = builder.rule_set(union(&lists, &key));
                sets.insert(key.clone(), set);
                set
            }
        };
        pairs.extend(set.map(|set| (*pair, set)));
    }
    builder.table.pairs = pairs.into_iter().collect();
}

/// The pairs of classes between a provider and a consumer of one VRF, one way.
fn within(
    provider: &Ends,
    consumer: &Ends,
    toward_provider: bool,
    mut put: impl FnMut(PairKey, Breadth),
) {
    let (from, to) = if toward_provider { (consumer, provider) } else { (provider, consumer) };
    let scope = from.key.scope;
    for src in from.sources() {
        for dst in to.destinations() {
            let pair = PairKey { scope, src, dst };
            put(pair, Breadth::of(pair));
        }
    }
}

fn union(lists: &[Vec<Draft>], parts: &[Part]) -> Vec<Rule> {
    let of = |part: &Part| {
        let (breadth, side) = *part;
        let drafts = lists.get(side.0 as usize).map(Vec::as_slice).unwrap_or_default();
        drafts.iter().map(move |draft| draft.at(breadth))
    };
    parts.iter().flat_map(of).collect()
}
