//! Sets of packets in the words flows are written in, as few as will do.

use std::collections::BTreeSet;

use selvage_rules::{EtherMatch, EtherType, Match, TcpFlags, proto};

use super::cube::{
    BOTH, Bytes, CODE_POINTS, Cube, Layout, Span, V4, compact, established, without,
};
use crate::trace::{describe, protocol_name};

/// The most exceptions that a whole is named with (`everything but tcp/22 and udp/53`).
const MOST_EXCEPTIONS: usize = 3;

const V4_ONLY: EtherMatch = EtherMatch::Is(EtherType::IPV4);
const V6_ONLY: EtherMatch = EtherMatch::Is(EtherType::IPV6);

/// What is in `cubes`, which are disjoint: each word a part of it, together all of it.
pub fn describe_all(cubes: &[Cube]) -> Vec<String> {
    let direct = parts(cubes);
    let ethers = [EtherMatch::Any, EtherMatch::Ip, V4_ONLY, V6_ONLY];
    let wholes = ethers.map(|ether| Match { ether, ..Match::EVERYTHING });
    let nearly = wholes.iter().filter_map(|whole| {
        let all = Cube::matching(whole);
        let missing = without(&all, cubes);
        let fits = without(cubes, &all).is_empty() && !missing.is_empty();
        fits.then(|| (describe(whole), parts(&compact(missing))))
    });
    match nearly.min_by_key(|(_, exceptions)| exceptions.len()) {
        Some((whole, exceptions))
            if exceptions.len() < direct.len() && exceptions.len() <= MOST_EXCEPTIONS =>
        {
            vec![format!("{whole} but {}", exceptions.join(" and "))]
        }
        _ => direct,
    }
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
    words.extend(by_ports(compact(left)).iter().map(|(one, ports)| cube(one, ports)));
    words
}

/// Cubes that differ in their destination ports only, as one, with all those ports.
fn by_ports(cubes: Vec<Cube>) -> Vec<(Cube, Vec<Span>)> {
    let mut sets: Vec<(Cube, Vec<Span>)> = Vec::new();
    for cube in cubes {
        let has_ports = matches!(cube.layout, Layout::Tcp | Layout::Ports);
        let same = |set: &&mut (Cube, Vec<Span>)| has_ports && Cube { y: cube.y, ..set.0 } == cube;
        match sets.iter_mut().find(same) {
            Some((_, ports)) => ports.push(cube.y),
            None => sets.push((cube, vec![cube.y])),
        }
    }
    sets
}

/// Destination ports, or those that are not among them where that is shorter.
fn ports(spans: &[Span]) -> String {
    let list = |spans: &[Span]| spans.iter().copied().map(span).collect::<Vec<_>>().join(",");
    if spans == [Span::ANY] {
        return String::new();
    }
    let mut missing = Vec::new();
    let mut next = Some(0);
    for have in spans {
        if let Some(first) = next.filter(|first| *first < have.first) {
            missing.push(Span { first, last: have.first - 1 });
        }
        next = have.last.checked_add(1);
    }
    missing.extend(next.map(|first| Span { first, last: u16::MAX }));
    if missing.len() < spans.len() {
        format!(" but to port {}", list(&missing))
    } else {
        format!("/{}", list(spans))
    }
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

fn cube(cube: &Cube, to: &[Span]) -> String {
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
            let to = ports(to);
            let from = match cube.x {
                Span::ANY => String::new(),
                from => format!(" from port {}", span(from)),
            };
            words +=
                &if to.starts_with('/') { format!("{to}{from}") } else { format!("{from}{to}") };
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
    if cube.dscp != CODE_POINTS {
        words += &code_points(cube.dscp);
    }
    words
}

/// Few are named, many are said by what is missing.
fn code_points(set: Bytes) -> String {
    let named = |set: Bytes| set.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ");
    if set.iter().count() <= 32 {
        format!(" with DSCP {}", named(set))
    } else {
        format!(" but with DSCP {}", named(Bytes::of(|one| CODE_POINTS.has(one) && !set.has(one))))
    }
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
        check(&[ip], &[tcp(22), tcp(80)], &["all IP but tcp/22,80"]);
        let v6 = Match { ether: V6_ONLY, ..Match::EVERYTHING };
        check(&[v6], &[tcp(22)], &["all IPv6 but tcp/22 over IPv6"]);
        let all_tcp = Match { dport: PortRange::ANY, ..tcp(1) };
        check(&[all_tcp], &[tcp(22)], &["tcp but to port 22", "tcp later fragments"]);
        let from = |sport| Match { sport: PortRange::one(sport), dport: PortRange::ANY, ..tcp(1) };
        check(&[from(80)], &[tcp(8080)], &["tcp from port 80 but to port 8080"]);
        check(&[tcp(80), tcp(443)], &[], &["tcp/80,443"]);
    }
}
