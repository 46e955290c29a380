//! Sets of packets as unions of cubes, exactly.
//!
//! Packets come in seven *layouts*, by which headers they have. Within one layout a cube is a
//! product: a set of values for each field. Cubes are closed under intersection, and the difference
//! of two is a few disjoint ones, so first-match rule lists can be taken apart without sampling.
//! (Header space analysis does the same with ternary bit vectors; ports are ranges here, and a range
//! is one cube instead of thirty.)

use std::sync::LazyLock;

use selvage_rules::{EtherMatch, EtherType, Match, Packet, PortRange, TcpFlags, TcpMatch, proto};
use serde::{Deserialize, Serialize};

/// Which headers a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// TCP: `x` and `y` are source and destination port.
    Tcp,
    /// UDP and SCTP: `x` and `y` are source and destination port.
    Ports,
    /// ICMP and ICMPv6: `x` is the type, `y` the code.
    Icmp,
    /// Any other IP protocol.
    Plain,
    /// A fragment other than the first, of any IP protocol.
    Fragment,
    /// ARP: `x` is the operation.
    Arp,
    /// Neither IP nor ARP: `x` is the Ethernet type.
    Frame,
}

/// A set of 8-bit values: protocols, TCP flag bytes. In JSON a list of ranges, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<(u8, u8)>", into = "Vec<(u8, u8)>")]
pub struct Bytes([u64; 4]);

impl From<Bytes> for Vec<(u8, u8)> {
    fn from(set: Bytes) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for value in set.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(value) => *last = value,
                _ => ranges.push((value, value)),
            }
        }
        ranges
    }
}

impl From<Vec<(u8, u8)>> for Bytes {
    fn from(ranges: Vec<(u8, u8)>) -> Bytes {
        Bytes::of(|value| ranges.iter().any(|(first, last)| (*first..=*last).contains(&value)))
    }
}

impl Bytes {
    /// Every value.
    pub const ALL: Bytes = Bytes([u64::MAX; 4]);

    /// The values that are wanted.
    pub fn of(wanted: impl Fn(u8) -> bool) -> Bytes {
        let mut words = [0; 4];
        for value in (0..=u8::MAX).filter(|value| wanted(*value)) {
            if let Some(word) = words.get_mut(usize::from(value >> 6)) {
                *word |= 1 << (value & 63);
            }
        }
        Bytes(words)
    }

    /// Just these values.
    pub fn these(values: &[u8]) -> Bytes {
        Bytes::of(|value| values.contains(&value))
    }

    /// Whether `value` is one of them.
    pub fn has(&self, value: u8) -> bool {
        self.0.get(usize::from(value >> 6)).is_some_and(|word| word >> (value & 63) & 1 == 1)
    }

    /// The values, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|value| self.has(*value))
    }

    fn zip(self, other: Bytes, op: impl Fn(u64, u64) -> u64) -> Bytes {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Bytes([op(a, e), op(b, f), op(c, g), op(d, h)])
    }

    pub(super) fn and(self, other: Bytes) -> Bytes {
        self.zip(other, |a, b| a & b)
    }

    fn or(self, other: Bytes) -> Bytes {
        self.zip(other, |a, b| a | b)
    }

    fn minus(self, other: Bytes) -> Bytes {
        self.zip(other, |a, b| a & !b)
    }

    /// Every other value.
    pub fn complement(self) -> Bytes {
        Bytes::ALL.minus(self)
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

/// Values from the first to the last, both included.
pub type Span = PortRange;

/// The bit of IPv4 in [`Cube::families`].
pub const V4: u8 = 1;
/// The bit of IPv6 in [`Cube::families`].
pub const V6: u8 = 2;
/// Both address families.
pub const BOTH: u8 = V4 | V6;

/// Packets of one layout: the product of its fields. A field that the layout does not have holds
/// every value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cube {
    /// Which headers they have.
    pub layout: Layout,
    /// Address families, as bits.
    pub families: u8,
    /// IP protocols.
    pub protos: Bytes,
    /// TCP flag bytes.
    pub flags: Bytes,
    /// Differentiated services code points of IP packets, of 0 to 63.
    #[serde(default = "code_points", skip_serializing_if = "is_any_code_point")]
    pub dscp: Bytes,
    /// What [`Layout`] says it is.
    pub x: Span,
    /// What [`Layout`] says it is.
    pub y: Span,
}

/// Every differentiated services code point.
pub(super) const CODE_POINTS: Bytes = Bytes([u64::MAX, 0, 0, 0]);

fn code_points() -> Bytes {
    CODE_POINTS
}

fn is_any_code_point(set: &Bytes) -> bool {
    *set == CODE_POINTS
}

const KIND: Span = Span { first: 0, last: u8::MAX as u16 };
const PORTED: &[u8] = &[proto::UDP, proto::SCTP];
const ICMPS: &[u8] = &[proto::ICMP, proto::ICMPV6];

static SPACE: LazyLock<Vec<Cube>> = LazyLock::new(make_space);

fn make_space() -> Vec<Cube> {
    let all = |layout, protos: Bytes| Cube {
        layout,
        families: BOTH,
        protos,
        flags: Bytes::ALL,
        dscp: CODE_POINTS,
        x: Span::ANY,
        y: Span::ANY,
    };
    let other = |p| p != proto::TCP && !PORTED.contains(&p) && !ICMPS.contains(&p);
    let mut space = vec![
        all(Layout::Tcp, Bytes::these(&[proto::TCP])),
        all(Layout::Ports, Bytes::these(PORTED)),
        Cube { x: KIND, y: KIND, ..all(Layout::Icmp, Bytes::these(ICMPS)) },
        all(Layout::Plain, Bytes::of(other)),
        all(Layout::Fragment, Bytes::ALL),
        all(Layout::Arp, Bytes::ALL),
    ];
    let mut first = 0;
    for hole in [EtherType::IPV4.0, EtherType::ARP.0, EtherType::IPV6.0] {
        let x = Span { first, last: hole - 1 };
        space.push(Cube { x, ..all(Layout::Frame, Bytes::ALL) });
        first = hole + 1;
    }
    let x = Span { first, last: u16::MAX };
    space.push(Cube { x, ..all(Layout::Frame, Bytes::ALL) });
    space
}

impl Cube {
    /// Every packet: the cubes of all layouts. Ethernet types take several, with holes for IP and
    /// ARP.
    pub fn space() -> &'static [Cube] {
        &SPACE
    }

    /// The packets that `matches` is about, as disjoint cubes: [`Match::matches`] as a set.
    pub fn matching(matches: &Match) -> Vec<Cube> {
        SPACE.iter().filter_map(|cube| cube.narrow(matches)).collect()
    }

    fn narrow(&self, m: &Match) -> Option<Cube> {
        let mut cube = *self;
        match self.layout {
            Layout::Frame => match m.ether {
                EtherMatch::Any => {}
                EtherMatch::Ip => return None,
                EtherMatch::Is(one) => cube.x = meet(cube.x, Span::one(one.0))?,
            },
            Layout::Arp => {
                if !m.ether.matches(EtherType::ARP) {
                    return None;
                }
                if let Some(op) = m.arp_op {
                    cube.x = Span::one(op);
                }
            }
            _ => {
                let v4 = if m.ether.matches(EtherType::IPV4) { V4 } else { 0 };
                let v6 = if m.ether.matches(EtherType::IPV6) { V6 } else { 0 };
                cube.families = v4 | v6;
                if let Some(one) = m.proto {
                    cube.protos = cube.protos.and(Bytes::these(&[one]));
                }
                if cube.families == 0 || cube.protos.is_empty() {
                    return None;
                }
            }
        }
        let is_ip = !matches!(self.layout, Layout::Frame | Layout::Arp);
        if m.proto.is_some() && !is_ip
            || m.arp_op.is_some() && self.layout != Layout::Arp
            || m.later_fragments_only && self.layout != Layout::Fragment
            || m.dscp.is_some() && !is_ip
        {
            return None;
        }
        if let Some(dscp) = m.dscp {
            cube.dscp = Bytes::these(&[dscp]);
        }
        if m.needs_l4() { cube.narrow_l4(m) } else { Some(cube) }
    }

    fn narrow_l4(mut self, m: &Match) -> Option<Cube> {
        if m.sport != PortRange::ANY || m.dport != PortRange::ANY {
            if !matches!(self.layout, Layout::Tcp | Layout::Ports) {
                return None;
            }
            self.x = m.sport;
            self.y = m.dport;
        }
        if m.tcp != TcpMatch::Any {
            if self.layout != Layout::Tcp {
                return None;
            }
            self.flags = match m.tcp {
                TcpMatch::Any => Bytes::ALL,
                TcpMatch::Established => established(),
                TcpMatch::All(flags) => Bytes::of(|byte| TcpFlags(byte).contains(flags)),
            };
        }
        if m.icmp.kind.is_some() || m.icmp.code.is_some() {
            if self.layout != Layout::Icmp {
                return None;
            }
            self.x = m.icmp.kind.map_or(self.x, |kind| Span::one(kind.into()));
            self.y = m.icmp.code.map_or(self.y, |code| Span::one(code.into()));
        }
        Some(self)
    }

    /// The packets that are in both.
    pub fn meet(&self, other: &Cube) -> Option<Cube> {
        let common = Cube {
            layout: self.layout,
            families: self.families & other.families,
            protos: self.protos.and(other.protos),
            flags: self.flags.and(other.flags),
            dscp: self.dscp.and(other.dscp),
            x: meet(self.x, other.x)?,
            y: meet(self.y, other.y)?,
        };
        let sets = [common.protos, common.flags, common.dscp];
        let empty = common.families == 0 || sets.iter().any(Bytes::is_empty);
        (self.layout == other.layout && !empty).then_some(common)
    }

    /// Adds to `rest` the packets that are not in `other`, as disjoint cubes.
    pub fn minus(&self, other: &Cube, rest: &mut Vec<Cube>) {
        let Some(common) = self.meet(other) else { return rest.push(*self) };
        let mut left = *self;
        let families = left.families & !common.families;
        if families != 0 {
            rest.push(Cube { families, ..left });
            left.families = common.families;
        }
        let protos = left.protos.minus(common.protos);
        if !protos.is_empty() {
            rest.push(Cube { protos, ..left });
            left.protos = common.protos;
        }
        let flags = left.flags.minus(common.flags);
        if !flags.is_empty() {
            rest.push(Cube { flags, ..left });
            left.flags = common.flags;
        }
        let dscp = left.dscp.minus(common.dscp);
        if !dscp.is_empty() {
            rest.push(Cube { dscp, ..left });
            left.dscp = common.dscp;
        }
        rest.extend(outside(left.x, common.x).map(|x| Cube { x, ..left }));
        left.x = common.x;
        rest.extend(outside(left.y, common.y).map(|y| Cube { y, ..left }));
    }

    /// Both as one cube, if they differ in one field and make one set of it. `None` otherwise.
    fn join(&self, other: &Cube) -> Option<Cube> {
        let mut all = *self;
        all.families |= other.families;
        all.protos = all.protos.or(other.protos);
        all.flags = all.flags.or(other.flags);
        all.dscp = all.dscp.or(other.dscp);
        all.x = hull(self.x, other.x)?;
        all.y = hull(self.y, other.y)?;
        let differ = [
            self.families != other.families,
            self.protos != other.protos,
            self.flags != other.flags,
            self.dscp != other.dscp,
            self.x != other.x,
            self.y != other.y,
        ];
        let fits = differ.into_iter().filter(|differs| *differs).count() <= 1;
        (self.layout == other.layout && fits).then_some(all)
    }

    /// Whether `packet` is one of them. Its fields that its protocol lacks do not count.
    pub fn has(&self, packet: &Packet) -> bool {
        let (layout, x, y) = coordinates(packet);
        let family = match packet.ether {
            EtherType::IPV4 => V4,
            EtherType::IPV6 => V6,
            _ => BOTH,
        };
        let is_ip = packet.ether.is_ip();
        self.layout == layout
            && self.families & family != 0
            && (!is_ip || self.protos.has(packet.proto))
            && (!is_ip || self.dscp.has(packet.dscp))
            && (layout != Layout::Tcp || self.flags.has(packet.tcp_flags.0))
            && self.x.contains(x)
            && self.y.contains(y)
    }
}

/// The flag bytes of TCP segments that no connection begins with.
pub(crate) fn established() -> Bytes {
    Bytes::of(|byte| TcpFlags(byte).intersects(TcpFlags(TcpFlags::ACK.0 | TcpFlags::RST.0)))
}

fn coordinates(packet: &Packet) -> (Layout, u16, u16) {
    if packet.ether == EtherType::ARP {
        return (Layout::Arp, packet.arp_op, 0);
    }
    if !packet.ether.is_ip() {
        return (Layout::Frame, packet.ether.0, 0);
    }
    if packet.later_fragment {
        return (Layout::Fragment, 0, 0);
    }
    match packet.proto {
        proto::TCP => (Layout::Tcp, packet.sport, packet.dport),
        proto::UDP | proto::SCTP => (Layout::Ports, packet.sport, packet.dport),
        proto::ICMP | proto::ICMPV6 => {
            (Layout::Icmp, packet.icmp_type.into(), packet.icmp_code.into())
        }
        _ => (Layout::Plain, 0, 0),
    }
}

fn meet(a: Span, b: Span) -> Option<Span> {
    let span = Span { first: a.first.max(b.first), last: a.last.min(b.last) };
    (span.first <= span.last).then_some(span)
}

/// The parts of `all` below and above `part`, which lies within it.
fn outside(all: Span, part: Span) -> impl Iterator<Item = Span> {
    let below = (all.first < part.first).then(|| Span { first: all.first, last: part.first - 1 });
    let above = (part.last < all.last).then(|| Span { first: part.last + 1, last: all.last });
    below.into_iter().chain(above)
}

/// Both spans as one, if there is no gap between them.
fn hull(a: Span, b: Span) -> Option<Span> {
    let touch =
        u32::from(a.first) <= u32::from(b.last) + 1 && u32::from(b.first) <= u32::from(a.last) + 1;
    touch.then(|| Span { first: a.first.min(b.first), last: a.last.max(b.last) })
}

/// The packets of `all` that are not in `taken`, as disjoint cubes if those of `all` are.
pub fn without(all: &[Cube], taken: &[Cube]) -> Vec<Cube> {
    let mut left = all.to_vec();
    for cube in taken {
        let mut rest = Vec::with_capacity(left.len());
        left.iter().for_each(|part| part.minus(cube, &mut rest));
        left = rest;
    }
    left
}

/// The same packets in disjoint cubes.
pub fn disjoint(cubes: impl IntoIterator<Item = Cube>) -> Vec<Cube> {
    let mut all: Vec<Cube> = Vec::new();
    for cube in cubes {
        let mut fresh = vec![cube];
        for held in &all {
            let mut rest = Vec::new();
            fresh.iter().for_each(|part| part.minus(held, &mut rest));
            fresh = rest;
        }
        all.extend(fresh);
    }
    all
}

/// The same packets in fewer cubes, ordered: joins what fits until nothing does.
pub fn compact(mut cubes: Vec<Cube>) -> Vec<Cube> {
    cubes.sort_unstable();
    let mut at = 0;
    while let Some(mut cube) = cubes.get(at).copied() {
        let mut grew = false;
        let mut other = at + 1;
        while let Some(candidate) = cubes.get(other) {
            match cube.join(candidate) {
                Some(joined) => {
                    cube = joined;
                    cubes.remove(other);
                    grew = true;
                }
                None => other += 1,
            }
        }
        if let Some(slot) = cubes.get_mut(at) {
            *slot = cube;
        }
        // What has grown may now fit one before it.
        at = if grew { 0 } else { at + 1 };
    }
    cubes.sort_unstable();
    cubes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use selvage_rules::IcmpMatch;

    use super::*;

    fn a_match() -> impl Strategy<Value = Match> {
        let port = select(vec![
            Span::ANY,
            Span::one(80),
            Span { first: 80, last: 81 },
            Span { first: 81, last: 90 },
            Span { first: 0, last: 79 },
        ]);
        let ether = select(vec![
            EtherMatch::Any,
            EtherMatch::Ip,
            EtherMatch::Is(EtherType::IPV4),
            EtherMatch::Is(EtherType::IPV6),
            EtherMatch::Is(EtherType::ARP),
            EtherMatch::Is(EtherType(0x22f3)),
        ]);
        let tcp = select(vec![
            TcpMatch::Any,
            TcpMatch::Established,
            TcpMatch::All(TcpFlags::SYN),
            TcpMatch::All(TcpFlags::FIN),
        ]);
        let proto = select(vec![None, Some(6), Some(17), Some(132), Some(1), Some(58), Some(47)]);
        let kind = select(vec![None, None, Some(0), Some(8)]);
        let dscp = select(vec![None, None, Some(0), Some(46)]);
        (
            (ether, proto, port.clone(), port, tcp),
            (kind.clone(), kind, select(vec![None, None, Some(1), Some(2)]), any::<bool>(), dscp),
        )
            .prop_map(
                |((ether, proto, sport, dport, tcp), (kind, code, arp_op, frag, dscp))| Match {
                    ether,
                    proto,
                    sport,
                    dport,
                    tcp,
                    icmp: IcmpMatch { kind, code },
                    arp_op,
                    later_fragments_only: frag && kind == Some(0),
                    dscp,
                },
            )
    }

    /// One packet on each side of every edge in [`a_match`].
    fn packets() -> Vec<Packet> {
        let mut all = vec![Packet::ip(EtherType(0x22f3), 0), Packet::ip(EtherType(0x88b5), 0)];
        all.extend([0, 1, 2, 3].map(|arp_op| Packet { arp_op, ..Packet::ip(EtherType::ARP, 0) }));
        for (ether, dscp) in
            [EtherType::IPV4, EtherType::IPV6].into_iter().flat_map(|e| [0, 46, 63].map(|d| (e, d)))
        {
            for proto in [1, 6, 17, 47, 58, 132] {
                let plain = Packet { dscp, ..Packet::ip(ether, proto) };
                all.push(Packet { later_fragment: true, ..plain });
                match coordinates(&plain).0 {
                    Layout::Tcp | Layout::Ports => {
                        for (sport, dport) in [0, 79, 80, 81, 90, 91, 65535]
                            .into_iter()
                            .flat_map(|a| [0, 79, 80, 81, 90, 91].map(|b| (a, b)))
                        {
                            let flags: &[u8] =
                                if proto == 6 { &[0, 1, 2, 4, 16, 18] } else { &[0] };
                            all.extend(flags.iter().map(|flags| Packet {
                                sport,
                                dport,
                                tcp_flags: TcpFlags(*flags),
                                ..plain
                            }));
                        }
                    }
                    Layout::Icmp => all.extend([0, 3, 8].into_iter().flat_map(|icmp_type| {
                        [0, 8, 9].map(|icmp_code| Packet { icmp_type, icmp_code, ..plain })
                    })),
                    _ => all.push(plain),
                }
            }
        }
        all
    }

    fn holders(cubes: &[Cube], packet: &Packet) -> usize {
        cubes.iter().filter(|cube| cube.has(packet)).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn cubes_are_the_sets_they_stand_for(a in a_match(), b in a_match()) {
            let (ours, theirs) = (Cube::matching(&a), Cube::matching(&b));
            let union = disjoint(ours.iter().chain(&theirs).copied());
            let mut rest = ours.clone();
            for cube in &theirs {
                let mut left = Vec::new();
                rest.iter().for_each(|part| part.minus(cube, &mut left));
                rest = left;
            }
            let small = compact(union.clone());
            prop_assert!(small.len() <= union.len());
            for packet in packets() {
                let (in_a, in_b) = (a.matches(&packet), b.matches(&packet));
                prop_assert_eq!(holders(&ours, &packet), usize::from(in_a), "{:?}", packet);
                prop_assert_eq!(holders(&union, &packet), usize::from(in_a || in_b));
                prop_assert_eq!(holders(&small, &packet), usize::from(in_a || in_b));
                prop_assert_eq!(holders(&rest, &packet), usize::from(in_a && !in_b));
            }
        }
    }

    #[test]
    fn every_packet_is_in_the_space_once() {
        for packet in packets() {
            assert_eq!(holders(Cube::space(), &packet), 1, "{packet:?}");
        }
    }

    #[test]
    fn what_was_split_is_joined_again() {
        let whole = Cube::matching(&Match { proto: Some(proto::TCP), ..Match::EVERYTHING });
        let hole = Cube::matching(&Match {
            proto: Some(proto::TCP),
            sport: Span { first: 10, last: 20 },
            dport: Span::one(443),
            ..Match::EVERYTHING
        });
        let mut parts = hole.clone();
        for cube in &whole {
            cube.minus(&hole[0], &mut parts);
        }
        assert_eq!(compact(parts), whole);
    }
}
