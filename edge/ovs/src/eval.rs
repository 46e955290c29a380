//! The flows, evaluated in Rust: what a switch does with them, step by step. Pure.
//!
//! The third of the judges: it shares with the switch the flows themselves, and with
//! [`selvage_rules::Table::judge`] the answer, which a property test holds them to. The connection
//! tracker is not modelled: what it knows of a packet is given ([`Tracked`]).

use std::collections::BTreeMap;

use selvage_rules::{
    Action as Permission, ClassId, EtherType, Packet, Reason, RuleId, ScopeId, Verdict, proto,
};

use crate::difference::Flows;
use crate::openflow::{Action, Bits, Field, Flow, frag};
use crate::tables::{Stage, flag, reg};

/// More resubmissions than any packet needs.
const MOST_STEPS: u32 = 1000;

/// The tables of a bridge, each with its highest priority first.
#[derive(Debug, Clone, Default)]
pub struct Tables<'a> {
    tables: BTreeMap<u8, Vec<&'a Flow>>,
}

/// What a packet carries: headers, registers and what the switch knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    fields: BTreeMap<Field, u128>,
}

/// What the connection tracker says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracked {
    /// Bits of [`crate::openflow::ct_state`].
    pub state: u32,
    /// IP protocol of the packet that opened the connection.
    pub proto: u8,
    /// Its source port, or its ICMP type.
    pub from: u16,
    /// Its destination port, or its ICMP code.
    pub to: u16,
    /// Its code point.
    pub dscp: u8,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What it carried at its end.
    pub carried: Carried,
    /// The stages it met, in order.
    pub path: Vec<u8>,
    /// Cookie of the last flow it met.
    pub cookie: u64,
    /// Ports it left by.
    pub sent: Vec<u32>,
    /// Its connection was kept.
    pub committed: bool,
    /// We were told of it.
    pub told: bool,
}

impl<'a> Tables<'a> {
    /// Of these flows.
    pub fn new(flows: &'a Flows) -> Tables<'a> {
        let mut tables: BTreeMap<u8, Vec<&Flow>> = BTreeMap::new();
        for flow in flows.values() {
            tables.entry(flow.table).or_default().push(flow);
        }
        for flows in tables.values_mut() {
            flows.sort_by_key(|flow| std::cmp::Reverse(flow.priority));
        }
        Tables { tables }
    }

    /// The verdict a packet gets, as if no connection were known.
    pub fn judge(&self, scope: ScopeId, src: ClassId, dst: ClassId, packet: &Packet) -> Verdict {
        let mut carried = Carried::of(packet);
        carried.set(reg::SCOPE, scope.0.into());
        carried.set(reg::SRC, src.0.into());
        carried.set(reg::DST, dst.0.into());
        self.run(carried, Stage::Forward, Tracked::default()).verdict()
    }

    /// Follows a packet from `stage` to its end.
    pub fn run(&self, carried: Carried, stage: Stage, tracked: Tracked) -> Outcome {
        let mut outcome = Outcome { carried, ..Outcome::default() };
        let mut steps = MOST_STEPS;
        self.follow(stage.table(), tracked, &mut outcome, &mut steps);
        outcome
    }

    fn follow(&self, table: u8, tracked: Tracked, outcome: &mut Outcome, steps: &mut u32) {
        let Some(left) = steps.checked_sub(1) else { return };
        *steps = left;
        outcome.path.push(table);
        let flows = self.tables.get(&table).map(Vec::as_slice).unwrap_or_default();
        let Some(flow) = flows.iter().find(|flow| outcome.carried.is_matched_by(flow)) else {
            return;
        };
        outcome.cookie = flow.cookie;
        for action in &flow.actions {
            match action {
                Action::Goto(next) => self.follow(*next, tracked, outcome, steps),
                Action::Resubmit { table, .. } => self.follow(*table, tracked, outcome, steps),
                Action::Ct(ct) => {
                    outcome.committed |= ct.commit;
                    if let Some(next) = ct.table {
                        outcome.carried.track(tracked);
                        self.follow(next, tracked, outcome, steps);
                    }
                }
                simple => outcome.take(simple),
            }
        }
    }
}

impl Outcome {
    fn take(&mut self, action: &Action) {
        match action {
            Action::Set { field, value, mask } => {
                let held = self.carried.get(*field);
                self.carried.set(*field, held & !mask | value & mask);
            }
            Action::Move { from, to } => {
                let value = self.carried.bits(*from);
                self.carried.set_bits(*to, value);
            }
            Action::DecTtl => {
                let hops = self.carried.get(Field::IpTtl);
                self.carried.set(Field::IpTtl, hops.saturating_sub(1));
            }
            Action::Output(port) => self.sent.push(*port),
            Action::OutputField(bits) => self.sent.push(self.carried.bits(*bits) as u32),
            Action::Controller(_) => self.told = true,
            _ => {}
        }
    }

    /// Whether it came to this stage.
    pub fn met(&self, stage: Stage) -> bool {
        self.path.contains(&stage.table())
    }

    /// What was decided, as the registers say it.
    pub fn verdict(&self) -> Verdict {
        let number = |field| self.carried.get(field) as u32;
        let flags = number(reg::FLAGS);
        let reason = Reason::from_code(number(reg::REASON) as u8).unwrap_or(Reason::Malformed);
        let permit = self.met(Stage::Permit);
        // Nobody says of a later fragment that no rule was for it: it says why none could be.
        let reason = if reason == Reason::Fragment { Reason::NoContract } else { reason };
        Verdict {
            action: if permit { Permission::Permit } else { Permission::Deny },
            reason,
            rule: Some(number(reg::RULE)).filter(|rule| *rule != 0).map(RuleId),
            stateful: permit && flags & flag::STATEFUL != 0,
            log: flags & flag::LOG != 0,
        }
    }
}

impl Carried {
    /// The headers that policy sees.
    pub fn of(packet: &Packet) -> Carried {
        let mut carried = Carried::default();
        carried.set(Field::EthType, packet.ether.0.into());
        if packet.ether == EtherType::ARP {
            carried.set(Field::ArpOp, packet.arp_op.into());
        }
        if !packet.ether.is_ip() {
            return carried;
        }
        // Of a later fragment of IPv6 a switch sees no more than that it is one.
        let hidden = packet.later_fragment && packet.ether == EtherType::IPV6;
        carried.set(Field::IpProto, if hidden { frag::HEADER } else { packet.proto }.into());
        carried.set(Field::IpDscp, packet.dscp.into());
        if packet.later_fragment {
            carried.set(Field::IpFrag, u128::from(frag::ANY | frag::LATER));
            return carried;
        }
        let two = match (packet.ether, packet.proto) {
            (_, proto::TCP) => {
                carried.set(Field::TcpFlags, packet.tcp_flags.0.into());
                Some((Field::TcpSrc, Field::TcpDst))
            }
            (_, proto::UDP) => Some((Field::UdpSrc, Field::UdpDst)),
            (_, proto::SCTP) => Some((Field::SctpSrc, Field::SctpDst)),
            (EtherType::IPV4, proto::ICMP) => {
                carried.set(Field::Icmpv4Type, packet.icmp_type.into());
                carried.set(Field::Icmpv4Code, packet.icmp_code.into());
                None
            }
            (EtherType::IPV6, proto::ICMPV6) => {
                carried.set(Field::Icmpv6Type, packet.icmp_type.into());
                carried.set(Field::Icmpv6Code, packet.icmp_code.into());
                None
            }
            _ => None,
        };
        if let Some((src, dst)) = two {
            carried.set(src, packet.sport.into());
            carried.set(dst, packet.dport.into());
        }
        carried
    }

    /// What a field holds; 0 where it was never set.
    pub fn get(&self, field: Field) -> u128 {
        match parts(field) {
            None => self.fields.get(&field).copied().unwrap_or_default(),
            Some(registers) => {
                registers.iter().fold(0, |value, part| value << 32 | self.get(*part))
            }
        }
    }

    /// Sets a field.
    pub fn set(&mut self, field: Field, value: u128) {
        match parts(field) {
            None => drop(self.fields.insert(field, value & field.full_mask())),
            Some(registers) => {
                for (place, part) in registers.iter().rev().enumerate() {
                    self.set(*part, value >> (32 * place) & 0xffff_ffff);
                }
            }
        }
    }

    fn bits(&self, bits: Bits) -> u128 {
        self.get(bits.field) >> bits.start & ones(bits.count)
    }

    fn set_bits(&mut self, bits: Bits, value: u128) {
        let mask = ones(bits.count) << bits.start;
        let held = self.get(bits.field);
        self.set(bits.field, held & !mask | value << bits.start & mask);
    }

    fn track(&mut self, tracked: Tracked) {
        self.set(Field::CtState, tracked.state.into());
        self.set(Field::CtNwProto, tracked.proto.into());
        self.set(Field::CtTpSrc, tracked.from.into());
        self.set(Field::CtTpDst, tracked.to.into());
        self.set(Field::CtMark, tracked.dscp.into());
    }

    fn is_matched_by(&self, flow: &Flow) -> bool {
        flow.matches.iter().all(|(field, masked)| self.get(field) & masked.mask == masked.value)
    }
}

fn ones(count: u16) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(count)).unwrap_or_default()
}

/// The registers that a wide one is made of, the most significant first.
fn parts(field: Field) -> Option<Vec<Field>> {
    let wide = [
        (Field::XReg0, 0, 2),
        (Field::XReg1, 2, 2),
        (Field::XReg2, 4, 2),
        (Field::XReg3, 6, 2),
        (Field::XReg4, 8, 2),
        (Field::XReg5, 10, 2),
        (Field::XReg6, 12, 2),
        (Field::XReg7, 14, 2),
        (Field::XxReg0, 0, 4),
        (Field::XxReg1, 4, 4),
        (Field::XxReg2, 8, 4),
        (Field::XxReg3, 12, 4),
    ];
    let (_, first, count) = wide.into_iter().find(|(wide, ..)| *wide == field)?;
    (first..first + count).map(Field::reg).collect()
}
