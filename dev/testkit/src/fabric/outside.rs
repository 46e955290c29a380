//! A namespace plays the world outside, attached to the first of two hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use selvage_agent::datapath::ExitLink;
use selvage_host::exit::{Exit, Exits, Outward};
use selvage_host::{NetNs, Netlink, Route, Veth};
use selvage_rules::{
    ClassId, External, GroupId, Hop, Inside, Match, NodeId, Outside, Prefix, Reason, Table, proto,
};

use super::matrix::six_workloads;
use super::{Kind, Rig, Space, require_root};
use crate::policy::{DB, SCOPE, WEB, empty_table, ip, set_pair, stateful, tcp};

/// What comes from under the default prefix has the class of the VRF.
pub const VRF: ClassId = ClassId(16400);
/// What comes from partners, and what goes to them.
pub const PARTNER: ClassId = ClassId(16401);
const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(400);
/// Of the host, and of the world, on the link between them.
const BORDER: [&str; 2] = ["192.0.100.1", "2001:db8:100::1"];
const ROUTER: [&str; 2] = ["192.0.100.254", "2001:db8:100::fe"];
/// Addresses farther outside: under the default prefix, and in the partner's.
pub const INTERNET: [&str; 2] = ["203.0.113.200", "2001:db8:200::1"];
/// The partner's.
pub const PARTNERS: [&str; 2] = ["203.0.113.9", "2001:db8:201::1"];
/// The first bridge domain is public, the second is not.
const PUBLIC: [&str; 2] = ["10.1.0.0/24", "2001:db8:1::/64"];
const HIDDEN: [&str; 2] = ["10.2.0.0/24", "2001:db8:2::/64"];

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// All but what is said of groups: routes by the first host, subnets.
fn outside(groups: &[(&str, ClassId, ClassId)]) -> Outside {
    let group = |(text, source, destination): &(&str, ClassId, ClassId)| {
        let external = External {
            name: "outside".into(),
            source: *source,
            destination: *destination,
            encap: GroupId(u32::from(source.0)),
        };
        (prefix(text), external)
    };
    let hop = |via: Option<&str>| {
        let via = via.map(ip);
        BTreeSet::from([Hop { node: NodeId(101), link: "out0".into(), via }])
    };
    let inside = |list: [&str; 2], public| list.map(|text| (prefix(text), Inside { public }));
    Outside {
        groups: groups.iter().map(group).collect(),
        routes: BTreeMap::from([
            (prefix("0.0.0.0/0"), hop(Some(ROUTER[0]))),
            (prefix("::/0"), hop(Some(ROUTER[1]))),
            (prefix("192.0.100.0/24"), hop(None)),
            (prefix("2001:db8:100::/64"), hop(None)),
        ]),
        inside: inside(PUBLIC, true).into_iter().chain(inside(HIDDEN, false)).collect(),
    }
}

/// web and db may ask for anything outside by TCP, or ping it; everybody outside may ask web on 80,
/// partners on 8080 instead; app has no contract.
pub fn table() -> Table {
    let mut table = empty_table();
    let default = ClassId::DEFAULT_OUTSIDE;
    let groups = [
        ("0.0.0.0/0", VRF, default),
        ("::/0", VRF, default),
        ("203.0.113.0/25", PARTNER, PARTNER),
        ("2001:db8:201::/48", PARTNER, PARTNER),
    ];
    table.outside.insert(SCOPE, outside(&groups));
    let all = |proto| Match { proto: Some(proto), ..Match::EVERYTHING };
    let asks = [proto::TCP, proto::ICMP, proto::ICMPV6];
    let asks: Vec<_> = (1..).zip(asks).map(|(id, proto)| stateful(id, all(proto))).collect();
    set_pair(&mut table, WEB, default, 1, asks.clone());
    set_pair(&mut table, DB, default, 1, asks);
    set_pair(&mut table, VRF, WEB, 2, vec![stateful(10, tcp(80)), stateful(11, all(proto::ICMP))]);
    set_pair(&mut table, PARTNER, WEB, 3, vec![stateful(12, tcp(8080))]);
    table
}

/// The world outside.
pub struct World {
    space: Space,
}

impl World {
    /// Joins the world to the first host.
    fn new<K: Kind>(rig: &Rig<K>) -> World {
        let space = Space::new("o");
        let border = &rig.hosts[0].space.ns;
        let mut near = Netlink::open_in(border).unwrap();
        let veth = Veth {
            name: "out0",
            mac: None,
            peer: "eth0",
            peer_mac: None,
            peer_namespace: Some(&space.ns),
            mtu: 1500,
            group: 0,
        };
        let index = near.create_veth(&veth).unwrap();
        let mut far = Netlink::open_in(&space.ns).unwrap();
        let peer = far.index_of("eth0").unwrap();
        near.set_up("out0").unwrap();
        far.set_up("eth0").unwrap();
        for (at, len) in [(0, 24), (1, 64)] {
            near.add_address(index, ip(BORDER[at]), len).unwrap();
            far.add_address(peer, ip(ROUTER[at]), len).unwrap();
            for address in [INTERNET[at], PARTNERS[at]] {
                far.add_address(peer, ip(address), if at == 0 { 32 } else { 128 }).unwrap();
            }
            let (to, len) = PUBLIC[at].split_once('/').unwrap();
            let to = (ip(to), len.parse().unwrap());
            let route = Route { to, via: Some(ip(BORDER[at])), onlink: false };
            far.add_route(peer, route).unwrap();
        }
        World { space }
    }

    /// From now on the world speaks from this address.
    fn speak_as(&self, from: &str) {
        let at = usize::from(from.contains(':'));
        let (family, to, via) = (["-4", "-6"][at], PUBLIC[at], BORDER[at]);
        let words = [family, "route", "replace", to, "via", via, "src", from];
        self.space.run("ip", &words);
        // IPv6 adds beside the route that says no source address.
        if at == 1 {
            self.space.run("ip", &["-6", "route", "flush", to]);
            self.space.run("ip", &["-6", "route", "add", to, "via", via, "src", from]);
        }
    }
}

/// Says to everybody who connects what address they have.
fn tell_peers(ns: &NetNs, ports: &[u16]) {
    for port in ports {
        let listener = ns.run(|| TcpListener::bind(("::", *port))).unwrap().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().map(|a| a.ip().to_canonical().to_string());
                let _ = stream.write_all(peer.unwrap_or_default().as_bytes());
            }
        });
    }
}

/// The address that whoever listens there sees; `None` if nobody answers.
fn ask(ns: &NetNs, to: &str, port: u16, patience: Duration) -> Option<String> {
    let to = SocketAddr::new(ip(to), port);
    let mut stream = ns.run(|| TcpStream::connect_timeout(&to, patience)).unwrap().ok()?;
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// What the border and the world look like, for a test that fails.
fn dump<K: Kind>(rig: &Rig<K>, world: &World) -> String {
    let border = &rig.hosts[0].space;
    let show = |space: &Space, what: &str| space.run("ip", &what.split(' ').collect::<Vec<_>>());
    let mut text = String::new();
    for what in ["-s link", "rule", "route show table all", "neigh"] {
        text += &format!("-- border: {what}\n{}", show(border, what));
    }
    text += &border.run("cat", &["/proc/net/snmp", "/proc/net/netstat"]);
    text += &format!("-- world\n{}{}", show(&world.space, "-s link"), show(&world.space, "route"));
    text
}

fn ping(ns: &NetNs, to: &str, patience: &str) -> bool {
    let patience = Duration::from_secs(patience.parse().unwrap());
    crate::talk::ping(ns, ip(to), patience).unwrap()
}

/// Makes or changes the way out on the first host, as the agent does.
fn lead_out<K: Kind>(rig: &Rig<K>, exits: &mut Exits) {
    let link = ExitLink::of(SCOPE);
    let outside = &rig.table.outside[&SCOPE];
    let outward = |(to, hops): (&Prefix, &BTreeSet<Hop>)| {
        let hop = hops.first().unwrap();
        Outward { to: *to, link: hop.link.to_string(), via: hop.via }
    };
    let hidden = outside.inside.iter().filter(|(_, inside)| !inside.public);
    let lacking = exits.ensure(&Exit {
        stack: &link.stack,
        plane: &link.plane,
        mac: link.mac,
        mtu: 1450,
        group: 5,
        table: 0x5e00_0000 | SCOPE.0,
        inside: outside.inside.keys().copied().collect(),
        hidden: hidden.map(|(prefix, _)| *prefix).collect(),
        routes: outside.routes.iter().map(outward).collect(),
    });
    assert!(lacking.unwrap().is_empty());
}

/// Two hosts, three groups on each, and the world behind the first.
pub fn fabric<K: Kind>(kinds: [K; 2], table: Table) -> (Rig<K>, World, Exits) {
    require_root();
    let mut rig = Rig::new(kinds, &six_workloads(), empty_table());
    let world = World::new(&rig);
    rig.table = table;
    let mut exits = rig.hosts[0].space.ns.run(Exits::open).unwrap().unwrap();
    lead_out(&rig, &mut exits);
    rig.apply();
    (rig, world, exits)
}

/// What leaves, from the border and from another host.
pub fn what_leaves_is_what_a_contract_says<K: Kind>(kinds: [K; 2]) {
    let (mut rig, world, _exits) = fabric(kinds, table());
    tell_peers(&world.space.ns, &[80, 5000]);
    for (at, v6) in [(0, false), (1, true)] {
        // The first of each pair is on the border host, the second is not.
        for name in ["web-a", "web-b"] {
            let web = rig.of(name);
            let own = web.ip(v6).to_string();
            for port in [80, 5000] {
                let seen = ask(&web.space.ns, INTERNET[at], port, LONG);
                assert_eq!(seen, Some(own.clone()), "{name} {port}\n{}", dump(&rig, &world));
            }
            assert!(ping(&web.space.ns, INTERNET[at], "8"), "{name}");
            // The longest prefix decides: partners are not of the internet.
            assert_eq!(ask(&web.space.ns, PARTNERS[at], 80, SHORT), None, "{name}");
        }
        for name in ["db-a", "db-b"] {
            let seen = ask(&rig.of(name).space.ns, INTERNET[at], 80, LONG);
            assert_eq!(seen.as_deref(), Some(BORDER[at]), "{name} is not known outside");
            assert!(ping(&rig.of(name).space.ns, INTERNET[at], "8"), "{name}");
        }
        for name in ["app-a", "app-b"] {
            assert_eq!(ask(&rig.of(name).space.ns, INTERNET[at], 80, SHORT), None, "{name}");
        }
    }
    rig.counts_more(Reason::NoContract, 7);
    rig.counts_more(Reason::Contract, 0);
    rig.counts_more(Reason::Established, 0);
    assert_eq!(rig.packets(Reason::RedirectFailed), 0);
}

/// What comes in, to both hosts.
pub fn what_comes_in_is_what_a_contract_says<K: Kind>(kinds: [K; 2]) {
    let (mut rig, world, _exits) = fabric(kinds, table());
    for name in ["web-a", "web-b"] {
        tell_peers(&rig.of(name).space.ns, &[80, 8080, 22]);
    }
    for (at, v6) in [(0, false), (1, true)] {
        for (from, open, shut) in [(INTERNET[at], 80, 8080), (PARTNERS[at], 8080, 80)] {
            world.speak_as(from);
            for name in ["web-a", "web-b"] {
                let web = rig.of(name).ip(v6).to_string();
                let seen = ask(&world.space.ns, &web, open, LONG);
                assert_eq!(seen.as_deref(), Some(from), "{name}");
                for port in [shut, 22] {
                    assert_eq!(ask(&world.space.ns, &web, port, SHORT), None, "{name} {port}");
                }
            }
        }
    }
    world.speak_as(INTERNET[0]);
    let (web, gateway) = (rig.of("web-b").ip(false).to_string(), "10.1.0.1");
    assert!(ping(&world.space.ns, &web, "8"));
    assert!(ping(&world.space.ns, gateway, "8"), "the gateway answers echo");
    rig.counts_more(Reason::NoContract, 15);
    let spoofed = rig.packets(Reason::SpoofedIp);
    // An address of the inside comes from outside only by deceit.
    let claimed = rig.of("app-a").ip(false);
    let mut link = Netlink::open_in(&world.space.ns).unwrap();
    let index = link.index_of("eth0").unwrap();
    link.add_address(index, claimed, 32).unwrap();
    world.speak_as(&claimed.to_string());
    assert_eq!(ask(&world.space.ns, &web, 80, SHORT), None);
    rig.counts_more(Reason::SpoofedIp, spoofed);
}

/// What the border itself sends and is sent.
pub fn the_host_itself_is_judged_by_its_address<K: Kind>(kinds: [K; 2]) {
    let (mut rig, _world, _exits) = fabric(kinds, table());
    for name in ["web-a", "web-b"] {
        tell_peers(&rig.of(name).space.ns, &[80, 22]);
    }
    for (at, v6) in [(0, false), (1, true)] {
        for name in ["web-a", "web-b"] {
            let web = rig.of(name).ip(v6).to_string();
            let host = &rig.hosts[0].space.ns;
            assert!(ask(host, &web, 80, LONG).is_some(), "{name}");
            assert_eq!(ask(host, &web, 22, SHORT), None, "{name}");
        }
        tell_peers(&rig.hosts[0].space.ns, &[7000 + at as u16]);
        let seen = ask(&rig.of("web-b").space.ns, BORDER[at], 7000 + at as u16, LONG);
        assert_eq!(seen, Some(rig.of("web-b").ip(v6).to_string()));
        assert_eq!(ask(&rig.of("app-b").space.ns, BORDER[at], 7000 + at as u16, SHORT), None);
    }
    // Where no prefix has the host's address, it is nobody.
    let partner = [("203.0.113.0/25", PARTNER, PARTNER)];
    rig.table.outside.insert(SCOPE, outside(&partner));
    rig.apply();
    let before = rig.packets(Reason::UnknownSource);
    let web = rig.of("web-a").ip(false).to_string();
    assert_eq!(ask(&rig.hosts[0].space.ns, &web, 80, SHORT), None);
    rig.counts_more(Reason::UnknownSource, before);
    let before = rig.packets(Reason::UnknownDestination);
    assert_eq!(ask(&rig.of("web-a").space.ns, INTERNET[0], 80, SHORT), None);
    rig.counts_more(Reason::UnknownDestination, before);
}

/// Streams, while data planes come and go.
pub fn streams_pass_whole_both_ways_and_a_restart_cuts_none<K: Kind>(kinds: [K; 2]) {
    let (mut rig, world, _exits) = fabric(kinds, table());
    let listener = world.space.ns.run(|| TcpListener::bind(("::", 80))).unwrap().unwrap();
    let sums = thread::spawn(move || {
        let mut sums = Vec::new();
        for mut stream in listener.incoming().flatten().take(4) {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
            sums.push(bytes.len());
        }
        sums
    });
    let bytes = vec![7; 4 << 20];
    for (at, name) in [(0, "web-b"), (1, "web-b"), (0, "db-b"), (0, "web-a")] {
        let ns = &rig.of(name).space.ns;
        let to = SocketAddr::new(ip(INTERNET[at]), 80);
        let mut stream = ns.run(|| TcpStream::connect_timeout(&to, LONG)).unwrap().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(&bytes[..1 << 20]).unwrap();
        rig.restart(0);
        rig.restart(1);
        stream.write_all(&bytes[1 << 20..]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert_eq!(back.len(), bytes.len(), "{name}");
    }
    assert_eq!(sums.join().unwrap(), [bytes.len(); 4]);
}
