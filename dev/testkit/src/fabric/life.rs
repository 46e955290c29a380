//! What changes while packets flow: quarantine, revocation, swaps, a data plane that goes and comes
//! back; and what is told of packets.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selvage_agent::datapath::{Datapath, Drop};
use selvage_host::NetNs;
use selvage_rules::{Action, ClassId, Match, Reason, Rule};

use super::{Kind, Rig, Wanted, eventually};
use crate::policy::{
    APP, BACK, DB, FRONT, WEB, empty_table, ip, permit, set_pair, stateful, tcp, three_tier, udp,
};

const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(300);
/// Expedited forwarding (RFC 3246).
const EXPEDITED: u8 = 46;

/// app on host `app`, db and web on host `db`.
pub fn app_and_db(app: usize, db: usize) -> Vec<Wanted> {
    let make = |name, host, bd, class, v4: [u8; 4], v6: &str| {
        let ips = vec![IpAddr::from(v4), ip(v6)];
        Wanted { name, host, bd, class, ips }
    };
    vec![
        make("app", app, FRONT, APP, [10, 1, 0, 20], "2001:db8:1::20"),
        make("db", db, BACK, DB, [10, 2, 0, 30], "2001:db8:2::30"),
        make("web", db, FRONT, WEB, [10, 1, 0, 10], "2001:db8:1::10"),
    ]
}

/// A rig of these hosts with app on the first and the others on the last.
fn rig_of<K: Kind>(kinds: Vec<K>, table: selvage_rules::Table) -> Rig<K> {
    let last = kinds.len() - 1;
    Rig::new(kinds, &app_and_db(0, last), table)
}

/// Whether a byte goes there and comes back.
pub fn talks(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"x").is_ok() && stream.read(&mut [0; 8]).is_ok_and(|len| len > 0)
}

/// A connection over IPv4, if one comes about in time.
pub fn connect<K: Kind>(
    rig: &Rig<K>,
    from: &str,
    to: &str,
    port: u16,
    patience: Duration,
) -> Option<TcpStream> {
    rig.of(from).connect(SocketAddr::new(rig.of(to).ip(false), port), patience)
}

/// Nothing passes to or from an endpoint whose policy has not arrived.
pub fn an_endpoint_without_policy_is_in_quarantine<K: Kind>(kind: K) {
    let mut rig = rig_of(vec![kind], three_tier());
    rig.of("db").serve(&[5432], &[]);
    rig.workloads.get_mut("app").unwrap().bound = false;
    rig.apply();
    assert!(connect(&rig, "app", "db", 5432, SHORT).is_none());
    assert!(!rig.of("app").ping(ip("10.1.0.1"), SHORT), "the gateway answers nobody in quarantine");
    rig.counts_more(Reason::Quarantine, 0);
    rig.workloads.get_mut("app").unwrap().bound = true;
    rig.apply();
    assert!(connect(&rig, "app", "db", 5432, LONG).is_some());
    for gateway in ["10.1.0.1", "10.2.0.1", "2001:db8:1::1", "2001:db8:2::1"] {
        assert!(rig.of("app").ping(ip(gateway), LONG), "no echo from gateway {gateway}");
    }
}

/// A connection whose rule is gone goes on no more; one of another rule does.
pub fn a_revocation_cuts_what_it_is_about_and_nothing_else<K: Kind>(kinds: Vec<K>) {
    let hosts = kinds.len();
    let mut rig = rig_of(kinds, three_tier());
    rig.of("db").serve(&[5432], &[]);
    rig.of("web").serve(&[80, 8080], &[]);
    let mut revoked = connect(&rig, "app", "db", 5432, LONG).unwrap();
    let mut other = connect(&rig, "app", "web", 80, LONG).unwrap();
    assert!(talks(&mut revoked, LONG) && talks(&mut other, LONG));

    set_pair(&mut rig.table, APP, DB, 30, vec![stateful(31, tcp(9999))]);
    rig.apply();
    assert!(!talks(&mut revoked, SHORT), "{hosts} hosts: a revoked connection went on");
    assert!(talks(&mut other, LONG), "{hosts} hosts: a connection was cut for nothing");
    assert!(connect(&rig, "app", "db", 5432, SHORT).is_none());

    set_pair(&mut rig.table, APP, DB, 32, vec![stateful(33, tcp(5432))]);
    rig.apply();
    assert!(talks(&mut revoked, LONG), "{hosts} hosts: allowed again, TCP goes on by itself");
}

/// Of many flows of one pair, a revocation cuts those of its rule at once, in both directions, and
/// no other. Gives how long the change took.
pub fn of_many_flows_a_revocation_cuts_its_own<K: Kind>(
    kinds: Vec<K>,
    flows: usize,
    revoked: usize,
) -> Duration {
    const KEPT: u16 = 7001;
    const REVOKED: u16 = 7002;
    let both = vec![stateful(1, udp(KEPT)), stateful(2, udp(REVOKED))];
    let mut table = empty_table();
    set_pair(&mut table, APP, DB, 1, both.clone());
    let mut rig = rig_of(kinds, table);
    let servers = [KEPT, REVOKED].map(|port| rig.of("db").roomy_socket(port));
    let server_of = |flow: usize| &servers[usize::from(flow < revoked)];
    let clients: Vec<UdpSocket> =
        (0..flows).map(|flow| rig.of("app").roomy_socket(20_000 + flow as u16)).collect();
    let client_at = |flow: usize| clients[flow].local_addr().unwrap();
    // How each flow fares: whether a question comes there, and an answer back.
    let there = |flow: usize| {
        pace(flow);
        let server = server_of(flow);
        clients[flow].send_to(&flow.to_be_bytes(), server.local_addr().unwrap()).unwrap();
    };
    let came = |socket: &UdpSocket| {
        let mut seen = std::collections::BTreeSet::new();
        let mut buffer = [0; 8];
        while socket.recv(&mut buffer).is_ok() {
            seen.insert(usize::from_be_bytes(buffer));
        }
        seen
    };
    let fare = || {
        (0..flows).for_each(there);
        let asked = servers.each_ref().map(came);
        (0..flows).for_each(|flow| {
            pace(flow);
            let _ = server_of(flow).send_to(&flow.to_be_bytes(), client_at(flow));
        });
        let mut answered = std::collections::BTreeSet::new();
        clients.iter().for_each(|client| client.set_nonblocking(true).unwrap());
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until && answered.len() < flows {
            clients.iter().for_each(|client| answered.extend(came(client)));
        }
        (asked.iter().flatten().copied().collect::<std::collections::BTreeSet<_>>(), answered)
    };
    let all: std::collections::BTreeSet<usize> = (0..flows).collect();
    let kept: std::collections::BTreeSet<usize> = (revoked..flows).collect();
    let seen = std::cell::Cell::new((0, 0));
    let all_fare = || {
        let fared = fare();
        seen.set((fared.0.len(), fared.1.len()));
        fared == (all.clone(), all.clone())
    };
    eventually("every flow is there", all_fare, || format!("{:?} of {flows}", seen.get()));
    set_pair(&mut rig.table, APP, DB, 2, both[..1].to_vec());
    let start = Instant::now();
    rig.apply();
    let took = start.elapsed();
    let (asked, answered) = fare();
    assert!(asked.is_subset(&kept) && answered.is_subset(&kept), "a revoked flow went on");
    assert_eq!((asked.len(), answered.len()), (kept.len(), kept.len()), "one was cut for nothing");
    println!("{revoked} of {flows} flows cut by a change of {took:?}");
    took
}

/// Not more at once than a link's queue holds.
fn pace(sent: usize) {
    if sent.is_multiple_of(32) {
        thread::sleep(Duration::from_millis(2));
    }
}

const ALWAYS: u16 = 5353;
const NEVER: u16 = 9999;

/// Two policies that let the same through by different rules of different pairs. Half of the one
/// with half of the other would drop what both allow, or let through what neither does.
fn swap<K: Kind>(rig: &mut Rig<K>, round: u32) {
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

fn count(socket: &UdpSocket, into: &AtomicU64, done: &AtomicBool) {
    let mut buffer = [0; 64];
    while !done.load(Ordering::SeqCst) {
        if socket.recv(&mut buffer).is_ok() {
            into.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Swaps the policy `swaps` times under a flow that is always allowed and one that never is. `burst`
/// packets of each are sent every half a millisecond.
pub fn swaps_lose_nothing_and_leak_nothing<K: Kind>(kinds: Vec<K>, swaps: u32, burst: u64) {
    let mut rig = rig_of(kinds, empty_table());
    swap(&mut rig, 0);
    let to = |port| SocketAddr::new(rig.of("db").ip(false), port);
    let (always, never) = (to(ALWAYS), to(NEVER));
    let (allowed, denied) = (rig.of("db").roomy_socket(ALWAYS), rig.of("db").roomy_socket(NEVER));
    let sender = rig.of("app").roomy_socket(40_000);
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
                if sent.is_multiple_of(burst) {
                    thread::sleep(Duration::from_micros(500));
                }
            }
            sent
        });
        for round in 1..=swaps {
            swap(&mut rig, round);
        }
        done.store(true, Ordering::SeqCst);
        let sent = sending.join().unwrap();
        let missing = || format!("{} of {sent}", came.load(Ordering::SeqCst));
        eventually("all of it came", || came.load(Ordering::SeqCst) == sent, missing);
        stop.store(true, Ordering::SeqCst);
        sent
    });
    println!("{sent} packets through {swaps} swaps");
    assert!(sent > u64::from(swaps), "too little to say anything: {sent} packets");
    assert_eq!((came.into_inner(), leaked.into_inner()), (sent, 0));
}

/// Segments that TCP has sent and received on this connection (tcp(7), TCP_INFO).
fn segments(stream: &TcpStream) -> (u64, u64) {
    use nix::libc;
    /// Of `struct tcp_info` in linux/tcp.h; libc's is an older one.
    const SEGS_OUT: usize = 136;
    let mut info = [0_u8; SEGS_OUT + 8];
    let mut len = libc::socklen_t::try_from(info.len()).unwrap();
    let to = info.as_mut_ptr().cast();
    // SAFETY: `to` has room for `len` bytes.
    let code = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &mut len)
    };
    assert_eq!((code, len as usize), (0, info.len()));
    let number = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
    (number(SEGS_OUT).into(), number(SEGS_OUT + 4).into())
}

/// A transfer while the data planes of both hosts are opened anew and swap policies. Gives the
/// segments that went there and came back, and the rig to look at.
pub fn a_transfer_survives_restarts<K: Kind>(kinds: [K; 2]) -> (Rig<K>, (u64, u64)) {
    let mut rig = rig_of(kinds.into(), three_tier());
    rig.of("db").serve(&[5432], &[]);
    let stream = connect(&rig, "app", "db", 5432, LONG).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    let done = AtomicBool::new(false);
    let (sent, received) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0_u64;
            while !done.load(Ordering::SeqCst) {
                sent += writer.write(&[7; 16384]).unwrap() as u64;
            }
            writer.shutdown(Shutdown::Write).unwrap();
            sent
        });
        let receiving = scope.spawn(|| {
            let (mut buffer, mut received) = (vec![0; 65536], 0_u64);
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                received += len as u64;
            }
            received
        });
        for round in 0..5 {
            // Each time with something to swap: a rule more, a rule less.
            let rules = vec![stateful(10, tcp(5432)), stateful(200 + round, tcp(6000))];
            set_pair(&mut rig.table, APP, DB, 100 + round, rules);
            for at in [0, 1] {
                rig.restart(at);
            }
            rig.apply();
        }
        done.store(true, Ordering::SeqCst);
        (sending.join().unwrap(), receiving.join().unwrap())
    });
    assert!(sent > 1 << 20, "too little to say anything: {sent} bytes");
    assert_eq!(sent, received);
    (rig, segments(&stream))
}

/// What is told of packets until `found` finds something.
fn told<K: Kind>(rig: &mut Rig<K>, mut ask: impl FnMut(&Rig<K>), port: u16) -> Drop {
    let host = &mut rig.hosts[0];
    let mut events = host.space.ns.run(|| host.plane.drops()).unwrap().unwrap();
    assert!(host.plane.drops().is_err(), "there is one stream");
    let space = NetNs::named(&host.space.name).unwrap();
    ask(rig);
    let mut seen = Vec::new();
    let mut found = None;
    eventually(
        "an event",
        || {
            let wait = || events.wait(Duration::from_millis(100), &mut seen);
            space.run(wait).unwrap().unwrap();
            found = seen.iter().find(|drop| drop.packet.dport == port).cloned();
            found.is_some()
        },
        || "none came".to_owned(),
    );
    found.unwrap()
}

/// A drop says why, who and where.
pub fn a_drop_comes_with_its_reason_and_its_numbers<K: Kind>(kind: K) {
    let mut rig = rig_of(vec![kind], three_tier());
    rig.of("db").serve(&[22], &[]);
    let ask = |rig: &Rig<K>| assert!(connect(rig, "app", "db", 22, SHORT).is_none());
    let drop = told(&mut rig, ask, 22);
    assert_eq!(drop.reason, Reason::NoContract);
    assert_eq!((drop.src_class, drop.dst_class), (Some(APP), Some(DB)));
    assert_eq!((drop.src, drop.dst), (Some(ip("10.1.0.20")), Some(ip("10.2.0.30"))));
    assert_eq!((drop.rule, drop.bd), (None, Some(FRONT)));
    assert_eq!(drop.ifindex, rig.of("app").port.ifindex);
}

/// What passes by a rule that logs is told as well, and no more of it than there may be.
pub fn a_rule_that_logs_tells_of_what_it_permits<K: Kind>(kind: K) {
    let mut table = empty_table();
    let logged = |id, port| Rule { log: true, ..stateful(id, udp(port)) };
    set_pair(&mut table, APP, DB, 1, vec![logged(1, 5353), stateful(2, udp(5354))]);
    let mut rig = rig_of(vec![kind], table);
    rig.of("db").serve(&[], &[5353, 5354]);
    let mut seen = Vec::new();
    let ask = |rig: &Rig<K>| {
        for port in [5354, 5353] {
            let to = SocketAddr::new(rig.of("db").ip(false), port);
            assert!(rig.of("app").ask_udp(to, LONG), "{port}");
        }
    };
    let passed = told(&mut rig, ask, 5353);
    assert_eq!((passed.reason, passed.rule.map(|rule| rule.0)), (Reason::Contract, Some(1)));
    assert_eq!((passed.src_class, passed.dst_class), (Some(APP), Some(DB)));
    seen.push(passed);
    assert!(seen.iter().all(|event| event.packet.dport != 5354), "nobody asked for that");
}

/// A packet passes by its code point.
pub fn rules_see_code_points<K: Kind>(kinds: Vec<K>) {
    let marked = |matches: Match| Match { dscp: Some(EXPEDITED), ..matches };
    let deny = |id, matches| Rule { action: Action::Deny, priority: 50, ..permit(id, matches) };
    let mut table = empty_table();
    let rules =
        vec![stateful(1, marked(udp(5353))), deny(2, marked(udp(5354))), stateful(3, udp(5354))];
    set_pair(&mut table, APP, DB, 1, rules);
    let rig = rig_of(kinds, table);
    rig.of("db").serve(&[], &[5353, 5354]);
    for v6 in [false, true] {
        for (port, dscp, passes) in
            [(5353, EXPEDITED, true), (5353, 0, false), (5354, EXPEDITED, false), (5354, 0, true)]
        {
            let to = SocketAddr::new(rig.of("db").ip(v6), port);
            let patience = if passes { LONG } else { SHORT };
            let answered = marked_question(&rig.of("app").space.ns, to, dscp, patience);
            assert_eq!(answered, passes, "{to} marked {dscp}");
        }
    }
}

/// Whether a datagram with this code point is answered; the answer has none.
fn marked_question(ns: &NetNs, to: SocketAddr, dscp: u8, patience: Duration) -> bool {
    use nix::libc;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = ns.run(|| UdpSocket::bind(any)).unwrap().unwrap();
    let (level, name) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    };
    let value = libc::c_int::from(dscp << 2);
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap();
    // SAFETY: the option's value is `size` bytes at `value`.
    let code = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size)
    };
    assert_eq!(code, 0);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let _ = socket.send_to(b"hello", to);
        if socket.recv(&mut [0; 64]).is_ok() {
            return true;
        }
    }
    false
}

/// What is to go through a service never passes it by.
pub fn what_cannot_be_redirected_is_dropped_by_name<K: Kind>(kind: K) {
    let mut table = empty_table();
    let through = Rule {
        action: Action::Redirect,
        reason: Reason::Service,
        priority: 50,
        ..stateful(1, udp(5353))
    };
    set_pair(&mut table, APP, DB, 1, vec![through, stateful(2, udp(5353))]);
    let mut rig = rig_of(vec![kind], table);
    rig.of("db").serve(&[], &[5353]);
    let ask = |rig: &Rig<K>| {
        let to = SocketAddr::new(rig.of("db").ip(false), 5353);
        assert!(!rig.of("app").ask_udp(to, SHORT));
    };
    let drop = told(&mut rig, ask, 5353);
    assert_eq!((drop.reason, drop.rule.map(|rule| rule.0)), (Reason::RedirectUnsupported, Some(1)));
}
