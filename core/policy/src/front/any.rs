//! All groups of a VRF at once: vzAny, which every VRF has, whether the tree shows it or not.

use selvage_model::Dn;

use super::Reader;
use super::relation::relations;
use crate::ir::Any;

/// What all groups of the VRF `vrf` offer and use.
pub(super) fn of(reader: &mut Reader<'_>, vrf: &Dn) -> Option<Any> {
    let dn: Dn = format!("{vrf}/any").parse().ok()?;
    let mo = reader.objects.under(vrf, "vzAny").first().copied();
    Some(Any {
        preferred: mo.is_some_and(|mo| mo.get("prefGrMemb") == "enabled"),
        provides: relations(reader, &dn, "vzRsAnyToProv"),
        consumes: relations(reader, &dn, "vzRsAnyToCons"),
        dn,
    })
}
