//! All judges about one flow: oracle, rule table, and what each data plane says.

use std::fmt;

use selvage_agent::judge::{Opinion, answers};
use selvage_model::Tree;
use selvage_oracle::{Endpoint, Judgement, State, judge};
use selvage_rules::{Reason, Table, Verdict};

use crate::atoms::words;
use crate::compare::{ask_table, same, show_judgement, show_origin, show_verdict};
use crate::planes::Plane;
use crate::seats::{Flow, Route, Seats};

/// A policy in its two forms, and who is where.
pub struct Matter<'a> {
    /// The managed objects, for the oracle.
    pub tree: &'a Tree,
    /// The compiled table.
    pub table: &'a Table,
    /// DNs of the groups.
    pub groups: &'a [String],
    /// Their endpoints.
    pub seats: Seats<'a>,
}

/// What the judges said about one flow when they did not say the same.
#[derive(Debug)]
pub struct Dissent {
    title: String,
    oracle: Judgement,
    table: Verdict,
    origin: String,
    expected: Option<Opinion>,
    planes: Vec<(&'static str, Opinion)>,
}

/// Whether a connection that the flow answers is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing is known before: the opening packet, if there is one, is shown to every plane first.
    Nothing,
    /// What was shown to the planes before still is.
    WhatWas,
}

/// The flow as the judges that keep no connections must be told of it: one that cannot be an answer
/// to what was sent before is a packet like any other.
fn told(flow: &Flow) -> Flow {
    let answers = flow.answers.filter(|opening| answers(&flow.packet, opening));
    Flow { answers, ..*flow }
}

impl Matter<'_> {
    /// What the oracle says.
    pub fn oracle(&self, flow: &Flow) -> Judgement {
        let state = told(flow).answers.map_or(State::New, |opening| State::Established { opening });
        let (from, to) = (self.end(flow.from), self.end(flow.to));
        judge(self.tree, &from, &to, &flow.packet, state)
    }

    /// Whether the packet that `flow` answers opens a connection.
    pub fn opens(&self, flow: &Flow) -> bool {
        let (from, to) = (flow.to, flow.from);
        flow.answers.is_some_and(|packet| {
            self.oracle(&Flow { from, to, packet, answers: None, ..*flow }).stateful
        })
    }

    /// What the rule table says.
    pub fn table(&self, flow: &Flow) -> Verdict {
        let (from, to) = (self.end(flow.from), self.end(flow.to));
        ask_table(self.table, (&from).into(), (&to).into(), &flow.packet, told(flow).answers)
    }

    /// What a plane has to say; `None` where it cannot be asked.
    pub fn expected(&self, flow: &Flow) -> Option<Opinion> {
        let case = self.seats.case(flow)?;
        Some(case.as_a_plane_says(self.table(flow).into()))
    }

    fn end(&self, group: usize) -> Endpoint {
        Endpoint::of(self.dn(group))
    }

    fn dn(&self, group: usize) -> &str {
        self.groups.get(group).map_or("", String::as_str)
    }

    /// Puts `flow` before all judges: what they said, if it was not the same. An error is a plane
    /// that could not be asked.
    pub fn put(
        &self,
        planes: &mut [&mut dyn Plane],
        flow: &Flow,
        known: Known,
    ) -> Result<Option<Dissent>, String> {
        let (oracle, table) = (self.oracle(flow), self.table(flow));
        let mut agree = same(&oracle, &table, self.table);
        let mut said = Vec::new();
        // What the sender's host does not route never comes to another.
        let stays = flow.route == Route::In && table.reason == Reason::NotRouted;
        let case = self.seats.case(flow).filter(|_| !stays);
        let expected = case.as_ref().map(|case| case.as_a_plane_says(table.into()));
        if let Some(case) = &case {
            for plane in planes.iter_mut().filter(|plane| plane.carries(case)) {
                if known == Known::Nothing {
                    plane.forget()?;
                    if let Some(opening) = case.opening() {
                        plane.judge(&opening)?;
                    }
                }
                let opinion = plane.judge(case)?;
                agree &= Some(opinion) == expected;
                said.push((plane.name(), opinion));
            }
        }
        if agree {
            return Ok(None);
        }
        let origin = show_origin(&table, self.table);
        let title = self.title(flow, known);
        Ok(Some(Dissent { title, oracle, table, origin, expected, planes: said }))
    }

    fn title(&self, flow: &Flow, known: Known) -> String {
        let (from, to) = (self.dn(flow.from), self.dn(flow.to));
        let mut title = format!("{from} -> {to}  {}, {:?}", words(&flow.packet), flow.route);
        if let Some(opening) = &flow.answers {
            let since = if known == Known::WhatWas { " of before the change" } else { "" };
            title += &format!(", after {}{since}", words(opening));
        }
        title
    }
}

impl fmt::Display for Dissent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |opinion: &Opinion| {
            let rule = opinion.rule.map(|rule| format!(", by rule {rule}")).unwrap_or_default();
            format!("{}{rule}", opinion.reason)
        };
        writeln!(f, "{}", self.title)?;
        writeln!(f, "  oracle:       {}", show_judgement(&self.oracle))?;
        write!(f, "  rule table:   {}, by {}", show_verdict(&self.table), self.origin)?;
        for (name, opinion) in &self.planes {
            let wrong = if Some(*opinion) == self.expected { "" } else { "   <-- differs" };
            write!(f, "\n  {:13} {}{wrong}", format!("{name}:"), show(opinion))?;
        }
        match &self.expected {
            Some(expected) => write!(f, "\n  a plane must say: {}", show(expected)),
            None => Ok(()),
        }
    }
}
