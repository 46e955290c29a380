//! What we write into a bridge is what it has, by our reading and by its own tools'.

use std::net::IpAddr;

use selvage_ovs::openflow::{
    Action, Bits, Change, Controller, Ct, Field, Flow, FlowFilter, Match, OpenFlowError, Zone,
    ct_state, port,
};

use crate::rig::{BRIDGE, Rig, add, flows};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An Ethernet type, an IP protocol.
fn kind(ether: u16, proto: Option<u8>) -> Match {
    let matches = Match::any().with(Field::EthType, ether);
    match proto {
        Some(proto) => matches.with(Field::IpProto, proto),
        None => matches,
    }
}

/// Every field in a match that makes sense.
fn all_matches() -> Vec<Match> {
    const MAC: u128 = 0x0250_0000_0001;
    let mut all = vec![
        Match::any(),
        Match::any().with(Field::InPort, 7u32).with(Field::EthSrc, MAC),
        Match::any().with(Field::InPort, port::LOCAL),
        Match::any().masked(Field::EthDst, 0x0100_0000_0000u64, 0x0100_0000_0000u64),
        Match::any().with(Field::VlanVid, 0x1005u16),
        Match::any().with(Field::VlanVid, 0x1005u16).with(Field::VlanPcp, 3u8),
        Match::any().masked(Field::VlanVid, 0x1000u16, 0x1000u16),
        Match::any().with(Field::VlanTci, 0u16),
        Match::any().with(Field::Metadata, 0x1234_5678_9abc_def0u64).with(Field::PktMark, 0u32),
        Match::any().masked(Field::Metadata, 0x10u64, 0xf0u64),
        Match::any().with(Field::XxReg0, 0x0001_0000_0002_0000_0003_0000_0004u128),
        Match::any().with(Field::XReg7, 5u64).masked(Field::Reg3, 0x30u32, 0xf0u32),
        Match::any().with(Field::TunId, 0xabcdefu32).with(Field::TunSrc, 0xc612_0001u32),
        Match::any().prefix(Field::TunDst, Field::TunIpv6Dst, ip("198.18.0.0"), 15),
        Match::any().prefix(Field::TunSrc, Field::TunIpv6Src, ip("fd00::1"), 128),
        Match::any().with(Field::CtState, ct_state::NEW | ct_state::TRK),
        Match::any()
            .masked(Field::CtState, ct_state::TRK | ct_state::EST, 0x23u32)
            .with(Field::CtZone, 0x1234u16)
            .with(Field::CtMark, 9u32)
            .with(Field::CtLabel, (1u128 << 100) | 5),
        Match::any().masked(Field::CtLabel, 5u128 << 64, 0xffu128 << 64),
        Match::any().with(Field::ConjId, 77u32),
        Match::any().with(Field::EthType, 0x88ccu16).with(Field::EthSrc, MAC),
        kind(0x0806, None)
            .with(Field::ArpOp, 1u16)
            .with(Field::ArpSpa, 0x0a00_0001u32)
            .with(Field::ArpTpa, 0x0a00_0002u32)
            .with(Field::ArpSha, MAC)
            .with(Field::ArpTha, 0u32),
        kind(0x0800, None).source(ip("10.1.0.0"), 16).destination(ip("10.2.3.4"), 32),
        kind(0x0800, None).with(Field::IpDscp, 46u8).with(Field::IpTtl, 1u8),
        kind(0x0800, None).with(Field::IpEcn, 2u8).with(Field::IpFrag, 3u8),
        kind(0x0800, None).masked(Field::IpFrag, 0u8, 2u8),
        kind(0x0800, None).with(Field::IpFrag, 1u8),
        kind(0x0800, None).masked(Field::IpFrag, 1u8, 1u8),
        kind(0x0800, Some(47)),
        kind(0x0800, Some(1)).with(Field::Icmpv4Type, 8u8).with(Field::Icmpv4Code, 0u8),
        kind(0x0800, Some(6)).with(Field::TcpDst, 5432u16).with(Field::TcpSrc, 1u16),
        kind(0x0800, Some(6)).masked(Field::TcpDst, 0x0400u16, 0xfc00u16),
        kind(0x0800, Some(6)).with(Field::TcpFlags, 0x12u16),
        kind(0x86dd, Some(6)).masked(Field::TcpFlags, 0x02u16, 0x12u16),
        kind(0x86dd, Some(17)).with(Field::UdpDst, 53u16).with(Field::UdpSrc, 0u16),
        kind(0x0800, Some(132)).with(Field::SctpDst, 1u16).with(Field::SctpSrc, 2u16),
        kind(0x86dd, None).source(ip("fd00:1::"), 32).destination(ip("fd00:2::5"), 128),
        kind(0x86dd, None).with(Field::Ipv6Label, 0x12345u32),
        kind(0x86dd, Some(58)).with(Field::Icmpv6Type, 128u8).with(Field::Icmpv6Code, 0u8),
        kind(0x86dd, Some(58))
            .with(Field::Icmpv6Type, 135u8)
            .with(Field::Icmpv6Code, 0u8)
            .prefix(Field::ArpTpa, Field::NdTarget, ip("fd00::9"), 128)
            .with(Field::NdSll, MAC),
        kind(0x86dd, Some(58))
            .with(Field::Icmpv6Type, 136u8)
            .with(Field::Icmpv6Code, 0u8)
            .with(Field::NdTll, MAC),
    ];
    for number in 0..16 {
        all.push(
            Match::any().with(Field::reg(number).unwrap(), 0x0102_0304u32 + u32::from(number)),
        );
    }
    all
}

/// Every action, each where it may stand.
fn all_actions() -> Vec<(Match, Vec<Action>)> {
    let any = Match::any;
    let tcp = || kind(0x0800, Some(6));
    let controller = |max_len, userdata: &[u8], meter| {
        Action::Controller(Controller { max_len, userdata: userdata.to_vec(), meter })
    };
    let exec = vec![
        Action::set(Field::CtMark, 5u32),
        Action::Set { field: Field::CtLabel, value: 7 << 64, mask: 0xff << 64 },
        Action::copy(Field::Reg2, Field::CtMark),
    ];
    vec![
        (any(), vec![]),
        (any(), vec![Action::Output(3), Action::Output(port::IN_PORT)]),
        (any(), vec![Action::OutputField(Bits::all(Field::Reg1))]),
        (any(), vec![Action::OutputField(Bits::of(Field::Reg1, 8, 16))]),
        (any(), vec![controller(128, &[], None)]),
        (any(), vec![controller(0xffff, &[1, 2, 0xff], None)]),
        (any(), vec![controller(200, &[1, 2, 3, 4, 5, 6, 7, 8, 9], Some(1))]),
        (any(), vec![Action::set(Field::Reg0, 5u32), Action::set(Field::Reg1, 0u32)]),
        (any(), vec![Action::Set { field: Field::Reg0, value: 0x30, mask: 0xf0 }]),
        (any(), vec![Action::set(Field::XxReg1, 5u128 << 70), Action::set(Field::XReg0, 5u32)]),
        (any(), vec![Action::set(Field::EthSrc, 0x0250_0000_0001u64)]),
        (any(), vec![Action::set(Field::TunId, 5u32), Action::set(Field::TunDst, 0xc612_0001u32)]),
        (any(), vec![Action::set(Field::PktMark, 5u32), Action::set(Field::Metadata, 1u32)]),
        (
            any(),
            vec![Action::Move {
                from: Bits::of(Field::Reg3, 8, 8),
                to: Bits::of(Field::Reg4, 3, 8),
            }],
        ),
        (any(), vec![Action::copy(Field::EthSrc, Field::EthDst)]),
        (kind(0x0800, None), vec![Action::DecTtl, Action::set(Field::IpTtl, 64u8)]),
        (
            tcp(),
            vec![Action::set(Field::TcpDst, 80u16), Action::set(Field::Ipv4Src, 0x0a00_0001u32)],
        ),
        (kind(0x86dd, None), vec![Action::set(Field::Ipv6Dst, 1u128 << 127)]),
        (
            kind(0x0806, None),
            vec![Action::set(Field::ArpOp, 2u16), Action::copy(Field::ArpSha, Field::ArpTha)],
        ),
        (any(), vec![Action::Resubmit { in_port: None, table: 20 }]),
        (any(), vec![Action::Resubmit { in_port: Some(4), table: 20 }]),
        (
            tcp(),
            vec![Action::Ct(Ct { table: Some(9), zone: Zone::Number(0xffff), ..Ct::default() })],
        ),
        (
            tcp(),
            vec![Action::Ct(Ct {
                zone: Zone::Field(Bits::of(Field::Reg5, 0, 16)),
                ..Ct::default()
            })],
        ),
        (
            tcp(),
            vec![Action::Ct(Ct {
                commit: true,
                force: true,
                exec,
                table: Some(3),
                ..Ct::default()
            })],
        ),
        (tcp(), vec![Action::CtClear, Action::Output(1)]),
        (
            any(),
            vec![
                Action::Clone(vec![Action::set(Field::Reg0, 1u32), Action::Output(2)]),
                Action::Output(3),
            ],
        ),
        (any(), vec![Action::Conjunction { id: 9, clause: 0, clauses: 2 }]),
        (any(), vec![Action::PushVlan(0x8100), Action::set(Field::VlanVid, 0x1005u16)]),
        (any().masked(Field::VlanVid, 0x1000u16, 0x1000u16), vec![Action::PopVlan]),
        (any(), vec![Action::Note(vec![1, 2, 3, 4, 5, 6])]),
        (any(), vec![Action::WriteMetadata { value: 5, mask: u64::MAX }, Action::Goto(201)]),
        (any(), vec![Action::WriteMetadata { value: 0x10, mask: 0xf0 }, Action::Goto(202)]),
        (any(), vec![Action::Meter(1), Action::Output(1)]),
    ]
}

fn numbered() -> Vec<Flow> {
    let by_match = all_matches().into_iter().map(|matches| (matches, vec![Action::Output(1)]));
    by_match
        .chain(all_actions())
        .zip(1u16..)
        .map(|((matches, actions), number)| Flow {
            table: u8::try_from(number % 7).unwrap(),
            priority: number,
            cookie: u64::from(number) << 32,
            matches,
            actions,
            ..Flow::default()
        })
        .collect()
}

/// What `ovs-ofctl` prints, a line a flow, sorted.
fn printed(rig: &Rig, options: &[&str]) -> Vec<String> {
    let socket = format!("unix:{}", rig.socket().display());
    let mut arguments = vec!["dump-flows", "--no-stats", "--no-names"];
    arguments.extend(options);
    arguments.push(&socket);
    let text = rig.ovs.tool("ovs-ofctl", &arguments).unwrap();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    lines.retain(|line| line.contains("actions="));
    lines.sort();
    lines
}

#[test]
fn flows_are_what_we_read_and_what_ofctl_prints() {
    let rig = Rig::new();
    let mut bridge = rig.bridge();
    bridge.set_meter(1, 10, 10).unwrap();
    let mut wanted = numbered();
    bridge.apply(&add(&wanted)).unwrap();
    wanted.sort();
    let read = flows(&mut bridge);
    for (wanted, read) in wanted.iter().zip(&read) {
        assert_eq!(wanted, read, "\nwanted {wanted}\nread   {read}");
    }
    assert_eq!(read.len(), wanted.len());
    let mut ours: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    ours.sort();
    let theirs = printed(&rig, &["-O", "OpenFlow14"]);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

/// The text of a flow is what the tool takes, and means the same to it.
#[test]
fn ofctl_takes_our_text() {
    let rig = Rig::new();
    let mut bridge = rig.bridge();
    bridge.set_meter(1, 10, 10).unwrap();
    let mut wanted = numbered();
    let lines: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let file = rig.ovs.folder().join("flows");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let socket = format!("unix:{}", rig.socket().display());
    let file = file.to_string_lossy();
    rig.ovs.tool("ovs-ofctl", &["-O", "OpenFlow14", "add-flows", &socket, &file]).unwrap();
    wanted.sort();
    for (wanted, read) in wanted.iter().zip(&flows(&mut bridge)) {
        assert_eq!(wanted, read, "\nwanted {wanted}\nread   {read}");
    }
}

#[test]
fn a_refused_bundle_names_the_flow_and_changes_nothing() {
    let rig = Rig::new();
    let mut bridge = rig.bridge();
    let old = Flow { priority: 5, actions: vec![Action::Output(1)], ..Flow::default() };
    bridge.apply(&add(std::slice::from_ref(&old))).unwrap();
    let mut changes = vec![Change::RemoveAll(FlowFilter::default())];
    for priority in 0..2000 {
        changes.push(Change::Add(Flow { priority, ..Flow::default() }));
    }
    // Backwards: the switch takes no such thing.
    let bad = Flow { table: 9, actions: vec![Action::Goto(3)], ..Flow::default() };
    changes.push(Change::Add(bad));
    let error = bridge.apply(&changes).unwrap_err();
    let OpenFlowError::Refused { what, refusal } = &error else { panic!("{error}") };
    assert_eq!(refusal.name(), Some("OFPBIC_BAD_TABLE_ID"), "{error}");
    assert!(what.contains("table=9"), "{error}");
    assert_eq!(flows(&mut bridge), std::slice::from_ref(&old));

    // Found at the commit: there is no such group.
    let bad = Flow { actions: vec![Action::Group(77)], ..Flow::default() };
    let changes = [Change::RemoveAll(FlowFilter::default()), Change::Add(bad)];
    let error = bridge.apply(&changes).unwrap_err();
    assert!(error.to_string().contains("actions=group:77"), "{error}");
    assert_eq!(flows(&mut bridge), [old]);
    bridge.barrier().unwrap();
}

#[test]
fn changes_do_what_they_say() {
    let rig = Rig::new();
    let mut bridge = rig.bridge();
    let flow = |priority, cookie, port| Flow {
        table: 2,
        priority,
        cookie,
        matches: Match::any().with(Field::InPort, 1u32),
        actions: vec![Action::Output(port)],
        ..Flow::default()
    };
    bridge.apply(&add(&[flow(1, 0x11, 2), flow(2, 0x12, 2), flow(3, 0x21, 2)])).unwrap();
    bridge.apply(&[Change::SetActions(flow(1, 0x11, 9))]).unwrap();
    assert_eq!(flows(&mut bridge), [flow(1, 0x11, 9), flow(2, 0x12, 2), flow(3, 0x21, 2)]);
    let matches = flow(2, 0, 0).matches;
    bridge.apply(&[Change::Remove { table: 2, priority: 2, matches }]).unwrap();
    assert_eq!(flows(&mut bridge), [flow(1, 0x11, 9), flow(3, 0x21, 2)]);
    let filter = FlowFilter { cookie: 0x10, cookie_mask: 0xf0, ..FlowFilter::default() };
    assert_eq!(bridge.flows(&filter).unwrap().len(), 1);
    bridge.apply(&[Change::RemoveAll(filter)]).unwrap();
    assert_eq!(flows(&mut bridge), [flow(3, 0x21, 2)]);
    let table = FlowFilter { table: Some(3), ..FlowFilter::default() };
    bridge.apply(&[Change::RemoveAll(table)]).unwrap();
    assert_eq!(flows(&mut bridge).len(), 1);
    assert_eq!(bridge.ports().unwrap()[0].name, BRIDGE);
}
