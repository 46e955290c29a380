//! Whether every host has room for a policy. A commit that does not fit somewhere is refused, with
//! the numbers and the contracts that need the most.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_model::Refusal;
use selvage_policy::Compiled;
use selvage_policy::capacity::{self, Counter, Need, Over, Present, Share, at_once, over, whole};
use selvage_rules::{NodeId, Room};
use serde::Serialize;

use crate::core::{Core, Write};

/// Contracts that are named, the heaviest first.
const HEAVIEST: usize = 5;

/// What one host needs for a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostNeed {
    /// Name of its agent.
    pub name: Arc<str>,
    /// Entries it needs.
    pub need: Need,
    /// Entries it needs while it swaps to that policy from the one in force.
    pub at_once: Need,
    /// Entries it holds at most.
    pub room: Room,
    /// Tables that would not hold what is needed at once.
    pub over: Vec<Over>,
    /// The contracts that need the most, the heaviest first.
    pub heaviest: Vec<Share>,
}

impl Core {
    /// What each host would need after `write`. Refused only for what is wrong with it.
    pub fn capacity(&self, write: &Write, wall_ms: u64) -> Result<Vec<HostNeed>, Vec<Refusal>> {
        let (tree, _) = self.edited(write, wall_ms)?;
        let after = selvage_policy::compile(&tree, &mut self.state.numbers.clone());
        Ok(self.needs(&self.state.compiled, &after))
    }

    /// Refusals for every host that has no room for `after`.
    pub(crate) fn too_large(&self, before: &Compiled, after: &Compiled) -> Vec<Refusal> {
        if self.surely_fits(whole(&before.table), whole(&after.table)) {
            return Vec::new();
        }
        let needs = self.needs(before, after);
        needs.iter().flat_map(|host| host.over.iter().map(|over| refusal(host, *over))).collect()
    }

    /// Whether even a host that needed all of both policies would have room.
    pub(crate) fn surely_fits(&self, before: Need, after: Need) -> bool {
        let all = before.and(after);
        self.fabric().hosts().all(|(_, host)| over(all, host.room).is_empty())
    }

    fn needs(&self, before: &Compiled, after: &Compiled) -> Vec<HostNeed> {
        let [was, will] = [before, after].map(|compiled| Counter::new(&compiled.table));
        let mut present: BTreeMap<Arc<str>, Present> = BTreeMap::new();
        for location in self.server.locations() {
            let host = present.entry(location.agent.clone()).or_default();
            host.groups.insert(location.group.clone());
        }
        let hosts = self.fabric().hosts().filter(|(_, host)| host.selvage);
        let need = |(name, host): (&Arc<str>, &crate::Host)| {
            let mut present = present.get(name).cloned().unwrap_or_default();
            present.node = Some(NodeId(host.node));
            let (old, new) = (was.entries(&present), will.entries(&present));
            let at_once = at_once((&was, &old), (&will, &new));
            HostNeed {
                name: name.clone(),
                need: will.need(&new),
                at_once,
                room: host.room,
                over: over(at_once, host.room),
                heaviest: will.shares(&new).into_iter().take(HEAVIEST).collect(),
            }
        };
        hosts.map(need).collect()
    }
}

/// What a host would need that has endpoints of these groups and nothing yet.
pub fn need_of(compiled: &Compiled, name: &str, present: &Present, room: Room) -> HostNeed {
    let counter = Counter::new(&compiled.table);
    let entries = counter.entries(present);
    let need = counter.need(&entries);
    HostNeed {
        name: name.into(),
        need,
        at_once: need,
        room,
        over: over(need, room),
        heaviest: counter.shares(&entries).into_iter().take(HEAVIEST).collect(),
    }
}

fn refusal(host: &HostNeed, over: Over) -> Refusal {
    let of = |share: &capacity::Share| match over.table {
        "pairs" => share.pairs,
        _ => share.rules,
    };
    let mut heaviest: Vec<&Share> = host.heaviest.iter().collect();
    heaviest.sort_by_key(|share| std::cmp::Reverse(of(share)));
    let named = heaviest.iter().take(3).map(|share| format!("{} {}", share.contract, of(share)));
    Refusal::TooLarge {
        host: host.name.to_string(),
        table: over.table,
        need: over.need,
        limit: over.limit,
        heaviest: named.collect::<Vec<_>>().join(", "),
    }
}
