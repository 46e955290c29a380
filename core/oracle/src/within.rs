//! Endpoints of one group.

use selvage_model::{Mo, Tree};
use selvage_rules::Reason;

use crate::contract::{Rule, Way, of_subjects};
use crate::place::Place;
use crate::relation::{Party, Tie, contract_of};
use crate::ruling;

/// What holds between two endpoints of `group`.
///
/// *Cisco ACI Contract Guide*, "Intra EPG contract" and "Intra EPG isolation":
/// - filters of contracts within the group (`fvRsIntraEpg`) come first (`class-eq-filter`, 1), each
///   both ways, since neither endpoint is the provider;
/// - with such a contract, or where the group is isolated, all else is denied (`class-eq-deny`, 2);
///   so a contract opens an isolated group for what it permits;
/// - else endpoints of one group talk freely (`class-eq-allow`, 3).
///
/// All three come before contracts between groups (`fully_qual`, 7, and below) and taboos
/// (`black_list`, 5), so a contract that a group both provides and consumes changes nothing within
/// it. Proxy ARP (`fwdCtrl=proxy-arp`) makes the fabric answer for the others; whether a packet may
/// then pass is as above.
///
/// A contract that does not exist permits nothing, and still denies all else.
pub(crate) fn rules<'a>(tree: &'a Tree, place: &Place<'a>, group: &'a Mo) -> Vec<Rule<'a>> {
    let party = Party { holder: group, any: false, group, vrf: place.vrf };
    let relations: Vec<&'a Mo> = tree.children_of_class(group.dn(), "fvRsIntraEpg").collect();
    let mut rules = Vec::new();
    for relation in &relations {
        let Some(contract) = contract_of(tree, relation) else { continue };
        let tie = Tie { relation, said_by: group, contract };
        for way in [Way::Asking, Way::Answering] {
            let parties = (&party, &party);
            let found = of_subjects(tree, parties, (&tie, &tie), way);
            let first = |rule| Rule { place: ruling::WITHIN_FILTER, ..rule };
            rules.extend(found.into_iter().map(first));
        }
    }
    if group.get("pcEnfPref") == "enforced" || !relations.is_empty() {
        rules.push(Rule::deny(ruling::WITHIN_DENY, &[group]));
    } else {
        let free = Rule::permit(ruling::WITHIN_ALLOW, &[group]);
        rules.push(Rule { reason: Reason::IntraGroup, ..free });
    }
    rules
}
