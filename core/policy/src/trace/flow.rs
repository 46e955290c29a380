//! Flows as people write them: `tcp/80`, `udp/dns`, `icmp`, `arp`.

use std::fmt;
use std::str::FromStr;

use selvage_rules::{EtherMatch, EtherType, Match, Packet, PortRange, TcpFlags, TcpMatch, proto};
use serde::Serialize;

/// The source port of the first packet of a flow, where none was given: one that clients use
/// (IANA's dynamic range begins at 49152).
pub(crate) const CLIENT_PORT: u16 = 49152;

const SERVICES: &[(&str, u16)] = &[
    ("ssh", 22),
    ("smtp", 25),
    ("dns", 53),
    ("http", 80),
    ("pop3", 110),
    ("https", 443),
    ("rtsp", 554),
];

/// What somebody asks about: a protocol, and a port or type where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// A connection or datagram to a port.
    Port {
        /// TCP, UDP or SCTP.
        proto: u8,
        /// The destination port.
        port: u16,
    },
    /// An echo request, and its reply.
    Echo,
    /// Any packet of an IP protocol that has no ports.
    Protocol(u8),
    /// An ARP request, and its reply.
    Arp,
}

/// Text that names no flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFlowError {
    /// A protocol nobody knows.
    #[error("`{text}` is no flow; write tcp/PORT, udp/PORT, sctp/PORT, icmp, arp or ip/PROTOCOL")]
    Unknown {
        /// The text.
        text: String,
    },
    /// A protocol with ports, without one.
    #[error("`{text}` names no port; write for example `{text}/443`")]
    NoPort {
        /// The text.
        text: String,
    },
    /// A port that is none.
    #[error("`{port}` is no port; a port is a number from 1 to 65535, one at a time")]
    BadPort {
        /// The text.
        port: String,
    },
}

impl Flow {
    /// The flow's first packet in one address family. ARP is what it is in either.
    pub fn packet(self, ether: EtherType) -> Packet {
        match self {
            Flow::Port { proto: proto::TCP, port } => Packet::tcp_syn(ether, CLIENT_PORT, port),
            Flow::Port { proto, port } => Packet { proto, ..Packet::udp(ether, CLIENT_PORT, port) },
            Flow::Echo => Packet::echo_request(ether),
            Flow::Protocol(proto) => Packet::ip(ether, proto),
            Flow::Arp => Packet { arp_op: 1, ..Packet::ip(EtherType::ARP, 0) },
        }
    }

    /// The same flow as `packet` belongs to, for words about it.
    pub fn of(packet: &Packet) -> Flow {
        if packet.ether == EtherType::ARP {
            Flow::Arp
        } else if packet.has_ports() {
            Flow::Port { proto: packet.proto, port: packet.dport }
        } else if matches!(
            (packet.proto, packet.icmp_type),
            (proto::ICMP, 8) | (proto::ICMPV6, 128)
        ) {
            Flow::Echo
        } else {
            Flow::Protocol(packet.proto)
        }
    }
}

/// What the receiver of `packet` answers: ports exchanged, SYN with ACK, a request with a reply.
pub fn reply(packet: &Packet) -> Packet {
    let tcp_flags = if packet.proto == proto::TCP {
        TcpFlags(packet.tcp_flags.0 | TcpFlags::ACK.0)
    } else {
        packet.tcp_flags
    };
    let icmp_type = match (packet.proto, packet.icmp_type) {
        (proto::ICMP, 8) => 0,
        (proto::ICMPV6, 128) => 129,
        (_, other) => other,
    };
    let arp_op = if packet.arp_op == 1 { 2 } else { packet.arp_op };
    Packet { sport: packet.dport, dport: packet.sport, tcp_flags, icmp_type, arp_op, ..*packet }
}

impl FromStr for Flow {
    type Err = ParseFlowError;

    fn from_str(text: &str) -> Result<Flow, ParseFlowError> {
        let lower = text.trim().to_ascii_lowercase();
        let (name, rest) = match lower.split_once('/') {
            Some((name, rest)) => (name, Some(rest)),
            None => (lower.as_str(), None),
        };
        let with_port = |proto| match rest {
            Some(rest) => port(rest).map(|port| Flow::Port { proto, port }),
            None => Err(ParseFlowError::NoPort { text: name.to_owned() }),
        };
        match (name, rest) {
            ("tcp", _) => with_port(proto::TCP),
            ("udp", _) => with_port(proto::UDP),
            ("sctp", _) => with_port(proto::SCTP),
            ("icmp" | "ping" | "icmp6" | "icmpv6", None) => Ok(Flow::Echo),
            ("arp", None) => Ok(Flow::Arp),
            ("ip", Some(number)) => number
                .parse()
                .map(Flow::Protocol)
                .map_err(|_| ParseFlowError::Unknown { text: text.to_owned() }),
            _ => Err(ParseFlowError::Unknown { text: text.to_owned() }),
        }
    }
}

/// Reads a flow, and the address family it implies (`icmp6` is IPv6, the rest either).
///
/// # Errors
/// When the text names no flow.
pub fn parse_flow(text: &str) -> Result<(Flow, Option<EtherType>), ParseFlowError> {
    let flow: Flow = text.parse()?;
    let name = text.trim().to_ascii_lowercase();
    let family = matches!(name.as_str(), "icmp6" | "icmpv6").then_some(EtherType::IPV6);
    Ok((flow, family))
}

/// The port of a service that ACI has a word for.
pub(crate) fn service_port(name: &str) -> Option<u16> {
    SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

fn port(text: &str) -> Result<u16, ParseFlowError> {
    if let Some(port) = service_port(text) {
        return Ok(port);
    }
    let bad = || ParseFlowError::BadPort { port: text.to_owned() };
    text.parse().ok().filter(|port| *port != 0).ok_or_else(bad)
}

/// A protocol in the words flows are written in.
pub(crate) fn protocol_name(number: u8) -> String {
    match number {
        proto::ICMP => "icmp".to_owned(),
        proto::TCP => "tcp".to_owned(),
        proto::UDP => "udp".to_owned(),
        proto::ICMPV6 => "icmp6".to_owned(),
        proto::SCTP => "sctp".to_owned(),
        other => format!("ip/{other}"),
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Flow::Port { proto, port } => write!(f, "{}/{port}", protocol_name(proto)),
            Flow::Echo => f.write_str("icmp echo"),
            Flow::Protocol(proto) => f.write_str(&protocol_name(proto)),
            Flow::Arp => f.write_str("arp"),
        }
    }
}

/// What a rule matches, in the words flows are written in.
pub fn describe(matches: &Match) -> String {
    let mut words = match (matches.ether, matches.proto) {
        (_, Some(number)) => protocol_name(number),
        (EtherMatch::Any, None) => "everything".to_owned(),
        (EtherMatch::Ip, None) => "all IP".to_owned(),
        (EtherMatch::Is(EtherType::IPV4), None) => "all IPv4".to_owned(),
        (EtherMatch::Is(EtherType::IPV6), None) => "all IPv6".to_owned(),
        (EtherMatch::Is(EtherType::ARP), None) => "arp".to_owned(),
        (EtherMatch::Is(other), None) => format!("ethertype {:#06x}", other.0),
    };
    if matches.dport != PortRange::ANY {
        words += &format!("/{}", ports(matches.dport));
    }
    if matches.sport != PortRange::ANY {
        words += &format!(" from port {}", ports(matches.sport));
    }
    match (matches.ether, matches.proto) {
        (EtherMatch::Is(EtherType::IPV4), Some(_)) => words += " over IPv4",
        (EtherMatch::Is(EtherType::IPV6), Some(_)) => words += " over IPv6",
        _ => {}
    }
    match matches.tcp {
        TcpMatch::Any => {}
        TcpMatch::Established => words += " once established",
        TcpMatch::All(flags) => words += &format!(" with flags {}", flag_names(flags)),
    }
    if let Some(kind) = matches.icmp.kind {
        words += &format!(" type {kind}");
    }
    match matches.arp_op {
        Some(1) => words += " requests",
        Some(2) => words += " replies",
        _ => {}
    }
    if matches.later_fragments_only {
        words += ", later fragments only";
    }
    words
}

fn ports(range: PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}-{}", range.first, range.last)
    }
}

fn flag_names(flags: TcpFlags) -> String {
    let known = [
        (TcpFlags::SYN, "syn"),
        (TcpFlags::ACK, "ack"),
        (TcpFlags::FIN, "fin"),
        (TcpFlags::RST, "rst"),
    ];
    let set = known.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name);
    set.collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_read_as_people_write_them() {
        for (text, flow) in [
            ("tcp/80", Flow::Port { proto: proto::TCP, port: 80 }),
            ("TCP/https", Flow::Port { proto: proto::TCP, port: 443 }),
            ("udp/dns", Flow::Port { proto: proto::UDP, port: 53 }),
            ("icmp", Flow::Echo),
            ("icmp6", Flow::Echo),
            ("arp", Flow::Arp),
            ("ip/89", Flow::Protocol(89)),
        ] {
            assert_eq!(text.parse::<Flow>(), Ok(flow), "{text}");
        }
        assert_eq!(parse_flow("icmp6").unwrap().1, Some(EtherType::IPV6));
        assert_eq!(parse_flow("tcp/80").unwrap().1, None);
    }

    #[test]
    fn what_is_no_flow_is_refused_with_a_way_out() {
        for (text, says) in [
            ("tcp", "`tcp` names no port; write for example `tcp/443`"),
            ("tcp/0", "`0` is no port"),
            ("tcp/1000-2000", "`1000-2000` is no port"),
            ("tcp/65536", "`65536` is no port"),
            ("foo/1", "`foo/1` is no flow"),
            ("", "`` is no flow"),
            ("ip/256", "`ip/256` is no flow"),
            ("icmp/8", "`icmp/8` is no flow"),
        ] {
            let error = text.parse::<Flow>().unwrap_err().to_string();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_reply_comes_back_from_the_port_asked() {
        let syn = Flow::Port { proto: proto::TCP, port: 80 }.packet(EtherType::IPV4);
        let back = reply(&syn);
        assert_eq!((back.sport, back.dport), (80, CLIENT_PORT));
        assert!(back.tcp_flags.contains(TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0)));
        assert_eq!(reply(&Flow::Echo.packet(EtherType::IPV6)).icmp_type, 129);
        assert_eq!(reply(&Flow::Arp.packet(EtherType::IPV4)).arp_op, 2);
    }

    #[test]
    fn rules_are_described_in_the_same_words() {
        let tcp = Match {
            ether: EtherMatch::Ip,
            proto: Some(proto::TCP),
            dport: PortRange { first: 80, last: 443 },
            ..Match::EVERYTHING
        };
        assert_eq!(describe(&tcp), "tcp/80-443");
        let back = Match { sport: PortRange::one(80), dport: PortRange::ANY, ..tcp };
        assert_eq!(describe(&back), "tcp from port 80");
        assert_eq!(describe(&Match::EVERYTHING), "everything");
    }
}
