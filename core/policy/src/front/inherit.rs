//! Contract masters: groups whose contracts others have too.
//!
//! A group has what its masters provide and consume themselves, by relations and by imported
//! contracts, with the labels those are used by (Fundamentals guide, *Contract Inheritance*). It does
//! not have what they inherit, their taboos or the contracts inside them. Master and heir are of one
//! kind and one tenant.

use std::collections::BTreeMap;

use selvage_model::Dn;

use super::Reader;
use super::objects::tenant;
use crate::ir::{Intent, Relation};
use crate::problem::Cause;

/// What a master hands on: what it provides, and what it consumes.
type Estate = (Vec<Relation>, Vec<Relation>);

pub(super) fn read(reader: &mut Reader<'_>, intent: &mut Intent) {
    let heirs: Vec<Dn> = intent.groups.keys().chain(intent.externals.keys()).cloned().collect();
    let mut gains: BTreeMap<Dn, Estate> = BTreeMap::new();
    for heir in heirs {
        for mo in reader.objects.under(&heir, "fvRsSecInherited") {
            // A master that does not exist is the relation's own fault, which the tree raises.
            let Some(master) = reader.target(mo) else { continue };
            if let Some(why) = unfit(reader, &heir, &master) {
                let text = format!("{why}: no contract is inherited from it");
                reader.problem(mo.dn(), Cause::BadMaster, text);
                continue;
            }
            if !reader.objects.under(&master, "fvRsSecInherited").is_empty() {
                let text = format!(
                    "`{master}` inherits contracts itself: only its own are inherited from it",
                );
                reader.problem(mo.dn(), Cause::BadMaster, text);
            }
            let Some((provides, consumes)) = intent.relations(&master) else { continue };
            let gain = gains.entry(heir.clone()).or_default();
            gain.0.extend_from_slice(provides);
            gain.1.extend_from_slice(consumes);
        }
    }
    for (heir, (provides, consumes)) in gains {
        if let Some((own_provides, own_consumes)) = intent.relations_mut(&heir) {
            own_provides.extend(provides);
            own_consumes.extend(consumes);
        }
    }
}

/// Why `heir` cannot inherit from `master`.
fn unfit(reader: &Reader<'_>, heir: &Dn, master: &Dn) -> Option<String> {
    let kind = |dn: &Dn| {
        let mo = reader.tree.get(dn.as_str())?;
        Some((mo.class().name, mo.get("isAttrBasedEPg") == "yes"))
    };
    if heir == master {
        Some("a group is no master of its own".to_owned())
    } else if tenant(heir) != tenant(master) {
        Some(format!("`{master}` is in another tenant"))
    } else if kind(heir) != kind(master) {
        Some(format!("`{master}` is another kind of group"))
    } else {
        None
    }
}
