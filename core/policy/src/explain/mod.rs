//! Why a flow passes or not, in full: the trace, every rule that was looked at, and the smallest
//! change that would turn the verdict round.
//!
//! A change is not guessed: each candidate is made to a copy of the tree, compiled, and asked. Of
//! those that turn the verdict the one with the fewest objects wins, then the one that changes the
//! fewest other pairs ([`crate::plan`] says which).

mod change;
mod edits;
mod entry;

use selvage_model::{Dn, Tree};
use selvage_rules::{Action, Packet, RuleId};
use serde::Serialize;

use crate::compile::Compiled;
use crate::reach::Reach;
use crate::trace::{self, Place, Trace, describe};

pub use change::{Change, smallest};

/// How many rules that do not match are listed.
const OTHERS_SHOWN: usize = 8;

/// A trace with everything behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The verdicts there and back, and the objects behind them.
    #[serde(flatten)]
    pub trace: Trace,
    /// Why the sender is in its group.
    pub from_because: String,
    /// Why the receiver is in its group.
    pub to_because: String,
    /// The rules that were looked at for the first packet, in the order in which they decide.
    pub considered: Vec<Considered>,
    /// The smallest change that would turn the first packet's verdict round; absent where none of
    /// policy does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// One rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Its number.
    pub rule: RuleId,
    /// Its rank; lower wins.
    pub priority: u16,
    /// What it does.
    pub action: Action,
    /// What it is about, in the words of flows.
    pub traffic: String,
    /// The lookup that found it: `pair`, `from`, `to` or `any`.
    pub lookup: &'static str,
    /// It matches the packet.
    pub matches: bool,
    /// It decides.
    pub decides: bool,
    /// The contract subject, or the object whose default it is.
    pub subject: String,
    /// The filter entry; empty for a default.
    pub entry: String,
}

/// Explains what happens to one packet, the first of its flow, between two places.
pub fn explain(
    tree: &Tree,
    compiled: &Compiled,
    (from, to): (&Place, &Place),
    packet: &Packet,
) -> Explanation {
    let trace = trace::trace_packet(compiled, from, to, packet);
    let (sender, receiver) = (from.group(), to.group());
    Explanation {
        from_because: because(from),
        to_because: because(to),
        considered: considered(compiled, sender, receiver, packet),
        change: smallest(tree, compiled, sender, receiver, packet),
        trace,
    }
}

fn because(place: &Place) -> String {
    match place {
        Place::Group(_) => "named in the question".to_owned(),
        Place::Endpoint(endpoint) => {
            let name = [&*endpoint.name, endpoint.dn.as_str()].into_iter().find(|n| !n.is_empty());
            format!("endpoint `{}` is attached to it", name.unwrap_or_default())
        }
    }
}

/// The rules of the four lookups, those that match first, then some of the others.
fn considered(compiled: &Compiled, from: &Dn, to: &Dn, packet: &Packet) -> Vec<Considered> {
    const LOOKUPS: [&str; 4] = ["pair", "from", "to", "any"];
    let reach = Reach::new(compiled);
    let (senders, receivers) = (reach.seats_of(from), reach.seats_of(to));
    let (Some(here), Some(there)) = (senders.first(), receivers.first()) else {
        return Vec::new();
    };
    let Some(rules) = reach.rules(reach.key(here, there)) else { return Vec::new() };
    // One rule may stand in several sets, or in one with several treatments: the first decides.
    let mut decides = trace::verdict(compiled, from, to, packet).rule;
    let mut others = 0;
    let mut all: Vec<Considered> = Vec::new();
    for (lookup, rule) in rules.in_order() {
        let matches = rule.matches.matches(packet);
        others += usize::from(!matches);
        if !matches && others > OTHERS_SHOWN {
            continue;
        }
        let origin = compiled.table.origins.get(&rule.id);
        all.push(Considered {
            rule: rule.id,
            priority: rule.priority,
            action: rule.action,
            traffic: describe(&rule.matches),
            lookup: LOOKUPS.get(lookup).copied().unwrap_or_default(),
            matches,
            decides: decides.take_if(|id| matches && *id == rule.id).is_some(),
            subject: origin.map(|origin| origin.dn.to_string()).unwrap_or_default(),
            entry: origin.map(|origin| origin.entry.to_string()).unwrap_or_default(),
        });
    }
    all
}
