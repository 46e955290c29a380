//! Changing the tree so that it can be undone: a log of what each touched object was before.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Dn, Mo, Tree, implicit_children, relation};

/// When and by whom a change is made; kept in the objects it touches.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// APIC's form of a time: `2024-03-01T12:00:00.000+00:00`.
    pub mod_ts: Arc<str>,
    /// Number of the user.
    pub uid: Arc<str>,
}

impl Stamp {
    /// A stamp of these texts.
    pub fn new(mod_ts: &str, uid: &str) -> Stamp {
        Stamp { mod_ts: Arc::from(mod_ts), uid: Arc::from(uid) }
    }
}

/// An object that was modified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modified {
    /// What it was.
    pub old: Arc<Mo>,
    /// What it is.
    pub new: Arc<Mo>,
}

/// What one transaction did, each list by ascending DN. An object whose time stamp alone would
/// differ was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Objects that are new.
    pub created: Vec<Arc<Mo>>,
    /// Objects that say something else now.
    pub modified: Vec<Modified>,
    /// Objects that are gone.
    pub deleted: Vec<Arc<Mo>>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.modified.is_empty() && self.deleted.is_empty()
    }
}

/// A transaction in progress. Dropped without [`Edit::commit`], it leaves the tree as it was.
///
/// Costs what it touches, whatever the size of the tree. The system changes computed properties
/// and objects through it directly; what users post goes through [`crate::apply`], which checks.
#[derive(Debug)]
pub struct Edit<'t> {
    tree: &'t mut Tree,
    stamp: Stamp,
    before: BTreeMap<Dn, Option<Arc<Mo>>>,
}

impl<'t> Edit<'t> {
    /// Starts a transaction.
    pub fn new(tree: &'t mut Tree, stamp: Stamp) -> Edit<'t> {
        Edit { tree, stamp, before: BTreeMap::new() }
    }

    /// The tree as it stands within the transaction.
    pub fn tree(&self) -> &Tree {
        self.tree
    }

    /// When and by whom.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Puts an object in, in place of one of the same name; stamps it. Does nothing if what is
    /// there says the same. A new object brings its implicit children.
    pub fn put(&mut self, mut mo: Mo) {
        let old = self.tree.shared(mo.dn().as_str());
        if old.as_ref().is_some_and(|old| old.says_the_same_as(&mo)) {
            return;
        }
        mo.set_shared("modTs", &self.stamp.mod_ts);
        mo.set_shared("uid", &self.stamp.uid);
        let implicit: Vec<Mo> =
            if old.is_none() { implicit_children(&mo).collect() } else { Vec::new() };
        self.before.entry(mo.dn().clone()).or_insert(old);
        self.tree.insert(mo);
        for child in implicit.into_iter() {
            if self.tree.get(child.dn().as_str()).is_none() {
                self.put(child);
            }
        }
    }

    /// Takes out an object and everything below it; nothing if it is not there.
    pub fn remove(&mut self, dn: &Dn) {
        self.remove_below(dn);
        self.take(dn.clone());
    }

    /// Takes out everything below an object.
    pub fn remove_below(&mut self, dn: &Dn) {
        let below: Vec<Dn> = self.tree.descendants(dn).map(|mo| mo.dn().clone()).collect();
        below.into_iter().for_each(|dn| self.take(dn));
    }

    fn take(&mut self, dn: Dn) {
        if let Some(old) = self.tree.remove(dn.as_str()) {
            self.before.entry(dn).or_insert(Some(old));
        }
    }

    /// Each object touched so far, with what it was before.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (&Dn, Option<&Mo>)> {
        self.before.iter().map(|(dn, old)| (dn, old.as_deref()))
    }

    /// What an object was before the transaction.
    pub(crate) fn before(&self, dn: &str) -> Option<&Mo> {
        match self.before.get(dn) {
            Some(old) => old.as_deref(),
            None => self.tree.get(dn),
        }
    }

    /// Resolves the relations that the transaction touched, raises and clears their faults, and
    /// says what changed.
    pub fn commit(mut self) -> Changes {
        relation::settle(&mut self);
        self.finish()
    }

    /// [`Edit::commit`], with every relation and fault of the tree computed anew.
    pub fn commit_afresh(mut self) -> Changes {
        relation::settle_all(&mut self);
        self.finish()
    }

    fn finish(&mut self) -> Changes {
        let mut changes = Changes::default();
        for (dn, old) in std::mem::take(&mut self.before) {
            match (old, self.tree.shared(dn.as_str())) {
                (None, Some(new)) => changes.created.push(new),
                (Some(old), None) => changes.deleted.push(old),
                (Some(old), Some(new)) if old.says_the_same_as(&new) => {
                    self.tree.insert_shared(old);
                }
                (Some(old), Some(new)) => changes.modified.push(Modified { old, new }),
                (None, None) => {}
            }
        }
        changes
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        for (dn, old) in std::mem::take(&mut self.before) {
            match old {
                Some(old) => self.tree.insert_shared(old),
                None => self.tree.remove(dn.as_str()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{blank, initial_tree};

    fn stamp() -> Stamp {
        Stamp::new("now", "1")
    }

    fn object(dn: &str) -> Mo {
        blank(&dn.parse().unwrap()).unwrap()
    }

    #[test]
    fn dropped_it_never_happened() {
        let mut tree = initial_tree();
        let before = tree.clone();
        let mut edit = Edit::new(&mut tree, stamp());
        edit.put(object("uni/tn-acme"));
        edit.put(object("uni/tn-acme/BD-b"));
        edit.remove(&"uni/tn-common".parse().unwrap());
        assert!(edit.tree().get("uni/tn-acme/BD-b/rsctx").is_some());
        assert!(edit.tree().get("uni/tn-common/ctx-default").is_none());
        drop(edit);
        assert_eq!(tree, before);
    }

    #[test]
    fn what_ends_as_it_began_is_no_change() {
        let mut tree = initial_tree();
        let mut edit = Edit::new(&mut tree, stamp());
        edit.put(object("uni/tn-acme"));
        edit.commit();
        let mut edit = Edit::new(&mut tree, Stamp::new("later", "2"));
        edit.remove(&"uni/tn-acme".parse().unwrap());
        edit.put(object("uni/tn-acme"));
        assert!(edit.commit().is_empty());
        assert_eq!(tree.get("uni/tn-acme").unwrap().get("modTs"), "now");
    }
}
