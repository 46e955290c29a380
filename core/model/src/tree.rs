//! The tree itself, as readers see it. Writing goes through a transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::{Dn, Mo};

/// All managed objects, by name and by class. Clones share objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    objects: BTreeMap<Dn, Arc<Mo>>,
    by_class: BTreeMap<&'static str, BTreeSet<Dn>>,
}

impl Tree {
    /// The object of this name.
    pub fn get(&self, dn: &str) -> Option<&Mo> {
        self.objects.get(dn).map(|mo| &**mo)
    }

    /// All objects of one class, by ascending DN.
    pub fn of_class<'a>(&'a self, class: &str) -> impl Iterator<Item = &'a Mo> + use<'a> {
        self.by_class.get(class).into_iter().flatten().filter_map(|dn| self.get(dn.as_str()))
    }

    /// Everything below `dn`, not `dn` itself, by ascending DN.
    pub fn descendants<'a>(&'a self, dn: &Dn) -> impl Iterator<Item = &'a Mo> + use<'a> {
        // '0' follows '/' in ASCII, so these bounds hold exactly the names that start with "dn/".
        let (from, to) = (format!("{dn}/"), format!("{dn}0"));
        self.objects
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Excluded(to.as_str())))
            .map(|(_, mo)| &**mo)
    }

    /// The children of `dn`, by ascending DN.
    pub fn children<'a>(&'a self, dn: &Dn) -> impl Iterator<Item = &'a Mo> + use<'a> {
        let skip = dn.as_str().len() + 1;
        self.descendants(dn).filter(move |mo| {
            let rest = mo.dn().as_str().get(skip..).unwrap_or_default();
            mo.dn().rn().len() == rest.len()
        })
    }

    /// The children of `dn` that are of one class, by ascending DN.
    pub fn children_of_class<'a>(
        &'a self,
        dn: &Dn,
        class: &'static str,
    ) -> impl Iterator<Item = &'a Mo> + use<'a> {
        self.children(dn).filter(move |mo| mo.class().name == class)
    }

    /// Every object, by ascending DN.
    pub fn iter(&self) -> impl Iterator<Item = &Mo> {
        self.objects.values().map(|mo| &**mo)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Puts an object in, in place of one of the same name. Checks nothing.
    pub fn insert(&mut self, mo: Mo) -> Option<Arc<Mo>> {
        self.by_class.entry(mo.class().name).or_default().insert(mo.dn().clone());
        self.objects.insert(mo.dn().clone(), Arc::new(mo))
    }

    /// Takes one object out, leaving what is below it.
    pub fn remove(&mut self, dn: &str) -> Option<Arc<Mo>> {
        let mo = self.objects.remove(dn)?;
        if let Some(of_class) = self.by_class.get_mut(mo.class().name) {
            of_class.remove(dn);
        }
        Some(mo)
    }
}
