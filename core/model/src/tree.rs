//! The tree itself, as readers see it. Writing goes through a transaction.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::{Dn, Mo};

/// The name a relation with an empty one resolves to.
pub(crate) const DEFAULT_NAME: &str = "default";

/// All managed objects, by name and by class. A clone shares everything with the original, costs
/// nothing, and stays as it is when the original changes: the maps are persistent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    objects: OrdMap<Dn, Arc<Mo>>,
    by_class: OrdMap<&'static str, OrdSet<Dn>>,
    /// Relation objects by target class and the name they give.
    by_target: OrdMap<&'static str, OrdMap<Arc<str>, OrdSet<Dn>>>,
}

impl Tree {
    /// The object of this name.
    pub fn get(&self, dn: &str) -> Option<&Mo> {
        self.objects.get(dn).map(|mo| &**mo)
    }

    /// The object of this name, to share.
    pub fn shared(&self, dn: &str) -> Option<Arc<Mo>> {
        self.objects.get(dn).map(Arc::clone)
    }

    /// All objects of one class, by ascending DN.
    pub fn of_class<'a>(&'a self, class: &str) -> impl Iterator<Item = &'a Mo> + use<'a> {
        self.by_class.get(class).into_iter().flatten().filter_map(|dn| self.get(dn.as_str()))
    }

    /// Everything below `dn`, not `dn` itself, by ascending DN.
    pub fn descendants<'a>(&'a self, dn: &Dn) -> impl Iterator<Item = &'a Mo> + use<'a> {
        let (from, to) = below(dn.as_str());
        self.objects
            .range::<_, str>((Bound::Included(from.as_str()), Bound::Excluded(to.as_str())))
            .map(|(_, mo)| &**mo)
    }

    /// The children of `dn`, by ascending DN. Costs what there are children, not descendants.
    pub fn children<'a>(&'a self, dn: &Dn) -> impl Iterator<Item = &'a Mo> + use<'a> {
        let parent = dn.clone();
        let (mut from, to) = below(dn.as_str());
        std::iter::from_fn(move || {
            loop {
                let bounds = (Bound::Included(from.as_str()), Bound::Excluded(to.as_str()));
                let (found, mo) = self.objects.range::<_, str>(bounds).next()?;
                let child = parent.child_toward(found)?;
                // `BD-a-b` sorts between `BD-a` and `BD-a/x`: a child is followed at once by
                // whatever sorts next, and what is below it is stepped over when it comes up.
                if child == found.as_str() {
                    from = format!("{child}\0");
                    return Some(&**mo);
                }
                from = below(child).1;
            }
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

    /// The relation objects that point at class `target` and name their target `name`, or by DN have
    /// `name` as its DN, at or below `top`, by ascending DN. An empty name counts as `default`.
    pub fn pointing_at<'a>(
        &'a self,
        target: &str,
        name: &str,
        top: &Dn,
    ) -> impl Iterator<Item = &'a Dn> + use<'a> {
        let named = self.by_target.get(target).and_then(|names| names.get(name));
        let (from, to) = (top.clone(), below(top.as_str()).1);
        named
            .map(|dns| {
                dns.range::<_, str>((Bound::Included(from.as_str()), Bound::Excluded(to.as_str())))
            })
            .into_iter()
            .flatten()
            .filter(move |dn| from.contains(dn))
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
        self.insert_shared(Arc::new(mo))
    }

    /// Puts a shared object in, in place of one of the same name. Checks nothing.
    pub fn insert_shared(&mut self, mo: Arc<Mo>) -> Option<Arc<Mo>> {
        let old = self.remove(mo.dn().as_str());
        self.by_class.entry(mo.class().name).or_default().insert(mo.dn().clone());
        if let Some((target, name)) = points_at(&mo) {
            let names = self.by_target.entry(target).or_default();
            names.entry(Arc::from(name)).or_default().insert(mo.dn().clone());
        }
        self.objects.insert(mo.dn().clone(), mo);
        old
    }

    /// Takes one object out, leaving what is below it.
    pub fn remove(&mut self, dn: &str) -> Option<Arc<Mo>> {
        let mo = self.objects.remove(dn)?;
        if let Some(of_class) = self.by_class.get_mut(mo.class().name) {
            of_class.remove(dn);
            if of_class.is_empty() {
                self.by_class.remove(mo.class().name);
            }
        }
        if let Some((target, name)) = points_at(&mo) {
            self.forget_pointer(target, name, dn);
        }
        Some(mo)
    }

    fn forget_pointer(&mut self, target: &str, name: &str, dn: &str) {
        let Some(names) = self.by_target.get_mut(target) else { return };
        if let Some(dns) = names.get_mut(name) {
            dns.remove(dn);
            if dns.is_empty() {
                names.remove(name);
            }
        }
        if names.is_empty() {
            self.by_target.remove(target);
        }
    }
}

/// The bounds that hold exactly the names below `dn`: from `dn/`, and before `dn0`, since `0`
/// follows `/` in ASCII.
fn below(dn: &str) -> (String, String) {
    (format!("{dn}/"), format!("{dn}0"))
}

/// The class a relation object points at, and the name or DN it gives.
fn points_at(mo: &Mo) -> Option<(&'static str, &str)> {
    let relation = mo.class().relation.as_ref()?;
    let name = mo.get(relation.by);
    if relation.is_by_dn() {
        return (!name.is_empty()).then_some((relation.target, name));
    }
    Some((relation.target, if name.is_empty() { DEFAULT_NAME } else { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dns: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for dn in dns {
            tree.insert(crate::blank(&dn.parse().unwrap()).unwrap());
        }
        tree
    }

    #[test]
    fn children_are_found_among_names_that_sort_between() {
        let tree = tree(&[
            "uni",
            "uni/tn-a",
            "uni/tn-a/BD-a",
            "uni/tn-a/BD-a/rsctx",
            "uni/tn-a/BD-a/subnet-[10.0.0.1/24]",
            "uni/tn-a/BD-a-b",
            "uni/tn-a/BD-a-b/rsctx",
            "uni/tn-a-b",
        ]);
        let children = |dn: &str| -> Vec<String> {
            tree.children(&dn.parse().unwrap()).map(|mo| mo.dn().to_string()).collect()
        };
        assert_eq!(children("uni"), ["uni/tn-a", "uni/tn-a-b"]);
        assert_eq!(children("uni/tn-a"), ["uni/tn-a/BD-a", "uni/tn-a/BD-a-b"]);
        assert_eq!(
            children("uni/tn-a/BD-a"),
            ["uni/tn-a/BD-a/rsctx", "uni/tn-a/BD-a/subnet-[10.0.0.1/24]"]
        );
        assert_eq!(tree.descendants(&"uni/tn-a".parse().unwrap()).count(), 5);
    }

    #[test]
    fn relations_are_found_by_the_name_they_give() {
        let mut tree = tree(&["uni/tn-a/BD-a/rsctx", "uni/tn-ab/BD-a/rsctx"]);
        let mut named = crate::blank(&"uni/tn-a/BD-b/rsctx".parse().unwrap()).unwrap();
        named.set("tnFvCtxName", "v");
        tree.insert(named);
        let found =
            |name: &str, top: &str| tree.pointing_at("fvCtx", name, &top.parse().unwrap()).count();
        assert_eq!(found("v", "uni"), 1);
        assert_eq!(found("default", "uni"), 2);
        assert_eq!(found("default", "uni/tn-a"), 1);
        tree.remove("uni/tn-a/BD-b/rsctx");
        assert_eq!(tree.pointing_at("fvCtx", "v", &"uni".parse().unwrap()).count(), 0);
    }
}
