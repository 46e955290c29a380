//! What it takes to attach and to change a policy, and bundles of many flows: all are there, and what they cost is printed, not judged. With
//! `SELVAGE_SOAK` set they are as many as a large host has: `SELVAGE_SOAK=1 cargo test --release -p
//! selvage-ovs measure -- --nocapture`.

use std::time::{Duration, Instant};

use selvage_agent::datapath::Port;
use selvage_host::{Netlink, Veth};
use selvage_ovs::openflow::{Action, Change, Connection, Field, Flow, FlowFilter, Match};
use selvage_testkit::fabric::life::app_and_db;

use crate::fabric::{self, OVS};
use crate::policy::{APP, DB, set_pair, stateful, tcp, three_tier};
use crate::rig::{Rig, add};

/// Flows of a bundle, and of one in a soak.
const FLOWS: u32 = 2_000;
const MANY: u32 = 30_000;

/// As rules look: a set's number, a protocol, a port.
fn rules(count: u32) -> Vec<Flow> {
    (0..count)
        .map(|number| Flow {
            table: 20,
            priority: 100,
            cookie: 0x5e1a_0100_0000_0000 | u64::from(number),
            matches: Match::any()
                .with(Field::EthType, 0x0800u16)
                .with(Field::IpProto, 6u8)
                .with(Field::Reg8, number / 16)
                .with(Field::TcpDst, number % 16 + 1),
            actions: vec![Action::set(Field::Reg6, 1u32), Action::Goto(21)],
            ..Flow::default()
        })
        .collect()
}

fn timed(what: &str, bridge: &mut Connection, changes: &[Change]) {
    let start = Instant::now();
    bridge.apply(changes).unwrap();
    let took = start.elapsed();
    let rate = changes.len() as f64 / took.as_secs_f64();
    println!("{what}: {} changes in {took:.1?}, {rate:.0}/s", changes.len());
}

fn held(bridge: &mut Connection) -> usize {
    bridge.flows(&FlowFilter::default()).unwrap().len()
}

#[test]
fn bundles_of_many_flows_are_carried_out_whole() {
    let soak = std::env::var_os("SELVAGE_SOAK").is_some();
    let (count, rounds) = if soak { (MANY, 3) } else { (FLOWS, 1) };
    let rig = Rig::new();
    let mut bridge = Connection::open(&rig.socket(), Duration::from_secs(30)).unwrap();
    let flows = rules(count);
    for round in 0..rounds {
        let before = held(&mut bridge);
        println!("round {round}");
        timed("all, fresh", &mut bridge, &add(&flows));
        assert_eq!(held(&mut bridge), before + flows.len());
        timed("the same again", &mut bridge, &add(&flows));
        assert_eq!(held(&mut bridge), before + flows.len());
        let one = Change::SetActions(Flow { actions: vec![], ..flows[0].clone() });
        timed("one", &mut bridge, &[one]);
        let half: Vec<Change> = flows
            .iter()
            .step_by(2)
            .map(|flow| Change::Remove {
                table: flow.table,
                priority: flow.priority,
                matches: flow.matches.clone(),
            })
            .collect();
        timed("every other removed", &mut bridge, &half);
        let start = Instant::now();
        let read = held(&mut bridge);
        println!("{read} flows read in {:.1?}", start.elapsed());
        assert_eq!(read, before + flows.len() / 2);
        timed("all removed", &mut bridge, &[Change::RemoveAll(FlowFilter::default())]);
        assert_eq!(held(&mut bridge), 0);
    }
    let lines: Vec<String> = flows.iter().map(ToString::to_string).collect();
    let file = rig.ovs.folder().join("flows");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let socket = format!("unix:{}", rig.socket().display());
    let arguments = ["-O", "OpenFlow14", "--bundle", "add-flows", &socket, &file.to_string_lossy()];
    let start = Instant::now();
    rig.ovs.tool("ovs-ofctl", &arguments).unwrap();
    println!("ovs-ofctl --bundle, from text: {:.1?}", start.elapsed());
    assert_eq!(held(&mut bridge), flows.len(), "the reference tool's bundle says the same");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_link_is_held_and_a_policy_changed() {
    let mut rig = fabric::Rig::new([OVS, OVS], &app_and_db(0, 1), three_tier());
    let (mut held, mut let_go, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..20_u32 {
        let host = &mut rig.hosts[0];
        let name = format!("svm{round:08x}");
        let veth = Veth {
            name: &name,
            mac: None,
            peer: "svmx",
            peer_mac: None,
            peer_namespace: None,
            mtu: 1450,
            group: 0,
        };
        let ifindex = Netlink::open_in(&host.space.ns).unwrap().create_veth(&veth).unwrap();
        let port = Port { ifindex, name };
        let start = Instant::now();
        host.space.ns.run(|| host.plane.attach_port(&port)).unwrap().unwrap();
        held.push(start.elapsed());
        let start = Instant::now();
        host.space.ns.run(|| host.plane.detach_port(&port)).unwrap().unwrap();
        let_go.push(start.elapsed());
        Netlink::open_in(&host.space.ns).unwrap().delete_link(&port.name).unwrap();
        set_pair(&mut rig.table, APP, DB, 100 + round, vec![stateful(200 + round, tcp(5432))]);
        rig.revision += 1;
        let desired = rig.desired(0);
        let host = &mut rig.hosts[0];
        let start = Instant::now();
        host.space.ns.run(|| host.plane.apply(&desired)).unwrap().unwrap();
        changed.push(start.elapsed());
    }
    for (what, times) in [("attach", held), ("detach", let_go), ("apply", changed)] {
        println!("{what}: median {:.1?}, worst {:.1?}", median(times.clone()), times.iter().max());
    }
}
