//! Swaps under traffic, and revocations: what is cut, how fast, and what is not touched.

use std::time::Instant;

use selvage_rules::{EtherType, Packet, TcpFlags};
use selvage_testkit::fabric::life;

use crate::crafted::{REDIRECT, SHOT, between, local};
use crate::policy::{APP, WEB, empty_table, set_pair, stateful, tcp};
use crate::rig::{Maps, Rig, SILENT, two};

#[test]
fn a_thousand_swaps_lose_nothing_and_leak_nothing() {
    life::swaps_lose_nothing_and_leak_nothing(two().into(), 1000, 8);
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
    let roomy = Maps {
        configure: Some(|config| {
            config.sizes.connections = 65536;
            config.connections_per_endpoint = 65536;
        }),
        config: None,
    };
    let both = vec![stateful(1, tcp(80)), stateful(2, tcp(8081))];
    let mut table = empty_table();
    set_pair(&mut table, WEB, APP, 1, both.clone());
    let mut rig = Rig::with([roomy], &local(), table, SILENT);
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
