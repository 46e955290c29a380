//! A filter entry's words and numbers, turned into what a packet is matched by.

use selvage_model::Mo;
use selvage_rules::{
    EtherMatch, EtherType, IcmpMatch, Match, PortRange, TcpFlags, TcpMatch, proto,
};

/// Ethernet types by ACI's words (IEEE 802 numbers).
const ETHER_TYPES: &[(&str, EtherMatch)] = &[
    ("unspecified", EtherMatch::Any),
    ("ip", EtherMatch::Ip),
    ("ipv4", EtherMatch::Is(EtherType::IPV4)),
    ("ipv6", EtherMatch::Is(EtherType::IPV6)),
    ("arp", EtherMatch::Is(EtherType::ARP)),
    ("trill", EtherMatch::Is(EtherType(0x22f3))),
    ("mpls_ucast", EtherMatch::Is(EtherType(0x8847))),
    ("mac_security", EtherMatch::Is(EtherType(0x88e5))),
    ("fcoe", EtherMatch::Is(EtherType(0x8906))),
];

/// IP protocols by ACI's words.
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", proto::ICMP),
    ("igmp", 2),
    ("tcp", proto::TCP),
    ("egp", 8),
    ("igp", 9),
    ("udp", proto::UDP),
    ("icmpv6", proto::ICMPV6),
    ("eigrp", 88),
    ("ospfigp", 89),
    ("pim", 103),
    ("l2tp", 115),
];

/// Ports by ACI's words.
const PORTS: &[(&str, u16)] = &[
    ("ftpData", 20),
    ("ssh", 22),
    ("smtp", 25),
    ("dns", 53),
    ("http", 80),
    ("pop3", 110),
    ("https", 443),
    ("rtsp", 554),
];

/// ICMP types by ACI's words.
const ICMP_TYPES: &[(&str, u8)] =
    &[("echo-rep", 0), ("dst-unreach", 3), ("src-quench", 4), ("echo", 8), ("time-exceeded", 11)];

/// ICMPv6 types by ACI's words.
const ICMPV6_TYPES: &[(&str, u8)] = &[
    ("dst-unreach", 1),
    ("time-exceeded", 3),
    ("echo-req", 128),
    ("echo-rep", 129),
    ("nbr-solicit", 135),
    ("nbr-advert", 136),
    ("redirect", 137),
];

/// What a word stands for in its table, or the number it writes; `None` for `unspecified`.
fn number<N: Copy + std::str::FromStr>(
    what: &str,
    word: &str,
    words: &[(&str, N)],
) -> Result<Option<N>, String> {
    if word.is_empty() || word == "unspecified" {
        return Ok(None);
    }
    if let Some((_, number)) = words.iter().find(|(known, _)| *known == word) {
        return Ok(Some(*number));
    }
    word.parse().map(Some).map_err(|_| format!("`{word}` is no {what}"))
}

/// What the entry `mo` matches on the way to the provider, or the sentence that says why it can
/// match nothing.
///
/// The combinations refused are those the APIC refuses: a protocol without IP, ports without a
/// protocol that has them, flags without TCP, types without ICMP, an operation without ARP, and
/// `applyToFrag` together with anything that later fragments do not carry.
pub(super) fn matches(mo: &Mo) -> Result<Match, String> {
    let entry = Match {
        ether: ether_type(mo.get("etherT"))?,
        proto: protocol(mo)?,
        sport: ports(mo, "sFromPort", "sToPort")?,
        dport: ports(mo, "dFromPort", "dToPort")?,
        tcp: tcp_flags(mo.get("tcpRules"))?,
        icmp: icmp_type(mo)?,
        arp_op: arp_operation(mo.get("arpOpc"))?,
        later_fragments_only: mo.get("applyToFrag") == "yes",
        dscp: code_point(mo.get("matchDscp"))?,
    };
    check(&entry, mo)?;
    Ok(entry)
}

fn check(entry: &Match, mo: &Mo) -> Result<(), String> {
    let is_ip = matches!(entry.ether, EtherMatch::Ip)
        || matches!(entry.ether, EtherMatch::Is(ether) if ether.is_ip());
    if entry.proto.is_some() && !is_ip {
        return Err(format!(
            "protocol `{}` needs Ethernet type `ip`, `ipv4` or `ipv6`, not `{}`",
            mo.get("prot"),
            mo.get("etherT"),
        ));
    }
    let has_ports = matches!(entry.proto, Some(proto::TCP | proto::UDP | proto::SCTP));
    if (entry.sport != PortRange::ANY || entry.dport != PortRange::ANY) && !has_ports {
        return Err(format!("ports need protocol `tcp` or `udp`, not `{}`", mo.get("prot")));
    }
    if entry.tcp != TcpMatch::Any && entry.proto != Some(proto::TCP) {
        return Err(format!("TCP flags need protocol `tcp`, not `{}`", mo.get("prot")));
    }
    if entry.arp_op.is_some() && entry.ether != EtherMatch::Is(EtherType::ARP) {
        return Err(format!(
            "an ARP operation needs Ethernet type `arp`, not `{}`",
            mo.get("etherT"),
        ));
    }
    if entry.later_fragments_only && (entry.needs_l4() || !is_ip) {
        return Err(
            "`applyToFrag` matches only later fragments, which carry no ports, flags or types"
                .to_owned(),
        );
    }
    if entry.dscp.is_some() && !is_ip {
        return Err(format!(
            "a DSCP needs Ethernet type `ip`, `ipv4` or `ipv6`, not `{}`",
            mo.get("etherT"),
        ));
    }
    Ok(())
}

fn protocol(mo: &Mo) -> Result<Option<u8>, String> {
    named_protocol(mo.get("prot"))
}

/// The Ethernet types that a word stands for.
pub(super) fn ether_type(word: &str) -> Result<EtherMatch, String> {
    let known = ETHER_TYPES.iter().find(|(known, _)| *known == word);
    known.map(|(_, ether)| *ether).ok_or_else(|| format!("`{word}` is no Ethernet type"))
}

/// The protocol that a word stands for; `None` for any. APIC writes protocol 0 as `unspecified`;
/// both mean any.
pub(super) fn named_protocol(word: &str) -> Result<Option<u8>, String> {
    number("IP protocol", word, PROTOCOLS).map(|p| p.filter(|p| *p != 0))
}

/// The port that a word stands for; `None` for any.
pub(super) fn named_port(word: &str) -> Result<Option<u16>, String> {
    number("port", word, PORTS).map(|p| p.filter(|p| *p != 0))
}

/// A lone end of a range stands for both (APIC fills in the other).
fn ports(mo: &Mo, from: &str, to: &str) -> Result<PortRange, String> {
    let end = |prop| named_port(mo.get(prop));
    let (first, last) = match (end(from)?, end(to)?) {
        (None, None) => return Ok(PortRange::ANY),
        (Some(one), None) | (None, Some(one)) => (one, one),
        (Some(first), Some(last)) => (first, last),
    };
    if first > last {
        return Err(format!("port range `{first}` to `{last}` is upside down"));
    }
    Ok(PortRange { first, last })
}

fn tcp_flags(words: &str) -> Result<TcpMatch, String> {
    let mut flags = 0;
    let mut established = false;
    for word in words.split(',').filter(|w| !w.is_empty() && *w != "unspecified") {
        match word {
            "est" => established = true,
            "syn" => flags |= TcpFlags::SYN.0,
            "ack" => flags |= TcpFlags::ACK.0,
            "fin" => flags |= TcpFlags::FIN.0,
            "rst" => flags |= TcpFlags::RST.0,
            _ => return Err(format!("`{word}` is no TCP flag")),
        }
    }
    match (established, flags) {
        (false, 0) => Ok(TcpMatch::Any),
        (false, flags) => Ok(TcpMatch::All(TcpFlags(flags))),
        (true, 0) => Ok(TcpMatch::Established),
        (true, _) => Err("`est` cannot stand beside other TCP flags".to_owned()),
    }
}

fn icmp_type(mo: &Mo) -> Result<IcmpMatch, String> {
    // The tree may write the numbers that stand for `unspecified`: 255 and 0.
    let v4 = number("ICMP type", mo.get("icmpv4T"), ICMP_TYPES)?.filter(|kind| *kind != 255);
    let v6 = number("ICMPv6 type", mo.get("icmpv6T"), ICMPV6_TYPES)?.filter(|kind| *kind != 0);
    let protocol = protocol(mo)?;
    if v4.is_some() && protocol != Some(proto::ICMP) {
        return Err(format!("an ICMP type needs protocol `icmp`, not `{}`", mo.get("prot")));
    }
    if v6.is_some() && protocol != Some(proto::ICMPV6) {
        return Err(format!("an ICMPv6 type needs protocol `icmpv6`, not `{}`", mo.get("prot")));
    }
    Ok(IcmpMatch { kind: v4.or(v6), code: None })
}

/// A code point's word or number (RFC 2474, 2597, 3246, 5865): `CSn` is 8n, `AFxy` is 8x + 2y.
pub(super) fn code_point(word: &str) -> Result<Option<u8>, String> {
    let unknown = || format!("`{word}` is no DSCP");
    let digits = |text: &str| text.bytes().map(|b| b.wrapping_sub(b'0')).collect::<Vec<u8>>();
    let number = match word {
        "" | "unspecified" => return Ok(None),
        "EF" => 46,
        "VA" => 44,
        _ => match (word.get(..2), word.get(2..).map(digits).as_deref()) {
            (Some("CS"), Some([class @ 0..=7])) => 8 * class,
            (Some("AF"), Some([class @ 1..=4, drop @ 1..=3])) => 8 * class + 2 * drop,
            _ => word.parse().map_err(|_| unknown())?,
        },
    };
    if number < 64 { Ok(Some(number)) } else { Err(unknown()) }
}

fn arp_operation(word: &str) -> Result<Option<u16>, String> {
    match word {
        "" | "unspecified" => Ok(None),
        "req" => Ok(Some(1)),
        "reply" => Ok(Some(2)),
        _ => Err(format!("`{word}` is no ARP operation")),
    }
}
