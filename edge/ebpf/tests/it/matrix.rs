//! Every ordered pair of endpoints on every port, over both families, against `Table::judge`.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use selvage_agent::datapath::Datapath;
use selvage_rules::{
    Action, ClassId, Encapsulation, EtherType, Packet, Reason, Table, TcpFlags, proto,
};

use crate::policy::{APP, BACK, DB, FRONT, SCOPE, WEB, ip, three_tier};
use crate::rig::{Options, Rig, Wanted};

const PORTS: [u16; 4] = [22, 80, 5432, 8080];
const DATAGRAMS: u16 = 5353;
const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(300);

pub fn six_workloads() -> Vec<Wanted> {
    let make = |name, host, bd, class, last: u8| {
        let net = if bd == FRONT { 1 } else { 2 };
        let v6 = format!("2001:db8:{net}::{last:x}");
        Wanted { name, host, bd, class, ips: vec![IpAddr::from([10, net, 0, last]), ip(&v6)] }
    };
    vec![
        make("web-a", 0, FRONT, WEB, 10),
        make("web-b", 1, FRONT, WEB, 11),
        make("app-a", 0, FRONT, APP, 20),
        make("app-b", 1, FRONT, APP, 21),
        make("db-a", 0, BACK, DB, 30),
        make("db-b", 1, BACK, DB, 31),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Probe {
    Tcp(u16),
    Udp(u16),
    Ping,
}

/// Whether the table lets a conversation happen: the way there, and the answer's way back.
fn allowed(table: &Table, from: ClassId, to: ClassId, v6: bool, probe: Probe) -> bool {
    let ether = if v6 { EtherType::IPV6 } else { EtherType::IPV4 };
    let (there, home) = match probe {
        Probe::Tcp(port) => {
            let syn = Packet::tcp_syn(ether, 40000, port);
            let flags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
            (syn, Packet { sport: port, dport: 40000, tcp_flags: flags, ..syn })
        }
        Probe::Udp(port) => (Packet::udp(ether, 40000, port), Packet::udp(ether, port, 40000)),
        Probe::Ping => {
            let request = Packet::echo_request(ether);
            let reply = if request.proto == proto::ICMP { 0 } else { 129 };
            (request, Packet { icmp_type: reply, ..request })
        }
    };
    let verdict = table.judge(SCOPE, from, to, &there);
    verdict.action == Action::Permit
        && (verdict.stateful || table.judge(SCOPE, to, from, &home).action == Action::Permit)
}

fn probe(rig: &Rig, from: &str, to: &str, v6: bool, probe: Probe, patience: Duration) -> bool {
    let (from, to) = (rig.of(from), rig.of(to).ip(v6));
    match probe {
        Probe::Tcp(port) => from.connect(SocketAddr::new(to, port), patience).is_some(),
        Probe::Udp(port) => from.ask_udp(SocketAddr::new(to, port), patience),
        Probe::Ping => from.ping(to, patience),
    }
}

/// Everything `from` can try, and where the result is not the judge's.
fn probe_all(rig: &Rig, from: &str) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    let mut count = 0;
    let probes = PORTS.map(Probe::Tcp).into_iter().chain([Probe::Udp(DATAGRAMS), Probe::Ping]);
    let probes: Vec<Probe> = probes.collect();
    for to in rig.workloads.keys().filter(|to| **to != from) {
        for what in &probes {
            for v6 in [false, true] {
                let class = |name: &str| rig.of(name).endpoint.class;
                let expected = allowed(&rig.table, class(from), class(to), v6, *what);
                let patience = if expected { LONG } else { SHORT };
                count += 1;
                if probe(rig, from, to, v6, *what, patience) != expected {
                    let family = if v6 { "v6" } else { "v4" };
                    wrong.push(format!("{from} -> {to} {what:?} {family}: not {expected}"));
                }
            }
        }
    }
    (count, wrong)
}

fn check(rig: &Rig) -> usize {
    for workload in rig.workloads.values() {
        workload.serve(&PORTS, &[DATAGRAMS]);
    }
    let results: Vec<(usize, Vec<String>)> = thread::scope(|scope| {
        let probes: Vec<_> =
            rig.workloads.keys().map(|from| scope.spawn(|| probe_all(rig, from))).collect();
        probes.into_iter().map(|probe| probe.join().unwrap()).collect()
    });
    let wrong: Vec<String> = results.iter().flat_map(|(_, wrong)| wrong.clone()).collect();
    let count = results.iter().map(|(count, _)| count).sum();
    assert!(
        wrong.is_empty(),
        "{} of {count} differ from the judge:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    count
}

#[test]
fn one_host_does_what_the_judge_says() {
    let workloads: Vec<Wanted> =
        six_workloads().into_iter().map(|wanted| Wanted { host: 0, ..wanted }).collect();
    let rig = Rig::new(1, &workloads, three_tier());
    let count = check(&rig);
    println!("one host: {count} probes, {count} as the judge says");
}

#[test]
fn two_hosts_do_what_the_judge_says() {
    let rig = Rig::new(2, &six_workloads(), three_tier());
    let count = check(&rig);
    println!("two hosts: {count} probes, {count} as the judge says");
}

#[test]
fn two_hosts_without_group_policy_do_what_the_judge_says() {
    let options = Options { speaks: Encapsulation::EpgVni, ..Options::default() };
    let mut rig = Rig::with(2, &six_workloads(), three_tier(), options);
    let count = check(&rig);
    println!("two hosts, epg-vni: {count} probes, {count} as the judge says");
    assert_eq!(rig.packets(Reason::UnknownTunnel), 0);

    // A peer that speaks otherwise than it declared is no peer.
    let mut other = rig.desired(1);
    other.tunnels.values_mut().for_each(|speaks| *speaks = Encapsulation::Gbp);
    rig.hosts[1].plane.apply(&other).unwrap();
    let port = Probe::Tcp(8080);
    assert!(!probe(&rig, "web-a", "app-b", false, port, SHORT));
    assert!(rig.packets(Reason::UnknownTunnel) > 0);
}

#[test]
fn hosts_reach_each_other_over_ipv6_as_well() {
    let options = Options { underlay_v6: true, ..Options::default() };
    let rig = Rig::with(2, &six_workloads(), three_tier(), options);
    rig.of("db-b").serve(&[5432], &[DATAGRAMS]);
    rig.of("app-b").serve(&[8080], &[]);
    for v6 in [false, true] {
        assert!(probe(&rig, "app-a", "db-b", v6, Probe::Tcp(5432), LONG));
        assert!(probe(&rig, "app-a", "db-b", v6, Probe::Udp(DATAGRAMS), LONG));
        assert!(probe(&rig, "web-a", "app-b", v6, Probe::Tcp(8080), LONG));
        assert!(!probe(&rig, "web-a", "db-b", v6, Probe::Tcp(5432), SHORT));
    }
}
