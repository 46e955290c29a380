//! Sets of packets in the words flows are written in, as few as will do.

use std::collections::BTreeSet;

use selvage_rules::{EtherMatch, EtherType, Match, TcpFlags, proto};

use super::cube::{BOTH, Bytes, Cube, Layout, Span, V4, compact, established};
use crate::trace::{describe, protocol_name};

/// The most exceptions that a whole is named with (`everything but tcp/22 and udp/53`).
const MOST_EXCEPTIONS: usize = 3;

/// What is in `cubes`, which are disjoint: each word a part of it, together all of it.
pub fn describe_all(cubes: &[Cube]) -> Vec<String> {
    let direct = parts(cubes);
    for whole in [Match::EVERYTHING, Match { ether: EtherMatch::Ip, ..Match::EVERYTHING }] {
        let all = Cube::matching(&whole);
        let missing = without(&all, cubes);
        if !without(cubes, &all).is_empty() || missing.is_empty() {
            continue;
        }
        let exceptions = parts(&compact(missing));
        if exceptions.len() < direct.len() && exceptions.len() <= MOST_EXCEPTIONS {
            return vec![format!("{} but {}", describe(&whole), exceptions.join(" and "))];
        }
    }
    direct
}

/// Names the largest wholes that are all in it, then what is left cube by cube.
fn parts(cubes: &[Cube]) -> Vec<String> {
    let mut left = cubes.to_vec();
    let mut words = Vec::new();
    for whole in wholes(cubes) {
        let all = Cube::matching(&whole);
        if without(&all, &left).is_empty() {
            words.push(describe(&whole));
            left = without(&left, &all);
        }
    }
    let frames: Vec<Cube> =
        Cube::space().iter().filter(|cube| cube.layout == Layout::Frame).copied().collect();
    if without(&frames, &left).is_empty() {
        words.push("frames neither IP nor ARP".to_owned());
        left = without(&left, &frames);
    }
    words.extend(compact(left).iter().map(cube));
    words
}

/// What may be named as a whole: everything, a family, a protocol with its fragments.
fn wholes(cubes: &[Cube]) -> Vec<Match> {
    let fragments = cubes.iter().filter(|cube| cube.layout == Layout::Fragment);
    let protos: BTreeSet<u8> = fragments
        .filter(|cube| cube.protos != Bytes::ALL)
        .flat_map(|cube| cube.protos.iter())
        .chain([proto::TCP, proto::UDP, proto::SCTP, proto::ICMP, proto::ICMPV6])
        .collect();
    // More than a few is no list to read: what is left is said as the rest of all protocols.
    let protos = protos.into_iter().filter(|p| {
        matches!(*p, proto::TCP | proto::UDP | proto::SCTP | proto::ICMP | proto::ICMPV6)
            || cubes.iter().any(|c| c.layout == Layout::Plain && c.protos == Bytes::these(&[*p]))
    });
    let ethers = [EtherMatch::Ip, EtherMatch::Is(EtherType::IPV4), EtherMatch::Is(EtherType::IPV6)];
    let protos: Vec<Option<u8>> = [None].into_iter().chain(protos.map(Some)).collect();
    let ip = protos
        .into_iter()
        .flat_map(|proto| ethers.map(|ether| Match { ether, proto, ..Match::EVERYTHING }));
    [Match::EVERYTHING].into_iter().chain(ip).collect()
}

/// The packets of `all` that are not in `taken`.
fn without(all: &[Cube], taken: &[Cube]) -> Vec<Cube> {
    let mut left = all.to_vec();
    for cube in taken {
        let mut rest = Vec::with_capacity(left.len());
        left.iter().for_each(|part| part.minus(cube, &mut rest));
        left = rest;
    }
    left
}

fn cube(cube: &Cube) -> String {
    let mut words = match cube.layout {
        Layout::Arp => return arp(cube.x),
        Layout::Frame => return ethertypes(cube.x),
        Layout::Tcp | Layout::Ports | Layout::Icmp => protocols(cube.protos),
        Layout::Plain if cube.protos == plain() => "other IP protocols".to_owned(),
        Layout::Plain => protocols(cube.protos),
        Layout::Fragment if cube.protos == Bytes::ALL => "later fragments".to_owned(),
        Layout::Fragment if cube.protos.iter().count() > 8 => {
            let but: Vec<u8> = (0..=u8::MAX).filter(|p| !cube.protos.has(*p)).collect();
            format!("later fragments but of {}", protocols(Bytes::these(&but)))
        }
        Layout::Fragment => format!("{} later fragments", protocols(cube.protos)),
    };
    match cube.layout {
        Layout::Tcp | Layout::Ports => {
            if cube.y != Span::ANY {
                words += &format!("/{}", span(cube.y));
            }
            if cube.x != Span::ANY {
                words += &format!(" from port {}", span(cube.x));
            }
        }
        Layout::Icmp => {
            let whole = Span { first: 0, last: u8::MAX.into() };
            if cube.x != whole {
                words += &format!(" type {}", span(cube.x));
            }
            if cube.y != whole {
                words += &format!(" code {}", span(cube.y));
            }
        }
        _ => {}
    }
    if cube.families != BOTH {
        words += if cube.families == V4 { " over IPv4" } else { " over IPv6" };
    }
    if cube.layout == Layout::Tcp {
        words += &flags(cube.flags);
    }
    words
}

fn plain() -> Bytes {
    let plain = Cube::space().iter().find(|cube| cube.layout == Layout::Plain);
    plain.map_or(Bytes::ALL, |cube| cube.protos)
}

fn protocols(protos: Bytes) -> String {
    let names: Vec<String> = protos.iter().map(protocol_name).collect();
    names.join("+")
}

fn span(span: Span) -> String {
    if span.first == span.last {
        span.first.to_string()
    } else {
        format!("{}-{}", span.first, span.last)
    }
}

fn arp(ops: Span) -> String {
    match ops {
        Span::ANY => "arp".to_owned(),
        Span { first: 1, last: 1 } => "arp requests".to_owned(),
        Span { first: 2, last: 2 } => "arp replies".to_owned(),
        ops => format!("arp operations {}", span(ops)),
    }
}

fn ethertypes(types: Span) -> String {
    if types.first == types.last {
        format!("ethertype {:#06x}", types.first)
    } else {
        format!("ethertypes {:#06x}-{:#06x}", types.first, types.last)
    }
}

/// The sets of flag bytes that rules can ask for, and what they leave over.
fn flags(set: Bytes) -> String {
    if set == Bytes::ALL {
        return String::new();
    }
    let matching = |wanted: TcpFlags| {
        Bytes::these(
            &(0..=u8::MAX).filter(|byte| TcpFlags(*byte).contains(wanted)).collect::<Vec<u8>>(),
        )
    };
    let known = [
        (TcpFlags::FIN.0, "fin"),
        (TcpFlags::SYN.0, "syn"),
        (TcpFlags::RST.0, "rst"),
        (TcpFlags::ACK.0, "ack"),
    ];
    if set == established() {
        return " once established".to_owned();
    }
    if set == established().complement() {
        return " before it is established".to_owned();
    }
    for some in 1..16_u8 {
        let chosen = known.iter().enumerate().filter(|(at, _)| some >> at & 1 == 1);
        let (bits, names) = chosen.fold((0, Vec::new()), |(bits, mut names), (_, (bit, name))| {
            names.push(*name);
            (bits | bit, names)
        });
        if set == matching(TcpFlags(bits)) {
            return format!(" with flags {}", names.join("+"));
        }
        if set == matching(TcpFlags(bits)).complement() {
            return format!(" without flags {}", names.join("+"));
        }
    }
    format!(" with {} of the 256 combinations of flags", set.iter().count())
}

#[cfg(test)]
mod tests {
    use selvage_rules::{IcmpMatch, PortRange, TcpMatch};

    use super::*;

    fn tcp(port: u16) -> Match {
        let dport = PortRange::one(port);
        Match { ether: EtherMatch::Ip, proto: Some(proto::TCP), dport, ..Match::EVERYTHING }
    }

    #[track_caller]
    fn check(yes: &[Match], no: &[Match], words: &[&str]) {
        let sets = |matches: &[Match]| -> Vec<Cube> {
            super::super::cube::disjoint(matches.iter().flat_map(Cube::matching))
        };
        assert_eq!(describe_all(&compact(without(&sets(yes), &sets(no)))), words);
    }

    #[test]
    fn what_one_entry_matches_is_one_word() {
        let ip = Match { ether: EtherMatch::Ip, ..Match::EVERYTHING };
        let icmp = Match { proto: Some(proto::ICMP), ..ip };
        check(&[tcp(5432)], &[], &["tcp/5432"]);
        check(&[tcp(80), tcp(81)], &[], &["tcp/80-81"]);
        check(&[Match { dport: PortRange::ANY, ..tcp(1) }], &[], &["tcp"]);
        check(&[icmp], &[], &["icmp"]);
        check(
            &[Match { icmp: IcmpMatch { kind: Some(8), code: None }, ..icmp }],
            &[],
            &["icmp type 8"],
        );
        check(&[ip], &[], &["all IP"]);
        check(&[Match { proto: Some(47), ..ip }], &[], &["ip/47"]);
        check(&[Match::EVERYTHING], &[], &["everything"]);
        check(
            &[Match { tcp: TcpMatch::Established, ..tcp(80) }],
            &[],
            &["tcp/80 once established"],
        );
        let v6 = Match { ether: EtherMatch::Is(EtherType::IPV6), ..tcp(80) };
        check(&[v6], &[], &["tcp/80 over IPv6"]);
        let back = Match { sport: PortRange::one(80), dport: PortRange::ANY, ..tcp(1) };
        check(&[back], &[], &["tcp from port 80"]);
        check(&[Match { later_fragments_only: true, ..icmp }], &[], &["icmp later fragments"]);
        check(
            &[Match { ether: EtherMatch::Is(EtherType::ARP), ..Match::EVERYTHING }],
            &[],
            &["arp"],
        );
    }

    #[test]
    fn what_is_nearly_whole_is_said_by_its_exceptions() {
        let ip = Match { ether: EtherMatch::Ip, ..Match::EVERYTHING };
        check(&[Match::EVERYTHING], &[tcp(22)], &["everything but tcp/22"]);
        check(&[ip], &[tcp(22), tcp(80)], &["all IP but tcp/22 and tcp/80"]);
        let all_tcp = Match { dport: PortRange::ANY, ..tcp(1) };
        check(&[all_tcp], &[tcp(22)], &["tcp/0-21", "tcp/23-65535", "tcp later fragments"]);
    }
}
