//! The world outside: the stages [`Stage::Exit`] and [`Stage::Outside`], and what of
//! [`Stage::Route`], [`Stage::Recipient`] and [`Stage::Ttl`] leads there.
//!
//! A flow's priority is the length of its prefix, so that the switch's own choice of the highest is
//! the longest. Whatever an endpoint or a gateway has is asked for first: an address of the inside is
//! not outside, wherever the endpoint is, and never comes from there.

use std::net::IpAddr;

use selvage_agent::datapath::ExitLink;
use selvage_rules::{
    ClassId, Desired, Encapsulation, Exit, External, GroupKey, Prefix, Reason, ScopeId, Way,
};

use super::deliver::{to_address, to_host};
use super::place::{At, Places};
use super::sender::{broadcast_v4, icmp6, link_local, multicast_v4, multicast_v6};
use super::{Bridge, Lowered, ipv4, ipv6, of_family, otherwise};
use crate::openflow::{Action, Bits, Field, Match, frag};
use crate::tables::{Stage, drop_for, flag, reg, set_flags, set_mac, set_receiver, set_sender};

/// Of a prefix of length 0; above are those of up to 128 bits.
const PREFIX: u16 = 20;

/// Of what comes before all prefixes; four steps are taken.
const FIRST: u16 = 200;

pub(super) fn fill(desired: &Desired, bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    for scope in desired.table.outside.keys().copied() {
        leading_there(scope, places, lowered);
        let ways = desired.ways(scope);
        for (prefix, way) in &ways {
            let to = Match::any().with(reg::SCOPE, scope.0);
            let to = of_prefix(to, *prefix).destination(prefix.address(), prefix.length());
            leave(desired, bridge, scope, way, &to, PREFIX + u16::from(prefix.length()), lowered);
        }
        if bridge.exits.contains_key(&scope) {
            inside(scope, places, lowered);
            ways.iter().for_each(|(prefix, way)| enter(scope, *prefix, way, lowered));
        }
    }
    never_enter(lowered);
    never_leave(lowered);
    let arrived = Match::any().masked(reg::FLAGS, flag::FROM_TUNNEL, flag::FROM_TUNNEL);
    // The hop limit falls where a packet is routed first.
    lowered.add(Stage::Ttl, 30, arrived, vec![Stage::Track.goto()]);
    for scope in desired.exits_here().iter().filter(|scope| !bridge.exits.contains_key(scope)) {
        let vrf = desired.table.vrfs.get(scope).map_or("", |vrf| &*vrf.name);
        let link = ExitLink::of(*scope).plane;
        lowered.unsupported.push(format!("the way out of `{vrf}`: there is no `{link}`"));
    }
}

/// The class by which packets to this sender are judged.
pub(super) fn receives(desired: &Desired, sender: GroupKey) -> ClassId {
    let groups =
        desired.table.outside.get(&sender.scope).into_iter().flat_map(|o| o.groups.values());
    let mut defaults = groups.filter(|group| group.destination == ClassId::DEFAULT_OUTSIDE);
    match defaults.next() {
        Some(default) if default.source == sender.class => ClassId::DEFAULT_OUTSIDE,
        _ => sender.class,
    }
}

/// An address that no endpoint has is asked of the prefixes, unless it came from there: nothing is
/// carried from outside to outside.
fn leading_there(scope: ScopeId, places: &Places, lowered: &mut Lowered) {
    let of_scope = Match::any().with(reg::SCOPE, scope.0);
    let from_inside = of_scope.clone().masked(reg::FLAGS, 0_u32, flag::FROM_OUTSIDE);
    lowered.add(Stage::Route, 10, from_inside, vec![Stage::Outside.goto()]);
    for ((_, ip), place) in places.by_ip.iter().filter(|((of, _), _)| *of == scope) {
        if !matches!(place.at, At::Port(_)) {
            let elsewhere = to_address(*ip).with(reg::SCOPE, scope.0);
            lowered.add(Stage::Recipient, 15, elsewhere, drop_for(Reason::UnknownDestination));
        }
    }
    let outside = vec![set_flags(flag::ROUTED), Stage::Outside.goto()];
    lowered.add(Stage::Recipient, 10, of_scope, outside);
}

/// How packets to a prefix leave. What came through the overlay has been routed, and goes no farther
/// than this host.
fn leave(
    desired: &Desired,
    bridge: &Bridge,
    scope: ScopeId,
    way: &Way<'_>,
    to: &Match,
    priority: u16,
    lowered: &mut Lowered,
) {
    let Some(group) = way.group else {
        let nobody = drop_for(Reason::UnknownDestination);
        return lowered.add(Stage::Outside, priority, to.clone(), nobody);
    };
    let arrived = |yes: bool| {
        let value = if yes { flag::FROM_TUNNEL } else { 0 };
        to.clone().masked(reg::FLAGS, value, flag::FROM_TUNNEL)
    };
    let no_exit = || drop_for(Reason::NoExit);
    let speaks = |host: &IpAddr| desired.tunnels.get(host) == Some(&Encapsulation::EpgVni);
    let is_near = |host: &IpAddr| host.is_ipv4() == bridge.tunnel.is_ipv4();
    match (way.exit, bridge.exits.get(&scope)) {
        (Some(Exit::Here), Some(number)) => {
            let out = [Action::set(reg::OUT, *number)];
            lowered.add(Stage::Outside, priority, to.clone(), hand_out(scope, group, &out));
        }
        (Some(Exit::Host(host)), _) if speaks(&host) && is_near(&host) => {
            let out = hand_out(scope, group, &to_host(bridge, host));
            lowered.add(Stage::Outside, priority, arrived(false), out);
            lowered.add(Stage::Outside, priority, arrived(true), no_exit());
        }
        _ => lowered.add(Stage::Outside, priority, to.clone(), no_exit()),
    }
}

/// The stack's end is the next hop, whichever host it is on; the gateway is who it comes from.
fn hand_out(scope: ScopeId, group: &External, out: &[Action]) -> Vec<Action> {
    let mut actions = set_receiver(group.destination, group.source).to_vec();
    actions.push(set_mac(reg::MAC, ExitLink::of(scope).mac));
    actions.push(Action::Move {
        from: Bits::all(Field::EthDst),
        to: Bits::of(reg::GATEWAY_MAC, 0, 48),
    });
    actions.extend_from_slice(out);
    actions.push(Stage::Ttl.goto());
    actions
}

/// Addresses of the inside never come from outside.
fn inside(scope: ScopeId, places: &Places, lowered: &mut Lowered) {
    for (_, ip) in places.by_ip.keys().filter(|(of, _)| *of == scope) {
        let width = if ip.is_ipv6() { 128 } else { 32 };
        let claimed = of_family(ip.is_ipv6()).with(reg::SCOPE, scope.0).source(*ip, width);
        lowered.add(Stage::Exit, FIRST + 1, claimed, drop_for(Reason::SpoofedIp));
    }
}

/// Of which group is whoever sends from a prefix.
fn enter(scope: ScopeId, prefix: Prefix, way: &Way<'_>, lowered: &mut Lowered) {
    let from = of_prefix(Match::any().with(reg::SCOPE, scope.0), prefix)
        .source(prefix.address(), prefix.length());
    let actions = match way.group {
        None => drop_for(Reason::UnknownSource),
        Some(group) => {
            let mut actions = set_sender(group.source, group.destination).to_vec();
            actions.push(Stage::Route.goto());
            actions
        }
    };
    lowered.add(Stage::Exit, PREFIX + u16::from(prefix.length()), from, actions);
}

fn of_prefix(matches: Match, prefix: Prefix) -> Match {
    let ether = if prefix.address().is_ipv6() { 0x86dd_u16 } else { 0x0800 };
    matches.with(Field::EthType, ether)
}

/// What is no packet of a neighbour from beyond a router, whoever sends it.
fn never_enter(lowered: &mut Lowered) {
    let multicast = [multicast_v4(), broadcast_v4(), multicast_v6()];
    let discovery = (133..=137).map(|kind| icmp6(kind).masked(Field::IpFrag, 0_u8, frag::LATER));
    for matches in multicast.into_iter().chain(discovery) {
        lowered.add(Stage::Exit, FIRST + 2, matches, drop_for(Reason::Multicast));
    }
    // The other family's ICMP is none that anything could be known of.
    for matches in [ipv4().with(Field::IpProto, 58_u8), ipv6().with(Field::IpProto, 1_u8)] {
        lowered.add(Stage::Exit, FIRST + 3, matches, drop_for(Reason::Malformed));
    }
    let unspecified = [ipv4().with(Field::Ipv4Src, 0_u32), ipv6().with(Field::Ipv6Src, 0_u128)];
    for matches in unspecified.into_iter().chain(stays_on_link(Field::Ipv4Src, Field::Ipv6Src)) {
        lowered.add(Stage::Exit, FIRST, matches, drop_for(Reason::UnknownSource));
    }
    for family in [ipv4(), ipv6()] {
        lowered.add(Stage::Exit, 10, family, drop_for(Reason::UnknownSource));
    }
    otherwise(lowered, Stage::Exit, Reason::UnsupportedEthertype);
}

fn never_leave(lowered: &mut Lowered) {
    for matches in stays_on_link(Field::Ipv4Dst, Field::Ipv6Dst) {
        lowered.add(Stage::Outside, FIRST, matches, drop_for(Reason::UnknownDestination));
    }
    otherwise(lowered, Stage::Outside, Reason::UnknownDestination);
}

/// RFC 3927 and RFC 4291: valid on one link only, so never beyond a router.
fn stays_on_link(v4: Field, v6: Field) -> [Match; 2] {
    [ipv4().masked(v4, 0xa9fe_0000_u32, 0xffff_0000_u32), link_local(ipv6(), v6)]
}
