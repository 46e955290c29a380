//! Frames, byte by byte: what no stack would send, and what it would.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use selvage_rules::{EtherType, Mac, Packet, proto};

pub const ETH: usize = 14;
pub const V4: usize = 20;
pub const V6: usize = 40;

/// RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

pub fn ethernet(dst: Mac, src: Mac, ether: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETH + payload.len());
    frame.extend(dst.0);
    frame.extend(src.0);
    frame.extend(ether.0.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(V4 + payload.len()).unwrap();
    let mut header = vec![0x45, 0];
    header.extend(len.to_be_bytes());
    header.extend([0, 1]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, proto, 0, 0]);
    header.extend(src.octets());
    header.extend(dst.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(payload);
    header
}

pub fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    header.extend([next, hops]);
    header.extend(src.octets());
    header.extend(dst.octets());
    header.extend(payload);
    header
}

/// The sum over pseudo-header (RFC 8200, 8.1, or RFC 793) and payload: 0 where it is right.
pub fn transport_sum(src: IpAddr, dst: IpAddr, proto: u8, payload: &[u8]) -> u16 {
    let mut bytes = Vec::new();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
        }
        _ => panic!("two families"),
    }
    bytes.extend([0, proto]);
    bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    checksum(&bytes)
}

/// The transport header that `packet` describes, and a little payload.
pub fn transport(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    if packet.later_fragment {
        bytes.extend([0xaa; 16]);
        return bytes;
    }
    match packet.proto {
        proto::TCP => {
            bytes.extend(packet.sport.to_be_bytes());
            bytes.extend(packet.dport.to_be_bytes());
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, packet.tcp_flags.0, 1, 0, 0, 0, 0, 0]);
        }
        proto::UDP => {
            bytes.extend(packet.sport.to_be_bytes());
            bytes.extend(packet.dport.to_be_bytes());
            bytes.extend([0, 8, 0, 0]);
        }
        proto::SCTP => {
            bytes.extend(packet.sport.to_be_bytes());
            bytes.extend(packet.dport.to_be_bytes());
            bytes.extend([0; 8]);
        }
        proto::ICMP | proto::ICMPV6 => {
            bytes.extend([packet.icmp_type, packet.icmp_code, 0, 0, 0x12, 0x34, 0, 1]);
        }
        _ => bytes.extend([0x55; 16]),
    }
    bytes
}

/// An IP packet with these headers.
pub fn ip(src: IpAddr, dst: IpAddr, packet: &Packet) -> Vec<u8> {
    let l4 = transport(packet);
    let mut bytes = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            // Offset 8 bytes, in units of 8.
            ipv4(src, dst, packet.proto, packet.later_fragment.into(), &l4)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) if packet.later_fragment => {
            let mut fragment = vec![packet.proto, 0, 0, 8, 0, 0, 0, 1];
            fragment.extend(l4);
            ipv6(src, dst, 44, 64, &fragment)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => ipv6(src, dst, packet.proto, 64, &l4),
        _ => panic!("two families"),
    };
    mark(&mut bytes, packet.dscp);
    bytes
}

/// Writes a code point into a packet that has none.
fn mark(packet: &mut [u8], dscp: u8) {
    if packet[0] >> 4 == 6 {
        packet[0] |= dscp >> 2;
        packet[1] |= dscp << 6;
        return;
    }
    packet[1] = dscp << 2;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..V4]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The frame of such a packet.
pub fn frame(to: Mac, from: Mac, src: IpAddr, dst: IpAddr, packet: &Packet) -> Vec<u8> {
    let ether = if src.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    ethernet(to, from, ether, &ip(src, dst, packet))
}

pub fn arp(to: Mac, from: Mac, operation: u16, sender: (Mac, [u8; 4]), target: [u8; 4]) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4];
    arp.extend(operation.to_be_bytes());
    arp.extend(sender.0.0);
    arp.extend(sender.1);
    arp.extend([0; 6]);
    arp.extend(target);
    ethernet(to, from, EtherType::ARP, &arp)
}

/// A neighbour solicitation, with the sender's link-layer address unless it comes from `::`.
pub fn solicitation(from: Mac, src: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let octets = target.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(octets[13]),
        u16::from(octets[14]) << 8 | u16::from(octets[15]),
    );
    let mut nd = vec![135, 0, 0, 0, 0, 0, 0, 0];
    nd.extend(octets);
    if !src.is_unspecified() {
        nd.extend([1, 1]);
        nd.extend(from.0);
    }
    let sum = transport_sum(src.into(), group.into(), proto::ICMPV6, &nd);
    nd[2..4].copy_from_slice(&sum.to_be_bytes());
    let [.., a, b, c, d] = group.octets();
    let to = Mac([0x33, 0x33, a, b, c, d]);
    ethernet(to, from, EtherType::IPV6, &ipv6(src, group, proto::ICMPV6, 255, &nd))
}
