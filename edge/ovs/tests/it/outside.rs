//! A namespace plays the world outside, attached to the first of two hosts.

use selvage_testkit::fabric::outside;

use crate::fabric::{Kind, OVS};

#[test]
fn what_leaves_is_what_a_contract_says() {
    outside::what_leaves_is_what_a_contract_says([OVS, OVS]);
}

#[test]
fn what_comes_in_is_what_a_contract_says() {
    outside::what_comes_in_is_what_a_contract_says([OVS, OVS]);
}

#[test]
fn the_host_itself_is_judged_by_its_address() {
    outside::the_host_itself_is_judged_by_its_address([OVS, OVS]);
}

#[test]
fn streams_pass_whole_both_ways_and_a_restart_cuts_none() {
    outside::streams_pass_whole_both_ways_and_a_restart_cuts_none([OVS, OVS]);
}

#[test]
fn a_border_of_either_plane_serves_a_host_of_the_other() {
    outside::what_leaves_is_what_a_contract_says([OVS, Kind::Ebpf]);
    outside::what_comes_in_is_what_a_contract_says([Kind::Ebpf, OVS]);
}
