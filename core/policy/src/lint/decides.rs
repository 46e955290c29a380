//! Which entries decide about a packet at all, and which of those would not be missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{Action, Rule, RuleId, Treatment};

use super::{Code, Finding, finding};
use crate::plan::cube::{Cube, without};
use crate::plan::delta::carried_part;
use crate::reach::{Key, Reach, Seat};
use crate::trace::name;

/// One entry where a subject uses it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Clause {
    pub subject: Arc<str>,
    pub entry: Arc<str>,
}

/// The rules between some pair of seats, in the order in which they decide; all pairs of seats with
/// the same rules are one cell.
#[derive(Debug)]
pub(super) struct Cell<'c> {
    rules: Vec<&'c Rule>,
    /// The packets that can get across at all.
    space: Vec<Cube>,
    /// Two such seats.
    pub from: Seat,
    /// The receiver.
    pub to: Seat,
}

/// Every distinct cell of a policy, and what each clause does there.
#[derive(Debug)]
pub(super) struct Cells<'c> {
    cells: Vec<Cell<'c>>,
    clause_of: BTreeMap<RuleId, Clause>,
    /// Cells in which a clause has a rule.
    places: BTreeMap<Clause, BTreeSet<usize>>,
}

/// What is done with a packet, authors aside.
#[derive(PartialEq, Eq)]
struct Effect {
    action: Action,
    stateful: bool,
    log: bool,
    treatment: Treatment,
}

impl<'c> Cells<'c> {
    pub fn new(reach: &Reach<'c>) -> Cells<'c> {
        let everybody = reach.everybody(&[]);
        let receivers = reach.sorted(everybody.iter().cloned());
        let mut distinct: BTreeMap<(Key, u8), (&Seat, &Seat)> = BTreeMap::new();
        for from in &everybody {
            for to in reach.receivers(from, &receivers) {
                let key = reach.key(from, to);
                if key.is_some() {
                    let families = from.families() & to.families();
                    distinct.entry((key, families)).or_insert((from, to));
                }
            }
        }
        let cells = distinct.into_iter().filter_map(|((key, _), (from, to))| {
            let rules = reach.rules(key)?;
            let space = to.part_of(&from.part_of(Cube::space())).into_iter();
            let space = space.filter_map(|cube| carried_part(cube, rules.carried)).collect();
            let rules = rules.in_order().into_iter().map(|(_, rule)| rule).collect();
            Some(Cell { rules, space, from: from.clone(), to: to.clone() })
        });
        let cells: Vec<Cell<'c>> = cells.collect();
        let origins = reach.compiled.table.origins.iter();
        let clause_of: BTreeMap<RuleId, Clause> = origins
            .filter(|(_, origin)| !origin.entry.is_empty())
            .map(|(id, origin)| {
                let (subject, entry) = (origin.dn.clone(), origin.entry.clone());
                (*id, Clause { subject, entry })
            })
            .collect();
        let mut places: BTreeMap<Clause, BTreeSet<usize>> = BTreeMap::new();
        for (at, cell) in cells.iter().enumerate() {
            for clause in cell.rules.iter().filter_map(|rule| clause_of.get(&rule.id)) {
                places.entry(clause.clone()).or_default().insert(at);
            }
        }
        Cells { cells, clause_of, places }
    }

    /// Clauses that decide about nothing, and those that would not be missed.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let (mut gone, mut shadowed) = (BTreeSet::new(), BTreeSet::new());
        for clause in self.places.keys() {
            if self.cells_of(clause).any(|cell| !self.decided(cell, clause, &gone).is_empty()) {
                continue;
            }
            let (covers, alike) = (self.covers(clause), self.is_alike(clause));
            found.extend(silent(clause, &covers, alike, &self.names(&covers)));
            // One that other rules contradict stays: what shadows it is not in vain.
            if alike || covers.is_empty() {
                gone.insert(clause);
            } else {
                shadowed.insert(clause);
            }
        }
        for clause in self.places.keys() {
            let known = gone.contains(clause) || shadowed.contains(clause);
            if known || !self.would_not_be_missed(clause, &gone) {
                continue;
            }
            found.extend(self.redundant(clause, &gone));
            gone.insert(clause);
        }
        found
    }

    /// Cells in which a rule decides about packets: the rule, a cell, and which.
    pub fn deciding(&self) -> impl Iterator<Item = (&'c Rule, &Cell<'c>, Vec<Cube>)> {
        self.cells.iter().flat_map(|cell| {
            let rules = cell.rules.iter().enumerate();
            rules.map(move |(at, rule)| (*rule, cell, cell.left_for(at, |_| true)))
        })
    }

    fn cells_of(&self, clause: &Clause) -> impl Iterator<Item = &Cell<'c>> {
        let places = self.places.get(clause).into_iter().flatten();
        places.filter_map(|at| self.cells.get(*at))
    }

    fn is_of(&self, rule: &Rule, clause: &Clause) -> bool {
        self.clause_of.get(&rule.id) == Some(clause)
    }

    /// What `clause` decides about in a cell, if the clauses of `gone` were not there.
    fn decided(
        &self,
        cell: &Cell<'c>,
        clause: &Clause,
        gone: &BTreeSet<&Clause>,
    ) -> Vec<(&'c Rule, Vec<Cube>)> {
        let stays = |rule: &Rule| !self.clause_of.get(&rule.id).is_some_and(|of| gone.contains(of));
        let ours = cell.rules.iter().enumerate().filter(|(_, rule)| self.is_of(rule, clause));
        let left = ours.map(|(at, rule)| (*rule, cell.left_for(at, stays)));
        left.filter(|(_, cubes)| !cubes.is_empty()).collect()
    }

    /// The rules that decide about the packets that a clause matches, wherever it stands.
    fn covers(&self, clause: &Clause) -> BTreeSet<RuleId> {
        let mut by = BTreeSet::new();
        for cell in self.cells_of(clause) {
            for rule in cell.rules.iter().filter(|rule| self.is_of(rule, clause)) {
                by.extend(
                    cell.split(&cell.matched(rule), |_| true)
                        .into_iter()
                        .filter_map(|(_, r)| r.map(|rule| rule.id)),
                );
            }
        }
        by
    }

    /// Whether everything that a clause matches fares as it says, by other rules.
    fn is_alike(&self, clause: &Clause) -> bool {
        self.cells_of(clause).all(|cell| {
            let ours = cell.rules.iter().filter(|rule| self.is_of(rule, clause));
            ours.into_iter().all(|rule| {
                let parts = cell.split(&cell.matched(rule), |_| true);
                parts.into_iter().all(|(_, by)| effect(by) == effect(Some(rule)))
            })
        })
    }

    /// Whether everything that a clause decides about would fare the same without it.
    fn would_not_be_missed(&self, clause: &Clause, gone: &BTreeSet<&Clause>) -> bool {
        let stays = |rule: &Rule| {
            let of = self.clause_of.get(&rule.id);
            !of.is_some_and(|of| of == clause || gone.contains(of))
        };
        self.cells_of(clause).all(|cell| {
            self.decided(cell, clause, gone).into_iter().all(|(rule, cubes)| {
                let parts = cell.split(&cubes, stays);
                parts.into_iter().all(|(_, by)| effect(by) == effect(Some(rule)))
            })
        })
    }

    fn redundant(&self, clause: &Clause, gone: &BTreeSet<&Clause>) -> Option<Finding> {
        let mut by: BTreeSet<RuleId> = BTreeSet::new();
        for cell in self.cells_of(clause) {
            for (_, cubes) in self.decided(cell, clause, gone) {
                let stays = |rule: &Rule| !self.is_of(rule, clause);
                by.extend(cell.split(&cubes, stays).into_iter().filter_map(|(_, r)| Some(r?.id)));
            }
        }
        let (subject, entry) = dns(clause)?;
        let others = self.names(&by);
        let text = if others.is_empty() {
            format!("what {} denies, nothing allows anyway", what(clause))
        } else {
            format!("everything would fare the same without {}, by {others}", what(clause))
        };
        let mend =
            format!("take it out of subject `{}`, or leave it for the reader", name(&subject));
        Some(finding(Code::Redundant, &entry, Some(subject.as_str()), text, mend))
    }

    fn names(&self, rules: &BTreeSet<RuleId>) -> String {
        let clauses: BTreeSet<&Clause> =
            rules.iter().filter_map(|rule| self.clause_of.get(rule)).collect();
        listed(&clauses)
    }
}

impl<'c> Cell<'c> {
    /// The packets that can get across and that a rule matches.
    fn matched(&self, rule: &Rule) -> Vec<Cube> {
        let matching = Cube::matching(&rule.matches);
        self.space.iter().flat_map(|a| matching.iter().filter_map(|b| a.meet(b))).collect()
    }

    /// What is left for the rule at a place, of those rules before it that stay.
    fn left_for(&self, at: usize, stays: impl Fn(&Rule) -> bool) -> Vec<Cube> {
        let Some(rule) = self.rules.get(at) else { return Vec::new() };
        let mut left = self.matched(rule);
        for earlier in self.rules.iter().take(at).filter(|rule| stays(rule)) {
            if left.is_empty() {
                break;
            }
            left = without(&left, &Cube::matching(&earlier.matches));
        }
        left
    }

    /// Takes packets apart by the first rule, of those that stay, that matches.
    fn split(
        &self,
        packets: &[Cube],
        stays: impl Fn(&Rule) -> bool,
    ) -> Vec<(Cube, Option<&'c Rule>)> {
        let mut left = packets.to_vec();
        let mut parts = Vec::new();
        for rule in self.rules.iter().filter(|rule| stays(rule)) {
            if left.is_empty() {
                break;
            }
            let matching = Cube::matching(&rule.matches);
            let met = left.iter().flat_map(|a| matching.iter().filter_map(|b| a.meet(b)));
            parts.extend(met.map(|cube| (cube, Some(*rule))));
            left = without(&left, &matching);
        }
        parts.extend(left.into_iter().map(|cube| (cube, None)));
        parts
    }
}

fn effect(rule: Option<&Rule>) -> Effect {
    match rule {
        Some(rule) => Effect {
            action: rule.action,
            stateful: rule.stateful && rule.action != Action::Deny,
            log: rule.log,
            treatment: rule.treatment,
        },
        None => Effect {
            action: Action::Deny,
            stateful: false,
            log: false,
            treatment: Treatment::default(),
        },
    }
}

/// The finding about a clause that decides about nothing.
fn silent(clause: &Clause, covers: &BTreeSet<RuleId>, alike: bool, by: &str) -> Option<Finding> {
    let (subject, entry) = dns(clause)?;
    let code = match (covers.is_empty(), alike) {
        (true, _) => Code::NeverMatches,
        (false, true) => Code::Redundant,
        (false, false) => Code::Shadowed,
    };
    let text = match code {
        Code::NeverMatches => format!(
            "no packet that {} matches can get from one of its groups to another: they are in \
             different bridge domains, or outside",
            what(clause),
        ),
        Code::Redundant => format!("{} decides about nothing: {by} does the same", what(clause)),
        _ => {
            format!("{} decides about nothing: {by} decides before it, and otherwise", what(clause))
        }
    };
    let mend = match code {
        Code::Shadowed => "take it away, or rank it before what shadows it".to_owned(),
        _ => format!("take it out of subject `{}`", name(&subject)),
    };
    Some(finding(code, &entry, Some(subject.as_str()), text, mend))
}

fn dns(clause: &Clause) -> Option<(Dn, Dn)> {
    Some((clause.subject.parse().ok()?, clause.entry.parse().ok()?))
}

fn what(clause: &Clause) -> String {
    let Some((subject, entry)) = dns(clause) else { return clause.entry.to_string() };
    let contract = subject.parent().map(|dn| name(&dn).to_owned()).unwrap_or_default();
    format!("entry `{}` in subject `{contract}/{}`", name(&entry), name(&subject))
}

fn listed(clauses: &BTreeSet<&Clause>) -> String {
    const SHOWN: usize = 3;
    let names: Vec<String> = clauses.iter().take(SHOWN).map(|clause| what(clause)).collect();
    let more = clauses.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}
