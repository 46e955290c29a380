//! Every ordered pair of endpoints on every port, over both families, against `Table::judge`.

use selvage_agent::datapath::Datapath;
use selvage_rules::{Encapsulation, Reason};
use selvage_testkit::fabric::matrix::{
    Probe, SHORT, check, check_over_ipv6, probe, six_on_one_host, six_workloads,
};

use crate::policy::three_tier;
use crate::rig::{Options, Rig, one, two};

#[test]
fn one_host_does_what_the_judge_says() {
    let rig = Rig::new(one(), &six_on_one_host(), three_tier());
    let count = check(&rig);
    println!("one host: {count} probes, {count} as the judge says");
}

#[test]
fn two_hosts_do_what_the_judge_says() {
    let rig = Rig::new(two(), &six_workloads(), three_tier());
    let count = check(&rig);
    println!("two hosts: {count} probes, {count} as the judge says");
}

#[test]
fn two_hosts_without_group_policy_do_what_the_judge_says() {
    let options = Options { speaks: Some(Encapsulation::EpgVni), ..Options::default() };
    let mut rig = Rig::with(two(), &six_workloads(), three_tier(), options);
    let count = check(&rig);
    println!("two hosts, epg-vni: {count} probes, {count} as the judge says");
    assert_eq!(rig.packets(Reason::UnknownTunnel), 0);

    // A peer that speaks otherwise than it declared is no peer.
    let mut other = rig.desired(1);
    other.tunnels.values_mut().for_each(|speaks| *speaks = Encapsulation::Gbp);
    rig.hosts[1].plane.apply(&other).unwrap();
    let port = Probe::Tcp(8080);
    assert!(!probe(&rig.workloads, "web-a", "app-b", false, port, SHORT));
    assert!(rig.packets(Reason::UnknownTunnel) > 0);
}

#[test]
fn hosts_reach_each_other_over_ipv6_as_well() {
    check_over_ipv6(two());
}
