//! What one host needs of a table: enough to judge every flow of the groups it has, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_rules::{Arm, ClassId, GroupKey, PairKey, RuleId, ScopeId, ServiceId, Table};

/// The pairs of a table by the groups they are about, so that a slice costs what it holds and not
/// what the fabric does. Made once for each table.
#[derive(Debug, Clone, Default)]
pub struct Index {
    of_group: BTreeMap<GroupKey, Vec<PairKey>>,
    of_any: BTreeMap<ScopeId, Vec<PairKey>>,
}

impl Index {
    /// Indexes `table`.
    pub fn new(table: &Table) -> Index {
        let mut index = Index::default();
        for pair in table.pairs.keys() {
            let PairKey { scope, src, dst } = *pair;
            if src == ClassId::ANY || dst == ClassId::ANY {
                index.of_any.entry(scope).or_default().push(*pair);
            }
            let ends = [src, dst];
            let distinct = if src == dst { 1 } else { 2 };
            for class in ends.into_iter().take(distinct).filter(|class| *class != ClassId::ANY) {
                index.of_group.entry(GroupKey { scope, class }).or_default().push(*pair);
            }
        }
        index
    }

    /// The pairs in which `group` stands on either side by its own class, ascending.
    pub fn of_group(&self, group: GroupKey) -> &[PairKey] {
        self.of_group.get(&group).map(Vec::as_slice).unwrap_or_default()
    }

    /// The pairs of a VRF with any class on a side, ascending: whoever has a group of that VRF needs
    /// them, since the other end may be any group.
    pub fn of_any(&self, scope: ScopeId) -> &[PairKey] {
        self.of_any.get(&scope).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The part of `table` that a host needs that has endpoints of the groups `present`: their pairs
/// with the rule sets and origins behind them, their bridge domains and VRFs, and the names of the
/// groups at the other ends (whose bridge domains are not included).
///
/// Groups that the table does not have are skipped. For every flow from or to a group that is
/// present, the slice judges as the whole table does.
pub fn slice(table: &Table, index: &Index, present: &BTreeSet<GroupKey>) -> Table {
    let mut part = Table::default();
    for key in present {
        let Some(group) = table.groups.get(key) else { continue };
        part.groups.insert(*key, group.clone());
        let quality = table.qualities.get(key);
        part.qualities.extend(quality.map(|quality| (*key, quality.clone())));
        if let Some((id, bd)) = group.bd.and_then(|id| table.bridge_domains.get_key_value(&id)) {
            part.bridge_domains.insert(*id, bd.clone());
            part.arms.extend(arms_of(table, &bd.name));
        }
        if let Some(vrf) = table.vrfs.get(&key.scope) {
            part.vrfs.insert(key.scope, vrf.clone());
            part.arms.extend(arms_of(table, &vrf.name));
        }
        if let Some(outside) = table.outside.get(&key.scope) {
            part.outside.insert(key.scope, outside.clone());
        }
        for pair in index.of_group(*key).iter().chain(index.of_any(key.scope)) {
            add_pair(&mut part, table, *pair);
        }
        // Where it offers contracts to groups of other VRFs, too.
        let Some(shared) = table.shared.get(key) else { continue };
        part.shared.insert(*key, shared.clone());
        for scope in &shared.offers_in {
            let there = GroupKey { scope: *scope, class: key.class };
            let pairs = index.of_group(there).iter().chain(index.of_any(*scope));
            pairs.for_each(|pair| add_pair(&mut part, table, *pair));
        }
    }
    part
}

fn arms_of(table: &Table, name: &str) -> Option<(Arc<str>, Arc<Vec<Arm>>)> {
    table.arms.get_key_value(name).map(|(name, arms)| (Arc::clone(name), Arc::clone(arms)))
}

fn add_pair(part: &mut Table, table: &Table, pair: PairKey) {
    let Some(id) = table.pairs.get(&pair).copied() else { return };
    if part.pairs.insert(pair, id).is_some() {
        return;
    }
    for class in [pair.src, pair.dst] {
        let key = table.home(GroupKey { scope: pair.scope, class });
        if let Some(peer) = table.groups.get(&key) {
            part.groups.entry(key).or_insert_with(|| peer.clone());
        }
        if let Some(shared) = table.shared.get(&key) {
            part.shared.entry(key).or_insert_with(|| shared.clone());
        }
    }
    let Some(set) = table.rule_sets.get(&id) else { return };
    if part.rule_sets.insert(id, Arc::clone(set)).is_none() {
        for rule in &set.rules {
            add_origin(part, table, rule.id);
            add_services(part, table, rule.treatment.service);
        }
    }
}

/// Adds a service and those that come after it.
fn add_services(part: &mut Table, table: &Table, first: Option<ServiceId>) {
    let mut at = first;
    while let Some(id) = at {
        let Some(service) = table.services.get(&id) else { return };
        part.services.insert(id, service.clone());
        at = service.next;
    }
}

fn add_origin(part: &mut Table, table: &Table, rule: RuleId) {
    if let Some(origin) = table.origins.get(&rule) {
        part.origins.insert(rule, origin.clone());
    }
}
