//! What a change of policy does to the traffic between groups, before it is made.
//!
//! ```text
//! two compiled policies --pairs--> which pairs are judged by other rules than before
//!                       --delta--> which packets of theirs fare differently, exactly
//!                       --words--> in words, with the authors and a packet to see it by
//! ```
//!
//! Nothing is sampled: packets are taken apart into the sets that the rules involved tell apart
//! ([`cube`]). Packets whose verdict changes its author but nothing else are no change.

pub mod cube;
pub mod delta;
pub mod pairs;
mod part;
mod witness;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{Action, Packet, Verdict};
use serde::{Deserialize, Serialize};

use crate::compile::Compiled;
use crate::trace;
use cube::Cube;
use delta::{Carried, Shift};
use pairs::{Pairs, Side};

pub use delta::Kind;
pub use part::part;
pub use witness::witness;

/// What a change of policy does to traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Every change: what is lost, then what is gained, then what is altered.
    pub changes: Vec<Change>,
}

/// Traffic that fares differently, alike between all these pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happens to it.
    pub kind: Kind,
    /// What it is, in words: each a part of it, together all of it.
    pub traffic: Vec<String>,
    /// Between whom, ordered by name.
    pub pairs: Vec<Pair>,
    /// Who decides about it now.
    pub before: Decision,
    /// Who will decide about it.
    pub after: Decision,
    /// It is lost as traffic of its own, but still passes where it answers a connection that a
    /// stateful rule allows.
    pub passes_as_answer: bool,
    /// One packet of it between one of the pairs.
    pub witness: Option<Witness>,
    /// What it is, exactly.
    pub exactly: Vec<Cube>,
}

/// From whom to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The sender.
    pub from: End,
    /// The receiver.
    pub to: End,
}

/// One end of a pair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A group, by DN.
    Group(Arc<str>),
    /// Every group of a VRF that has no rules of its own there, as far as bridge domains let them
    /// reach each other.
    AnyOther {
        /// DN of the VRF.
        vrf: Arc<str>,
        /// Whether those meant are there before and after.
        are: Presence,
    },
}

/// Whether groups are in a VRF before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Both.
    Kept,
    /// After only.
    New,
    /// Before only.
    Removed,
}

/// A verdict, and the objects behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The author in a few words.
    pub text: String,
    /// The contract subject, or the object whose default it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// The filter entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// What else happens to what it lets through.
    #[serde(default, skip_serializing_if = "trace::Treated::is_nothing")]
    pub treated: trace::Treated,
}

/// A packet to see the change by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Group of the sender.
    pub from: Arc<str>,
    /// Group of the receiver.
    pub to: Arc<str>,
    /// Its headers.
    pub packet: Packet,
}

/// Compares two policies whose numbers are of one history: `after` was compiled with the numbers
/// that `before` was, or with a copy of them.
pub fn plan(before: &Compiled, after: &Compiled) -> Plan {
    let pairs = pairs::compare(&before.table, &after.table);
    let planner = Planner { before, after, pairs: &pairs };
    let mut groups: BTreeMap<_, Gathered<'_>> = BTreeMap::new();
    for ((from, to), id) in &pairs.cells {
        for shift in pairs.delta(*id) {
            let as_answer =
                shift.kind == Kind::Loses && planner.passes_as_answer(shift, *from, *to);
            let key = (shift.kind, shift.before.key(), shift.after.key(), &shift.cubes, as_answer);
            let fresh = || Gathered { shift, pairs: Vec::new(), as_answer };
            groups.entry(key).or_insert_with(fresh).pairs.push((*from, *to));
        }
    }
    let mut changes: Vec<Change> =
        groups.into_values().filter_map(|gathered| planner.change(gathered)).collect();
    changes.sort_by(|a, b| (a.kind, &a.pairs, &a.traffic).cmp(&(b.kind, &b.pairs, &b.traffic)));
    Plan { changes }
}

struct Gathered<'p> {
    shift: &'p Shift<'p>,
    pairs: Vec<(Side, Side)>,
    as_answer: bool,
}

struct Planner<'p> {
    before: &'p Compiled,
    after: &'p Compiled,
    pairs: &'p Pairs<'p>,
}

impl Planner<'_> {
    fn passes_as_answer(&self, shift: &Shift<'_>, from: Side, to: Side) -> bool {
        let back = self.pairs.rules_after(to, from);
        back.is_some_and(|rules| delta::are_answers(&shift.cubes, rules))
    }

    fn change(&self, gathered: Gathered<'_>) -> Option<Change> {
        let Gathered { shift, pairs: sides, as_answer } = gathered;
        let packet = witness(&shift.cubes)?;
        let example = sides.iter().find_map(|(from, to)| self.example(*from, *to, &packet));
        let decision = |compiled: &Compiled, is_before: bool| match &example {
            Some((from, to)) => decision(compiled, from, to, &packet),
            None => unseen(if is_before { shift.before } else { shift.after }),
        };
        let (before, after) = (decision(self.before, true), decision(self.after, false));
        let mut pairs: Vec<Pair> = sides
            .iter()
            .filter_map(|(from, to)| Some(Pair { from: self.end(*from)?, to: self.end(*to)? }))
            .collect();
        pairs.sort();
        Some(Change {
            kind: shift.kind,
            traffic: words::describe_all(&shift.cubes),
            pairs,
            before,
            after,
            passes_as_answer: as_answer,
            witness: example.map(|(from, to)| Witness {
                from: from.shared(),
                to: to.shared(),
                packet,
            }),
            exactly: shift.cubes.clone(),
        })
    }

    fn end(&self, side: Side) -> Option<End> {
        match side {
            Side::One(at) => Some(End::Group(self.pairs.members.get(at)?.dn.clone())),
            Side::Rest(rest) => {
                let [before, after] = rest.0;
                let vrf = |compiled: &Compiled, scope| {
                    Some(compiled.table.vrfs.get(&scope)?.name.clone())
                };
                let old = before.and_then(|scope| vrf(self.before, scope));
                let new = after.and_then(|scope| vrf(self.after, scope));
                let are = match (&old, &new) {
                    (Some(old), Some(new)) if old == new => Presence::Kept,
                    (_, Some(_)) => Presence::New,
                    _ => Presence::Removed,
                };
                Some(End::AnyOther { vrf: new.or(old)?, are })
            }
        }
    }

    /// Two groups that are such a pair, and that the network would carry `packet` between.
    fn example(&self, from: Side, to: Side, packet: &Packet) -> Option<(Dn, Dn)> {
        let (senders, receivers) = (self.pairs.names(from), self.pairs.names(to));
        let one = |side| matches!(side, Side::One(_));
        let pairs = senders.iter().flat_map(|from| receivers.iter().map(move |to| (from, to)));
        let mut fitting = pairs.filter(|(a, b)| {
            if one(from) && one(to) {
                return true;
            }
            let (sides, carried) = self.pairs.between_sides(a, b);
            let carries = |carried: Carried| delta::carries(carried, packet.ether);
            a != b && sides == Some((from, to)) && carries(carried)
        });
        let (from, to) = fitting.next()?;
        Some((from.parse().ok()?, to.parse().ok()?))
    }
}

fn decision(compiled: &Compiled, from: &Dn, to: &Dn, packet: &Packet) -> Decision {
    let verdict = trace::verdict(compiled, from, to, packet);
    let chain = verdict.rule.and_then(|rule| trace::chain(compiled, rule, from, to));
    let name = |dn: &Dn| trace::name(dn).to_owned();
    let text = match &chain {
        Some(trace::Chain { contract: Some(contract), entry: Some(entry), .. }) => {
            format!("contract {}, entry {}", name(contract), name(entry))
        }
        _ if [from, to].into_iter().any(|dn| !exists(compiled, dn)) => "no such group".to_owned(),
        _ => verdict.reason.text().to_owned(),
    };
    let treated = trace::treated(compiled, from, to, packet);
    Decision {
        verdict,
        text: format!("{text}{}", trace::treated_words(&treated)),
        treated,
        subject: chain.as_ref().map(|chain| chain.subject.clone()),
        contract: chain.as_ref().and_then(|c| c.contract.as_ref()).map(Dn::to_string),
        entry: chain.as_ref().and_then(|c| c.entry.as_ref()).map(Dn::to_string),
    }
}

fn exists(compiled: &Compiled, dn: &Dn) -> bool {
    compiled.groups.contains_key(dn) || compiled.externals.contains_key(dn)
}

/// The decision about a rest in which no two groups can reach each other.
fn unseen(ruling: delta::Ruling<'_>) -> Decision {
    let verdict = match ruling.rule() {
        Some(rule) => Verdict {
            action: rule.action,
            reason: rule.reason,
            rule: Some(rule.id),
            stateful: rule.stateful && rule.action != Action::Deny,
            log: rule.log,
        },
        None => Verdict::IMPLICIT_DENY,
    };
    let text = verdict.reason.text().to_owned();
    let treated = trace::Treated::default();
    Decision { verdict, text, subject: None, contract: None, entry: None, treated }
}
