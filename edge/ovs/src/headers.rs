//! The headers of a packet that a switch sent us. Pure, and content with any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use selvage_rules::{EtherType, Mac, Packet, TcpFlags, proto};

/// What a packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Source MAC.
    pub src_mac: Mac,
    /// Destination MAC.
    pub dst_mac: Mac,
    /// Source address: of the IP header, or the sender's of ARP.
    pub src: Option<IpAddr>,
    /// Destination address, likewise.
    pub dst: Option<IpAddr>,
    /// What policy sees. What is cut off is 0.
    pub packet: Packet,
}

/// Headers that may stand between that of IPv6 and the payload (RFC 8200, 4.1; RFC 4302).
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

/// How many of them are looked through.
const EXTENSIONS: usize = 8;

impl Headers {
    /// Reads a packet from its Ethernet header on; `None` if not even that is whole.
    pub fn of(frame: &[u8]) -> Option<Headers> {
        let (dst_mac, rest) = frame.split_first_chunk::<6>()?;
        let (src_mac, rest) = rest.split_first_chunk::<6>()?;
        let (ether, body) = rest.split_first_chunk::<2>()?;
        let ether = EtherType(u16::from_be_bytes(*ether));
        let mut headers = Headers {
            src_mac: Mac(*src_mac),
            dst_mac: Mac(*dst_mac),
            src: None,
            dst: None,
            packet: Packet::ip(ether, 0),
        };
        // What is cut off stays as it is.
        let _ = match ether {
            EtherType::IPV4 => headers.ipv4(body),
            EtherType::IPV6 => headers.ipv6(body),
            EtherType::ARP => headers.arp(body),
            _ => None,
        };
        Some(headers)
    }

    fn ipv4(&mut self, body: &[u8]) -> Option<()> {
        let header = body.first_chunk::<20>()?;
        self.packet.proto = header[9];
        self.packet.dscp = header[1] >> 2;
        self.src = Some(Ipv4Addr::from(*header[12..].first_chunk::<4>()?).into());
        self.dst = Some(Ipv4Addr::from(*header[16..].first_chunk::<4>()?).into());
        self.packet.later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
        self.payload(body.get(usize::from(header[0] & 0x0f) * 4..)?)
    }

    fn ipv6(&mut self, body: &[u8]) -> Option<()> {
        let header = body.first_chunk::<40>()?;
        let mut next = header[6];
        self.packet.dscp = header[0] << 4 >> 2 | header[1] >> 6;
        self.src = Some(Ipv6Addr::from(*header[8..].first_chunk::<16>()?).into());
        self.dst = Some(Ipv6Addr::from(*header[24..].first_chunk::<16>()?).into());
        let mut rest = body.get(40..)?;
        for _ in 0..EXTENSIONS {
            self.packet.proto = next;
            let start = rest.first_chunk::<4>();
            let length = match (next, start) {
                (extension::FRAGMENT, Some([_, _, high, low])) => {
                    let offset = u16::from_be_bytes([*high, *low]) & 0xfff8;
                    self.packet.later_fragment |= offset != 0;
                    8
                }
                (extension::AUTHENTICATION, Some([_, length, ..])) => {
                    (usize::from(*length) + 2) * 4
                }
                (
                    extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION,
                    Some([_, length, ..]),
                ) => (usize::from(*length) + 1) * 8,
                _ => return self.payload(rest),
            };
            next = *rest.first()?;
            rest = rest.get(length..)?;
        }
        None
    }

    fn arp(&mut self, body: &[u8]) -> Option<()> {
        let header = body.first_chunk::<28>()?;
        self.packet.arp_op = u16::from_be_bytes([header[6], header[7]]);
        self.src = Some(Ipv4Addr::from(*header[14..].first_chunk::<4>()?).into());
        self.dst = Some(Ipv4Addr::from(*header[24..].first_chunk::<4>()?).into());
        Some(())
    }

    fn payload(&mut self, body: &[u8]) -> Option<()> {
        if self.packet.later_fragment {
            return None;
        }
        match self.packet.proto {
            proto::TCP | proto::UDP | proto::SCTP => {
                let [a, b, c, d] = *body.first_chunk::<4>()?;
                self.packet.sport = u16::from_be_bytes([a, b]);
                self.packet.dport = u16::from_be_bytes([c, d]);
                if self.packet.proto == proto::TCP {
                    self.packet.tcp_flags = TcpFlags(*body.get(13)?);
                }
            }
            proto::ICMP | proto::ICMPV6 => {
                let [kind, code] = *body.first_chunk::<2>()?;
                (self.packet.icmp_type, self.packet.icmp_code) = (kind, code);
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(ether: u16, body: &[&[u8]]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        frame.extend(ether.to_be_bytes());
        frame.extend(body.concat());
        frame
    }

    fn ipv4(proto: u8, fragment: u16) -> Vec<u8> {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header
    }

    fn ipv6(next: u8) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        header.extend(Ipv6Addr::from_bits(1).octets());
        header.extend(Ipv6Addr::from_bits(2).octets());
        header
    }

    const TCP: &[u8] = &[0, 80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0];

    #[test]
    fn headers_are_read_in_both_families() {
        let seen = Headers::of(&frame(0x0800, &[&ipv4(6, 0), TCP])).unwrap();
        let tcp = |ether| Packet { tcp_flags: TcpFlags(0x12), ..Packet::tcp_syn(ether, 80, 256) };
        assert_eq!(seen.packet, tcp(EtherType::IPV4));
        assert_eq!(seen.src, Some([10, 0, 0, 1].into()));
        assert_eq!(
            (seen.dst_mac, seen.src_mac),
            (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]))
        );
        // Hop-by-hop of 16 bytes, then a first fragment.
        let extensions: &[u8] =
            &[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0];
        let seen = Headers::of(&frame(0x86dd, &[&ipv6(0), extensions, TCP])).unwrap();
        assert_eq!(seen.packet, tcp(EtherType::IPV6));
        assert_eq!(seen.dst, Some(IpAddr::from(Ipv6Addr::from_bits(2))));
        let seen = Headers::of(&frame(0x86dd, &[&ipv6(58), &[128, 0]])).unwrap();
        assert_eq!(seen.packet, Packet::echo_request(EtherType::IPV6));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let seen = Headers::of(&frame(0x0800, &[&ipv4(6, 1), TCP])).unwrap();
        assert!(seen.packet.later_fragment);
        assert_eq!((seen.packet.sport, seen.packet.dport), (0, 0));
    }

    #[test]
    fn arp_has_addresses() {
        let arp =
            [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2];
        let seen = Headers::of(&frame(0x0806, &[&arp])).unwrap();
        assert_eq!(seen.packet.arp_op, 2);
        assert_eq!((seen.src, seen.dst), (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into())));
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(frame in proptest::collection::vec(any::<u8>(), 0..120), ether in 0..4usize) {
            let mut frame = frame;
            if let Some(place) = frame.get_mut(12..14) {
                let kinds = [[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0]];
                place.copy_from_slice(&kinds[ether]);
            }
            prop_assert_eq!(Headers::of(&frame).is_some(), frame.len() >= 14);
        }
    }
}
