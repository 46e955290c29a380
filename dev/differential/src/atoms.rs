//! The packets that every generated fabric is asked about.
//!
//! They are chosen from the same small domain as the filter entries of [`crate::fabric`]: on both
//! sides of every edge of a range, each combination of flags that tells two entries apart, each
//! type, each family, and the headers that no entry should mistake for others.

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use selvage_rules::{EtherType, Packet, TcpFlags, proto};

use crate::packet_text::EPHEMERAL;

/// On both sides of every edge of the ranges that entries are made of.
const PORTS: [u16; 12] = [0, 1, 79, 80, 81, 442, 443, 444, 1023, 1024, 1025, 65535];
const SYN: u8 = TcpFlags::SYN.0;
const ACK: u8 = TcpFlags::ACK.0;
const FLAGS: [u8; 5] = [SYN, SYN | ACK, ACK, TcpFlags::RST.0, TcpFlags::FIN.0];
const V4: EtherType = EtherType::IPV4;
const V6: EtherType = EtherType::IPV6;

/// All of them; about 300.
pub fn atoms() -> Vec<Packet> {
    let mut atoms = Vec::new();
    for (sport, dport) in port_pairs() {
        for flags in FLAGS {
            let tcp_flags = TcpFlags(flags);
            atoms.push(Packet { tcp_flags, ..Packet::tcp_syn(V4, sport, dport) });
        }
        for tcp_flags in [TcpFlags::SYN, TcpFlags::RST] {
            atoms.push(Packet { tcp_flags, ..Packet::tcp_syn(V6, sport, dport) });
        }
        atoms.push(Packet::udp(V4, sport, dport));
        atoms.push(Packet::udp(V6, sport, dport));
    }
    atoms.push(Packet { proto: proto::SCTP, ..Packet::udp(V4, EPHEMERAL, 80) });
    for (ether, proto, icmp_type) in [
        (V4, proto::ICMP, 0),
        (V4, proto::ICMP, 3),
        (V4, proto::ICMP, 8),
        (V6, proto::ICMPV6, 8),
        (V6, proto::ICMPV6, 128),
        (V6, proto::ICMPV6, 129),
        (V6, proto::ICMPV6, 133),
        (V6, proto::ICMPV6, 134),
        (V6, proto::ICMPV6, 135),
        (V6, proto::ICMPV6, 136),
        // Each family's ICMP carried by the other: nonsense, but the wire can bring it.
        (V6, proto::ICMP, 8),
        (V4, proto::ICMPV6, 128),
    ] {
        atoms.push(Packet { icmp_type, ..Packet::ip(ether, proto) });
    }
    for arp_op in [1, 2, 3] {
        atoms.push(Packet { arp_op, ..Packet::ip(EtherType::ARP, 0) });
    }
    for proto in [proto::TCP, proto::UDP, proto::ICMP, 47] {
        for ether in [V4, V6] {
            atoms.push(Packet { later_fragment: true, ..Packet::ip(ether, proto) });
        }
    }
    for dscp in [18, 46] {
        atoms.push(Packet { dscp, ..Packet::udp(V4, EPHEMERAL, 53) });
        atoms.push(Packet { dscp, ..Packet::tcp_syn(V4, EPHEMERAL, 80) });
    }
    atoms.push(Packet::ip(V4, 47));
    atoms.push(Packet::ip(EtherType(0x22f3), 0));
    atoms
}

/// Each port of interest alone on either side, and some on both.
fn port_pairs() -> Vec<(u16, u16)> {
    let mut pairs: Vec<(u16, u16)> = PORTS.iter().map(|port| (EPHEMERAL, *port)).collect();
    pairs.extend(PORTS.iter().map(|port| (*port, EPHEMERAL)));
    pairs.extend([(80, 443), (443, 80), (80, 80), (1023, 65535), (65535, 79), (0, 0)]);
    pairs
}

/// Any packet that a frame can be made of; headers that its protocol lacks are 0.
pub fn packet() -> impl Strategy<Value = Packet> {
    // ICMP's numbers, those with ports, and some without. Not those of IPv6 extension headers.
    let proto = select(&[1_u8, 6, 6, 6, 17, 17, 58, 132, 2, 47, 50, 89][..]);
    let port = || prop_oneof![3 => select(&PORTS[..]), 1 => any::<u16>()];
    let flags = prop_oneof![2 => select(&FLAGS[..]), 1 => any::<u8>()];
    let kind =
        prop_oneof![3 => select(&[0_u8, 3, 8, 11, 128, 129, 133, 135, 137][..]), 1 => any::<u8>()];
    let ip = (any::<bool>(), proto, port(), port(), flags, kind, 0_u8..3, 0_u8..8).prop_map(
        |(v6, proto, sport, dport, flags, icmp_type, icmp_code, fragment)| {
            let bare = Packet::ip(if v6 { V6 } else { V4 }, proto);
            match proto {
                _ if fragment == 7 => Packet { later_fragment: true, ..bare },
                proto::TCP => Packet { sport, dport, tcp_flags: TcpFlags(flags), ..bare },
                proto::UDP | proto::SCTP => Packet { sport, dport, ..bare },
                proto::ICMP | proto::ICMPV6 => Packet { icmp_type, icmp_code, ..bare },
                _ => bare,
            }
        },
    );
    let arp = (0_u16..4).prop_map(|arp_op| Packet { arp_op, ..Packet::ip(EtherType::ARP, 0) });
    prop_oneof![20 => ip, 1 => arp]
}

/// What answers `packet`: the ports change places, a TCP answer has SYN and ACK set, and an echo
/// request is answered by a reply.
pub fn answer_to(packet: &Packet) -> Packet {
    let tcp_flags = if packet.has_ports() && packet.proto == proto::TCP {
        TcpFlags(SYN | ACK)
    } else {
        TcpFlags(0)
    };
    let icmp_type = match (packet.proto, packet.icmp_type) {
        (proto::ICMP, 8) => 0,
        (proto::ICMPV6, 128) => 129,
        (_, other) => other,
    };
    Packet { sport: packet.dport, dport: packet.sport, tcp_flags, icmp_type, ..*packet }
}

/// A packet in the words of the scenarios, for people who must understand a failure.
pub fn words(packet: &Packet) -> String {
    let family = if packet.ether == V6 { "v6 " } else { "" };
    let fragment = if packet.later_fragment { " fragment" } else { "" };
    match (packet.ether, packet.proto) {
        (EtherType::ARP, _) => format!("arp operation {}", packet.arp_op),
        (V4 | V6, proto::TCP) => {
            let (sport, dport, flags) = (packet.sport, packet.dport, packet.tcp_flags.0);
            format!("{family}tcp/{dport} from {sport} flags {flags:#04x}{fragment}")
        }
        (V4 | V6, proto::UDP) => {
            format!("{family}udp/{} from {}{fragment}", packet.dport, packet.sport)
        }
        (V4 | V6, other) => format!("{family}ip/{other} type {}{fragment}", packet.icmp_type),
        (EtherType(other), _) => format!("EtherType {other:#06x}"),
    }
}
