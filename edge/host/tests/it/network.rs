//! Namespaces, links, addresses, routes, tunnels and the watcher.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use selvage_host::probe::{self, Feature};
use selvage_host::watch::{Event, Watcher};
use selvage_host::{Change, Error, NetNs, Netlink, Route, Veth, Vxlan, bpffs, sysctl};

/// A named namespace that goes with the test, also when it panics.
struct Scratch(String, NetNs);

impl Scratch {
    fn new(what: &str) -> Scratch {
        probe::require(&[Feature::Root]).expect("these tests need root");
        let name = format!("svhost-{what}-{}", std::process::id());
        let namespace = NetNs::create(&name).unwrap();
        Scratch(name, namespace)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        NetNs::delete(&self.0).unwrap();
    }
}

/// Two namespaces with a pair of links between them, both up.
fn pair(what: &str) -> (Scratch, Scratch, [(Netlink, u32); 2]) {
    let (a, b) = (Scratch::new(&format!("{what}a")), Scratch::new(&format!("{what}b")));
    let mut near = Netlink::open_in(&a.1).unwrap();
    let mut far = Netlink::open_in(&b.1).unwrap();
    let veth = Veth {
        name: "sv00000001",
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        peer: "eth0",
        peer_mac: Some("02:00:00:00:00:02".parse().unwrap()),
        peer_namespace: Some(&b.1),
        mtu: 1450,
        group: 77,
    };
    let index = near.create_veth(&veth).unwrap();
    let peer = far.index_of("eth0").unwrap();
    let up = Change { up: Some(true), ..Change::default() };
    near.change(index, up).unwrap();
    far.change(peer, up).unwrap();
    (a, b, [(near, index), (far, peer)])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_namespace_is_named_entered_and_deleted() {
    let scratch = Scratch::new("ns");
    let here = NetNs::current().unwrap().id().unwrap();
    assert_ne!(scratch.1.id().unwrap(), here);
    assert_eq!(NetNs::named(&scratch.0).unwrap().id().unwrap(), scratch.1.id().unwrap());
    let inside = scratch.1.run(|| NetNs::current().unwrap().id().unwrap()).unwrap();
    assert_eq!(inside, scratch.1.id().unwrap());
    assert_eq!(NetNs::current().unwrap().id().unwrap(), here, "the caller moved");
    assert_eq!(NetNs::list(&scratch.0).unwrap(), std::slice::from_ref(&scratch.0));

    let again = NetNs::create(&scratch.0).unwrap_err().to_string();
    assert!(again.contains(&scratch.0) && again.contains("exists"), "{again}");
    NetNs::delete(&scratch.0).unwrap();
    assert!(NetNs::list(&scratch.0).unwrap().is_empty());
    NetNs::delete(&scratch.0).unwrap();
}

#[test]
fn a_child_starts_inside_and_still_sees_the_hosts_sys() {
    let scratch = Scratch::new("child");
    bpffs::ensure(bpffs::PATH).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "readlink /proc/self/ns/net /proc/self/ns/mnt; stat -fc %T /sys/fs/bpf"]);
    scratch.1.enter(&mut command).unwrap();
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let lines: Vec<_> = output.lines().collect();
    let mine = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    assert_ne!(lines[0], mine("net").to_str().unwrap());
    assert_eq!(lines[1], mine("mnt").to_str().unwrap());
    assert_eq!(lines[2], "bpf_fs");
}

#[test]
fn a_path_that_is_no_namespace_is_refused() {
    assert!(matches!(NetNs::open("/etc/hostname"), Err(Error::NotNetNs { .. })));
    let missing = NetNs::named("svhost-nosuch").unwrap_err().to_string();
    assert!(missing.contains("/run/netns/svhost-nosuch"), "{missing}");
    assert!(matches!(NetNs::create("a/b"), Err(Error::BadName { .. })));
}

#[test]
fn a_pair_is_born_at_its_ends_and_carries_both_families() {
    let (a, b, [(mut near, near_index), (mut far, far_index)]) = pair("pair");
    let link = far.link("eth0").unwrap().unwrap();
    assert_eq!((link.kind.as_str(), link.mtu, link.up), ("veth", 1450, true));
    assert_eq!(link.mac.unwrap().to_string(), "02:00:00:00:00:02");
    assert_eq!(link.group, 0);
    let ours: Vec<u32> = near.links("sv").unwrap().iter().map(|link| link.group).collect();
    assert_eq!(ours, [77]);
    assert!(near.link("eth0").unwrap().is_none(), "the far end is here too");

    near.add_address(near_index, ip("192.0.2.1"), 24).unwrap();
    near.add_address(near_index, ip("2001:db8::1"), 64).unwrap();
    near.add_address(near_index, ip("2001:db8::1"), 64).unwrap();
    far.add_address(far_index, ip("192.0.2.2"), 24).unwrap();
    far.add_address(far_index, ip("2001:db8::2"), 64).unwrap();
    let held: Vec<_> = near.addresses(near_index).unwrap();
    assert!(held.contains(&(ip("2001:db8::1"), 64)) && held.contains(&(ip("192.0.2.1"), 24)));

    for (server, client) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        let listener = a.1.run(|| TcpListener::bind((ip(server), 0))).unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Duration::from_secs(2);
        let stream = b.1.run(|| TcpStream::connect_timeout(&address, patience)).unwrap().unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), ip(client));
    }
}

#[test]
fn routes_lead_through_a_gateway_and_on_the_link() {
    let (_a, b, [_, (mut far, index)]) = pair("route");
    far.add_address(index, ip("192.0.2.2"), 24).unwrap();
    far.add_address(index, ip("2001:db8::2"), 64).unwrap();
    for route in [
        Route::default_via(ip("192.0.2.1")),
        Route::default_via(ip("2001:db8::1")),
        Route::on_link(ip("198.51.100.0"), 24),
        Route { to: (ip("203.0.113.0"), 24), via: Some(ip("10.9.9.9")), onlink: true },
    ] {
        far.add_route(index, route).unwrap();
        far.add_route(index, route).unwrap();
    }
    let mut command = Command::new("ip");
    command.args(["-o", "route", "show"]);
    b.1.enter(&mut command).unwrap();
    let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for line in ["default via 192.0.2.1 dev eth0", "198.51.100.0/24 dev eth0", "10.9.9.9 dev eth0"]
    {
        assert!(shown.contains(line), "no `{line}` in:\n{shown}");
    }
    let unreachable =
        Route { to: (ip("203.0.114.0"), 24), via: Some(ip("10.9.9.9")), onlink: false };
    let refused = far.add_route(index, unreachable).unwrap_err().to_string();
    assert!(refused.contains("10.9.9.9") && refused.contains("the kernel says"), "{refused}");
}

#[test]
fn the_hosts_own_ipv6_keeps_off_a_silenced_link() {
    let (a, b) = (Scratch::new("quiet-a"), Scratch::new("quiet-b"));
    let mut near = Netlink::open_in(&a.1).unwrap();
    let veth = Veth {
        name: "sv00000002",
        mac: None,
        peer: "eth0",
        peer_mac: None,
        peer_namespace: Some(&b.1),
        mtu: 1450,
        group: 0,
    };
    let index = near.create_veth(&veth).unwrap();
    sysctl::silence_ipv6(&a.1, veth.name).unwrap();
    near.change(index, Change { up: Some(true), ..Change::default() }).unwrap();
    Netlink::open_in(&b.1).unwrap().set_up("eth0").unwrap();
    assert_eq!(sysctl::get(&a.1, "ipv6/conf/sv00000002/disable_ipv6").unwrap(), "1");
    assert_eq!(near.addresses(index).unwrap(), []);
}

#[test]
fn the_tunnel_device_is_made_once_and_a_different_one_is_told() {
    let scratch = Scratch::new("vxlan");
    let mut netlink = Netlink::open_in(&scratch.1).unwrap();
    let vxlan = Vxlan { name: "svtun0", port: 4789, mtu: 1450 };
    let index = netlink.ensure_vxlan(&vxlan).unwrap();
    assert_eq!(netlink.ensure_vxlan(&vxlan).unwrap(), index);

    let other = Vxlan { port: 4790, ..vxlan };
    let mismatch = netlink.ensure_vxlan(&other).unwrap_err().to_string();
    assert!(mismatch.contains("port 4789") && mismatch.contains("port 4790"), "{mismatch}");
    let taken = netlink.ensure_vxlan(&Vxlan { name: "svtun1", ..vxlan }).unwrap_err().to_string();
    assert!(taken.contains("svtun0") && taken.contains("svtun1"), "{taken}");

    let plain = Veth {
        name: "svtun2",
        mac: None,
        peer: "peer",
        peer_mac: None,
        peer_namespace: None,
        mtu: 1500,
        group: 0,
    };
    netlink.create_veth(&plain).unwrap();
    let veth = netlink.ensure_vxlan(&Vxlan { name: "svtun2", ..vxlan }).unwrap_err().to_string();
    assert!(veth.contains("kind veth"), "{veth}");
}

#[test]
fn the_watcher_tells_of_links_that_come_change_and_go() {
    let (a, b) = (Scratch::new("watch-a"), Scratch::new("watch-b"));
    let mut watcher = Watcher::open_in(&a.1).unwrap();
    let mut near = Netlink::open_in(&a.1).unwrap();
    let veth = Veth {
        name: "sv00000003",
        mac: None,
        peer: "eth0",
        peer_mac: None,
        peer_namespace: Some(&b.1),
        mtu: 1450,
        group: 0,
    };
    let index = near.create_veth(&veth).unwrap();
    let is_new = |e: &Event| matches!(e, Event::Changed(l) if l.index == index);
    expect(&mut watcher, "the new link", is_new);
    near.change(index, Change { up: Some(true), ..Change::default() }).unwrap();
    let is_up = |e: &Event| matches!(e, Event::Changed(l) if l.index == index && l.up);
    expect(&mut watcher, "the link up", is_up);
    // The namespace of the far end ends with its last handle, and takes both ends along.
    drop(b);
    let is_gone = |e: &Event| *e == Event::Gone { index, name: "sv00000003".to_owned() };
    expect(&mut watcher, "the link gone with its peer's namespace", is_gone);
    assert!(near.link("sv00000003").unwrap().is_none());
}

fn expect(watcher: &mut Watcher, what: &str, wanted: impl Fn(&Event) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        seen.extend(watcher.wait(Duration::from_millis(100)).unwrap());
        if seen.iter().any(&wanted) {
            return;
        }
    }
    panic!("no {what} among {seen:?}");
}

#[test]
fn what_does_not_exist_is_told_by_name() {
    let scratch = Scratch::new("none");
    let mut netlink = Netlink::open_in(&scratch.1).unwrap();
    assert!(!netlink.delete_link("svnone").unwrap());
    assert!(netlink.link("svnone").unwrap().is_none());
    let error = netlink.set_up("svnone").unwrap_err().to_string();
    assert!(error.contains("svnone"), "{error}");
    for bad in ["", "a-name-of-16-byte", "a/b", "a b"] {
        assert!(matches!(netlink.link(bad), Err(Error::BadName { .. })), "`{bad}` was taken");
    }
}
