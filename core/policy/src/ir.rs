//! What a tree asks for, once every name in it is resolved: the front's result, the compiler's
//! input.
//!
//! Nothing here can be wrong: whatever was dangling, contradictory or half made has become a
//! [`Problem`](crate::Problem) on the way here and is absent, so that it denies.

mod choice;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{Action, Arms, Gateway, Hop, Inside, Mac, Match, Prefix, Protection, Quality};

pub use choice::{Choice, Chosen, Exception, Field, Label, MatchType, Pattern};
pub use service::{Marking, Path, Service, Through};

/// Everything enforceable of a tree, by DN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intent {
    /// VRFs.
    pub vrfs: BTreeMap<Dn, Vrf>,
    /// Bridge domains that are in a VRF.
    pub bridge_domains: BTreeMap<Dn, BridgeDomain>,
    /// Groups that are in such a bridge domain, or in a VRF at large.
    pub groups: BTreeMap<Dn, Group>,
    /// External groups whose L3Out leads out of a VRF.
    pub externals: BTreeMap<Dn, External>,
    /// L3Outs that lead out of a VRF, and which.
    pub l3outs: BTreeMap<Dn, Dn>,
    /// What else is to know of the world outside, by VRF.
    pub outside: BTreeMap<Dn, Outside>,
    /// What groups of other VRFs may know of the addresses in a bridge domain or a group, by its DN.
    pub leaks: BTreeMap<Dn, BTreeSet<Prefix>>,
    /// Which endpoints are in another group than the one they are attached to, by VRF and bridge
    /// domain.
    pub arms: Arms,
    /// Contracts.
    pub contracts: BTreeMap<Dn, Contract>,
    /// Taboo contracts, as contracts that deny toward the provider, who is the group they protect.
    pub taboos: BTreeMap<Dn, Contract>,
    /// Filters.
    pub filters: BTreeMap<Dn, Filter>,
    /// Tags of groups, where they have any.
    pub tags: BTreeMap<Dn, BTreeSet<Arc<str>>>,
    /// Redirect policies, and copy devices that are used.
    pub services: BTreeMap<Dn, Service>,
    /// Quality of service that groups ask for.
    pub qualities: BTreeMap<Dn, Quality>,
    /// Host protection policies.
    pub protections: BTreeMap<Dn, Protection>,
}

/// A VRF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vrf {
    /// Its tenant.
    pub tenant: Dn,
    /// Contracts count. Otherwise everything passes but what a group keeps apart inside itself.
    pub enforced: bool,
    /// What all its groups offer and use together.
    pub any: Any,
}

/// All groups of a VRF at once (ACI's vzAny).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Any {
    /// The object.
    pub dn: Dn,
    /// The groups that say so talk to each other without contracts: the preferred group.
    pub preferred: bool,
    /// Contracts all offer.
    pub provides: Vec<Relation>,
    /// Contracts all use.
    pub consumes: Vec<Relation>,
}

/// What a group asks for beside the contracts it offers and uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stance {
    /// Its endpoints may not talk to each other.
    pub isolated: bool,
    /// Contracts for its own endpoints among each other: nothing else passes inside it. `None` if it
    /// names none.
    pub inside: Option<Vec<Relation>>,
    /// Taboo contracts that protect it.
    pub taboos: Vec<Relation>,
    /// What one of its taboo contracts denies is unknown, so nothing may reach it from others.
    pub sealed: bool,
    /// It is in the preferred group of its VRF.
    pub preferred: bool,
}

/// A bridge domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeDomain {
    /// Its VRF.
    pub vrf: Dn,
    /// The MAC of its gateways.
    pub mac: Mac,
    /// Packets to that MAC are routed.
    pub routed: bool,
    /// Its gateways, ascending.
    pub gateways: Vec<Gateway>,
}

/// A group of endpoints treated alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its tenant.
    pub tenant: Dn,
    /// Its application profile.
    pub profile: Dn,
    /// The bridge domain its endpoints live in; `None` if each keeps its own.
    pub bd: Option<Dn>,
    /// Its VRF: that of the bridge domain, where it has one.
    pub vrf: Dn,
    /// What holds beside its contracts.
    pub stance: Stance,
    /// Contracts it offers.
    pub provides: Vec<Relation>,
    /// Contracts it uses.
    pub consumes: Vec<Relation>,
    /// Prefixes outside whose addresses are in it, too.
    pub outside: BTreeSet<Prefix>,
}

/// A group of addresses outside the fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Its tenant.
    pub tenant: Dn,
    /// Its L3Out.
    pub out: Dn,
    /// The VRF that the L3Out leads out of.
    pub vrf: Dn,
    /// The prefixes that put an address into it.
    pub prefixes: BTreeSet<Prefix>,
    /// What holds beside its contracts.
    pub stance: Stance,
    /// Contracts it offers.
    pub provides: Vec<Relation>,
    /// Contracts it uses.
    pub consumes: Vec<Relation>,
}

/// How the world outside a VRF is reached, and what it may see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outside {
    /// Hosts that lead to a prefix.
    pub routes: BTreeMap<Prefix, BTreeSet<Hop>>,
    /// Subnets of the VRF.
    pub inside: BTreeMap<Prefix, Inside>,
}

/// A relation from a group to a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The relation object: the group's own, or that of the group it inherits from.
    pub dn: Dn,
    /// The contract it resolved to.
    pub contract: Dn,
    /// Which providers or consumers of the contract, and which of its subjects.
    pub choice: Choice,
    /// The class of service that it asks for, 1 to 6.
    pub class: Option<u8>,
}

/// Between which groups of those that use it a contract counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Groups of one application profile.
    Profile,
    /// Groups of one VRF.
    Vrf,
    /// Groups of one tenant.
    Tenant,
    /// All groups.
    Global,
}

/// What providers offer to consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Between whom it counts.
    pub scope: Scope,
    /// Its subjects, by DN.
    pub subjects: Vec<Subject>,
    /// Pairs for which it does not count.
    pub exceptions: Vec<Exception>,
    /// Marks for what it permits.
    pub marking: Marking,
}

impl Contract {
    /// Whether there are pairs for which not all of it counts.
    pub fn has_exceptions(&self) -> bool {
        !self.exceptions.is_empty() || self.subjects.iter().any(|s| !s.exceptions.is_empty())
    }
}

/// One subject of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The subject.
    pub dn: Dn,
    /// What it lets through, and which way.
    pub terms: Vec<Term>,
    /// Which groups it is for.
    pub chosen: Chosen,
    /// Pairs for which it does not count.
    pub exceptions: Vec<Exception>,
}

/// Which way a term's filters count. A consumer asks, a provider answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Both ways; on the way back source and destination ports change places.
    BothReversed,
    /// Both ways, with the ports as they are written.
    BothAsWritten,
    /// From consumer to provider only.
    ToProvider,
    /// From provider to consumer only.
    ToConsumer,
}

/// Filters that count one way, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The object that holds the filters: the subject, or its part for one direction.
    pub dn: Dn,
    /// Which way.
    pub way: Way,
    /// The filters.
    pub uses: Vec<FilterUse>,
    /// Marks for what it permits: its own, else those of its subject.
    pub marking: Marking,
    /// What that passes on its way.
    pub through: Through,
}

/// A subject's use of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterUse {
    /// The relation object.
    pub relation: Dn,
    /// The filter it resolved to.
    pub filter: Dn,
    /// Permit or deny what the filter matches.
    pub action: Action,
    /// Log what it decides.
    pub log: bool,
    /// How it ranks if it denies.
    pub rank: DenyRank,
}

/// How a deny ranks against permits (ACI's `priorityOverride`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyRank {
    /// As a permit of the same pair and filter would.
    Default,
    /// `level1`, lowest: as a rule between any two groups.
    Lowest,
    /// `level2`, medium: as a rule from a group to any.
    Medium,
    /// `level3`, highest: as a rule between two named groups.
    Highest,
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its entries, by DN. A broken one is absent.
    pub entries: Vec<Entry>,
    /// A broken entry is absent from it, so a subject must not deny by it.
    pub incomplete: bool,
}

/// One entry of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry.
    pub dn: Dn,
    /// What it matches, on the way to the provider.
    pub matches: Match,
    /// Replies pass by the connection. Counts for TCP, UDP and ICMP echo alike: see
    /// [`crate::compile`].
    pub stateful: bool,
}

/// One entry where a contract uses it.
#[derive(Debug, Clone, Copy)]
pub struct Clause<'a> {
    /// The subject.
    pub subject: &'a Subject,
    /// The part of it that names the filter.
    pub term: &'a Term,
    /// Its use of the filter.
    pub used: &'a FilterUse,
    /// The entry of the filter.
    pub entry: &'a Entry,
}

impl Intent {
    /// The contracts that a group offers and those that it uses, be it inside or outside.
    pub fn relations(&self, group: &Dn) -> Option<(&[Relation], &[Relation])> {
        let inside = self.groups.get(group).map(|g| (&g.provides[..], &g.consumes[..]));
        inside.or_else(|| self.externals.get(group).map(|g| (&g.provides[..], &g.consumes[..])))
    }

    /// What a group asks for beside its contracts, be it inside or outside.
    pub fn stance(&self, group: &Dn) -> Option<&Stance> {
        let inside = self.groups.get(group).map(|g| &g.stance);
        inside.or_else(|| self.externals.get(group).map(|g| &g.stance))
    }

    /// All groups of the VRF that a group is in.
    pub fn any_of(&self, group: &Dn) -> Option<&Any> {
        self.vrfs.get(self.vrf_of(group)?).map(|vrf| &vrf.any)
    }

    /// The relations by which a group offers contracts, its own before those of its VRF.
    pub fn offers(&self, group: &Dn) -> impl Iterator<Item = &Relation> {
        let own = self.relations(group).map(|(offers, _)| offers).unwrap_or_default();
        own.iter().chain(self.any_of(group).into_iter().flat_map(|any| &any.provides))
    }

    /// The relations by which a group uses contracts, its own before those of its VRF.
    pub fn uses(&self, group: &Dn) -> impl Iterator<Item = &Relation> {
        let own = self.relations(group).map(|(_, uses)| uses).unwrap_or_default();
        own.iter().chain(self.any_of(group).into_iter().flat_map(|any| &any.consumes))
    }

    /// The contracts that a group offers and those that it uses, to add to them.
    pub(crate) fn relations_mut(
        &mut self,
        group: &Dn,
    ) -> Option<(&mut Vec<Relation>, &mut Vec<Relation>)> {
        if let Some(group) = self.groups.get_mut(group) {
            return Some((&mut group.provides, &mut group.consumes));
        }
        self.externals.get_mut(group).map(|g| (&mut g.provides, &mut g.consumes))
    }

    /// The VRF of a group, be it inside or outside.
    pub fn vrf_of(&self, group: &Dn) -> Option<&Dn> {
        let inside = self.groups.get(group).map(|g| &g.vrf);
        inside.or_else(|| self.externals.get(group).map(|g| &g.vrf))
    }

    /// Every entry that `contract` uses, in the order of subjects, terms, filters and entries.
    pub fn clauses<'a>(&'a self, contract: &'a Contract) -> impl Iterator<Item = Clause<'a>> {
        contract.subjects.iter().flat_map(|subject| self.clauses_of(subject))
    }

    /// Every entry that `subject` uses, in the order of terms, filters and entries.
    pub fn clauses_of<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = Clause<'a>> {
        let uses = subject.terms.iter().flat_map(|t| t.uses.iter().map(move |used| (t, used)));
        uses.flat_map(move |(term, used)| {
            let entries = self.filters.get(&used.filter).map(|f| f.entries.as_slice());
            let entries = entries.unwrap_or_default().iter();
            entries.map(move |entry| Clause { subject, term, used, entry })
        })
    }
}
