//! Numbers for names, stable under change.
//!
//! A group keeps its class, a VRF its scope and a rule its id for as long as the name exists, and
//! gets the same one back if it returns: hosts, packets on the wire and counters all speak in these
//! numbers. They are allocated in the order of the names within one compile, so the same tree and
//! the same history always give the same numbers.
//!
//! A number whose key is gone is kept for it. VNIs, group and class ids are handed to somebody else
//! only when their pool has no fresh one left, the one gone longest first. Rule, rule set and service ids are
//! never handed to another key: there are four billion of each, and an agent may hold on to an old
//! rule set for as long as it likes.

mod pool;

use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{BdId, ClassId, GroupId, Rule, RuleId, RuleSetId, ScopeId, Service, ServiceId};
use serde::{Deserialize, Serialize};

pub use pool::Exhausted;
use pool::{Fate, Pool, Range};

/// The largest 24-bit number: VNIs and encap ids end here.
const MAX_24: u32 = 0x00ff_ffff;
/// How many rules and rule sets that are gone get their old number back when they return.
const REMEMBER: usize = 65_536;

const VNI: Range =
    Range { what: "network identifiers (VNIs)", first: 1, last: MAX_24, remember: None };
const GROUP: Range = Range { what: "group ids", first: 1, last: MAX_24, remember: None };
const CLASS: Range = Range {
    what: "class ids of the VRF",
    first: ClassId::FIRST_LOCAL.0 as u32,
    last: u16::MAX as u32,
    remember: None,
};
const GLOBAL_CLASS: Range = Range {
    what: "class ids of groups that provide across VRFs",
    first: ClassId::FIRST_GLOBAL.0 as u32,
    last: ClassId::FIRST_LOCAL.0 as u32 - 1,
    remember: None,
};
const RULE: Range = Range { what: "rule ids", first: 1, last: u32::MAX, remember: Some(REMEMBER) };
const RULE_SET: Range =
    Range { what: "rule set ids", first: 1, last: u32::MAX, remember: Some(REMEMBER) };
const SERVICE: Range =
    Range { what: "service ids", first: 1, last: u32::MAX, remember: Some(REMEMBER) };

/// What a rule is made from, which is what its number stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleKey {
    /// DN of what holds the filter, a contract subject or its part for one direction, or of the
    /// object whose default it is.
    pub holder: Arc<str>,
    /// DN of the filter entry; for a default which of its holder's it is, empty where it has but one.
    pub entry: Arc<str>,
    /// The rule for the way back, from provider to consumer.
    pub reverse: bool,
}

/// One number: the pool it belongs to and its value. The key of a [`Row`] in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// A VNI, of a VRF or a bridge domain.
    Vni(u32),
    /// A group's fabric-wide number.
    Group(u32),
    /// A group's class.
    Class {
        /// DN of the VRF within which it counts.
        vrf: Arc<str>,
        /// The class id.
        class: u16,
    },
    /// The class of a group that provides contracts to other VRFs.
    GlobalClass(u16),
    /// A rule.
    Rule(u32),
    /// A rule set.
    RuleSet(u32),
    /// A service.
    Service(u32),
}

/// Who holds a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The object of this DN: a VRF, bridge domain or group.
    Object(Arc<str>),
    /// A rule.
    Rule(RuleKey),
    /// A rule set of just these rules.
    RuleSet(Arc<[Rule]>),
    /// A service of just this content.
    Service(Arc<Service>),
}

/// One number and its holder, as a store keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The number.
    pub slot: Slot,
    /// Who holds it.
    pub holder: Holder,
    /// `None` while the holder exists; else its place in the order in which holders went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<u64>,
}

/// What a store must do to keep up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Keep this row, in place of the one of the same slot.
    Put(Row),
    /// Drop the row of this slot.
    Delete(Slot),
}

/// A stored row that cannot be: its number is out of range, held twice, or of another kind than
/// its holder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored number {slot:?} contradicts the others")]
pub struct RestoreError {
    /// The number.
    pub slot: Slot,
}

/// All numbers of a fabric. See the module's text for when one is used again.
#[derive(Debug, Clone)]
pub struct Numbers {
    vnis: Pool<Arc<str>>,
    groups: Pool<Arc<str>>,
    classes: BTreeMap<Arc<str>, Pool<Arc<str>>>,
    class_range: Range,
    global_classes: Pool<Arc<str>>,
    rules: Pool<RuleKey>,
    rule_sets: Pool<Arc<[Rule]>>,
    services: Pool<Arc<Service>>,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers {
            vnis: Pool::new(VNI),
            groups: Pool::new(GROUP),
            classes: BTreeMap::new(),
            class_range: CLASS,
            global_classes: Pool::new(GLOBAL_CLASS),
            rules: Pool::new(RULE),
            rule_sets: Pool::new(RULE_SET),
            services: Pool::new(SERVICE),
        }
    }
}

impl Numbers {
    /// Numbers as they were when `rows` were stored.
    ///
    /// # Errors
    /// When a row contradicts another or its own kind: the store is damaged.
    pub fn restore(rows: impl IntoIterator<Item = Row>) -> Result<Numbers, RestoreError> {
        let mut numbers = Numbers::default();
        for Row { slot, holder, retired } in rows {
            let fits = match (&slot, holder) {
                (Slot::Vni(n), Holder::Object(dn)) => numbers.vnis.restore(*n, dn, retired),
                (Slot::Group(n), Holder::Object(dn)) => numbers.groups.restore(*n, dn, retired),
                (Slot::Class { vrf, class }, Holder::Object(dn)) => {
                    numbers.classes_of(vrf).restore(u32::from(*class), dn, retired)
                }
                (Slot::GlobalClass(class), Holder::Object(dn)) => {
                    numbers.global_classes.restore(u32::from(*class), dn, retired)
                }
                (Slot::Rule(n), Holder::Rule(key)) => numbers.rules.restore(*n, key, retired),
                (Slot::RuleSet(n), Holder::RuleSet(rules)) => {
                    numbers.rule_sets.restore(*n, rules, retired)
                }
                (Slot::Service(n), Holder::Service(service)) => {
                    numbers.services.restore(*n, service, retired)
                }
                _ => false,
            };
            if !fits {
                return Err(RestoreError { slot });
            }
        }
        Ok(numbers)
    }

    /// What changed since the last call, for the store.
    pub fn drain_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        collect(&mut changes, &mut self.vnis, Slot::Vni, Holder::Object);
        collect(&mut changes, &mut self.groups, Slot::Group, Holder::Object);
        for (vrf, pool) in &mut self.classes {
            let slot = |n| Slot::Class {
                vrf: Arc::clone(vrf),
                // The pool's range ends at the largest class id.
                class: u16::try_from(n).unwrap_or(u16::MAX),
            };
            collect(&mut changes, pool, slot, Holder::Object);
        }
        // The pool's range ends below the classes of VRFs.
        let global = |n| Slot::GlobalClass(u16::try_from(n).unwrap_or(u16::MAX));
        collect(&mut changes, &mut self.global_classes, global, Holder::Object);
        collect(&mut changes, &mut self.rules, Slot::Rule, Holder::Rule);
        collect(&mut changes, &mut self.rule_sets, Slot::RuleSet, Holder::RuleSet);
        collect(&mut changes, &mut self.services, Slot::Service, Holder::Service);
        changes
    }

    /// The scope of a VRF that exists.
    pub fn scope_of(&self, vrf: &Arc<str>) -> Option<ScopeId> {
        self.vnis.get(vrf).map(ScopeId)
    }

    /// The number of a bridge domain that exists.
    pub fn bridge_domain_of(&self, bd: &Arc<str>) -> Option<BdId> {
        self.vnis.get(bd).map(BdId)
    }

    /// The class of a group that exists, within its VRF.
    pub fn class_of(&self, vrf: &str, group: &Arc<str>) -> Option<ClassId> {
        let global = self.global_classes.get(group);
        let class = global.or_else(|| self.classes.get(vrf)?.get(group))?;
        u16::try_from(class).ok().map(ClassId)
    }

    /// These numbers, of what exists in `part` alone. What comes to it next gets numbers that are new
    /// there, though not in the whole.
    #[must_use]
    pub fn of_part(&self, part: &Numbers) -> Numbers {
        Numbers {
            vnis: self.vnis.of_part(&part.vnis),
            groups: self.groups.of_part(&part.groups),
            classes: self
                .classes
                .iter()
                .filter_map(|(vrf, pool)| Some((vrf.clone(), pool.of_part(part.classes.get(vrf)?))))
                .collect(),
            class_range: self.class_range,
            global_classes: self.global_classes.of_part(&part.global_classes),
            rules: self.rules.of_part(&part.rules),
            rule_sets: self.rule_sets.of_part(&part.rule_sets),
            services: self.services.of_part(&part.services),
        }
    }

    /// Starts a compile: what it does not ask for until [`Numbers::finish`] no longer exists.
    pub(crate) fn begin(&mut self) {
        self.vnis.begin();
        self.groups.begin();
        self.classes.values_mut().for_each(Pool::begin);
        self.global_classes.begin();
        self.rules.begin();
        self.rule_sets.begin();
        self.services.begin();
    }

    /// Says which objects exist, before any of them is numbered: VRFs and bridge domains, groups with
    /// their VRFs, and which of those provide contracts to other VRFs. What is not among them goes, and its numbers are free for what is new.
    pub(crate) fn keep<'a>(
        &mut self,
        networks: impl Iterator<Item = &'a Dn>,
        groups: impl Iterator<Item = (&'a Dn, &'a Dn)>,
        is_shared: impl Fn(&Dn) -> bool,
    ) {
        networks.for_each(|dn| self.vnis.keep(&dn.shared()));
        for (vrf, group) in groups {
            let name = group.shared();
            self.groups.keep(&name);
            if is_shared(group) {
                self.global_classes.keep(&name);
            } else {
                self.classes_of(&vrf.shared()).keep(&name);
            }
        }
        self.vnis.retire();
        self.groups.retire();
        self.classes.values_mut().for_each(Pool::retire);
        self.global_classes.retire();
    }

    /// Ends a compile.
    pub(crate) fn finish(&mut self) {
        self.rules.retire();
        self.rule_sets.retire();
        self.services.retire();
    }

    pub(crate) fn scope(&mut self, vrf: &Arc<str>) -> Result<ScopeId, Exhausted> {
        self.vnis.number(vrf).map(ScopeId)
    }

    pub(crate) fn bridge_domain(&mut self, bd: &Arc<str>) -> Result<BdId, Exhausted> {
        self.vnis.number(bd).map(BdId)
    }

    pub(crate) fn group(&mut self, group: &Arc<str>) -> Result<GroupId, Exhausted> {
        self.groups.number(group).map(GroupId)
    }

    pub(crate) fn class(&mut self, vrf: &Arc<str>, group: &Arc<str>) -> Result<ClassId, Exhausted> {
        let class = self.classes_of(vrf).number(group)?;
        // The pool's range ends at the largest class id.
        Ok(ClassId(u16::try_from(class).unwrap_or(u16::MAX)))
    }

    /// The class of a group that provides contracts to other VRFs.
    pub(crate) fn global_class(&mut self, group: &Arc<str>) -> Result<ClassId, Exhausted> {
        let class = self.global_classes.number(group)?;
        // The pool's range ends below the classes of VRFs.
        Ok(ClassId(u16::try_from(class).unwrap_or(u16::MAX)))
    }

    pub(crate) fn rule(&mut self, key: &RuleKey) -> Result<RuleId, Exhausted> {
        self.rules.number(key).map(RuleId)
    }

    pub(crate) fn rule_set(&mut self, rules: &Arc<[Rule]>) -> Result<RuleSetId, Exhausted> {
        self.rule_sets.number(rules).map(RuleSetId)
    }

    pub(crate) fn service(&mut self, service: &Arc<Service>) -> Result<ServiceId, Exhausted> {
        self.services.number(service).map(ServiceId)
    }

    /// Numbers with only `count` class ids a VRF, so that tests can run out of them.
    #[cfg(test)]
    pub(crate) fn with_classes(count: u16) -> Numbers {
        let last = u32::from(ClassId::FIRST_LOCAL.0) + u32::from(count) - 1;
        Numbers { class_range: Range { last, ..CLASS }, ..Numbers::default() }
    }

    fn classes_of(&mut self, vrf: &Arc<str>) -> &mut Pool<Arc<str>> {
        let range = self.class_range;
        self.classes.entry(Arc::clone(vrf)).or_insert_with(|| Pool::new(range))
    }
}

fn collect<K: Clone + Eq + std::hash::Hash>(
    changes: &mut Vec<Change>,
    pool: &mut Pool<K>,
    slot: impl Fn(u32) -> Slot,
    holder: impl Fn(K) -> Holder,
) {
    changes.extend(pool.drain().into_iter().map(|(number, fate)| match fate {
        Fate::Held(key, retired) => {
            Change::Put(Row { slot: slot(number), holder: holder(key), retired })
        }
        Fate::Forgotten => Change::Delete(slot(number)),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_bridge_domains_share_one_space_of_numbers() {
        let mut numbers = Numbers::default();
        let (vrf, bd) = (Arc::from("uni/tn-a/ctx-v"), Arc::from("uni/tn-a/BD-b"));
        assert_eq!(numbers.scope(&vrf).unwrap(), ScopeId(1));
        assert_eq!(numbers.bridge_domain(&bd).unwrap(), BdId(2));
    }

    #[test]
    fn class_ids_start_anew_in_each_vrf() {
        let mut numbers = Numbers::default();
        let group = Arc::from("uni/tn-a/ap-x/epg-g");
        for vrf in ["uni/tn-a/ctx-v", "uni/tn-a/ctx-w"] {
            assert_eq!(numbers.class(&Arc::from(vrf), &group).unwrap(), ClassId::FIRST_LOCAL);
        }
    }

    #[test]
    fn rows_survive_json_and_a_restart() {
        let mut numbers = Numbers::default();
        let vrf: Arc<str> = Arc::from("uni/tn-a/ctx-v");
        let group: Arc<str> = Arc::from("uni/tn-a/ap-x/epg-g");
        numbers.scope(&vrf).unwrap();
        numbers.class(&vrf, &group).unwrap();
        let rows = numbers.drain_changes().into_iter().map(|change| match change {
            Change::Put(row) => row,
            Change::Delete(slot) => panic!("{slot:?} was deleted"),
        });
        let text = serde_json::to_string(&rows.collect::<Vec<_>>()).unwrap();
        let restored = Numbers::restore(serde_json::from_str::<Vec<Row>>(&text).unwrap()).unwrap();
        assert_eq!(restored.scope_of(&vrf), Some(ScopeId(1)));
        assert_eq!(restored.class_of(&vrf, &group), Some(ClassId::FIRST_LOCAL));
        assert!(numbers.drain_changes().is_empty());
    }

    #[test]
    fn a_damaged_row_is_named() {
        let row = Row {
            slot: Slot::Vni(0),
            holder: Holder::Object(Arc::from("uni/tn-a/ctx-v")),
            retired: None,
        };
        assert_eq!(Numbers::restore([row]).unwrap_err().slot, Slot::Vni(0));
    }
}
