//! From the managed-object tree to [`Intent`]: the only part that knows ACI classes by name.
//!
//! One pass over the tree sorts the objects by class; then each kind resolves what it names, first
//! in its own tenant and then in `common`. Whatever cannot be resolved becomes a [`Problem`] about
//! the object that can mend it, and is left out, which denies.

mod contract;
mod endpoint;
mod entry;
mod group;
mod network;
mod objects;

use selvage_model::{Dn, Tree};
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
    contract::contracts(&mut reader, &mut intent);
    group::groups(&mut reader, &mut intent);
    network::subnets(&mut reader, &mut intent);
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

/// A class of objects that others refer to by name.
#[derive(Debug, Clone, Copy)]
struct Named {
    /// What the object is called in a sentence.
    what: &'static str,
    /// What its relative name starts with.
    prefix: &'static str,
}

const VRF: Named = Named { what: "VRF", prefix: "ctx-" };
const BRIDGE_DOMAIN: Named = Named { what: "bridge domain", prefix: "BD-" };
const CONTRACT: Named = Named { what: "contract", prefix: "brc-" };
const FILTER: Named = Named { what: "filter", prefix: "flt-" };

impl Reader<'_> {
    /// The object that `name` means to an object of `tenant`: the tenant's own, else that of tenant
    /// `common`; an empty name means `default` of `common` (APIC, as its clients expect it).
    fn resolve(&self, tenant: &str, kind: Named, name: &str) -> Option<Dn> {
        let prefix = kind.prefix;
        let find = |dn: String| self.tree.get(&dn).map(|mo| mo.dn().clone());
        if name.is_empty() {
            return find(format!("uni/tn-common/{prefix}default"));
        }
        find(format!("{tenant}/{prefix}{name}"))
            .or_else(|| find(format!("uni/tn-common/{prefix}{name}")))
    }

    fn problem(&mut self, dn: &Dn, cause: Cause, text: String) {
        self.problems.push(Problem { dn: dn.clone(), cause, text });
    }
}

/// How a sentence says that `name` was not found.
fn not_found(kind: Named, name: &str, tenant: &str) -> String {
    let what = kind.what;
    if name.is_empty() {
        return format!("no {what} is named, and `common` has no {what} `default`");
    }
    let tenant = tenant.strip_prefix("uni/tn-").unwrap_or(tenant);
    if tenant == "common" {
        format!("tenant `common` has no {what} `{name}`")
    } else {
        format!("neither tenant `{tenant}` nor `common` has a {what} `{name}`")
    }
}
