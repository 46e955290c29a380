//! The connection first, then the rules: the stages from [`Stage::Track`] to [`Stage::PairAny`],
//! [`Stage::Forward`], [`Stage::Commit`] and [`Stage::Permit`].
//!
//! 1. An answer passes if the packet that opened the connection would open it now, between the
//!    classes its ends have now ([`Stage::Reply`]). So tracking never allows what the rules deny, and
//!    a revocation cuts the flows it is about at their next packet.
//! 2. Everything else is judged by the rules; a permit by a stateful rule keeps the connection.
//!
//! Fragments are judged by the rules alone: the tracker would hold them back until all are there.

use std::collections::{BTreeMap, BTreeSet};

use selvage_rules::{ClassId, Desired, Reason, ScopeId};

use super::{Lowered, ipv4, ipv6};
use crate::events::tell;
use crate::openflow::{Action, Bits, Ct, Field, Match, Zone, ct_state};
use crate::tables::{Stage, cookie, flag, reg, turn_classes};

const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

pub(super) fn fill(desired: &Desired, zones: &BTreeMap<ScopeId, u16>, lowered: &mut Lowered) {
    let stateful = stateful_scopes(desired);
    let zones: Vec<(ScopeId, u16)> = zones
        .iter()
        .map(|(scope, zone)| (*scope, *zone))
        .filter(|(s, _)| stateful.contains(s))
        .collect();
    track(&zones, lowered);
    state(lowered);
    pairs(desired, lowered);
    commit(&zones, lowered);
    permit(lowered);
}

/// VRFs in which some rule is stateful: others need no tracker.
fn stateful_scopes(desired: &Desired) -> BTreeSet<ScopeId> {
    let table = &desired.table;
    let is_stateful = |set: &selvage_rules::RuleSet| set.rules.iter().any(|rule| rule.stateful);
    let sets: BTreeSet<_> =
        table.rule_sets.iter().filter(|(_, set)| is_stateful(set)).map(|(id, _)| *id).collect();
    let pairs = table.pairs.iter().filter(|(_, id)| sets.contains(id));
    pairs.map(|(key, _)| key.scope).collect()
}

fn track(zones: &[(ScopeId, u16)], lowered: &mut Lowered) {
    for (scope, zone) in zones {
        for family in [ipv4(), ipv6()] {
            let whole = family.with(reg::SCOPE, scope.0).with(Field::IpFrag, 0_u8);
            let ct = Ct {
                zone: Zone::Number(*zone),
                table: Some(Stage::State.table()),
                ..Ct::default()
            };
            lowered.add(Stage::Track, 10, whole, vec![Action::Ct(ct)]);
        }
    }
    lowered.add(Stage::Track, 0, Match::any(), vec![Stage::Forward.goto()]);
}

/// A pure SYN or an echo request is a question of its own, and asked of the rules, even where the
/// other side has a connection with the same ports.
fn state(lowered: &mut Lowered) {
    use ct_state::{EST, INV, REL, RPL, TRK};
    let forward = || vec![Stage::Forward.goto()];
    for family in [ipv4(), ipv6()] {
        let tcp = family.with(Field::IpProto, 6_u8);
        let syn = tcp.masked(Field::TcpFlags, SYN, SYN | ACK | RST);
        lowered.add(Stage::State, 30, syn, forward());
    }
    for question in echo_requests() {
        lowered.add(Stage::State, 30, question, forward());
    }
    for family in [ipv4(), ipv6()] {
        let answer = family.masked(Field::CtState, TRK | EST | RPL, TRK | EST | RPL | INV | REL);
        let mut actions = turn_classes();
        actions.extend(look_up());
        actions.push(Stage::Reply.goto());
        lowered.add(Stage::State, 20, answer, actions);
    }
    lowered.add(Stage::State, 0, Match::any(), forward());
    lowered.add(Stage::Reply, 0, Match::any(), then(turn_classes(), Stage::Forward.goto()));
    lowered.add(Stage::Forward, 0, Match::any(), then(look_up(), Stage::Rules.goto()));
}

fn echo_requests() -> [Match; 2] {
    [
        ipv4().with(Field::IpProto, 1_u8).with(Field::Icmpv4Type, 8_u8),
        ipv6().with(Field::IpProto, 58_u8).with(Field::Icmpv6Type, 128_u8),
    ]
}

fn then(mut actions: Vec<Action>, last: Action) -> Vec<Action> {
    actions.push(last);
    actions
}

/// The at most four rule sets between the two classes.
fn look_up() -> Vec<Action> {
    vec![
        Stage::PairExact.call(),
        Stage::PairSource.call(),
        Stage::PairDestination.call(),
        Stage::PairAny.call(),
    ]
}

fn pairs(desired: &Desired, lowered: &mut Lowered) {
    let table = &desired.table;
    let installed = table
        .pairs
        .iter()
        .filter(|(_, id)| table.rule_sets.get(id).is_some_and(|set| !set.rules.is_empty()));
    for (key, id) in installed {
        let mut matches = Match::any().with(reg::SCOPE, key.scope.0);
        if key.src != ClassId::ANY {
            matches = matches.with(reg::SRC, u32::from(key.src.0));
        }
        if key.dst != ClassId::ANY {
            matches = matches.with(reg::DST, u32::from(key.dst.0));
        }
        let slot = Slot::of(key.src == ClassId::ANY, key.dst == ClassId::ANY);
        lowered.add(slot.stage(), 10, matches, vec![Action::set(slot.register(), id.0)]);
    }
    // What an earlier question has left.
    for slot in Slot::ALL {
        let none = vec![Action::set(slot.register(), 0_u32)];
        lowered.add(slot.stage(), 0, Match::any(), none);
    }
}

/// One of the four lookups, the most specific first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Exact,
    Source,
    Destination,
    Any,
}

impl Slot {
    pub(super) const ALL: [Slot; 4] = [Slot::Exact, Slot::Source, Slot::Destination, Slot::Any];

    pub(super) fn of(src_is_any: bool, dst_is_any: bool) -> Slot {
        match (src_is_any, dst_is_any) {
            (false, false) => Slot::Exact,
            (false, true) => Slot::Source,
            (true, false) => Slot::Destination,
            (true, true) => Slot::Any,
        }
    }

    pub(super) fn register(self) -> Field {
        match self {
            Slot::Exact => reg::SET_EXACT,
            Slot::Source => reg::SET_SOURCE,
            Slot::Destination => reg::SET_DESTINATION,
            Slot::Any => reg::SET_ANY,
        }
    }

    fn stage(self) -> Stage {
        match self {
            Slot::Exact => Stage::PairExact,
            Slot::Source => Stage::PairSource,
            Slot::Destination => Stage::PairDestination,
            Slot::Any => Stage::PairAny,
        }
    }
}

/// Keeps what begins, with its code point, which rules may ask for again; what is the other way round from a connection that is kept begins it anew. An
/// answer to an echo opens nothing, and an ICMP error belongs to somebody else's connection.
fn commit(zones: &[(ScopeId, u16)], lowered: &mut Lowered) {
    use ct_state::{EST, INV, NEW, RPL, TRK};
    let goes_on = || vec![Stage::Permit.goto()];
    for (scope, zone) in zones {
        let tracked = |matches: Match, state: u32, mask: u32| {
            matches.with(reg::SCOPE, scope.0).masked(Field::CtState, state, mask)
        };
        let keep = |force: bool| {
            let exec = vec![Action::Move {
                from: Bits::all(Field::IpDscp),
                to: Bits::of(Field::CtMark, 0, 6),
            }];
            let ct = Ct { commit: true, force, zone: Zone::Number(*zone), exec, ..Ct::default() };
            vec![Action::Ct(ct), Stage::Permit.goto()]
        };
        for request in echo_requests() {
            let new = tracked(request, TRK | NEW, TRK | NEW | INV);
            lowered.add(Stage::Commit, 30, new, keep(false));
        }
        for family in [ipv4(), ipv6()] {
            let new = tracked(family.clone(), TRK | NEW, TRK | NEW | INV);
            lowered.add(Stage::Commit, 10, new, keep(false));
            let other_way = tracked(family, TRK | EST | RPL, TRK | EST | RPL | INV);
            lowered.add(Stage::Commit, 10, other_way, keep(true));
        }
    }
    for icmp in [ipv4().with(Field::IpProto, 1_u8), ipv6().with(Field::IpProto, 58_u8)] {
        lowered.add(Stage::Commit, 20, icmp, goes_on());
    }
    lowered.add(Stage::Commit, 0, Match::any(), goes_on());
}

/// One flow for each reason to permit. Its counters count what passes.
fn permit(lowered: &mut Lowered) {
    for reason in Reason::ALL.iter().filter(|reason| reason.is_allow()) {
        let matches = Match::any().with(reg::REASON, *reason as u32);
        let logged = matches.clone().masked(reg::FLAGS, flag::LOG, flag::LOG);
        let counted = cookie::reason(*reason);
        lowered.add_as(
            counted,
            Stage::Permit,
            20,
            logged,
            vec![tell(*reason), Stage::Deliver.goto()],
        );
        lowered.add_as(counted, Stage::Permit, 10, matches, vec![Stage::Deliver.goto()]);
    }
}
