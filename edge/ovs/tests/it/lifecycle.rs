//! What changes while packets flow: quarantine, revocation, an agent that goes and comes back, a
//! switch that does.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use selvage_rules::{Reason, Revision};

use crate::fabric::{Kind, Rig, Wanted, eventually};
use crate::policy::{
    APP, BACK, DB, FRONT, GATEWAY_MAC, WEB, ip, set_pair, stateful, tcp, three_tier,
};

const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(300);

fn app_and_db(app: usize, db: usize) -> Vec<Wanted> {
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
    let mut rig = Rig::new(&[Kind::Ovs], &app_and_db(0, 0), three_tier());
    rig.of("db").serve(&[5432], &[]);
    rig.workloads.get_mut("app").unwrap().bound = false;
    rig.apply();
    assert!(connect(&rig, "app", "db", 5432, SHORT).is_none());
    assert!(!rig.of("app").ping(ip("10.1.0.1"), SHORT), "the gateway answers nobody in quarantine");
    assert!(rig.packets(Reason::Quarantine) > 0);
    rig.workloads.get_mut("app").unwrap().bound = true;
    rig.apply();
    assert!(connect(&rig, "app", "db", 5432, LONG).is_some());
    for gateway in ["10.1.0.1", "10.2.0.1", "2001:db8:1::1", "2001:db8:2::1"] {
        assert!(rig.of("app").ping(ip(gateway), LONG), "no echo from gateway {gateway}");
    }
}

#[test]
fn a_revocation_cuts_what_it_is_about_and_nothing_else() {
    for kinds in [&[Kind::Ovs][..], &[Kind::Ovs, Kind::Ovs]] {
        let mut rig = Rig::new(kinds, &app_and_db(0, kinds.len() - 1), three_tier());
        rig.of("db").serve(&[5432], &[]);
        rig.of("web").serve(&[80, 8080], &[]);
        let mut revoked = connect(&rig, "app", "db", 5432, LONG).unwrap();
        let mut other = connect(&rig, "app", "web", 80, LONG).unwrap();
        assert!(talks(&mut revoked, LONG) && talks(&mut other, LONG));

        set_pair(&mut rig.table, APP, DB, 30, vec![stateful(31, tcp(9999))]);
        rig.apply();
        assert!(!talks(&mut revoked, SHORT), "{kinds:?}: a revoked connection went on");
        assert!(talks(&mut other, LONG), "{kinds:?}: a connection was cut for nothing");
        assert!(connect(&rig, "app", "db", 5432, SHORT).is_none());

        set_pair(&mut rig.table, APP, DB, 32, vec![stateful(33, tcp(5432))]);
        rig.apply();
        assert!(talks(&mut revoked, LONG), "{kinds:?}: allowed again, TCP goes on by itself");
    }
}

#[test]
fn a_data_plane_that_comes_back_finds_what_it_left() {
    let mut rig = Rig::new(&[Kind::Ovs, Kind::Ovs], &app_and_db(0, 1), three_tier());
    rig.of("db").serve(&[5432], &[]);
    let mut stream = connect(&rig, "app", "db", 5432, LONG).unwrap();
    assert!(talks(&mut stream, LONG));
    for at in [0, 1] {
        rig.restart(at);
    }
    assert!(talks(&mut stream, LONG), "a connection did not survive the restart");
    let desired = rig.desired(0);
    let expected = rig.of("app").port.clone();
    let host = &mut rig.hosts[0];
    let installed = host.space.ns.run(|| host.plane.installed()).unwrap().unwrap();
    assert_eq!(installed.revision, Some(Revision(desired.revision.0)));
    assert_eq!(installed.ports.into_iter().collect::<Vec<_>>(), [expected]);

    // What is in force already is not written again.
    let drift = host.space.ns.run(|| host.plane.audit(&desired)).unwrap().unwrap();
    assert_eq!(drift, []);
    let applied = host.space.ns.run(|| host.plane.apply(&desired)).unwrap().unwrap();
    assert_eq!(applied.changed, 0);
    assert!(talks(&mut stream, LONG));
}

#[test]
fn a_switch_that_comes_back_gets_its_flows_back() {
    let mut rig = Rig::new(&[Kind::Ovs], &app_and_db(0, 0), three_tier());
    rig.of("db").serve(&[5432], &[]);
    assert!(connect(&rig, "app", "db", 5432, LONG).is_some());
    let desired = rig.desired(0);
    let host = &mut rig.hosts[0];
    host.switch.as_mut().unwrap().kill_switch().unwrap();
    let error = host.space.ns.run(|| host.plane.apply(&desired)).unwrap().unwrap_err();
    assert!(
        error.to_string().contains("Open vSwitch") || error.to_string().contains("switch"),
        "{error}"
    );
    host.switch.as_mut().unwrap().start_switch().unwrap();
    let mut said = String::new();
    eventually(
        "the flows are back",
        || match host.space.ns.run(|| host.plane.sweep(Duration::ZERO)).unwrap() {
            Ok(_) => true,
            Err(error) => {
                said = error.to_string();
                false
            }
        },
        || "the switch does not take them".to_owned(),
    );
    assert_eq!(host.space.ns.run(|| host.plane.audit(&desired)).unwrap().unwrap(), [], "{said}");
    assert!(connect(&rig, "app", "db", 5432, LONG).is_some());
}

#[test]
fn a_drop_comes_with_its_reason_and_its_numbers() {
    let mut rig = Rig::new(&[Kind::Ovs], &app_and_db(0, 0), three_tier());
    rig.of("db").serve(&[22], &[]);
    let host = &mut rig.hosts[0];
    let mut drops = host.space.ns.run(|| host.plane.drops()).unwrap().unwrap();
    assert!(rig.hosts[0].plane.drops().is_err(), "there is one stream");
    assert!(connect(&rig, "app", "db", 22, SHORT).is_none());
    let mut seen = Vec::new();
    let mut found = None;
    let space = &rig.hosts[0].space;
    eventually(
        "a drop of port 22",
        || {
            space.ns.run(|| drops.wait(Duration::from_millis(100), &mut seen)).unwrap().unwrap();
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

#[test]
fn nobody_is_impersonated_and_the_kernel_stays_out() {
    let mut rig = Rig::new(&[Kind::Ovs, Kind::Ovs], &app_and_db(0, 1), three_tier());
    rig.of("db").serve(&[5432], &[]);
    // An address that is not its own, and then a MAC.
    let app = rig.of("app");
    app.run("ip", &["addr", "add", "10.1.0.99/24", "dev", "eth0"]);
    let from: SocketAddr = "10.1.0.99:0".parse().unwrap();
    let to = SocketAddr::new(rig.of("db").ip(false), 5432);
    app.send_from(from, to);
    assert!(rig.packets(Reason::SpoofedArp) > 0);
    let app = rig.of("app");
    let gateway = GATEWAY_MAC.to_string();
    app.run("ip", &["neigh", "replace", "10.1.0.1", "lladdr", &gateway, "dev", "eth0"]);
    app.send_from(from, to);
    assert!(rig.packets(Reason::SpoofedIp) > 0);
    rig.of("app").run("ip", &["link", "set", "eth0", "address", "02:5e:00:00:00:77"]);
    assert!(connect(&rig, "app", "db", 5432, SHORT).is_none());
    assert!(rig.packets(Reason::SpoofedMac) > 0);
    // The host's own addresses are no neighbours of its endpoints.
    let app = rig.of("web");
    app.run("ip", &["route", "add", "192.0.2.2/32", "dev", "eth0"]);
    assert!(!app.ping(ip("192.0.2.2"), SHORT), "the host's own stack answered an endpoint");
}
