//! The world outside as the maps hold it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use selvage_agent::datapath::ExitLink;
use selvage_rules::{ClassId, Desired, Exit, Prefix, ScopeId, Way};

use crate::layout::{Bytes, address_of, types};
use crate::lower::encapsulation;

/// Values of [`types::external`]'s `exit`.
pub mod exit {
    use crate::layout::types::exit_kind;

    /// No host leads there.
    pub const NONE: u8 = exit_kind::EXIT_NONE.0 as u8;
    /// This host's own stack.
    pub const HERE: u8 = exit_kind::EXIT_HERE.0 as u8;
    /// Another host.
    pub const HOST: u8 = exit_kind::EXIT_HOST.0 as u8;
}

/// Bits of a key before the address.
const LEAD: u32 = types::outside_key::OUTSIDE_BITS.0;
/// Set in a key's `scope` for IPv6.
const IPV6: u32 = types::outside_key::OUTSIDE_IPV6.0;

/// What holds for addresses that no endpoint has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outside {
    /// By longest prefix.
    pub prefixes: BTreeMap<Bytes<types::prefix_key>, Bytes<types::external>>,
    /// Our ends of the links to the host's stack, and the VRF of each.
    pub exits: BTreeMap<Bytes<u32>, Bytes<u32>>,
    /// Classes of addresses outside.
    pub classes: BTreeSet<(ScopeId, ClassId)>,
    /// What cannot be, in words.
    pub unsupported: Vec<String>,
}

/// Lowers the outside. `links` are the interface indices of our ends of the links to the host's
/// stack, and `tunnel` is this host's tunnel address: hosts whose address is of the other family are
/// out of reach.
pub fn lower(desired: &Desired, links: &BTreeMap<ScopeId, u32>, tunnel: IpAddr) -> Outside {
    let mut outside = Outside::default();
    for scope in desired.table.outside.keys() {
        for (prefix, way) in desired.ways(*scope) {
            let entry = entry(desired, *scope, &way, links.get(scope).copied(), tunnel);
            outside.prefixes.insert(Bytes(key(*scope, prefix)), Bytes(entry));
            let classes = way.group.iter().flat_map(|group| [group.source, group.destination]);
            outside.classes.extend(classes.map(|class| (*scope, class)));
        }
    }
    for scope in desired.exits_here() {
        match links.get(&scope) {
            Some(ifindex) => drop(outside.exits.insert(Bytes(*ifindex), Bytes(scope.0))),
            None => {
                let vrf = desired.table.vrfs.get(&scope).map_or("", |vrf| &*vrf.name);
                let link = ExitLink::of(scope).plane;
                outside.unsupported.push(format!("the way out of `{vrf}`: there is no `{link}`"));
            }
        }
    }
    outside
}

fn entry(
    desired: &Desired,
    scope: ScopeId,
    way: &Way<'_>,
    link: Option<u32>,
    tunnel: IpAddr,
) -> types::external {
    let mut entry = types::external {
        source: way.group.map_or(0, |group| group.source.0),
        destination: way.group.map_or(0, |group| group.destination.0),
        mac: ExitLink::of(scope).mac.0,
        exit: exit::NONE,
        ..types::external::default()
    };
    match way.exit {
        Some(Exit::Here) => {
            if let Some(ifindex) = link {
                entry.exit = exit::HERE;
                entry.ifindex = ifindex;
            }
        }
        Some(Exit::Host(host)) if host.is_ipv4() == tunnel.is_ipv4() => {
            if let Some(speaks) = desired.tunnels.get(&host) {
                entry.exit = exit::HOST;
                entry.tunnel = address_of(host);
                entry.encapsulation = encapsulation::number(*speaks);
            }
        }
        Some(Exit::Host(_)) | None => {}
    }
    entry
}

/// The map key of a prefix.
pub fn key(scope: ScopeId, prefix: Prefix) -> types::prefix_key {
    let v6 = prefix.address().is_ipv6();
    let (mapped, family) = if v6 { (0, IPV6) } else { (96, 0) };
    types::prefix_key {
        bits: LEAD + mapped + u32::from(prefix.length()),
        scope: scope.0 | family,
        ip: address_of(prefix.address()),
    }
}

/// The entry that holds for `ip`, as the kernel finds it.
pub fn find(
    prefixes: &BTreeMap<Bytes<types::prefix_key>, Bytes<types::external>>,
    scope: ScopeId,
    ip: IpAddr,
) -> Option<types::external> {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let mut lengths = (0..=longest).rev();
    lengths.find_map(|len| {
        let key = key(scope, Prefix::new(ip, len)?);
        prefixes.get(&Bytes(key)).map(|entry| entry.0)
    })
}
