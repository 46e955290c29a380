//! What changes while packets flow: quarantine, revocation, an agent that goes and comes back, a
//! switch that does.

use std::net::SocketAddr;
use std::time::Duration;

use selvage_ovs::unixctl::Control;
use selvage_rules::{Reason, Revision};
use selvage_testkit::fabric::life::{self, app_and_db, connect, talks};

use crate::fabric::{Kind, OVS, Rig, eventually};
use crate::policy::{GATEWAY_MAC, ip, three_tier};

const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn an_endpoint_without_policy_is_in_quarantine() {
    life::an_endpoint_without_policy_is_in_quarantine(OVS);
}

#[test]
fn a_revocation_cuts_what_it_is_about_and_nothing_else() {
    life::a_revocation_cuts_what_it_is_about_and_nothing_else(vec![OVS]);
    life::a_revocation_cuts_what_it_is_about_and_nothing_else(vec![OVS, OVS]);
}

#[test]
fn of_many_flows_a_revocation_cuts_its_own() {
    life::of_many_flows_a_revocation_cuts_its_own(vec![OVS, OVS], 1000, 100);
}

#[test]
fn swaps_lose_nothing_and_leak_nothing() {
    life::swaps_lose_nothing_and_leak_nothing(vec![OVS, OVS], 1000, 2);
}

#[test]
fn a_transfer_loses_nothing_while_data_planes_come_and_go() {
    let (mut rig, _) = life::a_transfer_survives_restarts([OVS, OVS]);
    assert_eq!(rig.packets(Reason::NoContract), 0);
}

#[test]
fn a_data_plane_that_comes_back_finds_what_it_left() {
    let mut rig = Rig::new([OVS, OVS], &app_and_db(0, 1), three_tier());
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
    let mut rig = Rig::new([OVS], &app_and_db(0, 0), three_tier());
    rig.of("db").serve(&[5432], &[]);
    assert!(connect(&rig, "app", "db", 5432, LONG).is_some());
    let desired = rig.desired(0);
    let host = &mut rig.hosts[0];
    host.kind.switch().kill_switch().unwrap();
    let error = host.space.ns.run(|| host.plane.apply(&desired)).unwrap().unwrap_err();
    assert!(
        error.to_string().contains("Open vSwitch") || error.to_string().contains("switch"),
        "{error}"
    );
    host.kind.switch().start_switch().unwrap();
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
fn nobody_is_impersonated_and_the_kernel_stays_out() {
    let mut rig = Rig::new([OVS, OVS], &app_and_db(0, 1), three_tier());
    rig.of("db").serve(&[5432], &[]);
    // An address that is not its own, and then a MAC.
    let app = rig.of("app");
    app.space.run("ip", &["addr", "add", "10.1.0.99/24", "dev", "eth0"]);
    let from: SocketAddr = "10.1.0.99:0".parse().unwrap();
    let to = SocketAddr::new(rig.of("db").ip(false), 5432);
    app.send_from(from, to);
    rig.counts_more(Reason::SpoofedArp, 0);
    let app = rig.of("app");
    let gateway = GATEWAY_MAC.to_string();
    app.space.run("ip", &["neigh", "replace", "10.1.0.1", "lladdr", &gateway, "dev", "eth0"]);
    app.send_from(from, to);
    rig.counts_more(Reason::SpoofedIp, 0);
    rig.of("app").space.run("ip", &["link", "set", "eth0", "address", "02:5e:00:00:00:77"]);
    assert!(connect(&rig, "app", "db", 5432, SHORT).is_none());
    rig.counts_more(Reason::SpoofedMac, 0);
    // The host's own addresses are no neighbours of its endpoints.
    let app = rig.of("web");
    app.space.run("ip", &["route", "add", "192.0.2.2/32", "dev", "eth0"]);
    assert!(!app.ping(ip("192.0.2.2"), SHORT), "the host's own stack answered an endpoint");
}

#[test]
fn a_detached_endpoint_leaves_no_connection() {
    let mut rig = Rig::new([OVS], &app_and_db(0, 0), three_tier());
    rig.of("db").serve(&[5432], &[]);
    rig.of("web").serve(&[80], &[]);
    let streams: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|v6| [("db", 5432, v6), ("web", 80, v6)])
        .map(|(to, port, v6)| {
            let to = SocketAddr::new(rig.of(to).ip(v6), port);
            rig.of("app").connect(to, LONG).unwrap()
        })
        .collect();
    let port = rig.of("db").port.clone();
    let host = &mut rig.hosts[0];
    let connections = |host: &mut selvage_testkit::fabric::Host<Kind>| {
        let control = host.kind.switch().control();
        let mut control = Control::connect(&control, LONG).unwrap();
        let text = control.run("dpctl/dump-conntrack", &["netdev@ovs-netdev"]).unwrap();
        ["10.2.0.30", "2001:db8:2::30", "10.1.0.10", "2001:db8:1::10"]
            .map(|ip| text.contains(&format!("dst={ip},")))
    };
    assert_eq!(connections(host), [true; 4]);
    host.space.ns.run(|| host.plane.detach_port(&port)).unwrap().unwrap();
    assert_eq!(connections(host), [false, false, true, true]);
    drop(streams);
}

#[test]
fn a_drop_comes_with_its_reason_and_its_numbers() {
    life::a_drop_comes_with_its_reason_and_its_numbers(OVS);
}

#[test]
fn a_rule_that_logs_tells_of_what_it_permits() {
    life::a_rule_that_logs_tells_of_what_it_permits(OVS);
}

#[test]
fn rules_see_code_points() {
    life::rules_see_code_points(vec![OVS]);
    life::rules_see_code_points(vec![OVS, Kind::Ebpf]);
}

#[test]
fn what_cannot_be_redirected_is_dropped_by_name() {
    life::what_cannot_be_redirected_is_dropped_by_name(OVS);
}
