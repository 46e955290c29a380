//! Contracts to sides: who stands on either side of each, and the rules from one to the other.

use std::collections::BTreeMap;

use selvage_model::Dn;
use selvage_rules::{Action, Match, Origin, Rule};

use super::priority::Breadth;
use super::selection::{self, Part, Users};
use super::treatment::{self, Outcome};
use super::{Builder, Ends, Kind, Member, shared};
use crate::ir::{Clause, Contract, DenyRank, Intent, Relation, Scope, Way};
use crate::number::RuleKey;
use crate::problem::{Cause, Problem};

/// A contract between the groups for whom it counts.
pub(super) struct Sides {
    /// From consumer to provider.
    pub forward: Vec<Draft>,
    /// From provider to consumer.
    pub back: Vec<Draft>,
    /// Who provides and who consumes it, for each part of the fabric in which it counts apart.
    pub domains: Vec<Domain>,
}

/// A rule whose rank follows from the pair of classes it is put between.
#[derive(Clone)]
pub(super) struct Draft {
    rule: Rule,
    /// How it ranks if it denies; `None` if its priority is settled.
    rank: Option<DenyRank>,
}

impl Draft {
    /// A rule whose priority is settled.
    pub fn fixed(rule: Rule) -> Draft {
        Draft { rule, rank: None }
    }

    /// The same, with this priority wherever it is put.
    pub fn ranked(self, priority: u16) -> Draft {
        Draft::fixed(Rule { priority, ..self.rule })
    }

    /// The rule between a pair so general.
    pub fn at(&self, breadth: Breadth) -> Rule {
        let mut rule = self.rule.clone();
        if let Some(rank) = self.rank {
            rule.priority = breadth.rank(rule.action, rank, &rule.matches);
        }
        rule
    }
}

/// Groups between which a contract counts, those on each side of it all of one VRF.
pub(super) struct Domain {
    pub providers: Vec<Ends>,
    pub consumers: Vec<Ends>,
}

/// One group's use of a contract.
pub(super) struct Use<'a> {
    pub member: &'a Member<'a>,
    pub relation: &'a Relation,
}

#[derive(Default)]
struct Uses<'a> {
    providers: Vec<Use<'a>>,
    consumers: Vec<Use<'a>>,
}

/// Lowers every contract that somebody uses: `members`, or all of a VRF together.
pub(super) fn lower(
    builder: &mut Builder<'_>,
    intent: &Intent,
    members: &[Member<'_>],
    alls: &[Member<'_>],
) -> Vec<Sides> {
    let mut used: BTreeMap<&Dn, Uses<'_>> = BTreeMap::new();
    for member in members.iter().chain(alls) {
        for relation in member.provides {
            let uses = used.entry(&relation.contract).or_default();
            uses.providers.extend(users(intent, member, relation, members));
        }
        for relation in member.consumes {
            let uses = used.entry(&relation.contract).or_default();
            uses.consumers.extend(users(intent, member, relation, members));
        }
    }
    let mut all = Vec::with_capacity(used.len());
    for (dn, uses) in used {
        let Some(contract) = intent.contracts.get(dn) else { continue };
        check_content(builder, intent, dn, contract);
        let users = domains(builder, intent, (dn, contract.scope), &uses);
        for (part, domains) in selection::split(intent, contract, &users) {
            let (forward, back) = rules(builder, intent, contract, &part);
            all.push(Sides { forward, back, domains });
        }
    }
    all
}

/// Who uses a contract by `relation`: its holder, or where that is all of a VRF and the contract counts
/// within application profiles or not for everybody, each group of the VRF.
fn users<'a>(
    intent: &Intent,
    member: &'a Member<'a>,
    relation: &'a Relation,
    members: &'a [Member<'a>],
) -> Vec<Use<'a>> {
    let by_group = |c: &Contract| c.scope == Scope::Profile || c.has_exceptions();
    if member.kind != Kind::Any || !intent.contracts.get(&relation.contract).is_some_and(by_group) {
        return vec![Use { member, relation }];
    }
    let of_vrf = members.iter().filter(|other| other.vrf == member.vrf);
    of_vrf.map(|member| Use { member, relation }).collect()
}

/// Splits the users of a contract into the parts of the fabric in which it counts apart: the groups of
/// one VRF that its scope lets meet, and those of one VRF that offer it with those of another that
/// use it.
fn domains<'a>(
    builder: &mut Builder<'_>,
    intent: &Intent,
    (dn, scope): (&Dn, Scope),
    uses: &'a Uses<'a>,
) -> Vec<Users<'a>> {
    let by_place = |uses: &'a [Use<'a>]| {
        let mut places: BTreeMap<(Option<&'a Dn>, &'a Dn), Vec<&'a Use<'a>>> = BTreeMap::new();
        for one in uses {
            places.entry((reach(scope, one), one.member.vrf)).or_default().push(one);
        }
        places
    };
    let (offered, used) = (by_place(&uses.providers), by_place(&uses.consumers));
    let mut all = Vec::new();
    for ((reach, vrf), consumers) in used {
        let mut found = false;
        let crosses = !matches!(scope, Scope::Vrf | Scope::Profile);
        let within = offered.iter().filter(|((other, _), _)| *other == reach);
        for ((_, home), providers) in within.filter(|((_, home), _)| crosses || *home == vrf) {
            found = true;
            let mut users = Users { providers: providers.clone(), consumers: consumers.clone() };
            if *home != vrf {
                shared::limit(builder, dn, &mut users);
            } else if !intent.vrfs.get(vrf).is_some_and(|vrf| vrf.enforced) {
                // Contracts mean nothing inside a VRF that enforces nothing.
                continue;
            }
            all.push(users);
        }
        for consumer in consumers.iter().filter(|_| !found) {
            let text = format!("no group within its scope provides contract `{dn}`");
            let dn = consumer.relation.dn.clone();
            builder.problems.push(Problem { dn, cause: Cause::NoProvider, text });
        }
    }
    all.retain(|users| !users.providers.is_empty() && !users.consumers.is_empty());
    all
}

/// Whoever shares this is within the contract's scope, VRFs aside.
fn reach<'a>(scope: Scope, user: &Use<'a>) -> Option<&'a Dn> {
    match scope {
        Scope::Profile => Some(user.member.profile),
        Scope::Tenant => Some(user.member.tenant),
        Scope::Vrf | Scope::Global => None,
    }
}

/// Says what a contract that somebody uses lacks.
fn check_content(builder: &mut Builder<'_>, intent: &Intent, dn: &Dn, contract: &Contract) {
    if contract.subjects.is_empty() {
        let text = "the contract has no subject that counts: it permits nothing".to_owned();
        builder.problems.push(Problem { dn: dn.clone(), cause: Cause::NoSubject, text });
    }
    for subject in &contract.subjects {
        let mut uses = subject.terms.iter().flat_map(|term| &term.uses);
        if !uses.any(|u| intent.filters.get(&u.filter).is_some_and(|f| !f.entries.is_empty())) {
            let text = "the subject has no filter with an entry: it permits nothing".to_owned();
            let dn = subject.dn.clone();
            builder.problems.push(Problem { dn, cause: Cause::NoFilter, text });
        }
    }
}

/// The rules of a contract to its provider, and back.
pub(super) fn rules(
    builder: &mut Builder<'_>,
    intent: &Intent,
    contract: &Contract,
    part: &Part,
) -> (Vec<Draft>, Vec<Draft>) {
    let (mut forward, mut back) = (Vec::new(), Vec::new());
    let subjects = part.subjects.iter().filter_map(|at| contract.subjects.get(*at));
    for clause in subjects.flat_map(|subject| intent.clauses_of(subject)) {
        let (there, here) = directions(&clause);
        let mut rule = |matches: Option<Match>, reverse| {
            let outcome = outcome(builder, intent, contract, part, &clause, reverse)?;
            numbered(builder, &clause, matches?, reverse, outcome)
        };
        forward.extend(rule(there, false));
        back.extend(rule(here, true));
    }
    (forward, back)
}

/// What an entry matches to the provider and back; see [`super`] for why.
pub(crate) fn directions(clause: &Clause<'_>) -> (Option<Match>, Option<Match>) {
    let Clause { term, used, entry, .. } = clause;
    let written = entry.matches;
    let by_connection = entry.stateful && used.action == Action::Permit;
    match term.way {
        Way::ToProvider => (Some(written), None),
        Way::ToConsumer => (None, Some(written)),
        Way::BothReversed | Way::BothAsWritten if by_connection => (Some(written), None),
        Way::BothAsWritten => (Some(written), Some(written)),
        Way::BothReversed => {
            let reversed = Match { sport: written.dport, dport: written.sport, ..written };
            (Some(written), Some(reversed))
        }
    }
}

/// What a contract does one way with what an entry of it matches; `None` if nothing.
fn outcome(
    builder: &mut Builder<'_>,
    intent: &Intent,
    contract: &Contract,
    part: &Part,
    clause: &Clause<'_>,
    reverse: bool,
) -> Option<Outcome> {
    if clause.used.action == Action::Deny {
        return Some(Outcome::DENY);
    }
    treatment::of_permit(builder, intent, contract, clause.term, part.class, reverse)
}

/// The rule for one entry, one way.
pub(super) fn numbered(
    builder: &mut Builder<'_>,
    clause: &Clause<'_>,
    matches: Match,
    reverse: bool,
    outcome: Outcome,
) -> Option<Draft> {
    let Clause { subject, term, used, entry } = clause;
    let key = RuleKey { holder: term.dn.shared(), entry: entry.dn.shared(), reverse };
    let number = builder.numbers.rule(&key);
    let id = builder.or_problem(&subject.dn, number)?;
    let origin = Origin { dn: subject.dn.shared(), entry: key.entry, reverse };
    builder.table.origins.insert(id, origin);
    let rule = Rule {
        id,
        priority: 0,
        matches,
        action: outcome.action,
        reason: outcome.reason,
        stateful: entry.stateful && outcome.action != Action::Deny,
        log: used.log || term.through.log,
        treatment: outcome.treatment,
    };
    Some(Draft { rule, rank: Some(used.rank) })
}
