//! Flows as `ovs-ofctl` writes them: for people, and for what the switch daemon is asked in words.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::action::{Action, Bits, Controller, Ct, Zone, port};
use super::field::{Field, Form, frag};
use super::flow::Flow;
use super::matches::{Masked, Match};

/// The priority that is not written.
const DEFAULT_PRIORITY: u16 = 32768;

const CT_STATES: &[&str] = &["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];

const TCP_FLAGS: &[&str] =
    &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cookie != 0 {
            write!(f, "cookie={:#x}, ", self.cookie)?;
        }
        if self.table != 0 {
            write!(f, "table={}, ", self.table)?;
        }
        for (name, seconds) in
            [("idle_timeout", self.idle_timeout), ("hard_timeout", self.hard_timeout)]
        {
            if seconds != 0 {
                write!(f, "{name}={seconds}, ")?;
            }
        }
        let mut words = String::new();
        if self.priority != DEFAULT_PRIORITY {
            write!(words, "priority={},", self.priority)?;
        }
        write!(words, "{}", self.matches)?;
        let words = words.trim_end_matches(',');
        write!(f, "{words}{}actions=", if words.is_empty() { "" } else { " " })?;
        if self.actions.is_empty() { f.write_str("drop") } else { list(f, &self.actions) }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |field| self.get(field).map(|masked: Masked| masked.value);
        let kind = kind_of(known(Field::EthType), known(Field::IpProto));
        let mut words = Vec::new();
        // An Ethernet type without a name of its own goes behind the addresses.
        let mut number = None;
        for (field, masked) in self.iter() {
            if field > Field::EthDst {
                words.extend(number.take());
            }
            match (field, kind) {
                (Field::EthType, Some((name, _))) => words.push(name.to_owned()),
                (Field::EthType, None) => number = Some(format!("dl_type={:#06x}", masked.value)),
                (Field::IpProto, Some((_, true))) => {}
                (Field::VlanTci, _) => tag(&mut words, masked),
                _ => words.push(format!("{}={}", name_of(field), of_match(field, masked))),
            }
        }
        words.extend(number);
        f.write_str(&words.join(","))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Output(to) => match port_name(*to) {
                Some(name) => f.write_str(name),
                None => write!(f, "output:{to}"),
            },
            Action::OutputField(bits) => write!(f, "output:{bits}"),
            Action::Controller(controller) => controller.fmt(f),
            Action::Set { field, value, mask } => {
                let masked = Masked { value: *value, mask: *mask };
                write!(f, "set_field:{}->{}", of_action(*field, masked), field.name())
            }
            Action::Move { from, to } => write!(f, "move:{from}->{to}"),
            Action::DecTtl => f.write_str("dec_ttl"),
            Action::Resubmit { in_port: None, table } => write!(f, "resubmit(,{table})"),
            Action::Resubmit { in_port: Some(port), table } => {
                write!(f, "resubmit({port},{table})")
            }
            Action::Ct(ct) => ct.fmt(f),
            Action::CtClear => f.write_str("ct_clear"),
            Action::Clone(actions) => {
                f.write_str("clone(")?;
                list(f, actions)?;
                f.write_str(")")
            }
            Action::Conjunction { id, clause, clauses } => {
                write!(f, "conjunction({id},{}/{clauses})", u16::from(*clause) + 1)
            }
            Action::Group(group) => write!(f, "group:{group}"),
            Action::PushVlan(ether) => write!(f, "push_vlan:{ether:#x}"),
            Action::PopVlan => f.write_str("pop_vlan"),
            Action::Note(bytes) => write!(f, "note:{}", dotted(bytes)),
            Action::Other(bytes) => write!(f, "unknown({})", dotted(bytes)),
            Action::Meter(meter) => write!(f, "meter:{meter}"),
            Action::WriteMetadata { value, mask } => {
                write!(f, "write_metadata:{}", hex((*value).into()))?;
                if *mask == u64::MAX { Ok(()) } else { write!(f, "/{}", hex((*mask).into())) }
            }
            Action::Goto(table) => write!(f, "goto_table:{table}"),
        }
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.nxm_name())?;
        match (self.start, self.count) {
            (0, count) if u32::from(count) == self.field.bits() => f.write_str("[]"),
            (start, 1) => write!(f, "[{start}]"),
            (start, count) => write!(f, "[{start}..{}]", u32::from(start + count) - 1),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.userdata.is_empty() && self.meter.is_none() {
            return write!(f, "CONTROLLER:{}", self.max_len);
        }
        let mut words = Vec::new();
        if self.max_len != 0xffff {
            words.push(format!("max_len={}", self.max_len));
        }
        if !self.userdata.is_empty() {
            words.push(format!("userdata={}", dotted(&self.userdata)));
        }
        words.extend(self.meter.map(|meter| format!("meter_id={meter}")));
        write!(f, "controller({})", words.join(","))
    }
}

impl fmt::Display for Ct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.commit {
            words.push("commit".to_owned());
        }
        if self.force {
            words.push("force".to_owned());
        }
        words.extend(self.table.map(|table| format!("table={table}")));
        match self.zone {
            Zone::Number(0) => {}
            Zone::Number(zone) => words.push(format!("zone={zone}")),
            Zone::Field(bits) => words.push(format!("zone={bits}")),
        }
        if !self.exec.is_empty() {
            let exec: Vec<String> = self.exec.iter().map(ToString::to_string).collect();
            words.push(format!("exec({})", exec.join(",")));
        }
        write!(f, "ct({})", words.join(","))
    }
}

fn list(f: &mut fmt::Formatter<'_>, actions: &[Action]) -> fmt::Result {
    for (number, action) in actions.iter().enumerate() {
        write!(f, "{}{action}", if number == 0 { "" } else { "," })?;
    }
    Ok(())
}

/// The word for an Ethernet type, and whether it says the IP protocol too.
fn kind_of(ether: Option<u128>, proto: Option<u128>) -> Option<(&'static str, bool)> {
    Some(match (ether?, proto) {
        (0x0800, Some(1)) => ("icmp", true),
        (0x0800, Some(6)) => ("tcp", true),
        (0x0800, Some(17)) => ("udp", true),
        (0x0800, Some(132)) => ("sctp", true),
        (0x0800, _) => ("ip", false),
        (0x86dd, Some(58)) => ("icmp6", true),
        (0x86dd, Some(6)) => ("tcp6", true),
        (0x86dd, Some(17)) => ("udp6", true),
        (0x86dd, Some(132)) => ("sctp6", true),
        (0x86dd, _) => ("ipv6", false),
        (0x0806, _) => ("arp", false),
        (0x8035, _) => ("rarp", false),
        _ => return None,
    })
}

/// The name of a field in a match, where it differs from its own.
fn name_of(field: Field) -> &'static str {
    match field {
        Field::InPort => "in_port",
        Field::EthSrc => "dl_src",
        Field::EthDst => "dl_dst",
        Field::EthType => "dl_type",
        Field::Ipv4Src => "nw_src",
        Field::Ipv4Dst => "nw_dst",
        Field::IpDscp => "nw_tos",
        Field::IpFrag => "nw_frag",
        Field::Icmpv6Type => "icmp_type",
        Field::Icmpv6Code => "icmp_code",
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => "tp_src",
        Field::TcpDst | Field::UdpDst | Field::SctpDst => "tp_dst",
        field => field.name(),
    }
}

/// A VLAN tag: by its parts where they are whole.
fn tag(words: &mut Vec<String>, Masked { value, mask }: Masked) {
    let (vid, pcp, there) = (mask & 0x0fff, mask & 0xe000, mask & value & 0x1000);
    if there != 0 && matches!(vid, 0 | 0xfff) && matches!(pcp, 0 | 0xe000) && vid | pcp != 0 {
        if vid != 0 {
            words.push(format!("dl_vlan={}", value & 0x0fff));
        }
        if pcp != 0 {
            words.push(format!("dl_vlan_pcp={}", value >> 13));
        }
    } else if mask == 0xffff {
        words.push(format!("vlan_tci={value:#06x}"));
    } else {
        words.push(format!("vlan_tci={value:#06x}/{mask:#06x}"));
    }
}

/// A value in a match.
fn of_match(field: Field, masked: Masked) -> String {
    let Masked { value, mask } = masked;
    let whole = mask == field.full_mask();
    match (field, field.form()) {
        (Field::IpDscp, _) => (value << 2).to_string(),
        (Field::CtZone, _) if whole => value.to_string(),
        (Field::Ipv6Label, _) if whole => format!("{value:#07x}"),
        (Field::Ipv6Label, _) => format!("{value:#07x}/{mask:#07x}"),
        (_, Form::Decimal) if !whole => format!("{value:#x}/{mask:#x}"),
        _ => of_action(field, masked),
    }
}

/// A value in an action.
fn of_action(field: Field, Masked { value, mask }: Masked) -> String {
    let whole = mask == field.full_mask();
    let masked = |text: fn(u128) -> String| {
        if whole { text(value) } else { format!("{}/{}", text(value), text(mask)) }
    };
    match field.form() {
        Form::Decimal if whole => value.to_string(),
        Form::Decimal => format!("{value}/{}", hex(mask)),
        Form::Hex => masked(hex),
        Form::Mac => masked(mac),
        Form::Ipv4 => address(value, mask, 32, ipv4),
        Form::Ipv6 => address(value, mask, 128, ipv6),
        Form::CtState => flags(CT_STATES, value, mask, field.used_mask()),
        Form::TcpFlags => flags(TCP_FLAGS, value, mask, field.full_mask()),
        Form::Frag => fragment(value, mask).to_owned(),
        Form::Port => {
            let to = u32::try_from(value).unwrap_or(port::NONE);
            port_name(to).map_or_else(|| to.to_string(), str::to_owned)
        }
    }
}

/// As C's `%#x`: 0 has no prefix.
fn hex(value: u128) -> String {
    if value == 0 { "0".to_owned() } else { format!("{value:#x}") }
}

fn mac(value: u128) -> String {
    let bytes = value.to_be_bytes();
    let bytes: Vec<String> = bytes.iter().skip(10).map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

fn ipv4(value: u128) -> String {
    Ipv4Addr::from_bits(u32::try_from(value).unwrap_or(0)).to_string()
}

fn ipv6(value: u128) -> String {
    Ipv6Addr::from_bits(value).to_string()
}

/// An address with its mask, as a length where it is a prefix.
fn address(value: u128, mask: u128, bits: u32, text: fn(u128) -> String) -> String {
    let ones = mask.count_ones();
    let prefix = mask.trailing_zeros() + ones == bits;
    match (prefix, ones) {
        (true, ones) if ones == bits => text(value),
        (true, ones) => format!("{}/{ones}", text(value)),
        _ => format!("{}/{}", text(value), text(mask)),
    }
}

fn flags(names: &[&str], value: u128, mask: u128, all: u128) -> String {
    let set = |bits: u128, number: usize| bits >> number & 1 == 1;
    let counting = names.iter().enumerate().filter(|(number, _)| set(mask, *number));
    if mask & all == all {
        let on: Vec<&str> =
            counting.filter(|(number, _)| set(value, *number)).map(|(_, name)| *name).collect();
        return if on.is_empty() { "0".to_owned() } else { on.join("|") };
    }
    counting.fold(String::new(), |text, (number, name)| {
        text + if set(value, number) { "+" } else { "-" } + name
    })
}

fn fragment(value: u128, mask: u128) -> &'static str {
    let (any, later) = (u128::from(frag::ANY), u128::from(frag::LATER));
    let has = |bit| value & bit != 0;
    match (mask & any != 0, mask & later != 0) {
        (true, true) if has(any) && has(later) => "later",
        (true, true) if has(later) => "<error>",
        (true, true) if has(any) => "first",
        (true, false) if has(any) => "yes",
        (true, _) => "no",
        (false, _) if has(later) => "later",
        (false, _) => "not_later",
    }
}

fn dotted(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(".")
}

fn port_name(to: u32) -> Option<&'static str> {
    Some(match to {
        port::IN_PORT => "IN_PORT",
        port::CONTROLLER => "CONTROLLER",
        port::LOCAL => "LOCAL",
        0xffff_fff9 => "TABLE",
        0xffff_fffa => "NORMAL",
        0xffff_fffb => "FLOOD",
        0xffff_fffc => "ALL",
        _ => return None,
    })
}
