//! Every ordered pair of endpoints on every port, over both families, against `Table::judge`.

use selvage_testkit::fabric::matrix::{check, check_over_ipv6, six_on_one_host, six_workloads};

use crate::fabric::{Kind, OVS, Rig};
use crate::policy::three_tier;

#[test]
fn one_host_does_what_the_judge_says() {
    let rig = Rig::new([OVS], &six_on_one_host(), three_tier());
    let count = check(&rig);
    println!("one host: {count} probes, {count} as the judge says");
}

#[test]
fn two_hosts_do_what_the_judge_says() {
    let rig = Rig::new([OVS, OVS], &six_workloads(), three_tier());
    let count = check(&rig);
    println!("two hosts: {count} probes, {count} as the judge says");
}

#[test]
fn a_mixed_fabric_does_what_the_judge_says() {
    let rig = Rig::new([OVS, Kind::Ebpf], &six_workloads(), three_tier());
    let count = check(&rig);
    println!("one host of each plane: {count} probes, {count} as the judge says");
}

#[test]
fn hosts_reach_each_other_over_ipv6_as_well() {
    check_over_ipv6([OVS, OVS]);
    check_over_ipv6([OVS, Kind::Ebpf]);
}
