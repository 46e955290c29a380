//! Groups: where they are, and which contracts they offer and use.

use selvage_model::{Dn, Mo};

use super::objects::{parent, tenant};
use super::relation::relations;
use super::{Reader, network, stance};
use crate::ir::{Group, Intent};
use crate::problem::Cause;

/// Classes under a group that mean something this version does not do. Without it more would pass
/// than was asked for, so the group goes into quarantine.
const NOT_YET: &[(&str, &str)] = &[("fvCrtrn", "microsegmentation criteria")];

pub(super) fn groups(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("fvAEPg") {
        let dn = mo.dn();
        let closed = not_yet(reader, mo);
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
            bd,
            vrf,
            stance,
            provides,
            consumes,
        };
        intent.groups.insert(dn.clone(), group);
    }
}

/// Says what the group asks for in vain; true if it must be closed for it.
fn not_yet(reader: &mut Reader<'_>, mo: &Mo) -> bool {
    let mut closed = false;
    for (class, what) in NOT_YET {
        for child in reader.objects.under(mo.dn(), class) {
            closed = true;
            let text = format!("{what} are not supported yet: the group is in quarantine");
            reader.problem(child.dn(), Cause::NotSupported, text);
        }
    }
    if mo.get("isAttrBasedEPg") == "yes" {
        closed = true;
        let text = "microsegment groups are not supported yet: the group is in quarantine";
        reader.problem(mo.dn(), Cause::NotSupported, text.to_owned());
    }
    if mo.get("shutdown") == "yes" {
        closed = true;
        let text = "the group is shut down: its endpoints are in quarantine";
        reader.problem(mo.dn(), Cause::ShutDown, text.to_owned());
    }
    closed
}

/// `text` as a DN. It is a part of `whole`, which is one, so it always is one itself.
pub(super) fn as_dn(text: &str, whole: &Dn) -> Dn {
    text.parse().unwrap_or_else(|_| whole.clone())
}
