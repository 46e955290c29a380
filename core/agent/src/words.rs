//! Packets and rules in the words people use for them: `tcp/5432`, `icmp echo-request`, `arp`.

use std::fmt::Write;

use selvage_rules::{EtherMatch, EtherType, Match, Packet, PortRange, TcpMatch, proto};

/// The last name of a DN: `web` of `uni/tn-shop/ap-store/epg-web`. What has no such form comes back
/// whole.
pub fn short(dn: &str) -> &str {
    let rn = dn.rsplit_once('/').map_or(dn, |(_, rn)| rn);
    rn.split_once('-').map_or(rn, |(_, name)| name)
}

/// The contract that a rule's origin belongs to: `sql` of `uni/tn-shop/brc-sql/subj-tcp`. An origin
/// that is no contract comes back by its last name.
pub fn contract(dn: &str) -> &str {
    dn.split('/').find_map(|rn| rn.strip_prefix("brc-")).unwrap_or_else(|| short(dn))
}

/// A group as users name it: `shop/store/web` of `uni/tn-shop/ap-store/epg-web`.
pub fn epg(dn: &str) -> String {
    let names: Option<Vec<&str>> = dn
        .split('/')
        .skip(1)
        .zip(["tn-", "ap-", "epg-"])
        .map(|(rn, prefix)| rn.strip_prefix(prefix))
        .collect();
    names.filter(|names| names.len() == 3).map_or_else(|| dn.to_owned(), |names| names.join("/"))
}

/// The service a packet is for.
pub fn service(packet: &Packet) -> String {
    match packet.ether {
        EtherType::ARP => match packet.arp_op {
            1 => "arp request".to_owned(),
            2 => "arp reply".to_owned(),
            _ => "arp".to_owned(),
        },
        ether if ether.is_ip() => {
            let name = protocol(packet.proto);
            match packet.proto {
                _ if packet.later_fragment => format!("{name} fragment"),
                proto::ICMP | proto::ICMPV6 => {
                    format!("{name} {}", icmp(packet.proto, packet.icmp_type))
                }
                _ if packet.has_ports() => format!("{name}/{}", packet.dport),
                _ => name,
            }
        }
        EtherType(number) => format!("ethertype 0x{number:04x}"),
    }
}

/// What a rule matches.
pub fn matches(rule: &Match) -> String {
    let mut text = match (rule.proto, rule.ether) {
        (Some(number), _) => protocol(number),
        (None, EtherMatch::Any) => "any traffic".to_owned(),
        (None, EtherMatch::Ip) => "any ip traffic".to_owned(),
        (None, EtherMatch::Is(EtherType::IPV4)) => "any ipv4 traffic".to_owned(),
        (None, EtherMatch::Is(EtherType::IPV6)) => "any ipv6 traffic".to_owned(),
        (None, EtherMatch::Is(EtherType::ARP)) => "arp".to_owned(),
        (None, EtherMatch::Is(EtherType(number))) => format!("ethertype 0x{number:04x}"),
    };
    if rule.dport != PortRange::ANY {
        text.push('/');
        push_range(&mut text, rule.dport);
    }
    if let Some(kind) = rule.icmp.kind {
        text.push(' ');
        text.push_str(&icmp(rule.proto.unwrap_or(proto::ICMP), kind));
    }
    if rule.sport != PortRange::ANY {
        text.push_str(" from port ");
        push_range(&mut text, rule.sport);
    }
    if rule.tcp == TcpMatch::Established {
        text.push_str(" established");
    }
    if rule.later_fragments_only {
        text.push_str(" fragments");
    }
    if let Some(dscp) = rule.dscp {
        // Writing to a string cannot fail.
        let _ = write!(text, " marked dscp {dscp}");
    }
    text
}

fn push_range(text: &mut String, range: PortRange) {
    // Writing to a string cannot fail.
    let _ = if range.first == range.last {
        write!(text, "{}", range.first)
    } else {
        write!(text, "{}-{}", range.first, range.last)
    };
}

fn protocol(number: u8) -> String {
    match number {
        proto::ICMP => "icmp".to_owned(),
        proto::TCP => "tcp".to_owned(),
        proto::UDP => "udp".to_owned(),
        proto::ICMPV6 => "icmpv6".to_owned(),
        proto::SCTP => "sctp".to_owned(),
        other => format!("ip protocol {other}"),
    }
}

/// Types by name where a name is commonly known (IANA), else by number.
fn icmp(protocol: u8, kind: u8) -> String {
    let name = match (protocol, kind) {
        (proto::ICMP, 0) | (proto::ICMPV6, 129) => "echo-reply",
        (proto::ICMP, 8) | (proto::ICMPV6, 128) => "echo-request",
        (proto::ICMP, 3) | (proto::ICMPV6, 1) => "unreachable",
        (proto::ICMP, 11) | (proto::ICMPV6, 3) => "time-exceeded",
        (proto::ICMPV6, 133) => "router-solicitation",
        (proto::ICMPV6, 134) => "router-advertisement",
        (proto::ICMPV6, 135) => "neighbour-solicitation",
        (proto::ICMPV6, 136) => "neighbour-advertisement",
        _ => return format!("type {kind}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvage_rules::IcmpMatch;

    #[test]
    fn packets_and_rules_read_as_people_say_them() {
        assert_eq!(service(&Packet::tcp_syn(EtherType::IPV4, 40000, 5432)), "tcp/5432");
        assert_eq!(service(&Packet::echo_request(EtherType::IPV6)), "icmpv6 echo-request");
        assert_eq!(service(&Packet::ip(EtherType::IPV4, 89)), "ip protocol 89");
        assert_eq!(service(&Packet::ip(EtherType(0x88cc), 0)), "ethertype 0x88cc");
        let tcp = Match { proto: Some(proto::TCP), ..Match::EVERYTHING };
        assert_eq!(matches(&Match { dport: PortRange::one(80), ..tcp }), "tcp/80");
        let range = PortRange { first: 80, last: 90 };
        assert_eq!(matches(&Match { sport: range, ..tcp }), "tcp from port 80-90");
        let echo = IcmpMatch { kind: Some(8), code: None };
        assert_eq!(
            matches(&Match { proto: Some(proto::ICMP), icmp: echo, ..Match::EVERYTHING }),
            "icmp echo-request"
        );
        assert_eq!(matches(&Match::EVERYTHING), "any traffic");
    }

    #[test]
    fn names_come_out_of_dns() {
        assert_eq!(short("uni/tn-shop/ap-store/epg-web-front"), "web-front");
        assert_eq!(short("web"), "web");
        assert_eq!(contract("uni/tn-shop/brc-sql/subj-tcp"), "sql");
        assert_eq!(contract("uni/tn-shop/ctx-main"), "main");
    }
}
