//! Labs: made, joined, gone.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use selvage_host::NetNs;
use selvage_testkit::rig::{Lab, TwoHosts, dump};

#[test]
fn two_hosts_reach_each_other_over_both_families() {
    let hosts = TwoHosts::new("kittwo").unwrap();
    let pairs: [(IpAddr, &NetNs, &NetNs); 2] = [
        (hosts.h2.address, &hosts.h2.namespace, &hosts.h1.namespace),
        (hosts.h1.address6, &hosts.h1.namespace, &hosts.h2.namespace),
    ];
    for (server, there, here) in pairs {
        let listener = there.run(|| TcpListener::bind((server, 0))).unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Duration::from_secs(2);
        here.run(|| TcpStream::connect_timeout(&address, patience)).unwrap().unwrap();
    }
    let text = dump(&hosts.h1.namespace);
    assert!(text.contains("198.18.0.1") && text.contains("fd00::/64"), "{text}");
}

#[test]
fn a_lab_goes_with_its_test_also_when_that_panics() {
    let mut prefix = String::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut lab = Lab::new("kitpanic").unwrap();
        prefix = lab.prefix().to_owned();
        lab.namespace("a").unwrap();
        assert_eq!(NetNs::list(&prefix).unwrap().len(), 1);
        panic!("as a failing test does");
    }));
    assert!(result.is_err());
    assert_eq!(NetNs::list(&prefix).unwrap(), [""; 0]);
}

#[test]
fn what_a_killed_test_left_goes_with_the_next_lab() {
    // A process that has ended, as far as anybody can tell: numbers go up to pid_max, 2^22.
    let stale = "svkitstale-4194305-0-h1";
    NetNs::create(stale).unwrap();
    let lab = Lab::new("kitstale").unwrap();
    assert!(!NetNs::list("svkitstale-").unwrap().contains(&stale.to_owned()));
    drop(lab);
    assert!(Lab::new("a-b").is_err());
}
