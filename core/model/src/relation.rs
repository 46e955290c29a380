//! Relations: which target a name leads to, the inverse objects under targets, and the faults for
//! what leads nowhere or means nothing yet.
//!
//! All of it is a function of the objects users made: [`settle_all`] computes it from nothing, and
//! [`settle`] computes the same after a transaction, at the cost of what the transaction touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::tree::DEFAULT_NAME;
use crate::{ClassDef, Dn, Edit, Mo, RelationDef, Tree, blank, class, fault, schema};

/// The tenant whose objects every tenant sees.
const COMMON: &str = "uni/tn-common";

/// Relations by the class of their targets, which may be abstract.
static BY_TARGET: LazyLock<BTreeMap<&str, Vec<&RelationDef>>> = LazyLock::new(|| {
    let mut by_target: BTreeMap<&str, Vec<&RelationDef>> = BTreeMap::new();
    for def in relations() {
        let others = by_target.entry(def.target).or_default();
        if !others.iter().any(|other| other.is_by_dn() == def.is_by_dn()) {
            others.push(def);
        }
    }
    by_target
});

/// The classes of inverse objects.
static INVERSES: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| relations().map(|def| def.inverse).collect());

/// What a relation leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// Its relative name; its DN where that was given.
    rn: String,
    /// Its DN, if it exists.
    dn: Option<Dn>,
}

/// The target object of a relation object, if it exists. An empty name leads to `default`; names
/// are looked up in the relation's own tenant, then in tenant `common`.
pub fn target<'t>(tree: &'t Tree, relation: &Mo) -> Option<&'t Mo> {
    let def = relation.class().relation.as_ref()?;
    tree.get(find(tree, relation, def)?.dn?.as_str())
}

/// Brings the relations and faults that a transaction may have moved up to date.
pub(crate) fn settle(edit: &mut Edit) {
    let mut relations = BTreeSet::new();
    let mut objects = Vec::new();
    for (dn, old) in edit.touched() {
        let new = edit.tree().get(dn.as_str());
        if new.is_some() {
            objects.push(dn.clone());
        }
        let Some(mo) = new.or(old) else { continue };
        if mo.class().relation.is_some() {
            relations.insert(dn.clone());
        }
        if old.is_some() != new.is_some() {
            relations.extend(seekers(edit.tree(), mo));
        }
        // A target that went and came back within the transaction lost its inverse objects.
        if new.is_none() && is_inverse(mo.class()) {
            relations.extend(sources(edit.tree(), mo));
        }
    }
    relations.iter().for_each(|dn| settle_relation(edit, dn));
    objects.iter().for_each(|dn| fault::settle_support(edit, dn));
}

/// Brings every relation and fault up to date, and takes out inverse objects that no relation
/// accounts for.
pub(crate) fn settle_all(edit: &mut Edit) {
    let dns: Vec<Dn> = edit.tree().iter().map(|mo| mo.dn().clone()).collect();
    for dn in &dns {
        settle_relation(edit, dn);
        fault::settle_support(edit, dn);
    }
    let wanted: BTreeSet<Dn> = edit.tree().iter().filter_map(inverse_dn).collect();
    let stale: Vec<Dn> = edit
        .tree()
        .iter()
        .filter(|mo| is_inverse(mo.class()) && !wanted.contains(mo.dn()))
        .map(|mo| mo.dn().clone())
        .collect();
    stale.iter().for_each(|dn| edit.remove(dn));
}

fn settle_relation(edit: &mut Edit, dn: &Dn) {
    let old_inverse = edit.before(dn.as_str()).and_then(inverse_dn);
    let now = edit.tree().shared(dn.as_str());
    let settled = now.as_deref().and_then(|mo| Some((mo, mo.class().relation.as_ref()?)));
    let Some((mo, def)) = settled else {
        return old_inverse.iter().for_each(|dn| edit.remove(dn));
    };
    let Some(target) = find(edit.tree(), mo, def) else { return };
    let resolved = resolved(mo, def, &target);
    let inverse = inverse_dn(&resolved);
    for stale in [old_inverse, inverse_dn(mo)].into_iter().flatten() {
        if inverse.as_ref() != Some(&stale) {
            edit.remove(&stale);
        }
    }
    if let (Some(dn), Some(source)) = (inverse, mo.dn().parent())
        && let Some(mut object) = blank(&dn)
    {
        let class = edit.tree().get(source.as_str()).map_or("", |mo| mo.class().name);
        object.set("tCl", class);
        edit.put(object);
    }
    edit.put(resolved);
    match target.dn {
        Some(_) => fault::clear(edit, dn, def.fault),
        None => fault::raise(edit, fault::unresolved(mo, def, &target.rn)),
    }
}

/// The relation object with what its name leads to.
fn resolved(relation: &Mo, def: &RelationDef, target: &Target) -> Mo {
    let mut mo = relation.clone();
    mo.set("tCl", def.target);
    mo.set("tRn", &target.rn);
    if def.is_by_dn() {
        mo.set("tType", "mo");
    } else {
        mo.set("tDn", target.dn.as_ref().map_or("", Dn::as_str));
    }
    mo.set("state", if target.dn.is_some() { "formed" } else { "missing-target" });
    let by_default = mo.get(def.by).is_empty() && !def.is_by_dn();
    mo.set("stateQual", if by_default { "default-target" } else { "none" });
    mo
}

/// Where a resolved relation's inverse object stands: under the target, named after the object
/// that holds the relation.
fn inverse_dn(relation: &Mo) -> Option<Dn> {
    let def = relation.class().relation.as_ref()?;
    let target = match def.is_by_dn() && relation.get("state") != "formed" {
        true => "",
        false => relation.get("tDn"),
    };
    let source = relation.dn().parent()?;
    let rn = class(def.inverse)?.format_rn(|_| Some(source.as_str()))?;
    if target.is_empty() { None } else { format!("{target}/{rn}").parse().ok() }
}

fn find(tree: &Tree, relation: &Mo, def: &RelationDef) -> Option<Target> {
    let name = relation.get(def.by);
    if def.is_by_dn() {
        let found = tree.get(name).filter(|mo| mo.class().is_a(def.target));
        return Some(Target { rn: name.to_owned(), dn: found.map(|mo| mo.dn().clone()) });
    }
    let name = if name.is_empty() { DEFAULT_NAME } else { name };
    let rn = class(def.target)?.format_rn(|_| Some(name))?;
    let own = tenant(relation.dn()).map(|tenant| format!("{tenant}/{rn}"));
    let candidates = own.into_iter().chain([format!("{COMMON}/{rn}")]);
    let found = candidates.into_iter().find_map(|dn| tree.get(&dn));
    Some(Target { rn, dn: found.map(|mo| mo.dn().clone()) })
}

/// The tenant in which an object stands: the second name of its DN.
fn tenant(dn: &Dn) -> Option<Dn> {
    let top: Dn = "uni".parse().ok()?;
    top.child_toward(dn)?.parse().ok()
}

/// The relations that may lead to this object, or may have led there.
fn seekers(tree: &Tree, target: &Mo) -> Vec<Dn> {
    let class = target.class();
    let classes = std::iter::once(&class.name).chain(class.abstracts);
    classes
        .filter_map(|name| BY_TARGET.get(name))
        .flatten()
        .flat_map(|def| seekers_by(tree, target, def))
        .collect()
}

fn seekers_by(tree: &Tree, target: &Mo, def: &RelationDef) -> Vec<Dn> {
    let found = |name: &str, top: &Dn| tree.pointing_at(def.target, name, top).cloned().collect();
    let top: Option<Dn> = target.dn().rns().first().and_then(|rn| rn.parse().ok());
    if def.is_by_dn() {
        return top.map_or_else(Vec::new, |top| found(target.dn().as_str(), &top));
    }
    let Some(tenant) = target.dn().parent() else { return Vec::new() };
    let everywhere = tenant.parent().filter(|_| tenant.as_str() == COMMON);
    found(target.get("name"), &everywhere.unwrap_or(tenant))
}

/// The relations whose inverse object this is, or was.
fn sources(tree: &Tree, inverse: &Mo) -> Vec<Dn> {
    let Ok(source) = inverse.get("tDn").parse::<Dn>() else { return Vec::new() };
    let made_it = |mo: &&Mo| {
        mo.class().relation.as_ref().is_some_and(|def| def.inverse == inverse.class().name)
    };
    tree.children(&source).filter(made_it).map(|mo| mo.dn().clone()).collect()
}

fn relations() -> impl Iterator<Item = &'static RelationDef> {
    schema().iter().filter_map(|class| class.relation.as_ref())
}

fn is_inverse(class: &ClassDef) -> bool {
    INVERSES.contains(class.name)
}
