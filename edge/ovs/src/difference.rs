//! From the flows a bridge holds to those it is to hold. Pure.

use std::collections::BTreeMap;

use crate::lower::Key;
use crate::openflow::{Change, Flow};

/// Flows by identity.
pub type Flows = BTreeMap<Key, Flow>;

/// The changes that lead from `held` to `wanted`. A flow that stays keeps its counters; one whose
/// actions alone change keeps them too.
pub fn difference(held: &Flows, wanted: &Flows) -> Vec<Change> {
    let mut changes = Vec::new();
    for key in held.keys().filter(|key| !wanted.contains_key(key)) {
        let (table, priority, matches) = (key.table, key.priority, key.matches.clone());
        changes.push(Change::Remove { table, priority, matches });
    }
    for (key, flow) in wanted {
        match held.get(key) {
            Some(held) if held == flow => {}
            Some(held) if held.cookie == flow.cookie => {
                changes.push(Change::SetActions(flow.clone()));
            }
            _ => changes.push(Change::Add(flow.clone())),
        }
    }
    changes
}
