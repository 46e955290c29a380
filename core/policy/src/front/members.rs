//! Who is in which group: selectors and criteria put in the order in which they are tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::Arm;

use super::{Reader, esg, micro};
use crate::ir::Intent;

/// Comes last, since groups hand contracts on once they have them all.
pub(super) fn read(reader: &mut Reader<'_>, intent: &mut Intent) {
    let (by_vrf, taken) = esg::read(reader, intent);
    let mut by_domain = micro::arms(reader, intent);
    for arm in by_domain.values_mut().flatten() {
        redirect(arm, &taken);
    }
    for (epg, arm) in &taken {
        let domain = intent.groups.get(epg).and_then(|group| group.bd.clone());
        if let Some(domain) = domain {
            let arms = by_domain.entry(domain).or_default();
            // A microsegment has those who are chosen, and nobody else.
            if !arms.iter().any(|other| other.test == arm.test) {
                arms.push(arm.clone());
            }
        }
    }
    esg::inherit(intent, &taken);
    let arms = by_vrf.into_iter().chain(by_domain);
    intent.arms = arms.map(|(dn, arms)| (dn.shared(), Arc::new(arms))).collect();
}

/// Whoever would be in an EPG that is in another group is in that one.
fn redirect(arm: &mut Arm, taken: &BTreeMap<Dn, Arm>) {
    let group = arm.group.as_ref().and_then(|group| taken.get(&**group));
    if let Some(Arm { group, cause, .. }) = group {
        arm.group.clone_from(group);
        arm.cause = Arc::clone(cause);
    }
}
