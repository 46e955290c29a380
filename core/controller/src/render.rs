//! The compiled table as objects of the extension classes: what our agents resolve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_opflex::ext;
use selvage_opflex::mo::Object;
use selvage_policy::slice::Index;
use selvage_rules::{ClassId, Group, GroupKey, Outside, PairKey, RuleSet, ScopeId, Table};

/// Every object that an agent may resolve, in the order parents before children: groups with their
/// pairs, bridge domains with their subnets, VRFs with their pairs, rule sets with their rules.
pub fn objects(table: &Table) -> Vec<Object> {
    let index = Index::new(table);
    let mut objects = Vec::new();
    for (key, group) in &table.groups {
        objects.extend(render_group(table, &index, *key, group));
    }
    for (id, bd) in &table.bridge_domains {
        let Some(vrf) = table.vrfs.get(&bd.scope) else { continue };
        let rendered = ext::BridgeDomain {
            name: Arc::clone(&bd.name),
            id: *id,
            mac: bd.mac,
            routed: bd.routed,
            vrf: Arc::clone(&vrf.name),
            gateways: bd.gateways.clone(),
            arms: table.arms.get(&bd.name).cloned().unwrap_or_default(),
        };
        objects.extend(rendered.to_objects());
    }
    for (scope, vrf) in &table.vrfs {
        let pairs = index.of_any(*scope).iter().filter_map(|key| pair(table, *key, None)).collect();
        let outside = table.outside.get(scope).cloned().unwrap_or_default();
        let arms = table.arms.get(&vrf.name).cloned().unwrap_or_default();
        let name = Arc::clone(&vrf.name);
        let rendered = ext::Vrf { name, scope: *scope, pairs, outside, arms };
        objects.extend(rendered.to_objects());
    }
    for (node, vrfs) in ext::borders(table) {
        objects.extend(ext::Border { node, vrfs }.to_objects());
    }
    for (scope, outside) in &table.outside {
        objects.extend(render_outside(table, &index, *scope, outside));
    }
    for set in table.rule_sets.values() {
        objects.extend(render_rule_set(table, set));
    }
    objects
}

/// What a border host needs: the pairs of every class outside.
fn render_outside(table: &Table, index: &Index, scope: ScopeId, outside: &Outside) -> Vec<Object> {
    let Some(vrf) = table.vrfs.get(&scope) else { return Vec::new() };
    let classes: BTreeSet<ClassId> =
        outside.groups.values().flat_map(|group| [group.source, group.destination]).collect();
    let of_class = |class: &ClassId| index.of_group(GroupKey { scope, class: *class });
    let concrete = |pair: &&PairKey| pair.src != ClassId::ANY && pair.dst != ClassId::ANY;
    let keys: BTreeSet<PairKey> =
        classes.iter().flat_map(of_class).filter(concrete).copied().collect();
    let pairs = keys.into_iter().filter_map(|key| pair(table, key, None)).collect();
    ext::Outside { vrf: Arc::clone(&vrf.name), pairs }.to_objects()
}

fn render_group(table: &Table, index: &Index, key: GroupKey, group: &Group) -> Vec<Object> {
    let within = match group.bd {
        Some(bd) => {
            table.bridge_domains.get(&bd).map(|bd| ext::Within::BridgeDomain(bd.name.clone()))
        }
        None => table.vrfs.get(&key.scope).map(|vrf| ext::Within::Vrf(vrf.name.clone())),
    };
    let Some(within) = within else { return Vec::new() };
    // Pairs with a class of any are below the VRF, where every group of it finds them.
    let is_concrete = |pair: &&PairKey| pair.src != ClassId::ANY && pair.dst != ClassId::ANY;
    let pairs = index.of_group(key).iter().filter(is_concrete);
    let rendered = ext::Group {
        name: Arc::clone(&group.name),
        class: key.class,
        encap: group.encap,
        within,
        pairs: pairs.filter_map(|pair_key| pair(table, *pair_key, Some(key))).collect(),
    };
    rendered.to_objects()
}

/// A pair as seen from the group `below`, so that its `peer` is the other one.
fn pair(table: &Table, key: PairKey, below: Option<GroupKey>) -> Option<ext::Pair> {
    let rule_set = *table.pairs.get(&key)?;
    let peer = below.and_then(|own| {
        let class = if key.src == own.class { key.dst } else { key.src };
        let group = table.groups.get(&GroupKey { scope: key.scope, class })?;
        let name = Arc::clone(&group.name);
        Some(ext::PairPeer { name, class, encap: group.encap, bd: group.bd })
    });
    Some(ext::Pair { src: key.src, dst: key.dst, rule_set, peer })
}

fn render_rule_set(table: &Table, set: &RuleSet) -> Vec<Object> {
    let origin = |rule: &selvage_rules::Rule| Some((rule.id, table.origins.get(&rule.id)?.clone()));
    let origins: BTreeMap<_, _> = set.rules.iter().filter_map(origin).collect();
    ext::RuleSet { set: set.clone(), origins }.to_objects()
}
