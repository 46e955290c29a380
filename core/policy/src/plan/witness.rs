//! One packet for many: the one that people would send to see for themselves.

use selvage_rules::{EtherType, Packet, TcpFlags, proto};

use super::cube::{Cube, Layout, Span, V4, V6};

/// The port that clients use where any would do (IANA's dynamic range begins at it).
const CLIENT_PORT: u16 = 49152;
/// The port that servers use where any would do.
const SERVER_PORT: u16 = 80;
/// An Ethernet type that stands for others (IEEE 802, local experimental 1).
const EXPERIMENTAL: u16 = 0x88b5;

/// A packet of these cubes: of the layout that comes first in [`Layout`], which is the one that is
/// easiest to send. `None` if there are none.
pub fn witness(cubes: &[Cube]) -> Option<Packet> {
    let cube = cubes.iter().min_by_key(|cube| cube.layout)?;
    let v4 = cube.families & V4 != 0;
    let dscp = cube.dscp.iter().next()?;
    let ip = |proto| Packet {
        dscp,
        ..Packet::ip(if v4 { EtherType::IPV4 } else { EtherType::IPV6 }, proto)
    };
    let fit = |proto: u8| if cube.protos.has(proto) { Some(proto) } else { None };
    let first_of =
        |wanted: &[u8]| wanted.iter().copied().find_map(fit).or_else(|| cube.protos.iter().next());
    let ports = |packet: Packet| {
        let to_client = cube.x != Span::ANY && cube.y == Span::ANY;
        let (from, to) =
            if to_client { (SERVER_PORT, CLIENT_PORT) } else { (CLIENT_PORT, SERVER_PORT) };
        Packet { sport: pick(cube.x, from), dport: pick(cube.y, to), ..packet }
    };
    Some(match cube.layout {
        Layout::Tcp => Packet { tcp_flags: flags(cube)?, ..ports(ip(proto::TCP)) },
        Layout::Ports => ports(ip(first_of(&[proto::UDP])?)),
        Layout::Icmp => Packet { dscp, ..icmp(cube, v4)? },
        Layout::Plain => ip(first_of(&[47])?),
        Layout::Fragment => {
            let later_fragment = true;
            Packet { later_fragment, ..ip(first_of(&[proto::UDP, proto::TCP])?) }
        }
        Layout::Arp => Packet { arp_op: pick(cube.x, 1), ..Packet::ip(EtherType::ARP, 0) },
        Layout::Frame => Packet::ip(EtherType(pick(cube.x, EXPERIMENTAL)), 0),
    })
}

/// The `wanted` value if it is there, else the first that is not 0.
fn pick(span: Span, wanted: u16) -> u16 {
    if span.contains(wanted) { wanted } else { span.first.max(1).min(span.last) }
}

fn flags(cube: &Cube) -> Option<TcpFlags> {
    let usual = [TcpFlags::SYN.0, TcpFlags::ACK.0, TcpFlags::SYN.0 | TcpFlags::ACK.0];
    let usual = usual.into_iter().find(|byte| cube.flags.has(*byte));
    usual.or_else(|| cube.flags.iter().next()).map(TcpFlags)
}

/// An echo request if it can be one, of the ICMP that belongs to the family.
fn icmp(cube: &Cube, v4: bool) -> Option<Packet> {
    let six = cube.families & V6 != 0 && cube.protos.has(proto::ICMPV6);
    let (ether, proto, echo) = if v4 && cube.protos.has(proto::ICMP) {
        (EtherType::IPV4, proto::ICMP, 8)
    } else if six {
        (EtherType::IPV6, proto::ICMPV6, 128)
    } else {
        let ether = if v4 { EtherType::IPV4 } else { EtherType::IPV6 };
        (ether, cube.protos.iter().next()?, 8)
    };
    let byte = |value: u16| u8::try_from(value).ok();
    let kind = if cube.x.contains(echo) { echo } else { cube.x.first };
    let (icmp_type, icmp_code) = (byte(kind)?, byte(cube.y.first)?);
    Some(Packet { icmp_type, icmp_code, ..Packet::ip(ether, proto) })
}
