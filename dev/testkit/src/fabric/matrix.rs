//! Every ordered pair of endpoints on every port, over both families, against `Table::judge`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use selvage_rules::{Action, ClassId, EtherType, Packet, Table, TcpFlags, proto};

use super::{Kind, Options, Rig, Wanted, Workload};
use crate::policy::{APP, BACK, DB, FRONT, SCOPE, WEB, ip, three_tier};

type Workloads = BTreeMap<&'static str, Workload>;

/// The TCP ports that are tried.
const PORTS: [u16; 4] = [22, 80, 5432, 8080];
/// The UDP port that is tried.
pub const DATAGRAMS: u16 = 5353;
/// How long what is allowed is waited for.
pub const LONG: Duration = Duration::from_secs(8);
/// How long what is not allowed is waited for.
pub const SHORT: Duration = Duration::from_millis(300);

/// An endpoint of each tier on each of two hosts.
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

/// The same on one host.
pub fn six_on_one_host() -> Vec<Wanted> {
    six_workloads().into_iter().map(|wanted| Wanted { host: 0, ..wanted }).collect()
}

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub enum Probe {
    /// A connection to this port.
    Tcp(u16),
    /// A datagram to this port, and its answer.
    Udp(u16),
    /// An echo request.
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

/// Whether it comes about between two of the endpoints, over IPv4 or IPv6.
pub fn probe(
    all: &Workloads,
    from: &str,
    to: &str,
    v6: bool,
    probe: Probe,
    patience: Duration,
) -> bool {
    let (from, to) = (&all[from], all[to].ip(v6));
    match probe {
        Probe::Tcp(port) => from.connect(SocketAddr::new(to, port), patience).is_some(),
        Probe::Udp(port) => from.ask_udp(SocketAddr::new(to, port), patience),
        Probe::Ping => from.ping(to, patience),
    }
}

/// Everything `from` can try, and where the result is not the judge's.
fn probe_all(all: &Workloads, table: &Table, from: &str) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    let mut count = 0;
    let probes = PORTS.map(Probe::Tcp).into_iter().chain([Probe::Udp(DATAGRAMS), Probe::Ping]);
    let probes: Vec<Probe> = probes.collect();
    for to in all.keys().filter(|to| **to != from) {
        for what in &probes {
            for v6 in [false, true] {
                let class = |name: &str| all[name].endpoint.class;
                let expected = allowed(table, class(from), class(to), v6, *what);
                let patience = if expected { LONG } else { SHORT };
                count += 1;
                if probe(all, from, to, v6, *what, patience) != expected {
                    let family = if v6 { "v6" } else { "v4" };
                    wrong.push(format!("{from} -> {to} {what:?} {family}: not {expected}"));
                }
            }
        }
    }
    (count, wrong)
}

/// Tries everything between all endpoints of `rig`, and gives how much that was.
///
/// # Panics
/// Where what happens is not what the judge says.
pub fn check<K: Kind>(rig: &Rig<K>) -> usize {
    let (all, table) = (&rig.workloads, &rig.table);
    for workload in rig.workloads.values() {
        workload.serve(&PORTS, &[DATAGRAMS]);
    }
    let results: Vec<(usize, Vec<String>)> = thread::scope(|scope| {
        let probes: Vec<_> =
            all.keys().map(|from| scope.spawn(|| probe_all(all, table, from))).collect();
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

/// Tries some of it between two hosts that reach each other over IPv6.
///
/// # Panics
/// Where what happens is not what the judge says.
pub fn check_over_ipv6<K: Kind>(kinds: [K; 2]) {
    let options = Options { underlay_v6: true, ..Options::default() };
    let rig = Rig::with(kinds, &six_workloads(), three_tier(), options);
    rig.of("db-b").serve(&[5432], &[DATAGRAMS]);
    rig.of("app-b").serve(&[8080], &[]);
    for v6 in [false, true] {
        assert!(probe(&rig.workloads, "app-a", "db-b", v6, Probe::Tcp(5432), LONG));
        assert!(probe(&rig.workloads, "app-a", "db-b", v6, Probe::Udp(DATAGRAMS), LONG));
        assert!(probe(&rig.workloads, "web-a", "app-b", v6, Probe::Tcp(8080), LONG));
        assert!(!probe(&rig.workloads, "web-a", "db-b", v6, Probe::Tcp(5432), SHORT));
    }
}
