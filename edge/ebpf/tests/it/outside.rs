//! A namespace plays the world outside, attached to the first of two hosts.

use std::net::IpAddr;

use selvage_agent::datapath::Datapath;
use selvage_rules::{EtherType, Packet, Reason};
use selvage_testkit::fabric::outside;

use crate::crafted::SHOT;
use crate::frame;
use crate::policy::{GATEWAY_MAC, SCOPE, ip};
use crate::rig::{Rig, two};

#[test]
fn what_leaves_is_what_a_contract_says() {
    outside::what_leaves_is_what_a_contract_says(two());
}

#[test]
fn what_comes_in_is_what_a_contract_says() {
    outside::what_comes_in_is_what_a_contract_says(two());
}

#[test]
fn the_host_itself_is_judged_by_its_address() {
    outside::the_host_itself_is_judged_by_its_address(two());
}

#[test]
fn streams_pass_whole_both_ways_and_a_restart_cuts_none() {
    outside::streams_pass_whole_both_ways_and_a_restart_cuts_none(two());
}

#[test]
fn what_no_host_leads_to_is_dropped_by_name() {
    let (mut rig, _world, _exits) = outside::fabric(two(), outside::table());
    let web = rig.of("web-b").endpoint.clone();
    let router = GATEWAY_MAC;
    let frame_to = |rig: &mut Rig, to: IpAddr, hops: Option<u8>| {
        let packet = Packet::tcp_syn(EtherType::IPV4, 40000, 80);
        let mut frame = frame::frame(router, web.mac, web.ips[0], to, &packet);
        if let Some(hops) = hops {
            frame[frame::ETH + 8] = hops;
        }
        let before = rig.hosts[1].plane.counters().unwrap().reasons;
        let port = rig.of("web-b").port.ifindex;
        let host = &rig.hosts[1];
        let run = || host.plane.programs().from_endpoint.run_on_packet(&frame, port, 1);
        let returned = host.space.ns.run(run).unwrap().unwrap().returned;
        let after = rig.hosts[1].plane.counters().unwrap().reasons;
        let counted = |reason: &&Reason| {
            after.get(*reason).map(|c| c.packets) != before.get(*reason).map(|c| c.packets)
        };
        // What the stacks ask the fabric for meanwhile is answered and counted too.
        let own = |reason: &&Reason| **reason != Reason::Fabric;
        (returned, Reason::ALL.iter().filter(own).find(counted).copied())
    };
    let internet = ip(outside::INTERNET[0]);
    assert_eq!(frame_to(&mut rig, internet, None).1, Some(Reason::Contract));
    assert_eq!(frame_to(&mut rig, internet, Some(1)), (SHOT, Some(Reason::TtlExpired)));
    let dropped = (SHOT, Some(Reason::UnknownDestination));
    assert_eq!(frame_to(&mut rig, ip("169.254.1.1"), None), dropped);
    // The border is not known, or there is none.
    let mut desired = rig.desired(1);
    desired.nodes.clear();
    desired.revision.0 += 1;
    rig.hosts[1].plane.apply(&desired).unwrap();
    assert_eq!(frame_to(&mut rig, internet, None), (SHOT, Some(Reason::NoExit)));
    desired.table.outside.get_mut(&SCOPE).unwrap().routes.clear();
    rig.hosts[1].plane.apply(&desired).unwrap();
    assert_eq!(frame_to(&mut rig, internet, None), (SHOT, Some(Reason::NoExit)));
    desired.table.outside.clear();
    rig.hosts[1].plane.apply(&desired).unwrap();
    assert_eq!(frame_to(&mut rig, internet, None), dropped);
}
