//! The prober finds what is there, and says how the rest failed.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use selvage_testkit::probe::{Outcome, What, probe};
use selvage_testkit::rig::TwoHosts;
use selvage_testkit::server::Server;

const PATIENCE: Duration = Duration::from_millis(700);

/// Without the time, which is not what these tests are about.
fn short(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Reached { by, .. } if by.is_empty() => "echo",
        Outcome::Reached { by, .. } => by,
        Outcome::Silent => "silent",
        Outcome::Failed(_) => "failed",
    }
}

#[test]
fn every_way_to_end_is_told_apart() {
    let hosts = TwoHosts::new("kitprobe").unwrap();
    let (h1, h2) = (&hosts.h1, &hosts.h2);
    let _two = Server::start(&h2.namespace, "two", &[80, 443], &[]).unwrap();
    // Accepts and says nothing.
    let mute = h2.namespace.run(|| TcpListener::bind((h2.address, 99))).unwrap().unwrap();
    // A neighbour that is known but not there: what a drop looks like.
    let mut command = Command::new("ip");
    let lladdr = "02:00:00:00:00:77";
    command.args(["neigh", "add", "198.18.0.77", "lladdr", lladdr, "dev", h1.underlay]);
    h1.namespace.enter(&mut command).unwrap();
    assert!(command.status().unwrap().success());

    let table = [
        ("198.18.0.2", What::Tcp(80), "two"),
        ("fd00::2", What::Tcp(443), "two"),
        ("198.18.0.2", What::Ping, "echo"),
        ("fd00::2", What::Ping, "echo"),
        ("198.18.0.2", What::Tcp(81), "failed"),
        ("198.18.0.2", What::Tcp(99), "silent"),
        ("198.18.0.77", What::Tcp(80), "silent"),
        ("198.18.0.77", What::Ping, "silent"),
        ("192.0.2.1", What::Tcp(80), "failed"),
        ("192.0.2.1", What::Ping, "failed"),
    ];
    let targets = table.map(|(to, what, _)| (to.parse::<IpAddr>().unwrap(), what));
    let outcomes = probe(h1.namespace.path(), &targets, PATIENCE).unwrap();
    for ((to, what, wanted), outcome) in table.iter().zip(&outcomes) {
        assert_eq!(short(outcome), *wanted, "{to} {what:?}: {outcome:?}");
    }
    drop(mute);
}

#[test]
fn hundreds_of_probes_at_once_all_come_back() {
    let hosts = TwoHosts::new("kitmany").unwrap();
    let _server = Server::start(&hosts.h2.namespace, "two", &[80], &[]).unwrap();
    let targets: Vec<(IpAddr, What)> = (0..400)
        .map(|n| {
            let to = if n % 4 < 2 { hosts.h2.address } else { hosts.h2.address6 };
            (to, if n % 2 == 0 { What::Tcp(80) } else { What::Ping })
        })
        .collect();
    let patience = Duration::from_secs(10);
    let outcomes = probe(hosts.h1.namespace.path(), &targets, patience).unwrap();
    let failed: Vec<_> = targets
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| !matches!(outcome, Outcome::Reached { .. }))
        .collect();
    assert!(failed.is_empty(), "{} failed, the first: {:?}", failed.len(), failed[0]);
}

#[test]
fn the_program_serves_and_says_when_it_is_ready() {
    let hosts = TwoHosts::new("kitprogram").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvage-probe"));
    command.args(["serve", "--name", "web-7", "80", "8080"]).stdout(Stdio::piped());
    hosts.h2.namespace.enter(&mut command).unwrap();
    let mut server = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let targets = [(hosts.h2.address, What::Tcp(80)), (hosts.h2.address6, What::Tcp(8080))];
    let patience = Duration::from_secs(5);
    let outcomes = probe(hosts.h1.namespace.path(), &targets, patience).unwrap();
    let echoed = hosts.h1.namespace.run(|| {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.send_to(b"hello", (hosts.h2.address6, 80)).unwrap();
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer).unwrap();
        String::from_utf8(answer[..length].to_vec()).unwrap()
    });
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(outcomes.iter().map(short).collect::<Vec<_>>(), ["web-7", "web-7"]);
    assert_eq!(echoed.unwrap(), "hello web-7 80");
}
