//! The lines: packets as they are asked about.

use std::collections::BTreeMap;

use selvage_rules::{EtherType, Packet, TcpFlags, proto};
use serde::Deserialize;
use serde_json::Value;

use super::BatchError;
use super::names::{
    ARP_OPERATIONS, CODE_POINTS, ETHER_TYPES, FLAGS, ICMP_TYPES, ICMPV6_TYPES, NameOrNumber, PORTS,
    PROTOCOLS,
};
use super::told::{no_such, unknown_fields};
use crate::trace;

/// What the fields of a question are called.
const FIELDS: [&str; 14] = [
    "arp_opcode",
    "dport",
    "dscp",
    "ether",
    "fragment",
    "from",
    "icmp_code",
    "icmp_type",
    "proto",
    "sport",
    "state",
    "tcp_flags",
    "to",
    "comment",
];

/// A packet that is asked about.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Question {
    /// Who sends it: name of an endpoint, or an address.
    pub from: String,
    /// Who is to get it, likewise.
    pub to: String,
    /// `ipv4`, `ipv6`, `arp`, or another Ethernet type; by the ends' addresses where it is not said.
    #[serde(default, alias = "etherT", alias = "ethertype", alias = "ether_type")]
    pub ether: Option<NameOrNumber>,
    /// Name or number of the IP protocol; none in particular where it is not said.
    #[serde(default, alias = "prot", alias = "protocol")]
    pub proto: Option<NameOrNumber>,
    /// Source port; a client's where it is not said.
    #[serde(default, alias = "src_port")]
    pub sport: Option<NameOrNumber>,
    /// Destination port.
    #[serde(default, alias = "dst_port")]
    pub dport: Option<NameOrNumber>,
    /// TCP flags, such as `syn,ack`; by `state` where they are not said.
    #[serde(default, alias = "flags", alias = "tcpFlags")]
    pub tcp_flags: Option<Flags>,
    /// ICMP type.
    #[serde(default, alias = "icmpType")]
    pub icmp_type: Option<NameOrNumber>,
    /// ICMP code.
    #[serde(default, alias = "icmpCode")]
    pub icmp_code: Option<NameOrNumber>,
    /// `req`, `reply`, or the number.
    #[serde(default, alias = "arp_op", alias = "arpOpc")]
    pub arp_opcode: Option<NameOrNumber>,
    /// Differentiated services code point.
    #[serde(default)]
    pub dscp: Option<NameOrNumber>,
    /// A fragment other than the first.
    #[serde(default, alias = "frag")]
    pub fragment: Option<bool>,
    /// `new`, the first packet, or `established`, a reply on a connection that the receiver opened.
    #[serde(default)]
    pub state: Option<String>,
    /// Whatever else is said. The answer does not look at it, unless it looks like a field misspelt.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Where a packet stands in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The first packet.
    New,
    /// A reply to a connection that the receiver opened.
    Established,
}

/// TCP flags in any of the forms people write.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Flags {
    /// The flag byte.
    Byte(u8),
    /// `syn,ack` or `syn|ack`.
    Text(String),
    /// `["syn", "ack"]`.
    List(Vec<String>),
}

impl Question {
    /// The packet it is about, where the ends have addresses of `family`.
    pub(super) fn packet(&self, family: EtherType) -> Result<Packet, BatchError> {
        unknown_fields(&self.rest, &FIELDS)?;
        let said = match &self.ether {
            None => None,
            Some(written) => written.read::<u16>("Ethernet type", ETHER_TYPES)?,
        };
        let named = self.protocol()?;
        let ether = match said {
            Some(ether) => EtherType(ether),
            None if named == proto::ICMPV6 => EtherType::IPV6,
            None => family,
        };
        // People say `icmp` of both families.
        let number = match named {
            _ if !ether.is_ip() => 0,
            proto::ICMP if ether == EtherType::IPV6 => proto::ICMPV6,
            other => other,
        };
        let mut packet = Packet::ip(ether, number);
        if let Some(written) = &self.dscp
            && ether.is_ip()
        {
            let dscp: u8 = written.read("code point", CODE_POINTS)?.unwrap_or(0);
            packet.dscp =
                Some(dscp).filter(|d| *d < 64).ok_or_else(|| written.bad("code point"))?;
        }
        packet.later_fragment = self.fragment.unwrap_or(false);
        if packet.later_fragment {
            return Ok(packet);
        }
        self.fill(&mut packet)?;
        Ok(packet)
    }

    pub(super) fn state(&self) -> Result<State, BatchError> {
        match self.state.as_deref().unwrap_or("new").to_ascii_lowercase().as_str() {
            "new" | "first" | "" => Ok(State::New),
            "established" | "est" | "reply" => Ok(State::Established),
            other => Err(no_such("state; `new` and `established` are", other)),
        }
    }

    /// What the protocol has beyond the IP header.
    fn fill(&self, packet: &mut Packet) -> Result<(), BatchError> {
        let state = self.state()?;
        let port = |written: &Option<NameOrNumber>, usual| match written {
            None => Ok(usual),
            Some(written) => Ok(written.read("port", PORTS)?.unwrap_or(usual)),
        };
        // A reply goes to the port that a client would have.
        let (sport, dport) = match state {
            State::New => (trace::CLIENT_PORT, 0),
            State::Established => (0, trace::CLIENT_PORT),
        };
        let (sport, dport) = (port(&self.sport, sport)?, port(&self.dport, dport)?);
        if packet.has_ports() {
            (packet.sport, packet.dport) = (sport, dport);
        } else if packet.proto == 0 && packet.ether.is_ip() {
            let says_port = [&self.sport, &self.dport].into_iter().flatten().next();
            says_port.map_or(Ok(()), |_| Err(BatchError::PortsOfWhat))?;
        }
        if packet.proto == proto::TCP {
            packet.tcp_flags = self.flags(state)?;
        }
        if matches!(packet.proto, proto::ICMP | proto::ICMPV6) {
            packet.icmp_type = self.icmp_type(packet.proto, state)?;
            let code =
                self.icmp_code.as_ref().map(|code| code.read("ICMP code", &[])).transpose()?;
            packet.icmp_code = code.flatten().unwrap_or(0);
        }
        if packet.ether == EtherType::ARP {
            let said = self.arp_opcode.as_ref().map(|op| op.read("ARP operation", ARP_OPERATIONS));
            packet.arp_op = said.transpose()?.flatten().unwrap_or(match state {
                State::New => 1,
                State::Established => 2,
            });
        }
        Ok(())
    }

    fn protocol(&self) -> Result<u8, BatchError> {
        let Some(written) = &self.proto else { return Ok(0) };
        Ok(written.read("protocol", PROTOCOLS)?.unwrap_or(0))
    }

    fn icmp_type(&self, number: u8, state: State) -> Result<u8, BatchError> {
        let (request, reply) = if number == proto::ICMP { (8, 0) } else { (128, 129) };
        let said = match &self.icmp_type {
            Some(written) if number == proto::ICMP => written.read("ICMP type", ICMP_TYPES)?,
            Some(written) => written.read("ICMPv6 type", ICMPV6_TYPES)?,
            None => None,
        };
        Ok(said.unwrap_or(if state == State::New { request } else { reply }))
    }

    fn flags(&self, state: State) -> Result<TcpFlags, BatchError> {
        let words: Vec<&str> = match &self.tcp_flags {
            None if state == State::New => return Ok(TcpFlags::SYN),
            None => return Ok(TcpFlags::ACK),
            Some(Flags::Byte(byte)) => return Ok(TcpFlags(*byte)),
            Some(Flags::Text(text)) => text.split([',', '|', '+', ' ', '-', '/', '&']).collect(),
            Some(Flags::List(list)) => list.iter().map(String::as_str).collect(),
        };
        let mut flags = 0;
        for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
            let known = FLAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            flags |= match known {
                Some((_, bits)) => *bits,
                None => letters(word).ok_or_else(|| no_such("TCP flag", word))?,
            };
        }
        Ok(TcpFlags(flags))
    }
}

/// Flags by their initials, as `SA`, or a number in quotes.
fn letters(word: &str) -> Option<u8> {
    if let Some(hex) = word.strip_prefix("0x") {
        return u8::from_str_radix(hex, 16).ok();
    }
    if let Ok(byte) = word.parse() {
        return Some(byte);
    }
    let bit = |letter: char| {
        let mut named = FLAGS.iter().filter(|(name, _)| name.len() == 3);
        named.find(|(name, _)| name.starts_with(letter.to_ascii_lowercase())).map(|(_, bit)| *bit)
    };
    word.chars().filter(|letter| *letter != '.').map(bit).try_fold(0, |all, bit| Some(all | bit?))
}
