//! What changes while packets flow: quarantine, revocation, a data plane that goes and comes back.

use std::time::Duration;

use selvage_agent::datapath::Datapath;
use selvage_rules::{Reason, Revision};
use selvage_testkit::fabric::Host;
use selvage_testkit::fabric::life::{self, app_and_db, connect, talks};

use crate::policy::three_tier;
use crate::rig::{Maps, Rig, one, two};

const LONG: Duration = Duration::from_secs(8);

#[test]
fn an_endpoint_without_policy_is_in_quarantine() {
    life::an_endpoint_without_policy_is_in_quarantine(Maps::default());
}

#[test]
fn a_revocation_cuts_what_it_is_about_and_nothing_else() {
    life::a_revocation_cuts_what_it_is_about_and_nothing_else(one().into());
    life::a_revocation_cuts_what_it_is_about_and_nothing_else(two().into());
}

#[test]
fn a_data_plane_that_comes_back_finds_what_it_left() {
    let mut rig = Rig::new(two(), &app_and_db(0, 1), three_tier());
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
    let mut rig = Rig::new(one(), &app_and_db(0, 0), three_tier());
    rig.apply();
    let desired = rig.desired(0);
    let host = &mut rig.hosts[0];
    let audit =
        |host: &mut Host<Maps>| host.space.ns.run(|| host.plane.audit(&desired)).unwrap().unwrap();
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
    life::a_drop_comes_with_its_reason_and_its_numbers(Maps::default());
}

#[test]
fn a_rule_that_logs_tells_of_what_it_permits() {
    life::a_rule_that_logs_tells_of_what_it_permits(Maps::default());
}

#[test]
fn rules_see_code_points() {
    life::rules_see_code_points(one().into());
    life::rules_see_code_points(two().into());
}

#[test]
fn what_cannot_be_redirected_is_dropped_by_name() {
    life::what_cannot_be_redirected_is_dropped_by_name(Maps::default());
}

#[test]
fn a_transfer_loses_no_packet_while_data_planes_come_and_go() {
    let (mut rig, (out, home)) = life::a_transfer_survives_restarts(two());
    // Every segment that either side sent was met, and let pass, on both hosts: none went by while
    // nobody looked, none was dropped. (What stacks send again for reasons of their own counts too.)
    for host in &mut rig.hosts {
        let reasons = host.plane.counters().unwrap().reasons;
        assert_eq!(reasons[&Reason::Contract].packets, out);
        assert_eq!(reasons[&Reason::Established].packets, home);
        assert!(!reasons.contains_key(&Reason::NoContract), "{reasons:?}");
    }
}
