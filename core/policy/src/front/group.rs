//! Groups: where they are, and which contracts they offer and use.

use std::collections::BTreeSet;

use selvage_model::{Dn, Mo};

use super::objects::{parent, tenant};
use super::relation::relations;
use super::{Reader, network, stance};
use crate::ir::{Group, Intent};
use crate::problem::Cause;

pub(super) fn groups(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("fvAEPg") {
        let dn = mo.dn();
        let closed = is_shut_down(reader, mo);
        let (provides, consumes) =
            (relations(reader, dn, "fvRsProv"), relations(reader, dn, "fvRsCons"));
        let Some((bd, vrf)) = network::bridge_domain_of(reader, intent, dn) else { continue };
        if closed {
            continue;
        }
        let stance = stance::of(reader, intent, mo);
        let group = Group {
            tenant: as_dn(tenant(dn), dn),
            profile: as_dn(parent(dn), dn),
            bd: Some(bd),
            vrf,
            stance,
            provides,
            consumes,
            outside: BTreeSet::new(),
        };
        intent.groups.insert(dn.clone(), group);
    }
}

/// Says so of a group that is shut down.
fn is_shut_down(reader: &mut Reader<'_>, mo: &Mo) -> bool {
    let closed = mo.get("shutdown") == "yes";
    if closed {
        let text = "the group is shut down: its endpoints are in quarantine";
        reader.problem(mo.dn(), Cause::ShutDown, text.to_owned());
    }
    closed
}

/// `text` as a DN. It is a part of `whole`, which is one, so it always is one itself.
pub(super) fn as_dn(text: &str, whole: &Dn) -> Dn {
    text.parse().unwrap_or_else(|_| whole.clone())
}
