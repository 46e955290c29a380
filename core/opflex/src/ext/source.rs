//! From the rule table to the objects a controller sends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_rules::{
    self as rules, BdId, ClassId, GroupKey, NodeId, PairKey, RuleSetId, ScopeId, Table,
};

use super::{
    Border, BridgeDomain, Group, Outside, Pair, PairPeer, RuleSet, Vrf, Within, border_uri,
    bridge_domain_uri, class, group_uri, outside_uri, rule_set_reference, vrf_uri,
};
use crate::Uri;
use crate::mo::{Object, Reference};
use crate::server::{Change, PolicySource};

/// A rule table as a source of policy: objects are made when somebody asks for them.
#[derive(Debug, Clone, Default)]
pub struct SelvageSource {
    table: Arc<Table>,
    groups: BTreeMap<Arc<str>, GroupKey>,
    bridge_domains: BTreeMap<Arc<str>, BdId>,
    vrfs: BTreeMap<Arc<str>, ScopeId>,
    homes: BTreeMap<Home, BTreeSet<PairKey>>,
}

/// The object that a pair is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Home {
    Vrf(ScopeId),
    Group(GroupKey),
    Outside(ScopeId),
}

impl SelvageSource {
    /// Serves `table`.
    pub fn new(table: Arc<Table>) -> SelvageSource {
        let groups = table.groups.iter().map(|(key, group)| (group.name.clone(), *key)).collect();
        let bds = table.bridge_domains.iter().map(|(id, bd)| (bd.name.clone(), *id)).collect();
        let vrfs = table.vrfs.iter().map(|(scope, vrf)| (vrf.name.clone(), *scope)).collect();
        let mut homes: BTreeMap<Home, BTreeSet<PairKey>> = BTreeMap::new();
        for key in table.pairs.keys() {
            for home in homes_of(&table, key) {
                homes.entry(home).or_default().insert(*key);
            }
        }
        SelvageSource { table, groups, bridge_domains: bds, vrfs, homes }
    }

    /// The table that is served.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What changed from `self` to `new`, down to single pairs.
    pub fn diff(&self, new: &SelvageSource) -> Change {
        let mut change = Change::default();
        for (name, key) in &new.groups {
            if self.groups.get(name) != Some(key) || !self.same_group(new, key) {
                change.changed.insert(group_reference(name));
            }
        }
        for (name, id) in &new.bridge_domains {
            if self.bridge_domains.get(name) != Some(id) || !self.same_domain(new, *id) {
                change.changed.insert(bridge_domain_reference(name));
            }
        }
        for (name, scope) in &new.vrfs {
            let same_world = self.table.outside.get(scope) == new.table.outside.get(scope)
                && self.table.arms.get(name) == new.table.arms.get(name);
            if self.vrfs.get(name) != Some(scope) || !same_world {
                change.changed.insert(vrf_reference(name));
            }
        }
        self.diff_borders(new, &mut change);
        for (id, set) in &new.table.rule_sets {
            if self.table.rule_sets.get(id) != Some(set) {
                change.changed.insert(rule_set_reference(*id));
            }
        }
        self.gone(new, &mut change);
        self.diff_pairs(new, &mut change);
        change
    }

    fn diff_borders(&self, new: &SelvageSource, change: &mut Change) {
        let (before, after) = (borders(&self.table), borders(&new.table));
        for (node, vrfs) in &after {
            if before.get(node) != Some(vrfs) {
                change.changed.insert(border_reference(*node));
            }
        }
        let gone = before.keys().filter(|node| !after.contains_key(node));
        change.deleted.extend(gone.map(|node| border_reference(*node)));
        for scope in new.table.outside.keys() {
            let home = Home::Outside(*scope);
            let place = new.place(&home);
            if place.is_some() && self.place(&home) != place {
                change.changed.extend(place);
            }
        }
        for scope in self.table.outside.keys() {
            let home = Home::Outside(*scope);
            if new.place(&home).is_none() {
                change.deleted.extend(self.place(&home));
            }
        }
    }

    fn gone(&self, new: &SelvageSource, change: &mut Change) {
        let groups = self.groups.keys().filter(|name| !new.groups.contains_key(*name));
        change.deleted.extend(groups.map(|name| group_reference(name)));
        let bds = self.bridge_domains.keys().filter(|name| !new.bridge_domains.contains_key(*name));
        change.deleted.extend(bds.map(|name| bridge_domain_reference(name)));
        let vrfs = self.vrfs.keys().filter(|name| !new.vrfs.contains_key(*name));
        change.deleted.extend(vrfs.map(|name| vrf_reference(name)));
        let sets = self.table.rule_sets.keys();
        let sets = sets.filter(|id| !new.table.rule_sets.contains_key(id));
        change.deleted.extend(sets.map(|id| rule_set_reference(*id)));
    }

    /// Pairs of objects that stay. One that is sent whole brings its pairs along, and one that is
    /// gone takes them with it.
    fn diff_pairs(&self, new: &SelvageSource, change: &mut Change) {
        let homes: BTreeSet<&Home> = self.homes.keys().chain(new.homes.keys()).collect();
        for home in homes {
            let (Some(old_at), Some(new_at)) = (self.place(home), new.place(home)) else {
                continue;
            };
            if old_at != new_at || change.changed.contains(&new_at) {
                continue;
            }
            for key in new.homes.get(home).into_iter().flatten() {
                let before = self.pair(home, key);
                if before.is_none() || before != new.pair(home, key) {
                    change.changed.insert(pair_reference(&new_at, key));
                }
            }
            for key in self.homes.get(home).into_iter().flatten() {
                if !new.homes.get(home).is_some_and(|keys| keys.contains(key)) {
                    change.deleted.insert(pair_reference(&new_at, key));
                }
            }
        }
    }

    fn same_group(&self, new: &SelvageSource, key: &GroupKey) -> bool {
        let view = |source: &SelvageSource| {
            let group = source.table.groups.get(key)?;
            Some((group.name.clone(), group.encap, source.within(key, group)?))
        };
        view(self) == view(new)
    }

    fn same_domain(&self, new: &SelvageSource, id: BdId) -> bool {
        let view = |source: &SelvageSource| {
            let bd = source.table.bridge_domains.get(&id)?;
            let vrf = source.table.vrfs.get(&bd.scope)?;
            Some((bd.clone(), vrf.name.clone(), source.table.arms.get(&bd.name).cloned()))
        };
        view(self) == view(new)
    }

    /// The object that `home` is in this table.
    fn place(&self, home: &Home) -> Option<Reference> {
        match home {
            Home::Vrf(scope) => self.table.vrfs.get(scope).map(|vrf| vrf_reference(&vrf.name)),
            Home::Group(key) => {
                self.table.groups.get(key).map(|group| group_reference(&group.name))
            }
            Home::Outside(scope) => {
                let vrf = self.table.outside.get(scope).and_then(|_| self.table.vrfs.get(scope))?;
                Some(Reference::new(class::OUTSIDE, outside_uri(&vrf.name)))
            }
        }
    }

    /// The pair as it shows below `home`.
    fn pair(&self, home: &Home, key: &PairKey) -> Option<Pair> {
        let rule_set = *self.table.pairs.get(key)?;
        let other = match home {
            Home::Vrf(_) | Home::Outside(_) => None,
            Home::Group(group) if group.class == key.src => Some(key.dst),
            Home::Group(_) => Some(key.src),
        };
        let peer = other.and_then(|class| {
            let group = self.table.groups.get(&GroupKey { scope: key.scope, class })?;
            let name = group.name.clone();
            Some(PairPeer { name, class, encap: group.encap, bd: group.bd })
        });
        Some(Pair { src: key.src, dst: key.dst, rule_set, peer })
    }

    fn pairs(&self, home: Home) -> Vec<Pair> {
        let keys = self.homes.get(&home).into_iter().flatten();
        keys.filter_map(|key| self.pair(&home, key)).collect()
    }

    /// Where the endpoints of a group live; `None` if the table lacks that.
    fn within(&self, key: &GroupKey, group: &rules::Group) -> Option<Within> {
        Some(match group.bd {
            Some(bd) => Within::BridgeDomain(self.table.bridge_domains.get(&bd)?.name.clone()),
            None => Within::Vrf(self.table.vrfs.get(&key.scope)?.name.clone()),
        })
    }

    fn group(&self, name: &str) -> Option<Vec<Object>> {
        let key = self.groups.get(name)?;
        let group = self.table.groups.get(key)?;
        let within = self.within(key, group)?;
        let (name, class, encap) = (group.name.clone(), key.class, group.encap);
        let pairs = self.pairs(Home::Group(*key));
        Some(Group { name, class, encap, within, pairs }.to_objects())
    }

    fn bridge_domain(&self, name: &str) -> Option<Vec<Object>> {
        let id = *self.bridge_domains.get(name)?;
        let rules::BridgeDomain { name, scope, mac, routed, gateways } =
            self.table.bridge_domains.get(&id)?.clone();
        let vrf = self.table.vrfs.get(&scope)?.name.clone();
        let arms = self.table.arms.get(&name).cloned().unwrap_or_default();
        Some(BridgeDomain { name, id, mac, routed, vrf, gateways, arms }.to_objects())
    }

    fn vrf(&self, name: &str) -> Option<Vec<Object>> {
        let scope = *self.vrfs.get(name)?;
        let name = self.table.vrfs.get(&scope)?.name.clone();
        let outside = self.table.outside.get(&scope).cloned().unwrap_or_default();
        let arms = self.table.arms.get(&name).cloned().unwrap_or_default();
        let pairs = self.pairs(Home::Vrf(scope));
        Some(Vrf { name, scope, pairs, outside, arms }.to_objects())
    }

    fn outside(&self, name: &str) -> Option<Vec<Object>> {
        let scope = *self.vrfs.get(name)?;
        self.table.outside.get(&scope)?;
        let vrf = self.table.vrfs.get(&scope)?.name.clone();
        Some(Outside { vrf, pairs: self.pairs(Home::Outside(scope)) }.to_objects())
    }

    fn border(&self, node: &str) -> Option<Vec<Object>> {
        let node = NodeId(node.parse().ok()?);
        let vrfs = borders(&self.table).remove(&node)?;
        Some(Border { node, vrfs }.to_objects())
    }

    fn rule_set(&self, number: &str) -> Option<Vec<Object>> {
        let set = self.table.rule_sets.get(&RuleSetId(number.parse().ok()?))?;
        let origin =
            |rule: &rules::Rule| Some((rule.id, self.table.origins.get(&rule.id)?.clone()));
        let origins = set.rules.iter().filter_map(origin).collect();
        Some(RuleSet { set: rules::RuleSet::clone(set), origins }.to_objects())
    }

    /// A pair below the group or VRF called `name`.
    fn one_pair(&self, parent: &str, name: &str, src: &str, dst: &str) -> Option<Vec<Object>> {
        let (home, scope, at) = match parent {
            class::GROUP => {
                let key = *self.groups.get(name)?;
                (Home::Group(key), key.scope, group_uri(name))
            }
            class::VRF => {
                let scope = *self.vrfs.get(name)?;
                (Home::Vrf(scope), scope, vrf_uri(name))
            }
            class::OUTSIDE => {
                let scope = *self.vrfs.get(name)?;
                (Home::Outside(scope), scope, outside_uri(name))
            }
            _ => return None,
        };
        let (src, dst) = (ClassId(src.parse().ok()?), ClassId(dst.parse().ok()?));
        let key = PairKey { scope, src, dst };
        self.homes.get(&home)?.get(&key)?;
        Some(vec![self.pair(&home, &key)?.to_object(parent, &at)])
    }
}

impl PolicySource for SelvageSource {
    fn resolve(&self, subject: &str, uri: &Uri) -> Vec<Object> {
        let segments: Vec<String> = uri.segments().collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let objects = match segments.as_slice() {
            [class::UNIVERSE, class::GROUP, name] => self.group(name),
            [class::UNIVERSE, class::BRIDGE_DOMAIN, name] => self.bridge_domain(name),
            [class::UNIVERSE, class::VRF, name] => self.vrf(name),
            [class::UNIVERSE, class::OUTSIDE, name] => self.outside(name),
            [class::UNIVERSE, class::BORDER, node] => self.border(node),
            [class::UNIVERSE, class::RULE_SET, number] => self.rule_set(number),
            [class::UNIVERSE, parent, name, class::PAIR, src, dst] => {
                self.one_pair(parent, name, src, dst)
            }
            _ => None,
        };
        // A URI that is not spelled as we spell it, or of another class, names nothing.
        let objects = objects.unwrap_or_default();
        let named = |first: &Object| first.uri == *uri && &*first.subject == subject;
        if objects.first().is_some_and(named) { objects } else { Vec::new() }
    }
}

/// The VRFs that each host is the border of.
pub fn borders(table: &Table) -> BTreeMap<NodeId, BTreeSet<Arc<str>>> {
    let mut borders: BTreeMap<NodeId, BTreeSet<Arc<str>>> = BTreeMap::new();
    for (scope, outside) in &table.outside {
        let Some(vrf) = table.vrfs.get(scope) else { continue };
        for node in outside.borders() {
            borders.entry(node).or_default().insert(vrf.name.clone());
        }
    }
    borders
}

/// A pair is below each of its groups, so that a host that has either knows it, and below the outside
/// if one of its classes is there; with a class of any, or of no group, it is below the VRF.
fn homes_of(table: &Table, key: &PairKey) -> Vec<Home> {
    if key.src == ClassId::ANY || key.dst == ClassId::ANY {
        return vec![Home::Vrf(key.scope)];
    }
    let group = |class| GroupKey { scope: key.scope, class };
    let mut homes: Vec<Home> = BTreeSet::from([key.src, key.dst])
        .into_iter()
        .map(group)
        .filter(|group| table.groups.contains_key(group))
        .map(Home::Group)
        .collect();
    let outside = table.outside.get(&key.scope);
    if outside.is_some_and(|world| world.has_class(key.src) || world.has_class(key.dst)) {
        homes.push(Home::Outside(key.scope));
    }
    if homes.is_empty() {
        homes.push(Home::Vrf(key.scope));
    }
    homes
}

fn group_reference(name: &str) -> Reference {
    Reference::new(class::GROUP, group_uri(name))
}

fn border_reference(node: NodeId) -> Reference {
    Reference::new(class::BORDER, border_uri(node))
}

fn bridge_domain_reference(name: &str) -> Reference {
    Reference::new(class::BRIDGE_DOMAIN, bridge_domain_uri(name))
}

fn vrf_reference(name: &str) -> Reference {
    Reference::new(class::VRF, vrf_uri(name))
}

fn pair_reference(parent: &Reference, key: &PairKey) -> Reference {
    Reference::new(class::PAIR, Pair::uri(&parent.uri, key.src, key.dst))
}
