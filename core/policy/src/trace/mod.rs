//! Who decided about a flow, and through which objects: the answer behind `trace`, and behind the
//! words of a drop.

mod flow;
mod miss;
mod place;
mod treated;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{
    Action, BdId, ClassId, EtherType, GroupKey, Packet, Reason, Rule, RuleId, Verdict,
};
use serde::Serialize;

use crate::compile::Compiled;
use crate::front::Endpoint;
use crate::ir::{Intent, Relation};
use crate::members::{self, Membership};
use crate::problem::{Problem, dn_as_text};

pub(crate) use flow::CLIENT_PORT;
pub use flow::{Flow, ParseFlowError, describe, parse_flow, reply};
pub(crate) use flow::{protocol_name, service_port};
pub use miss::{Miss, Why};
pub use place::{FindError, Place, find};
pub use treated::Treated;
pub(crate) use treated::words as treated_words;
pub(crate) use words::name;
pub use words::packet as packet_in_words;

/// What happens to a flow between two ends, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// Where its first packet comes from.
    pub from: End,
    /// Where it goes.
    pub to: End,
    /// Contracts that one end provides and the other consumes, whatever they allow.
    pub contracts: Vec<Candidate>,
    /// The first packet.
    pub forward: Leg,
    /// The answer to it.
    pub back: Leg,
    /// Both in one sentence.
    pub text: String,
}

/// One end of a flow, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// The endpoint, if one was asked for.
    pub endpoint: Option<Endpoint>,
    /// Its group: the one whose contracts count for it.
    #[serde(serialize_with = "dn_as_text")]
    pub group: Dn,
    /// Where the endpoint is attached and what chose its group, if that is another one.
    pub chosen: Option<Membership>,
    /// The group's class; `None` while the group is in quarantine.
    pub class: Option<ClassId>,
    /// Its bridge domain.
    #[serde(serialize_with = "maybe_dn")]
    pub bridge_domain: Option<Dn>,
    /// Its VRF.
    #[serde(serialize_with = "maybe_dn")]
    pub vrf: Option<Dn>,
    /// Why the group is in quarantine.
    pub problems: Vec<Problem>,
    #[serde(skip)]
    side: Option<Side>,
}

/// A contract between the two ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The contract.
    #[serde(serialize_with = "dn_as_text")]
    pub contract: Dn,
    /// The provider's relation to it.
    #[serde(serialize_with = "dn_as_text")]
    pub provider: Dn,
    /// The consumer's relation to it.
    #[serde(serialize_with = "dn_as_text")]
    pub consumer: Dn,
    /// The end where the flow comes from consumes it; otherwise it provides it.
    pub asks: bool,
}

/// One packet, its verdict and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// The packet judged.
    pub packet: Packet,
    /// What happens to it.
    pub verdict: Verdict,
    /// The objects behind the rule that decided.
    pub chain: Option<Chain>,
    /// What else happens to it if it passes.
    #[serde(skip_serializing_if = "Treated::is_nothing")]
    pub treated: Treated,
    /// What comes nearest to allowing it, nearest first; only where it is denied.
    pub misses: Vec<Miss>,
    /// All this in one sentence.
    pub text: String,
}

/// The objects behind a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// The rule.
    pub rule: RuleId,
    /// It is the rule for the way back.
    pub reverse: bool,
    /// The contract subject, or the object whose default it is.
    pub subject: String,
    /// The contract; `None` for a default.
    #[serde(serialize_with = "maybe_dn")]
    pub contract: Option<Dn>,
    /// The filter; `None` for a default.
    #[serde(serialize_with = "maybe_dn")]
    pub filter: Option<Dn>,
    /// The filter entry; `None` for a default.
    #[serde(serialize_with = "maybe_dn")]
    pub entry: Option<Dn>,
    /// The provider's relation to the contract.
    #[serde(serialize_with = "maybe_dn")]
    pub provider: Option<Dn>,
    /// The consumer's relation to the contract.
    #[serde(serialize_with = "maybe_dn")]
    pub consumer: Option<Dn>,
}

/// Judges `flow` between two places, as the hosts would. `family` is the address family asked for;
/// without one the addresses of the endpoints say, and IPv4 where they do not.
pub fn trace(
    compiled: &Compiled,
    from: &Place,
    to: &Place,
    flow: Flow,
    family: Option<EtherType>,
) -> Trace {
    let family = family.unwrap_or_else(|| common_family(from, to));
    trace_packet(compiled, from, to, &flow.packet(family))
}

/// Judges one packet, the first of its flow, and the answer to it.
pub fn trace_packet(compiled: &Compiled, from: &Place, to: &Place, packet: &Packet) -> Trace {
    let (from, to) = (end(compiled, from), end(compiled, to));
    let forward = leg(compiled, &from, &to, packet, false);
    let answer = reply(packet);
    let back = if forward.verdict.action != Action::Deny && forward.verdict.stateful {
        established(&forward, answer)
    } else {
        leg(compiled, &to, &from, &answer, true)
    };
    let contracts = candidates(&compiled.intent, &from.group, &to.group);
    let text = words::summary(&forward, &back);
    Trace { from, to, contracts, forward, back, text }
}

/// The verdict on one packet from one group to another, as the hosts would give it: the table's,
/// unless the packet cannot get there at all.
pub fn verdict(compiled: &Compiled, from: &Dn, to: &Dn, packet: &Packet) -> Verdict {
    let (Some(src), Some(dst)) = (side(compiled, from), side(compiled, to)) else {
        return dropped(Reason::Quarantine);
    };
    judge(compiled, &src, &dst, packet)
}

/// Where one end of a flow stands: its classes as a sender and as a receiver, and its bridge domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    source: GroupKey,
    destination: GroupKey,
    is_outside: bool,
    /// Its address, where one is meant.
    ip: Option<IpAddr>,
    /// `None` outside, and where that of an endpoint cannot be told from its group.
    bd: Option<BdId>,
}

impl Side {
    /// The same, with this address.
    pub(crate) fn at(self, ip: Option<IpAddr>) -> Side {
        Side { ip: ip.or(self.ip), ..self }
    }
}

/// Where an endpoint stands, wherever it is attached; `None` is quarantine.
pub(crate) fn side_of_member(compiled: &Compiled, membership: &Membership) -> Option<Side> {
    let side = side(compiled, membership.group.as_ref()?)?;
    let attached = compiled.groups.get(&membership.attached)?;
    let bd = compiled.table.groups.get(attached)?.bd;
    Some(Side { bd, ..side })
}

/// The classes of a group. One outside is taken for an address in the longest of its prefixes.
pub(crate) fn side(compiled: &Compiled, group: &Dn) -> Option<Side> {
    if let Some(key) = compiled.groups.get(group) {
        let bd = compiled.table.groups.get(key).and_then(|group| group.bd);
        return Some(Side { source: *key, destination: *key, is_outside: false, ip: None, bd });
    }
    let ends = compiled.externals.get(group)?;
    let prefixes = compiled.intent.externals.get(group).map(|external| &external.prefixes);
    let own = prefixes.is_none_or(|all| all.is_empty() || all.iter().any(|p| !p.is_default()));
    let default = ends.default_source.filter(|_| !own);
    let key =
        |class: Option<ClassId>| GroupKey { class: class.unwrap_or(ends.key.class), ..ends.key };
    Some(Side {
        source: key(default),
        destination: key(default.map(|_| ClassId::DEFAULT_OUTSIDE)),
        is_outside: true,
        ip: None,
        bd: None,
    })
}

/// The group outside that an address is in, by its longest prefix, and the classes of that.
pub(crate) fn side_of_address(
    compiled: &Compiled,
    vrf: &Dn,
    ip: IpAddr,
) -> Option<(Arc<str>, Side)> {
    let table = &compiled.table;
    let (scope, _) = table.vrfs.iter().find(|(_, known)| *known.name == *vrf.as_str())?;
    let group = table.external(*scope, ip)?;
    let key = |class| GroupKey { scope: *scope, class };
    let (source, destination) = (key(group.source), key(group.destination));
    let side = Side { source, destination, is_outside: true, ip: Some(ip), bd: None };
    Some((Arc::clone(&group.name), side))
}

/// Whether packets find the way from one end to the other, within a VRF or by what two share.
pub(crate) fn meet(compiled: &Compiled, src: &Side, dst: &Side, ether: EtherType) -> bool {
    let (here, there) = ends(src, dst);
    compiled.table.meeting(here, there, ether).is_some()
}

/// The verdict on a packet between two ends, as the hosts would give it.
pub(crate) fn judge(compiled: &Compiled, src: &Side, dst: &Side, packet: &Packet) -> Verdict {
    let both_outside = src.is_outside && dst.is_outside;
    let routed = |side: &Side| !side.is_outside || packet.ether.is_ip();
    if both_outside || !routed(src) || !routed(dst) {
        return dropped(Reason::UnknownDestination);
    }
    let table = &compiled.table;
    let (here, there) = ends(src, dst);
    let Some(scope) = table.meeting(here, there, packet.ether) else {
        return dropped(Reason::UnknownDestination);
    };
    let domain = |bd: Option<BdId>| bd.and_then(|bd| table.bridge_domains.get(&bd));
    let domains = (domain(src.bd), domain(dst.bd));
    let (src, dst) = (&here.0, &there.0);
    if let (Some(here), Some(there)) = domains
        && here.name != there.name
        && !(here.routed && there.routed && packet.ether.is_ip())
    {
        return dropped(Reason::NotRouted);
    }
    table.judge(scope, src.class, dst.class, packet)
}

/// The rule that decides about a packet from one group to another, where the network carries it.
pub fn deciding<'c>(
    compiled: &'c Compiled,
    from: &Dn,
    to: &Dn,
    packet: &Packet,
) -> Option<&'c Rule> {
    let (src, dst) = (side(compiled, from)?, side(compiled, to)?);
    let number = judge(compiled, &src, &dst, packet).rule?;
    ruling(compiled, &src, &dst, packet).filter(|rule| rule.id == number)
}

/// What else happens to a packet that this verdict lets pass.
pub(crate) fn treatment(
    compiled: &Compiled,
    src: &Side,
    dst: &Side,
    packet: &Packet,
    verdict: &Verdict,
) -> Treated {
    let rule = ruling(compiled, src, dst, packet).filter(|rule| verdict.rule == Some(rule.id));
    rule.map(|rule| treated::treated(&compiled.table, src.source, rule, packet)).unwrap_or_default()
}

/// What else happens to a packet from one group to another.
pub(crate) fn treated(compiled: &Compiled, from: &Dn, to: &Dn, packet: &Packet) -> Treated {
    let rule = deciding(compiled, from, to, packet);
    let from = side(compiled, from).map(|side| side.source);
    let of = |(rule, from)| treated::treated(&compiled.table, from, rule, packet);
    rule.zip(from).map(of).unwrap_or_default()
}

/// The classes by which two ends meet, each with its address: across VRFs what only a default prefix
/// covers has one class both ways.
fn ends(src: &Side, dst: &Side) -> ((GroupKey, Option<IpAddr>), (GroupKey, Option<IpAddr>)) {
    let within = src.source.scope == dst.source.scope;
    let receiver = if within { dst.destination } else { dst.source };
    ((src.source, src.ip), (receiver, dst.ip))
}

/// The rule between two ends, whatever the network carries.
fn ruling<'c>(compiled: &'c Compiled, src: &Side, dst: &Side, packet: &Packet) -> Option<&'c Rule> {
    let (here, there) = ends(src, dst);
    let scope = compiled.table.meeting(here, there, packet.ether)?;
    compiled.table.deciding_rule(scope, here.0.class, there.0.class, packet).map(|(_, rule)| rule)
}

fn dropped(reason: Reason) -> Verdict {
    Verdict { reason, ..Verdict::IMPLICIT_DENY }
}

fn common_family(from: &Place, to: &Place) -> EtherType {
    let has = |place: &Place, v6: bool| match place {
        Place::Group(_) => true,
        Place::Endpoint(e) => e.ips.is_empty() || e.ips.iter().any(|ip| ip.is_ipv6() == v6),
    };
    let v4 = has(from, false) && has(to, false);
    if v4 || !(has(from, true) && has(to, true)) { EtherType::IPV4 } else { EtherType::IPV6 }
}

fn end(compiled: &Compiled, place: &Place) -> End {
    let chosen = match place {
        Place::Group(_) => None,
        Place::Endpoint(e) => {
            let facts = members::facts(&e.name, e.mac, &e.ips, &[]);
            Some(members::of(compiled, &e.group, &facts))
        }
    };
    let side = match &chosen {
        Some(membership) => side_of_member(compiled, membership),
        None => side(compiled, place.group()),
    };
    let group = chosen.as_ref().and_then(|m| m.group.as_ref()).unwrap_or(place.group());
    let attached = compiled.intent.groups.get(place.group());
    let resolved = compiled.intent.groups.get(group);
    let outside = compiled.externals.get(group).map(|ends| ends.key.class);
    let class = compiled.groups.get(group).map(|key| key.class).or(outside);
    let class = class.filter(|_| side.is_some());
    let problems = match class {
        Some(_) => Vec::new(),
        None => compiled.problems.iter().filter(|p| group.contains(&p.dn)).cloned().collect(),
    };
    End {
        endpoint: match place {
            Place::Group(_) => None,
            Place::Endpoint(endpoint) => Some(endpoint.clone()),
        },
        group: group.clone(),
        class,
        bridge_domain: attached.or(resolved).and_then(|g| g.bd.clone()),
        vrf: compiled.intent.vrf_of(group).cloned(),
        problems,
        side,
        chosen: chosen.filter(|membership| membership.cause.is_some()),
    }
}

fn leg(compiled: &Compiled, from: &End, to: &End, packet: &Packet, is_answer: bool) -> Leg {
    let verdict = match (&from.side, &to.side) {
        (Some(src), Some(dst)) => judge(compiled, src, dst, packet),
        _ => dropped(Reason::Quarantine),
    };
    let chain = verdict.rule.and_then(|rule| chain(compiled, rule, &from.group, &to.group));
    // What a default denies between two groups, a contract could allow.
    let by_default = chain.as_ref().is_some_and(|chain| chain.contract.is_none());
    let lacks_contract = verdict.reason == Reason::NoContract
        || verdict.reason == Reason::Denied && by_default && from.group != to.group;
    let misses = if lacks_contract {
        miss::nearest(compiled, &from.group, &to.group, packet)
    } else {
        Vec::new()
    };
    let sides = from.side.zip(to.side);
    let treated = sides
        .map(|(src, dst)| treatment(compiled, &src, &dst, packet, &verdict))
        .unwrap_or_default();
    let mut leg = Leg { packet: *packet, verdict, chain, treated, misses, text: String::new() };
    leg.text = words::sentence(from, to, &leg, is_answer);
    leg
}

fn established(forward: &Leg, packet: Packet) -> Leg {
    let action = Action::Permit;
    let verdict = Verdict { action, reason: Reason::Established, ..forward.verdict };
    let text = format!("the answer passes: {}", Reason::Established.text());
    let (chain, treated) = (forward.chain.clone(), Treated::default());
    Leg { packet, verdict, chain, treated, misses: Vec::new(), text }
}

/// The objects behind `rule`, given the groups it was found between.
pub fn chain(compiled: &Compiled, rule: RuleId, from: &Dn, to: &Dn) -> Option<Chain> {
    let origin = compiled.table.origins.get(&rule)?;
    let entry: Option<Dn> = origin.entry.parse().ok();
    let subject: Option<Dn> = origin.dn.parse().ok();
    let contract = entry.as_ref().and(subject.as_ref()).and_then(Dn::parent);
    let (consumer, provider) = if origin.reverse { (to, from) } else { (from, to) };
    let intent = &compiled.intent;
    let names_it = |relation: &&Relation| Some(&relation.contract) == contract.as_ref();
    let taboo = || intent.stance(to)?.taboos.iter().find(names_it);
    let inside =
        || intent.stance(to).filter(|_| from == to)?.inside.iter().flatten().find(names_it);
    let offered = || intent.offers(provider).find(names_it);
    let used = || intent.uses(consumer).find(names_it);
    let dn = |relation: &Relation| relation.dn.clone();
    Some(Chain {
        rule,
        reverse: origin.reverse,
        subject: origin.dn.to_string(),
        filter: entry.as_ref().and_then(Dn::parent),
        provider: taboo().or_else(inside).or_else(offered).map(dn),
        consumer: inside().or_else(used).map(dn),
        contract,
        entry,
    })
}

fn candidates(intent: &Intent, from: &Dn, to: &Dn) -> Vec<Candidate> {
    let between = |consumer: &Dn, provider: &Dn, asks: bool| -> Vec<Candidate> {
        let pairs = intent.uses(consumer).filter_map(|used| {
            let offered = intent.offers(provider).find(|o| o.contract == used.contract)?;
            Some(Candidate {
                contract: used.contract.clone(),
                provider: offered.dn.clone(),
                consumer: used.dn.clone(),
                asks,
            })
        });
        pairs.collect()
    };
    let mut all = between(from, to, true);
    all.extend(between(to, from, false));
    all
}

fn maybe_dn<S: serde::Serializer>(dn: &Option<Dn>, serializer: S) -> Result<S::Ok, S::Error> {
    match dn {
        Some(dn) => serializer.serialize_some(dn.as_str()),
        None => serializer.serialize_none(),
    }
}
