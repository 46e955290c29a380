//! The comparison: every flow put to the oracle and to the compiled table.

use std::fmt;
use std::net::IpAddr;

use selvage_model::Tree;
use selvage_oracle::{End, Endpoint, Ends, Judgement, State, Verdict as Says};
use selvage_rules::{
    Action, BridgeDomain, ClassId, GroupKey, Packet, Protection, Reason, Rule, ScopeId, Table,
    Verdict,
};

use crate::atoms::{answer_to, words};

/// Somebody who takes part: an endpoint, or an address outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// An endpoint of the fabric.
    Member(Endpoint),
    /// Outside the fabric.
    Outside {
        /// DN of the VRF.
        vrf: String,
        /// The address.
        address: IpAddr,
    },
}

impl Who {
    /// An endpoint of a group, of which nothing else is known.
    pub fn of(group: &str) -> Who {
        Who::Member(Endpoint::of(group))
    }

    /// As the oracle is asked about it.
    pub fn end(&self) -> End<'_> {
        match self {
            Who::Member(endpoint) => End::Member(endpoint),
            Who::Outside { vrf, address } => End::Outside { vrf, address: *address },
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Outside { vrf, address } => write!(f, "{address} outside {vrf}"),
            Who::Member(endpoint) => {
                f.write_str(&endpoint.attached)?;
                endpoint.ip.iter().try_for_each(|ip| write!(f, " {ip}"))?;
                endpoint.mac.iter().try_for_each(|mac| write!(f, " {mac}"))?;
                endpoint.attributes.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
            }
        }
    }
}

/// What the judges said about one flow when they did not say the same.
#[derive(Debug, Clone)]
pub struct Disagreement {
    /// The sender.
    pub from: String,
    /// The receiver.
    pub to: String,
    /// What was sent.
    pub packet: Packet,
    /// The packet it answers, if it answers one.
    pub answers: Option<Packet>,
    /// What the oracle says.
    pub oracle: Judgement,
    /// What the table says.
    pub table: Verdict,
    /// Where the table's rule comes from.
    pub origin: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}  {}", self.from, self.to, words(&self.packet))?;
        if let Some(opening) = &self.answers {
            write!(f, ", which answers {}", words(opening))?;
        }
        write!(f, "\n  oracle: {}", show_judgement(&self.oracle))?;
        write!(f, "\n  table:  {}, by {}", show_verdict(&self.table), self.origin)
    }
}

/// How a fabric fared.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Flows that were put to both judges.
    pub flows: usize,
    /// Of these, how many the oracle let pass.
    pub allowed: usize,
    /// Where the judges disagreed, in the order of the flows.
    pub disagreements: Vec<Disagreement>,
}

/// Puts all packets from everybody to everybody, themselves included, before both judges: first
/// as nothing is known of a connection, then the answer to each as one that answers it.
pub fn compare(tree: &Tree, table: &Table, people: &[Who], packets: &[Packet]) -> Comparison {
    let mut comparison = Comparison::default();
    for from in people {
        for to in people {
            let there = Ends::of(tree, from.end(), to.end());
            let back = Ends::of(tree, to.end(), from.end());
            for packet in packets {
                comparison.put(&there, table, (from, to), packet, None);
                comparison.put(&back, table, (to, from), &answer_to(packet), Some(*packet));
            }
        }
    }
    comparison
}

impl Comparison {
    /// Puts one flow before both judges; `ends` are the two as the oracle knows them.
    pub fn put(
        &mut self,
        ends: &Ends<'_>,
        table: &Table,
        (from, to): (&Who, &Who),
        packet: &Packet,
        answers: Option<Packet>,
    ) {
        let state = answers.map_or(State::New, |opening| State::Established { opening });
        let oracle = ends.judge(packet, state);
        let compiled = ask_table(table, from.end(), to.end(), packet, answers);
        self.flows += 1;
        self.allowed += usize::from(oracle.verdict == Says::Allow);
        if !same(&oracle, &compiled, table) {
            self.disagreements.push(Disagreement {
                from: from.to_string(),
                to: to.to_string(),
                packet: *packet,
                answers,
                origin: show_origin(&compiled, table),
                oracle,
                table: compiled,
            });
        }
    }
}

/// The table's verdict, contracts first and then the gates of the two endpoints.
pub fn ask_table(
    table: &Table,
    from: End<'_>,
    to: End<'_>,
    packet: &Packet,
    answers: Option<Packet>,
) -> Verdict {
    let verdict = ask_contracts(table, from, to, packet, answers);
    let gates = [(from, to, false), (to, from, true)];
    let shut = gates.iter().any(|(end, other, inward)| {
        !passes_gate(table, *end, ip_of(*other), *inward, packet, answers)
    });
    if verdict.action == Action::Deny || !shut {
        return verdict;
    }
    Verdict { reason: Reason::HostProtection, ..Verdict::IMPLICIT_DENY }
}

/// Whether the protection of an endpoint lets the packet in or out.
fn passes_gate(
    table: &Table,
    end: End<'_>,
    remote: Option<IpAddr>,
    inward: bool,
    packet: &Packet,
    answers: Option<Packet>,
) -> bool {
    let End::Member(endpoint) = end else { return true };
    if endpoint.protection.is_empty() {
        return true;
    }
    let policies =
        || endpoint.protection.iter().filter_map(|dn| table.protections.get(dn.as_str()));
    let tracked = answers.is_some_and(|opening| {
        let gate = Protection::decide(policies(), !inward, &opening, remote);
        gate.is_some_and(|gate| gate.permit && gate.reflexive)
    });
    let gate = Protection::decide(policies(), inward, packet, remote);
    tracked || gate.is_some_and(|gate| gate.permit)
}

/// The verdict of contracts: the rules', or the connection's where a stateful rule permits what is
/// answered. Where the two groups are is the table's to know as well.
fn ask_contracts(
    table: &Table,
    from: End<'_>,
    to: End<'_>,
    packet: &Packet,
    answers: Option<Packet>,
) -> Verdict {
    let dropped = |reason| Verdict { reason, ..Verdict::IMPLICIT_DENY };
    let Some(sender) = Side::of(table, from) else {
        let outside = matches!(from, End::Outside { .. });
        return dropped(if outside { Reason::UnknownSource } else { Reason::Quarantine });
    };
    let Some(receiver) = Side::of(table, to) else { return dropped(Reason::UnknownDestination) };
    let (src, dst) = ((sender.key(), ip_of(from)), (receiver.key(), ip_of(to)));
    let Some(scope) = table.meeting(src, dst, packet.ether) else {
        return dropped(Reason::UnknownDestination);
    };
    if let Some(reason) = sender.apart_from(&receiver, packet) {
        return dropped(reason);
    }
    if let Some(opening) = answers {
        let forward = table.judge(scope, receiver.source, sender.destination, &opening);
        if forward.action != Action::Deny && forward.stateful {
            let action = Action::Permit;
            return Verdict { action, reason: Reason::Established, stateful: false, ..forward };
        }
    }
    table.judge(scope, sender.source, receiver.destination, packet)
}

fn ip_of(end: End<'_>) -> Option<IpAddr> {
    match end {
        End::Member(endpoint) => endpoint.ip,
        End::Outside { address, .. } => Some(address),
    }
}

/// One end of a flow, in the table's numbers.
struct Side<'a> {
    scope: ScopeId,
    /// The class of what it sends.
    source: ClassId,
    /// The class of what it gets.
    destination: ClassId,
    /// Its bridge domain; `None` outside.
    bd: Option<&'a BridgeDomain>,
}

impl Side<'_> {
    fn of<'a>(table: &'a Table, end: End<'_>) -> Option<Side<'a>> {
        match end {
            End::Member(member) => {
                let key = key_of(table, &member.attached)?;
                let bd = table.groups.get(&key).and_then(|g| table.bridge_domains.get(&g.bd?))?;
                let (source, destination) = (key.class, key.class);
                Some(Side { scope: key.scope, source, destination, bd: Some(bd) })
            }
            End::Outside { vrf, address } => {
                let (scope, _) = table.vrfs.iter().find(|(_, found)| *found.name == *vrf)?;
                let external = table.outside.get(scope)?.group_of(address)?;
                let (source, destination) = (external.source, external.destination);
                Some(Side { scope: *scope, source, destination, bd: None })
            }
        }
    }

    fn key(&self) -> GroupKey {
        GroupKey { scope: self.scope, class: self.source }
    }

    /// Why no packet gets from here to there, whatever the rules say.
    fn apart_from(&self, to: &Side<'_>, packet: &Packet) -> Option<Reason> {
        let is_ip = packet.ether.is_ip();
        match (self.bd, to.bd) {
            (None, None) => Some(Reason::UnknownDestination),
            (Some(here), Some(there)) if here.name == there.name => None,
            (Some(here), Some(there)) => {
                (!is_ip || !here.routed || !there.routed).then_some(Reason::NotRouted)
            }
            _ if !is_ip => Some(Reason::UnknownDestination),
            (Some(inside), None) | (None, Some(inside)) => {
                (!inside.routed).then_some(Reason::NotRouted)
            }
        }
    }
}

fn key_of(table: &Table, group: &str) -> Option<GroupKey> {
    table.groups.iter().find(|(_, found)| &*found.name == group).map(|(key, _)| *key)
}

/// Whether both say the same for the same reason, and the table's rule comes from objects that the
/// oracle names too.
pub(crate) fn same(oracle: &Judgement, compiled: &Verdict, table: &Table) -> bool {
    let verdict = match compiled.action {
        Action::Permit => Says::Allow,
        Action::Deny => Says::Deny,
        Action::Redirect => Says::Redirect,
    };
    oracle.verdict == verdict
        && oracle.reason == compiled.reason
        && oracle.stateful == compiled.stateful
        && oracle.log == compiled.log
        && same_service(oracle, compiled, table)
        && same_author(oracle, compiled, table)
}

/// Whether both send the packet, or a copy of it, to the same place.
fn same_service(oracle: &Judgement, compiled: &Verdict, table: &Table) -> bool {
    let decides = |rule: &&Rule| Some(rule.id) == compiled.rule;
    let rule = table.rule_sets.values().find_map(|set| set.rules.iter().find(decides));
    let service = rule.and_then(|rule| table.services.get(&rule.treatment.service?));
    let name = service.map(|service| &*service.name);
    match compiled.action {
        // What answers a connection passes by it, and is not sent anywhere.
        _ if compiled.reason == Reason::Established => true,
        Action::Redirect => oracle.redirect.as_ref().map(|dn| dn.as_str()) == name,
        Action::Deny => true,
        Action::Permit => name.is_none_or(|name| oracle.copy.iter().any(|dn| dn.as_str() == name)),
    }
}

fn same_author(oracle: &Judgement, compiled: &Verdict, table: &Table) -> bool {
    let Some(origin) = compiled.rule.and_then(|rule| table.origins.get(&rule)) else {
        // Only the implicit deny and what never meets a rule has no author.
        return compiled.rule.is_none();
    };
    let named = |dn: &str| oracle.because.iter().any(|known| known.as_str() == dn);
    named(&origin.dn) && (origin.entry.is_empty() || named(&origin.entry))
}

pub(crate) fn show_judgement(judgement: &Judgement) -> String {
    let because: Vec<&str> = judgement.because.iter().map(|dn| dn.as_str()).collect();
    let verdict = match judgement.verdict {
        Says::Allow => "allow",
        Says::Deny => "deny",
        Says::Redirect => "redirect",
    };
    let also = also(judgement.stateful, judgement.log);
    format!("{verdict} {}{also}, because {}", judgement.reason.name(), because.join(", "))
}

pub(crate) fn show_verdict(verdict: &Verdict) -> String {
    let action = match verdict.action {
        Action::Permit => "allow",
        Action::Deny => "deny",
        Action::Redirect => "redirect",
    };
    format!("{action} {}{}", verdict.reason.name(), also(verdict.stateful, verdict.log))
}

fn also(stateful: bool, log: bool) -> String {
    [(stateful, ", stateful"), (log, ", logged")]
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect()
}

pub(crate) fn show_origin(verdict: &Verdict, table: &Table) -> String {
    match verdict.rule.map(|rule| (rule, table.origins.get(&rule))) {
        None => "no rule".to_owned(),
        Some((rule, None)) => format!("rule {rule} of unknown origin"),
        Some((rule, Some(origin))) => {
            let turned = if origin.reverse { ", reversed" } else { "" };
            format!("rule {rule} of {} {}{turned}", origin.dn, origin.entry)
        }
    }
}
