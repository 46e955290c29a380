//! [`Desired`] to flows. Pure: no switch, no clock.
//!
//! Each part fills some stages of [`crate::tables`]. The flows of a bridge are a set: a flow's table,
//! priority and match are its identity, so what has changed is the difference of two sets.

mod deliver;
mod neighbour;
mod outside;
mod overlay;
mod place;
mod policy;
mod rules;
mod sender;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use selvage_agent::untreated::untreated;
use selvage_rules::{Desired, Mac, Reason, Revision, ScopeId};

use crate::events::tell;
use crate::openflow::{Action, Field, Flow, Match};
use crate::tables::{Stage, cookie, drop_for, reg};

pub use place::{Place, Places};

/// What lowering has to know of the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Numbers of ports by the interface index of the endpoint's link.
    pub ports: BTreeMap<u32, u32>,
    /// Number of the tunnel port.
    pub tunnel_port: u32,
    /// Numbers of the ports that lead to the host's own stack, by their VRF.
    pub exits: BTreeMap<ScopeId, u32>,
    /// This host's tunnel address.
    pub tunnel: IpAddr,
}

/// Rules do not fit into the priorities that a flow can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{need} steps of flow priority are needed, and there are {limit}")]
pub struct TooManyRules {
    /// How many there would have to be.
    pub need: u64,
    /// How many there are.
    pub limit: u64,
}

/// Everything a bridge is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lowered {
    /// The flows, by their identity.
    pub flows: BTreeMap<Key, Flow>,
    /// What cannot be enforced, in words; it denies.
    pub unsupported: Vec<String>,
}

/// A flow's identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    pub matches: Match,
}

impl Key {
    /// Of this flow.
    pub fn of(flow: &Flow) -> Key {
        Key { table: flow.table, priority: flow.priority, matches: flow.matches.clone() }
    }
}

/// The flows that enforce `desired`.
pub fn lower(desired: &Desired, bridge: &Bridge) -> Result<Lowered, TooManyRules> {
    let mut lowered = Lowered::default();
    let places = Places::of(desired, bridge, &mut lowered.unsupported);
    let zones = zones(desired);
    sender::fill(desired, bridge, &places, &mut lowered);
    neighbour::fill(&places, &mut lowered);
    deliver::fill(desired, bridge, &places, &mut lowered);
    overlay::fill(desired, bridge, &places, &mut lowered);
    outside::fill(desired, bridge, &places, &mut lowered);
    policy::fill(desired, &zones, &mut lowered);
    rules::fill(desired, &mut lowered)?;
    lowered.unsupported.extend(untreated(&desired.table, "ovs"));
    lowered.drops();
    lowered.mark(desired.revision);
    Ok(lowered)
}

impl Lowered {
    fn add(&mut self, stage: Stage, priority: u16, matches: Match, actions: Vec<Action>) {
        self.add_as(cookie::PLAIN, stage, priority, matches, actions);
    }

    fn add_as(
        &mut self,
        cookie: u64,
        stage: Stage,
        priority: u16,
        matches: Match,
        actions: Vec<Action>,
    ) {
        let flow =
            Flow { table: stage.table(), priority, cookie, matches, actions, ..Flow::default() };
        self.flows.insert(Key::of(&flow), flow);
    }

    /// One flow for each reason to drop. Its counters count the drops.
    fn drops(&mut self) {
        for reason in Reason::ALL.iter().filter(|reason| !reason.is_allow()) {
            let matches = Match::any().with(reg::REASON, *reason as u32);
            let actions = if reason.is_quiet() { Vec::new() } else { vec![tell(*reason)] };
            self.add_as(cookie::reason(*reason), Stage::Drop, 10, matches, actions);
        }
    }

    fn mark(&mut self, revision: Revision) {
        let cookie = cookie::PLAIN | (revision.0 & 0xff_ffff_ffff);
        self.add_as(cookie, Stage::Mark, 1, Match::any(), Vec::new());
    }
}

/// The revision that the cookie of the stage [`Stage::Mark`] tells.
pub fn revision_of(cookie: u64) -> Revision {
    Revision(cookie & 0xff_ffff_ffff)
}

/// Connection tracker zones by VRF: the upper half of them, since others who share the datapath
/// count from 1. Two VRFs whose numbers differ only above 15 bits take neighbouring zones.
pub(crate) fn zones(desired: &Desired) -> BTreeMap<ScopeId, u16> {
    let mut taken = BTreeSet::new();
    let mut zones = BTreeMap::new();
    for scope in desired.table.vrfs.keys() {
        let wish = (scope.0 & 0x7fff) as u16;
        let free = (0..0x8000_u16).map(|step| wish.wrapping_add(step) & 0x7fff);
        if let Some(zone) = free.into_iter().find(|zone| taken.insert(*zone)) {
            zones.insert(*scope, 0x8000 | zone);
        }
    }
    zones
}

/// Drops for this reason whatever no other flow of the stage takes.
fn otherwise(lowered: &mut Lowered, stage: Stage, reason: Reason) {
    lowered.add(stage, 0, Match::any(), drop_for(reason));
}

fn ether(number: u16) -> Match {
    Match::any().with(Field::EthType, number)
}

fn ipv4() -> Match {
    ether(0x0800)
}

fn ipv6() -> Match {
    ether(0x86dd)
}

fn of_family(is_v6: bool) -> Match {
    if is_v6 { ipv6() } else { ipv4() }
}

fn mac(mac: Mac) -> u64 {
    crate::tables::mac_value(mac)
}
