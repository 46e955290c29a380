//! The packet as policy sees it: the headers a filter entry can name, nothing else.

use serde::{Deserialize, Serialize};

/// An Ethernet type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP.
    pub const ARP: EtherType = EtherType(0x0806);
    /// IPv6.
    pub const IPV6: EtherType = EtherType(0x86dd);

    /// Whether this is IPv4 or IPv6.
    pub fn is_ip(self) -> bool {
        self == EtherType::IPV4 || self == EtherType::IPV6
    }
}

/// IP protocol numbers that policy knows by name (IANA).
pub mod proto {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// The flag byte of a TCP header.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender has finished.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// First packet of a connection.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// The connection is refused or cut.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// The acknowledgement number counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);

    /// Whether every flag of `other` is set here.
    pub fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set here.
    pub fn intersects(self, other: TcpFlags) -> bool {
        self.0 & other.0 != 0
    }
}

/// One packet's headers, in host byte order. Fields that its protocol lacks are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Packet {
    /// Ethernet type.
    pub ether: EtherType,
    /// IP protocol (the last one of an IPv6 header chain).
    pub proto: u8,
    /// Differentiated services code point of an IP packet (RFC 2474), 0 to 63.
    #[serde(default)]
    pub dscp: u8,
    /// TCP, UDP or SCTP source port.
    pub sport: u16,
    /// TCP, UDP or SCTP destination port.
    pub dport: u16,
    /// TCP flags.
    pub tcp_flags: TcpFlags,
    /// ICMP or ICMPv6 type.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code.
    pub icmp_code: u8,
    /// ARP operation.
    pub arp_op: u16,
    /// A fragment other than the first: it carries no ports, flags or ICMP type.
    pub later_fragment: bool,
}

impl Packet {
    /// A packet of this IP protocol without ports.
    pub fn ip(ether: EtherType, proto: u8) -> Packet {
        Packet {
            ether,
            proto,
            dscp: 0,
            sport: 0,
            dport: 0,
            tcp_flags: TcpFlags(0),
            icmp_type: 0,
            icmp_code: 0,
            arp_op: 0,
            later_fragment: false,
        }
    }

    /// The first packet of a TCP connection.
    pub fn tcp_syn(ether: EtherType, sport: u16, dport: u16) -> Packet {
        Packet { sport, dport, tcp_flags: TcpFlags::SYN, ..Packet::ip(ether, proto::TCP) }
    }

    /// A UDP datagram.
    pub fn udp(ether: EtherType, sport: u16, dport: u16) -> Packet {
        Packet { sport, dport, ..Packet::ip(ether, proto::UDP) }
    }

    /// An echo request of the ICMP that belongs to `ether`.
    pub fn echo_request(ether: EtherType) -> Packet {
        let (proto, icmp_type) =
            if ether == EtherType::IPV6 { (proto::ICMPV6, 128) } else { (proto::ICMP, 8) };
        Packet { icmp_type, ..Packet::ip(ether, proto) }
    }

    /// Whether the protocol has ports, and this packet carries them.
    pub fn has_ports(&self) -> bool {
        matches!(self.proto, proto::TCP | proto::UDP | proto::SCTP) && !self.later_fragment
    }
}
