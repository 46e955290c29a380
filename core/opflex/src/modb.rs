//! The objects an agent holds: replaced, merged and deleted as they come, collected when nobody
//! needs them.
//!
//! An object stays while it hangs below one that stays, or while it is *tracked*: wanted by the
//! caller or pointed at by a reference of a stored object. What becomes tracked is to be resolved,
//! what ceases to be is to be unresolved; [`Delta`] says which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::Uri;
use crate::message::Update;
use crate::mo::{Object, Reference};

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Objects that are new, gone, or say something else than before.
    pub changed: BTreeSet<Uri>,
    /// What is tracked now and was not before.
    pub tracked: BTreeSet<Reference>,
    /// What was tracked before and is no longer.
    pub untracked: BTreeSet<Reference>,
}

impl Delta {
    /// Adds what a later change did.
    pub fn then(&mut self, later: Delta) {
        self.changed.extend(later.changed);
        for reference in later.tracked {
            if !self.untracked.remove(&reference) {
                self.tracked.insert(reference);
            }
        }
        for reference in later.untracked {
            if !self.tracked.remove(&reference) {
                self.untracked.insert(reference);
            }
        }
    }
}

/// The object database.
#[derive(Debug, Default)]
pub struct Modb {
    objects: BTreeMap<Uri, Held>,
    tracked: BTreeMap<Uri, Tracked>,
}

/// An object, and where it is linked.
#[derive(Debug)]
struct Held {
    object: Arc<Object>,
    /// The parent it hangs below, if that was there when it came.
    parent: Option<Uri>,
    /// The children that hang below it.
    children: BTreeSet<Uri>,
}

/// Why an object is to be resolved.
#[derive(Debug)]
struct Tracked {
    subject: Arc<str>,
    wanted: bool,
    /// How many references of stored objects point at it.
    references: usize,
}

/// The bookkeeping of one change, until it is whole.
#[derive(Default)]
struct Change {
    /// What was there before, for everything touched.
    before: BTreeMap<Uri, Option<Arc<Object>>>,
    /// Whether it was tracked before, for everything touched.
    was_tracked: BTreeMap<Reference, bool>,
    /// What may have become nobody's.
    loose: BTreeSet<Uri>,
}

impl Modb {
    /// The object at `uri`.
    pub fn get(&self, uri: &Uri) -> Option<&Object> {
        self.objects.get(uri).map(|held| &*held.object)
    }

    /// Every object, by URI: a parent comes before what is below it.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().map(|held| &*held.object)
    }

    /// The object at `uri` and all that hangs below it, parents first.
    pub fn subtree(&self, uri: &Uri) -> Vec<&Object> {
        let mut list = Vec::new();
        let mut stack = vec![uri];
        while let Some(uri) = stack.pop() {
            let Some(held) = self.objects.get(uri) else { continue };
            list.push(&*held.object);
            stack.extend(held.children.iter().rev());
        }
        list
    }

    /// Whether `uri` is wanted or pointed at.
    pub fn is_tracked(&self, uri: &Uri) -> bool {
        self.tracked.contains_key(uri)
    }

    /// Everything that is wanted or pointed at.
    pub fn tracked(&self) -> impl Iterator<Item = Reference> {
        let reference =
            |(uri, t): (&Uri, &Tracked)| Reference { subject: t.subject.clone(), uri: uri.clone() };
        self.tracked.iter().map(reference)
    }

    /// Tracks `target` until [`Modb::unwant`].
    pub fn want(&mut self, target: &Reference) -> Delta {
        let mut change = Change::default();
        self.track(target, &mut change).wanted = true;
        self.settle(change)
    }

    /// Takes [`Modb::want`] back.
    pub fn unwant(&mut self, target: &Reference) -> Delta {
        let mut change = Change::default();
        self.track(target, &mut change).wanted = false;
        change.loose.insert(target.uri.clone());
        self.settle(change)
    }

    /// Applies an update: `replace`, then `merge_children`, then `delete`.
    pub fn update(&mut self, update: Update) -> Delta {
        let mut change = Change::default();
        for object in update.replace {
            self.store(object, true, &mut change);
        }
        for object in update.merge_children {
            self.store(object, false, &mut change);
        }
        for gone in update.delete {
            self.remove(&gone.uri, &mut change);
        }
        self.settle(change)
    }

    /// Applies the answer to a resolve of `asked`: what it holds replaces, and what was asked for
    /// and is not in it is gone.
    pub fn resolved(&mut self, asked: &[Reference], answer: Vec<Object>) -> Delta {
        let mut change = Change::default();
        let found: BTreeSet<Uri> = answer.iter().map(|object| object.uri.clone()).collect();
        for object in answer {
            self.store(object, true, &mut change);
        }
        for absent in asked.iter().filter(|target| !found.contains(&target.uri)) {
            self.remove(&absent.uri, &mut change);
        }
        self.settle(change)
    }

    fn store(&mut self, object: Object, replace: bool, change: &mut Change) {
        let uri = object.uri.clone();
        let (old_parent, old_children) = match self.objects.get(&uri) {
            Some(held) => (held.parent.clone(), held.children.clone()),
            None => (None, BTreeSet::new()),
        };
        self.note(&uri, change);
        self.release_references(&uri, change);
        // A child's URI extends its parent's, so that no list of objects can make a ring.
        let named = object.parent.as_ref().map(|parent| parent.uri.clone());
        let parent = named.filter(|parent| {
            *parent != uri && uri.is_within(parent.as_str()) && self.objects.contains_key(parent)
        });
        if old_parent != parent {
            self.unlink(old_parent.as_ref(), &uri);
        }
        if let Some(held) = parent.as_ref().and_then(|parent| self.objects.get_mut(parent)) {
            held.children.insert(uri.clone());
        }
        for reference in object.references() {
            self.track(reference, change).references += 1;
        }
        let listed: BTreeSet<Uri> = object.children.iter().cloned().collect();
        let held = Held { object: Arc::new(object), parent, children: old_children.clone() };
        self.objects.insert(uri.clone(), held);
        change.loose.insert(uri);
        if replace {
            for child in old_children.difference(&listed) {
                self.remove_subtree(child, change);
            }
        }
    }

    fn remove_subtree(&mut self, uri: &Uri, change: &mut Change) {
        let mut stack = vec![uri.clone()];
        while let Some(uri) = stack.pop() {
            if let Some(held) = self.objects.get(&uri) {
                stack.extend(held.children.iter().cloned());
            }
            self.remove(&uri, change);
        }
    }

    /// Removes one object; what hung below it is loose from then on.
    fn remove(&mut self, uri: &Uri, change: &mut Change) {
        self.note(uri, change);
        self.release_references(uri, change);
        let Some(held) = self.objects.remove(uri) else { return };
        self.unlink(held.parent.as_ref(), uri);
        for child in held.children {
            if let Some(held) = self.objects.get_mut(&child) {
                held.parent = None;
            }
            change.loose.insert(child);
        }
    }

    fn unlink(&mut self, parent: Option<&Uri>, child: &Uri) {
        if let Some(held) = parent.and_then(|parent| self.objects.get_mut(parent)) {
            held.children.remove(child);
        }
    }

    fn release_references(&mut self, uri: &Uri, change: &mut Change) {
        let Some(object) = self.objects.get(uri).map(|held| held.object.clone()) else { return };
        for reference in object.references() {
            let tracked = self.track(reference, change);
            tracked.references = tracked.references.saturating_sub(1);
            change.loose.insert(reference.uri.clone());
        }
    }

    fn note(&self, uri: &Uri, change: &mut Change) {
        if !change.before.contains_key(uri) {
            let object = self.objects.get(uri).map(|held| held.object.clone());
            change.before.insert(uri.clone(), object);
        }
    }

    /// The entry of `target`, made if needed. Entries that nobody needs go when the change settles.
    fn track(&mut self, target: &Reference, change: &mut Change) -> &mut Tracked {
        let known = self.tracked.contains_key(&target.uri);
        change.was_tracked.entry(target.clone()).or_insert(known);
        self.tracked.entry(target.uri.clone()).or_insert_with(|| Tracked {
            subject: target.subject.clone(),
            wanted: false,
            references: 0,
        })
    }

    /// Collects what nobody needs any more, and sums up.
    fn settle(&mut self, mut change: Change) -> Delta {
        while let Some(uri) = change.loose.pop_first() {
            if self.tracked.get(&uri).is_some_and(|t| !t.wanted && t.references == 0) {
                self.tracked.remove(&uri);
            }
            let linked = self.objects.get(&uri).is_none_or(|held| held.parent.is_some());
            if !linked && !self.tracked.contains_key(&uri) {
                self.remove(&uri, &mut change);
            }
        }
        let mut delta = Delta::default();
        for (uri, before) in change.before {
            let same = match (&before, self.objects.get(&uri)) {
                (None, None) => true,
                (Some(before), Some(held)) => before.says_the_same(&held.object),
                _ => false,
            };
            if !same {
                delta.changed.insert(uri);
            }
        }
        for (reference, before) in change.was_tracked {
            match (before, self.tracked.contains_key(&reference.uri)) {
                (false, true) => delta.tracked.insert(reference),
                (true, false) => delta.untracked.insert(reference),
                _ => false,
            };
        }
        delta
    }
}
