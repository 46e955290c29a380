//! How long the program takes, by BPF_PROG_TEST_RUN. Printed, not asserted, but for an order of
//! magnitude: machines are noisy. `cargo test -p selvage-ebpf measure -- --nocapture`.

use std::time::{Duration, Instant};

use selvage_agent::datapath::Datapath;
use selvage_ebpf::Program;
use selvage_rules::{ClassId, EtherType, Packet, TcpFlags};

use crate::crafted::{REDIRECT, between, local};
use crate::policy::{APP, WEB, empty_table, permit, set_pair, stateful, tcp, udp};
use crate::rig::{Maps, Rig, SILENT};

const ROUNDS: usize = 15;

fn median(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Nanoseconds of one packet, run over and over: the median of some rounds.
fn hot(program: &Program, frame: &[u8], ifindex: u32) -> u32 {
    let once = || {
        let run = program.run_on_packet(frame, ifindex, 100_000).unwrap();
        assert_eq!(run.returned, REDIRECT);
        run.nanoseconds
    };
    median((0..ROUNDS).map(|_| once()).collect())
}

/// How long it takes to open the plane over its pins, and to swap one rule set of one pair.
fn measure_control(rig: &mut Rig) -> Vec<String> {
    let start = Instant::now();
    rig.restart(0);
    let open = start.elapsed();
    let micros = |round: u32| {
        let id = 1000 + round;
        set_pair(&mut rig.table, WEB, APP, id, vec![stateful(id, tcp(80)), permit(2, tcp(8080))]);
        let desired = rig.desired(0);
        let start = Instant::now();
        rig.hosts[0].plane.apply(&desired).unwrap();
        u32::try_from(start.elapsed().as_micros()).unwrap()
    };
    let apply = median((0..101).map(micros).collect());
    vec![format!("open over pins: {open:?}"), format!("apply of one changed pair: {apply} us")]
}

#[test]
fn measure() {
    let roomy = Maps {
        configure: Some(|config| {
            config.sizes.connections = 65536;
            config.connections_per_endpoint = 65536;
        }),
        config: None,
    };
    let mut table = empty_table();
    set_pair(&mut table, WEB, APP, 1, vec![stateful(1, tcp(80)), permit(2, tcp(8080))]);
    let mut rig = Rig::with([roomy], &local(), table.clone(), SILENT);
    let web = rig.of("web-a").port.ifindex;
    let app = rig.of("app-a").port.ifindex;
    let ack = |ether, sport, dport| Packet {
        tcp_flags: TcpFlags::ACK,
        ..Packet::tcp_syn(ether, sport, dport)
    };
    let namespace = selvage_host::NetNs::named(&rig.hosts[0].space.name).unwrap();
    let mut lines = Vec::new();
    for (family, ether) in [("IPv4", EtherType::IPV4), ("IPv6", EtherType::IPV6)] {
        let frames = [
            ("forward, stateful", web, between(&rig, "web-a", "app-a", &ack(ether, 4000, 80))),
            ("reply, established", app, between(&rig, "app-a", "web-a", &ack(ether, 80, 4000))),
            ("stateless", web, between(&rig, "web-a", "app-a", &ack(ether, 4000, 8080))),
        ];
        for (what, port, frame) in frames {
            let program = &rig.hosts[0].plane.programs().from_endpoint;
            let nanoseconds = namespace.run(|| hot(program, &frame, port)).unwrap();
            lines.push(format!("{family} {what}: {nanoseconds} ns"));
        }
        let flows: Vec<Vec<u8>> = (10_000..40_000)
            .map(|sport| between(&rig, "web-a", "app-a", &Packet::tcp_syn(ether, sport, 80)))
            .collect();
        let program = &rig.hosts[0].plane.programs().from_endpoint;
        let times = || {
            let run = |frame: &Vec<u8>| program.run_on_packet(frame, web, 1).unwrap().nanoseconds;
            median(flows.iter().map(run).collect())
        };
        lines.push(format!("{family} new flow: {} ns", namespace.run(times).unwrap()));
        rig.hosts[0].plane.sweep(Duration::from_secs(u32::MAX.into())).unwrap();
    }
    // One more lookup for each wildcard in the VRF, and a longer set.
    set_pair(&mut table, ClassId::ANY, APP, 2, (1..10).map(|n| permit(n.into(), udp(n))).collect());
    set_pair(&mut table, WEB, ClassId::ANY, 3, vec![permit(3, udp(1))]);
    set_pair(&mut table, ClassId::ANY, ClassId::ANY, 4, vec![permit(4, udp(1))]);
    rig.table = table;
    rig.apply();
    let frame = between(&rig, "web-a", "app-a", &ack(EtherType::IPV4, 4000, 8080));
    let program = &rig.hosts[0].plane.programs().from_endpoint;
    let nanoseconds = namespace.run(|| hot(program, &frame, web)).unwrap();
    lines.push(format!("IPv4 stateless, four lookups, 13 rules: {nanoseconds} ns"));
    lines.extend(measure_control(&mut rig));
    assert!(nanoseconds < 20_000, "slower by orders of magnitude: {lines:?}");
    println!("{}", lines.join("\n"));
}
