//! Which of all the rules that match has the last word.
//!
//! *Cisco ACI Contract Guide*, "Contract priorities": every rule has a place in one list, whatever
//! object it comes from; the lowest number wins, and at equal numbers a deny wins over a permit,
//! even over one with a more specific filter.
//!
//! | place | name | rule |
//! |---|---|---|
//! | 1 | `class-eq-filter` | contract within a group |
//! | 2 | `class-eq-deny` | isolation, and what a contract within a group leaves over |
//! | 3 | `class-eq-allow` | freedom within a group |
//! | 5 | `black_list` | taboo |
//! | 7, 9 | `fully_qual`, `src_dst_any` | group to group, by an entry with an EtherType or without |
//! | 10, 11 | `shsrc_any_filt_perm`, `shsrc_any_any_perm` | provider and vzAny of another VRF |
//! | 12 | `shsrc_any_any_deny` | all else between a provider and another VRF |
//! | 13, 15 | `src_any_filter`, `src_any_any` | group to vzAny |
//! | 14, 16 | `any_dest_filter`, `any_dest_any` | vzAny to group |
//! | 17, 21 | `any_any_filter`, `any_any_any` | vzAny to vzAny |
//! | 18, 19, 20 | `grp_src_any_any_deny`, `grp_any_dest_any_deny`, `grp_any_any_any_permit` | preferred group |
//! | none | `default` | the implicit deny |

use selvage_model::{Dn, Mo, Tree};
use selvage_rules::Reason;

use crate::contract::{Rule, Way};
use crate::relation::Party;
use crate::{Judgement, Verdict};

/// Contract within a group.
pub(crate) const WITHIN_FILTER: u8 = 1;
/// All else within an isolated group, or one with a contract within.
pub(crate) const WITHIN_DENY: u8 = 2;
/// Freedom within a group.
pub(crate) const WITHIN_ALLOW: u8 = 3;
/// Taboo.
pub(crate) const BLACK_LIST: u8 = 5;
/// Between VRFs, what no contract permits.
pub(crate) const SHARED_DENY: u8 = 12;
/// From a group that is not in the preferred group.
pub(crate) const GROUP_SOURCE: u8 = 18;
/// To a group that is not in the preferred group.
pub(crate) const GROUP_DESTINATION: u8 = 19;
/// Within the preferred group.
pub(crate) const GROUP: u8 = 20;

/// The place of a rule made from `entry` for packets between these parties.
///
/// A deny may be moved by its `priorityOverride`: `level3` (highest) to 7, `level2` (medium) to 13,
/// `level1` (lowest) to 17. Permits are never moved.
pub(crate) fn place(
    tree: &Tree,
    (consumer, provider): (&Party<'_>, &Party<'_>),
    way: Way,
    contract: &Mo,
    relation: &Mo,
    entry: &Mo,
) -> u8 {
    let deny = relation.get("action") == "deny";
    match relation.get("priorityOverride") {
        "level3" if deny => return 7,
        "level2" if deny => return 13,
        "level1" if deny => return 17,
        _ => {}
    }
    let names_type = entry.get("etherT") != "unspecified";
    let (source, destination) = match way {
        Way::Asking => (consumer, provider),
        Way::Answering => (provider, consumer),
    };
    // Where it depends on the group whether the contract holds, vzAny has no class of its own: it
    // stands for each group.
    let expanded = contract.get("scope") == "application-profile"
        || tree.descendants(contract.dn()).any(|mo| mo.class().name == "vzException");
    let any = |party: &Party<'_>| party.any && !expanded;
    let shared = consumer.vrf.dn() != provider.vrf.dn();
    match (any(source), any(destination), names_type) {
        (false, false, true) => 7,
        (false, false, false) => 9,
        (_, _, true) if shared => 10,
        (_, _, false) if shared => 11,
        (false, true, true) => 13,
        (false, true, false) => 15,
        (true, false, true) => 14,
        (true, false, false) => 16,
        (true, true, true) => 17,
        (true, true, false) => 21,
    }
}

/// The verdict of all rules that match; `None` if none does, which is the implicit deny.
///
/// What permits adds up: which of several permits is found first plays no part. If one of them is
/// stateful, replies may pass by the connection; if one of those logs, the packet is logged.
/// Between a permit and a redirect "a more specific protocol and a specific L4 port win", and of two
/// with one filter the redirect (same section).
pub(crate) fn decide(mut hits: Vec<&Rule<'_>>) -> Option<Judgement> {
    let best = hits.iter().map(|hit| hit.place).min()?;
    hits.retain(|hit| hit.place == best);
    if hits.iter().any(|hit| hit.deny) {
        hits.retain(|hit| hit.deny);
        return Some(said_by(&hits, Verdict::Deny));
    }
    let specific = |redirect: bool| {
        let kind = hits.iter().filter(|hit| hit.redirect.is_some() == redirect);
        kind.map(|hit| hit.breadth).min()
    };
    let (redirects, permits) = (specific(true), specific(false));
    match redirects {
        Some(breadth) if permits.is_none_or(|permit| breadth <= permit) => {
            hits.retain(|hit| hit.redirect.is_some() && hit.breadth == breadth);
            // Two policies for one packet are a fault of the configuration; the lower DN has it.
            let policy = hits.iter().filter_map(|hit| hit.redirect.clone()).min();
            hits.retain(|hit| hit.redirect == policy);
            Some(Judgement { redirect: policy, ..said_by(&hits, Verdict::Redirect) })
        }
        _ => {
            hits.retain(|hit| hit.redirect.is_none());
            Some(said_by(&hits, Verdict::Allow))
        }
    }
}

fn said_by(hits: &[&Rule<'_>], verdict: Verdict) -> Judgement {
    let stateful = hits.iter().any(|hit| hit.stateful);
    let log = hits.iter().any(|hit| hit.log && hit.stateful == stateful);
    let reason = match verdict {
        Verdict::Deny => Reason::Denied,
        _ => hits.first().map_or(Reason::Contract, |hit| hit.reason),
    };
    let mut copy: Vec<Dn> = hits.iter().flat_map(|hit| hit.copy.iter().cloned()).collect();
    copy.sort();
    copy.dedup();
    let because = hits.iter().flat_map(|hit| hit.because.iter().cloned()).collect();
    Judgement { verdict, reason, stateful, log, redirect: None, copy, because }
}
