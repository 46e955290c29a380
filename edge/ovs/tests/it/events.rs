//! Dropped packets become events, and a flood of them becomes a few.

use std::time::{Duration, Instant};

use selvage_agent::datapath::{Direction, Drop as Dropped, DropSource};
use selvage_host::{Change as LinkChange, Netlink, Veth};
use selvage_ovs::events::{self, Events, RATE};
use selvage_ovs::openflow::{Action, Connection, Field, Flow, Match};
use selvage_ovs::ovsdb::PortSpec;
use selvage_ovs::tables::{Stage, reg};
use selvage_ovs::trace::{Probe, trace};
use selvage_ovs::unixctl::Control;
use selvage_rules::{BdId, ClassId, Reason, RuleId, ScopeId};

use crate::rig::{BRIDGE, Rig, TIMEOUT, add};

/// Drops what comes by `port` for two reasons: TCP as denied by a rule, the rest as nobody's.
fn install(bridge: &mut Connection, port: u32) {
    events::set_meters(bridge).unwrap();
    let known = |reason, rule: u32| {
        vec![
            Action::set(reg::SCOPE, 3u32),
            Action::set(reg::BD, 9u32),
            Action::set(reg::SRC, 16400u32),
            Action::set(reg::DST, 16401u32),
            Action::set(reg::RULE, rule),
            Action::set(reg::REASON, reason as u32),
            Stage::Drop.goto(),
        ]
    };
    let from = Match::any().with(Field::InPort, port);
    let tcp = from.clone().with(Field::EthType, 0x0800u16).with(Field::IpProto, 6u8);
    let drop = |reason| Flow {
        table: Stage::Drop.table(),
        priority: 1,
        cookie: reason as u64,
        matches: Match::any().with(reg::REASON, reason as u32),
        actions: vec![events::tell(reason)],
        ..Flow::default()
    };
    let flows = [
        Flow { priority: 2, matches: tcp, actions: known(Reason::Denied, 77), ..Flow::default() },
        Flow {
            priority: 1,
            matches: from,
            actions: known(Reason::NoContract, 0),
            ..Flow::default()
        },
        drop(Reason::Denied),
        drop(Reason::NoContract),
    ];
    bridge.apply(&add(&flows)).unwrap();
}

/// An Ethernet frame with IPv4 and eight bytes of ports and flags.
fn frame(proto: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x10, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    let sum = frame[14..34]
        .chunks(2)
        .fold(0u32, |sum, word| sum + u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A port with a link whose other end we can send from.
fn port(rig: &Rig) -> (u32, u32) {
    let mut netlink = Netlink::open_in(&rig.namespace).unwrap();
    let veth = Veth {
        name: "svp1",
        mac: None,
        peer: "svp1x",
        peer_mac: None,
        peer_namespace: None,
        mtu: 1450,
        group: 0,
    };
    let index = netlink.create_veth(&veth).unwrap();
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    netlink.change(index, up).unwrap();
    let other = netlink.index_of("svp1x").unwrap();
    netlink.change(other, LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    (rig.database().ensure_port(BRIDGE, &PortSpec::system("svp1")).unwrap(), index)
}

/// Sends `frame` from the other end of the link, `count` times as fast as it goes.
fn send(rig: &Rig, frame: &[u8], count: u32) {
    use std::os::fd::AsRawFd;
    rig.namespace
        .run(|| {
            let link = nix::net::if_::if_nametoindex("svp1x").unwrap();
            let socket = nix::sys::socket::socket(
                nix::sys::socket::AddressFamily::Packet,
                nix::sys::socket::SockType::Raw,
                nix::sys::socket::SockFlag::empty(),
                None,
            )
            .unwrap();
            let mut to = [0u8; 20];
            to[..2].copy_from_slice(&17u16.to_ne_bytes());
            to[4..8].copy_from_slice(&link.to_ne_bytes());
            let to = to;
            for _ in 0..count {
                // SAFETY: `to` is a sockaddr_ll of 20 bytes, `frame` is as long as it says.
                let sent = unsafe {
                    nix::libc::sendto(
                        socket.as_raw_fd(),
                        frame.as_ptr().cast(),
                        frame.len(),
                        0,
                        to.as_ptr().cast(),
                        20,
                    )
                };
                assert!(sent > 0, "{}", std::io::Error::last_os_error());
            }
        })
        .unwrap();
}

/// Reads events until `enough`, and gives them with what was lost.
fn read(
    rig: &Rig,
    events: &mut Events,
    enough: impl Fn(&[Dropped], u64) -> bool + Send + Sync,
) -> (Vec<Dropped>, u64) {
    rig.namespace
        .run(|| {
            let (mut drops, mut lost) = (Vec::new(), 0);
            let deadline = Instant::now() + TIMEOUT;
            while !enough(&drops, lost) {
                assert!(Instant::now() < deadline, "{} events, {lost} lost", drops.len());
                lost += events.wait(Duration::from_millis(100), &mut drops).unwrap();
            }
            (drops, lost)
        })
        .unwrap()
}

fn open(rig: &Rig) -> Events {
    rig.namespace.run(|| Events::open(&rig.socket()).unwrap()).unwrap()
}

#[test]
fn a_drop_says_all_that_is_known_and_the_trace_agrees() {
    let mut rig = Rig::new();
    let (number, index) = port(&rig);
    install(&mut rig.bridge(), number);
    let mut events = open(&rig);
    send(&rig, &frame(6), 1);
    let denied = |drops: &[Dropped], _| drops.iter().any(|drop| drop.rule.is_some());
    let (drops, _) = read(&rig, &mut events, denied);
    let drop = drops.iter().find(|drop| drop.rule.is_some()).unwrap();
    assert_eq!((drop.reason, drop.rule), (Reason::Denied, Some(RuleId(77))));
    assert_eq!((drop.direction, drop.ifindex), (Direction::FromEndpoint, index));
    assert_eq!((drop.scope, drop.bd), (Some(ScopeId(3)), Some(BdId(9))));
    assert_eq!((drop.src_class, drop.dst_class), (Some(ClassId(16400)), Some(ClassId(16401))));
    assert_eq!((drop.src, drop.dst), (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into())));
    assert_eq!((drop.packet.sport, drop.packet.dport, drop.length), (0x1000, 80, 54));
    assert_eq!(drop.tunnel, None);

    let mut control = Control::connect(&rig.ovs.control(), TIMEOUT).unwrap();
    let flow = Match::any().with(Field::InPort, number);
    let probe = Probe { flow, frame: Some(frame(6)), connection: Vec::new() };
    let traced = trace(&mut control, BRIDGE, &probe).unwrap();
    assert!(traced.is_drop(), "{}", traced.text);
    assert_eq!(traced.register(reg::RULE), 77, "{}", traced.text);
    let tables: Vec<u8> = traced.steps.iter().map(|step| step.table).collect();
    assert_eq!(tables, [0, Stage::Drop.table()]);
    assert_eq!(traced.steps[1].cookie, Reason::Denied as u64);

    // The switch comes back, and so do its events.
    rig.ovs.kill_switch().unwrap();
    rig.ovs.start_switch().unwrap();
    let mut bridge = selvage_testkit::eventually(TIMEOUT, "the bridge listens again", || {
        Connection::open(&rig.socket(), TIMEOUT).map_err(|error| error.to_string())
    });
    install(&mut bridge, number);
    let (drops, _) = read(&rig, &mut events, |drops, _| {
        send(&rig, &frame(6), 1);
        denied(drops, 0)
    });
    assert!(!drops.is_empty());
}

#[test]
fn a_flood_is_bounded_and_hides_no_other_reason() {
    let rig = Rig::new();
    let (number, _) = port(&rig);
    install(&mut rig.bridge(), number);
    let mut events = open(&rig);
    let started = Instant::now();
    send(&rig, &frame(17), 20_000);
    let (drops, lost) = read(&rig, &mut events, |drops, lost| {
        // The link's queue may have had no room for one.
        send(&rig, &frame(6), 1);
        drops.iter().any(|drop| drop.reason == Reason::Denied) && lost > 500
    });
    let flood = drops.iter().filter(|drop| drop.reason == Reason::NoContract).count();
    let seconds = started.elapsed().as_secs_f64();
    let most = f64::from(RATE) * (seconds + 2.0);
    assert!(flood as f64 <= most, "{flood} events in {seconds:.1} s, {lost} lost");
    assert!(flood >= 10, "{flood} events");
}
