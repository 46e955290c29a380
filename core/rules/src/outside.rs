//! The world outside the fabric: prefixes that policy knows, and the hosts by which it is reached.
//!
//! Two tables by longest prefix, as on a router: one says which group an address is in, the other
//! which host leads there. A packet may leave where both have an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ClassId, GroupId, NodeId, ParseIdError};

/// A prefix of addresses of one family. Host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// All of IPv4.
    pub const ALL_V4: Prefix = Prefix { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };
    /// All of IPv6.
    pub const ALL_V6: Prefix = Prefix { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    /// The prefix of `len` bits that `address` is in; `None` if its family has no prefix that long.
    pub fn new(address: IpAddr, len: u8) -> Option<Prefix> {
        let (width, bits) = (width(address), bits(address));
        if len > width {
            return None;
        }
        let host_bits = u32::from(width - len);
        let host = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Prefix { address: address_of(bits & host, address.is_ipv6()), len })
    }

    /// The lowest address in it.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Its length in bits: 0 to 32, or 128 for IPv6.
    pub fn length(self) -> u8 {
        self.len
    }

    /// Whether it has every address of its family in it.
    pub fn is_default(self) -> bool {
        self.len == 0
    }

    /// Whether `ip` is in it.
    pub fn contains(self, ip: IpAddr) -> bool {
        Prefix::new(ip, self.len).is_some_and(|p| p == self)
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Prefix) -> bool {
        self.len <= other.len && self.contains(other.address)
    }

    /// The longest of `map`'s prefixes that `ip` is in, and what is there.
    pub fn longest<V>(map: &BTreeMap<Prefix, V>, ip: IpAddr) -> Option<(Prefix, &V)> {
        Prefix::at_most(map, ip, width(ip))
    }

    fn at_most<V>(map: &BTreeMap<Prefix, V>, ip: IpAddr, len: u8) -> Option<(Prefix, &V)> {
        let mut lengths = (0..=len).rev();
        lengths.find_map(|len| {
            let prefix = Prefix::new(ip, len)?;
            map.get(&prefix).map(|value| (prefix, value))
        })
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address_of(bits: u128, v6: bool) -> IpAddr {
    // Of IPv4 only the low 32 bits are ever set.
    if v6 { Ipv6Addr::from(bits).into() } else { Ipv4Addr::from(bits as u32).into() }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Prefix, ParseIdError> {
        let parse = || {
            let (address, len) = text.split_once('/')?;
            Prefix::new(address.parse().ok()?, len.parse().ok()?)
        };
        parse().ok_or_else(|| ParseIdError::new("a prefix such as `10.0.0.0/8`", text))
    }
}

impl TryFrom<String> for Prefix {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Prefix, ParseIdError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> String {
        prefix.to_string()
    }
}

/// A group of addresses outside, as one of its prefixes sees it.
///
/// All its prefixes but the default ones have one class both ways. The default prefixes of all
/// external groups of a VRF share a class for what comes from there and another for what goes there
/// (as ACI's VRF tag and its pcTag 15 do), so two groups that both claim them are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// DN of the group, or of the first of those that share the prefix.
    pub name: Arc<str>,
    /// Class of a packet from there.
    pub source: ClassId,
    /// Class of a packet to there.
    pub destination: ClassId,
    /// Fabric-wide number of `source`.
    pub encap: GroupId,
}

/// A host by which a prefix is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hop {
    /// The host.
    pub node: NodeId,
    /// Name of the host's link that leads there.
    pub link: Arc<str>,
    /// The router behind the link; `None` where the prefix is on the link itself.
    pub via: Option<IpAddr>,
}

/// A subnet of the VRF, as the world outside may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// It is known outside: its packets leave as they are. Otherwise they take the address of the
    /// border host.
    pub public: bool,
}

/// The world outside one VRF.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outside {
    /// Which group an address is in, by longest prefix.
    pub groups: BTreeMap<Prefix, External>,
    /// Which hosts lead there, by longest prefix.
    pub routes: BTreeMap<Prefix, BTreeSet<Hop>>,
    /// Subnets of the VRF.
    pub inside: BTreeMap<Prefix, Inside>,
}

impl Outside {
    /// The group that `ip` is in, if it is outside. Endpoints come before: ask for them first.
    pub fn group_of(&self, ip: IpAddr) -> Option<&External> {
        Prefix::longest(&self.groups, ip).map(|(_, group)| group)
    }

    /// The hosts by which `ip` is reached.
    pub fn hops_to(&self, ip: IpAddr) -> Option<&BTreeSet<Hop>> {
        Prefix::longest(&self.routes, ip).map(|(_, hops)| hops)
    }

    /// Whether this is the class of addresses outside, on either side.
    pub fn has_class(&self, class: ClassId) -> bool {
        self.groups.values().any(|group| group.source == class || group.destination == class)
    }

    /// The hosts by which any of it is reached.
    pub fn borders(&self) -> BTreeSet<NodeId> {
        self.routes.values().flatten().map(|hop| hop.node).collect()
    }

    /// Both tables as one: every prefix of either, with what either says about it.
    pub fn joined(&self) -> BTreeMap<Prefix, (Option<&External>, Option<&BTreeSet<Hop>>)> {
        let prefixes: BTreeSet<Prefix> =
            self.groups.keys().chain(self.routes.keys()).copied().collect();
        let at = |prefix: Prefix| {
            let (ip, len) = (prefix.address, prefix.len);
            let group = Prefix::at_most(&self.groups, ip, len).map(|(_, group)| group);
            let hops = Prefix::at_most(&self.routes, ip, len).map(|(_, hops)| hops);
            (prefix, (group, hops))
        };
        prefixes.into_iter().map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_lose_their_host_bits_and_know_what_is_in_them() {
        assert_eq!(prefix("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert_eq!(prefix("2001:db8:1::1/32").to_string(), "2001:db8::/32");
        assert_eq!(prefix("10.1.2.3/32").to_string(), "10.1.2.3/32");
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "/8", "10.0.0.0/-1"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad} was accepted");
        }
        assert!(prefix("0.0.0.0/0").contains([192, 0, 2, 1].into()));
        assert!(!prefix("0.0.0.0/0").contains(Ipv6Addr::LOCALHOST.into()));
        assert!(prefix("10.0.0.0/8").covers(prefix("10.1.0.0/16")));
        assert!(!prefix("10.1.0.0/16").covers(prefix("10.0.0.0/8")));
    }

    #[test]
    fn the_longest_prefix_wins_in_both_tables_apart() {
        let group = |name: &str, class| External {
            name: name.into(),
            source: ClassId(class),
            destination: ClassId(class),
            encap: GroupId(1),
        };
        let hops = |node| BTreeSet::from([Hop { node: NodeId(node), link: "o".into(), via: None }]);
        let outside = Outside {
            groups: BTreeMap::from([
                (prefix("0.0.0.0/0"), group("any", 1)),
                (prefix("10.1.0.0/16"), group("near", 2)),
            ]),
            routes: BTreeMap::from([
                (prefix("10.0.0.0/8"), hops(101)),
                (prefix("10.1.1.0/24"), hops(102)),
            ]),
            inside: BTreeMap::new(),
        };
        for (ip, class, node) in [
            ([10, 1, 1, 1], 2, Some(102)),
            ([10, 1, 2, 1], 2, Some(101)),
            ([10, 2, 0, 1], 1, Some(101)),
            ([192, 0, 2, 1], 1, None),
        ] {
            let ip = ip.into();
            assert_eq!(outside.group_of(ip).unwrap().source, ClassId(class));
            let first = |hops: &BTreeSet<Hop>| hops.first().unwrap().node.0;
            assert_eq!(outside.hops_to(ip).map(first), node);
            // The joined table says the same with one lookup.
            let joined = outside.joined();
            let (_, (group, hops)) = Prefix::longest(&joined, ip).unwrap();
            assert_eq!(group.unwrap().source, ClassId(class));
            assert_eq!(hops.map(first), node);
        }
    }
}
