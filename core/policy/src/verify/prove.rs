//! Looking for the packet that shows an assertion false.

use std::collections::HashSet;

use selvage_model::Dn;
use selvage_rules::{Action, Prefix, Reason, Verdict};

use super::ends::{self, End, Members};
use super::read::{Allowed, Assertion, Claim};
use super::traffic::{self, Traffic};
use super::{Counterexample, Point};
use crate::plan::cube::{Cube, compact, without};
use crate::plan::delta::Ruling;
use crate::plan::witness;
use crate::reach::{Key, Reach, Seat, passes};
use crate::trace;

/// Why an assertion does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// A packet shows it.
    By(Box<Counterexample>),
    /// A group that must be reachable or reach is in quarantine.
    Quarantined(Dn),
}

impl Broken {
    /// The packet.
    pub fn shown(self) -> Option<Counterexample> {
        match self {
            Broken::By(found) => Some(*found),
            Broken::Quarantined(_) => None,
        }
    }
}

type Found = Result<(), Broken>;

/// The first packet, by the order of seats, that fares otherwise than asserted.
pub(super) fn counterexample(reach: &Reach<'_>, assertion: &Assertion) -> Found {
    let prover = Prover { reach };
    match &assertion.claim {
        Claim::Reachable { from, to, traffic, answers } => {
            prover.reachable(from, to, traffic, *answers)
        }
        Claim::Unreachable { from, to, traffic } => {
            // Wherever outside is: what a VRF shares with another is reached there.
            let everywhere = reach.compiled.table.outside.keys().copied().collect();
            let [senders, receivers] = [from, to].map(|ends| ends::seats(reach, ends, &everywhere));
            prover.nothing(&senders, &receivers, |_, _| traffic.cubes.clone())
        }
        Claim::Only { from, to, traffic } => prover.only(from, to, traffic),
        Claim::Isolated { group, allowed } => prover.isolated(group, allowed),
    }
}

struct Prover<'r, 'c> {
    reach: &'r Reach<'c>,
}

impl Prover<'_, '_> {
    /// The seats of both ends. Outside counts in the VRFs of the other end, and in those it leads out
    /// of for others.
    fn ends(&self, from: &[End], to: &[End]) -> (Vec<Seat>, Vec<Seat>) {
        let scopes = |ends| ends::scopes(self.reach, ends);
        let (here, there) = (scopes(from), scopes(to));
        (ends::seats(self.reach, from, &there), ends::seats(self.reach, to, &here))
    }

    fn reachable(&self, from: &[End], to: &[End], traffic: &Traffic, answers: bool) -> Found {
        let lost = [from, to].into_iter().find_map(|ends| ends::quarantined(self.reach, ends));
        if let Some(group) = lost {
            return Err(Broken::Quarantined(group));
        }
        let (senders, receivers) = self.ends(from, to);
        let mut known: HashSet<(Key, Key, u8, u8)> = HashSet::new();
        for (from, to) in pairs(&senders, &receivers) {
            // What passed between one such pair passes between all that have the same rules.
            let keys = (self.reach.key(from, to), self.reach.key(to, from));
            let families = (from.families(), to.families());
            if !known.insert((keys.0, keys.1, families.0, families.1)) {
                continue;
            }
            self.all_passes(from, to, &traffic.cubes, answers)?;
        }
        Ok(())
    }

    fn all_passes(&self, from: &Seat, to: &Seat, cubes: &[Cube], answers: bool) -> Found {
        let parts = self.reach.split(from, to, cubes);
        for (cube, ruling) in &parts {
            if !passes(*ruling) {
                return self.shown(from, to, *cube, *ruling, false);
            }
        }
        for (cube, ruling) in parts.iter().filter(|_| answers) {
            if ruling.rule().is_some_and(|rule| rule.stateful) {
                continue;
            }
            let Some(reply) = traffic::reply(cube) else { continue };
            for (cube, ruling) in self.reach.split(to, from, &[reply]) {
                if !passes(ruling) {
                    return self.shown(to, from, cube, ruling, true);
                }
            }
        }
        Ok(())
    }

    fn only(&self, from: &[End], to: &[End], traffic: &Traffic) -> Found {
        let (_, receivers) = self.ends(from, to);
        let [allowed, ours] = [from, to].map(|ends| Members::new(self.reach, ends));
        let cuts = [allowed.prefixes(), ours.prefixes()].concat();
        let mut others = self.reach.everybody(&cuts);
        others.retain(|seat| !allowed.has(seat) && !ours.has(seat));
        self.nothing(&others, &receivers, |_, _| traffic.cubes.clone())
    }

    fn isolated(&self, group: &[End], allowed: &[Allowed]) -> Found {
        let open: Vec<Open> = allowed
            .iter()
            .map(|one| Open {
                peers: Members::new(self.reach, &one.peer),
                ways: match one.peer_asks {
                    true => [one.traffic.cubes.clone(), one.traffic.answers()],
                    false => [one.traffic.answers(), one.traffic.cubes.clone()],
                },
            })
            .collect();
        let inside = Members::new(self.reach, group);
        let named = open.iter().map(|open| &open.peers).chain([&inside]);
        let cuts: Vec<Prefix> = named.flat_map(|m| m.prefixes().iter().copied()).collect();
        let everybody = self.reach.everybody(&cuts);
        let (ours, others): (Vec<Seat>, Vec<Seat>) =
            everybody.into_iter().partition(|seat| inside.has(seat));
        let left = |peer: &Seat, way: usize| {
            let mut left = Cube::space().to_vec();
            for open in open.iter().filter(|open| open.peers.has(peer)) {
                left = without(&left, open.ways.get(way).map(Vec::as_slice).unwrap_or_default());
            }
            left
        };
        self.nothing(&others, &ours, |peer, _| left(peer, 0))?;
        self.nothing(&ours, &others, |_, peer| left(peer, 1))
    }

    /// That nothing of what `cubes` says of each pair passes.
    fn nothing(
        &self,
        senders: &[Seat],
        receivers: &[Seat],
        cubes: impl Fn(&Seat, &Seat) -> Vec<Cube>,
    ) -> Found {
        let sorted = self.reach.sorted(receivers.iter().cloned());
        let mut known: HashSet<(Key, u8, Vec<Cube>)> = HashSet::new();
        for from in senders {
            for to in self.reach.receivers(from, &sorted) {
                let key = self.reach.key(from, to);
                if key.is_none() || from.is_of_the_group_of(to) && !same(senders, receivers) {
                    continue;
                }
                let cubes = cubes(from, to);
                let families = from.families() & to.families();
                if !known.insert((key, families, cubes.clone())) {
                    continue;
                }
                let parts = self.reach.split(from, to, &cubes);
                if let Some((cube, ruling)) = parts.into_iter().find(|(_, ruling)| passes(*ruling))
                {
                    return self.shown(from, to, cube, ruling, false);
                }
            }
        }
        Ok(())
    }

    fn shown(
        &self,
        from: &Seat,
        to: &Seat,
        cube: Cube,
        ruling: Ruling<'_>,
        is_answer: bool,
    ) -> Found {
        let Some(packet) = witness(&compact(vec![cube])) else { return Ok(()) };
        let meets = self.reach.meet(from, to, packet.ether);
        let (verdict, chain) = (verdict(from, to, meets, ruling), self.chain(from, to, ruling));
        let group = |seat: &Seat| seat.group.as_ref().map(|dn| dn.to_string());
        let blame = match &chain {
            Some(chain) => {
                let more = [&chain.entry, &chain.provider, &chain.consumer];
                let more = more.into_iter().flatten().map(Dn::to_string);
                std::iter::once(chain.subject.clone()).chain(more).collect()
            }
            None => [from, to].into_iter().filter_map(group).collect(),
        };
        let point = |seat: &Seat| Point { group: group(seat), address: seat.address() };
        let (from, to) = (point(from), point(to));
        let found = Counterexample { from, to, packet, is_answer, verdict, chain, blame };
        Err(Broken::By(Box::new(found)))
    }

    fn chain(&self, from: &Seat, to: &Seat, ruling: Ruling<'_>) -> Option<trace::Chain> {
        let dn = |seat: &Seat| seat.group.as_ref()?.parse::<Dn>().ok();
        trace::chain(self.reach.compiled, ruling.rule()?.id, &dn(from)?, &dn(to)?)
    }
}

/// What an allowance leaves open: for whom, from them, and to them.
struct Open {
    peers: Members,
    ways: [Vec<Cube>; 2],
}

/// Every sender with every receiver; a group with itself only where both ends are that one group.
fn pairs<'s>(
    senders: &'s [Seat],
    receivers: &'s [Seat],
) -> impl Iterator<Item = (&'s Seat, &'s Seat)> {
    let itself = same(senders, receivers);
    let all = senders.iter().flat_map(move |from| receivers.iter().map(move |to| (from, to)));
    all.filter(move |(from, to)| itself || !from.is_of_the_group_of(to))
}

fn same(senders: &[Seat], receivers: &[Seat]) -> bool {
    senders.len() == 1 && senders == receivers
}

/// What a host would say of a packet.
fn verdict(from: &Seat, to: &Seat, meets: bool, ruling: Ruling<'_>) -> Verdict {
    let denied = |reason| Verdict { reason, ..Verdict::IMPLICIT_DENY };
    match ruling {
        Ruling::Absent if from.group.is_none() => denied(Reason::UnknownSource),
        Ruling::Absent => denied(Reason::UnknownDestination),
        Ruling::NotCarried if !meets => denied(Reason::UnknownDestination),
        Ruling::NotCarried if from.address().is_some() || to.address().is_some() => {
            denied(Reason::UnknownDestination)
        }
        Ruling::NotCarried => denied(Reason::NotRouted),
        Ruling::Nobody => Verdict::IMPLICIT_DENY,
        Ruling::By(rule) => Verdict {
            action: rule.action,
            reason: if rule.action == Action::Deny { Reason::Denied } else { rule.reason },
            rule: Some(rule.id),
            stateful: rule.stateful && rule.action != Action::Deny,
            log: rule.log,
        },
    }
}
