//! The two judges of this plane, asked about one packet: its flows, evaluated in Rust ([`Flowed`]),
//! and the switch itself, by a trace ([`Rehearsal`]). Neither sends, learns or counts anything.
//!
//! A trace does not ask the connection tracker, and the tracker is not modelled in Rust either: of a
//! packet that answers another both are told what the tracker would say, which is that it knows the
//! connection, if the packet that opens it would have been kept.

use std::net::IpAddr;

use selvage_agent::datapath::PlaneError;
use selvage_agent::judge::{At, Case, Opinion, answers};
use selvage_rules::{EtherType, Packet, Reason, RuleId, proto};

use crate::difference::Flows;
use crate::eval::{Carried, Tables, Tracked};
use crate::failure::refused;
use crate::headers::Headers;
use crate::lower::Bridge;
use crate::openflow::{Field, Match, ct_state};
use crate::tables::{Stage, cookie, reg};
use crate::trace::{Probe, Trace, trace};
use crate::unixctl::Control;

type Result<T> = std::result::Result<T, PlaneError>;

/// What the tracker says of an answer.
const ANSWER: u32 = ct_state::TRK | ct_state::EST | ct_state::RPL;
/// What it says of anything else.
const NEW: u32 = ct_state::TRK | ct_state::NEW;

/// A port that no bridge has: what is not attached comes from there.
const NOWHERE: u32 = 0xfefe;

/// The flows of a bridge, as a judge.
#[derive(Debug, Clone)]
pub struct Flowed<'a> {
    tables: Tables<'a>,
    bridge: &'a Bridge,
}

impl<'a> Flowed<'a> {
    /// Of these flows, lowered for this bridge.
    pub fn new(flows: &'a Flows, bridge: &'a Bridge) -> Flowed<'a> {
        Flowed { tables: Tables::new(flows), bridge }
    }

    /// What becomes of the packet of `case`.
    pub fn judge(&self, case: &Case) -> Result<Opinion> {
        let known = match opening(case) {
            Some(opening) => self.run(&opening, NEW)?.committed,
            None => false,
        };
        let outcome = self.run(case, if known { ANSWER } else { NEW })?;
        let number = |field| u32::try_from(outcome.carried.get(field)).unwrap_or(0);
        opinion(number(reg::REASON), number(reg::RULE), &[outcome.cookie])
    }

    fn run(&self, case: &Case, state: u32) -> Result<crate::eval::Outcome> {
        let entry = Entry::of(case, self.bridge)?;
        let tracked = tracked(case, state);
        Ok(self.tables.run(entry.carried(), Stage::Port, tracked))
    }
}

/// The switch, as a judge.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    /// The switch daemon.
    pub control: &'a mut Control,
    /// Name of the bridge.
    pub name: &'a str,
    /// What it was lowered for.
    pub bridge: &'a Bridge,
}

impl Rehearsal<'_> {
    /// What becomes of the packet of `case`.
    pub fn judge(&mut self, case: &Case) -> Result<Opinion> {
        let known = match opening(case) {
            Some(opening) => {
                let traced = self.trace(&opening, NEW)?;
                traced.actions.iter().any(|actions| actions.contains("ct(commit"))
            }
            None => false,
        };
        let traced = self.trace(case, if known { ANSWER } else { NEW })?;
        let number = |field| u32::try_from(traced.register(field)).unwrap_or(0);
        let cookies: Vec<u64> = traced.steps.iter().map(|step| step.cookie).collect();
        opinion(number(reg::REASON), number(reg::RULE), &cookies)
    }

    /// All that the switch says about the packet of `case`, if the tracker says `state` of it.
    pub fn trace(&mut self, case: &Case, state: u32) -> Result<Trace> {
        let Entry { mut flow, frame } = Entry::of(case, self.bridge)?;
        if state & ct_state::RPL != 0 {
            // The trace takes what the tracker knows from here, and its state from `connection`. It
            // wants all that is known, or forgets the whole.
            let Tracked { proto, from, to, dscp, .. } = tracked(case, state);
            let opener = case.addresses().unzip();
            for (v4, v6, address) in [
                (Field::CtNwSrc, Field::CtIpv6Src, opener.1),
                (Field::CtNwDst, Field::CtIpv6Dst, opener.0),
            ] {
                if let Some(address) = address {
                    flow = flow.prefix(v4, v6, address, if address.is_ipv4() { 32 } else { 128 });
                }
            }
            flow = flow
                .with(Field::EthType, case.packet.ether.0)
                .with(Field::CtState, state)
                .with(Field::CtNwProto, proto)
                .with(Field::CtTpSrc, from)
                .with(Field::CtTpDst, to)
                .with(Field::CtMark, dscp);
        }
        let probe = Probe { flow, frame: Some(frame), connection: vec![state] };
        trace(self.control, self.name, &probe)
            .map_err(|error| refused("ask the switch about a packet", error))
    }
}

/// The packet that opened the connection which the packet of `case` can belong to.
fn opening(case: &Case) -> Option<Case> {
    let opening = case.opening()?;
    answers(&case.packet, &opening.packet).then_some(opening)
}

/// What the tracker says of the packet of `case`.
fn tracked(case: &Case, state: u32) -> Tracked {
    let opened = case.answers.unwrap_or(case.packet);
    let (from, to) = match opened.proto {
        proto::ICMP | proto::ICMPV6 => (opened.icmp_type.into(), opened.icmp_code.into()),
        _ => (opened.sport, opened.dport),
    };
    Tracked { state, proto: opened.proto, from, to, dscp: opened.dscp }
}

/// A packet as it comes into the bridge.
struct Entry {
    /// By which port, and out of which tunnel.
    flow: Match,
    /// From its Ethernet header on.
    frame: Vec<u8>,
}

impl Entry {
    fn of(case: &Case, bridge: &Bridge) -> Result<Entry> {
        let frame = case.frame().ok_or_else(|| PlaneError::Unsupported {
            feature: format!("an address of the packet's family ({:#06x})", case.packet.ether.0),
            hint: "both ends need one".to_owned(),
        })?;
        let any = Match::any();
        let flow = match (case.from.at, case.outer()) {
            (At::Host { .. }, Some(outer)) => {
                let flow =
                    any.with(Field::InPort, bridge.tunnel_port).with(Field::TunId, outer.vni);
                let flow = flow.prefix(Field::TunDst, Field::TunIpv6Dst, bridge.tunnel, 128);
                flow.prefix(Field::TunSrc, Field::TunIpv6Src, outer.tunnel, 128)
            }
            (At::Port(ifindex), _) => {
                let number = bridge.ports.get(&ifindex).copied().unwrap_or(NOWHERE);
                any.with(Field::InPort, number)
            }
            (At::Host { .. }, None) => any.with(Field::InPort, NOWHERE),
        };
        Ok(Entry { flow, frame })
    }

    /// The same in fields.
    fn carried(&self) -> Carried {
        let Some(headers) = Headers::of(&self.frame) else { return Carried::default() };
        let mut carried = Carried::of(&headers.packet);
        for (field, masked) in self.flow.iter() {
            carried.set(field, masked.value);
        }
        let mac = |mac: [u8; 6]| mac.iter().fold(0, |value, byte| value << 8 | u128::from(*byte));
        carried.set(Field::EthSrc, mac(headers.src_mac.0));
        carried.set(Field::EthDst, mac(headers.dst_mac.0));
        let (src, dst, hops) = match headers.packet.ether {
            EtherType::ARP => (Field::ArpSpa, Field::ArpTpa, None),
            EtherType::IPV6 => (Field::Ipv6Src, Field::Ipv6Dst, self.number(21, 1)),
            _ => (Field::Ipv4Src, Field::Ipv4Dst, self.number(22, 1)),
        };
        let value = |address| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        for (field, address) in [(src, headers.src), (dst, headers.dst)] {
            carried.set(field, address.map_or(0, value));
        }
        if headers.packet.ether == EtherType::ARP {
            carried.set(Field::ArpSha, self.number(22, 6).unwrap_or(0));
            carried.set(Field::ArpTha, self.number(32, 6).unwrap_or(0));
        } else {
            carried.set(Field::IpTtl, hops.unwrap_or(0));
        }
        self.neighbour(&headers.packet, &mut carried);
        carried
    }

    /// Fields of neighbour discovery (RFC 4861, 4.3 and 4.4), behind 14 bytes of Ethernet and 40 of
    /// IPv6.
    fn neighbour(&self, packet: &Packet, carried: &mut Carried) {
        if packet.proto != proto::ICMPV6 || !matches!(packet.icmp_type, 135 | 136) {
            return;
        }
        let kind = self.number(78, 1).unwrap_or(0);
        let mac = self.number(80, 6).unwrap_or(0);
        carried.set(Field::NdReserved, self.number(58, 4).unwrap_or(0));
        carried.set(Field::NdTarget, self.number(62, 16).unwrap_or(0));
        carried.set(Field::NdOptionsType, kind);
        carried.set(if kind == 1 { Field::NdSll } else { Field::NdTll }, mac);
    }

    fn number(&self, at: usize, count: usize) -> Option<u128> {
        let bytes = self.frame.get(at..at + count)?;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u128::from(*byte)))
    }
}

/// What was decided: as the registers say it, or, where a packet ended before there was anything to
/// write down, as the cookie of a flow that it met.
fn opinion(reason: u32, rule: u32, cookies: &[u64]) -> Result<Opinion> {
    let code = |code: u32| u8::try_from(code).ok().and_then(Reason::from_code);
    let counted = || cookies.iter().rev().find_map(|cookie| cookie::reason_of(*cookie));
    let nobody = || format!("no flow that it met says why; the reason left is {reason}");
    let reason =
        code(reason).or_else(counted).ok_or_else(|| refused("judge a packet", nobody()))?;
    Ok(Opinion { reason, rule: (rule != 0).then_some(RuleId(rule)) })
}
