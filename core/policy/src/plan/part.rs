//! The part of a fabric that a change can matter to, so that planning costs what that holds and not
//! what the fabric does.
//!
//! A name leads to an object of the same tenant or of tenant `common`, never to another tenant's. So
//! what a tenant configures concerns others only through what they share in `common`: a VRF or a
//! bridge domain, in which their groups meet, or a contract. (A filter of `common` is only read.) A
//! tenant that leads to nothing of that sort is compiled by itself, with `common` beside it, to just
//! the rules that it has in the whole.

use std::collections::BTreeSet;

use selvage_model::{Dn, MadeBy, Mo, Tree, target};

/// The tenant that all others see.
const COMMON: &str = "uni/tn-common";

/// The tenants in which `changed` lie, with `common`, out of both trees: rules that differ between
/// the trees differ between these, and alike. `None` if something else may be concerned.
///
/// `changed` are all objects that differ; those that the system makes count for nothing.
pub fn part<'m>(trees: [&Tree; 2], changed: impl IntoIterator<Item = &'m Mo>) -> Option<[Tree; 2]> {
    let mut tenants = BTreeSet::new();
    for mo in changed.into_iter().filter(|mo| mo.class().made_by != MadeBy::System) {
        let tenant = mo.dn().ancestor("tn-").filter(|tenant| tenant.as_str() != COMMON)?;
        tenants.insert(tenant);
    }
    let closed = |tree: &Tree| tenants.iter().all(|tenant| is_closed(tree, tenant));
    if !trees.iter().all(|tree| closed(tree)) {
        return None;
    }
    let common = COMMON.parse().ok();
    Some(trees.map(|tree| {
        let mut part = Tree::default();
        for top in tenants.iter().chain(&common) {
            for mo in tree.get(top.as_str()).into_iter().chain(tree.descendants(top)) {
                part.insert_shared(tree.shared(mo.dn().as_str())?);
            }
        }
        Some(part)
    }))
    .and_then(|[old, new]| Some([old?, new?]))
}

/// Whether every name in the tenant leads to an object of its own, to nothing, or to a filter.
fn is_closed(tree: &Tree, tenant: &Dn) -> bool {
    tree.descendants(tenant)
        .filter_map(|mo| target(tree, mo))
        .all(|target| tenant.contains(target.dn()) || target.class().name == "vzFilter")
}
