//! All judges over generated fabrics: oracle, rule table, lowered tables, live planes.
//!
//! A triple is a policy, a packet and what is known of its connection:
//!
//! | state | what was shown before | what must come of it |
//! |---|---|---|
//! | new | nothing | the rules decide |
//! | answer | the packet it answers | established, if a stateful rule permits that one |
//! | unasked | nothing, though it looks like an answer | the rules decide |
//! | question | the packet it could answer, were it no SYN or request itself | the rules decide |
//! | stale | the packet it answers, under the revision before this one | as if asked now |

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use selvage_differential::atoms::{answer_to, atoms, packet};
use selvage_differential::court::{Known, Matter};
use selvage_differential::fabric::{Edit, Fabric, edit, fabric};
use selvage_differential::planes::{Cell, LiveEbpf, LoweredEbpf, LoweredOvs, Plane};
use selvage_differential::seats::{Flow, Route, Seats};
use selvage_differential::sketch;
use selvage_oracle::Verdict;
use selvage_policy::{Numbers, compile};
use selvage_rules::{EtherType, Packet, Reason, TcpFlags, proto};

/// Triples in a run at least; more by setting `SELVAGE_TRIPLES`.
const TRIPLES: usize = 100_000;
/// Fabrics have at most so many groups, with two links each.
const GROUPS: usize = 4;
/// One in so many of [`atoms`] is shown to each fabric, and one of them in every fabric differs.
const STRIDE: usize = 7;
/// Connections that a fabric is changed under.
const STALE: usize = 24;

/// How many triples of each state were judged, and how many of them passed; and how often a plane
/// had to give each reason.
#[derive(Debug, Default)]
struct Tally(BTreeMap<&'static str, (usize, usize)>, BTreeMap<Reason, usize>);

/// Reasons that must come up; the others need a broken packet or a liar.
const REASONS: [Reason; 13] = [
    Reason::Contract,
    Reason::IntraGroup,
    Reason::Established,
    Reason::Unenforced,
    Reason::Fabric,
    Reason::NoContract,
    Reason::Denied,
    Reason::Quarantine,
    Reason::SpoofedArp,
    Reason::UnknownDestination,
    Reason::UnsupportedEthertype,
    Reason::Multicast,
    Reason::Fragment,
];

impl Tally {
    fn add(&mut self, state: &'static str, allowed: bool, reason: Option<Reason>) {
        if let Some(reason) = reason {
            *self.1.entry(reason).or_default() += 1;
        }
        let (judged, passed) = self.0.entry(state).or_default();
        *judged += 1;
        *passed += usize::from(allowed);
    }

    fn total(&self) -> usize {
        self.0.values().map(|(judged, _)| judged).sum()
    }
}

/// One generated matter: a fabric, what becomes of it, and packets.
#[derive(Debug, Clone)]
struct Suit {
    fabric: Fabric,
    edit: Edit,
    packets: Vec<Packet>,
    offset: usize,
}

fn suit() -> impl Strategy<Value = Suit> {
    (fabric(), edit(), vec(packet(), 0..24), 0..STRIDE)
        .prop_map(|(fabric, edit, packets, offset)| Suit { fabric, edit, packets, offset })
}

impl Suit {
    fn packets(&self) -> Vec<Packet> {
        let atoms = atoms().into_iter().skip(self.offset).step_by(STRIDE);
        atoms.chain(self.packets.iter().copied()).collect()
    }

    /// Every packet between every two groups, each in one of the states that need no revision.
    fn flows(&self) -> Vec<(&'static str, Flow)> {
        let groups = self.fabric.groups().len();
        let mut flows = Vec::new();
        for (from, to) in (0..groups).flat_map(|from| (0..groups).map(move |to| (from, to))) {
            for (number, packet) in self.packets().into_iter().enumerate() {
                let turn = number + from + to + self.offset;
                let route = Route::ALL[turn % 3];
                let new = Flow { from, to, route, packet, answers: None };
                flows.push(match turn % 5 {
                    0 | 1 => ("new", new),
                    2 => ("unasked", Flow { packet: answer_to(&packet), ..new }),
                    3 => (
                        "question",
                        Flow { packet: question(&packet), answers: Some(packet), ..new },
                    ),
                    _ => (
                        "answer",
                        Flow { packet: answer_to(&packet), answers: Some(packet), ..new },
                    ),
                });
            }
        }
        flows
    }

    /// Answers to packets that have connections of their own, each between other ports.
    fn answers(&self) -> Vec<Flow> {
        let groups = self.fabric.groups().len();
        let pairs = (0..groups).flat_map(|from| (0..groups).map(move |to| (from, to)));
        let flows =
            pairs.cycle().zip(40_000_u16..).enumerate().map(|(turn, ((from, to), port))| {
                let ether = if turn % 4 == 0 { EtherType::IPV6 } else { EtherType::IPV4 };
                let ports = [80, 443, 1023, 65535, 81];
                let dport = ports[turn % ports.len()];
                let opening = match turn % 3 {
                    0 => Packet::udp(ether, port, dport),
                    _ => Packet::tcp_syn(ether, port, dport),
                };
                let (packet, route) = (answer_to(&opening), Route::ALL[turn % 3]);
                Flow { from, to, route, packet, answers: Some(opening) }
            });
        flows.take(STALE).collect()
    }
}

/// What looks like an answer to `packet` and is a question itself.
fn question(packet: &Packet) -> Packet {
    let mut question = answer_to(packet);
    if question.has_ports() && question.proto == proto::TCP {
        question.tcp_flags = TcpFlags::SYN;
    }
    if packet.proto == proto::ICMP || packet.proto == proto::ICMPV6 {
        question.icmp_type = packet.icmp_type;
    }
    question
}

/// Judges one suit; the words of the first dissent, and how many more there are.
fn hear(
    suit: &Suit,
    planes: &mut [&mut dyn Plane],
    ports: &[u32],
    tally: &mut Tally,
) -> Result<(), String> {
    let groups = suit.fabric.groups();
    let mut numbers = Numbers::default();
    let tree = sketch::tree(&suit.fabric.to_string()).map_err(|error| error.to_string())?;
    let table = compile(&tree, &mut numbers).table;
    let seats = Seats::new(&table, &groups, ports);
    install(planes, &seats, 1)?;
    let matter = Matter { tree: &tree, table: &table, groups: &groups, seats };
    for (state, flow) in suit.flows() {
        put(&matter, planes, &flow, state, Known::Nothing, tally)?;
    }

    let answers = suit.answers();
    planes.iter_mut().try_for_each(|plane| plane.forget())?;
    let mut tracked = Vec::new();
    for flow in &answers {
        let opening = matter.seats.case(flow).and_then(|case| case.opening());
        tracked.push(matter.opens(flow) && opening.is_some());
        for plane in planes.iter_mut() {
            opening.as_ref().map(|case| plane.judge(case)).transpose()?;
        }
    }
    let revised = suit.fabric.revised(suit.edit);
    let tree = sketch::tree(&revised.to_string()).map_err(|error| error.to_string())?;
    let table = compile(&tree, &mut numbers).table;
    let seats = Seats::new(&table, &groups, ports);
    install(planes, &seats, 2)?;
    let matter = Matter { tree: &tree, table: &table, groups: &groups, seats };
    for (flow, tracked) in answers.iter().zip(tracked) {
        let answers = flow.answers.filter(|_| tracked);
        let flow = Flow { answers, ..*flow };
        put(&matter, planes, &flow, "stale", Known::WhatWas, tally)?;
    }
    Ok(())
}

fn install(planes: &mut [&mut dyn Plane], seats: &Seats<'_>, revision: u64) -> Result<(), String> {
    let desired = seats.desired(revision);
    planes.iter_mut().try_for_each(|plane| plane.install(&desired))
}

fn put(
    matter: &Matter<'_>,
    planes: &mut [&mut dyn Plane],
    flow: &Flow,
    state: &'static str,
    known: Known,
    tally: &mut Tally,
) -> Result<(), String> {
    let reason = matter.expected(flow).map(|expected| expected.reason);
    tally.add(state, matter.oracle(flow).verdict == Verdict::Allow, reason);
    match matter.put(planes, flow, known)? {
        None => Ok(()),
        Some(dissent) => Err(format!("{state}: {dissent}")),
    }
}

/// Judges generated suits until there were `triples` of them.
fn run(planes: &mut [&mut dyn Plane], ports: &[u32], triples: usize) -> Result<Tally, String> {
    let config =
        Config { cases: 8, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let suits = suit();
    let tally = std::cell::RefCell::new(Tally::default());
    let planes = std::cell::RefCell::new(planes);
    while tally.borrow().total() < triples {
        let outcome = TestRunner::new(config.clone()).run(&suits, |suit| {
            hear(&suit, &mut planes.borrow_mut(), ports, &mut tally.borrow_mut())
                .map_err(TestCaseError::fail)
        });
        outcome.map_err(|error| error.to_string())?;
    }
    Ok(tally.into_inner())
}

fn triples() -> usize {
    let asked = std::env::var("SELVAGE_TRIPLES").ok().and_then(|n| n.parse().ok());
    let usual = if std::env::var_os("SELVAGE_SOAK").is_some() { 10 * TRIPLES } else { TRIPLES };
    asked.unwrap_or(usual)
}

#[test]
fn every_judge_says_the_same() {
    let cell = Cell::new("all", GROUPS * 2).unwrap();
    let tally = cell
        .run(|| {
            let mut lowered = LoweredEbpf::default();
            let mut switch = LoweredOvs::default();
            let mut live = LiveEbpf::open("all", cell.overlay).unwrap();
            run(&mut [&mut lowered, &mut switch, &mut live], &cell.ports, triples())
        })
        .unwrap()
        .unwrap_or_else(|dissent| panic!("{dissent}"));
    for (state, (judged, passed)) in &tally.0 {
        println!("{state:9} {judged:8} judged, {passed} of them passed");
        assert!(*passed > judged / 50, "hardly anything of state `{state}` passes");
        assert!(*passed < judged - judged / 50, "hardly anything of state `{state}` is dropped");
    }
    let reasons: Vec<String> =
        tally.1.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    println!("{}", reasons.join(", "));
    // A short run need not come across everything.
    for reason in REASONS.iter().filter(|_| tally.total() >= TRIPLES) {
        assert!(tally.1.contains_key(reason), "no plane had to say `{reason}`");
    }
    println!("{} triples, 0 disagreements", tally.total());
}
