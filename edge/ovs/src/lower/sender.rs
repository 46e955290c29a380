//! Who sends it, and whether that is true: the stages [`Stage::Port`], [`Stage::ArpSource`] and
//! [`Stage::Source`].

use std::net::IpAddr;

use selvage_rules::{Desired, Reason};

use super::place::{Bound, Places};
use super::{Bridge, Lowered, ether, ipv4, ipv6, mac, of_family, otherwise};
use crate::openflow::{Action, Field, Match, frag, port};
use crate::tables::{Stage, cookie, drop_for, flag, reg, set_flags, set_sender};

/// Of a VLAN tag that is there.
const TAGGED: u16 = 0x1000;

pub(super) fn fill(desired: &Desired, bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    ports(bridge, places, lowered);
    peers(desired, bridge, lowered);
    claims(places, lowered);
    sources(places, lowered);
}

fn ports(bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    for (number, bound) in &places.ports {
        let from = Match::any().with(Field::InPort, *number);
        let known = from.clone().with(Field::EthSrc, mac(bound.place.mac));
        let tagged = known.clone().masked(Field::VlanTci, TAGGED, TAGGED);
        let arp = known.clone().with(Field::EthType, 0x0806_u16);
        lowered.add(Stage::Port, 40, tagged, with(bound, drop_for(Reason::UnsupportedEthertype)));
        lowered.add(Stage::Port, 30, arp, with(bound, vec![Stage::ArpSource.goto()]));
        lowered.add(Stage::Port, 20, known, with(bound, vec![Stage::Source.goto()]));
        lowered.add(Stage::Port, 10, from, with(bound, drop_for(Reason::SpoofedMac)));
    }
    for (scope, number) in &bridge.exits {
        let from = Match::any().with(Field::InPort, *number);
        let tagged = from.clone().masked(Field::VlanTci, TAGGED, TAGGED);
        let known = |then: Vec<Action>| {
            let outside = set_flags(flag::FROM_OUTSIDE | flag::ROUTED);
            [vec![Action::set(reg::SCOPE, scope.0), outside], then].concat()
        };
        lowered.add(Stage::Port, 20, tagged, known(drop_for(Reason::UnsupportedEthertype)));
        lowered.add(Stage::Port, 10, from, known(vec![Stage::Exit.goto()]));
    }
    let own = Match::any().with(Field::InPort, port::LOCAL);
    lowered.add(Stage::Port, 10, own, drop_for(Reason::HostOrigin));
    let tunnel = Match::any().with(Field::InPort, bridge.tunnel_port);
    let from_tunnel = set_flags(flag::FROM_TUNNEL);
    let mut unknown = vec![from_tunnel];
    unknown.extend(drop_for(Reason::UnknownTunnel));
    lowered.add(Stage::Port, 10, tunnel, unknown);
    otherwise(lowered, Stage::Port, Reason::Quarantine);
}

/// Hosts of the fabric that speak as this one does.
fn peers(desired: &Desired, bridge: &Bridge, lowered: &mut Lowered) {
    use selvage_rules::Encapsulation::EpgVni;
    for (peer, _) in desired.tunnels.iter().filter(|(_, speaks)| **speaks == EpgVni) {
        let from = Match::any().with(Field::InPort, bridge.tunnel_port);
        let matches = match peer {
            IpAddr::V4(peer) => from.with(Field::TunSrc, u32::from(*peer)),
            IpAddr::V6(peer) => from.with(Field::TunIpv6Src, u128::from(*peer)),
        };
        let actions = vec![set_flags(flag::FROM_TUNNEL), Stage::Tunnel.goto()];
        lowered.add(Stage::Port, 20, matches, actions);
    }
}

/// What is known of the sender goes first.
fn with(bound: &Bound, then: Vec<Action>) -> Vec<Action> {
    let class = bound.place.class;
    let mut actions = vec![Action::set(reg::SCOPE, bound.scope.0)];
    actions.extend(set_sender(class, class));
    actions.push(Action::set(reg::BD, bound.place.bd.0));
    actions.extend(then);
    actions
}

/// RFC 826. A probe (RFC 5227, 2.1.1) claims nothing, and an announcement claims what the sender
/// has: both end here, since addresses are given out, not negotiated.
fn claims(places: &Places, lowered: &mut Lowered) {
    let arp = ether(0x0806);
    let fabric = cookie::reason(Reason::Fabric);
    lowered.add(
        Stage::ArpSource,
        40,
        arp.clone().with(Field::ArpOp, 0_u16),
        drop_for(Reason::Malformed),
    );
    for (number, bound) in &places.ports {
        let from =
            arp.clone().with(Field::InPort, *number).with(Field::ArpSha, mac(bound.place.mac));
        let probe = from.clone().with(Field::ArpSpa, 0_u32);
        lowered.add_as(fabric, Stage::ArpSource, 20, probe, Vec::new());
        for ip in &bound.owns {
            let IpAddr::V4(ip) = ip else { continue };
            let own = from.clone().with(Field::ArpSpa, u32::from(*ip));
            let announced = own.clone().with(Field::ArpTpa, u32::from(*ip));
            lowered.add_as(fabric, Stage::ArpSource, 30, announced, Vec::new());
            lowered.add(Stage::ArpSource, 20, own, vec![Stage::Arp.goto()]);
        }
    }
    otherwise(lowered, Stage::ArpSource, Reason::SpoofedArp);
}

/// Multicast is what it is whoever sends it, as long as nobody else is impersonated by it. Neighbour
/// discovery has its own rules of what may be claimed.
fn sources(places: &Places, lowered: &mut Lowered) {
    for matches in [
        multicast_v4().with(Field::Ipv4Src, 0_u32),
        broadcast_v4().with(Field::Ipv4Src, 0_u32),
        multicast_v6().with(Field::Ipv6Src, 0_u128),
        link_local(multicast_v6(), Field::Ipv6Src),
    ] {
        lowered.add(Stage::Source, 30, matches, drop_for(Reason::Multicast));
    }
    for (number, bound) in &places.ports {
        for ip in &bound.owns {
            let width = if ip.is_ipv6() { 128 } else { 32 };
            let matches = of_family(ip.is_ipv6()).with(Field::InPort, *number).source(*ip, width);
            lowered.add(Stage::Source, 20, matches, vec![Stage::Destination.goto()]);
        }
    }
    for kind in 133..=137_u8 {
        let matches = icmp6(kind).masked(Field::IpFrag, 0_u8, frag::LATER);
        lowered.add(Stage::Source, 50, matches, vec![Stage::NdSource.goto()]);
    }
    // The other family's ICMP is none that anything could be known of.
    for matches in [ipv4().with(Field::IpProto, 58_u8), ipv6().with(Field::IpProto, 1_u8)] {
        lowered.add(Stage::Source, 40, matches, drop_for(Reason::Malformed));
    }
    for matches in [ipv4(), ipv6()] {
        lowered.add(Stage::Source, 10, matches, drop_for(Reason::SpoofedIp));
    }
    otherwise(lowered, Stage::Source, Reason::UnsupportedEthertype);
}

pub(super) fn icmp6(kind: u8) -> Match {
    ipv6().with(Field::IpProto, 58_u8).with(Field::Icmpv6Type, kind)
}

pub(super) fn link_local(matches: Match, field: Field) -> Match {
    matches.masked(field, 0xfe80_u128 << 112, 0xffc0_u128 << 112)
}

pub(super) fn multicast_v4() -> Match {
    ipv4().masked(Field::Ipv4Dst, 0xe000_0000_u32, 0xf000_0000_u32)
}

pub(super) fn broadcast_v4() -> Match {
    ipv4().with(Field::Ipv4Dst, u32::MAX)
}

pub(super) fn multicast_v6() -> Match {
    ipv6().masked(Field::Ipv6Dst, 0xff_u128 << 120, 0xff_u128 << 120)
}
