//! From the managed-object tree to [`Intent`]: the only part that knows ACI classes by name.
//!
//! One pass over the tree sorts the objects by class; then each kind resolves what it names. Whatever cannot be resolved becomes a [`Problem`] about
//! the object that can mend it, and is left out, which denies.

mod any;
mod contract;
mod endpoint;
mod entry;
mod esg;
mod exception;
mod graph;
mod group;
mod inherit;
mod members;
mod micro;
mod network;
mod objects;
mod outside;
mod protect;
mod qos;
mod relation;
mod service;
mod stance;

use selvage_model::{Dn, Mo, Tree};
use selvage_rules::Table;

use crate::ir::Intent;
use crate::problem::{Cause, Problem};

pub(crate) use endpoint::groups_called;
pub use endpoint::{Endpoint, endpoints};
use objects::Objects;

/// Resolves every name of `tree`.
pub fn read(tree: &Tree) -> (Intent, Vec<Problem>) {
    let mut reader = Reader { objects: Objects::new(tree), tree, problems: Vec::new() };
    let mut intent = Intent::default();
    network::vrfs(&mut reader, &mut intent);
    network::bridge_domains(&mut reader, &mut intent);
    contract::filters(&mut reader, &mut intent);
    service::policies(&mut reader, &mut intent);
    contract::contracts(&mut reader, &mut intent);
    stance::taboos(&mut reader, &mut intent);
    group::groups(&mut reader, &mut intent);
    esg::groups(&mut reader, &mut intent);
    network::subnets(&mut reader, &mut intent);
    outside::read(&mut reader, &mut intent);
    inherit::read(&mut reader, &mut intent);
    protect::policies(&mut reader, &mut intent);
    members::read(&mut reader, &mut intent);
    qos::groups(&mut reader, &mut intent);
    exception::tags(&reader, &mut intent);
    (intent, reader.problems)
}

/// One property that the compiler decides and the tree shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// DN of the object.
    pub dn: std::sync::Arc<str>,
    /// Name of the property.
    pub prop: &'static str,
    /// Its value.
    pub value: String,
}

/// The numbers of `table` as the tree shows them: `pcTag` of groups, `scope` and `seg` of VRFs and
/// bridge domains.
pub fn computed(table: &Table) -> Vec<Computed> {
    let mut all = Vec::new();
    let mut push = |dn: &std::sync::Arc<str>, prop, value: String| {
        all.push(Computed { dn: std::sync::Arc::clone(dn), prop, value });
    };
    for (scope, vrf) in &table.vrfs {
        push(&vrf.name, "scope", scope.to_string());
        push(&vrf.name, "seg", scope.to_string());
    }
    for (id, bd) in &table.bridge_domains {
        push(&bd.name, "scope", bd.scope.to_string());
        push(&bd.name, "seg", id.to_string());
    }
    for (key, group) in &table.groups {
        push(&group.name, "pcTag", key.class.to_string());
        push(&group.name, "scope", key.scope.to_string());
    }
    all
}

/// The tree being read, and what was found wrong with it so far.
struct Reader<'a> {
    objects: Objects<'a>,
    tree: &'a Tree,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// The object that a relation leads to, by the tree's own rule: its tenant's, else that of
    /// tenant `common`.
    fn target(&self, relation: &Mo) -> Option<Dn> {
        selvage_model::target(self.tree, relation).map(|mo| mo.dn().clone())
    }

    fn problem(&mut self, dn: &Dn, cause: Cause, text: String) {
        self.problems.push(Problem { dn: dn.clone(), cause, text });
    }
}

/// How a sentence says that a relation leads nowhere: `what` is the kind of object sought, `name`
/// what it is called there.
fn not_found(what: &str, name: &str, from: &Dn) -> String {
    let name = if name.is_empty() { "default" } else { name };
    let tenant = objects::tenant(from);
    let tenant = tenant.strip_prefix("uni/tn-").unwrap_or(tenant);
    if tenant == "common" {
        format!("tenant `common` has no {what} `{name}`")
    } else {
        format!("neither tenant `{tenant}` nor `common` has a {what} `{name}`")
    }
}
