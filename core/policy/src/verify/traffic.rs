//! The traffic of an assertion: `tcp/443`, `udp/53 over ipv4`, `tcp/80-90 from 1024-65535`.

use selvage_rules::{EtherMatch, EtherType, IcmpMatch, Match, PortRange, TcpFlags, proto};

use crate::plan::cube::{Bytes, Cube, Layout, Span, disjoint};
use crate::trace::service_port;

/// Traffic as it was written, and the packets it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// As it was written; `any` where nothing was.
    pub text: String,
    /// The packets, disjoint.
    pub cubes: Vec<Cube>,
}

impl Traffic {
    /// Every packet.
    pub fn any() -> Traffic {
        Traffic { text: "any".to_owned(), cubes: Cube::space().to_vec() }
    }

    /// Reads a list, by comma; nothing is everything.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn parse(text: &str) -> Result<Traffic, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Traffic::any());
        }
        let matches: Result<Vec<Match>, String> =
            text.split(',').map(|one| kind(one.trim())).collect();
        let cubes = disjoint(matches?.iter().flat_map(Cube::matching));
        Ok(Traffic { text: text.to_owned(), cubes })
    }

    /// The packets that answer these.
    pub fn answers(&self) -> Vec<Cube> {
        disjoint(self.cubes.iter().filter_map(answer))
    }
}

/// What answers the packets of a cube: ports exchanged, an echo's reply, an ARP reply. Nothing
/// answers a frame that is neither, nor what an ICMP message reports.
pub(super) fn answer(cube: &Cube) -> Option<Cube> {
    const ECHO: [(u16, u16); 2] = [(8, 0), (128, 129)];
    let turned = Cube { x: cube.y, y: cube.x, ..*cube };
    match cube.layout {
        Layout::Tcp | Layout::Ports => Some(turned),
        Layout::Icmp if cube.x.first == cube.x.last => {
            let (_, reply) = ECHO.into_iter().find(|(ask, _)| cube.x.contains(*ask))?;
            Some(Cube { x: Span::one(reply), ..*cube })
        }
        Layout::Icmp | Layout::Plain | Layout::Fragment => Some(*cube),
        Layout::Arp if cube.x == Span::one(1) => Some(Cube { x: Span::one(2), ..*cube }),
        Layout::Arp => Some(*cube),
        Layout::Frame => None,
    }
}

/// The answers that a server gives to what opens a connection: of TCP those with ACK, of what has
/// no ports none that can be told.
pub(super) fn reply(cube: &Cube) -> Option<Cube> {
    let turned = Cube { x: cube.y, y: cube.x, ..*cube };
    match cube.layout {
        Layout::Tcp => {
            let with_ack = |byte| TcpFlags(byte).contains(TcpFlags::ACK);
            Some(Cube { flags: Bytes::of(with_ack), ..turned })
        }
        Layout::Ports => Some(turned),
        Layout::Icmp => {
            let of = |proto, ask, reply| {
                let protos = cube.protos.has(proto) && cube.x.contains(ask);
                let protos = protos.then(|| Bytes::these(&[proto]))?;
                Some(Cube { protos, x: Span::one(reply), ..*cube })
            };
            of(proto::ICMP, 8, 0).or_else(|| of(proto::ICMPV6, 128, 129))
        }
        Layout::Arp if cube.x.contains(1) => Some(Cube { x: Span::one(2), ..*cube }),
        _ => None,
    }
}

/// One of the list: `PROTOCOL[/PORTS] [from PORTS] [over FAMILY]`.
fn kind(text: &str) -> Result<Match, String> {
    let mut words = text.split_whitespace();
    let what = words.next().unwrap_or_default().to_ascii_lowercase();
    let (name, ports) = match what.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (&*what, None),
    };
    let mut matches = protocol(name, ports, text)?;
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{text}` ends in `{word}`"))?;
        match word {
            "from" if has_ports(&matches) => matches.sport = range(value)?,
            "over" if is_ip(&matches) => matches.ether = family(value, text)?,
            _ => return Err(unknown(text)),
        }
    }
    Ok(matches)
}

fn protocol(name: &str, rest: Option<&str>, text: &str) -> Result<Match, String> {
    let ip = Match { ether: EtherMatch::Ip, ..Match::EVERYTHING };
    let over = |ether, number| Match {
        ether: EtherMatch::Is(ether),
        proto: Some(number),
        ..Match::EVERYTHING
    };
    let ported = |number| {
        let dport = rest.map_or(Ok(PortRange::ANY), range)?;
        Ok(Match { proto: Some(number), dport, ..ip })
    };
    let echo = |of: Match, kind| Match { icmp: IcmpMatch { kind: Some(kind), code: None }, ..of };
    match (name, rest) {
        ("tcp", _) => ported(proto::TCP),
        ("udp", _) => ported(proto::UDP),
        ("sctp", _) => ported(proto::SCTP),
        ("any", None) => Ok(Match::EVERYTHING),
        ("ip", None) => Ok(ip),
        ("ip", Some(number)) => {
            let number = number.parse().map_err(|_| unknown(text))?;
            Ok(Match { proto: Some(number), ..ip })
        }
        ("arp", None) => Ok(Match { ether: EtherMatch::Is(EtherType::ARP), ..Match::EVERYTHING }),
        ("icmp", None) => Ok(over(EtherType::IPV4, proto::ICMP)),
        ("icmp6" | "icmpv6", None) => Ok(over(EtherType::IPV6, proto::ICMPV6)),
        ("ping", None) => Ok(echo(over(EtherType::IPV4, proto::ICMP), 8)),
        ("ping6", None) => Ok(echo(over(EtherType::IPV6, proto::ICMPV6), 128)),
        _ => Err(unknown(text)),
    }
}

fn has_ports(matches: &Match) -> bool {
    matches!(matches.proto, Some(proto::TCP | proto::UDP | proto::SCTP))
}

fn is_ip(matches: &Match) -> bool {
    matches.ether == EtherMatch::Ip
}

fn family(word: &str, text: &str) -> Result<EtherMatch, String> {
    match &*word.to_ascii_lowercase() {
        "ipv4" => Ok(EtherMatch::Is(EtherType::IPV4)),
        "ipv6" => Ok(EtherMatch::Is(EtherType::IPV6)),
        _ => Err(unknown(text)),
    }
}

/// `443`, `https`, `80-90`.
fn range(text: &str) -> Result<PortRange, String> {
    let bad = || format!("`{text}` is neither a port nor a range of ports such as `80-90`");
    let port = |text: &str| service_port(text).or_else(|| text.parse().ok());
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first).ok_or_else(bad)?, port(last).ok_or_else(bad)?),
        None => {
            let one = port(text).ok_or_else(bad)?;
            (one, one)
        }
    };
    if first > last { Err(bad()) } else { Ok(PortRange { first, last }) }
}

fn unknown(text: &str) -> String {
    format!(
        "`{text}` is no traffic; write `tcp/443`, `udp/5000-5010`, `tcp/443 from 1024-65535`, `icmp`, \
         `icmp6`, `ping`, `ping6`, `arp`, `ip/89`, `ip` or `any`, and `over ipv4` or `over ipv6` \
         behind it if need be",
    )
}

#[cfg(test)]
mod tests {
    use selvage_rules::Packet;

    use super::*;

    #[track_caller]
    fn check(text: &str, yes: &[Packet], no: &[Packet]) {
        let traffic = Traffic::parse(text).unwrap();
        let has = |packet: &Packet| traffic.cubes.iter().any(|cube| cube.has(packet));
        for packet in yes {
            assert!(has(packet), "{text}: {packet:?}");
        }
        for packet in no {
            assert!(!has(packet), "{text}: {packet:?}");
        }
    }

    #[test]
    fn traffic_is_read_as_people_write_it() {
        let (v4, v6) = (EtherType::IPV4, EtherType::IPV6);
        let https = Packet::tcp_syn(v4, 50000, 443);
        let low = Packet::tcp_syn(v6, 1023, 443);
        let dns = Packet::udp(v6, 50000, 53);
        let ping = Packet::echo_request(v4);
        let arp = Packet::ip(EtherType::ARP, 0);
        check("tcp/443", &[https, low], &[dns, ping, arp]);
        check("TCP/https from 1024-65535", &[https], &[low]);
        check("tcp/https over ipv6", &[low], &[https]);
        check("tcp/440-450, udp/dns, ping", &[https, dns, ping], &[arp, Packet::echo_request(v6)]);
        check("icmp, icmp6", &[ping, Packet::echo_request(v6)], &[arp]);
        check("ip", &[https, dns, ping], &[arp]);
        check("", &[https, arp], &[]);
        check("ip/6 over ipv4", &[https], &[low]);
    }

    #[test]
    fn what_is_no_traffic_is_refused_with_a_way_out() {
        for (text, says) in [
            ("tpc/443", "`tpc/443` is no traffic"),
            ("tcp/http-https-x", "`http-https-x` is neither a port"),
            ("tcp/90-80", "`90-80` is neither a port"),
            ("icmp from 3", "`icmp from 3` is no traffic"),
            ("tcp/80 over", "`tcp/80 over` ends in `over`"),
            ("arp over ipv4", "`arp over ipv4` is no traffic"),
            ("tcp/80,", "`` is no traffic"),
        ] {
            let error = Traffic::parse(text).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }
}
