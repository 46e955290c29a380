//! Finding classes: by name, by relative name under a parent, and along a DN.

use crate::generated::{CLASSES, INITIAL};
use crate::{ClassDef, Dn, Edit, MadeBy, Mo, Stamp, Tree};

/// All classes, sorted by name.
pub fn schema() -> &'static [ClassDef] {
    CLASSES
}

/// The class of this name.
pub fn class(name: &str) -> Option<&'static ClassDef> {
    CLASSES.get(CLASSES.binary_search_by(|c| c.name.cmp(name)).ok()?)
}

/// Whether some class has `name` as its own or as an abstract class.
pub fn is_known(name: &str) -> bool {
    class(name).is_some() || CLASSES.iter().any(|c| c.abstracts.contains(&name))
}

/// The class of the child that `rn` names under an object of class `parent`, or at the top.
pub fn child_class(parent: Option<&ClassDef>, rn: &str) -> Option<&'static ClassDef> {
    let fits = |class: &&'static ClassDef| class.parse_rn(rn).is_some();
    match parent {
        None => CLASSES.iter().filter(|c| c.parents.is_empty()).find(fits),
        // Several formats may fit where a value stands without its brackets; the longest prefix
        // is the one that was meant.
        Some(parent) => parent
            .children
            .iter()
            .filter_map(|name| class(name))
            .filter(fits)
            .max_by_key(|c| c.rn.find(['{', '[']).unwrap_or(c.rn.len())),
    }
}

/// The class of the object that `dn` names, whether or not the object exists.
pub fn class_of(dn: &Dn) -> Option<&'static ClassDef> {
    let mut at: Option<&'static ClassDef> = None;
    for rn in dn.rns() {
        at = Some(child_class(at, rn)?);
    }
    at
}

/// An object of its class with every property at its default and its naming properties from `dn`.
/// `None` if no class fits the name.
pub fn blank(dn: &Dn) -> Option<Mo> {
    let class = class_of(dn)?;
    let values = class.parse_rn(dn.rn())?;
    let mut mo = Mo::new(class, dn.clone());
    for (name, value) in values {
        mo.set(name, value);
    }
    Some(mo)
}

/// What exists before anyone posts anything: the containers, the three tenants of every fabric,
/// and the defaults of tenant `common`.
pub fn initial_tree() -> Tree {
    let mut tree = Tree::default();
    let mut edit = Edit::new(&mut tree, Stamp::new("never", ""));
    for (dn, props) in INITIAL {
        let Some(mut mo) = dn.parse().ok().and_then(|dn| blank(&dn)) else { continue };
        for (name, value) in *props {
            mo.set(name, value);
        }
        edit.put(mo);
    }
    edit.commit();
    tree
}

/// Whether `dn` exists from the start, and so cannot be deleted.
pub(crate) fn is_initial(dn: &Dn) -> bool {
    INITIAL.iter().any(|(initial, _)| *initial == dn.as_str())
}

/// The children that come with `mo`, at their defaults.
pub fn implicit_children(mo: &Mo) -> impl Iterator<Item = Mo> {
    mo.class().implicit_children.iter().filter_map(|name| class(name)).map(|child| {
        debug_assert!(child.made_by == MadeBy::Parent, "{} is not implicit", child.name);
        Mo::new(child, mo.dn().child(child.rn))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_a_class_mentions_exists() {
        for c in schema() {
            let named = c.parents.iter().chain(c.children).chain(c.implicit_children);
            for name in named {
                assert!(class(name).is_some(), "{} mentions {name}", c.name);
            }
            if let Some(relation) = &c.relation {
                assert!(c.prop(relation.by).is_some(), "{}", c.name);
                let inverse = class(relation.inverse).unwrap();
                let targets: Vec<_> = schema().iter().filter(|t| t.is_a(relation.target)).collect();
                assert!(!targets.is_empty(), "{} points at nothing", c.name);
                for target in targets {
                    assert!(inverse.parents.contains(&target.name), "{}: {}", c.name, target.name);
                }
            }
        }
    }

    #[test]
    fn a_name_leads_to_its_class() {
        let cases = [
            ("uni", "polUni"),
            ("uni/tn-acme", "fvTenant"),
            ("uni/tn-acme/BD-b/subnet-[10.0.0.1/24]", "fvSubnet"),
            ("uni/tn-acme/BD-b/rsctx", "fvRsCtx"),
            ("uni/tn-acme/ap-a/epg-e/rsbd/fault-F0955", "faultInst"),
            ("topology/pod-1/node-1/sys", "topSystem"),
        ];
        for (dn, name) in cases {
            let found = class_of(&dn.parse().unwrap()).map(|c| c.name);
            assert_eq!(found, Some(name), "{dn}");
        }
        for bad in ["tn-acme", "uni/BD-b", "uni/tn-a/nonsense", "uni/tn-a/BD-b/epg-e"] {
            assert!(class_of(&bad.parse().unwrap()).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_initial_tree_is_whole() {
        let tree = initial_tree();
        assert_eq!(tree.of_class("fvTenant").count(), 3);
        assert!(tree.get("uni/tn-common/BD-default/rsctx").is_some());
        assert_eq!(tree.get("uni/tn-common/flt-est/e-est").unwrap().get("tcpRules"), "est");
        for mo in tree.iter() {
            let parent = mo.dn().parent();
            assert!(parent.is_none_or(|p| tree.get(p.as_str()).is_some()), "{}", mo.dn());
        }
    }
}
