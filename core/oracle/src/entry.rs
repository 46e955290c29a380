//! Whether a packet is one that a filter entry is about.

use std::ops::RangeInclusive;

use selvage_model::Mo;
use selvage_rules::Packet;

/// Whether `packet` is one of those that `entry`, a `vzEntry`, describes; `turned` exchanges what
/// the entry says of source and destination ports.
///
/// Model reference, class `vzEntry`: each field that is not `unspecified` narrows the entry, and a
/// packet must satisfy all of them. A field about a header that the packet does not have is not
/// satisfied: an entry with ports is about TCP, UDP and SCTP, one with TCP flags about TCP, and so
/// on. Reversing turns ports and nothing else: flags and ICMP types stay as written.
pub(crate) fn matches(entry: &Mo, packet: &Packet, turned: bool) -> bool {
    let (source, destination) =
        if turned { (packet.dport, packet.sport) } else { (packet.sport, packet.dport) };
    ether_type(entry, packet)
        && protocol(entry, packet)
        && port(entry.get("sFromPort"), entry.get("sToPort"), source, packet)
        && port(entry.get("dFromPort"), entry.get("dToPort"), destination, packet)
        && tcp_flags(entry, packet)
        && icmp_types(entry, packet)
        && arp_operation(entry, packet)
        && fragments(entry, packet)
        && code_point(entry, packet)
}

/// [`breadth`] of an entry that looks at nothing.
pub(crate) const WIDEST: u8 = 6;

/// How wide an entry is, as ACI's filter priorities (`actrl:FltPrio`) order them: one that looks at
/// flags (0), at both ports (1), at the destination port (2), at the source port (3), at the protocol
/// (4), at fragments (5), at less (6). `turned` as in [`matches`].
pub(crate) fn breadth(entry: &Mo, turned: bool) -> u8 {
    let asks = |from, to| {
        port_range(entry.get(from), entry.get(to))
            .is_some_and(|range| range != (0..=0) && range != (0..=u16::MAX))
    };
    let (written_source, written_destination) =
        (asks("sFromPort", "sToPort"), asks("dFromPort", "dToPort"));
    let (source, destination) = if turned {
        (written_destination, written_source)
    } else {
        (written_source, written_destination)
    };
    let flags = !matches!(entry.get("tcpRules"), "" | "unspecified");
    match () {
        () if flags => 0,
        () if source && destination => 1,
        () if destination => 2,
        () if source => 3,
        () if !matches!(entry.get("prot"), "unspecified" | "0") => 4,
        () if entry.get("applyToFrag") == "yes" => 5,
        () => WIDEST,
    }
}

/// `etherT`: `ip` stands for IPv4 and IPv6 both; the other words for one type each.
fn ether_type(entry: &Mo, packet: &Packet) -> bool {
    match entry.get("etherT") {
        "unspecified" => true,
        "ip" => is_ip(packet),
        name => ether_number(name) == Some(packet.ether.0),
    }
}

/// The EtherType that has this name.
pub(crate) fn ether_number(name: &str) -> Option<u16> {
    match name {
        "ipv4" => Some(0x0800),
        "ipv6" => Some(0x86dd),
        "arp" => Some(0x0806),
        "trill" => Some(0x22f3),
        "mpls_ucast" => Some(0x8847),
        "mac_security" => Some(0x88e5),
        "fcoe" => Some(0x8906),
        _ => None,
    }
}

/// `prot`: the protocol of IPv4 or IPv6, whichever the packet has. 0 is `unspecified`.
fn protocol(entry: &Mo, packet: &Packet) -> bool {
    match entry.get("prot") {
        "unspecified" | "0" => true,
        name => is_ip(packet) && protocol_number(name) == Some(packet.proto),
    }
}

/// The IP protocol of this name or number.
pub(crate) fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "icmp" => Some(1),
        "igmp" => Some(2),
        "tcp" => Some(6),
        "egp" => Some(8),
        "igp" => Some(9),
        "udp" => Some(17),
        "icmpv6" => Some(58),
        "eigrp" => Some(88),
        "ospfigp" => Some(89),
        "pim" => Some(103),
        "l2tp" => Some(115),
        other => other.parse().ok(),
    }
}

/// `sFromPort`..`sToPort` and `dFromPort`..`dToPort`, both ends included.
///
/// `unspecified` is port 0, as the APIC stores it; a range that covers every port asks for none.
fn port(from: &str, to: &str, port: u16, packet: &Packet) -> bool {
    let Some(range) = port_range(from, to) else { return false };
    let asks = range != (0..=0) && range != (0..=u16::MAX);
    let has_ports = is_ip(packet) && matches!(packet.proto, 6 | 17 | 132) && !packet.later_fragment;
    !asks || has_ports && range.contains(&port)
}

/// The ports of a range as the APIC writes it; 0 to 0 and all of them ask for none.
pub(crate) fn port_range(from: &str, to: &str) -> Option<RangeInclusive<u16>> {
    Some(port_number(from)?..=port_number(to)?)
}

/// A port as the APIC writes it: eight have names, the others are numbers.
fn port_number(text: &str) -> Option<u16> {
    match text {
        "unspecified" => Some(0),
        "ftpData" => Some(20),
        "ssh" => Some(22),
        "smtp" => Some(25),
        "dns" => Some(53),
        "http" => Some(80),
        "pop3" => Some(110),
        "https" => Some(443),
        "rtsp" => Some(554),
        number => number.parse().ok(),
    }
}

/// `tcpRules`: every flag named must be set, whatever else is; `est` means ACK or RST.
fn tcp_flags(entry: &Mo, packet: &Packet) -> bool {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    let rules = entry.get("tcpRules");
    if rules == "unspecified" || rules.is_empty() {
        return true;
    }
    let flags = packet.tcp_flags.0;
    is_ip(packet)
        && packet.proto == 6
        && !packet.later_fragment
        && rules.split(',').all(|rule| match rule {
            "est" => flags & (ACK | RST) != 0,
            "ack" => flags & ACK != 0,
            "rst" => flags & RST != 0,
            "syn" => flags & SYN != 0,
            "fin" => flags & FIN != 0,
            _ => false,
        })
}

/// `icmpv4T` and `icmpv6T`: types by name or number, of the ICMP of each family.
fn icmp_types(entry: &Mo, packet: &Packet) -> bool {
    let v4 = match entry.get("icmpv4T") {
        "unspecified" | "" => None,
        "echo-rep" => Some(0),
        "dst-unreach" => Some(3),
        "src-quench" => Some(4),
        "echo" => Some(8),
        "time-exceeded" => Some(11),
        other => match other.parse() {
            Ok(number) => Some(number),
            Err(_) => return false,
        },
    };
    let v6 = match entry.get("icmpv6T") {
        "unspecified" | "" => None,
        "dst-unreach" => Some(1),
        "time-exceeded" => Some(3),
        "echo-req" => Some(128),
        "echo-rep" => Some(129),
        "nbr-solicit" => Some(135),
        "nbr-advert" => Some(136),
        "redirect" => Some(137),
        other => match other.parse() {
            Ok(number) => Some(number),
            Err(_) => return false,
        },
    };
    let is = |kind: u8, proto: u8| {
        is_ip(packet) && packet.proto == proto && !packet.later_fragment && packet.icmp_type == kind
    };
    v4.is_none_or(|kind| is(kind, 1)) && v6.is_none_or(|kind| is(kind, 58))
}

/// `arpOpc`: request or reply.
fn arp_operation(entry: &Mo, packet: &Packet) -> bool {
    let operation = match entry.get("arpOpc") {
        "unspecified" | "" => return true,
        "req" => 1,
        "reply" => 2,
        _ => return false,
    };
    packet.ether.0 == 0x0806 && packet.arp_op == operation
}

/// `applyToFrag`: only fragments other than the first.
///
/// Those carry no ports, flags or ICMP types, so an entry that asks for such never matches one,
/// with this field or without.
fn fragments(entry: &Mo, packet: &Packet) -> bool {
    entry.get("applyToFrag") != "yes" || is_ip(packet) && packet.later_fragment
}

/// `matchDscp`: the code point of IPv4 or IPv6, by name (RFC 2474, 2597, 3246, 5865) or number.
fn code_point(entry: &Mo, packet: &Packet) -> bool {
    let wanted = match entry.get("matchDscp") {
        "unspecified" | "" => return true,
        "EF" => 46,
        "VA" => 44,
        name => {
            let digits = |prefix: &str| name.strip_prefix(prefix).map(|rest| rest.as_bytes());
            match (digits("CS"), digits("AF")) {
                (Some([class @ b'0'..=b'7']), _) => (class - b'0') * 8,
                (_, Some([class @ b'1'..=b'4', drop @ b'1'..=b'3'])) => {
                    (class - b'0') * 8 + (drop - b'0') * 2
                }
                _ => match name.parse::<u8>() {
                    Ok(number) if number < 64 => number,
                    _ => return false,
                },
            }
        }
    };
    is_ip(packet) && packet.dscp == wanted
}

fn is_ip(packet: &Packet) -> bool {
    matches!(packet.ether.0, 0x0800 | 0x86dd)
}

#[cfg(test)]
mod tests {
    use selvage_rules::{EtherType, Packet, TcpFlags, proto};

    use super::matches;
    use crate::sketch;

    const V4: EtherType = EtherType::IPV4;
    const V6: EtherType = EtherType::IPV6;

    /// Whether an entry with these properties matches, as written.
    fn hit(props: &str, packet: Packet) -> bool {
        hit_turned(props, packet, false)
    }

    fn hit_turned(props: &str, packet: Packet, turned: bool) -> bool {
        let tree = sketch::tree(&[&format!("vzEntry uni/tn-t/flt-f/e-x {props}")]);
        matches(tree.get("uni/tn-t/flt-f/e-x").unwrap(), &packet, turned)
    }

    fn syn(dport: u16) -> Packet {
        Packet::tcp_syn(V4, 40000, dport)
    }

    fn flags(bits: u8) -> Packet {
        Packet { tcp_flags: TcpFlags(bits), ..syn(80) }
    }

    /// Naive: "no filter fields" means nothing is matched, or IP only.
    #[test]
    fn an_entry_without_fields_matches_even_what_is_not_ip() {
        assert!(hit("", syn(80)));
        assert!(hit("", Packet::ip(EtherType::ARP, 0)));
        assert!(hit("", Packet::ip(EtherType(0x22f3), 0)));
    }

    /// Naive: `ip` is IPv4.
    #[test]
    fn ether_type_ip_is_both_families() {
        assert!(hit("etherT=ip", syn(80)));
        assert!(hit("etherT=ip", Packet::tcp_syn(V6, 40000, 80)));
        assert!(!hit("etherT=ip", Packet::ip(EtherType::ARP, 0)));
        assert!(!hit("etherT=ipv4", Packet::tcp_syn(V6, 40000, 80)));
    }

    /// Naive: a protocol number means something in every frame. The byte at that place in an ARP
    /// frame is no IP protocol.
    #[test]
    fn a_protocol_is_one_of_ip_only() {
        assert!(hit("prot=tcp", syn(80)));
        assert!(hit("prot=6", syn(80)));
        assert!(!hit("prot=udp", syn(80)));
        assert!(!hit("prot=tcp", Packet::ip(EtherType::ARP, proto::TCP)));
    }

    /// Naive: the upper end of a range is excluded, or `unspecified` is a port.
    #[test]
    fn both_ends_of_a_port_range_belong_to_it() {
        let range = "etherT=ip prot=tcp dFromPort=8000 dToPort=8002";
        for (port, expected) in [(7999, false), (8000, true), (8002, true), (8003, false)] {
            assert_eq!(hit(range, syn(port)), expected, "{port}");
        }
        assert!(hit("etherT=ip prot=tcp", syn(0)));
        assert!(hit("etherT=ip prot=tcp dFromPort=https dToPort=https", syn(443)));
        assert!(hit("etherT=ip prot=tcp dFromPort=65535 dToPort=65535", syn(65535)));
    }

    /// Naive: an entry with a port matches every protocol, since ICMP's ports read as 0.
    #[test]
    fn ports_ask_for_a_protocol_that_has_them() {
        let low = "etherT=ip dToPort=1023";
        assert!(hit(low, syn(22)));
        assert!(hit(low, Packet::udp(V4, 40000, 53)));
        assert!(!hit(low, Packet::echo_request(V4)));
    }

    /// Naive: turned, the entry's ports are exchanged in one place but not the other.
    #[test]
    fn turning_exchanges_source_and_destination_of_a_range() {
        let entry = "etherT=ip prot=tcp sFromPort=1000 sToPort=1999 dFromPort=80 dToPort=80";
        let there = Packet::tcp_syn(V4, 1500, 80);
        let back = Packet::tcp_syn(V4, 80, 1500);
        assert!(hit(entry, there) && !hit(entry, back));
        assert!(hit_turned(entry, back, true) && !hit_turned(entry, there, true));
    }

    /// Naive: `est` is ACK. A reset answers a refused connection and may come without ACK.
    #[test]
    fn established_is_ack_or_reset() {
        let established = "etherT=ip prot=tcp tcpRules=est";
        assert!(hit(established, flags(0x10)));
        assert!(hit(established, flags(0x04)));
        assert!(hit(established, flags(0x12)));
        assert!(!hit(established, flags(0x02)));
        assert!(!hit(established, flags(0x01)));
    }

    /// Naive: flags must be exactly those named, or one of them is enough.
    #[test]
    fn named_flags_must_all_be_set_and_others_may_be() {
        let rule = "etherT=ip prot=tcp tcpRules=ack,syn";
        assert!(hit(rule, flags(0x12)));
        assert!(hit(rule, flags(0x1a)));
        assert!(!hit(rule, flags(0x02)));
    }

    /// Naive: type 8 is "echo" whatever ICMP it is in. In ICMPv6 an echo request is 128.
    #[test]
    fn icmp_types_belong_to_their_family() {
        let echo = "etherT=ip icmpv4T=echo";
        assert!(hit(echo, Packet::echo_request(V4)));
        assert!(!hit(echo, Packet::echo_request(V6)));
        assert!(!hit(echo, Packet { icmp_type: 8, ..Packet::ip(V6, proto::ICMPV6) }));
        let echo6 = "etherT=ipv6 prot=icmpv6 icmpv6T=echo-req";
        assert!(hit(echo6, Packet::echo_request(V6)));
        assert!(!hit(echo6, Packet { icmp_type: 129, ..Packet::echo_request(V6) }));
    }

    /// Naive: turning an entry turns the ICMP type too. It does not: "echo" applied both ways lets
    /// the provider ping, and no echo reply ever pass.
    #[test]
    fn turning_leaves_icmp_types_alone() {
        let echo = "etherT=ip prot=icmp icmpv4T=echo";
        let reply = Packet { icmp_type: 0, ..Packet::echo_request(V4) };
        assert!(hit_turned(echo, Packet::echo_request(V4), true));
        assert!(!hit_turned(echo, reply, true));
    }

    /// Naive: type 0 (echo reply) is "nothing asked".
    #[test]
    fn type_zero_is_a_type() {
        let reply = "etherT=ip prot=icmp icmpv4T=echo-rep";
        assert!(hit(reply, Packet::ip(V4, proto::ICMP)));
        assert!(!hit(reply, Packet::echo_request(V4)));
    }

    /// Naive: the operation alone decides; every IP packet has a zero there, none is a request.
    #[test]
    fn arp_operations_are_of_arp() {
        let request = Packet { arp_op: 1, ..Packet::ip(EtherType::ARP, 0) };
        assert!(hit("etherT=arp arpOpc=req", request));
        assert!(!hit("etherT=arp arpOpc=reply", request));
        assert!(!hit("arpOpc=req", Packet { arp_op: 1, ..syn(80) }));
    }

    /// Naive: a later fragment of an allowed flow is allowed. It has no port to be known by.
    #[test]
    fn a_later_fragment_satisfies_no_entry_that_asks_for_ports_flags_or_types() {
        let fragment = Packet { later_fragment: true, ..Packet::ip(V4, proto::TCP) };
        assert!(!hit("etherT=ip prot=tcp dFromPort=80 dToPort=80", fragment));
        assert!(!hit("etherT=ip prot=tcp dToPort=1023", fragment));
        assert!(!hit("etherT=ip prot=tcp tcpRules=est", fragment));
        assert!(hit("etherT=ip prot=tcp", fragment));
        assert!(hit("", fragment));
    }

    /// Naive: `applyToFrag` lets fragments in as well. It leaves everything else out.
    #[test]
    fn apply_to_fragments_is_about_fragments_only() {
        let fragment = Packet { later_fragment: true, ..Packet::ip(V4, proto::UDP) };
        let entry = "etherT=ip prot=udp applyToFrag=yes";
        assert!(hit(entry, fragment));
        assert!(!hit(entry, Packet::udp(V4, 40000, 53)));
        assert!(!hit("etherT=ip prot=udp applyToFrag=yes dFromPort=53 dToPort=53", fragment));
    }
}
