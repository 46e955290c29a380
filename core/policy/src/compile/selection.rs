//! Which subjects of a contract hold between which of its users.
//!
//! Users that choose by the same labels, and that the same exceptions are about, stand together, so
//! the work follows the number of distinct choices and not of pairs.

use std::collections::BTreeMap;

use super::exceptions::{Names, Ready};
use super::{Ends, Member, labels};
use crate::ir::{Choice, Contract, Intent, Relation};

use super::sides::{Domain, Use};

/// The part of a contract that holds between some of its users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// Its subjects, by their place in the contract.
    pub subjects: Vec<usize>,
    /// The class of service that the users ask for.
    pub class: Option<u8>,
}

impl Part {
    fn whole(contract: &Contract) -> Part {
        Part { subjects: (0..contract.subjects.len()).collect(), class: None }
    }
}

/// Groups that a contract treats alike on one side of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alike<'a> {
    choice: &'a Choice,
    class: Option<u8>,
    /// For each exception of the contract and then of its subjects: it is about them.
    excepted: Vec<bool>,
}

/// Users of a contract within one part of the fabric in which it counts apart.
#[derive(Default)]
pub(super) struct Users<'a> {
    pub providers: Vec<&'a Use<'a>>,
    pub consumers: Vec<&'a Use<'a>>,
}

/// Splits the users of a contract by the part of it that holds between them.
pub(super) fn split(
    intent: &Intent,
    contract: &Contract,
    domains: &[Users<'_>],
) -> BTreeMap<Part, Vec<Domain>> {
    let mut parts: BTreeMap<Part, Vec<Domain>> = BTreeMap::new();
    let exceptions = Exceptions::of(contract, intent);
    for users in domains {
        if exceptions.is_empty() && is_plain(contract, users) {
            let ends = |users: &[&Use<'_>]| users.iter().map(|user| user.member.ends).collect();
            let domain =
                Domain { providers: ends(&users.providers), consumers: ends(&users.consumers) };
            parts.entry(Part::whole(contract)).or_default().push(domain);
            continue;
        }
        let providers = alike(&users.providers, &exceptions, true);
        let consumers = alike(&users.consumers, &exceptions, false);
        for (provider, provides) in &providers {
            for (consumer, consumes) in &consumers {
                let Some(part) = part(contract, &exceptions, provider, consumer) else { continue };
                let domain = Domain { providers: provides.clone(), consumers: consumes.clone() };
                parts.entry(part).or_default().push(domain);
            }
        }
    }
    parts
}

fn is_plain(contract: &Contract, users: &Users<'_>) -> bool {
    let open = |user: &&&Use<'_>| user.relation.choice.is_open() && user.relation.class.is_none();
    let unlabelled = |(labels, _): &(std::collections::BTreeSet<_>, _)| labels.is_empty();
    users.providers.iter().all(|user| open(&user))
        && users.consumers.iter().all(|user| open(&user))
        && contract.subjects.iter().all(|subject| {
            unlabelled(&subject.chosen.by_provider) && unlabelled(&subject.chosen.by_consumer)
        })
}

fn alike<'a>(
    users: &[&'a Use<'a>],
    exceptions: &Exceptions<'_>,
    provides: bool,
) -> BTreeMap<Alike<'a>, Vec<Ends>> {
    let mut groups: BTreeMap<Alike<'a>, Vec<Ends>> = BTreeMap::new();
    for user in users {
        let key = Alike {
            choice: &user.relation.choice,
            class: user.relation.class,
            excepted: exceptions.about(names(user.member), provides),
        };
        groups.entry(key).or_default().push(user.member.ends);
    }
    groups
}

/// What holds inside a group that names the contract for itself; `None` if nothing does. Labels of the
/// group are about others.
pub(super) fn inside(
    intent: &Intent,
    contract: &Contract,
    member: &Member<'_>,
    relation: &Relation,
) -> Option<Part> {
    let exceptions = Exceptions::of(contract, intent);
    let choice = Choice::default();
    let side = |provides| Alike {
        choice: &choice,
        class: relation.class,
        excepted: exceptions.about(names(member), provides),
    };
    part(contract, &exceptions, &side(true), &side(false))
}

fn names<'a>(member: &Member<'a>) -> Names<'a> {
    Names { group: member.dn, tenant: member.tenant, vrf: member.vrf }
}

/// What holds between a provider and a consumer; `None` if nothing does.
fn part(
    contract: &Contract,
    exceptions: &Exceptions<'_>,
    provider: &Alike<'_>,
    consumer: &Alike<'_>,
) -> Option<Part> {
    if !labels::pair(provider.choice, consumer.choice) {
        return None;
    }
    let both = |at: usize| {
        let is = |side: &Alike<'_>| side.excepted.get(at).copied().unwrap_or_default();
        is(provider) && is(consumer)
    };
    let mut closed =
        exceptions.all.iter().enumerate().filter(|(at, _)| both(*at)).map(|(_, e)| e.0);
    let closed_subjects: Vec<Option<usize>> = closed.by_ref().collect();
    if closed_subjects.contains(&None) {
        return None;
    }
    let holds = |(at, subject): &(usize, &crate::ir::Subject)| {
        !closed_subjects.contains(&Some(*at))
            && labels::subject(subject, provider.choice, consumer.choice)
    };
    let subjects: Vec<usize> =
        contract.subjects.iter().enumerate().filter(holds).map(|(at, _)| at).collect();
    // The provider's word on the class of service comes before the consumer's.
    let class = provider.class.or(consumer.class);
    (!subjects.is_empty()).then_some(Part { subjects, class })
}

/// Exceptions of a contract, and of its subjects by their place in it.
struct Exceptions<'a> {
    all: Vec<(Option<usize>, Ready<'a>)>,
}

impl<'a> Exceptions<'a> {
    fn of(contract: &Contract, intent: &'a Intent) -> Exceptions<'a> {
        let mut all = Vec::new();
        all.extend(contract.exceptions.iter().map(|e| (None, Ready::new(e, intent))));
        for (at, subject) in contract.subjects.iter().enumerate() {
            all.extend(subject.exceptions.iter().map(|e| (Some(at), Ready::new(e, intent))));
        }
        Exceptions { all }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn about(&self, names: Names<'_>, provides: bool) -> Vec<bool> {
        self.all.iter().map(|(_, exception)| exception.is_about(names, provides)).collect()
    }
}
