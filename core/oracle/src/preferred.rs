//! The preferred group of a VRF: groups that talk freely among each other.

use selvage_model::{Mo, Tree};
use selvage_rules::Reason;

use crate::contract::Rule;
use crate::place::Place;
use crate::ruling;

/// The implicit rule of the preferred group between two different groups of one VRF, if it has one.
///
/// *Cisco ACI Contract Guide*, "Preferred group": where the VRF's vzAny says `prefGrMemb=enabled`,
/// the implicit deny becomes a permit (`grp_any_any_any_permit`, 20), and each group that is not
/// included gets two denies before it: from the group to any (`grp_src_any_any_deny`, 18) and from
/// any to the group (`grp_any_dest_any_deny`, 19). Contracts come before all three.
///
/// An external EPG with a default prefix is no member: addresses that only it covers have not its
/// class (the same guide, "L3Out EPG with 0.0.0.0/0 subnet"), and for theirs the denies are there.
pub(crate) fn rule<'a>(tree: &'a Tree, from: &Place<'_>, to: &Place<'_>) -> Option<Rule<'a>> {
    let any = tree.get(&format!("{}/any", from.vrf.dn()))?;
    if any.get("prefGrMemb") != "enabled" {
        return None;
    }
    if !is_member(from) {
        return Some(Rule::deny(ruling::GROUP_SOURCE, &excluded(any, from)));
    }
    if !is_member(to) {
        return Some(Rule::deny(ruling::GROUP_DESTINATION, &excluded(any, to)));
    }
    Some(Rule { reason: Reason::PreferredGroup, ..Rule::permit(ruling::GROUP, &[any]) })
}

fn is_member(place: &Place<'_>) -> bool {
    !place.catch_all && place.groups.iter().all(|group| group.get("prefGrMemb") == "include")
}

/// Whom a deny is said to come from: the VRF's vzAny, which makes it, and who is left out.
fn excluded<'a>(any: &'a Mo, place: &Place<'a>) -> Vec<&'a Mo> {
    std::iter::once(any).chain(place.groups.iter().copied()).collect()
}
