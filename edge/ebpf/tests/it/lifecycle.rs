//! What changes while packets flow: quarantine, revocation, a data plane that goes and comes back.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use selvage_agent::datapath::Datapath;
use selvage_rules::{Reason, Revision};

use crate::policy::{APP, BACK, DB, FRONT, WEB, ip, set_pair, stateful, tcp, three_tier};
use crate::rig::{Rig, Wanted, eventually};

const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(300);

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

/// Whether a byte goes there and comes back.
fn talks(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"x").is_ok() && stream.read(&mut [0; 8]).is_ok_and(|len| len > 0)
}

fn connect(rig: &Rig, from: &str, to: &str, port: u16, patience: Duration) -> Option<TcpStream> {
    rig.of(from).connect(SocketAddr::new(rig.of(to).ip(false), port), patience)
}

#[test]
fn an_endpoint_without_policy_is_in_quarantine() {
    let mut rig = Rig::new(1, &app_and_db(0, 0), three_tier());
    rig.of("db").serve(&[5432], &[]);
    rig.workloads.get_mut("app").unwrap().bound = false;
    rig.apply();
    assert!(connect(&rig, "app", "db", 5432, SHORT).is_none());
    assert!(!rig.of("app").ping(ip("10.1.0.1"), SHORT), "the gateway answers nobody in quarantine");
    assert!(rig.packets(Reason::Quarantine) > 0);
    rig.workloads.get_mut("app").unwrap().bound = true;
    rig.apply();
    assert!(connect(&rig, "app", "db", 5432, LONG).is_some());
}

#[test]
fn a_revocation_cuts_what_it_is_about_and_nothing_else() {
    for hosts in [1, 2] {
        let mut rig = Rig::new(hosts, &app_and_db(0, hosts - 1), three_tier());
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
}

#[test]
fn a_data_plane_that_comes_back_finds_what_it_left() {
    let mut rig = Rig::new(2, &app_and_db(0, 1), three_tier());
    rig.of("db").serve(&[5432], &[]);
    let mut stream = connect(&rig, "app", "db", 5432, LONG).unwrap();
    assert!(talks(&mut stream, LONG));
    let before = rig.hosts[0].plane.tables().unwrap();
    for at in [0, 1] {
        rig.restart(at);
    }
    assert!(talks(&mut stream, LONG), "a connection did not survive the restart");
    let host = &mut rig.hosts[0];
    let installed = host.space.ns.run(|| host.plane.installed()).unwrap().unwrap();
    assert_eq!(installed.revision, Some(Revision(rig.revision)));
    let ports: Vec<String> = installed.ports.iter().map(|port| port.name.clone()).collect();
    assert_eq!(ports, [rig.of("app").port.name.clone()]);

    // What is in force already is not written again.
    let desired = rig.desired(0);
    let applied = rig.hosts[0].plane.apply(&desired).unwrap();
    assert_eq!(applied.changed, 0);
    assert_eq!(rig.hosts[0].plane.tables().unwrap(), before);
    assert!(talks(&mut stream, LONG));
}

#[test]
fn an_audit_tells_what_was_tampered_with() {
    let mut rig = Rig::new(1, &app_and_db(0, 0), three_tier());
    rig.apply();
    let desired = rig.desired(0);
    let host = &mut rig.hosts[0];
    let audit = |host: &mut crate::rig::Host| {
        host.space.ns.run(|| host.plane.audit(&desired)).unwrap().unwrap()
    };
    assert_eq!(audit(host), [], "what was applied is what is installed");

    let tables = host.plane.tables().unwrap();
    let pair = tables.pairs.keys().next().unwrap();
    let rule = tables.rules.iter().find(|(_, rule)| rule.0.dport_first == 8080).unwrap();
    let mut wide = rule.1.0;
    wide.dport_last = u16::MAX;
    host.plane.maps().rules.put(rule.0, &wide).unwrap();
    let drift = audit(host);
    assert_eq!(drift.len(), 1, "{drift:?}");
    assert_eq!((drift[0].table.as_str(), drift[0].missing, drift[0].extra), ("pairs", 0, 0));
    assert!(drift[0].different > 0, "{drift:?}");
    host.plane.maps().rules.put(rule.0, &rule.1.0).unwrap();

    host.plane.maps().pairs.remove(&pair.0).unwrap();
    let ip = host.plane.maps().endpoints_by_ip.entries().unwrap().keys().next().copied().unwrap();
    host.plane.maps().endpoints_by_ip.remove(&ip.0).unwrap();
    let told: Vec<_> = audit(host).into_iter().map(|d| (d.table, d.missing)).collect();
    assert_eq!(told, [("endpoints_by_ip".to_owned(), 1), ("pairs".to_owned(), 1)]);
}

#[test]
fn a_drop_comes_with_its_reason_and_its_numbers() {
    let mut rig = Rig::new(1, &app_and_db(0, 0), three_tier());
    rig.of("db").serve(&[22], &[]);
    let mut drops = rig.hosts[0].plane.drops().unwrap();
    assert!(rig.hosts[0].plane.drops().is_err(), "there is one stream");
    assert!(connect(&rig, "app", "db", 22, SHORT).is_none());
    let mut seen = Vec::new();
    let mut found = None;
    eventually(
        "a drop of port 22",
        || {
            drops.wait(Duration::from_millis(100), &mut seen).unwrap();
            found = seen.iter().find(|drop| drop.packet.dport == 22).cloned();
            found.is_some()
        },
        || "no event came".to_owned(),
    );
    let drop = found.unwrap();
    assert_eq!(drop.reason, Reason::NoContract);
    assert_eq!((drop.src_class, drop.dst_class), (Some(APP), Some(DB)));
    assert_eq!((drop.src, drop.dst), (Some(ip("10.1.0.20")), Some(ip("10.2.0.30"))));
    assert_eq!((drop.rule, drop.bd), (None, Some(FRONT)));
    assert_eq!(drop.ifindex, rig.of("app").port.ifindex);
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

#[test]
fn a_transfer_loses_no_packet_while_data_planes_come_and_go() {
    let mut rig = Rig::new(2, &app_and_db(0, 1), three_tier());
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
    // Every segment that either side sent was met, and let pass, on both hosts: none went by while
    // nobody looked, none was dropped. (What stacks send again for reasons of their own counts too.)
    let (out, home) = segments(&stream);
    for host in &mut rig.hosts {
        let reasons = host.plane.counters().unwrap().reasons;
        assert_eq!(reasons[&Reason::Contract].packets, out);
        assert_eq!(reasons[&Reason::Established].packets, home);
        assert!(!reasons.contains_key(&Reason::NoContract), "{reasons:?}");
    }
}
