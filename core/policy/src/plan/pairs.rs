//! Which pairs of groups to look at, and which of them change together.
//!
//! Cost follows the change: a pair is looked at if one of the rule sets it is judged by has changed,
//! or one of its groups. Pairs with the same rule sets before and after are worked out once.
//!
//! Rules from or to *any* class are not expanded to pairs. The groups that have nothing to tell them
//! apart there stand together, as a [`Rest`]: by which VRF they are in before and after.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{
    BdId, ClassId, EtherType, Group, GroupKey, PairKey, RuleSetId, ScopeId, Shared, Table,
};

use super::cube::{V4, V6};
use super::delta::{Carried, Rules, Shift, delta};

/// Where a group is in one of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    scope: ScopeId,
    /// Its class as a sender.
    source: ClassId,
    /// Its class as a receiver, which differs for what only a default prefix covers outside.
    destination: ClassId,
    place: Place,
}

/// Where the network has a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a bridge domain, which routes or not; a table may lack the bridge domain.
    Inside(Option<BdId>, Option<bool>),
    /// Outside: packets come and go by routing.
    Outside,
}

/// A group, by name, in both tables.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its DN.
    pub dn: Arc<str>,
    /// Where it is in the table before, and in the one after.
    pub seats: [Option<Seat>; 2],
}

impl Member {
    fn rest(&self) -> Rest {
        Rest(self.seats.map(|seat| seat.map(|seat| seat.scope)))
    }

    /// What the network carries for it differs by who is at the other end: it is outside, or in
    /// another bridge domain than before, or in one that routes where it did not.
    fn stands_apart(&self) -> bool {
        let [before, after] = self.seats.map(|seat| seat.map(|seat| seat.place));
        let moved = before.is_some() && after.is_some() && before != after;
        moved || before == Some(Place::Outside) || after == Some(Place::Outside)
    }
}

/// Groups without rules of their own, by the VRF they are in before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rest(pub [Option<ScopeId>; 2]);

/// One side of pairs that change alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// One group, by its place in [`Pairs::members`].
    One(usize),
    /// All groups that are nowhere else.
    Rest(Rest),
}

/// What changes, pair by pair.
#[derive(Debug)]
pub struct Pairs<'t> {
    halves: [Half<'t>; 2],
    /// The groups outside, of either table.
    outside: [BTreeMap<Arc<str>, Seat>; 2],
    by_name: HashMap<Arc<str>, usize>,
    /// Groups that were looked at.
    pub members: Vec<Member>,
    /// Distinct changes; none is empty but the first.
    pub deltas: Vec<Vec<Shift<'t>>>,
    /// Pairs and groups of pairs, each with its change: also those whose change is empty, which a
    /// rest does not cover.
    pub cells: BTreeMap<(Side, Side), usize>,
}

/// One of the two tables: 0 is the one before.
#[derive(Debug, Clone, Copy)]
struct Half<'t> {
    at: usize,
    table: &'t Table,
}

/// What two classes are judged by: the memo's key.
type Judged = Option<(Carried, [Option<RuleSetId>; 4])>;

struct Finder<'t> {
    pairs: Pairs<'t>,
    /// Where groups are, in either table, that are not the same in both.
    unsteady: BTreeSet<GroupKey>,
    /// VRFs in which something from or to any class may change for somebody.
    hot: BTreeSet<ScopeId>,
    /// Groups about which some rule set changes.
    touched: BTreeSet<GroupKey>,
    memo: HashMap<(Judged, Judged), usize>,
}

/// Compares two tables whose numbers are of one history, so that equal rule set numbers mean equal
/// rules.
pub fn compare<'t>(before: &'t Table, after: &'t Table) -> Pairs<'t> {
    let pairs = Pairs {
        halves: [Half { at: 0, table: before }, Half { at: 1, table: after }],
        outside: [before, after].map(outside),
        by_name: HashMap::new(),
        members: Vec::new(),
        deltas: vec![Vec::new()],
        cells: BTreeMap::new(),
    };
    let (unsteady, hot, touched) = Default::default();
    let mut finder = Finder { pairs, unsteady, hot, touched, memo: HashMap::new() };
    finder.find_unsteady();
    let mut candidates = finder.changed_pairs();
    finder.add_hot(&mut candidates);
    finder.add_across(&mut candidates);
    candidates.sort_unstable();
    candidates.dedup();
    for (from, to) in candidates {
        finder.judge(Side::One(from), Side::One(to));
    }
    finder.rests();
    finder.pairs
}

impl<'t> Finder<'t> {
    fn find_unsteady(&mut self) {
        let [before, after] = self.pairs.halves;
        let routed = |table: &Table, bd| table.bridge_domains.get(&bd).map(|bd| bd.routed);
        let both = before.table.bridge_domains.keys().chain(after.table.bridge_domains.keys());
        let differs = |bd: &&BdId| routed(before.table, **bd) != routed(after.table, **bd);
        let changed: BTreeSet<BdId> = both.filter(differs).copied().collect();
        let steady = |a: &Group, b: &Group| {
            a.bd == b.bd && (Arc::ptr_eq(&a.name, &b.name) || a.name == b.name)
        };
        let mut names: BTreeMap<Arc<str>, [Option<Seat>; 2]> = BTreeMap::new();
        for (at, half) in self.pairs.halves.iter().enumerate() {
            let other = self.pairs.halves.get(1 - at).map(|half| &half.table.groups);
            for (key, group) in &half.table.groups {
                let twin = other.and_then(|groups| groups.get(key));
                let moved = group.bd.is_some_and(|bd| changed.contains(&bd));
                if twin.is_some_and(|twin| steady(group, twin)) && !moved {
                    continue;
                }
                let seat = half.seat(*key, group);
                if let Some(slot) = names.entry(group.name.clone()).or_default().get_mut(at) {
                    *slot = Some(seat);
                }
            }
        }
        let [old, new] = &self.pairs.outside;
        for name in old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)) {
            names.insert(name.clone(), [old.get(name).copied(), new.get(name).copied()]);
        }
        for (dn, seats) in names {
            let at = self.pairs.members.len();
            for Seat { scope, source, destination, .. } in seats.into_iter().flatten() {
                let classes = [source, destination];
                self.unsteady.extend(classes.map(|class| GroupKey { scope, class }));
            }
            self.pairs.by_name.insert(dn.clone(), at);
            self.pairs.members.push(Member { dn, seats });
        }
    }

    /// The member that has this class in one table, as a sender or as a receiver. Unsteady ones are
    /// all known already, so one that is not has the same seat in both.
    fn member(&mut self, half: Half<'t>, key: GroupKey, sends: bool) -> Option<usize> {
        let key = half.table.home(key);
        let pairs = &mut self.pairs;
        let (dn, seat) = match half.table.groups.get(&key) {
            Some(group) => (group.name.clone(), half.seat(key, group)),
            None => {
                // Across VRFs what only a default prefix covers gets packets by its class as a sender.
                let has = |seat: &Seat| {
                    seat.source == key.class || !sends && seat.destination == key.class
                };
                let is_it = |seat: &Seat| seat.scope == key.scope && has(seat);
                let mut found = pairs.outside.get(half.at)?.iter().filter(|(_, seat)| is_it(seat));
                let (dn, seat) = found.next()?;
                (dn.clone(), *seat)
            }
        };
        if let Some(at) = pairs.by_name.get(&dn) {
            return Some(*at);
        }
        let at = pairs.members.len();
        pairs.by_name.insert(dn.clone(), at);
        pairs.members.push(Member { dn, seats: [Some(seat); 2] });
        Some(at)
    }

    fn pair(&mut self, half: Half<'t>, key: PairKey) -> Option<(usize, usize)> {
        let PairKey { scope, src, dst } = key;
        let from = self.member(half, GroupKey { scope, class: src }, true)?;
        let to = self.member(half, GroupKey { scope, class: dst }, false)?;
        Some((from, to))
    }

    /// Pairs of named classes whose rule set differs or of which a group does. Also finds the VRFs
    /// that are hot.
    fn changed_pairs(&mut self) -> Vec<(usize, usize)> {
        let [before, after] = self.pairs.halves;
        let mut changed = Vec::new();
        let mut with_any = BTreeSet::new();
        for (key, was, will) in merged(before.table, after.table) {
            let is_any = key.src == ClassId::ANY || key.dst == ClassId::ANY;
            if is_any {
                with_any.insert(key.scope);
            }
            let moves = |class| self.unsteady.contains(&GroupKey { scope: key.scope, class });
            let unsteady = !self.unsteady.is_empty() && (moves(key.src) || moves(key.dst));
            if was == will && !unsteady {
                continue;
            }
            for (half, class) in
                [(before, key.src), (before, key.dst), (after, key.src), (after, key.dst)]
            {
                self.touched.insert(half.table.home(GroupKey { scope: key.scope, class }));
            }
            if is_any {
                self.hot.insert(key.scope);
                continue;
            }
            changed.extend(was.and_then(|_| self.pair(before, key)));
            changed.extend(will.and_then(|_| self.pair(after, key)));
        }
        let moving = self.unsteady.iter().map(|key| key.scope);
        self.hot.extend(moving.filter(|scope| with_any.contains(scope)));
        changed
    }

    /// In a hot VRF: every pair that is told apart from the rest by rules of its own, by rules from
    /// any at one end and to any at the other, or by a group that moved.
    fn add_hot(&mut self, candidates: &mut Vec<(usize, usize)>) {
        for scope in self.hot.clone() {
            let (mut senders, mut receivers) = (BTreeSet::new(), BTreeSet::new());
            for half in self.pairs.halves {
                for key in keys(half.table, scope) {
                    match (key.src == ClassId::ANY, key.dst == ClassId::ANY) {
                        (false, false) => candidates.extend(self.pair(half, key)),
                        (false, true) => {
                            let key = GroupKey { scope, class: key.src };
                            senders.extend(self.member(half, key, true));
                        }
                        (true, false) => {
                            let key = GroupKey { scope, class: key.dst };
                            receivers.extend(self.member(half, key, false));
                        }
                        (true, true) => {}
                    }
                }
            }
            candidates.extend(senders.iter().flat_map(|s| receivers.iter().map(|r| (*s, *r))));
            let all: Vec<usize> = self.everyone(scope).into_iter().collect();
            let moved: Vec<usize> =
                all.iter().copied().filter(|at| self.apart_in(*at, scope)).collect();
            if moved.is_empty() {
                continue;
            }
            let pairs = moved.iter().flat_map(|m| all.iter().flat_map(|a| [(*m, *a), (*a, *m)]));
            candidates.extend(pairs);
        }
    }

    /// Groups of two VRFs that meet, in either table, if something about one of them changes.
    fn add_across(&mut self, candidates: &mut Vec<(usize, usize)>) {
        let [before, after] = self.pairs.halves;
        let known = before.table.shared.keys().chain(after.table.shared.keys());
        let differs = |key: &&GroupKey| before.table.shared.get(key) != after.table.shared.get(key);
        let mut changed: BTreeSet<GroupKey> = known.filter(differs).copied().collect();
        changed.extend(self.touched.union(&self.unsteady));
        for half in self.pairs.halves {
            for (offers, users) in half.meetings() {
                for user in users {
                    if !changed.contains(&offers) && !changed.contains(&user) {
                        continue;
                    }
                    // Neither has a class of default prefixes, so each is one on both ways.
                    let ends = self.member(half, offers, true).zip(self.member(half, user, true));
                    candidates.extend(ends.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]));
                }
            }
        }
    }

    fn apart_in(&self, at: usize, scope: ScopeId) -> bool {
        self.pairs.members.get(at).is_some_and(|member| {
            member.stands_apart()
                && member.seats.into_iter().flatten().any(|seat| seat.scope == scope)
        })
    }

    fn everyone(&mut self, scope: ScopeId) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        for half in self.pairs.halves {
            let from = GroupKey { scope, class: ClassId::ANY };
            let groups = half.table.groups.range(from..).take_while(|(key, _)| key.scope == scope);
            for (key, _) in groups {
                all.extend(self.member(half, *key, true));
            }
            let outside = self.pairs.outside.get(half.at).into_iter().flatten();
            let here: Vec<ClassId> =
                outside.filter(|(_, s)| s.scope == scope).map(|(_, s)| s.source).collect();
            for class in here {
                all.extend(self.member(half, GroupKey { scope, class }, true));
            }
        }
        all
    }

    /// What holds for the groups that nothing tells apart.
    fn rests(&mut self) {
        let known = self.pairs.members.iter().filter(|member| !member.stands_apart());
        let mut classes: BTreeSet<Rest> = known.map(Member::rest).collect();
        classes.extend(self.hot.iter().map(|scope| Rest([Some(*scope); 2])));
        let in_scope = |class: &Rest, scope| class.0.contains(&Some(scope));
        for scope in self.hot.clone() {
            let here: Vec<Rest> = classes.iter().filter(|c| in_scope(c, scope)).copied().collect();
            let mut ends: BTreeSet<(Side, bool)> = BTreeSet::new();
            for half in self.pairs.halves {
                for key in keys(half.table, scope) {
                    if (key.src == ClassId::ANY) == (key.dst == ClassId::ANY) {
                        continue;
                    }
                    let sends = key.dst == ClassId::ANY;
                    let class = if sends { key.src } else { key.dst };
                    let group = GroupKey { scope, class };
                    // One of another VRF meets nobody unsaid.
                    if half.table.home(group) != group {
                        continue;
                    }
                    let member = self.member(half, group, sends);
                    ends.extend(member.map(|at| (Side::One(at), sends)));
                }
            }
            for rest in here.iter().map(|rest| Side::Rest(*rest)) {
                for (end, sends) in &ends {
                    if *sends { self.judge(*end, rest) } else { self.judge(rest, *end) }
                }
                for other in &here {
                    self.judge(rest, Side::Rest(*other));
                }
            }
        }
    }

    fn judge(&mut self, from: Side, to: Side) {
        if self.pairs.cells.contains_key(&(from, to)) {
            return;
        }
        let [before, after] = self.pairs.halves.map(|half| self.pairs.judged(half, from, to));
        let id = match self.memo.get(&(before, after)) {
            Some(id) => *id,
            None => {
                let [old, new] = self.pairs.halves;
                let shifts = delta(old.rules(before), new.rules(after));
                let id = if shifts.is_empty() { 0 } else { self.pairs.deltas.len() };
                if id != 0 {
                    self.pairs.deltas.push(shifts);
                }
                self.memo.insert((before, after), id);
                id
            }
        };
        self.pairs.cells.insert((from, to), id);
    }
}

/// How many groups of a rest are tried for an example.
const SOME: usize = 8;

/// Where a group may be found among the cells.
struct Standing {
    one: Option<Side>,
    rest: Side,
    seats: [Option<Seat>; 2],
}

impl<'t> Pairs<'t> {
    /// What changes from one side to another that were looked at.
    pub fn delta(&self, id: usize) -> &[Shift<'t>] {
        self.deltas.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// What changes between two groups, and which of it the network carries: of a rest everything is
    /// listed, though some of its pairs can exchange but IP, or nothing.
    pub fn between(&self, from: &str, to: &str) -> (&[Shift<'t>], Carried) {
        let (sides, carried) = self.between_sides(from, to);
        let id = sides.and_then(|sides| self.cells.get(&sides));
        (self.delta(id.copied().unwrap_or_default()), carried)
    }

    /// Where two groups stand among those that were looked at: as themselves where they have rules
    /// of their own, else among the rest. `None` if nothing was looked at that they belong to.
    pub fn between_sides(&self, from: &str, to: &str) -> (Option<(Side, Side)>, Carried) {
        let (Some(from), Some(to)) = (self.place(from), self.place(to)) else {
            return (None, Carried::Nothing);
        };
        let one = from.one.zip(to.one).filter(|key| self.cells.contains_key(key));
        if one.is_none() && self.meet_across(&from, &to) {
            // What changes between groups of two VRFs is looked at pair by pair.
            return (None, Carried::Nothing);
        }
        let keys = [
            one,
            from.one.map(|one| (one, to.rest)),
            to.one.map(|one| (from.rest, one)),
            Some((from.rest, to.rest)),
        ];
        let found = keys.into_iter().flatten().find(|key| self.cells.contains_key(key));
        if let Some((Side::One(_), Side::One(_))) = found {
            return (found, Carried::All);
        }
        let seats = from.seats.into_iter().zip(to.seats).filter_map(|(from, to)| from.zip(to));
        let mut meets = seats.filter(|(from, to)| from.scope == to.scope);
        let carries = meets.next_back().map_or(Carried::Nothing, |(from, to)| carried(&from, &to));
        (found, carries)
    }

    /// Whether two groups are of two VRFs and meet, before or after.
    fn meet_across(&self, from: &Standing, to: &Standing) -> bool {
        let seats = from.seats.into_iter().zip(to.seats).zip(self.halves);
        let mut meetings = seats.filter_map(|((from, to), half)| {
            let (from, to) = (from?, to?);
            Some(from.scope != to.scope && half.across(&from, &to).is_some())
        });
        meetings.any(|meets| meets)
    }

    /// Some of the groups of a side, by DN.
    pub fn names(&self, side: Side) -> Vec<Arc<str>> {
        let rest = match side {
            Side::One(at) => {
                return self.members.get(at).map(|m| m.dn.clone()).into_iter().collect();
            }
            Side::Rest(rest) => rest,
        };
        let mut names: Vec<Arc<str>> = Vec::new();
        for (half, scope) in self.halves.iter().zip(rest.0) {
            let Some(scope) = scope else { continue };
            let from = GroupKey { scope, class: ClassId::ANY };
            let groups = half.table.groups.range(from..).take_while(|(key, _)| key.scope == scope);
            let fits = |name: &Arc<str>| self.place(name).is_some_and(|p| p.rest == side);
            names.extend(groups.map(|(_, g)| g.name.clone()).filter(fits).take(SOME));
        }
        names
    }

    fn place(&self, dn: &str) -> Option<Standing> {
        if let Some(at) = self.by_name.get(dn) {
            let member = self.members.get(*at)?;
            let rest = Side::Rest(member.rest());
            return Some(Standing { one: Some(Side::One(*at)), rest, seats: member.seats });
        }
        // Not looked at by itself, so it is the same in both.
        let [half, _] = self.halves;
        let (key, group) = half.table.groups.iter().find(|(_, group)| &*group.name == dn)?;
        let rest = Side::Rest(Rest([Some(key.scope); 2]));
        Some(Standing { one: None, rest, seats: [Some(half.seat(*key, group)); 2] })
    }

    /// The rules that will hold from one side to another, if both exist in one VRF.
    pub fn rules_after(&self, from: Side, to: Side) -> Option<Rules<'t>> {
        let [_, half] = self.halves;
        half.rules(self.judged(half, from, to))
    }

    fn judged(&self, half: Half<'t>, from: Side, to: Side) -> Judged {
        let place = |side: Side| -> Option<(ScopeId, Option<Seat>)> {
            match side {
                Side::One(at) => {
                    let seat = (*self.members.get(at)?.seats.get(half.at)?)?;
                    Some((seat.scope, Some(seat)))
                }
                Side::Rest(rest) => Some(((*rest.0.get(half.at)?)?, None)),
            }
        };
        let ((scope, from), (other, to)) = (place(from)?, place(to)?);
        let (scope, carried) = match (from, to) {
            (Some(from), Some(to)) if scope != other => half.across(&from, &to)?,
            _ if scope != other => return None,
            (Some(from), Some(to)) => (scope, carried(&from, &to)),
            // It depends on who the rest is: see `Pairs::between`.
            _ => (scope, Carried::All),
        };
        let src = from.map_or(ClassId::ANY, |seat| seat.source);
        let across = from.is_some_and(|from| to.is_some_and(|to| from.scope != to.scope));
        let class = |seat: Seat| if across { seat.source } else { seat.destination };
        let dst = to.map_or(ClassId::ANY, class);
        let keys = PairKey::lookups(scope, src, dst);
        let mut found = keys.map(|key| half.table.pairs.get(&key).copied());
        // With any for a class, several of the four keys are the same one: the last stands for all.
        for (at, key) in keys.iter().enumerate() {
            let again = keys.iter().skip(at + 1).any(|other| other == key);
            if again && let Some(slot) = found.get_mut(at) {
                *slot = None;
            }
        }
        Some((carried, found))
    }
}

impl<'t> Half<'t> {
    fn seat(&self, key: GroupKey, group: &Group) -> Seat {
        let domain = group.bd.and_then(|bd| self.table.bridge_domains.get(&bd));
        let routed = domain.map(|bd| bd.routed);
        let GroupKey { scope, class } = key;
        let place = Place::Inside(group.bd, routed);
        Seat { scope, source: class, destination: class, place }
    }

    /// The groups that offer contracts to other VRFs, each with those of other VRFs that it meets.
    fn meetings(&self) -> Vec<(GroupKey, Vec<GroupKey>)> {
        let offers = self.table.shared.iter().filter(|(_, shared)| !shared.offers_in.is_empty());
        let meetings = offers.map(|(key, shared)| {
            let uses = |(user, its): &(&GroupKey, &Shared)| {
                shared.offers_in.contains(&user.scope) && its.uses_of.contains(&key.scope)
            };
            (*key, self.table.shared.iter().filter(uses).map(|(user, _)| *user).collect())
        });
        meetings.collect()
    }

    /// Where is judged what passes between two groups of two VRFs, and what the network carries.
    fn across(&self, from: &Seat, to: &Seat) -> Option<(ScopeId, Carried)> {
        let key = |seat: &Seat| GroupKey { scope: seat.scope, class: seat.source };
        let routed = carried(from, to) != Carried::Nothing;
        across(self.table, (key(from), None), (key(to), None), routed)
    }

    fn rules(&self, judged: Judged) -> Option<Rules<'t>> {
        let (carried, sets) = judged?;
        let set = |id: RuleSetId| self.table.rule_sets.get(&id).map(|set| &**set);
        Some(Rules { carried, sets: sets.map(|id| id.and_then(set)) })
    }
}

/// Where is judged what passes between two groups of two VRFs, each at an address or at any of its,
/// and what the network carries; `routed` if it carries IP between their bridge domains.
pub(crate) fn across(
    table: &Table,
    from: (GroupKey, Option<IpAddr>),
    to: (GroupKey, Option<IpAddr>),
    routed: bool,
) -> Option<(ScopeId, Carried)> {
    let meeting = |ether| table.meeting(from, to, ether);
    let (v4, v6) = (meeting(EtherType::IPV4), meeting(EtherType::IPV6));
    let family = |met: Option<ScopeId>, bit| if met.is_some() { bit } else { 0 };
    let families = family(v4, V4) | family(v6, V6);
    v4.or(v6).map(|scope| (scope, Carried::Across { families, routed }))
}

/// What the network carries between two groups of one VRF.
pub fn carried(from: &Seat, to: &Seat) -> Carried {
    match (from.place, to.place) {
        (Place::Outside, Place::Outside) => Carried::Nothing,
        (Place::Outside, _) | (_, Place::Outside) => Carried::Ip,
        (Place::Inside(a, Some(_)), Place::Inside(b, Some(_))) if a == b => Carried::All,
        (Place::Inside(_, Some(true)), Place::Inside(_, Some(true))) => Carried::Ip,
        (Place::Inside(_, Some(_)), Place::Inside(_, Some(_))) => Carried::Nothing,
        // Nothing is known of a bridge domain that a table lacks, or of a group that has none.
        _ => Carried::All,
    }
}

/// The groups outside, by name. What only a default prefix covers has classes that all groups with
/// such a prefix share; it goes by the first one's name, or if that one has other prefixes too, by
/// its name and `by default`.
fn outside(table: &Table) -> BTreeMap<Arc<str>, Seat> {
    let mut all = BTreeMap::new();
    for by_default in [false, true] {
        for (scope, outside) in &table.outside {
            for group in outside.groups.values() {
                let (source, destination) = (group.source, group.destination);
                if (destination == ClassId::DEFAULT_OUTSIDE) != by_default {
                    continue;
                }
                let seat = Seat { scope: *scope, source, destination, place: Place::Outside };
                let taken = all.get(&group.name).is_some_and(|held| *held != seat);
                let name = match taken {
                    true => format!("{} by default", group.name).into(),
                    false => group.name.clone(),
                };
                let known = all.values().any(|held| *held == seat);
                if !known {
                    all.insert(name, seat);
                }
            }
        }
    }
    all
}

fn keys(table: &Table, scope: ScopeId) -> impl Iterator<Item = PairKey> + use<'_> {
    let from = PairKey { scope, src: ClassId::ANY, dst: ClassId::ANY };
    table.pairs.range(from..).map(|(key, _)| *key).take_while(move |key| key.scope == scope)
}

/// Both tables' pairs in one walk: key, rule set before, rule set after.
fn merged<'t>(
    before: &'t Table,
    after: &'t Table,
) -> impl Iterator<Item = (PairKey, Option<RuleSetId>, Option<RuleSetId>)> + use<'t> {
    let mut old = before.pairs.iter().peekable();
    let mut new = after.pairs.iter().peekable();
    std::iter::from_fn(move || {
        let (was, will) = (old.peek().map(|(key, _)| **key), new.peek().map(|(key, _)| **key));
        let key = match (was, will) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        let was = old.next_if(|(at, _)| **at == key).map(|(_, id)| *id);
        let will = new.next_if(|(at, _)| **at == key).map(|(_, id)| *id);
        Some((key, was, will))
    })
}
