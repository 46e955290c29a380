//! The switch daemon ends: in the middle of a bundle, and while packets are waited for.

use std::thread;
use std::time::{Duration, Instant};

use selvage_ovs::openflow::{
    Action, Change, Connection, Controller, Field, Flow, FlowFilter, Match, OpenFlowError,
    PacketReason, port,
};

use crate::rig::{BRIDGE, Rig, TIMEOUT, add, flows};

fn many(count: u32) -> Vec<Flow> {
    (0..count)
        .map(|number| Flow {
            table: 1,
            priority: 10,
            cookie: number.into(),
            matches: Match::any().with(Field::Reg0, number).with(Field::Reg1, number),
            actions: vec![Action::set(Field::Reg2, number), Action::Goto(2)],
            ..Flow::default()
        })
        .collect()
}

#[test]
fn killed_in_the_middle_of_a_bundle_leaves_nothing_half_done() {
    let mut rig = Rig::new();
    let mut bridge = rig.bridge();
    bridge.apply(&add(&many(10))).unwrap();
    // It takes in no more than the socket holds, which is a part of this bundle.
    rig.ovs.hang_switch().unwrap();
    let changes = add(&many(60_000));
    let (begun, begins) = std::sync::mpsc::channel();
    let worker = thread::spawn(move || {
        begun.send(()).unwrap();
        let done = bridge.apply(&changes);
        (done, bridge)
    });
    begins.recv().unwrap();
    let unfinished = Instant::now() + Duration::from_millis(100);
    while Instant::now() < unfinished {
        assert!(!worker.is_finished());
        thread::yield_now();
    }
    rig.ovs.kill_switch().unwrap();
    let (done, mut bridge) = worker.join().unwrap();
    let error = done.unwrap_err();
    assert!(matches!(error, OpenFlowError::Closed { .. }), "{error}");
    assert!(error.to_string().contains("while changing 60000 flows"), "{error}");
    assert!(!bridge.is_open());
    assert!(matches!(bridge.echo().unwrap_err(), OpenFlowError::Closed { .. }));
    assert!(matches!(
        Connection::open(&rig.socket(), TIMEOUT).unwrap_err(),
        OpenFlowError::Connect { .. }
    ));

    rig.ovs.start_switch().unwrap();
    let mut bridge = reconnect(&rig);
    // Open vSwitch keeps no flows: with fail_mode secure there are none, and no packet passes.
    assert_eq!(flows(&mut bridge), []);
    bridge.apply(&add(&many(10))).unwrap();
    assert_eq!(flows(&mut bridge).len(), 10);
}

#[test]
fn a_hanging_switch_is_waited_for_no_longer_than_said() {
    let rig = Rig::new();
    let patience = Duration::from_millis(200);
    let mut bridge = Connection::open(&rig.socket(), patience).unwrap();
    bridge.apply(&add(&many(1))).unwrap();
    rig.ovs.hang_switch().unwrap();
    let started = Instant::now();
    let error = bridge.apply(&add(&many(2))).unwrap_err();
    assert!(matches!(error, OpenFlowError::Timeout { .. }), "{error}");
    let error = bridge.echo().unwrap_err();
    assert!(matches!(error, OpenFlowError::Timeout { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    // What comes late confuses nobody.
    rig.ovs.resume_switch().unwrap();
    selvage_testkit::eventually(TIMEOUT, "it answers again", || {
        bridge.echo().map_err(|error| error.to_string())
    });
    bridge.apply(&add(&many(3))).unwrap();
    assert_eq!(flows(&mut bridge).len(), 3);
}

/// The bridge is there some time after the daemon is.
fn reconnect(rig: &Rig) -> Connection {
    selvage_testkit::eventually(TIMEOUT, "the bridge listens again", || {
        let opened = Connection::open(&rig.socket(), TIMEOUT);
        opened.map_err(|error| format!("{error}\n{}", rig.ovs.log()))
    })
}

#[test]
fn packets_come_with_what_the_flow_says_of_them() {
    let mut rig = Rig::new();
    let mut bridge = rig.bridge();
    let controller = Controller { max_len: 64, userdata: vec![9, 8, 7], meter: None };
    let flow = Flow {
        table: 3,
        cookie: 0xabc,
        matches: Match::any().with(Field::InPort, port::LOCAL),
        actions: vec![Action::set(Field::Reg4, 44u32), Action::Controller(controller)],
        ..Flow::default()
    };
    let first = Flow { actions: vec![Action::Goto(3)], ..Flow::default() };
    bridge.apply(&add(&[flow, first])).unwrap();
    let mut packets = bridge.packets().unwrap().unwrap();
    assert!(bridge.packets().unwrap().is_none());
    let packet = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &[0x45; 200]].concat();
    let through = [Action::Output(0xffff_fff9)];
    bridge.packet_out(port::LOCAL, &through, &packet).unwrap();
    let mut taken = Vec::new();
    let deadline = Instant::now() + TIMEOUT;
    while taken.is_empty() && Instant::now() < deadline {
        assert_eq!(packets.wait(Duration::from_millis(100), &mut taken).unwrap(), 0);
    }
    let got = &taken[0];
    assert_eq!((got.table, got.cookie, got.reason), (3, 0xabc, PacketReason::Action));
    assert_eq!(got.userdata, [9, 8, 7]);
    assert_eq!(got.packet[..64], packet[..64]);
    assert_eq!(got.length, 214);
    assert_eq!(got.metadata.get(Field::Reg4).unwrap().value, 44);
    assert_eq!(got.metadata.get(Field::InPort).unwrap().value, port::LOCAL.into());

    rig.ovs.kill_switch().unwrap();
    let error = packets.wait(TIMEOUT, &mut taken).unwrap_err();
    assert!(matches!(error, OpenFlowError::Closed { .. }), "{error}");
}

#[test]
fn removing_the_bridge_closes_its_connections() {
    let rig = Rig::new();
    let mut bridge = rig.bridge();
    rig.database().remove_bridge(BRIDGE, "h").unwrap();
    let error = bridge.apply(&[Change::RemoveAll(FlowFilter::default())]).unwrap_err();
    assert!(matches!(error, OpenFlowError::Closed { .. }), "{error}");
}
