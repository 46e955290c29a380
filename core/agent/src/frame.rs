//! Frames, byte by byte, for packets that nobody sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use selvage_rules::{EtherType, Mac, Packet, proto};

use crate::judge::{ADVERTISEMENT, is_neighbour_discovery};

/// Hop limit of what is made here. RFC 4861 (6.1, 7.1) refuses neighbour discovery that has not all.
const HOPS: u8 = 64;
const ALL_HOPS: u8 = 255;

/// The identifier of echo requests and replies made here.
const ECHO: [u8; 4] = [0x12, 0x34, 0, 1];

/// A frame from `src` to `dst`, each with its MAC, with the headers of `packet`: `None` if the
/// addresses are not of its family. What is neither IP nor ARP has a payload of zeros.
pub fn frame(src: (Mac, IpAddr), dst: (Mac, IpAddr), packet: &Packet) -> Option<Vec<u8>> {
    let payload = match (packet.ether, src.1, dst.1) {
        (EtherType::IPV4, IpAddr::V4(from), IpAddr::V4(to)) => {
            let offset = u16::from(packet.later_fragment);
            let payload = transport(src.1, dst.1, packet);
            ipv4((from, to), packet.dscp, packet.proto, offset, &payload)
        }
        (EtherType::IPV6, IpAddr::V6(from), IpAddr::V6(to)) => {
            let payload = transport(src.1, dst.1, packet);
            if packet.later_fragment {
                // RFC 8200, 4.5: 8 bytes from the start.
                let header = [packet.proto, 0, 0, 8, 0, 0, 0, 1];
                ipv6((from, to), packet.dscp, 44, HOPS, &[&header[..], &payload].concat())
            } else {
                let hops = if is_neighbour_discovery(packet) { ALL_HOPS } else { HOPS };
                ipv6((from, to), packet.dscp, packet.proto, hops, &payload)
            }
        }
        (EtherType::ARP, IpAddr::V4(from), IpAddr::V4(to)) => arp(packet.arp_op, (src.0, from), to),
        (EtherType::IPV4 | EtherType::IPV6 | EtherType::ARP, ..) => return None,
        _ => vec![0; 46],
    };
    Some(ethernet(dst.0, src.0, packet.ether, &payload))
}

/// An Ethernet II frame.
pub fn ethernet(dst: Mac, src: Mac, ether: EtherType, payload: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0, &ether.0.to_be_bytes(), payload].concat()
}

/// An IPv4 packet (RFC 791) between two addresses. `fragment` is the word of flags and offset.
pub fn ipv4(
    (src, dst): (Ipv4Addr, Ipv4Addr),
    dscp: u8,
    proto: u8,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let length = length_of(20 + payload.len());
    let [a, b] = fragment.to_be_bytes();
    let head = |sum: [u8; 2]| {
        let [c, d] = length;
        let fixed = [0x45, dscp << 2, c, d, 0, 1, a, b, HOPS, proto, sum[0], sum[1]];
        [&fixed[..], &src.octets(), &dst.octets()].concat()
    };
    let sum = checksum(&head([0, 0])).to_be_bytes();
    [&head(sum)[..], payload].concat()
}

/// An IPv6 packet (RFC 8200) between two addresses.
pub fn ipv6(
    (src, dst): (Ipv6Addr, Ipv6Addr),
    dscp: u8,
    next: u8,
    hops: u8,
    payload: &[u8],
) -> Vec<u8> {
    let length = length_of(payload.len());
    let fixed = [0x60 | dscp >> 2, dscp << 6, 0, 0, length[0], length[1], next, hops];
    [&fixed[..], &src.octets(), &dst.octets(), payload].concat()
}

/// An ARP packet for Ethernet and IPv4 (RFC 826).
pub fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let fixed = [0, 1, 8, 0, 6, 4];
    let operation = operation.to_be_bytes();
    let (mac, ip) = (sender.0.0, sender.1.octets());
    [&fixed[..], &operation, &mac, &ip, &[0; 6], &target.octets()].concat()
}

/// The transport header that `packet` describes with a little payload, its checksum right.
fn transport(src: IpAddr, dst: IpAddr, packet: &Packet) -> Vec<u8> {
    if packet.later_fragment {
        return vec![0xaa; 16];
    }
    let ports = [packet.sport.to_be_bytes(), packet.dport.to_be_bytes()].concat();
    let (sum_at, bytes) = match packet.proto {
        proto::TCP => {
            let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, packet.tcp_flags.0, 1, 0, 0, 0, 0, 0];
            (16, [&ports[..], &rest].concat())
        }
        proto::UDP => (6, [&ports[..], &[0, 8, 0, 0]].concat()),
        proto::SCTP => return [&ports[..], &[0; 8]].concat(),
        proto::ICMP => (2, [&[packet.icmp_type, packet.icmp_code, 0, 0][..], &ECHO].concat()),
        proto::ICMPV6 => (2, icmpv6(src, dst, packet)),
        _ => return vec![0x55; 16],
    };
    let sum = match packet.proto {
        proto::ICMP => checksum(&bytes),
        _ => transport_sum(src, dst, packet.proto, &bytes),
    };
    with_sum(bytes, sum_at, sum)
}

/// RFC 4443; neighbour discovery names its target: the receiver, or in an advertisement the sender.
fn icmpv6(src: IpAddr, dst: IpAddr, packet: &Packet) -> Vec<u8> {
    let head = [packet.icmp_type, packet.icmp_code, 0, 0];
    if !is_neighbour_discovery(packet) {
        return [&head[..], &ECHO].concat();
    }
    let target = if packet.icmp_type == ADVERTISEMENT { src } else { dst };
    let target = match target {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    [&head[..], &[0; 4], &target.octets()].concat()
}

fn with_sum(mut bytes: Vec<u8>, at: usize, sum: u16) -> Vec<u8> {
    bytes.iter_mut().skip(at).zip(sum.to_be_bytes()).for_each(|(byte, sum)| *byte = sum);
    bytes
}

fn length_of(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// The Internet checksum (RFC 1071). 0 over bytes that hold their own.
pub fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let last = odd.first().map_or(0, |byte| u32::from(*byte) << 8);
    let sum = pairs.iter().fold(last, |sum, pair| sum + u32::from(u16::from_be_bytes(*pair)));
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// The checksum over pseudo-header (RFC 8200, 8.1; RFC 9293, 3.1) and payload.
pub fn transport_sum(src: IpAddr, dst: IpAddr, proto: u8, payload: &[u8]) -> u16 {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let length = length_of(payload.len());
    checksum(&[&octets(src)[..], &octets(dst), &[0, proto], &length, payload].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn every_checksum_is_right() {
        let v4: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let v6: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()];
        for (ether, [src, dst], l4) in [(EtherType::IPV4, v4, 34), (EtherType::IPV6, v6, 54)] {
            for packet in [
                Packet::tcp_syn(ether, 40000, 80),
                Packet::udp(ether, 53, 53),
                Packet::echo_request(ether),
            ] {
                let frame = frame((A, src), (B, dst), &packet).unwrap();
                let payload = &frame[l4..];
                let sum = if packet.proto == proto::ICMP {
                    checksum(payload)
                } else {
                    transport_sum(src, dst, packet.proto, payload)
                };
                assert_eq!(sum, 0, "{packet:?}");
                if ether == EtherType::IPV4 {
                    assert_eq!(checksum(&frame[14..34]), 0);
                }
            }
        }
        assert!(frame((A, v4[0]), (B, v6[1]), &Packet::udp(EtherType::IPV6, 1, 2)).is_none());
    }
}
