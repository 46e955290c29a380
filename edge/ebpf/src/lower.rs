//! [`Desired`] to what the maps hold. Pure: no kernel, no clock.
//!
//! Rules and pairs are lowered here one by one; where runs of rules lie in the array, and how a
//! table is swapped for another, is [`crate::swap`]'s affair.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use selvage_rules::{
    Action, BdId, BridgeDomain, ClassId, Desired, Endpoint, EtherMatch, EtherType, GroupId,
    GroupKey, Mac, Match, Packet, PairKey, PortRange, Reason, Rule, RuleSet, ScopeId, Source,
    TcpFlags, TcpMatch, proto,
};

use crate::layout::{Bytes, address_of, types};

/// Positions in [`types::rule`]'s `value` and `mask`, and the bits below them. `bpf/types.h` draws
/// the layout.
mod what {
    use crate::layout::types::{what_bit, what_shift};

    pub const ETHER: u32 = what_shift::WHAT_ETHER.0;
    pub const PROTO: u32 = what_shift::WHAT_PROTO.0;
    pub const TCP_FLAGS: u32 = what_shift::WHAT_TCP_FLAGS.0;
    pub const ICMP_TYPE: u32 = what_shift::WHAT_ICMP_TYPE.0;
    pub const ICMP_CODE: u32 = what_shift::WHAT_ICMP_CODE.0;
    pub const DSCP: u32 = what_shift::WHAT_DSCP.0;
    pub const IS_IP: u64 = what_bit::IS_IP.0 as u64;
    pub const HAS_PORTS: u64 = what_bit::HAS_PORTS.0 as u64;
    pub const IS_TCP: u64 = what_bit::IS_TCP.0 as u64;
    pub const IS_ESTABLISHED: u64 = what_bit::IS_ESTABLISHED.0 as u64;
    pub const IS_ICMP: u64 = what_bit::IS_ICMP.0 as u64;
    pub const IS_LATER_FRAGMENT: u64 = what_bit::IS_LATER_FRAGMENT.0 as u64;
}

/// Bits of [`types::rule`]'s `flags`.
pub mod flag {
    use crate::layout::types::rule_flag;

    /// It permits.
    pub const PERMIT: u8 = rule_flag::RULE_PERMIT.0 as u8;
    /// Replies pass by the connection.
    pub const STATEFUL: u8 = rule_flag::RULE_STATEFUL.0 as u8;
    /// Packets it decides are logged.
    pub const LOG: u8 = rule_flag::RULE_LOG.0 as u8;
    /// A rule of its run looks at what differs between packets of one connection.
    pub const VOLATILE: u8 = rule_flag::RULE_VOLATILE.0 as u8;
}

/// Values of [`types::endpoint`]'s `kind`.
pub mod kind {
    use crate::layout::types::endpoint_kind;

    /// On this host.
    pub const LOCAL: u8 = endpoint_kind::ENDPOINT_LOCAL.0 as u8;
    /// On another.
    pub const REMOTE: u8 = endpoint_kind::ENDPOINT_REMOTE.0 as u8;
    /// A gateway address of a bridge domain.
    pub const GATEWAY: u8 = endpoint_kind::ENDPOINT_GATEWAY.0 as u8;
}

/// Values of the `tunnels` map, and of [`types::endpoint`]'s `encapsulation`.
pub mod encapsulation {
    use selvage_rules::Encapsulation;

    use crate::layout::types;

    /// As the programs know it.
    pub const fn number(encapsulation: Encapsulation) -> u8 {
        let number = match encapsulation {
            Encapsulation::Gbp => types::encapsulation::ENCAPSULATION_GBP,
            Encapsulation::EpgVni => types::encapsulation::ENCAPSULATION_EPG_VNI,
        };
        number.0 as u8
    }
}

/// Where everything is: the tables that have no generations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Ports with an endpoint.
    pub ports: BTreeMap<Bytes<u32>, Bytes<types::port>>,
    /// Endpoints and gateways by VRF and address.
    pub by_ip: BTreeMap<Bytes<types::ip_key>, Bytes<types::endpoint>>,
    /// Endpoints by bridge domain and MAC.
    pub by_mac: BTreeMap<Bytes<types::mac_key>, Bytes<types::endpoint>>,
    /// VNIs of this host, of packets with a group policy header.
    pub networks: BTreeMap<Bytes<u32>, Bytes<types::network>>,
    /// VNIs of packets without: the sender's group.
    pub sources: BTreeMap<Bytes<u32>, Bytes<types::source>>,
    /// The way back of `sources`.
    pub group_vnis: BTreeMap<Bytes<types::group_key>, Bytes<u32>>,
    /// Tunnel addresses of the fabric's hosts, and how each speaks.
    pub tunnels: BTreeMap<Bytes<types::address>, Bytes<u32>>,
    /// Classes that some endpoint has.
    pub classes: BTreeSet<(ScopeId, ClassId)>,
    /// What cannot be enforced, in words.
    pub unsupported: Vec<String>,
}

/// Lowers all but the rules. `tunnel` is this host's tunnel address: hosts whose address is of the
/// other family are out of reach.
pub fn places(desired: &Desired, tunnel: IpAddr) -> Places {
    let mut places = Places::default();
    let domains = &desired.table.bridge_domains;
    for scope in desired.table.vrfs.keys() {
        let default_source = default_source(desired, *scope).map_or(0, |class| class.0);
        let network = types::network { scope: scope.0, default_source, ..Default::default() };
        places.networks.insert(Bytes(scope.0), Bytes(network));
    }
    for (bd, domain) in domains {
        let network = types::network { scope: domain.scope.0, bd: bd.0, ..Default::default() };
        places.networks.insert(Bytes(bd.0), Bytes(network));
    }
    for (id, remote) in &desired.remotes {
        if remote.tunnel.is_ipv4() != tunnel.is_ipv4() {
            let at = remote.tunnel;
            places.unsupported.push(format!(
                "endpoint `{}` is behind `{at}`, which is not of the family of this host's \
                 tunnel address `{tunnel}`",
                id.0
            ));
            continue;
        }
        let Some(domain) = domains.get(&remote.endpoint.bd) else { continue };
        // A host that is not known yet, or shares no encapsulation with this one, is out of reach.
        let Some(speaks) = desired.tunnels.get(&remote.tunnel) else { continue };
        let mut place = endpoint(&remote.endpoint, domain, kind::REMOTE);
        place.tunnel = address_of(remote.tunnel);
        place.encapsulation = encapsulation::number(*speaks);
        places.put(&remote.endpoint, domain, place);
    }
    for local in desired.locals.values() {
        let Some(bound) = &local.endpoint else { continue };
        let Some(domain) = domains.get(&bound.bd) else { continue };
        let mut place = endpoint(bound, domain, kind::LOCAL);
        place.ifindex = local.ifindex;
        places.put(bound, domain, place);
    }
    for (bd, domain) in domains.iter().filter(|(_, domain)| domain.routed) {
        places.put_gateways(*bd, domain);
    }
    // After all that may claim an address: a port owns what is still its own.
    for local in desired.locals.values() {
        let Some(bound) = &local.endpoint else { continue };
        let Some(domain) = domains.get(&bound.bd) else { continue };
        let port = places.port(local.ifindex, bound, domain);
        places.ports.insert(Bytes(local.ifindex), Bytes(port));
    }
    for (peer, speaks) in &desired.tunnels {
        let speaks = u32::from(encapsulation::number(*speaks));
        places.tunnels.insert(Bytes(address_of(*peer)), Bytes(speaks));
    }
    for (number, source) in &desired.sources {
        let default = default_source(desired, source.key.scope);
        places.put_source(*number, source, default == Some(source.key.class));
    }
    places
}

impl Places {
    fn put(&mut self, endpoint: &Endpoint, domain: &BridgeDomain, place: types::endpoint) {
        self.by_mac.insert(mac_key(endpoint.bd, endpoint.mac), Bytes(place));
        for ip in &endpoint.ips {
            self.by_ip.insert(ip_key(domain.scope, *ip), Bytes(place));
        }
        self.classes.insert((domain.scope, endpoint.class));
    }

    fn port(&self, ifindex: u32, endpoint: &Endpoint, domain: &BridgeDomain) -> types::port {
        let owns = |ip: &&IpAddr| {
            let place = self.by_ip.get(&ip_key(domain.scope, **ip));
            place.is_some_and(|place| place.0.kind == kind::LOCAL && place.0.ifindex == ifindex)
        };
        let first = |v6| {
            let ip = endpoint.ips.iter().filter(owns).find(|ip| ip.is_ipv6() == v6);
            ip.map(|ip| address_of(*ip)).unwrap_or_default()
        };
        types::port {
            bd: endpoint.bd.0,
            scope: domain.scope.0,
            class: endpoint.class.0,
            mac: endpoint.mac.0,
            gateway_mac: domain.mac.0,
            routed: domain.routed.into(),
            bound: 1,
            first_v4: first(false),
            first_v6: first(true),
        }
    }

    fn put_source(&mut self, number: GroupId, source: &Source, is_default: bool) {
        let GroupKey { scope, class } = source.key;
        let bd = source.bd.map_or(0, |bd| bd.0);
        let receives = if is_default { ClassId::DEFAULT_OUTSIDE } else { class };
        let entry = types::source { scope: scope.0, bd, class: class.0, receives: receives.0 };
        self.sources.insert(Bytes(number.0), Bytes(entry));
        let key = group_key(source.key);
        self.group_vnis.insert(key, Bytes(number.0));
    }

    fn put_gateways(&mut self, bd: BdId, domain: &BridgeDomain) {
        for gateway in &domain.gateways {
            let place = types::endpoint {
                bd: bd.0,
                mac: domain.mac.0,
                gateway_mac: domain.mac.0,
                kind: kind::GATEWAY,
                routed: 1,
                ..types::endpoint::default()
            };
            self.by_ip.insert(ip_key(domain.scope, gateway.ip), Bytes(place));
        }
    }
}

/// The class of what comes from addresses outside that only a default prefix covers.
fn default_source(desired: &Desired, scope: ScopeId) -> Option<ClassId> {
    let mut groups = desired.table.outside.get(&scope)?.groups.values();
    let default = groups.find(|group| group.destination == ClassId::DEFAULT_OUTSIDE)?;
    Some(default.source)
}

/// The map key of a group.
pub fn group_key(key: GroupKey) -> Bytes<types::group_key> {
    Bytes(types::group_key { scope: key.scope.0, class: key.class.0, zero: 0 })
}

/// The map key of a MAC in a bridge domain.
pub fn mac_key(bd: BdId, mac: Mac) -> Bytes<types::mac_key> {
    Bytes(types::mac_key { bd: bd.0, mac: mac.0, zero: 0 })
}

/// The map key of an address in a VRF.
pub fn ip_key(scope: ScopeId, ip: IpAddr) -> Bytes<types::ip_key> {
    Bytes(types::ip_key { scope: scope.0, ip: address_of(ip) })
}

fn endpoint(endpoint: &Endpoint, domain: &BridgeDomain, kind: u8) -> types::endpoint {
    types::endpoint {
        bd: endpoint.bd.0,
        class: endpoint.class.0,
        mac: endpoint.mac.0,
        gateway_mac: domain.mac.0,
        kind,
        routed: domain.routed.into(),
        ..types::endpoint::default()
    }
}

/// The map key of a pair.
pub fn pair_key(key: PairKey) -> types::pair_key {
    types::pair_key { scope: key.scope.0, src: key.src.0, dst: key.dst.0 }
}

/// The way back of [`pair_key`].
pub fn pair_of(key: &types::pair_key) -> PairKey {
    PairKey { scope: ScopeId(key.scope), src: ClassId(key.src), dst: ClassId(key.dst) }
}

/// What a pair's `check` must be.
pub fn pair_check(key: PairKey) -> u32 {
    u32::from(key.src.0) << 16 | u32::from(key.dst.0)
}

/// Lowers a set, in its order. Counter slots are 0: they are given when it is installed.
pub fn rules(set: &RuleSet) -> Vec<Bytes<types::rule>> {
    // Later fragments belong to no connection, so asking for them alone does not count.
    let differs = |matches: &Match| {
        matches.tcp != TcpMatch::Any || matches.icmp.code.is_some() || matches.dscp.is_some()
    };
    let is_volatile = set.rules.iter().any(|rule| differs(&rule.matches));
    let shared = if is_volatile { flag::VOLATILE } else { 0 };
    set.rules.iter().map(|r| Bytes(types::rule { flags: flags(r) | shared, ..rule(r) })).collect()
}

fn flags(rule: &Rule) -> u8 {
    let permit = rule.action == Action::Permit;
    let mut flags = 0;
    if permit {
        flags |= flag::PERMIT;
    }
    if permit && rule.stateful {
        flags |= flag::STATEFUL;
    }
    if rule.log {
        flags |= flag::LOG;
    }
    flags
}

fn rule(rule: &Rule) -> types::rule {
    let (value, mask) = value_and_mask(&rule.matches);
    let reason = match rule.action {
        Action::Permit => rule.reason,
        Action::Deny => Reason::Denied,
        Action::Redirect => Reason::RedirectUnsupported,
    };
    types::rule {
        value,
        mask,
        sport_first: rule.matches.sport.first,
        sport_last: rule.matches.sport.last,
        dport_first: rule.matches.dport.first,
        dport_last: rule.matches.dport.last,
        id: rule.id.0,
        counter: 0,
        priority: rule.priority,
        reason: reason as u8,
        flags: 0,
        zero: 0,
    }
}

/// Two demands on one field that differ (an ARP operation of IPv4 packets, say) leave bits in the
/// value that the mask lets no packet have: such a rule matches nothing, as it should.
fn value_and_mask(matches: &Match) -> (u64, u64) {
    let (mut value, mut mask) = (0_u64, 0_u64);
    let mut ask = |shift: u32, field: u64, wanted: u64| {
        let clash = mask & field << shift & (value ^ wanted << shift);
        value |= wanted << shift;
        mask |= field << shift;
        // A bit outside the mask can never equal one that is set.
        if clash != 0 {
            value = u64::MAX;
            mask = 0;
        }
    };
    match matches.ether {
        EtherMatch::Any => {}
        EtherMatch::Ip => ask(0, what::IS_IP, what::IS_IP),
        EtherMatch::Is(one) => ask(what::ETHER, 0xffff, one.0.into()),
    }
    if let Some(operation) = matches.arp_op {
        ask(what::ETHER, 0xffff, EtherType::ARP.0.into());
        ask(what::ICMP_CODE, 0xffff, operation.into());
    }
    if let Some(proto) = matches.proto {
        ask(0, what::IS_IP, what::IS_IP);
        ask(what::PROTO, 0xff, proto.into());
    }
    if let Some(dscp) = matches.dscp {
        ask(0, what::IS_IP, what::IS_IP);
        ask(what::DSCP, 0x3f, dscp.into());
    }
    if matches.later_fragments_only {
        ask(0, what::IS_LATER_FRAGMENT, what::IS_LATER_FRAGMENT);
    }
    if matches.sport != PortRange::ANY || matches.dport != PortRange::ANY {
        ask(0, what::HAS_PORTS, what::HAS_PORTS);
    }
    match matches.tcp {
        TcpMatch::Any => {}
        TcpMatch::Established => ask(0, what::IS_ESTABLISHED, what::IS_ESTABLISHED),
        TcpMatch::All(flags) => {
            ask(0, what::IS_TCP, what::IS_TCP);
            ask(what::TCP_FLAGS, flags.0.into(), flags.0.into());
        }
    }
    if let Some(kind) = matches.icmp.kind {
        ask(0, what::IS_ICMP, what::IS_ICMP);
        ask(what::ICMP_TYPE, 0xff, kind.into());
    }
    if let Some(code) = matches.icmp.code {
        ask(0, what::IS_ICMP, what::IS_ICMP);
        ask(what::ICMP_CODE, 0xff, code.into());
    }
    (value, mask)
}

/// The packet as `bpf/parse.h` packs it.
pub fn what_of(packet: &Packet) -> u64 {
    let mut what = u64::from(packet.ether.0) << what::ETHER;
    if packet.later_fragment {
        what |= what::IS_LATER_FRAGMENT;
    }
    if packet.ether == EtherType::ARP {
        return what | u64::from(packet.arp_op) << what::ICMP_CODE;
    }
    if !packet.ether.is_ip() {
        return what;
    }
    what |= what::IS_IP | u64::from(packet.proto) << what::PROTO;
    what |= u64::from(packet.dscp & 0x3f) << what::DSCP;
    if packet.later_fragment {
        return what;
    }
    if packet.has_ports() {
        what |= what::HAS_PORTS;
    }
    match packet.proto {
        proto::TCP => {
            what |= what::IS_TCP | u64::from(packet.tcp_flags.0) << what::TCP_FLAGS;
            if packet.tcp_flags.intersects(TcpFlags(TcpFlags::ACK.0 | TcpFlags::RST.0)) {
                what |= what::IS_ESTABLISHED;
            }
        }
        proto::ICMP | proto::ICMPV6 => {
            what |= what::IS_ICMP
                | u64::from(packet.icmp_type) << what::ICMP_TYPE
                | u64::from(packet.icmp_code) << what::ICMP_CODE;
        }
        _ => {}
    }
    what
}
