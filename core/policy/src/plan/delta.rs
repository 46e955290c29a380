//! What becomes of the packets between two classes when their rules change, exactly.
//!
//! Only packets that some rule of the difference matches can change their verdict: for any other the
//! rules that match are the same before and after, in the same order. So the space to be taken apart
//! is the union of those rules, however many there are beside them.

use std::collections::{BTreeMap, HashSet};

use selvage_rules::{Action, EtherType, Match, Rule, RuleId, RuleSet, TcpFlags, Treatment};
use serde::{Deserialize, Serialize};

use super::cube::{Bytes, Cube, Layout, V4, V6, compact, disjoint};

/// What a change does to the traffic it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was permitted and will be denied.
    Loses,
    /// It was denied and will be permitted.
    Gains,
    /// It stays permitted, or denied, but differs in whether answers pass by the connection, in
    /// whether it is logged, or in how it is treated: the services it is sent through, its marks.
    Alters,
}

/// Which packets the network itself can carry from one group to another, whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carried {
    /// All: they share a bridge domain.
    All,
    /// IP: both bridge domains route.
    Ip,
    /// They are of two VRFs: IP of the families (bits as of cubes) that both are known by there, and
    /// that only if both bridge domains route.
    Across {
        /// Those families.
        families: u8,
        /// Both bridge domains route.
        routed: bool,
    },
    /// None.
    Nothing,
}

/// Who decides about a packet.
#[derive(Debug, Clone, Copy)]
pub enum Ruling<'t> {
    /// A group does not exist, or the two are in different VRFs.
    Absent,
    /// The network does not carry it.
    NotCarried,
    /// No rule matches.
    Nobody,
    /// A rule.
    By(&'t Rule),
}

/// What is done with a packet, authors aside.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Effect {
    action: Action,
    stateful: bool,
    log: bool,
    treatment: Treatment,
}

impl Effect {
    fn passes(self) -> bool {
        self.action != Action::Deny
    }
}

impl<'t> Ruling<'t> {
    fn effect(self) -> Effect {
        match self {
            Ruling::By(rule) => {
                let stateful = rule.action != Action::Deny && rule.stateful;
                let Rule { action, log, treatment, .. } = *rule;
                Effect { action, stateful, log, treatment }
            }
            _ => Effect {
                action: Action::Deny,
                stateful: false,
                log: false,
                treatment: Treatment::default(),
            },
        }
    }

    /// The rule that decides.
    pub fn rule(self) -> Option<&'t Rule> {
        match self {
            Ruling::By(rule) => Some(rule),
            _ => None,
        }
    }

    /// What tells two rulings apart: which sort, and which rule.
    pub fn key(self) -> (u8, RuleId) {
        match self {
            Ruling::Absent => (0, RuleId(0)),
            Ruling::NotCarried => (1, RuleId(0)),
            Ruling::Nobody => (2, RuleId(0)),
            Ruling::By(rule) => (3, rule.id),
        }
    }
}

/// Packets that were decided about by one author and will be by another, and differently.
#[derive(Debug, Clone)]
pub struct Shift<'t> {
    /// What that does to them.
    pub kind: Kind,
    /// Who decided.
    pub before: Ruling<'t>,
    /// Who will decide.
    pub after: Ruling<'t>,
    /// Which packets.
    pub cubes: Vec<Cube>,
}

/// The rules from one class to another: of up to four lookups, most specific first.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'t> {
    /// What the network carries.
    pub carried: Carried,
    /// The sets found by [`selvage_rules::PairKey::lookups`].
    pub sets: [Option<&'t RuleSet>; 4],
}

/// A rule, and the lookup it was found by.
type Found<'t> = (usize, &'t Rule);

impl<'t> Rules<'t> {
    fn all(&self) -> impl Iterator<Item = Found<'t>> + use<'t> {
        let sets = self.sets.into_iter().enumerate();
        sets.flat_map(|(at, set)| {
            set.into_iter().flat_map(move |s| s.rules.iter().map(move |r| (at, r)))
        })
    }

    /// The rules in the order in which they decide: by priority, then by lookup, then as in their
    /// set. Says the same as [`selvage_rules::Table::deciding_rule`].
    pub(crate) fn in_order(&self) -> Vec<Found<'t>> {
        let mut all: Vec<Found<'t>> = self.all().collect();
        all.sort_by_key(|(_, rule)| rule.priority);
        all
    }

    /// Takes packets apart by who decides about them.
    pub fn split(&self, packets: Vec<Cube>) -> Vec<(Cube, Ruling<'t>)> {
        let mut done = Vec::new();
        let mut left = packets;
        if self.carried != Carried::All {
            let mut carried = Vec::new();
            for cube in left {
                let [passes, barred, unknown] = parts(cube, self.carried);
                carried.extend(passes);
                done.extend(barred.map(|cube| (cube, Ruling::NotCarried)));
                done.extend(unknown.map(|cube| (cube, Ruling::Absent)));
            }
            left = carried;
        }
        for (_, rule) in self.in_order() {
            if left.is_empty() {
                break;
            }
            for matched in Cube::matching(&rule.matches) {
                let mut rest = Vec::with_capacity(left.len());
                for cube in left {
                    done.extend(cube.meet(&matched).map(|part| (part, Ruling::By(rule))));
                    cube.minus(&matched, &mut rest);
                }
                left = rest;
            }
        }
        done.extend(left.into_iter().map(|cube| (cube, Ruling::Nobody)));
        done
    }
}

/// What of a cube the network carries, what it would if it routed, and what it knows nothing of.
fn parts(cube: Cube, carried: Carried) -> [Option<Cube>; 3] {
    let is_ip = !matches!(cube.layout, Layout::Arp | Layout::Frame);
    match carried {
        Carried::All => [Some(cube), None, None],
        Carried::Ip if is_ip => [Some(cube), None, None],
        Carried::Ip | Carried::Nothing => [None, Some(cube), None],
        Carried::Across { .. } if !is_ip => [None, None, Some(cube)],
        Carried::Across { families, routed } => {
            let of = |families: u8| {
                let part = Cube { families: cube.families & families, ..cube };
                Some(part).filter(|part| part.families != 0)
            };
            let (known, unknown) = (of(families), of(!families));
            if routed { [known, None, unknown] } else { [None, known, unknown] }
        }
    }
}

/// What of a cube the network carries.
pub fn carried_part(cube: Cube, carried: Carried) -> Option<Cube> {
    let [part, ..] = parts(cube, carried);
    part
}

/// Everything that changes between two classes. `None` is where there is no such pair: a group does
/// not exist, or the two are in different VRFs. Ordered, in as few cubes as are found.
pub fn delta<'t>(before: Option<Rules<'t>>, after: Option<Rules<'t>>) -> Vec<Shift<'t>> {
    let region = disjoint(suspects(before, after).iter().flat_map(Cube::matching));
    let split = |rules: Option<Rules<'t>>, packets: Vec<Cube>| match rules {
        Some(rules) => rules.split(packets),
        None => packets.into_iter().map(|cube| (cube, Ruling::Absent)).collect(),
    };
    let mut shifts: BTreeMap<_, Shift<'t>> = BTreeMap::new();
    for (part, was) in split(before, region) {
        for (cube, will) in split(after, vec![part]) {
            let Some(kind) = kind(was.effect(), will.effect()) else { continue };
            let fresh = || Shift { kind, before: was, after: will, cubes: Vec::new() };
            let key = (kind, was.key(), will.key());
            shifts.entry(key).or_insert_with(fresh).cubes.push(cube);
        }
    }
    let mut shifts: Vec<Shift<'t>> = shifts.into_values().collect();
    for shift in &mut shifts {
        shift.cubes = compact(std::mem::take(&mut shift.cubes));
    }
    shifts
}

fn kind(before: Effect, after: Effect) -> Option<Kind> {
    match (before.passes(), after.passes()) {
        _ if before == after => None,
        (true, false) => Some(Kind::Loses),
        (false, true) => Some(Kind::Gains),
        _ => Some(Kind::Alters),
    }
}

/// What the rules match that are not in force alike on both sides. What no rule matches is denied
/// alike everywhere.
fn suspects(before: Option<Rules<'_>>, after: Option<Rules<'_>>) -> Vec<Match> {
    let all = |rules: Option<Rules<'_>>| -> Vec<(usize, Rule)> {
        let rules = rules.into_iter().flat_map(|rules| rules.all());
        rules.map(|(at, rule)| (at, rule.clone())).collect()
    };
    let alike = before.map(|rules| rules.carried) == after.map(|rules| rules.carried);
    let (was, will) = (all(before), all(after));
    let (a, b): (HashSet<_>, HashSet<_>) = (was.iter().collect(), will.iter().collect());
    let differs = |found: &&(usize, Rule)| !(alike && a.contains(found) && b.contains(found));
    let mut matches: Vec<Match> =
        was.iter().chain(&will).filter(differs).map(|(_, rule)| rule.matches).collect();
    matches.sort_unstable();
    matches.dedup();
    matches
}

/// Whether every packet of `cubes`, turned round as an answer, would be permitted by a stateful rule
/// of `rules`: then the packets themselves still pass, as answers to connections.
pub fn are_answers(cubes: &[Cube], rules: Rules<'_>) -> bool {
    let syn = Bytes::these(&[TcpFlags::SYN.0]);
    let opening = |cube: &Cube| match cube.layout {
        Layout::Tcp => Some(Cube { x: cube.y, y: cube.x, flags: syn, ..*cube }),
        Layout::Ports => Some(Cube { x: cube.y, y: cube.x, ..*cube }),
        _ => None,
    };
    let openings: Option<Vec<Cube>> = cubes.iter().map(opening).collect();
    openings.is_some_and(|openings| {
        let parts = rules.split(openings);
        !parts.is_empty() && parts.iter().all(|(_, ruling)| ruling.effect().stateful)
    })
}

/// Whether the network carries frames of this Ethernet type.
pub fn carries(carried: Carried, ether: EtherType) -> bool {
    match carried {
        Carried::All => true,
        Carried::Ip => ether.is_ip(),
        Carried::Across { families, routed } => {
            let family = match ether {
                EtherType::IPV4 => V4,
                EtherType::IPV6 => V6,
                _ => 0,
            };
            routed && families & family != 0
        }
        Carried::Nothing => false,
    }
}
