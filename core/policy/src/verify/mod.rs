//! Assertions about a policy: each true, or false with a packet to see it by and the objects to blame.
//!
//! Nothing is sampled. An assertion is about pairs of seats ([`crate::reach`]) and a set of packets
//! (cubes); the rules between each pair take the set apart by who decides, so *none of it passes* and
//! *all of it passes* are decided about every packet there is.
//!
//! | kind | holds if |
//! |---|---|
//! | `reachable` | all of the traffic passes between every pair, and its answers come back: by the connection, or by a rule of their own |
//! | `unreachable` | none of it passes as traffic of its own |
//! | `only` | nothing outside of `from` reaches `to` with it |
//! | `isolated` | nothing passes between the group and others, either way, but what is allowed and the answers to it |
//!
//! A group's talk to itself is no part of any of these, unless both ends are that one group. What
//! passes as the answer of a tracked connection is not traffic of its own.

mod ends;
mod prove;
mod read;
mod traffic;
mod words;

use std::net::IpAddr;

use selvage_model::{Dn, Tree};
use selvage_rules::{Packet, Verdict};
use serde::Serialize;

use crate::compile::Compiled;
use crate::problem::dn_as_text;
use crate::reach::Reach;
use crate::trace::Chain;

pub use traffic::Traffic;

/// Whether one assertion holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Its object.
    #[serde(serialize_with = "dn_as_text")]
    pub dn: Dn,
    /// Its name.
    pub name: String,
    /// What it asserts, in one sentence.
    pub asserts: String,
    /// It holds.
    pub holds: bool,
    /// Why it does not, in one sentence; empty where it does.
    pub why: String,
    /// A packet that shows it; absent where it holds or cannot be understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<Counterexample>,
}

/// A packet that fares otherwise than an assertion says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counterexample {
    /// Where it comes from.
    pub from: Point,
    /// Where it goes.
    pub to: Point,
    /// Its headers.
    pub packet: Packet,
    /// It is the answer to what the assertion is about.
    pub is_answer: bool,
    /// What happens to it.
    pub verdict: Verdict,
    /// The objects behind the rule that decides; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// DNs of the objects to blame: subject and entry, then the relations; where no rule decides,
    /// the groups.
    pub blame: Vec<String>,
}

/// One end of a counterexample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// DN of its group; absent for an address outside that no group has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// One of its addresses, if it is outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// Answers every assertion of `tree`, of which `compiled` was made, ordered by name.
pub fn verify(tree: &Tree, compiled: &Compiled) -> Vec<Answer> {
    let reach = Reach::new(compiled);
    let mut answers: Vec<Answer> = read::objects(tree)
        .map(|mo| match read::assertion(tree, &reach, mo) {
            Err(wrong) => Answer {
                dn: mo.dn().clone(),
                name: mo.get("name").to_owned(),
                asserts: String::new(),
                holds: false,
                why: format!("it cannot be understood: {wrong}"),
                counterexample: None,
            },
            Ok(assertion) => {
                let found = prove::counterexample(&reach, &assertion);
                Answer {
                    dn: mo.dn().clone(),
                    name: mo.get("name").to_owned(),
                    asserts: assertion.text.clone(),
                    holds: found.is_ok(),
                    why: found.as_ref().err().map(|f| words::why(&reach, f)).unwrap_or_default(),
                    counterexample: found.err().and_then(prove::Broken::shown),
                }
            }
        })
        .collect();
    answers.sort_by(|a, b| a.name.cmp(&b.name));
    answers
}

/// Whether `tree` asserts anything.
pub fn asserts(tree: &Tree) -> bool {
    read::objects(tree).next().is_some()
}
