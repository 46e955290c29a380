//! The way outside with real agents: a namespace plays the world, joined to the first host, which has
//! no endpoint of its own. The policy is the example's.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use selvage_host::{NetNs, Netlink, Route, Veth};
use selvage_model::{Post, initial_tree, manifest};
use selvage_policy::{Cause, Numbers, compile};
use selvage_rules::{Reason, Revision, Table};

use super::controller::Controller;
use super::host::{Host, Plane, Space, eventually, two_hosts_with};
use super::{ip_of, round_trips};

const EXAMPLE: &str = include_str!("../../../../../examples/outside.nac.yaml");
const ROUTERS: [&str; 2] = ["192.0.9.254", "2001:db8:ff::254"];
const BORDERS: [&str; 2] = ["192.0.9.1", "2001:db8:ff::1"];
const INTERNET: [&str; 2] = ["198.51.100.9", "2001:db8:fe::9"];
const PARTNER: &str = "203.0.113.9";
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(500);

/// What the example compiles to. Its outer subnet is the hosts' underlay here, so it moves.
fn policy(change: impl Fn(&str) -> String) -> Table {
    let text = change(&EXAMPLE.replace("192.0.2.", "192.0.9."));
    let tenants = manifest::parse(&text).unwrap_or_else(|wrong| panic!("{wrong:#?}")).posts;
    let post = tenants.into_iter().fold(Post::new("polUni"), Post::child);
    let mut tree = initial_tree();
    let stamp = selvage_model::Stamp::new("now", "1");
    selvage_model::apply(&mut tree, stamp, Some(&"uni".parse().unwrap()), &post).unwrap();
    let compiled = compile(&tree, &mut Numbers::default());
    // Without an L3Out nobody provides what leads there.
    let wrong: Vec<_> =
        compiled.problems.iter().filter(|problem| problem.cause != Cause::NoProvider).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    compiled.table
}

struct World {
    one: Host,
    two: Host,
    controller: Controller,
    world: Space,
}

impl World {
    fn start(planes: [Plane; 2]) -> World {
        let (mut one, mut two) = two_hosts_with(planes);
        let world = Space::new("out");
        join(&one.space.ns, &world.ns);
        let address = SocketAddr::new(one.tunnel, 8009);
        let controller = Controller::start(&one.space.ns, address, policy(str::to_owned));
        one.start(controller.address());
        two.start(controller.address());
        World { one, two, controller, world }
    }

    fn attach(&self, name: &'static str, epg: &str) -> (Space, [String; 2]) {
        let space = Space::new(name);
        let view = self.two.attach(name, epg, &space).unwrap();
        (space, [false, true].map(|v6| ip_of(&view, v6).to_string()))
    }
}

/// The border's link to the world, and what the world knows: the public subnets.
fn join(border: &NetNs, world: &NetNs) {
    let mut near = Netlink::open_in(border).unwrap();
    let veth = Veth {
        name: "out0",
        mac: None,
        peer: "eth0",
        peer_mac: None,
        peer_namespace: Some(world),
        mtu: 1500,
        group: 0,
    };
    let index = near.create_veth(&veth).unwrap();
    let mut far = Netlink::open_in(world).unwrap();
    let peer = far.index_of("eth0").unwrap();
    near.set_up("out0").unwrap();
    far.set_up("eth0").unwrap();
    for (at, len, public) in [(0, 24, ("10.1.1.0", 24)), (1, 64, ("2001:db8:1:1::", 64))] {
        let whole = if at == 0 { 32 } else { 128 };
        near.add_address(index, ip(BORDERS[at]), len).unwrap();
        far.add_address(peer, ip(INTERNET[at]), whole).unwrap();
        far.add_address(peer, ip(ROUTERS[at]), len).unwrap();
        let route =
            Route { to: (ip(public.0), public.1), via: Some(ip(BORDERS[at])), onlink: false };
        far.add_route(peer, route).unwrap();
    }
    far.add_address(peer, ip(PARTNER), 32).unwrap();
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Says to everybody who connects what address they have.
fn tell_peers(ns: &NetNs, port: u16) {
    let listener = ns.run(|| TcpListener::bind(("::", port))).unwrap().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().map(|a| a.ip().to_canonical().to_string());
            let _ = stream.write_all(peer.unwrap_or_default().as_bytes());
        }
    });
}

/// The address that whoever listens there sees.
fn ask(ns: &NetNs, to: &str, port: u16, patience: Duration) -> Option<String> {
    let to = SocketAddr::new(ip(to), port);
    let mut stream = ns.run(|| TcpStream::connect_timeout(&to, patience)).unwrap().ok()?;
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Routes, rules, links and tables of a namespace, as far as a way out adds to them.
fn remains(ns: &NetNs) -> BTreeSet<String> {
    let show = |program: &str, words: &str| {
        let mut command = Command::new(program);
        command.args(words.split(' '));
        ns.enter(&mut command).unwrap();
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let text = [
        show("ip", "route show table all proto 94"),
        show("ip", "-6 route show table all proto 94"),
        show("ip", "rule"),
        show("ip", "-6 rule"),
        show("ip", "-o link show type veth"),
        show("nft", "list ruleset"),
    ];
    let lines = text.iter().flat_map(|text| text.lines());
    let ours = |line: &&str| ["svx", "svy", "proto 94"].iter().any(|mark| line.contains(mark));
    lines.filter(ours).map(str::to_owned).collect()
}

#[test]
fn the_example_does_what_it_says_through_a_border_without_endpoints() {
    does_what_it_says([Plane::Ebpf, Plane::Ebpf]);
}

#[test]
fn the_example_does_what_it_says_with_open_vswitch() {
    does_what_it_says([Plane::Ovs, Plane::Ovs]);
}

#[test]
fn the_example_does_what_it_says_with_open_vswitch_at_the_border_alone() {
    does_what_it_says([Plane::Ovs, Plane::Ebpf]);
}

#[test]
fn the_example_does_what_it_says_with_open_vswitch_behind_the_border() {
    does_what_it_says([Plane::Ebpf, Plane::Ovs]);
}

fn does_what_it_says(planes: [Plane; 2]) {
    let fabric = World::start(planes);
    let (web, web_ips) = fabric.attach("web-1", "shop/store/web");
    let (db, _) = fabric.attach("db-1", "shop/store/db");
    tell_peers(&fabric.world.ns, 5000);
    tell_peers(&web.ns, 80);
    tell_peers(&web.ns, 22);
    for at in [0, 1] {
        eventually("web is told its own address by the internet", || {
            match ask(&web.ns, INTERNET[at], 5000, SHORT) {
                Some(seen) if seen == web_ips[at] => Ok(()),
                other => Err(format!("{other:?} {:#?}", fabric.one.status())),
            }
        });
        let seen = ask(&db.ns, INTERNET[at], 5000, LONG);
        assert_eq!(seen.as_deref(), Some(BORDERS[at]), "db is hidden behind the border");
        assert!(ask(&fabric.world.ns, &web_ips[at], 80, LONG).is_some(), "served to everyone");
        assert_eq!(ask(&fabric.world.ns, &web_ips[at], 22, SHORT), None);
        // The border itself is judged as what it is: an address outside.
        assert!(ask(&fabric.one.space.ns, &web_ips[at], 80, LONG).is_some());
        assert_eq!(ask(&fabric.one.space.ns, &web_ips[at], 22, SHORT), None);
    }
    assert!(web.pings(ip(INTERNET[0])) && web.pings(ip(INTERNET[1])));
    assert_eq!(ask(&web.ns, PARTNER, 5000, SHORT), None, "the partner is not of the internet");

    let drop = eventually("the drop is told in words", || {
        let drops = fabric.one.drops();
        let found = drops.iter().find(|d| d.text.contains("web-1 tcp/22 dropped")).cloned();
        found.ok_or_else(|| format!("{drops:#?}"))
    });
    assert!(drop.text.contains("no contract lets internet reach web on tcp/22"), "{}", drop.text);
    assert_eq!(drop.reason, Reason::NoContract);
    let status = fabric.one.status();
    assert!(status.faults.is_empty(), "{:#?}", status.faults);
}

#[test]
fn a_killed_border_agent_loses_nothing_and_an_uninstall_leaves_nothing() {
    loses_and_leaves_nothing([Plane::Ebpf, Plane::Ebpf]);
}

#[test]
fn a_killed_border_agent_with_open_vswitch_loses_nothing_and_leaves_nothing() {
    loses_and_leaves_nothing([Plane::Ovs, Plane::Ovs]);
}

fn loses_and_leaves_nothing(planes: [Plane; 2]) {
    let mut fabric = World::start(planes);
    let bare = remains(&fabric.two.space.ns);
    assert!(bare.is_empty(), "{bare:?}");
    let (web, web_ips) = fabric.attach("web-1", "shop/store/web");
    eventually("web pings the internet", || {
        if web.pings(ip(INTERNET[0])) { Ok(()) } else { Err(format!("{:#?}", fabric.one.drops())) }
    });
    let there = remains(&fabric.one.space.ns);
    assert!(!there.is_empty());
    let to = SocketAddr::new(ip(&web_ips[0]), 80);
    let listener = web.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
    let client = fabric.world.ns.run(|| TcpStream::connect_timeout(&to, LONG)).unwrap().unwrap();
    let (server, _) = listener.accept().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let over = stop.clone();
    let traffic = thread::spawn(move || round_trips(client, server, &over));
    fabric.one.kill();
    fabric.one.start(fabric.controller.address());
    fabric.two.kill();
    fabric.two.start(fabric.controller.address());
    eventually("the border enforces", || {
        let status = fabric.one.status();
        if status.applied == Revision(1) { Ok(()) } else { Err(format!("{status:#?}")) }
    });
    stop.store(true, Ordering::Relaxed);
    traffic.join().unwrap();
    assert_eq!(remains(&fabric.one.space.ns), there);

    // Without an L3Out there is no way out.
    let without = policy(|text| {
        let (before, after) = text.split_once("      l3outs:").unwrap();
        let rest = after.split_once("      contracts:\n        - name: http").unwrap().1;
        format!("{before}      contracts:\n        - name: http{rest}")
    });
    fabric.controller.commit(without);
    eventually("the way out is gone", || {
        let remains = remains(&fabric.one.space.ns);
        if remains.is_empty() { Ok(()) } else { Err(format!("{remains:#?}")) }
    });
    assert!(!web.pings(ip(INTERNET[0])));
    fabric.controller.commit(policy(str::to_owned));
    eventually("web pings the internet again", || {
        if web.pings(ip(INTERNET[0])) { Ok(()) } else { Err(format!("{:#?}", fabric.one.drops())) }
    });
    // Made anew, so its links have other numbers than before.
    let there = remains(&fabric.one.space.ns);
    assert!(fabric.one.stop());
    assert_eq!(remains(&fabric.one.space.ns), there, "what was applied stays");
    fabric.one.uninstall();
    assert_eq!(remains(&fabric.one.space.ns), bare);
}
