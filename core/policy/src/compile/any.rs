//! vzAny: all groups of a VRF, external ones too, as one end of a contract.
//!
//! It stands in the table as [`ClassId::ANY`] and is never expanded to the groups it stands for, but
//! for contracts whose scope is the application profile: these count between groups of one profile,
//! which any does not have, so they count as if each group of the VRF had the relation itself.

use selvage_model::Dn;
use selvage_rules::{ClassId, GroupKey};

use super::{Builder, Ends, Kind, Member};
use crate::ir::Intent;

/// The groups of each VRF as one.
pub(super) fn members<'i>(builder: &Builder<'_>, intent: &'i Intent) -> Vec<Member<'i>> {
    let of = |(vrf, found): (&'i Dn, &'i crate::ir::Vrf)| {
        let scope = builder.numbers.scope_of(&vrf.shared())?;
        let any = &found.any;
        let key = GroupKey { scope, class: ClassId::ANY };
        Some(Member {
            dn: &any.dn,
            tenant: &found.tenant,
            profile: &any.dn,
            vrf,
            kind: Kind::Any,
            stance: None,
            provides: &any.provides,
            consumes: &any.consumes,
            ends: Ends { key, default_source: None },
        })
    };
    intent.vrfs.iter().filter_map(of).collect()
}
