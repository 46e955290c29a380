//! Endpoints and hosts: declared, watched, in conflict, lost and found.

use std::net::IpAddr;

use selvage_opflex::client::Event;
use selvage_opflex::ext::{Host, Location};
use selvage_opflex::server;
use selvage_rules::{BdId, Encapsulation, EndpointId, GroupId, Mac, Room};

use crate::support::{Fabric, Policy, agent_name, class, group_name};

pub const VRF: &str = "uni/tn-t/ctx-v";

pub fn location(host: usize, endpoint: u8, address: u8) -> Location {
    Location {
        agent: agent_name(host).into(),
        endpoint: EndpointId(format!("ep-{endpoint}").into()),
        group: group_name(0).into(),
        class: class(0),
        encap: GroupId(100),
        bridge_domain: "uni/tn-t/BD-b".into(),
        bd: BdId(2),
        vrf: VRF.into(),
        mac: Mac([2, 0, 0, u8::try_from(host).unwrap(), 0, endpoint]),
        ips: vec![[10, 0, 0, address].into()],
        tunnel: [192, 0, 2, u8::try_from(host).unwrap()].into(),
    }
}

fn host_at(host: usize, tunnel: IpAddr) -> Host {
    Host {
        name: agent_name(host).into(),
        tunnel,
        encapsulations: Encapsulation::ALL.into(),
        node: None,
        room: Room::default(),
    }
}

fn fabric(hosts: usize) -> Fabric {
    let mut fabric = Fabric::new(hosts, Policy::default().source());
    for host in 0..hosts {
        fabric.with_client(host, |client, now| client.watch_vrf(VRF, now));
    }
    // Past the time in which a controller that just started waits for its agents.
    fabric.tick(61_000);
    fabric.settle();
    for host in 0..hosts {
        fabric.take_events(host);
    }
    fabric
}

fn declare(fabric: &mut Fabric, host: usize, location: &Location) {
    let name = location.endpoint.0.clone();
    let objects = location.to_objects();
    fabric.with_client(host, |client, now| client.declare(&name, objects, now));
    fabric.settle();
}

fn known_at(fabric: &Fabric, host: usize) -> Vec<Location> {
    fabric.hosts[host].client.locations(VRF).map(|(_, location)| location.clone()).collect()
}

#[test]
fn every_host_but_its_own_learns_of_an_endpoint_and_of_its_end() {
    let mut fabric = fabric(3);
    let one = location(0, 1, 5);
    declare(&mut fabric, 0, &one);
    let declared = Event::Declared { name: "ep-1".into() };
    assert_eq!(fabric.take_events(0), [declared]);
    assert_eq!(known_at(&fabric, 0), []);
    for host in [1, 2] {
        assert_eq!(known_at(&fabric, host), std::slice::from_ref(&one));
        assert_eq!(fabric.take_events(host), [Event::LocationsChanged { vrf: VRF.into() }]);
    }
    assert!(fabric.server_events.contains(&server::Event::Located(one.clone())));

    fabric.with_client(0, |client, now| client.undeclare("ep-1", now));
    fabric.settle();
    assert_eq!(known_at(&fabric, 1), []);
    assert!(fabric.server_events.contains(&server::Event::Departed(one)));
}

#[test]
fn an_address_that_another_endpoint_holds_is_refused_with_its_name() {
    let mut fabric = fabric(2);
    declare(&mut fabric, 0, &location(0, 1, 5));
    let second = location(1, 1, 5);
    declare(&mut fabric, 1, &second);
    let message = "address `10.0.0.5` is held by `host-0/ep-1`".to_owned();
    let refused = Event::DeclareRefused { name: "ep-1".into(), message: message.clone() };
    assert!(fabric.take_events(1).contains(&refused));
    assert_eq!(fabric.hosts[1].client.declared("ep-1"), Some(Err(message.as_str())));
    assert_eq!(known_at(&fabric, 0), [], "nothing of a refused declaration is stored");

    // Another address for the same endpoint is taken at once.
    declare(&mut fabric, 1, &location(1, 1, 6));
    assert!(fabric.take_events(1).contains(&Event::Declared { name: "ep-1".into() }));
    assert_eq!(known_at(&fabric, 0), [location(1, 1, 6)]);
}

#[test]
fn a_refusal_leaves_in_place_what_was_declared_before() {
    let mut fabric = fabric(3);
    declare(&mut fabric, 0, &location(0, 1, 5));
    declare(&mut fabric, 1, &location(1, 1, 6));
    declare(&mut fabric, 1, &location(1, 1, 5));
    assert_eq!(known_at(&fabric, 0), [location(1, 1, 6)]);
    declare(&mut fabric, 2, &location(2, 1, 6));
    assert!(matches!(fabric.hosts[2].client.declared("ep-1"), Some(Err(_))), "still held");
    fabric.with_client(1, |client, now| client.undeclare("ep-1", now));
    fabric.settle();
    assert_eq!(known_at(&fabric, 0), []);
}

#[test]
fn an_address_goes_from_one_endpoint_of_a_host_to_another() {
    let mut fabric = fabric(2);
    declare(&mut fabric, 0, &location(0, 1, 5));
    declare(&mut fabric, 0, &location(0, 2, 5));
    assert!(matches!(fabric.hosts[0].client.declared("ep-2"), Some(Err(_))), "ep-1 holds it");
    declare(&mut fabric, 0, &location(0, 1, 6));
    assert_eq!(fabric.hosts[0].client.declared("ep-2"), Some(Ok(())), "it is free now");
    assert_eq!(known_at(&fabric, 1), [location(0, 1, 6), location(0, 2, 5)]);
    declare(&mut fabric, 1, &location(1, 1, 5));
    assert!(matches!(fabric.hosts[1].client.declared("ep-1"), Some(Err(_))), "ep-2 holds it");
}

#[test]
fn a_refused_declaration_is_taken_once_the_holder_is_gone() {
    let mut fabric = fabric(2);
    declare(&mut fabric, 0, &location(0, 1, 5));
    declare(&mut fabric, 1, &location(1, 1, 5));
    fabric.with_client(0, |client, now| client.undeclare("ep-1", now));
    fabric.settle();
    fabric.tick(60_000);
    fabric.settle();
    assert_eq!(fabric.hosts[1].client.declared("ep-1"), Some(Ok(())));
}

#[test]
fn fewer_addresses_free_the_others() {
    let mut fabric = fabric(2);
    let mut both = location(0, 1, 5);
    both.ips.push([10, 0, 0, 6].into());
    declare(&mut fabric, 0, &both);
    declare(&mut fabric, 0, &location(0, 1, 6));
    assert_eq!(known_at(&fabric, 1), [location(0, 1, 6)]);
    declare(&mut fabric, 1, &location(1, 1, 5));
    assert_eq!(fabric.hosts[1].client.declared("ep-1"), Some(Ok(())));
}

#[test]
fn endpoints_of_a_lost_agent_stay_for_the_grace_time() {
    let mut fabric = fabric(2);
    declare(&mut fabric, 0, &location(0, 1, 5));
    fabric.cut(0);
    fabric.take_events(1);
    fabric.tick(59_000);
    fabric.deliver_down(1, usize::MAX);
    assert_eq!(known_at(&fabric, 1), [location(0, 1, 5)]);
    // The agent never comes back.
    fabric.tick(2_000);
    fabric.deliver_down(1, usize::MAX);
    assert_eq!(known_at(&fabric, 1), []);
}

#[test]
fn an_agent_that_returns_keeps_its_endpoints_and_sheds_those_it_no_longer_has() {
    let mut fabric = fabric(2);
    declare(&mut fabric, 0, &location(0, 1, 5));
    declare(&mut fabric, 0, &location(0, 2, 6));
    fabric.take_events(1);
    fabric.cut(0);
    fabric.with_client(0, |client, now| client.undeclare("ep-2", now));
    fabric.tick(1_000);
    fabric.settle();
    assert_eq!(known_at(&fabric, 1), [location(0, 1, 5)], "told as soon as it was back");
    fabric.tick(61_000);
    fabric.settle();
    assert_eq!(known_at(&fabric, 1), [location(0, 1, 5)]);
}

#[test]
fn an_agent_may_use_the_address_of_an_endpoint_it_lost_in_a_crash() {
    let mut fabric = fabric(2);
    declare(&mut fabric, 0, &location(0, 1, 5));
    // It forgot ep-1, and gives its address to another.
    fabric.crash(0);
    fabric.tick(1_000);
    fabric.settle();
    declare(&mut fabric, 0, &location(0, 2, 5));
    assert_eq!(fabric.hosts[0].client.declared("ep-2"), Some(Ok(())));
    assert_eq!(known_at(&fabric, 1), [location(0, 2, 5)]);
}

#[test]
fn a_controller_that_restarts_takes_no_location_away() {
    let mut fabric = fabric(3);
    for host in 0..3 {
        declare(&mut fabric, host, &location(host, 1, u8::try_from(5 + host).unwrap()));
    }
    for host in 0..3 {
        fabric.take_events(host);
    }
    fabric.restart_server();
    fabric.tick(300);
    // Host 1 is back before the others have declared anything.
    fabric.connect(1);
    for _ in 0..3 {
        fabric.deliver_up(1, usize::MAX);
        fabric.deliver_down(1, usize::MAX);
    }
    assert!(fabric.hosts[1].client.is_up());
    assert_eq!(known_at(&fabric, 1).len(), 2, "what the new controller does not know stays");
    fabric.settle();
    fabric.cut(2);
    fabric.hosts[2].client = {
        let config = selvage_opflex::client::ClientConfig::new(&agent_name(2), Vec::new());
        selvage_opflex::client::Client::new(config, fabric.now)
    };
    for _ in 0..14 {
        fabric.tick(10_000);
        fabric.settle();
    }
    assert_eq!(known_at(&fabric, 1), [location(0, 1, 5)], "host 2 never came back");
    assert_eq!(known_at(&fabric, 0), [location(1, 1, 6)]);
}

#[test]
fn all_agents_learn_all_hosts() {
    let mut fabric = fabric(3);
    for host in 0..3 {
        let tunnel = [192, 0, 2, u8::try_from(host).unwrap()].into();
        let host_object = host_at(host, tunnel).to_objects();
        fabric.with_client(host, |client, now| client.declare("host", host_object, now));
    }
    fabric.settle();
    for host in 0..3 {
        let names: Vec<&str> = fabric.hosts[host].client.hosts().map(|h| &*h.name).collect();
        assert_eq!(names, ["host-0", "host-1", "host-2"]);
    }
    fabric.with_client(2, |client, now| client.undeclare("host", now));
    fabric.settle();
    assert_eq!(fabric.hosts[0].client.hosts().count(), 2);
}

#[test]
fn an_agent_speaks_for_itself_only() {
    let mut fabric = fabric(2);
    let forged = host_at(0, [192, 0, 2, 66].into()).to_objects();
    fabric.with_client(1, |client, now| client.declare("forged", forged, now));
    declare(&mut fabric, 1, &location(0, 9, 9));
    assert!(matches!(fabric.hosts[1].client.declared("forged"), Some(Err(_))));
    assert!(matches!(fabric.hosts[1].client.declared("ep-9"), Some(Err(_))));
    assert_eq!(fabric.hosts[0].client.hosts().count(), 0);
}

#[test]
fn a_second_connection_of_an_agent_takes_over_from_the_first() {
    let mut fabric = fabric(2);
    declare(&mut fabric, 0, &location(0, 1, 5));
    // The first host's machine is cloned: same name, another stream.
    let config =
        selvage_opflex::client::ClientConfig::new(&agent_name(0), vec!["192.0.2.1:8009".into()]);
    let now = fabric.now;
    fabric.hosts[1].client = selvage_opflex::client::Client::new(config, now);
    fabric.cut(1);
    fabric.tick(1_000);
    fabric.connect(1);
    fabric.deliver_up(1, usize::MAX);
    assert_eq!(fabric.hosts[0].conn, None, "the older connection is closed");
    assert_eq!(fabric.server.agents().count(), 1);
    assert_eq!(fabric.server.locations().count(), 1, "its endpoints are not lost by that");
}
