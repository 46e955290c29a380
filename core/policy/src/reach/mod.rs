//! Who can send what to whom, as exact sets of packets: what assertions, lint and other answers ask
//! of a compiled policy.
//!
//! A [`Seat`] is somewhere packets may stand: a group inside, or the addresses outside that one
//! prefix decides about. Between two seats the table's lookups give an ordered list of rules, and
//! [`Rules::split`] takes any set of packets apart by who decides about them.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{
    Action, BdId, ClassId, EtherType, GroupKey, PairKey, Prefix, RuleSetId, ScopeId, Shared, Table,
};

use crate::compile::Compiled;
use crate::plan::cube::{BOTH, Cube, Layout, V4, V6};
use crate::plan::delta::{Carried, Rules, Ruling};
use crate::plan::pairs::across;

pub use places::{Addresses, addresses};

/// Where packets may stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// DN of the group; `None` for addresses outside that no group has.
    pub group: Option<Arc<str>>,
    /// Its VRF.
    pub scope: ScopeId,
    /// Where in it.
    pub place: Place,
}

/// Where in its VRF a seat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A group of endpoints.
    Inside {
        /// Its class.
        class: ClassId,
        /// Its bridge domain; `None` if its endpoints are of several.
        bd: Option<BdId>,
        /// That bridge domain routes.
        routed: bool,
    },
    /// Addresses outside that one prefix decides about.
    Outside {
        /// Class of what comes from there.
        source: ClassId,
        /// Class of what goes there.
        destination: ClassId,
        /// One of the addresses.
        address: IpAddr,
    },
    /// Addresses outside that no group has.
    Unknown {
        /// One of the addresses.
        address: IpAddr,
    },
}

/// What the rules between two seats depend on: what the network carries, and the sets of the four
/// lookups. Equal keys mean equal rules. `None` where no packet gets across.
pub type Key = Option<(Carried, [Option<RuleSetId>; 4])>;

impl Seat {
    fn inside(table: &Table, key: GroupKey) -> Option<Seat> {
        let group = table.groups.get(&key)?;
        let domain = group.bd.and_then(|bd| table.bridge_domains.get(&bd));
        let routed = domain.is_none_or(|bd| bd.routed);
        let place = Place::Inside { class: key.class, bd: group.bd, routed };
        Some(Seat { group: Some(group.name.clone()), scope: key.scope, place })
    }

    /// An address of it, if it is outside.
    pub fn address(&self) -> Option<IpAddr> {
        match self.place {
            Place::Inside { .. } => None,
            Place::Outside { address, .. } | Place::Unknown { address } => Some(address),
        }
    }

    /// Whether both are seats of one group.
    pub fn is_of_the_group_of(&self, other: &Seat) -> bool {
        self.group.is_some() && self.group == other.group
    }

    /// The address families it has, as the bits of cubes.
    pub fn families(&self) -> u8 {
        match self.address() {
            None => BOTH,
            Some(IpAddr::V4(_)) => V4,
            Some(IpAddr::V6(_)) => V6,
        }
    }

    /// The packets of `cubes` that it can send or get at all: outside there is IP of one family.
    pub fn part_of(&self, cubes: &[Cube]) -> Vec<Cube> {
        if self.address().is_none() {
            return cubes.to_vec();
        }
        let is_ip = |cube: &&Cube| !matches!(cube.layout, Layout::Arp | Layout::Frame);
        let narrowed = cubes.iter().filter(is_ip);
        let narrowed =
            narrowed.map(|cube| Cube { families: cube.families & self.families(), ..*cube });
        narrowed.filter(|cube| cube.families != 0).collect()
    }

    fn source(&self) -> Option<ClassId> {
        match self.place {
            Place::Inside { class, .. } => Some(class),
            Place::Outside { source, .. } => Some(source),
            Place::Unknown { .. } => None,
        }
    }

    /// What groups of other VRFs meet it by.
    fn met(&self) -> Option<(GroupKey, Option<IpAddr>)> {
        let class = self.source()?;
        Some((GroupKey { scope: self.scope, class }, self.address()))
    }

    fn destination(&self) -> Option<ClassId> {
        match self.place {
            Place::Inside { class, .. } => Some(class),
            Place::Outside { destination, .. } => Some(destination),
            Place::Unknown { .. } => None,
        }
    }
}

/// What the network carries between two seats, whatever the rules say.
fn carried(from: &Seat, to: &Seat) -> Carried {
    match (from.place, to.place) {
        (Place::Inside { bd: a, routed: here, .. }, Place::Inside { bd: b, routed: there, .. }) => {
            // Endpoints of a group without a bridge domain may be in any.
            match (a == b || a.is_none() || b.is_none(), here && there) {
                (true, _) => Carried::All,
                (false, true) => Carried::Ip,
                (false, false) => Carried::Nothing,
            }
        }
        (Place::Inside { .. }, Place::Outside { .. })
        | (Place::Outside { .. }, Place::Inside { .. }) => Carried::Ip,
        _ => Carried::Nothing,
    }
}

/// A compiled policy, to be asked who reaches whom.
#[derive(Debug)]
pub struct Reach<'c> {
    /// The policy.
    pub compiled: &'c Compiled,
    /// Scopes of VRFs by DN.
    scopes: BTreeMap<&'c str, ScopeId>,
}

impl<'c> Reach<'c> {
    /// Asks `compiled`.
    pub fn new(compiled: &'c Compiled) -> Reach<'c> {
        let scopes = compiled.table.vrfs.iter().map(|(scope, vrf)| (&*vrf.name, *scope)).collect();
        Reach { compiled, scopes }
    }

    /// The scope of a VRF.
    pub fn scope_of(&self, vrf: &Dn) -> Option<ScopeId> {
        self.scopes.get(vrf.as_str()).copied()
    }

    /// Every seat: groups inside by DN, then those outside by DN and prefix.
    pub fn seats(&self) -> Vec<Seat> {
        let inside = self.compiled.groups.keys().flat_map(|dn| self.seats_of(dn));
        let outside = self.compiled.externals.keys().flat_map(|dn| self.seats_of(dn));
        inside.chain(outside).collect()
    }

    /// The seats of a group: one inside, outside one for each of its prefixes that decides about an
    /// address. None while it is in quarantine.
    pub fn seats_of(&self, group: &Dn) -> Vec<Seat> {
        let table = &self.compiled.table;
        if let Some(key) = self.compiled.groups.get(group) {
            return Seat::inside(table, *key).into_iter().collect();
        }
        let Some(ends) = self.compiled.externals.get(group) else { return Vec::new() };
        let scope = ends.key.scope;
        let Some(outside) = table.outside.get(&scope) else { return Vec::new() };
        // Of several groups with a default prefix the table names the first.
        let asked = self.compiled.intent.externals.get(group).map(|external| &external.prefixes);
        let shares =
            |prefix: &Prefix| prefix.is_default() && asked.is_some_and(|all| all.contains(prefix));
        let found = outside
            .groups
            .iter()
            .filter(|(prefix, seen)| *seen.name == *group.as_str() || shares(prefix));
        let seats = found.flat_map(|(prefix, _)| {
            let decides = |seat: &Seat| {
                let longest = seat.address().and_then(|ip| Prefix::longest(&outside.groups, ip));
                longest.is_some_and(|(longest, _)| longest == *prefix)
            };
            let all = self.seats_outside_cut(scope, *prefix, &[]).into_iter().filter(decides);
            all.map(|seat| Seat { group: Some(group.shared()), ..seat }).collect::<Vec<_>>()
        });
        seats.collect()
    }

    /// The seats of what `prefix` covers outside a VRF, those that no group has included.
    pub fn seats_outside(&self, scope: ScopeId, prefix: Prefix) -> Vec<Seat> {
        self.seats_outside_cut(scope, prefix, &[])
    }

    /// The same, in parts that lie either within each of `cuts` or without.
    pub fn seats_outside_cut(&self, scope: ScopeId, whole: Prefix, cuts: &[Prefix]) -> Vec<Seat> {
        let groups = self.compiled.table.outside.get(&scope).map(|outside| &outside.groups);
        let held = groups.into_iter().flat_map(|groups| groups.keys());
        // What other VRFs know of it may be less than a prefix that decides.
        let shared = self.compiled.table.shared.iter().filter(|(key, _)| key.scope == scope);
        let known = shared.flat_map(|(_, shared)| &shared.prefixes);
        let bounds = held.chain(cuts).chain(known).map(|prefix| (*prefix, ())).collect();
        let seat = |part: Addresses| {
            let address = part.address;
            match self.compiled.table.external(scope, address) {
                Some(seen) => {
                    let (source, destination) = (seen.source, seen.destination);
                    let place = Place::Outside { source, destination, address };
                    Seat { group: Some(seen.name.clone()), scope, place }
                }
                None => Seat { group: None, scope, place: Place::Unknown { address } },
            }
        };
        addresses(&bounds, whole).into_iter().map(seat).collect()
    }

    /// The seats of every group inside, and of all addresses outside of every VRF, cut as above.
    pub fn everybody(&self, cuts: &[Prefix]) -> Vec<Seat> {
        let mut all: Vec<Seat> =
            self.compiled.groups.keys().flat_map(|dn| self.seats_of(dn)).collect();
        for scope in self.compiled.table.outside.keys() {
            for whole in [Prefix::ALL_V4, Prefix::ALL_V6] {
                all.extend(self.seats_outside_cut(*scope, whole, cuts));
            }
        }
        all
    }

    /// What the rules between two seats depend on.
    pub fn key(&self, from: &Seat, to: &Seat) -> Key {
        let table = &self.compiled.table;
        let carried = carried(from, to);
        let (scope, carried, dst) = if from.scope == to.scope {
            (from.scope, carried, to.destination()?)
        } else {
            let (src, dst) = (from.met()?, to.met()?);
            let (scope, carried) = across(table, src, dst, carried != Carried::Nothing)?;
            (scope, carried, dst.0.class)
        };
        let keys = PairKey::lookups(scope, from.source()?, dst);
        let found = keys.map(|key| table.pairs.get(&key).copied());
        Some((carried, found))
    }

    /// Whether packets of this Ethernet type are judged anywhere between two seats.
    pub fn meet(&self, from: &Seat, to: &Seat, ether: EtherType) -> bool {
        let ends = from.met().zip(to.met());
        ends.is_some_and(|(src, dst)| self.compiled.table.meeting(src, dst, ether).is_some())
    }

    /// The rules behind a key.
    pub fn rules(&self, key: Key) -> Option<Rules<'c>> {
        let (carried, sets) = key?;
        let sets = sets.map(|id| self.compiled.table.rule_sets.get(&id?).map(|set| &**set));
        Some(Rules { carried, sets })
    }

    /// Takes packets from one seat to another apart by who decides about them.
    pub fn split(&self, from: &Seat, to: &Seat, packets: &[Cube]) -> Vec<(Cube, Ruling<'c>)> {
        let packets = to.part_of(&from.part_of(packets));
        match self.rules(self.key(from, to)) {
            Some(rules) => rules.split(packets),
            None => packets.into_iter().map(|cube| (cube, Ruling::Absent)).collect(),
        }
    }

    /// Receivers, of `all`, that some packet of `from` may get to: those with rules of their own for
    /// it, and where rules to or from any class hold, all of its VRF.
    pub fn receivers<'s>(&self, from: &Seat, all: &'s Receivers) -> Vec<&'s Seat> {
        let Some(src) = from.source() else { return Vec::new() };
        let mut found = self.receivers_across(from, all);
        let in_scope = all.by_scope.get(&from.scope);
        if all.with_any.contains(&from.scope) {
            found.extend(in_scope.into_iter().flat_map(|classes| classes.values().flatten()));
            return found;
        }
        let first = PairKey { scope: from.scope, src, dst: ClassId::ANY };
        let pairs = self.compiled.table.pairs.range(first..);
        let ours = pairs.take_while(|(key, _)| key.scope == from.scope && key.src == src);
        let seats = ours.filter_map(|(key, _)| in_scope?.get(&key.dst));
        found.extend(seats.flatten());
        found
    }

    /// Those of other VRFs.
    fn receivers_across<'s>(&self, from: &Seat, all: &'s Receivers) -> Vec<&'s Seat> {
        let shared = &self.compiled.table.shared;
        let ours = from.met().and_then(|(key, _)| shared.get(&key));
        let Some(ours) = ours else { return Vec::new() };
        let meets = |(key, its): &(&GroupKey, &Shared)| {
            key.scope != from.scope
                && (ours.offers_in.contains(&key.scope) && its.uses_of.contains(&from.scope)
                    || its.offers_in.contains(&from.scope) && ours.uses_of.contains(&key.scope))
        };
        let met = shared.iter().filter(meets);
        let seats = met.filter_map(|(key, _)| all.by_scope.get(&key.scope)?.get(&key.class));
        seats.flatten().collect()
    }

    /// Sorts receivers so that [`Reach::receivers`] need not look at all of them.
    pub fn sorted(&self, seats: impl IntoIterator<Item = Seat>) -> Receivers {
        let mut all = Receivers::default();
        for seat in seats {
            let Some(class) = seat.destination() else { continue };
            all.by_scope.entry(seat.scope).or_default().entry(class).or_default().push(seat);
        }
        let any = |key: &PairKey| key.src == ClassId::ANY || key.dst == ClassId::ANY;
        all.with_any =
            self.compiled.table.pairs.keys().filter(|key| any(key)).map(|key| key.scope).collect();
        all
    }
}

/// Receivers by VRF and class.
#[derive(Debug, Default)]
pub struct Receivers {
    by_scope: BTreeMap<ScopeId, BTreeMap<ClassId, Vec<Seat>>>,
    with_any: BTreeSet<ScopeId>,
}

/// Whether packets that this ruling is about get through, to their destination or to a service.
pub fn passes(ruling: Ruling<'_>) -> bool {
    ruling.rule().is_some_and(|rule| rule.action != Action::Deny)
}
