//! The kernel against the judge: random tables applied, random packets run through the program.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use selvage_agent::datapath::Datapath;
use selvage_agent::untreated::without_services;
use selvage_ebpf::Ebpf;
use selvage_rules::{Action, BdId, ClassId, EtherType, Match, Packet, Reason, ScopeId, Table, Vrf};

use crate::crafted::{REDIRECT, SHOT, between, local};
use crate::frame;
use crate::judges::{self, SCOPES};
use crate::policy::{
    APP, WEB, bridge_domain, empty_table, ip, permit, set_pair, tcp, three_tier, udp,
};
use crate::rig::{Rig, SILENT, Wanted, one};

const SCOPE: ScopeId = SCOPES[0];
const BD: BdId = BdId(70);
const NAMES: [&str; 3] = ["one", "two", "three"];

fn three_classes() -> Vec<Wanted> {
    (1_u8..)
        .zip(NAMES)
        .map(|(number, name)| Wanted {
            name,
            host: 0,
            bd: BD,
            class: ClassId(number.into()),
            ips: vec![IpAddr::from([10, 7, 0, number]), ip(&format!("2001:db8:7::{number}"))],
        })
        .collect()
}

fn with_places(mut table: Table) -> Table {
    for scope in SCOPES {
        table.vrfs.insert(scope, Vrf { name: "vrf".into() });
    }
    let mut domain = bridge_domain("bd", &[]);
    domain.scope = SCOPE;
    table.bridge_domains = BTreeMap::from([(BD, domain)]);
    table
}

/// Packets that can be put on a wire as they are.
fn sendable() -> impl Strategy<Value = Packet> {
    // Next header 0 is hop-by-hop options, which are none of the packet's own protocol.
    judges::packet()
        .prop_filter("IP, with a protocol", |packet| packet.ether.is_ip() && packet.proto != 0)
}

fn reasons(plane: &mut Ebpf) -> BTreeMap<Reason, u64> {
    let reasons = plane.counters().unwrap().reasons;
    reasons.into_iter().map(|(reason, count)| (reason, count.packets)).collect()
}

fn agree(rig: &mut Rig, from: usize, to: usize, packet: &Packet) {
    let (src, dst) = (rig.of(NAMES[from]).endpoint.clone(), rig.of(NAMES[to]).endpoint.clone());
    let v6 = packet.ether == EtherType::IPV6;
    let ips = (rig.of(NAMES[from]).ip(v6), rig.of(NAMES[to]).ip(v6));
    let bytes = frame::frame(dst.mac, src.mac, ips.0, ips.1, packet);
    let ifindex = rig.of(NAMES[from]).port.ifindex;
    let host = &mut rig.hosts[0];
    let before = reasons(&mut host.plane);
    let run = || host.plane.programs().from_endpoint.run_on_packet(&bytes, ifindex, 1);
    let returned = host.space.ns.run(run).unwrap().unwrap().returned;
    // Connections are another story: each packet is the first one here.
    host.plane.sweep(Duration::from_secs(u32::MAX.into())).unwrap();
    let mut after = reasons(&mut host.plane);
    after.retain(|reason, count| before.get(reason) != Some(count));

    let verdict = without_services(rig.table.judge(SCOPE, src.class, dst.class, packet));
    let mut expected = verdict.reason;
    if packet.later_fragment && expected == Reason::NoContract {
        expected = Reason::Fragment;
    }
    let action = if returned == REDIRECT { Action::Permit } else { Action::Deny };
    assert_eq!(action, verdict.action, "{packet:?}");
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), [expected], "{packet:?}");
}

#[test]
fn the_kernel_says_what_the_judge_says() {
    let rig = Rig::with(one(), &three_classes(), with_places(Table::default()), SILENT);
    let rig = RefCell::new(rig);
    let packets = vec((0_usize..3, 1_usize..3, sendable()), 1..40);
    let mut runner = TestRunner::new(Runs { cases: 60, ..Runs::default() });
    let judged = RefCell::new(0);
    let result = runner.run(&(judges::table(), packets), |(table, packets)| {
        let mut rig = rig.borrow_mut();
        rig.table = with_places(table);
        rig.apply();
        for (from, step, packet) in packets {
            agree(&mut rig, from, (from + step) % 3, &packet);
            *judged.borrow_mut() += 1;
        }
        Ok(())
    });
    result.unwrap();
    println!("kernel and judge agree about {} packets", judged.into_inner());
}

/// In one table a pair allows 8080, in the other (any, any) does; neither allows 22. Were a swap not
/// one step, a packet would meet both or none.
#[test]
fn a_thousand_swaps_lose_nothing_and_leak_nothing() {
    let mut rig = Rig::with(one(), &local(), three_tier(), SILENT);
    let (mut by_pair, mut by_any) = (empty_table(), empty_table());
    let filler = |first: u16| (first..first + 20).map(|n| permit(n.into(), udp(n)));
    let rules = filler(100).chain([permit(1, tcp(8080))]).collect();
    set_pair(&mut by_pair, WEB, APP, 1, rules);
    // In the way of whoever sees both: it has the better priority, and denies.
    let deny =
        selvage_rules::Rule { priority: 1, action: Action::Deny, ..permit(3, Match::EVERYTHING) };
    set_pair(&mut by_pair, APP, WEB, 2, vec![deny]);
    let rules = filler(200).chain([permit(2, tcp(8080))]).collect();
    set_pair(&mut by_any, ClassId::ANY, ClassId::ANY, 3, rules);
    rig.table = by_pair.clone();
    rig.apply();

    let syn = |port| Packet::tcp_syn(EtherType::IPV4, 40000, port);
    let allowed = between(&rig, "web-a", "app-a", &syn(8080));
    let denied = between(&rig, "web-a", "app-a", &syn(22));
    let ifindex = rig.of("web-a").port.ifindex;
    // A second process over the same maps, so to speak.
    let config = rig.hosts[0].kind.config.clone().unwrap();
    let reader = rig.hosts[0].space.ns.run(|| Ebpf::open(config)).unwrap().unwrap();
    let (done, packets) = (AtomicBool::new(false), AtomicU64::new(0));
    let namespace = selvage_host::NetNs::named(&rig.hosts[0].space.name).unwrap();
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let watch = || {
                while !done.load(Ordering::SeqCst) {
                    for (frame, expected) in [(&allowed, REDIRECT), (&denied, SHOT)] {
                        let program = &reader.programs().from_endpoint;
                        let run = program.run_on_packet(frame, ifindex, 1).unwrap();
                        assert_eq!(run.returned, expected);
                        packets.fetch_add(1, Ordering::SeqCst);
                    }
                }
            };
            namespace.run(watch).unwrap();
        });
        for swap in 0..1000 {
            rig.table = if swap % 2 == 0 { by_any.clone() } else { by_pair.clone() };
            rig.apply();
        }
        done.store(true, Ordering::SeqCst);
        watching.join().unwrap();
    });
    println!("1000 swaps under {} packets", packets.into_inner());
}
