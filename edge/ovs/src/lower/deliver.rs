//! Whom it is for, and how it gets there: the stages from [`Stage::Destination`] to [`Stage::Ttl`],
//! [`Stage::Deliver`] and [`Stage::Output`].

use std::net::IpAddr;

use selvage_rules::{Desired, Reason};

use super::place::{At, Place, Places};
use super::sender::{broadcast_v4, multicast_v4, multicast_v6};
use super::{Bridge, Lowered, ipv4, ipv6, mac, of_family, otherwise};
use crate::openflow::{Action, Bits, Field, Match, frag, port};
use crate::tables::{
    Stage, cookie, drop_for, flag, move_mac, reg, set_flags, set_mac, set_receiver,
};

/// The hop limit of what a gateway itself sends.
const GATEWAY_HOPS: u8 = 64;

pub(super) fn fill(desired: &Desired, bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    destinations(desired, bridge, places, lowered);
    routes(bridge, places, lowered);
    gateway(lowered);
    hops(lowered);
    deliver(lowered);
    output(desired, bridge, places, lowered);
}

fn destinations(desired: &Desired, bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    let group = Match::any().masked(Field::EthDst, 1_u64 << 40, 1_u64 << 40);
    for matches in [group, multicast_v4(), broadcast_v4(), multicast_v6()] {
        lowered.add(Stage::Destination, 50, matches, drop_for(Reason::Multicast));
    }
    for (bd, domain) in &desired.table.bridge_domains {
        let to_gateway = Match::any().with(reg::BD, bd.0).with(Field::EthDst, mac(domain.mac));
        let actions = if domain.routed {
            vec![set_flags(flag::ROUTED), Stage::Route.goto()]
        } else {
            drop_for(Reason::NotRouted)
        };
        lowered.add(Stage::Destination, 40, to_gateway, actions);
    }
    for ((bd, to), place) in &places.by_mac {
        let matches = Match::any().with(reg::BD, bd.0).with(Field::EthDst, mac(*to));
        let actions = reach(bridge, place, Stage::Track);
        lowered.add(Stage::Destination, 30, matches, actions);
    }
    otherwise(lowered, Stage::Destination, Reason::UnknownDestination);
}

fn routes(bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    for ((scope, ip), place) in &places.by_ip {
        let matches = to_address(*ip).with(reg::SCOPE, scope.0);
        let actions = match (place.at, place.routed) {
            (At::Gateway, _) => vec![Stage::Gateway.goto()],
            (_, false) => drop_for(Reason::NotRouted),
            (_, true) => reach(bridge, place, Stage::Ttl),
        };
        lowered.add(Stage::Route, 20, matches, actions);
    }
    otherwise(lowered, Stage::Route, Reason::UnknownDestination);
}

pub(super) fn to_address(ip: IpAddr) -> Match {
    let width = if ip.is_ipv6() { 128 } else { 32 };
    of_family(ip.is_ipv6()).destination(ip, width)
}

/// Writes down what is known of the receiver, and goes on.
pub(super) fn reach(bridge: &Bridge, place: &Place, next: Stage) -> Vec<Action> {
    let mut actions = set_receiver(place.class, place.class).to_vec();
    actions.push(set_mac(reg::MAC, place.mac));
    actions.push(set_mac(reg::GATEWAY_MAC, place.gateway_mac));
    match place.at {
        At::Port(number) => actions.push(Action::set(reg::OUT, number)),
        At::Host(host) => actions.extend(to_host(bridge, host)),
        At::Gateway => {}
    }
    actions.push(next.goto());
    actions
}

/// It is to leave by the tunnel to this host.
pub(super) fn to_host(bridge: &Bridge, host: IpAddr) -> [Action; 3] {
    let tunnel = match host {
        IpAddr::V4(host) => Action::set(Field::TunDst, u32::from(host)),
        IpAddr::V6(host) => Action::set(Field::TunIpv6Dst, u128::from(host)),
    };
    [set_flags(flag::REMOTE), Action::set(reg::OUT, bridge.tunnel_port), tunnel]
}

/// The gateway's own address answers echo and offers nothing else. The later fragments of a long
/// request only turn around.
fn gateway(lowered: &mut Lowered) {
    for (family, proto, kind, request, reply) in
        [(ipv4(), 1_u8, Field::Icmpv4Type, 8_u8, 0_u8), (ipv6(), 58, Field::Icmpv6Type, 128, 129)]
    {
        let icmp = family.with(Field::IpProto, proto);
        let whole = icmp.clone().masked(Field::IpFrag, 0_u8, frag::LATER).with(kind, request);
        let later = icmp.masked(Field::IpFrag, frag::LATER, frag::LATER);
        let mut answer = vec![Action::set(kind, reply)];
        answer.extend(turn_around(proto == 58));
        let fabric = cookie::reason(Reason::Fabric);
        lowered.add_as(fabric, Stage::Gateway, 20, whole, answer);
        lowered.add_as(fabric, Stage::Gateway, 20, later, turn_around(proto == 58));
    }
    otherwise(lowered, Stage::Gateway, Reason::Gateway);
}

fn turn_around(is_v6: bool) -> Vec<Action> {
    let (src, dst, between) = if is_v6 {
        (Field::Ipv6Src, Field::Ipv6Dst, Bits::all(Field::XxReg2))
    } else {
        (Field::Ipv4Src, Field::Ipv4Dst, Bits::all(Field::Reg8))
    };
    let mac_between = Bits::of(reg::MAC, 0, 48);
    vec![
        Action::Move { from: Bits::all(src), to: between },
        Action::copy(dst, src),
        Action::Move { from: between, to: Bits::all(dst) },
        Action::Move { from: Bits::all(Field::EthSrc), to: mac_between },
        Action::copy(Field::EthDst, Field::EthSrc),
        Action::Move { from: mac_between, to: Bits::all(Field::EthDst) },
        Action::set(Field::IpTtl, GATEWAY_HOPS),
        Action::Output(port::IN_PORT),
    ]
}

fn hops(lowered: &mut Lowered) {
    for family in [ipv4(), ipv6()] {
        for hops in [0_u8, 1] {
            let over = family.clone().with(Field::IpTtl, hops);
            lowered.add(Stage::Ttl, 20, over, drop_for(Reason::TtlExpired));
        }
    }
    lowered.add(Stage::Ttl, 0, Match::any(), vec![Stage::Track.goto()]);
}

/// Routing happens once, at the source host. The destination host writes the MACs again, because its
/// own knowledge of its endpoint is the newer one.
fn deliver(lowered: &mut Lowered) {
    let both = flag::ROUTED | flag::FROM_TUNNEL;
    let macs = [move_mac(reg::GATEWAY_MAC, Field::EthSrc), move_mac(reg::MAC, Field::EthDst)];
    for family in [ipv4(), ipv6()] {
        let routed = family.masked(reg::FLAGS, flag::ROUTED, both);
        let actions = [&[Action::DecTtl][..], &macs[..], &[Stage::Output.goto()][..]].concat();
        lowered.add(Stage::Deliver, 20, routed, actions);
    }
    let arrived = Match::any().masked(reg::FLAGS, both, both);
    lowered.add(Stage::Deliver, 20, arrived, [&macs[..], &[Stage::Output.goto()][..]].concat());
    lowered.add(Stage::Deliver, 0, Match::any(), vec![Stage::Output.goto()]);
}

fn output(desired: &Desired, bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    let remote = Match::any().masked(reg::FLAGS, flag::REMOTE, flag::REMOTE);
    for (number, source) in &desired.sources {
        let sender = remote
            .clone()
            .with(reg::SCOPE, source.key.scope.0)
            .with(reg::SRC, u32::from(source.key.class.0));
        let actions = vec![Action::set(Field::TunId, number.0), Action::Output(bridge.tunnel_port)];
        lowered.add(Stage::Output, 20, sender, actions);
    }
    lowered.add(Stage::Output, 10, remote, drop_for(Reason::RedirectFailed));
    // An endpoint may speak to an address of its own.
    for number in places.ports.keys() {
        let itself = Match::any().with(Field::InPort, *number).with(reg::OUT, *number);
        lowered.add(Stage::Output, 5, itself, vec![Action::Output(port::IN_PORT)]);
    }
    let actions = vec![Action::OutputField(Bits::all(reg::OUT))];
    lowered.add(Stage::Output, 0, Match::any(), actions);
}
