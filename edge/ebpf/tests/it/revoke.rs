//! Swaps under traffic, and revocations: what is cut, how fast, and what is not touched.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use selvage_rules::{Action, ClassId, EtherType, Packet, Rule, TcpFlags};

use crate::crafted::{REDIRECT, SHOT, between, local};
use crate::lifecycle::app_and_db;
use crate::policy::{APP, DB, WEB, empty_table, permit, set_pair, stateful, tcp, udp};
use crate::rig::{Options, Rig, eventually};

const ALWAYS: u16 = 5353;
const NEVER: u16 = 9999;
const SWAPS: u32 = 1000;

/// Two policies that let the same through by different rules of different pairs. Half of the one
/// with half of the other would drop what both allow, or let through what neither does.
fn policy(rig: &mut Rig, round: u32) {
    let id = 1000 + round * 10;
    let deny = |matches| Rule { action: Action::Deny, priority: 50, ..permit(id, matches) };
    let mut table = empty_table();
    if round.is_multiple_of(2) {
        let rules = vec![stateful(id + 1, udp(ALWAYS)), permit(id + 2, udp(NEVER))];
        set_pair(&mut table, APP, DB, id, rules);
        set_pair(&mut table, ClassId::ANY, DB, id + 1, vec![deny(udp(NEVER))]);
    } else {
        set_pair(&mut table, APP, DB, id, vec![permit(id + 1, tcp(1))]);
        set_pair(&mut table, APP, ClassId::ANY, id + 1, vec![stateful(id + 2, udp(ALWAYS))]);
    }
    rig.table = table;
    rig.apply();
}

/// A socket whose buffer holds whatever comes while its reader is not let run.
fn roomy(rig: &Rig, name: &str, port: u16) -> UdpSocket {
    let at = SocketAddr::new(rig.of(name).ip(false), port);
    let socket = rig.of(name).space.ns.run(|| UdpSocket::bind(at)).unwrap().unwrap();
    setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket
}

fn count(socket: &UdpSocket, into: &AtomicU64, done: &AtomicBool) {
    let mut buffer = [0; 64];
    while !done.load(Ordering::SeqCst) {
        if socket.recv(&mut buffer).is_ok() {
            into.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_thousand_swaps_lose_nothing_and_leak_nothing() {
    let mut rig = Rig::new(2, &app_and_db(0, 1), empty_table());
    policy(&mut rig, 0);
    let to = |port| SocketAddr::new(rig.of("db").ip(false), port);
    let (always, never) = (to(ALWAYS), to(NEVER));
    let (allowed, denied) = (roomy(&rig, "db", ALWAYS), roomy(&rig, "db", NEVER));
    let sender = roomy(&rig, "app", 40_000);
    // The neighbour is known before it counts.
    eventually(
        "the way is open",
        || sender.send_to(b"first", always).is_ok() && allowed.recv(&mut [0; 64]).is_ok(),
        String::new,
    );
    while allowed.recv(&mut [0; 64]).is_ok() {}
    let (done, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (came, leaked) = (AtomicU64::new(0), AtomicU64::new(0));
    let sent = thread::scope(|scope| {
        scope.spawn(|| count(&allowed, &came, &stop));
        scope.spawn(|| count(&denied, &leaked, &stop));
        let sending = scope.spawn(|| {
            let mut sent = 0_u64;
            while !done.load(Ordering::SeqCst) {
                sender.send_to(b"always", always).unwrap();
                sender.send_to(b"never", never).unwrap();
                sent += 1;
                if sent.is_multiple_of(8) {
                    thread::sleep(Duration::from_micros(500));
                }
            }
            sent
        });
        for round in 1..=SWAPS {
            policy(&mut rig, round);
        }
        done.store(true, Ordering::SeqCst);
        let sent = sending.join().unwrap();
        let missing = || format!("{} of {sent}", came.load(Ordering::SeqCst));
        eventually("all of it came", || came.load(Ordering::SeqCst) == sent, missing);
        stop.store(true, Ordering::SeqCst);
        sent
    });
    println!("{sent} packets through {SWAPS} swaps");
    assert!(sent > u64::from(SWAPS), "too little to say anything: {sent} packets");
    assert_eq!((came.into_inner(), leaked.into_inner()), (sent, 0));
}

/// Live flows from web to app: most by one contract, some by another.
const FLOWS: u16 = 10_000;
const REVOKED: u16 = 100;

fn port_of(flow: u16) -> u16 {
    if flow < REVOKED { 8081 } else { 80 }
}

/// How both directions of a flow fare.
fn fares(rig: &Rig, flow: u16) -> (u32, u32) {
    let run = |from: &str, frame: &[u8]| {
        let program = &rig.hosts[0].plane.programs().from_endpoint;
        program.run_on_packet(frame, rig.of(from).port.ifindex, 1).unwrap().returned
    };
    let ack = |sport, dport| Packet {
        tcp_flags: TcpFlags::ACK,
        ..Packet::tcp_syn(EtherType::IPV4, sport, dport)
    };
    let (client, server) = (20_000 + flow, port_of(flow));
    let there = between(rig, "web-a", "app-a", &ack(client, server));
    let back = between(rig, "app-a", "web-a", &ack(server, client));
    (run("web-a", &there), run("app-a", &back))
}

#[test]
fn of_ten_thousand_flows_a_revocation_cuts_its_hundred() {
    let roomy = Options {
        configure: |config| {
            config.sizes.connections = 65536;
            config.connections_per_endpoint = 65536;
        },
        ..Options::SILENT
    };
    let both = vec![stateful(1, tcp(80)), stateful(2, tcp(8081))];
    let mut table = empty_table();
    set_pair(&mut table, WEB, APP, 1, both.clone());
    let mut rig = Rig::with(1, &local(), table, roomy);
    let space = selvage_host::NetNs::named(&rig.hosts[0].space.name).unwrap();
    let all = |rig: &Rig| -> Vec<(u32, u32)> {
        space.run(|| (0..FLOWS).map(|flow| fares(rig, flow)).collect()).unwrap()
    };
    // The first packet of each opens it, the answer is its second.
    assert!(all(&rig).iter().all(|fared| *fared == (REDIRECT, REDIRECT)));

    set_pair(&mut rig.table, WEB, APP, 2, both[..1].to_vec());
    let start = Instant::now();
    rig.apply();
    let swapped = start.elapsed();
    let revoked: Vec<_> =
        space.run(|| (0..REVOKED).map(|flow| fares(&rig, flow)).collect()).unwrap();
    println!("revoked in {swapped:?}, the next packets judged after {:?}", start.elapsed());
    assert!(revoked.iter().all(|fared| *fared == (SHOT, SHOT)), "{revoked:?}");
    let spared = all(&rig);
    let spared = &spared[usize::from(REVOKED)..];
    assert!(
        spared.iter().all(|fared| *fared == (REDIRECT, REDIRECT)),
        "a flow was cut for nothing"
    );

    set_pair(&mut rig.table, WEB, APP, 3, both);
    rig.apply();
    assert!(all(&rig).iter().all(|fared| *fared == (REDIRECT, REDIRECT)));
}
