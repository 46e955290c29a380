//! The rules: the stages [`Stage::Rules`], and [`Stage::Reply`] for the packet that opened the
//! connection an answer belongs to.
//!
//! A packet carries the rule sets of its at most four lookups. A rule's flow asks for its set in one
//! of the four registers; its priority says how it ranks among all of them, so that the switch's own
//! choice of the highest is [`selvage_rules::Table::judge`]:
//!
//! ```text
//! priority = TOP - ((rule's priority * 4 + lookup) * stride + place among its set's equals)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use selvage_rules::{
    Action as Verdict, ClassId, Desired, EtherMatch, EtherType, Match as Wanted, PortRange, Reason,
    Rule, RuleSet, RuleSetId, TcpMatch, proto,
};

use super::policy::Slot;
use super::{Lowered, TooManyRules, ether, ipv4, ipv6};
use crate::openflow::{Action, Field, Match, ct_state, frag};
use crate::tables::{Stage, cookie, drop_for, flag, reg, set_flags, turn_classes};

/// The highest priority of a rule's flow.
const TOP: u64 = 65_000;

/// The lowest; below are the flows for what no rule matches.
const BOTTOM: u64 = 100;

/// Rules usually have priorities below this, and sets fewer equals than [`STRIDE`]: then a change
/// of rules moves no other rule's flow.
const LEVELS: u16 = 32;

/// Rules of one priority in one set.
const STRIDE: u64 = 256;

/// TCP flags of an opening packet.
const SYN: u8 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

/// Protocols that Open vSwitch's own connection tracker follows (observed with 3.1).
const TRACKED: [u8; 4] = [proto::ICMP, proto::TCP, proto::UDP, proto::ICMPV6];

pub(super) fn fill(desired: &Desired, lowered: &mut Lowered) -> Result<(), TooManyRules> {
    let slots = slots(desired);
    let sets: Vec<&RuleSet> =
        slots.keys().filter_map(|id| desired.table.rule_sets.get(id).map(|set| &**set)).collect();
    let ranks = Ranks::of(&sets)?;
    for set in &sets {
        for slot in slots.get(&set.id).into_iter().flatten() {
            fill_set(set, *slot, &ranks, lowered);
        }
        untracked(set, lowered);
    }
    for family in [ipv4(), ipv6()] {
        let later = family.masked(Field::IpFrag, frag::LATER, frag::LATER);
        lowered.add(Stage::Rules, 2, later, drop_for(Reason::Fragment));
    }
    lowered.add(Stage::Rules, 0, Match::any(), drop_for(Reason::NoContract));
    Ok(())
}

/// By which lookups each set is found.
fn slots(desired: &Desired) -> BTreeMap<RuleSetId, BTreeSet<Slot>> {
    let mut slots: BTreeMap<RuleSetId, BTreeSet<Slot>> = BTreeMap::new();
    for (key, id) in &desired.table.pairs {
        let slot = Slot::of(key.src == ClassId::ANY, key.dst == ClassId::ANY);
        slots.entry(*id).or_default().insert(slot);
    }
    slots
}

fn untracked(set: &RuleSet, lowered: &mut Lowered) {
    for rule in set.rules.iter().filter(|rule| rule.stateful && rule.action == Verdict::Permit) {
        let Some(number) = rule.matches.proto.filter(|number| !TRACKED.contains(number)) else {
            continue;
        };
        let text = format!(
            "answers to what stateful rule {} permits are denied: the connection tracker of the data \
             plane `ovs` does not follow IP protocol {number}",
            rule.id
        );
        if !lowered.unsupported.contains(&text) {
            lowered.unsupported.push(text);
        }
    }
}

/// How rules become priorities.
struct Ranks {
    levels: BTreeMap<u16, u64>,
    stride: u64,
}

impl Ranks {
    fn of(sets: &[&RuleSet]) -> Result<Ranks, TooManyRules> {
        let used: BTreeSet<u16> =
            sets.iter().flat_map(|set| &set.rules).map(|rule| rule.priority).collect();
        let usual = used.last().is_none_or(|highest| *highest < LEVELS);
        let levels: BTreeSet<u16> = if usual { (0..LEVELS).collect() } else { used };
        let equals = sets.iter().map(|set| most_equals(set)).max().unwrap_or_default();
        let stride = equals.max(STRIDE);
        let need = levels.len() as u64 * 4 * stride;
        let limit = TOP - BOTTOM;
        if need > limit {
            return Err(TooManyRules { need, limit });
        }
        Ok(Ranks { levels: levels.into_iter().zip(0..).collect(), stride })
    }

    fn priority(&self, rule: &Rule, slot: Slot, place: u64) -> u16 {
        let level = self.levels.get(&rule.priority).copied().unwrap_or_default();
        let rank = (level * 4 + slot as u64) * self.stride + place;
        u16::try_from(TOP.saturating_sub(rank)).unwrap_or(u16::MAX)
    }
}

fn most_equals(set: &RuleSet) -> u64 {
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    for rule in &set.rules {
        *counts.entry(rule.priority).or_default() += 1;
    }
    counts.into_values().max().unwrap_or_default()
}

fn fill_set(set: &RuleSet, slot: Slot, ranks: &Ranks, lowered: &mut Lowered) {
    let mut places: BTreeMap<u16, u64> = BTreeMap::new();
    for rule in &set.rules {
        let place = places.entry(rule.priority).or_default();
        let priority = ranks.priority(rule, slot, *place);
        *place += 1;
        for matches in packets(&rule.matches, Side::Packet) {
            let matches = matches.with(slot.register(), set.id.0);
            lowered.add_as(cookie::rule(rule.id), Stage::Rules, priority, matches, decide(rule));
        }
        if let Some(matches) = hidden_fragments(rule) {
            let matches = matches.with(slot.register(), set.id.0);
            lowered.add_as(cookie::rule(rule.id), Stage::Rules, priority, matches, decide(rule));
        }
        for matches in packets(&rule.matches, Side::Opener) {
            let matches = matches.with(slot.register(), set.id.0);
            let (cookie, actions) = answer(rule);
            lowered.add_as(cookie, Stage::Reply, priority, matches, actions);
        }
    }
}

/// Of a later fragment of IPv6 the switch sees the fragment header and no protocol (observed with
/// 3.1). So what does not permit one protocol holds for the later fragments of all; what permits one
/// holds for none.
fn hidden_fragments(rule: &Rule) -> Option<Match> {
    let Rule { matches: wanted, action, .. } = rule;
    let may = wanted.ether.matches(EtherType::IPV6) && wanted.arp_op.is_none();
    if *action == Verdict::Permit || wanted.proto.is_none() || wanted.needs_l4() || !may {
        return None;
    }
    let later = ipv6().masked(Field::IpFrag, frag::LATER, frag::LATER);
    let header = later.with(Field::IpProto, frag::HEADER);
    Some(with_dscp(header, wanted.dscp, Side::Packet))
}

/// What the rule does with a packet.
fn decide(rule: &Rule) -> Vec<Action> {
    let permits = rule.action == Verdict::Permit;
    let mut flags = 0;
    if rule.stateful && permits {
        flags |= flag::STATEFUL;
    }
    if rule.log {
        flags |= flag::LOG;
    }
    let mut actions = vec![Action::set(reg::RULE, rule.id.0)];
    if flags != 0 {
        actions.push(set_flags(flags));
    }
    match rule.action {
        Verdict::Permit => {}
        Verdict::Deny => actions.extend(drop_for(Reason::Denied)),
        Verdict::Redirect => actions.extend(drop_for(Reason::RedirectUnsupported)),
    }
    if !permits {
        return actions;
    }
    actions.push(Action::set(reg::REASON, rule.reason as u32));
    actions.push(if rule.stateful { Stage::Commit.goto() } else { Stage::Permit.goto() });
    actions
}

/// What it says of an answer, by what it would do with the packet that opened the connection. Classes
/// are the other way round here.
fn answer(rule: &Rule) -> (u64, Vec<Action>) {
    let mut actions = turn_classes();
    if rule.action != Verdict::Permit || !rule.stateful {
        actions.push(Stage::Forward.goto());
        return (cookie::PLAIN, actions);
    }
    actions.push(Action::set(reg::RULE, rule.id.0));
    actions.push(Action::set(reg::REASON, Reason::Established as u32));
    if rule.log {
        actions.push(set_flags(flag::LOG));
    }
    actions.push(Stage::Permit.goto());
    (cookie::rule(rule.id), actions)
}

/// Which packet the rule is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The one at hand.
    Packet,
    /// The one that opened its connection, of which the tracker knows protocol and ports. It was a
    /// SYN, if it was TCP.
    Opener,
}

/// The packets a rule is about, as matches that do not overlap except for TCP flags.
fn packets(wanted: &Wanted, side: Side) -> Vec<Match> {
    if wanted.later_fragments_only && (wanted.needs_l4() || side == Side::Opener) {
        return Vec::new();
    }
    families(wanted, side)
        .into_iter()
        .map(|(family, ether)| (with_dscp(family, wanted.dscp, side), ether))
        .flat_map(|(family, ether)| protocols(wanted, side, family, ether))
        .map(|matches| match wanted.later_fragments_only {
            true => matches.masked(Field::IpFrag, frag::LATER, frag::LATER),
            false => matches,
        })
        .collect()
}

/// By Ethernet type; `None` where it does not matter.
fn families(wanted: &Wanted, side: Side) -> Vec<(Match, Option<EtherType>)> {
    let of = |number: EtherType| (ether(number.0), Some(number));
    let both = || vec![of(EtherType::IPV4), of(EtherType::IPV6)];
    let needs_ip = wanted.proto.is_some()
        || wanted.dscp.is_some()
        || wanted.needs_l4()
        || wanted.later_fragments_only;
    let named = match wanted.ether {
        EtherMatch::Any => None,
        EtherMatch::Ip => Some(both()),
        EtherMatch::Is(one) => Some(vec![of(one)]),
    };
    let list = match (wanted.arp_op, named) {
        (Some(operation), named) => {
            let may = named.is_none_or(|list| list.iter().any(|(_, e)| *e == Some(EtherType::ARP)));
            let arp = ether(EtherType::ARP.0).with(Field::ArpOp, operation);
            if may { vec![(arp, Some(EtherType::ARP))] } else { Vec::new() }
        }
        (None, Some(list)) => list,
        (None, None) => {
            let is_ip = needs_ip || side == Side::Opener;
            if is_ip { both() } else { vec![(Match::any(), None)] }
        }
    };
    let is_ip = |ether: &Option<EtherType>| ether.is_none_or(EtherType::is_ip);
    list.into_iter()
        .filter(|(_, ether)| is_ip(ether) || (!needs_ip && side == Side::Packet))
        .collect()
}

/// By IP protocol and what is above it.
fn protocols(wanted: &Wanted, side: Side, family: Match, ether: Option<EtherType>) -> Vec<Match> {
    let family = match side {
        Side::Packet => family,
        Side::Opener => {
            use ct_state::{EST, INV, RPL, TRK};
            family.masked(Field::CtState, TRK | EST | RPL, TRK | EST | RPL | INV)
        }
    };
    if !wanted.needs_l4() {
        // Which is not to be taken for what a rule calls a protocol.
        let family = match wanted.proto {
            Some(frag::HEADER) if side == Side::Packet => {
                family.masked(Field::IpFrag, 0_u8, frag::LATER)
            }
            _ => family,
        };
        return vec![with_protocol(family, wanted.proto, side)];
    }
    // Only the ICMP of its own family has a type that a switch can see; the other is dropped before.
    let icmp = if ether == Some(EtherType::IPV6) { proto::ICMPV6 } else { proto::ICMP };
    let mut may = vec![proto::TCP, proto::UDP, proto::SCTP, icmp];
    may.retain(|number| wanted.proto.is_none_or(|only| only == *number));
    if wanted.sport != PortRange::ANY || wanted.dport != PortRange::ANY {
        may.retain(|number| [proto::TCP, proto::UDP, proto::SCTP].contains(number));
    }
    if wanted.tcp != TcpMatch::Any {
        may.retain(|number| *number == proto::TCP);
    }
    if wanted.icmp != selvage_rules::IcmpMatch::default() {
        may.retain(|number| *number == icmp);
    }
    let base = match side {
        Side::Packet => family.masked(Field::IpFrag, 0_u8, frag::LATER),
        Side::Opener => family,
    };
    may.into_iter()
        .flat_map(|number| {
            let matches = with_protocol(base.clone(), Some(number), side);
            transport(wanted, side, number, matches)
        })
        .collect()
}

/// The tracker does not know the opening packet's code point, so it was written down with the
/// connection.
fn with_dscp(matches: Match, dscp: Option<u8>, side: Side) -> Match {
    let field = if side == Side::Packet { Field::IpDscp } else { Field::CtMark };
    match dscp {
        Some(dscp) => matches.with(field, dscp),
        None => matches,
    }
}

fn with_protocol(matches: Match, number: Option<u8>, side: Side) -> Match {
    let field = if side == Side::Packet { Field::IpProto } else { Field::CtNwProto };
    match number {
        Some(number) => matches.with(field, number),
        None => matches,
    }
}

fn transport(wanted: &Wanted, side: Side, number: u8, matches: Match) -> Vec<Match> {
    let (src, dst) = match (side, number) {
        (Side::Opener, _) => (Field::CtTpSrc, Field::CtTpDst),
        (_, proto::TCP) => (Field::TcpSrc, Field::TcpDst),
        (_, proto::UDP) => (Field::UdpSrc, Field::UdpDst),
        (_, proto::SCTP) => (Field::SctpSrc, Field::SctpDst),
        (_, proto::ICMP) => (Field::Icmpv4Type, Field::Icmpv4Code),
        _ => (Field::Icmpv6Type, Field::Icmpv6Code),
    };
    if number == proto::ICMP || number == proto::ICMPV6 {
        let mut matches = matches;
        if let Some(kind) = wanted.icmp.kind {
            matches = matches.with(src, kind);
        }
        if let Some(code) = wanted.icmp.code {
            matches = matches.with(dst, code);
        }
        return vec![matches];
    }
    let mut list = Vec::new();
    for (from, from_mask) in prefixes(wanted.sport) {
        for (to, to_mask) in prefixes(wanted.dport) {
            let matches = matches.clone().masked(src, from, from_mask).masked(dst, to, to_mask);
            list.extend(flags(wanted.tcp, side, matches));
        }
    }
    list
}

/// The flags a rule asks for. Established is ACK or RST: two matches that overlap, and do the same.
fn flags(wanted: TcpMatch, side: Side, matches: Match) -> Vec<Match> {
    match (wanted, side) {
        (TcpMatch::Any, _) => vec![matches],
        (TcpMatch::Established, Side::Packet) => [ACK, RST]
            .into_iter()
            .map(|bit| matches.clone().masked(Field::TcpFlags, bit, bit))
            .collect(),
        (TcpMatch::All(flags), Side::Packet) => {
            let bits = u16::from(flags.0);
            vec![matches.masked(Field::TcpFlags, bits, bits)]
        }
        (TcpMatch::Established, Side::Opener) => Vec::new(),
        (TcpMatch::All(flags), Side::Opener) if flags.0 & !SYN == 0 => vec![matches],
        (TcpMatch::All(_), Side::Opener) => Vec::new(),
    }
}

/// The ports of a range as values and masks, lowest first. Every port is one of mask 0.
fn prefixes(range: PortRange) -> Vec<(u16, u16)> {
    let (mut at, last) = (u32::from(range.first), u32::from(range.last));
    let mut list = Vec::new();
    while at <= last {
        let aligned = if at == 0 { 16 } else { at.trailing_zeros() };
        let fits = (last - at + 1).ilog2();
        let bits = aligned.min(fits);
        let mask = u32::from(u16::MAX) >> bits << bits;
        list.push((at as u16, mask as u16));
        at += 1 << bits;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_few_prefixes_that_cover_it_once() {
        for (first, last) in [(0, 65535), (80, 80), (1, 65534), (1024, 65535), (5000, 5009), (0, 0)]
        {
            let list = prefixes(PortRange { first, last });
            assert!(list.len() <= 30, "{first}-{last}: {}", list.len());
            for port in [0, 1, first, last, 79, 80, 81, 1023, 1024, 5004, 65534, 65535] {
                let hits = list.iter().filter(|(value, mask)| port & mask == *value).count();
                let inside = (first..=last).contains(&port);
                assert_eq!(hits, usize::from(inside), "{port} in {first}-{last}");
            }
        }
        assert_eq!(prefixes(PortRange::ANY), [(0, 0)]);
    }
}
