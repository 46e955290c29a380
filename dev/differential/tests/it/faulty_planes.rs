//! A data plane with one deliberate fault in what is installed must be caught: by its lowered tables
//! in Rust, and by the live plane.

use selvage_differential::atoms::{answer_to, atoms};
use selvage_differential::court::{Known, Matter};
use selvage_differential::planes::{Cell, LiveEbpf, LoweredEbpf, Plane};
use selvage_differential::seats::{Flow, Route, Seats};
use selvage_differential::sketch;
use selvage_ebpf::eval::Tables;
use selvage_ebpf::layout::{Bytes, types};
use selvage_ebpf::lower::flag;
use selvage_policy::{Numbers, compile};

use crate::ground;

/// What is done to one lowered rule; `false` if it cannot be done to this one.
type Fault = fn(&mut types::rule) -> bool;

const FAULTS: [(&str, Fault); 8] = [
    ("the last destination port is one too many", |rule| {
        let asks = rule.dport_first != 0 && rule.dport_last != u16::MAX;
        rule.dport_last = rule.dport_last.saturating_add(1);
        asks
    }),
    ("the first destination port is missing", |rule| {
        let asks = rule.dport_first != 0;
        rule.dport_first = rule.dport_first.wrapping_add(1);
        asks && rule.dport_first != 0
    }),
    ("the bytes of the ports are swapped", |rule| {
        for port in [&mut rule.dport_first, &mut rule.dport_last] {
            *port = port.swap_bytes();
        }
        rule.dport_first != 0 && rule.dport_last != u16::MAX
    }),
    ("source and destination are exchanged", |rule| {
        std::mem::swap(&mut rule.sport_first, &mut rule.dport_first);
        std::mem::swap(&mut rule.sport_last, &mut rule.dport_last);
        (rule.sport_first, rule.sport_last) != (rule.dport_first, rule.dport_last)
    }),
    ("the bytes of what it matches are swapped", |rule| {
        rule.value = rule.value.swap_bytes();
        rule.mask = rule.mask.swap_bytes();
        rule.mask != 0
    }),
    ("the protocol is not looked at", |rule| {
        let proto = 0xff << types::what_shift::WHAT_PROTO.0;
        let asks = rule.mask & proto != 0;
        rule.value &= !proto;
        rule.mask &= !proto;
        // Flags and types are of one protocol anyway.
        asks && rule.mask & (0xffff_ffff_ffff_ffff >> 24 & !0xffff) == 0
    }),
    ("it does the opposite", |rule| {
        rule.flags ^= flag::PERMIT;
        rule.reason = if rule.flags & flag::PERMIT == 0 { 17 } else { 1 };
        true
    }),
    ("the connection is not kept", |rule| {
        let keeps = rule.flags & flag::STATEFUL != 0;
        rule.flags &= !flag::STATEFUL;
        keeps
    }),
];

/// What is installed, with a fault: rules and pairs to write over those that are there.
#[derive(Default)]
struct Faulty {
    name: String,
    rules: Vec<(u32, types::rule)>,
    pairs: Vec<(types::pair_key, types::pair)>,
}

/// Every installed rule with every fault that it can have, and every pair without its rules.
fn faulty(installed: &Tables) -> Vec<Faulty> {
    let mut all = Vec::new();
    // The fabric itself answers ARP: what rules say about it decides about no packet.
    let is_arp = |rule: &types::rule| rule.value >> types::what_shift::WHAT_ETHER.0 == 0x0806;
    for (slot, rule) in installed.rules.iter().filter(|(_, rule)| !is_arp(&rule.0)) {
        for (name, fault) in FAULTS {
            let mut rule = rule.0;
            // A rule that matches everything has nothing to get wrong but what it does.
            if fault(&mut rule) {
                let name = format!("{name}, in rule {} at {slot}", rule.id);
                all.push(Faulty { name, rules: vec![(*slot, rule)], ..Faulty::default() });
            }
        }
    }
    for (key, pair) in &installed.pairs {
        let name = format!("the direction {} -> {} is dropped", key.0.src, key.0.dst);
        let empty = types::pair { after: types::run::default(), ..pair.0 };
        all.push(Faulty { name, pairs: vec![(key.0, empty)], ..Faulty::default() });
    }
    all
}

/// Whether any flow shows that `plane` is not what it should be.
fn is_caught(matter: &Matter<'_>, plane: &mut dyn Plane) -> bool {
    let packets = atoms();
    let ends = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
    let mut flows = ends.flat_map(|(from, to)| {
        packets.iter().enumerate().flat_map(move |(number, packet)| {
            let route = Route::ALL[number % 3];
            let there = Flow { from, to, route, packet: *packet, answers: None };
            let answers = Some(*packet);
            let back = Flow { from: to, to: from, packet: answer_to(packet), answers, ..there };
            [there, back]
        })
    });
    flows.any(|flow| matter.put(&mut [&mut *plane], &flow, Known::Nothing).unwrap().is_some())
}

#[test]
fn every_faulty_plane_is_caught() {
    let tree = sketch::tree(&ground::with(ground::EVERY_RULE_COUNTS)).unwrap();
    let table = compile(&tree, &mut Numbers::default()).table;
    let groups = ["web", "app", "lone"].map(ground::group);
    let cell = Cell::new("bad", 6).unwrap();
    let seats = Seats::new(&table, &groups, &cell.ports);
    let desired = seats.desired(1);
    let matter = Matter { tree: &tree, table: &table, groups: &groups, seats };

    let mut lowered = LoweredEbpf::default();
    lowered.install(&desired).unwrap();
    assert!(!is_caught(&matter, &mut lowered), "the plane without a fault must pass");
    let faults = faulty(&lowered.installed.tables);
    assert!(faults.len() > 40, "only {} faults", faults.len());
    for fault in &faults {
        let good = lowered.installed.tables.clone();
        let tables = &mut lowered.installed.tables;
        tables.rules.extend(fault.rules.iter().map(|(slot, rule)| (*slot, Bytes(*rule))));
        tables.pairs.extend(fault.pairs.iter().map(|(key, pair)| (Bytes(*key), Bytes(*pair))));
        assert!(is_caught(&matter, &mut lowered), "lowered: {}: nobody noticed", fault.name);
        lowered.installed.tables = good;
    }

    let live = || {
        let mut live = LiveEbpf::open("bad", cell.overlay).unwrap();
        live.install(&desired).unwrap();
        assert!(!is_caught(&matter, &mut live), "the live plane without a fault must pass");
        let good = live.plane().tables().unwrap();
        let faults = faulty(&good);
        for fault in &faults {
            let maps = live.plane().maps();
            fault.rules.iter().for_each(|(slot, rule)| maps.rules.put(slot, rule).unwrap());
            fault.pairs.iter().for_each(|(key, pair)| maps.pairs.put(key, pair).unwrap());
            assert!(is_caught(&matter, &mut live), "live: {}: nobody noticed", fault.name);
            let maps = live.plane().maps();
            good.rules.iter().for_each(|(slot, rule)| maps.rules.put(slot, &rule.0).unwrap());
            good.pairs.iter().for_each(|(key, pair)| maps.pairs.put(&key.0, &pair.0).unwrap());
        }
        faults.len()
    };
    let tried = cell.run(live).unwrap();
    println!("{} faulty lowered tables and {tried} faulty live planes, all caught", faults.len());
}
