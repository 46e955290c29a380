//! Contracts between groups of two VRFs: shared services.
//!
//! As in ACI, the rules stand in the VRF of the group that uses the contract, where the class of the
//! one that offers it means it too, since such classes are fabric-wide. Whatever else is permitted
//! there from or to any group does not reach it: what comes from another VRF was shared by contract
//! or not at all. So such a contract counts whether or not either VRF enforces anything itself.
//!
//! Packets find the way by addresses, so both groups must be where others know them: the one that
//! offers in a subnet of its own that is `shared`, the other one in a `shared` subnet of its own or
//! of its bridge domain (contract guide, *inter-VRF contracts*).

use std::collections::{BTreeMap, BTreeSet};

use selvage_model::Dn;
use selvage_rules::{Action, ClassId, GroupKey, PairKey, Prefix, Reason, ScopeId, Shared};

use super::priority::{self, Breadth};
use super::selection::Users;
use super::sides::{Domain, Draft, Sides, Use};
use super::{Builder, Default, Ends, Kind, Member};
use crate::ir::{Intent, Relation, Scope};
use crate::problem::{Cause, Problem};

/// The groups that offer contracts to groups of other VRFs.
pub(super) fn providers(intent: &Intent) -> BTreeSet<Dn> {
    let crosses = |relation: &&Relation| {
        let contract = intent.contracts.get(&relation.contract);
        contract.is_some_and(|c| matches!(c.scope, Scope::Tenant | Scope::Global))
    };
    // The VRFs in which each contract is used.
    let mut used: BTreeMap<&Dn, BTreeSet<&Dn>> = BTreeMap::new();
    let insides = intent.groups.values().map(|g| (&g.vrf, &g.consumes));
    let outsides = intent.externals.values().map(|e| (&e.vrf, &e.consumes));
    let alls = intent.vrfs.iter().map(|(dn, vrf)| (dn, &vrf.any.consumes));
    for (vrf, relations) in insides.chain(outsides).chain(alls) {
        for relation in relations.iter().filter(crosses) {
            used.entry(&relation.contract).or_default().insert(vrf);
        }
    }
    if used.is_empty() {
        return BTreeSet::new();
    }
    let insides = intent.groups.iter().map(|(dn, g)| (dn, &g.vrf, &g.provides));
    let outsides = intent.externals.iter().map(|(dn, e)| (dn, &e.vrf, &e.provides));
    let is_shared = |vrf: &Dn, relations: &[Relation]| {
        let elsewhere =
            |r: &Relation| used.get(&r.contract).is_some_and(|all| all.iter().any(|o| *o != vrf));
        relations.iter().any(elsewhere)
    };
    let shared = insides.chain(outsides).filter(|(_, vrf, offers)| is_shared(vrf, offers));
    let mut all = BTreeSet::new();
    for (dn, vrf, _) in shared {
        all.insert(dn.clone());
        // What comes from its default prefixes has the class of its VRF.
        let leaks = intent.leaks.get(dn).filter(|_| intent.externals.contains_key(dn));
        if leaks.is_some_and(|leaks| leaks.iter().any(|prefix| prefix.is_default())) {
            all.insert(vrf.clone());
        }
    }
    all
}

/// What groups of other VRFs meet a group by: its own class, and that of its default prefixes.
fn met(defaults: &BTreeMap<GroupKey, ClassId>, key: GroupKey) -> impl Iterator<Item = GroupKey> {
    let default = defaults.get(&key).map(|class| GroupKey { class: *class, ..key });
    std::iter::once(key).chain(default)
}

/// Takes out what cannot meet across VRFs, and says so: all groups of a VRF together offer nothing to
/// other VRFs, as in ACI.
pub(super) fn limit(builder: &mut Builder<'_>, contract: &Dn, users: &mut Users<'_>) {
    let is_any = |user: &&Use<'_>| user.member.kind == Kind::Any;
    for user in users.providers.iter().filter(|user| is_any(user)) {
        let text = format!(
            "all groups of a VRF cannot offer contract `{contract}` to other VRFs: nothing passes",
        );
        let dn = user.relation.dn.clone();
        builder.problems.push(Problem { dn, cause: Cause::NotSupported, text });
    }
    users.providers.retain(|user| !is_any(user));
    for user in users.consumers.iter().filter(|_| !users.providers.is_empty()) {
        let text = format!(
            "contract `{contract}` is offered in another VRF: hosts do not carry traffic between \
             VRFs yet, so nothing passes",
        );
        let dn = user.relation.dn.clone();
        builder.problems.push(Problem { dn, cause: Cause::NotCarried, text });
    }
}

/// Says who meets whom across VRFs in `sides`, and closes what is not said there.
pub(super) fn fill(
    builder: &mut Builder<'_>,
    intent: &Intent,
    members: &[Member<'_>],
    sides: &mut Vec<Sides>,
) {
    let mut shared: BTreeMap<GroupKey, Shared> = BTreeMap::new();
    // Those that share or use by themselves, not as one of their VRF.
    let mut named: BTreeSet<GroupKey> = BTreeSet::new();
    for domain in sides.iter().flat_map(|sides| &sides.domains) {
        for (provider, consumer) in across(domain) {
            let (home, here) = (provider.key.scope, consumer.key.scope);
            for key in met(&builder.defaults_across, provider.key) {
                shared.entry(key).or_default().offers_in.insert(here);
            }
            named.insert(provider.key);
            let mut users = vec![consumer.key];
            if consumer.key.class == ClassId::ANY {
                let keys = members.iter().map(|member| member.ends.key);
                users = keys.filter(|key| key.scope == here).collect();
            } else {
                named.insert(consumer.key);
            }
            for key in users.into_iter().flat_map(|key| met(&builder.defaults_across, key)) {
                shared.entry(key).or_default().uses_of.insert(home);
            }
        }
    }
    if shared.is_empty() {
        return;
    }
    leak(builder, intent, members, &named, &mut shared);
    sides.push(otherwise(builder, intent, &shared));
    builder.table.shared = shared;
}

/// The pairs of a domain that are of two VRFs, one pair for each provider and each VRF of consumers
/// that are not told apart.
fn across(domain: &Domain) -> impl Iterator<Item = (&Ends, &Ends)> {
    let pairs = domain.providers.iter().flat_map(|p| domain.consumers.iter().map(move |c| (p, c)));
    pairs.filter(|(provider, consumer)| {
        provider.key.scope != consumer.key.scope && offers_abroad(provider)
    })
}

/// Whether the class of this provider means it in other VRFs, too. One that provides only as one of
/// its VRF has a class of that VRF, which elsewhere is somebody else's.
fn offers_abroad(provider: &Ends) -> bool {
    provider.key.class < ClassId::FIRST_LOCAL
}

/// The pairs of classes between a provider and a consumer of another VRF, one way: in the consumer's
/// VRF, and if the consumer offers something to the provider's in turn, there too, since what passes
/// between the two is judged in one place.
pub(super) fn between(
    builder: &Builder<'_>,
    provider: &Ends,
    consumer: &Ends,
    toward_provider: bool,
    mut put: impl FnMut(PairKey, Breadth),
) {
    if !offers_abroad(provider) {
        return;
    }
    let (shared, defaults) = (&builder.table.shared, &builder.defaults_across);
    let (home, here) = (provider.key.scope, consumer.key.scope);
    let is_any = consumer.key.class == ClassId::ANY;
    let breadth = if is_any { Breadth::Shared } else { Breadth::Pair };
    let mut between = |scope, class: ClassId| {
        for provider in met(defaults, provider.key).map(|key| key.class) {
            let (src, dst) = if toward_provider { (class, provider) } else { (provider, class) };
            put(PairKey { scope, src, dst }, breadth);
        }
    };
    for key in met(defaults, consumer.key) {
        between(here, key.class);
    }
    let in_turn =
        |key: &GroupKey| shared.get(key).is_some_and(|group| group.offers_in.contains(&home));
    if is_any {
        let all = shared.range(consumer.key..).map(|(key, _)| key);
        let of_vrf = all.take_while(|key| key.scope == here).filter(|key| in_turn(key));
        of_vrf.for_each(|key| between(home, key.class));
    } else {
        let keys = met(defaults, consumer.key).filter(in_turn);
        keys.for_each(|key| between(home, key.class));
    }
}

/// Nothing but what contracts across VRFs say, between a provider and the VRFs it offers them in.
fn otherwise(
    builder: &mut Builder<'_>,
    intent: &Intent,
    shared: &BTreeMap<GroupKey, Shared>,
) -> Sides {
    let mut domains: BTreeMap<ScopeId, Vec<Ends>> = BTreeMap::new();
    for (key, group) in shared {
        for scope in &group.offers_in {
            domains.entry(*scope).or_default().push(Ends { key: *key, default_source: None });
        }
    }
    let any = |scope| Ends { key: GroupKey { scope, class: ClassId::ANY }, default_source: None };
    let domains: Vec<Domain> = domains
        .into_iter()
        .map(|(scope, providers)| Domain { providers, consumers: vec![any(scope)] })
        .collect();
    // Whose default it is matters to nobody: the first VRF's that has such groups.
    let holder = intent.vrfs.iter().find(|(dn, _)| {
        let scope = builder.numbers.scope_of(&dn.shared());
        scope.is_some_and(|scope| shared.values().any(|s| s.offers_in.contains(&scope)))
    });
    let rule = holder.and_then(|(_, vrf)| {
        let what = Default { holder: &vrf.any.dn, which: "shared", reverse: false };
        let priority = priority::SHARED_DENY;
        builder.default_rule(&what, priority, Action::Deny, Reason::Contract)
    });
    let drafts: Vec<Draft> = rule.into_iter().map(Draft::fixed).collect();
    Sides { forward: drafts.clone(), back: drafts, domains }
}

/// Which addresses of each group the other VRFs know.
fn leak(
    builder: &mut Builder<'_>,
    intent: &Intent,
    members: &[Member<'_>],
    named: &BTreeSet<GroupKey>,
    shared: &mut BTreeMap<GroupKey, Shared>,
) {
    let vrfs: BTreeMap<ScopeId, &Dn> = intent
        .vrfs
        .keys()
        .filter_map(|dn| Some((builder.numbers.scope_of(&dn.shared())?, dn)))
        .collect();
    let mut taken: BTreeMap<ScopeId, BTreeMap<Prefix, ScopeId>> = BTreeMap::new();
    for member in members {
        let Some(group) = shared.get_mut(&member.ends.key) else { continue };
        let home = member.ends.key.scope;
        let known_in: BTreeSet<ScopeId> = group.offers_in.union(&group.uses_of).copied().collect();
        let (defaults, own): (BTreeSet<Prefix>, BTreeSet<Prefix>) =
            prefixes(intent, member, !group.offers_in.is_empty())
                .into_iter()
                .partition(|prefix| prefix.is_default());
        let is_known = !defaults.is_empty();
        for prefix in own {
            let here = |scope: &ScopeId| {
                let outside = vrfs.get(scope).and_then(|vrf| intent.outside.get(*vrf));
                outside.is_some_and(|outside| outside.inside.keys().any(|p| overlap(*p, prefix)))
            };
            let other = |scope: &ScopeId| {
                let there = taken.get(scope);
                there.is_some_and(|t| t.iter().any(|(p, of)| *of != home && overlap(*p, prefix)))
            };
            if let Some(scope) = known_in.iter().find(|scope| here(scope) || other(scope)) {
                let vrf = vrfs.get(scope).map_or("", |dn| dn.as_str());
                let text = format!(
                    "`{prefix}` overlaps a prefix that VRF `{vrf}` has already: other VRFs do not \
                     know it",
                );
                let dn = member.dn.clone();
                builder.problems.push(Problem { dn, cause: Cause::OverlappingSubnets, text });
                continue;
            }
            for scope in &known_in {
                taken.entry(*scope).or_default().insert(prefix, home);
            }
            group.prefixes.insert(prefix);
        }
        let is_known = is_known || !group.prefixes.is_empty();
        let default = builder.defaults_across.get(&member.ends.key);
        let default = default.map(|class| GroupKey { scope: home, class: *class });
        if let Some(rest) = default.and_then(|key| shared.get_mut(&key)) {
            rest.prefixes.extend(defaults);
        }
        if !is_known && named.contains(&member.ends.key) {
            let text = "no address of the group is known in other VRFs, since no subnet of its own, \
                        or if it offers them nothing of its bridge domain, has scope `shared`: \
                        nothing passes between it and them";
            let (dn, cause) = (member.dn.clone(), Cause::NotLeaked);
            builder.problems.push(Problem { dn, cause, text: text.to_owned() });
        }
    }
}

/// The prefixes that other VRFs may know a group by. Of one that offers contracts only its own tell
/// whose they are.
fn prefixes(intent: &Intent, member: &Member<'_>, offers: bool) -> BTreeSet<Prefix> {
    let of = |dn: &Dn| intent.leaks.get(dn).cloned().unwrap_or_default();
    let mut all = of(member.dn);
    match member.kind {
        Kind::Inside => match intent.groups.get(member.dn).map(|group| group.bd.as_ref()) {
            // What a VRF tells of is told of all of it, where a group has no place of its own.
            Some(None) => {
                let domains = intent.bridge_domains.iter().filter(|(_, bd)| bd.vrf == *member.vrf);
                let groups = intent.groups.iter().filter(|(_, group)| group.vrf == *member.vrf);
                let held = domains.map(|(dn, _)| dn).chain(groups.map(|(dn, _)| dn));
                all.extend(held.flat_map(of));
            }
            Some(Some(bd)) if !offers => all.extend(of(bd)),
            _ => {}
        },
        Kind::Outside => {
            let held = intent.externals.get(member.dn).map(|external| &external.prefixes);
            all.retain(|prefix| held.is_some_and(|held| held.contains(prefix)));
        }
        Kind::Any => {}
    }
    all
}

fn overlap(a: Prefix, b: Prefix) -> bool {
    a.covers(b) || b.covers(a)
}
