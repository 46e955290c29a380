//! What comes nearest to allowing a flow that is denied.

use selvage_model::Dn;
use selvage_rules::{Action, Match, Packet};
use serde::Serialize;

use super::flow::describe;
use super::words::name;
use crate::compile::{Compiled, directions};
use crate::ir::{Contract, Intent, Relation};
use crate::problem::dn_as_text;

/// How many are worth showing.
const SHOWN: usize = 5;

/// Why a contract does not allow the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It allows this, but not between these two: labels, exceptions or its scope leave them out, or
    /// what it is to pass cannot be made.
    LeftOut,
    /// It lies between the two groups, and allows something else.
    OtherTraffic,
    /// It lies between the two groups, and allows this the other way round.
    OtherWay,
    /// The receiver provides it, and the sender does not consume it.
    NotConsumed,
    /// The sender consumes it, and the receiver does not provide it.
    NotProvided,
}

/// A contract that almost allows a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// Why it does not.
    pub why: Why,
    /// The contract.
    #[serde(serialize_with = "dn_as_text")]
    pub contract: Dn,
    /// The filter entry that comes nearest.
    #[serde(serialize_with = "dn_as_text")]
    pub entry: Dn,
    /// What that entry allows.
    pub allows: String,
    /// All this in one sentence.
    pub text: String,
}

/// One entry that a contract permits toward its provider.
struct Offer<'a> {
    entry: &'a Dn,
    matches: Match,
}

/// The nearest misses for `packet` between two groups that have no contract for it, nearest first:
/// contracts that lie between them before contracts that could, and the same protocol before
/// others.
pub(super) fn nearest(compiled: &Compiled, from: &Dn, to: &Dn, packet: &Packet) -> Vec<Miss> {
    let intent = &compiled.intent;
    // Two groups between which nothing could pass have no nearest miss.
    if intent.vrf_of(from).is_none() || intent.vrf_of(from) != intent.vrf_of(to) {
        return Vec::new();
    }
    let offered = |group: &Dn, contract: &Dn| intent.offers(group).any(|r| &r.contract == contract);
    let used = |group: &Dn, contract: &Dn| intent.uses(group).any(|r| &r.contract == contract);
    let mut misses: Vec<(u32, Miss)> = Vec::new();
    let mut add = |why, contract: &Dn, offer: &Offer<'_>| {
        let distance = distance(packet, &offer.matches);
        misses.push((distance, miss(why, contract, offer, from, to)));
    };
    for (relation, contract) in known(intent, intent.uses(from)) {
        let provided = offered(to, &relation.contract);
        for offer in offers(compiled, contract) {
            if provided && offer.matches.matches(packet) {
                add(Why::LeftOut, &relation.contract, &offer);
            } else if provided {
                add(Why::OtherTraffic, &relation.contract, &offer);
            } else if offer.matches.matches(packet) {
                add(Why::NotProvided, &relation.contract, &offer);
            }
        }
    }
    for (relation, contract) in known(intent, intent.offers(to)) {
        if used(from, &relation.contract) {
            continue;
        }
        for offer in offers(compiled, contract).filter(|o| o.matches.matches(packet)) {
            add(Why::NotConsumed, &relation.contract, &offer);
        }
    }
    for (relation, contract) in known(intent, intent.offers(from)) {
        if !used(to, &relation.contract) {
            continue;
        }
        for offer in offers(compiled, contract).filter(|o| o.matches.matches(packet)) {
            add(Why::OtherWay, &relation.contract, &offer);
        }
    }
    misses.sort_by(|(d1, m1), (d2, m2)| {
        (m1.why, d1, &m1.contract, &m1.entry).cmp(&(m2.why, d2, &m2.contract, &m2.entry))
    });
    misses.dedup_by(|(_, a), (_, b)| a == b);
    misses.into_iter().map(|(_, miss)| miss).take(SHOWN).collect()
}

/// The contracts that relations lead to.
fn known<'a>(
    intent: &'a Intent,
    relations: impl Iterator<Item = &'a Relation>,
) -> impl Iterator<Item = (&'a Relation, &'a Contract)> {
    relations.filter_map(|relation| Some((relation, intent.contracts.get(&relation.contract)?)))
}

/// What `contract` permits toward the provider.
fn offers<'a>(compiled: &'a Compiled, contract: &'a Contract) -> impl Iterator<Item = Offer<'a>> {
    let clauses = compiled.intent.clauses(contract);
    clauses.filter(|clause| clause.used.action == Action::Permit).filter_map(|clause| {
        let (matches, _) = directions(&clause);
        Some(Offer { entry: &clause.entry.dn, matches: matches? })
    })
}

/// How far a packet is from what an entry matches: another protocol is farther than any port.
fn distance(packet: &Packet, matches: &Match) -> u32 {
    let mut distance = 0;
    if matches.proto.is_some_and(|proto| proto != packet.proto) {
        distance += 1 << 20;
    }
    if !matches.ether.matches(packet.ether) {
        distance += 1 << 19;
    }
    let port = u32::from(packet.dport);
    let (first, last) = (u32::from(matches.dport.first), u32::from(matches.dport.last));
    distance + first.saturating_sub(port) + port.saturating_sub(last)
}

fn miss(why: Why, contract: &Dn, offer: &Offer<'_>, from: &Dn, to: &Dn) -> Miss {
    let allows = describe(&offer.matches);
    let (called, from, to) = (name(contract), name(from), name(to));
    let text = match why {
        Why::LeftOut => format!(
            "contract {called} allows {allows}, but its labels, exceptions, scope or service graph \
             leave out {from} and {to}"
        ),
        Why::OtherTraffic => format!("contract {called} allows {allows}"),
        Why::OtherWay => format!("contract {called} lets {to} open {allows} to {from}"),
        Why::NotConsumed => {
            format!("contract {called} of {to} allows {allows}, but {from} does not consume it")
        }
        Why::NotProvided => {
            format!("contract {called} allows {allows}, but {to} does not provide it")
        }
    };
    Miss { why, contract: contract.clone(), entry: offer.entry.clone(), allows, text }
}
