//! Drops in words.

use selvage_agent::datapath::{Direction, Drop};
use selvage_rules::{EtherType, Mac, Packet, Reason, RuleId};

use crate::controller::{DB_CLASS, SCOPE, WEB, WEB_CLASS, ip, remote_db};
use crate::world::World;

/// A shop with `web-7` here and `db-9` on another host.
fn shop() -> World {
    let mut world = World::new();
    world.attach("web-7", WEB).unwrap();
    let update = world.controller.locate(remote_db("10.2.0.9"));
    world.deliver(&update);
    world
}

fn drop(world: &World, reason: Reason, packet: Packet) -> Drop {
    let web = world.view("web-7");
    Drop {
        at_ns: 0,
        reason,
        rule: None,
        direction: Direction::FromEndpoint,
        ifindex: web.ifindex,
        scope: Some(SCOPE),
        bd: None,
        src_class: Some(WEB_CLASS),
        dst_class: Some(DB_CLASS),
        src_mac: web.mac,
        dst_mac: Mac([0; 6]),
        src: Some(web.addresses[0].ip),
        dst: Some(ip("10.2.0.9")),
        packet,
        tunnel: None,
        length: 74,
    }
}

fn check(drop: impl Fn(&World) -> Drop, expected: &str) {
    let mut world = shop();
    let drop = drop(&world);
    let view = world.agent.names().view(&drop, 0);
    assert_eq!(view.text, expected);
}

fn syn(port: u16) -> Packet {
    Packet::tcp_syn(EtherType::IPV4, 40000, port)
}

#[test]
fn a_missing_contract_is_told_with_the_nearest_one() {
    check(
        |world| drop(world, Reason::NoContract, syn(3306)),
        "web-7 -> db-9 tcp/3306 dropped on h1: no contract lets web reach db on tcp/3306; \
         nearest: contract sql allows tcp/5432",
    );
}

#[test]
fn the_other_way_round_says_so() {
    check(
        |world| {
            let forth = drop(world, Reason::NoContract, syn(5432));
            Drop {
                direction: Direction::ToEndpoint,
                src: forth.dst,
                dst: forth.src,
                src_class: forth.dst_class,
                dst_class: forth.src_class,
                src_mac: forth.dst_mac,
                dst_mac: forth.src_mac,
                ..forth
            }
        },
        "db-9 -> web-7 tcp/5432 dropped on h1: no contract lets db reach web on tcp/5432; \
         nearest: contract sql allows tcp/5432 from web to db",
    );
}

#[test]
fn a_denial_names_its_contract() {
    check(
        |world| Drop { rule: Some(RuleId(1)), ..drop(world, Reason::Denied, syn(5432)) },
        "web-7 -> db-9 tcp/5432 dropped on h1: contract sql denies it",
    );
}

#[test]
fn what_is_unknown_goes_by_its_address() {
    check(
        |world| Drop {
            dst: Some(ip("10.2.0.77")),
            dst_class: None,
            ..drop(world, Reason::UnknownDestination, Packet::echo_request(EtherType::IPV4))
        },
        "web-7 -> 10.2.0.77 icmp echo-request dropped on h1: no endpoint of the VRF has the \
         destination address",
    );
    check(
        |world| Drop {
            src: Some(ip("10.1.0.200")),
            dst_class: None,
            ..drop(world, Reason::SpoofedIp, syn(80))
        },
        "web-7 -> db-9 tcp/80 dropped on h1: its source address is not the endpoint's",
    );
}
