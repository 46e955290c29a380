//! The agent with its real data plane: what it attaches can speak, and what it leaves stays. Needs
//! root and the kernel features of an agent; fails by name where they are missing.

pub mod controller;
pub mod host;
mod judges;
mod outside;
mod switch;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use selvage_agent::local::{Code, EndpointView, Stage};
use selvage_host::{Netlink, Veth};
use selvage_rules::{
    Action, BdId, BridgeDomain, ClassId, Gateway, Group, GroupId, GroupKey, Match, Origin, PairKey,
    PortRange, Reason, Revision, Rule, RuleId, RuleSet, RuleSetId, ScopeId, Table, Treatment, Vrf,
    proto,
};

use controller::Controller;
use host::{Host, Plane, Space, eventually, two_hosts_with};

const SCOPE: ScopeId = ScopeId(1000);
const WEB: ClassId = ClassId(16386);
const DB: ClassId = ClassId(16387);

/// web reaches db on tcp/5432, udp/7000 and by ping, there and back; nothing else passes.
pub fn shop() -> Table {
    let mut table = Table::default();
    table.vrfs.insert(SCOPE, Vrf { name: "uni/tn-shop/ctx-main".into() });
    for (class, bd, name, gateways) in [
        (WEB, BdId(2001), "web", ["10.1.0.1/24", "2001:db8:1::1/64"]),
        (DB, BdId(2002), "db", ["10.2.0.1/24", "2001:db8:2::1/64"]),
    ] {
        let key = GroupKey { scope: SCOPE, class };
        let group = format!("uni/tn-shop/ap-store/epg-{name}");
        table.groups.insert(
            key,
            Group { name: group.into(), bd: Some(bd), encap: GroupId(u32::from(class.0)) },
        );
        let gateway = |text: &str| {
            let (ip, len) = text.split_once('/').unwrap();
            Gateway { ip: ip.parse().unwrap(), prefix_len: len.parse().unwrap() }
        };
        let bridge_domain = BridgeDomain {
            name: format!("uni/tn-shop/BD-{name}").into(),
            scope: SCOPE,
            mac: "00:22:bd:f8:19:ff".parse().unwrap(),
            routed: true,
            gateways: gateways.map(gateway).to_vec(),
        };
        table.bridge_domains.insert(bd, bridge_domain);
    }
    for (number, src, dst, reverse) in [(1, WEB, DB, false), (2, DB, WEB, true)] {
        let mut rules = Vec::new();
        for (index, (proto, port)) in
            [(proto::TCP, 5432), (proto::UDP, 7000), (proto::ICMP, 0), (proto::ICMPV6, 0)]
                .into_iter()
                .enumerate()
        {
            let port = if port == 0 { PortRange::ANY } else { PortRange::one(port) };
            let (sport, dport) =
                if reverse { (port, PortRange::ANY) } else { (PortRange::ANY, port) };
            let id = RuleId(number * 10 + u32::try_from(index).unwrap());
            rules.push(Rule {
                id,
                priority: 100,
                matches: Match { proto: Some(proto), sport, dport, ..Match::EVERYTHING },
                action: Action::Permit,
                reason: Reason::Contract,
                stateful: false,
                log: false,
                treatment: Treatment::default(),
            });
            let dn = "uni/tn-shop/brc-sql/subj-all".into();
            table.origins.insert(id, Origin { dn, entry: "".into(), reverse });
        }
        let id = RuleSetId(number);
        table.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules)));
        table.pairs.insert(PairKey { scope: SCOPE, src, dst }, id);
    }
    table
}

/// The fabric of a test: two hosts with agents, and their controller.
struct Fabric {
    one: Host,
    two: Host,
    controller: Controller,
}

impl Fabric {
    fn start() -> Fabric {
        Fabric::start_with([Plane::Ebpf; 2])
    }

    fn start_with(planes: [Plane; 2]) -> Fabric {
        let (mut one, mut two) = two_hosts_with(planes);
        let address = SocketAddr::new(one.tunnel, 8009);
        let controller = Controller::start(&one.space.ns, address, shop());
        one.start(controller.address());
        two.start(controller.address());
        Fabric { one, two, controller }
    }
}

fn ip_of(view: &EndpointView, v6: bool) -> IpAddr {
    view.addresses.iter().map(|a| a.ip).find(|ip| ip.is_ipv6() == v6).unwrap()
}

/// Whether a connection from `from` to a listener at `to` in `at` is made.
fn connects(from: &Space, at: &Space, to: SocketAddr) -> bool {
    let listener = at.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
    let patience = Duration::from_millis(700);
    let made = from.ns.run(|| TcpStream::connect_timeout(&to, patience)).unwrap();
    drop(listener);
    made.is_ok()
}

#[test]
fn what_is_attached_reaches_what_the_contract_allows_and_the_drops_say_why_not() {
    reaches_what_the_contract_allows([Plane::Ebpf, Plane::Ebpf]);
}

#[test]
fn with_open_vswitch_what_is_attached_reaches_what_the_contract_allows() {
    reaches_what_the_contract_allows([Plane::Ovs, Plane::Ovs]);
}

fn reaches_what_the_contract_allows(planes: [Plane; 2]) {
    let fabric = Fabric::start_with(planes);
    let (web, db) = (Space::new("web"), Space::new("db"));
    let view_web = fabric.one.attach("web-1", "shop/store/web", &web).unwrap();
    let view_db = fabric.two.attach("db-1", "shop/store/db", &db).unwrap();
    assert_eq!((view_web.stage, view_web.fault.clone()), (Stage::Ready, None));
    for v6 in [false, true] {
        let to = ip_of(&view_db, v6);
        eventually("web reaches db", || {
            if web.pings(to) { Ok(()) } else { Err(format!("no echo: {:?}", fabric.one.drops())) }
        });
        assert!(connects(&web, &db, SocketAddr::new(to, 5432)), "v6 {v6}");
        assert!(!connects(&web, &db, SocketAddr::new(to, 22)), "v6 {v6}");
        let back = SocketAddr::new(ip_of(&view_web, v6), 5432);
        assert!(!connects(&db, &web, back), "v6 {v6}");
    }
    let sentence = "web-1 -> db-1 tcp/22 dropped on";
    let drop = eventually("the drop is told", || {
        let drops: Vec<_> = [&fabric.one, &fabric.two].iter().flat_map(|h| h.drops()).collect();
        let found = drops.iter().find(|d| d.text.starts_with(sentence)).cloned();
        found.ok_or_else(|| format!("{drops:#?}"))
    });
    assert!(drop.text.contains("no contract lets web reach db on tcp/22"), "{}", drop.text);
    assert!(drop.text.contains("nearest: contract sql allows"), "{}", drop.text);
    assert_eq!(drop.reason, Reason::NoContract);

    let status = fabric.one.status();
    assert!(status.controller.connected && status.faults.is_empty(), "{status:#?}");
    assert_eq!(status.applied, Revision(1));
    assert!(status.reasons.contains_key(&Reason::Contract), "{status:#?}");
    eventually("the controller hears of it", || {
        match fabric.controller.applied(&fabric.one.name) {
            Some(Revision(1)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_detach_a_dead_namespace_and_an_uninstall_leave_nothing() {
    let mut fabric = Fabric::start();
    let (a, b) = (Space::new("a"), Space::new("b"));
    fabric.one.attach("web-1", "shop/store/web", &a).unwrap();
    fabric.one.attach("web-2", "shop/store/web", &b).unwrap();
    assert_eq!(fabric.one.links().len(), 2);
    fabric.one.detach("web-1");
    assert_eq!(fabric.one.links().len(), 1);
    drop(b);
    eventually("the endpoint goes with its namespace", || {
        let list = fabric.one.list();
        if list.is_empty() { Ok(()) } else { Err(format!("{list:?}")) }
    });
    let refusal = fabric.one.attach("web-3", "shop/store/nosuch", &a).unwrap_err();
    assert_eq!(refusal.code, Code::NoSuchEpg);
    assert!(fabric.one.links().is_empty());

    let view = fabric.one.attach("web-4", "shop/store/web", &a).unwrap();
    assert!(fabric.one.stop(), "SIGTERM is no failure");
    assert_eq!(fabric.one.links(), [view.host_ifname], "what was attached stays");
    assert!(fabric.one.pins().exists() && fabric.one.state_dir().exists());
    fabric.one.uninstall();
    assert!(fabric.one.links().is_empty());
    assert!(!fabric.one.pins().exists() && !fabric.one.state_dir().exists());
    assert!(Netlink::open_in(&fabric.one.space.ns).unwrap().link("svtun0").unwrap().is_none());
}

#[test]
fn a_commit_changes_what_passes() {
    let fabric = Fabric::start();
    let (web, db) = (Space::new("web"), Space::new("db"));
    fabric.one.attach("web-1", "shop/store/web", &web).unwrap();
    let view = fabric.two.attach("db-1", "shop/store/db", &db).unwrap();
    let to = ip_of(&view, false);
    eventually("web reaches db", || if web.pings(to) { Ok(()) } else { Err("no echo".into()) });
    let mut cut = shop();
    cut.pairs = BTreeMap::new();
    fabric.controller.commit(cut);
    eventually("both hosts enforce it", || {
        let applied = [&fabric.one, &fabric.two].map(|h| fabric.controller.applied(&h.name));
        let done = applied.iter().all(|a| *a == Some(Revision(2)));
        if done { Ok(()) } else { Err(format!("{applied:?}")) }
    });
    assert!(!web.pings(to));
    fabric.controller.commit(shop());
    eventually(
        "web reaches db again",
        || {
            if web.pings(to) { Ok(()) } else { Err("no echo".into()) }
        },
    );
}

#[test]
fn an_agent_that_is_killed_and_comes_back_loses_no_packet_and_no_connection() {
    loses_no_packet_and_no_connection([Plane::Ebpf, Plane::Ebpf]);
}

#[test]
fn an_agent_with_open_vswitch_that_is_killed_loses_no_packet_and_no_connection() {
    loses_no_packet_and_no_connection([Plane::Ovs, Plane::Ovs]);
}

fn loses_no_packet_and_no_connection(planes: [Plane; 2]) {
    let mut fabric = Fabric::start_with(planes);
    let (web, db) = (Space::new("web"), Space::new("db"));
    let before = fabric.one.attach("web-1", "shop/store/web", &web).unwrap();
    let view = fabric.two.attach("db-1", "shop/store/db", &db).unwrap();
    let to = ip_of(&view, false);
    eventually("web reaches db", || if web.pings(to) { Ok(()) } else { Err("no echo".into()) });
    let traffic = Traffic::start(&web, &db, to);

    fabric.one.kill();
    fabric.two.kill();
    // What an attach that never ended would have left.
    half_an_attach(&fabric.one);
    let address = fabric.controller.address();
    fabric.one.start(address);
    fabric.two.start(address);
    eventually("the endpoint is taken over", || match &fabric.one.list()[..] {
        [one] if one.stage == Stage::Ready && one.fault.is_none() => {
            assert_eq!((&one.mac, &one.addresses), (&before.mac, &before.addresses));
            Ok(())
        }
        other => Err(format!("{other:#?}")),
    });
    assert_eq!(fabric.one.links(), std::slice::from_ref(&before.host_ifname), "the orphan is gone");
    // Then the controller goes, and the agents are killed once more: they know the policy.
    drop(fabric.controller);
    fabric.one.kill();
    fabric.one.start(address);
    assert_eq!(fabric.one.list()[0].stage, Stage::Ready);

    let (sent, received) = traffic.finish();
    assert!(sent > ENOUGH, "{sent} datagrams are no test");
    assert_eq!(received, sent, "datagrams were lost");
    let another = Space::new("web2");
    let late = fabric.one.attach("web-2", "shop/store/web", &another).unwrap();
    assert_eq!(late.fault.unwrap().code, Code::Unconfirmed);
}

/// A link with the mark of the agent, which no endpoint owns.
fn half_an_attach(host: &Host) {
    let mut netlink = Netlink::open_in(&host.space.ns).unwrap();
    let group = netlink.links("sv").unwrap().iter().find(|l| l.kind == "veth").unwrap().group;
    let veth = Veth {
        name: "sv0badcafe",
        mac: None,
        peer: "orphan0",
        peer_mac: None,
        peer_namespace: None,
        mtu: 1450,
        group,
    };
    netlink.create_veth(&veth).unwrap();
}

/// Datagrams that show something.
const ENOUGH: u64 = 200;

/// A stream and numbered datagrams, until told to end.
struct Traffic {
    stop: Arc<AtomicBool>,
    stream: thread::JoinHandle<()>,
    sender: thread::JoinHandle<u64>,
    receiver: thread::JoinHandle<u64>,
}

impl Traffic {
    fn start(from: &Space, at: &Space, to: IpAddr) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let listener = at.ns.run(|| TcpListener::bind((to, 5432))).unwrap().unwrap();
        let client = from.ns.run(|| TcpStream::connect((to, 5432))).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        let over = stop.clone();
        let stream = thread::spawn(move || round_trips(client, server, &over));

        let inbox = at.ns.run(|| UdpSocket::bind((to, 7000))).unwrap().unwrap();
        // What counts is what the network lost, not what a busy machine was late to read.
        setsockopt(&inbox, sockopt::RcvBufForce, &(16 << 20)).unwrap();
        inbox.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let outbox = from.ns.run(|| UdpSocket::bind(("0.0.0.0", 0))).unwrap().unwrap();
        outbox.connect((to, 7000)).unwrap();
        let over = stop.clone();
        let sender = thread::spawn(move || {
            let mut sent: u64 = 0;
            // A busy machine may be done with the killing before there was much to lose.
            while !over.load(Ordering::Relaxed) || sent <= ENOUGH {
                outbox.send(&sent.to_be_bytes()).unwrap();
                sent += 1;
                thread::park_timeout(Duration::from_millis(2));
            }
            sent
        });
        let over = stop.clone();
        let receiver = thread::spawn(move || {
            let (mut received, mut bytes) = (0, [0; 8]);
            loop {
                match inbox.recv(&mut bytes) {
                    Ok(_) => received += 1,
                    Err(error) => {
                        assert!(matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::TimedOut
                        ));
                        if over.load(Ordering::Relaxed) {
                            return received;
                        }
                    }
                }
            }
        });
        Traffic { stop, stream, sender, receiver }
    }

    /// How many datagrams were sent, and how many came.
    fn finish(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.stream.join().unwrap();
        (self.sender.join().unwrap(), self.receiver.join().unwrap())
    }
}

/// Requests and answers on one connection; none may take as long as a lost packet would.
fn round_trips(mut client: TcpStream, mut server: TcpStream, stop: &AtomicBool) {
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let echo = thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = server.read(&mut buffer) {
            server.write_all(&buffer[..length]).unwrap();
        }
    });
    let (mut rounds, start) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        client.write_all(&[7; 512]).unwrap();
        client.read_exact(&mut [0; 512]).unwrap();
        rounds += 1;
    }
    assert!(rounds > 0 && start.elapsed() > Duration::ZERO);
    drop(client);
    echo.join().unwrap();
}
