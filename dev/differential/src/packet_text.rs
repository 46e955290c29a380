//! Packets as the scenarios write them: `tcp/443`, `v6 udp/53`, `icmp/echo`, `tcp fragment`.

use selvage_rules::{EtherType, Packet, TcpFlags, proto};

/// The source port where none is written: an ephemeral one.
pub const EPHEMERAL: u16 = 40_000;

/// A text that describes no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no packet: `{word}` {problem}; write `tcp/443`, `v6 udp/53 from 53`, \
     `tcp/80 from 80 flags syn,ack`, `icmp/echo`, `arp/request` or `udp fragment`"
)]
pub struct ParsePacketError {
    text: String,
    word: String,
    problem: &'static str,
}

/// Reads a packet: `[v6] PROTOCOL[/WHAT] [from PORT] [flags FLAG,..] [dscp NAME]
/// [fragment]`.
///
/// `WHAT` is a destination port for `tcp`, `udp` and `sctp`, a type for `icmp`, an operation for
/// `arp`; `ip` takes a protocol number. Without `from` the source port is [`EPHEMERAL`]; without
/// `flags` a TCP packet is the first of a connection (`syn`). `fragment` is one other than the
/// first, which carries none of these.
pub fn packet(text: &str) -> Result<Packet, ParsePacketError> {
    let fail = |word: &str, problem| ParsePacketError {
        text: text.to_owned(),
        word: word.to_owned(),
        problem,
    };
    let mut words = text.split_whitespace().peekable();
    let ether = match words.next_if_eq(&"v6") {
        Some(_) => EtherType::IPV6,
        None => EtherType::IPV4,
    };
    let head = words.next().ok_or_else(|| fail("", "is empty"))?;
    let mut packet = headed(ether, head).map_err(|problem| fail(head, problem))?;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| fail(word, "is not followed by a value"));
        match word {
            "from" => {
                let port = value()?;
                packet.sport = port.parse().map_err(|_| fail(port, "is no port"))?;
            }
            "flags" => {
                let flags = value()?;
                packet.tcp_flags = tcp_flags(flags).map_err(|problem| fail(flags, problem))?;
            }
            "dscp" => {
                let name = value()?;
                packet.dscp = code_point(name).ok_or_else(|| fail(name, "is no code point"))?;
            }
            "fragment" => packet = later_fragment(packet),
            other => return Err(fail(other, "is not known here")),
        }
    }
    Ok(packet)
}

/// A code point by the name it has in RFC 2474 or RFC 3246, or by number.
fn code_point(name: &str) -> Option<u8> {
    match name {
        "ef" => Some(46),
        class if class.starts_with("cs") => {
            class.get(2..)?.parse::<u8>().ok().filter(|class| *class < 8).map(|class| class * 8)
        }
        number => number.parse().ok().filter(|number| *number < 64),
    }
}

fn headed(ether: EtherType, head: &str) -> Result<Packet, &'static str> {
    let (name, what) = head.split_once('/').map_or((head, None), |(n, w)| (n, Some(w)));
    let port = || match what {
        None => Ok(0),
        Some(port) => port.parse::<u16>().map_err(|_| "has no port after the slash"),
    };
    match name {
        "tcp" => Ok(Packet::tcp_syn(ether, EPHEMERAL, port()?)),
        "udp" => Ok(Packet::udp(ether, EPHEMERAL, port()?)),
        "sctp" => Ok(Packet { proto: proto::SCTP, ..Packet::udp(ether, EPHEMERAL, port()?) }),
        "icmp" => icmp(ether, what.unwrap_or("echo")),
        "ip" => {
            let number = what.and_then(|n| n.parse().ok()).ok_or("has no protocol number")?;
            Ok(Packet::ip(ether, number))
        }
        "arp" => {
            let arp_op = match what {
                Some("request") => 1,
                Some("reply") => 2,
                _ => return Err("is neither `arp/request` nor `arp/reply`"),
            };
            Ok(Packet { arp_op, ..Packet::ip(EtherType::ARP, 0) })
        }
        _ => Err("starts with no protocol"),
    }
}

/// ICMP of the family; types by name or number (IANA, "ICMP Parameters", "ICMPv6 Parameters").
fn icmp(ether: EtherType, what: &str) -> Result<Packet, &'static str> {
    let six = ether == EtherType::IPV6;
    let icmp_type = match what {
        "echo" => {
            if six {
                128
            } else {
                8
            }
        }
        "echo-reply" => {
            if six {
                129
            } else {
                0
            }
        }
        "unreachable" => {
            if six {
                1
            } else {
                3
            }
        }
        "time-exceeded" => {
            if six {
                3
            } else {
                11
            }
        }
        "neighbor-solicitation" if six => 135,
        "neighbor-advertisement" if six => 136,
        number => number.parse().map_err(|_| "is no ICMP type")?,
    };
    Ok(Packet { icmp_type, ..Packet::echo_request(ether) })
}

fn tcp_flags(text: &str) -> Result<TcpFlags, &'static str> {
    let mut flags = 0;
    for word in text.split(',') {
        flags |= match word {
            "none" => 0,
            "fin" => TcpFlags::FIN.0,
            "syn" => TcpFlags::SYN.0,
            "rst" => TcpFlags::RST.0,
            "ack" => TcpFlags::ACK.0,
            _ => return Err("is no set of the TCP flags syn, ack, fin and rst"),
        };
    }
    Ok(TcpFlags(flags))
}

/// The packet without what only its first fragment would carry.
fn later_fragment(packet: Packet) -> Packet {
    Packet { later_fragment: true, ..Packet::ip(packet.ether, packet.proto) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_read_as_they_are_written() {
        let v4 = EtherType::IPV4;
        assert_eq!(packet("tcp/443").unwrap(), Packet::tcp_syn(v4, EPHEMERAL, 443));
        let reply = Packet { tcp_flags: TcpFlags(0x12), ..Packet::tcp_syn(v4, 80, 40000) };
        assert_eq!(packet("tcp/40000 from 80 flags syn,ack").unwrap(), reply);
        assert_eq!(packet("v6 icmp/echo").unwrap(), Packet::echo_request(EtherType::IPV6));
        assert_eq!(packet("arp/reply").unwrap().arp_op, 2);
        let fragment = packet("udp/53 fragment").unwrap();
        assert!(fragment.later_fragment && fragment.dport == 0 && fragment.proto == proto::UDP);
    }

    #[test]
    fn what_is_no_packet_is_refused_with_the_word_that_is_wrong() {
        for (text, word) in [
            ("", ""),
            ("tcp/http", "tcp/http"),
            ("tcp/80 from", "from"),
            ("tcp/80 from x", "x"),
            ("tcp/80 flags psh", "psh"),
            ("quic/443", "quic/443"),
            ("tcp/80 twice", "twice"),
            ("arp", "arp"),
        ] {
            assert_eq!(packet(text).unwrap_err().word, word, "{text}");
        }
    }
}
