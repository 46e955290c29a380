//! From the objects an agent holds to the slice of the rule table it enforces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use selvage_rules::{
    self as rules, Arm, GroupId, GroupKey, NodeId, PairKey, ScopeId, Source, Table,
};

use super::{
    Border, BridgeDomain, Group, Malformed, Outside, Pair, RuleSet, Vrf, Within, border_uri,
    bridge_domain_uri, class, group_uri, outside_uri, rule_set_reference, vrf_uri,
};
use crate::mo::{Object, Reference};
use crate::modb::Modb;

/// What a host must enforce for its groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// The table: its groups are those asked for, its pairs all that concern them.
    pub table: Table,
    /// Names of all groups known, those at the other ends of pairs included.
    pub names: BTreeMap<GroupKey, Arc<str>>,
    /// What they are known by on the wire.
    pub sources: BTreeMap<GroupId, Source>,
}

/// Why no slice can be made yet. What is enforced stays until one can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Incomplete {
    /// What something points at, and is not there.
    pub missing: BTreeSet<Reference>,
    /// Pairs that two groups disagree about: the news of one of them is still on its way.
    pub disputed: BTreeSet<PairKey>,
    /// What is there and makes no sense.
    pub malformed: Vec<Malformed>,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing.iter().map(|target| format!("`{}` is missing", target.uri));
        let disputed = self.disputed.iter().map(|pair| {
            format!("two groups disagree about {} to {} in {}", pair.src, pair.dst, pair.scope)
        });
        let malformed = self.malformed.iter().map(Malformed::to_string);
        let all: Vec<String> = missing.chain(disputed).chain(malformed).collect();
        f.write_str(&all.join("; "))
    }
}

impl std::error::Error for Incomplete {}

/// The slice for the groups with these DNs, and for what the host of this number is the border of, if
/// `db` holds all that it takes. A border that `db` does not have is none.
pub fn slice<'a>(
    db: &Modb,
    groups: impl IntoIterator<Item = &'a str>,
    border: Option<NodeId>,
) -> Result<Slice, Incomplete> {
    let mut builder = Builder { db, slice: Slice::default(), incomplete: Incomplete::default() };
    for dn in groups {
        builder.group(dn);
    }
    if let Some(node) = border {
        builder.border(node);
    }
    if builder.incomplete == Incomplete::default() {
        Ok(builder.slice)
    } else {
        Err(builder.incomplete)
    }
}

struct Builder<'a> {
    db: &'a Modb,
    slice: Slice,
    incomplete: Incomplete,
}

impl<'a> Builder<'a> {
    fn group(&mut self, dn: &str) {
        let target = Reference::new(class::GROUP, group_uri(dn));
        let Some(group) = self.read(target, Group::from_objects) else { return };
        let found = match &group.within {
            Within::BridgeDomain(dn) => self.bridge_domain(dn).map(|(scope, bd)| (scope, Some(bd))),
            Within::Vrf(dn) => self.vrf(dn).map(|scope| (scope, None)),
        };
        let Some((scope, bd)) = found else { return };
        let key = GroupKey { scope, class: group.class };
        self.slice.names.insert(key, group.name.clone());
        self.slice.sources.insert(group.encap, Source { key, bd });
        let entry = rules::Group { name: group.name, bd, encap: group.encap };
        self.slice.table.groups.insert(key, entry);
        self.pairs(scope, group.pairs);
    }

    fn border(&mut self, node: NodeId) {
        let target = Reference::new(class::BORDER, border_uri(node));
        if self.db.subtree(&target.uri).is_empty() {
            return;
        }
        let Some(border) = self.read(target, Border::from_objects) else { return };
        for dn in border.vrfs {
            let target = Reference::new(class::OUTSIDE, outside_uri(&dn));
            let Some(outside) = self.read(target, Outside::from_objects) else { continue };
            if let Some(scope) = self.vrf(&outside.vrf) {
                self.pairs(scope, outside.pairs);
            }
        }
    }

    fn bridge_domain(&mut self, dn: &str) -> Option<(ScopeId, rules::BdId)> {
        let target = Reference::new(class::BRIDGE_DOMAIN, bridge_domain_uri(dn));
        let bd = self.read(target, BridgeDomain::from_objects)?;
        let scope = self.vrf(&bd.vrf)?;
        let mut gateways = bd.gateways;
        gateways.sort_unstable();
        let (name, mac, routed) = (bd.name, bd.mac, bd.routed);
        let entry = rules::BridgeDomain { name, scope, mac, routed, gateways };
        self.arms(&entry.name, bd.arms);
        self.slice.table.bridge_domains.insert(bd.id, entry);
        Some((scope, bd.id))
    }

    fn vrf(&mut self, dn: &str) -> Option<ScopeId> {
        let target = Reference::new(class::VRF, vrf_uri(dn));
        let vrf = self.read(target, Vrf::from_objects)?;
        self.arms(&vrf.name, vrf.arms);
        let known = self.slice.table.vrfs.insert(vrf.scope, rules::Vrf { name: vrf.name });
        if known.is_none() {
            self.pairs(vrf.scope, vrf.pairs);
            self.outside(vrf.scope, vrf.outside);
        }
        Some(vrf.scope)
    }

    fn arms(&mut self, of: &Arc<str>, arms: Arc<Vec<Arm>>) {
        if !arms.is_empty() {
            self.slice.table.arms.insert(Arc::clone(of), arms);
        }
    }

    fn outside(&mut self, scope: ScopeId, world: rules::Outside) {
        if world == rules::Outside::default() {
            return;
        }
        for group in world.groups.values() {
            for class in [group.source, group.destination] {
                self.slice.names.insert(GroupKey { scope, class }, group.name.clone());
            }
            let key = GroupKey { scope, class: group.source };
            self.slice.sources.insert(group.encap, Source { key, bd: None });
        }
        self.slice.table.outside.insert(scope, world);
    }

    fn pairs(&mut self, scope: ScopeId, pairs: Vec<Pair>) {
        for pair in pairs {
            let key = PairKey { scope, src: pair.src, dst: pair.dst };
            if let Some(peer) = pair.peer {
                let key = GroupKey { scope, class: peer.class };
                self.slice.names.insert(key, peer.name);
                self.slice.sources.insert(peer.encap, Source { key, bd: peer.bd });
            }
            let known = self.slice.table.pairs.insert(key, pair.rule_set);
            if known.is_some_and(|known| known != pair.rule_set) {
                self.incomplete.disputed.insert(key);
            }
            self.rule_set(pair.rule_set);
        }
    }

    fn rule_set(&mut self, id: rules::RuleSetId) {
        if self.slice.table.rule_sets.contains_key(&id) {
            return;
        }
        let target = rule_set_reference(id);
        let Some(read) = self.read(target, RuleSet::from_objects) else {
            return;
        };
        self.slice.table.origins.extend(read.origins);
        self.slice.table.rule_sets.insert(id, Arc::new(read.set));
    }

    fn read<T>(
        &mut self,
        target: Reference,
        read: impl Fn(Vec<&'a Object>) -> Result<T, Malformed>,
    ) -> Option<T> {
        let objects = self.db.subtree(&target.uri);
        if objects.is_empty() {
            self.incomplete.missing.insert(target);
            return None;
        }
        match read(objects) {
            Ok(value) => Some(value),
            Err(malformed) => {
                self.incomplete.malformed.push(malformed);
                None
            }
        }
    }
}
