//! Address resolution, answered where it is asked: the stages [`Stage::Arp`],
//! [`Stage::NdSource`], [`Stage::Nd`] and [`Stage::NdReply`].
//!
//! An advertisement is made of the solicitation in place (RFC 4861, 4.3 and 4.4): the reserved word
//! becomes the flags, and the option that held the sender's MAC becomes the one that holds the
//! target's. A solicitation without the option is answered without one, which RFC 4861, 4.4 allows
//! where it was sent to one neighbour, and multicast ones always have it.

use std::net::IpAddr;

use selvage_rules::Reason;

use super::place::{At, Place, Places};
use super::sender::{icmp6, link_local};
use super::{Lowered, ether, ipv6, mac, otherwise};
use crate::openflow::{Action, Field, Match, port};
use crate::tables::{Stage, cookie, drop_for, move_mac, reg, set_mac};

/// RFC 4861, 6.1 and 7.1: anything lower was forwarded.
const HOPS: u8 = 255;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
/// Of an advertisement: it was asked for, and it counts more than what is known already.
const SOLICITED_OVERRIDE: u32 = 0x6000_0000;
const ROUTER: u32 = 0x8000_0000;
/// The option that holds the target's MAC.
const TARGET_MAC: u8 = 2;

pub(super) fn fill(places: &Places, lowered: &mut Lowered) {
    for ((_, ip), place) in &places.by_ip {
        match ip {
            IpAddr::V4(ip) => arp(u32::from(*ip), place, lowered),
            IpAddr::V6(ip) => solicitation(u128::from(*ip), place, lowered),
        }
    }
    let asked = ether(0x0806).with(Field::ArpOp, 1_u16);
    lowered.add(Stage::Arp, 10, asked, drop_for(Reason::UnknownDestination));
    // Whoever answers unasked is heard by nobody.
    lowered.add_as(cookie::reason(Reason::Fabric), Stage::Arp, 0, Match::any(), Vec::new());
    senders(places, lowered);
    claims(places, lowered);
    advertise(lowered);
}

fn arp(ip: u32, place: &Place, lowered: &mut Lowered) {
    let asked =
        ether(0x0806).with(reg::BD, place.bd.0).with(Field::ArpOp, 1_u16).with(Field::ArpTpa, ip);
    let answer = vec![
        Action::set(Field::ArpOp, 2_u16),
        Action::copy(Field::ArpSha, Field::ArpTha),
        Action::set(Field::ArpSha, mac(place.mac)),
        Action::copy(Field::ArpSpa, Field::ArpTpa),
        Action::set(Field::ArpSpa, ip),
        Action::copy(Field::EthSrc, Field::EthDst),
        Action::set(Field::EthSrc, mac(place.mac)),
        Action::Output(port::IN_PORT),
    ];
    lowered.add_as(cookie::reason(Reason::Fabric), Stage::Arp, 20, asked, answer);
}

fn solicitation(target: u128, place: &Place, lowered: &mut Lowered) {
    let asked = neighbour(SOLICITATION).with(reg::BD, place.bd.0).with(Field::NdTarget, target);
    let router = if place.at == At::Gateway { ROUTER } else { 0 };
    let answer = vec![
        set_mac(reg::MAC, place.mac),
        Action::set(Field::Icmpv6Type, ADVERTISEMENT),
        Action::set(Field::NdReserved, SOLICITED_OVERRIDE | router),
        Action::set(Field::NdOptionsType, TARGET_MAC),
        Stage::NdReply.goto(),
    ];
    lowered.add(Stage::Nd, 20, asked, answer);
}

/// Whose addresses it comes from. The source MAC is the endpoint's already.
fn senders(places: &Places, lowered: &mut Lowered) {
    let near = ipv6().with(Field::IpProto, 58_u8).with(Field::IpTtl, HOPS);
    let goes_on = || vec![Stage::Nd.goto()];
    lowered.add(Stage::NdSource, 30, near.clone().with(Field::Ipv6Src, 0_u128), goes_on());
    lowered.add(Stage::NdSource, 30, link_local(near.clone(), Field::Ipv6Src), goes_on());
    for (number, ip) in owned_v6(places) {
        let own = near.clone().with(Field::InPort, number).with(Field::Ipv6Src, ip);
        lowered.add(Stage::NdSource, 30, own, goes_on());
    }
    lowered.add(Stage::NdSource, 20, near, drop_for(Reason::SpoofedArp));
    otherwise(lowered, Stage::NdSource, Reason::Malformed);
}

/// What ends here without an answer.
fn claims(places: &Places, lowered: &mut Lowered) {
    let fabric = cookie::reason(Reason::Fabric);
    lowered.add(Stage::Nd, 50, icmp6(ROUTER_SOLICITATION), drop_for(Reason::Multicast));
    for kind in [ROUTER_ADVERTISEMENT, REDIRECT] {
        lowered.add(Stage::Nd, 50, icmp6(kind), drop_for(Reason::SpoofedArp));
    }
    let advertised = neighbour(ADVERTISEMENT);
    let near = link_local(advertised.clone(), Field::NdTarget);
    lowered.add_as(fabric, Stage::Nd, 50, near, Vec::new());
    lowered.add(Stage::Nd, 40, advertised.clone(), drop_for(Reason::SpoofedArp));
    // RFC 4862, 5.4: duplicate address detection, as for ARP probes.
    let detection = neighbour(SOLICITATION).with(Field::Ipv6Src, 0_u128);
    lowered.add_as(fabric, Stage::Nd, 50, detection, Vec::new());
    for (number, ip) in owned_v6(places) {
        let own = advertised.clone().with(Field::InPort, number).with(Field::NdTarget, ip);
        lowered.add_as(fabric, Stage::Nd, 50, own, Vec::new());
        let itself = neighbour(SOLICITATION)
            .with(Field::InPort, number)
            .with(Field::Ipv6Src, ip)
            .with(Field::NdTarget, ip);
        lowered.add_as(fabric, Stage::Nd, 50, itself, Vec::new());
    }
    let unknown = neighbour(SOLICITATION);
    lowered.add(Stage::Nd, 10, unknown, drop_for(Reason::UnknownDestination));
    otherwise(lowered, Stage::Nd, Reason::Malformed);
}

fn owned_v6(places: &Places) -> impl Iterator<Item = (u32, u128)> {
    places.ports.iter().flat_map(|(number, bound)| {
        let v6 = bound.owns.iter().filter_map(|ip| match ip {
            IpAddr::V6(ip) => Some(u128::from(*ip)),
            IpAddr::V4(_) => None,
        });
        v6.map(|ip| (*number, ip))
    })
}

/// A solicitation or an advertisement.
fn neighbour(kind: u8) -> Match {
    icmp6(kind).with(Field::Icmpv6Code, 0_u8)
}

/// The rest of the answer: it is an advertisement by now, and so has the fields of one.
fn advertise(lowered: &mut Lowered) {
    let matches = neighbour(ADVERTISEMENT);
    let actions = vec![
        move_mac(reg::MAC, Field::NdTll),
        Action::copy(Field::Ipv6Src, Field::Ipv6Dst),
        Action::copy(Field::NdTarget, Field::Ipv6Src),
        Action::copy(Field::EthSrc, Field::EthDst),
        move_mac(reg::MAC, Field::EthSrc),
        Action::Output(port::IN_PORT),
    ];
    lowered.add_as(cookie::reason(Reason::Fabric), Stage::NdReply, 10, matches, actions);
}
