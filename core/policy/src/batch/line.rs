//! The lines: endpoints as they are told, packets as they are asked about.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_rules::{EtherType, Packet, TcpFlags, proto};
use serde::Deserialize;

use super::BatchError;
use super::names::{ARP_OPERATIONS, FLAGS, ICMP_TYPES, ICMPV6_TYPES, NameOrNumber, PROTOCOLS};
use crate::trace;

/// An endpoint, as it is told: attached to an EPG, or an address outside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// What flows call it.
    pub name: String,
    /// DN of the EPG it is attached to.
    #[serde(default)]
    pub epg: Option<String>,
    /// Its address, where it is outside.
    #[serde(default)]
    pub external: Option<IpAddr>,
    /// Its addresses.
    #[serde(default)]
    pub ip: OneOrMany<IpAddr>,
    /// Its MAC.
    #[serde(default)]
    pub mac: Option<String>,
    /// DN of the VRF, of one outside.
    #[serde(default)]
    pub vrf: Option<String>,
    /// DN of the L3Out it is behind, of one outside.
    #[serde(default)]
    pub l3out: Option<String>,
    /// What membership by attribute may look at.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Any number.
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> OneOrMany<T> {
        OneOrMany::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

/// A packet that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who sends it: name of an endpoint, or an address.
    pub from: String,
    /// Who is to get it, likewise.
    pub to: String,
    /// `ipv4` (the default), `ipv6` or `arp`.
    #[serde(default)]
    pub ether: Ether,
    /// Name or number of the IP protocol.
    #[serde(default)]
    pub proto: Option<NameOrNumber>,
    /// Source port; a client's where it is not said.
    #[serde(default)]
    pub sport: Option<u16>,
    /// Destination port.
    #[serde(default)]
    pub dport: Option<u16>,
    /// TCP flags, such as `syn,ack`; by `state` where they are not said.
    #[serde(default)]
    pub tcp_flags: Option<Flags>,
    /// ICMP type.
    #[serde(default)]
    pub icmp_type: Option<NameOrNumber>,
    /// ICMP code.
    #[serde(default)]
    pub icmp_code: Option<u8>,
    /// `req`, `reply`, or the number.
    #[serde(default)]
    pub arp_opcode: Option<NameOrNumber>,
    /// A fragment other than the first.
    #[serde(default)]
    pub fragment: bool,
    /// The first packet, or a reply on a connection.
    #[serde(default)]
    pub state: State,
    /// Anything; the answer does not look at it.
    #[serde(default)]
    pub id: Option<NameOrNumber>,
    /// Anything; the answer does not look at it.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Ethernet types that are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ether {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
    /// ARP.
    Arp,
}

/// Where a packet stands in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The first packet.
    #[default]
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
    /// The packet it is about.
    ///
    /// # Errors
    /// When a word in it means nothing.
    pub fn packet(&self) -> Result<Packet, BatchError> {
        let ether = match self.ether {
            Ether::Ipv4 => EtherType::IPV4,
            Ether::Ipv6 => EtherType::IPV6,
            Ether::Arp => EtherType::ARP,
        };
        let number = if ether == EtherType::ARP { 0 } else { self.protocol()? };
        let mut packet = Packet::ip(ether, number);
        packet.later_fragment = self.fragment;
        if packet.later_fragment {
            return Ok(packet);
        }
        if packet.has_ports() {
            // A reply goes to the port that a client would have.
            let (sport, dport) = match self.state {
                State::New => (trace::CLIENT_PORT, 0),
                State::Established => (0, trace::CLIENT_PORT),
            };
            packet.sport = self.sport.unwrap_or(sport);
            packet.dport = self.dport.unwrap_or(dport);
        }
        if number == proto::TCP {
            packet.tcp_flags = self.flags()?;
        }
        if matches!(number, proto::ICMP | proto::ICMPV6) {
            packet.icmp_type = self.icmp_type(number)?;
            packet.icmp_code = self.icmp_code.unwrap_or(0);
        }
        if ether == EtherType::ARP {
            packet.arp_op = match &self.arp_opcode {
                Some(opcode) => opcode.read("ARP operation", ARP_OPERATIONS)?,
                None => 1,
            };
        }
        Ok(packet)
    }

    fn protocol(&self) -> Result<u8, BatchError> {
        let Some(written) = &self.proto else {
            return Err(BatchError::NoSuch { what: "protocol", text: String::new() });
        };
        let number: u8 = written.read("protocol", PROTOCOLS)?;
        // People say `icmp` of both families.
        Ok(if number == proto::ICMP && self.ether == Ether::Ipv6 { proto::ICMPV6 } else { number })
    }

    fn icmp_type(&self, number: u8) -> Result<u8, BatchError> {
        let (request, reply) = if number == proto::ICMP { (8, 0) } else { (128, 129) };
        match &self.icmp_type {
            Some(written) if number == proto::ICMP => written.read("ICMP type", ICMP_TYPES),
            Some(written) => written.read("ICMPv6 type", ICMPV6_TYPES),
            None if self.state == State::New => Ok(request),
            None => Ok(reply),
        }
    }

    fn flags(&self) -> Result<TcpFlags, BatchError> {
        let words: Vec<&str> = match &self.tcp_flags {
            None if self.state == State::New => return Ok(TcpFlags::SYN),
            None => return Ok(TcpFlags::ACK),
            Some(Flags::Byte(byte)) => return Ok(TcpFlags(*byte)),
            Some(Flags::Text(text)) => text.split([',', '|', '+', ' ']).collect(),
            Some(Flags::List(list)) => list.iter().map(String::as_str).collect(),
        };
        let mut flags = 0;
        for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
            let known = FLAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            let Some((_, bit)) = known else {
                return Err(BatchError::NoSuch { what: "TCP flag", text: word.to_owned() });
            };
            flags |= bit;
        }
        Ok(TcpFlags(flags))
    }
}
