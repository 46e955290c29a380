//! What the controller adds to a trace so that every judge can be asked: the oracle's word and the
//! rule table's, and between which endpoints the hosts are to be asked.

use selvage_agent::judge::answers;
use selvage_model::{Dn, Mo, Tree};
use selvage_oracle::{Endpoint, State, judge};
use selvage_policy::trace::{Leg, Place, Trace};
use selvage_rules::{Packet, Reason};
use serde::Serialize;

/// The part of a trace's answer that is there when the judges are asked for.
#[derive(Serialize)]
pub struct Judges {
    /// Who sends: the endpoint that was named, or the first of the group. `None` where the group has
    /// none, so that no host can be asked.
    from: Option<Seat>,
    /// Whom it is for, likewise.
    to: Option<Seat>,
    /// The first packet.
    there: Question,
    /// The answer to it.
    back: Question,
}

/// An endpoint, and where it is.
#[derive(Serialize)]
struct Seat {
    dn: String,
    name: String,
    mac: String,
    bridge_domain: String,
    host: String,
}

/// One packet, and what is said of it here.
#[derive(Serialize)]
struct Question {
    packet: Packet,
    /// The packet it answers.
    answers: Option<Packet>,
    oracle: Word,
    table: Word,
}

#[derive(Serialize)]
struct Word {
    reason: Reason,
    /// The rule's number; the oracle knows none.
    rule: Option<u32>,
    /// DNs of the objects that decide.
    because: Vec<String>,
}

/// What is to be asked about `trace`, whose ends are `from` and `to`.
pub fn about(tree: &Tree, from: &Place, to: &Place, trace: &Trace) -> Judges {
    let sender = seat(tree, from, None);
    let receiver = seat(tree, to, sender.as_ref().map(|seat| seat.dn.as_str()));
    let (there, back) = (&trace.forward, &trace.back);
    let opening = Some(there.packet).filter(|opening| answers(&back.packet, opening));
    Judges {
        from: sender,
        to: receiver,
        there: question(tree, from.group(), to.group(), there, None),
        back: question(tree, to.group(), from.group(), back, opening),
    }
}

fn question(tree: &Tree, from: &Dn, to: &Dn, leg: &Leg, answers: Option<Packet>) -> Question {
    let end = |dn: &'_ Dn| dn.as_str().to_owned();
    let (from, to) = (end(from), end(to));
    let state = answers.map_or(State::New, |opening| State::Established { opening });
    let (from, to) = (Endpoint::of(&from), Endpoint::of(&to));
    let judgement = judge(tree, &from, &to, &leg.packet, state);
    let chain = leg.chain.iter();
    let objects = chain.flat_map(|c| [Some(c.subject.clone()), c.entry.as_ref().map(end)]);
    Question {
        packet: leg.packet,
        answers,
        oracle: Word {
            reason: judgement.reason,
            rule: None,
            because: judgement.because.iter().map(end).collect(),
        },
        table: Word {
            reason: leg.verdict.reason,
            rule: leg.verdict.rule.map(|rule| rule.0),
            because: objects.flatten().collect(),
        },
    }
}

/// The endpoint that `place` is, or the first of its group that is not `other`.
fn seat(tree: &Tree, place: &Place, other: Option<&str>) -> Option<Seat> {
    let found: &Mo = match place {
        Place::Endpoint(endpoint) => tree.get(endpoint.dn.as_str())?,
        _ => {
            let mut members = tree.children_of_class(place.group(), "fvCEp");
            members.find(|member| Some(member.dn().as_str()) != other)?
        }
    };
    Some(Seat {
        dn: found.dn().to_string(),
        name: found.get("contName").to_owned(),
        mac: found.get("mac").to_owned(),
        bridge_domain: found.get("bdDn").to_owned(),
        host: found.get("hostingServer").to_owned(),
    })
}
