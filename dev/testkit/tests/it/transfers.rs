//! Streams and pulses notice what is lost, and only that.

use std::time::{Duration, Instant};

use selvage_host::{Change, Netlink};
use selvage_testkit::eventually;
use selvage_testkit::rig::TwoHosts;
use selvage_testkit::server::Server;
use selvage_testkit::transfer::{Pulse, Stream};

/// Takes the link of h2 down for a while.
fn cut(hosts: &TwoHosts, length: Duration) {
    let mut netlink = Netlink::open_in(&hosts.h2.namespace).unwrap();
    let index = netlink.index_of(hosts.h2.underlay).unwrap();
    let mut set = |up| netlink.change(index, Change { up: Some(up), ..Change::default() }).unwrap();
    set(false);
    let start = Instant::now();
    while start.elapsed() < length {
        std::thread::yield_now();
    }
    set(true);
}

fn more_than(transfer: &Stream, bytes: u64) {
    eventually(Duration::from_secs(10), "bytes arrive", || {
        let arrived = transfer.bytes();
        if arrived > bytes { Ok(()) } else { Err(format!("{arrived} of {bytes}")) }
    });
}

#[test]
fn a_stream_that_is_left_alone_has_no_stall() {
    let hosts = TwoHosts::new("kitstream").unwrap();
    let _server = Server::start(&hosts.h2.namespace, "two", &[], &[5000]).unwrap();
    let paced = Stream::start(&hosts.h1.namespace, hosts.h2.address, 5000, 10_000_000).unwrap();
    let full = Stream::start(&hosts.h1.namespace, hosts.h2.address6, 5000, 0).unwrap();
    more_than(&full, 10_000_000);
    more_than(&paced, 1_000_000);
    let (paced, full) = (paced.stop().unwrap(), full.stop().unwrap());
    assert_eq!((&paced.broken, &full.broken), (&None, &None));
    assert!(paced.bytes < 10_000_000 * (paced.lasted.as_secs() + 2), "{paced:?}");
}

#[test]
fn a_cut_shows_as_a_stall_or_an_end_and_as_lost_numbers() {
    let hosts = TwoHosts::new("kitcut").unwrap();
    let server = Server::start(&hosts.h2.namespace, "two", &[7], &[5000]).unwrap();
    let stream = Stream::start(&hosts.h1.namespace, hosts.h2.address, 5000, 1_000_000).unwrap();
    let pulse = Pulse::start(&hosts.h1.namespace, hosts.h2.address, 7, 1000).unwrap();
    more_than(&stream, 100_000);
    let length = Duration::from_millis(300);
    cut(&hosts, length);
    let before = stream.bytes();
    more_than(&stream, before + 100_000);
    let (stream, pulse) = (stream.stop().unwrap(), pulse.stop().unwrap());
    assert!(stream.broken.is_none() && stream.longest_stall >= length, "{stream:?}");
    let missing = pulse.lost.len() + pulse.refused.len();
    assert!((100..600).contains(&missing), "{missing} missing: {pulse:?}");
    assert_eq!(pulse.sent, pulse.answered + missing as u64, "{pulse:?}");
    assert!(pulse.longest_gap >= length);

    let stream = Stream::start(&hosts.h1.namespace, hosts.h2.address, 5001, 0);
    assert!(stream.is_err(), "nobody listens there");
    drop(server);
}

#[test]
fn a_pulse_that_is_left_alone_loses_nothing() {
    let hosts = TwoHosts::new("kitpulse").unwrap();
    let _server = Server::start(&hosts.h2.namespace, "two", &[7], &[]).unwrap();
    for address in [hosts.h2.address, hosts.h2.address6] {
        let pulse = Pulse::start(&hosts.h1.namespace, address, 7, 2000).unwrap();
        let start = Instant::now();
        eventually(Duration::from_secs(5), "half a second passes", || {
            if start.elapsed() > Duration::from_millis(500) { Ok(()) } else { Err(String::new()) }
        });
        let report = pulse.stop().unwrap();
        assert!(report.lost.is_empty() && report.refused.is_empty(), "{report:?}");
        assert!(report.sent > 100 && report.answered == report.sent, "{report:?}");
    }
}
