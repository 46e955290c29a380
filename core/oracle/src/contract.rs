//! What contracts say about a packet from one group to another.

use selvage_model::{Dn, Mo, Tree};
use selvage_rules::{Packet, Reason};

use crate::place::{Place, application_profile, named, tenant};
use crate::relation::{Party, Tie, consumed, parties, provided};
use crate::service::{self, Service};
use crate::{entry, exception, label, ruling};

/// One rule between two ends.
#[derive(Debug, Clone)]
pub(crate) struct Rule<'a> {
    /// The filter entry whose packets it is about, and whether ports are exchanged in it; without
    /// one it is about all packets.
    pub(crate) entry: Option<(&'a Mo, bool)>,
    /// Its place in the list of priorities: lower wins.
    pub(crate) place: u8,
    /// It denies.
    pub(crate) deny: bool,
    /// Replies to what it permits pass by the connection.
    pub(crate) stateful: bool,
    /// Packets that it decides about are logged.
    pub(crate) log: bool,
    /// The reason of its permit.
    pub(crate) reason: Reason,
    /// The policy by which what it permits is redirected.
    pub(crate) redirect: Option<Dn>,
    /// Where copies go.
    pub(crate) copy: Vec<Dn>,
    /// How wide its filter entry is: see [`entry::breadth`].
    pub(crate) breadth: u8,
    /// The objects that it comes from.
    pub(crate) because: Vec<Dn>,
}

impl<'a> Rule<'a> {
    /// A rule that permits everything.
    pub(crate) fn permit(place: u8, because: &[&Mo]) -> Rule<'a> {
        Rule {
            entry: None,
            place,
            deny: false,
            stateful: false,
            log: false,
            reason: Reason::Contract,
            redirect: None,
            copy: Vec::new(),
            breadth: entry::WIDEST,
            because: because.iter().map(|mo| mo.dn().clone()).collect(),
        }
    }

    /// A rule that denies everything.
    pub(crate) fn deny(place: u8, because: &[&Mo]) -> Rule<'a> {
        Rule { deny: true, ..Rule::permit(place, because) }
    }

    /// The same about the packets of an entry only.
    pub(crate) fn about(self, entry: &'a Mo, turned: bool) -> Rule<'a> {
        let breadth = entry::breadth(entry, turned);
        Rule { entry: Some((entry, turned)), breadth, ..self }
    }

    /// Whether it is about the packet.
    pub(crate) fn matches(&self, packet: &Packet) -> bool {
        self.entry.is_none_or(|(entry, turned)| entry::matches(entry, packet, turned))
    }
}

/// Which way a packet goes through a contract.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From consumer to provider.
    Asking,
    /// From provider to consumer.
    Answering,
}

/// The rules of all contracts between two different groups. Either end may have the contracts of
/// several groups: those that share the default prefix outside; and each also those of its VRF's
/// vzAny.
///
/// Contract Guide: contracts add up. Which of them a matching entry belongs to plays no part.
pub(crate) fn rules<'a>(tree: &'a Tree, from: &Place<'a>, to: &Place<'a>) -> Vec<Rule<'a>> {
    let mut rules = Vec::new();
    for sender in &parties(tree, from) {
        for receiver in &parties(tree, to) {
            rules.extend(of_contracts(tree, (sender, receiver), Way::Asking));
            rules.extend(of_contracts(tree, (receiver, sender), Way::Answering));
        }
    }
    rules
}

/// The rules of all contracts that the one consumes and the other provides.
fn of_contracts<'a>(
    tree: &'a Tree,
    (consumer, provider): (&Party<'a>, &Party<'a>),
    way: Way,
) -> Vec<Rule<'a>> {
    let mut rules = Vec::new();
    if provider.any && consumer.vrf.dn() != provider.vrf.dn() {
        return rules;
    }
    let offers = provided(tree, provider.holder);
    for wanted in consumed(tree, consumer.holder) {
        // It must be the same object: two tenants may each have a contract of that name.
        for offered in offers.iter().filter(|o| o.contract.dn() == wanted.contract.dn()) {
            if may_meet(&wanted, offered)
                && in_scope(wanted.contract, consumer, provider)
                && !exception::takes_out(tree, wanted.contract, consumer, provider)
                && label::let_meet(tree, offered, &wanted)
            {
                let parties = (consumer, provider);
                rules.extend(of_subjects(tree, parties, (&wanted, offered), way));
            }
        }
    }
    rules
}

/// Whether contracts of groups of these kinds join them at all.
///
/// *Security Configuration Guide*, "Endpoint Security Groups": "contracts between ESGs and EPGs are
/// not supported"; an ESG has contracts with other ESGs, with external EPGs and with vzAny. What it
/// inherits from an EPG that it selects is that EPG's, and joins it to others' EPGs; and as a member
/// of vzAny, or of the preferred group, it does meet EPGs.
fn may_meet(wanted: &Tie<'_>, offered: &Tie<'_>) -> bool {
    let kinds = (wanted.said_by.class().name, offered.said_by.class().name);
    !matches!(kinds, ("fvESg", "fvAEPg") | ("fvAEPg", "fvESg"))
}

/// Whether the contract may join these two groups.
///
/// Contract Guide, "Contract scope": `application-profile` joins groups of one application
/// profile, `context` groups of one VRF, `tenant` groups of one tenant, `global` any; only the last
/// two reach into another VRF. The scope looks at where the *groups* are, never at where the contract
/// is. vzAny stands for each group of its VRF where a profile is asked for, and is of its VRF's tenant.
///
/// *Contract Guide*, "vzAny", on shared services: vzAny may consume from a provider of another VRF,
/// but not provide to another VRF.
pub(crate) fn in_scope(contract: &Mo, consumer: &Party<'_>, provider: &Party<'_>) -> bool {
    let one_vrf = consumer.vrf.dn() == provider.vrf.dn();
    match contract.get("scope") {
        "application-profile" => {
            let own = application_profile(consumer.group.dn());
            one_vrf && own.is_some() && own == application_profile(provider.group.dn())
        }
        "tenant" => tenant(consumer.holder.dn()) == tenant(provider.holder.dn()),
        "context" | "vrf" => one_vrf,
        "global" => true,
        _ => false,
    }
}

/// The rules of all subjects of a contract.
///
/// Contract Guide, "How contracts work"; "Cisco ACI Deep Dive: Contracts (Part 1)":
/// - a filter of the subject itself (`vzRsSubjFiltAtt`, "apply both directions") is about packets
///   from consumer to provider as written, and about packets from provider to consumer with source
///   and destination ports reversed, or as written where the subject says `revFltPorts=no`;
/// - a filter under `vzInTerm` is about packets from consumer to provider only, one under
///   `vzOutTerm` about packets from provider to consumer only, both as written: reversing has no
///   effect there;
/// - the user interface offers one or the other ("apply both directions", checked or not). The
///   tree may hold both, and no document takes the meaning of either away then: they add up.
///
/// Where ACI leaves a deny that names no filter out and applies the rest, Selvage does not guess
/// what it was to deny: broken configuration denies, so such a subject permits nothing.
pub(crate) fn of_subjects<'a>(
    tree: &'a Tree,
    (consumer, provider): (&Party<'a>, &Party<'a>),
    (wanted, offered): (&Tie<'a>, &Tie<'a>),
    way: Way,
) -> Vec<Rule<'a>> {
    let within = wanted.relation.class().name == "fvRsIntraEpg";
    let mut all = Vec::new();
    for subject in tree.children_of_class(wanted.contract.dn(), "vzSubj") {
        if exception::takes_out(tree, subject, consumer, provider)
            || !label::let_use(tree, subject, offered, wanted)
        {
            continue;
        }
        let contract = wanted.contract;
        let search = Search { tree, contract, subject, parties: (consumer, provider), way, within };
        let mut rules = search.both_ways();
        rules.extend(search.terminal());
        if denies_the_unknown(tree, subject) {
            rules.retain(|rule| rule.deny);
        }
        all.extend(rules);
    }
    all
}

/// Whether a deny of the subject, in either direction, names a filter that does not exist.
fn denies_the_unknown(tree: &Tree, subject: &Mo) -> bool {
    tree.descendants(subject.dn()).any(|mo| {
        matches!(mo.class().name, "vzRsSubjFiltAtt" | "vzRsFiltAtt")
            && mo.get("action") == "deny"
            && filter_of(tree, mo).is_none()
    })
}

fn filter_of<'a>(tree: &'a Tree, relation: &Mo) -> Option<&'a Mo> {
    named(tree, relation.dn(), "flt", relation.get("tnVzFilterName"))
}

/// One way through one subject.
struct Search<'a, 'p> {
    tree: &'a Tree,
    contract: &'a Mo,
    subject: &'a Mo,
    /// Consumer and provider.
    parties: (&'p Party<'a>, &'p Party<'a>),
    way: Way,
    /// The contract is one within a group.
    within: bool,
}

/// How a filter is put to use in one direction.
#[derive(Clone, Copy)]
struct Use {
    /// This is the second direction of a filter that is written once and applied both ways.
    answers: bool,
    /// In that direction, source and destination ports change places.
    turned: bool,
}

impl<'a> Search<'a, '_> {
    /// The filters that the subject applies both ways.
    fn both_ways(&self) -> Vec<Rule<'a>> {
        let turned = self.subject.get("revFltPorts") != "no";
        let both = Use { answers: self.way == Way::Answering, turned };
        let graph = self.tree.children_of_class(self.subject.dn(), "vzRsSubjGraphAtt").next();
        let service = service::of_subject(self.tree, self.subject, graph, self.way, self.within);
        let mut rules = Vec::new();
        for filter in self.tree.children_of_class(self.subject.dn(), "vzRsSubjFiltAtt") {
            rules.extend(self.filter(filter, both, &service));
        }
        rules
    }

    /// The filters of one direction.
    fn terminal(&self) -> Vec<Rule<'a>> {
        let (class, graph) = match self.way {
            Way::Asking => ("vzInTerm", "vzRsInTermGraphAtt"),
            Way::Answering => ("vzOutTerm", "vzRsOutTermGraphAtt"),
        };
        let as_written = Use { answers: false, turned: false };
        let mut rules = Vec::new();
        let of_subject = self.tree.children_of_class(self.subject.dn(), "vzRsSubjGraphAtt").next();
        for terminal in self.tree.children_of_class(self.subject.dn(), class) {
            // A terminal has the subject's graph where it names none of its own.
            let graph = self.tree.children_of_class(terminal.dn(), graph).next().or(of_subject);
            let service =
                service::of_subject(self.tree, self.subject, graph, self.way, self.within);
            for filter in self.tree.children_of_class(terminal.dn(), "vzRsFiltAtt") {
                rules.extend(self.filter(filter, as_written, &service));
            }
        }
        rules
    }

    /// The rules of one filter, named by a relation and sought from the tenant of the *contract*.
    ///
    /// A stateful entry that permits has no second direction: what answers it passes by the
    /// connection. (In ACI's hardware it has one, narrowed to packets with ACK set; both keep the
    /// provider from opening.) A deny opens no connection, so `stateful` means nothing to it.
    fn filter(&self, relation: &Mo, usage: Use, service: &Service) -> Vec<Rule<'a>> {
        let mut rules = Vec::new();
        let Some(filter) = filter_of(self.tree, relation) else { return rules };
        let deny = relation.get("action") == "deny";
        for entry in self.tree.children_of_class(filter.dn(), "vzEntry") {
            let stateful = entry.get("stateful") == "yes" && !deny;
            if usage.answers && stateful {
                continue;
            }
            let place =
                ruling::place(self.tree, self.parties, self.way, self.contract, relation, entry);
            let log = relation.get("directives").split(',').any(|word| word == "log");
            let made_of = Rule::permit(place, &[self.subject, entry]);
            let rule =
                Rule { deny, stateful, log, ..made_of }.about(entry, usage.answers && usage.turned);
            rules.extend(if deny { Some(rule) } else { service.applied_to(rule) });
        }
        rules
    }
}

#[cfg(test)]
mod tests;
