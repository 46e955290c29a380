//! Which addresses an endpoint gets.
//!
//! The search starts at a hash of the host's and the endpoint's name, so that an endpoint that
//! comes back under its name gets its old addresses if they are free, and two agents that choose at
//! the same time seldom choose the same. The registry settles the rest: it refuses what another
//! endpoint holds, and the search goes on behind the refused address.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use selvage_rules::{BridgeDomain, EndpointId, Gateway, Mac, Prefix};

use crate::local::{Address, Code, Refusal};

/// What an endpoint asked for; what it did not ask for is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish<'a> {
    /// Addresses.
    pub ips: &'a [IpAddr],
    /// Where the others are to come from; anywhere, when empty.
    pub from: &'a [Prefix],
}

/// Chooses one address of each family that `bd` has a subnet of, unless addresses of that family
/// are asked for. `taken` holds what endpoints of the VRF have or what the registry refused.
pub fn choose(
    host: &str,
    id: &EndpointId,
    wish: &Wish<'_>,
    bd: &BridgeDomain,
    taken: &BTreeSet<IpAddr>,
) -> Result<Vec<Address>, Refusal> {
    if bd.gateways.is_empty() {
        return Err(Refusal::new(
            Code::NoAddress,
            format!("bridge domain `{}` has no subnet, so there is no address to give", bd.name),
        )
        .hint("add a subnet to the bridge domain"));
    }
    let mut chosen = Vec::new();
    for ip in wish.ips {
        chosen.push(check(*ip, bd, taken)?);
    }
    for v6 in [false, true] {
        let open = |s: &Subnet| wish.from.is_empty() || wish.from.iter().any(|p| s.is_in(*p));
        let subnets: Vec<Subnet> = subnets(bd).filter(|s| s.v6 == v6 && open(s)).collect();
        if subnets.is_empty() || wish.ips.iter().any(|ip| ip.is_ipv6() == v6) {
            continue;
        }
        let start = hash(&[host, &id.0, if v6 { "6" } else { "4" }]);
        let free = subnets.iter().find_map(|s| s.search(start, bd, taken).map(|ip| (s, ip)));
        let Some((subnet, ip)) = free else {
            return Err(Refusal::new(
                Code::NoAddress,
                format!(
                    "no IPv{} address is left in the subnets of bridge domain `{}`",
                    if v6 { 6 } else { 4 },
                    bd.name
                ),
            )
            .hint("add a subnet to the bridge domain, or detach endpoints that are not needed"));
        };
        chosen.push(subnet.address(ip, bd));
    }
    chosen.sort_by_key(|a| a.ip);
    Ok(chosen)
}

/// An address as it stands in `bd` now: with the prefix and the gateway of its subnet.
pub fn place(ip: IpAddr, bd: &BridgeDomain) -> Option<Address> {
    subnets(bd).find(|s| s.contains(ip)).map(|s| s.address(ip, bd))
}

/// The MAC of an endpoint that asked for none: locally administered, from a hash of its name.
/// `attempt` counts up where the registry refused one.
pub fn choose_mac(host: &str, id: &EndpointId, attempt: u32) -> Mac {
    let [_, _, _, a, b, c, d, e] = hash(&[host, &id.0, "mac", &attempt.to_string()]).to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

/// Name of the host's end of an endpoint's link: `sv` and eight hex digits.
pub fn host_ifname(host: &str, id: &EndpointId) -> String {
    format!("sv{:08x}", hash(&[host, &id.0, "link"]) >> 32)
}

/// Whether `ip` may be an endpoint's, as asked for.
fn check(ip: IpAddr, bd: &BridgeDomain, taken: &BTreeSet<IpAddr>) -> Result<Address, Refusal> {
    let list = || {
        let nets: Vec<String> = subnets(bd).map(|s| s.to_string()).collect();
        format!("the bridge domain has {}", nets.join(", "))
    };
    let Some(subnet) = subnets(bd).find(|s| s.contains(ip)) else {
        let message = format!("address `{ip}` is in no subnet of bridge domain `{}`", bd.name);
        return Err(Refusal::new(Code::BadAddress, message).hint(list()));
    };
    if bd.gateways.iter().any(|g| g.ip == ip) {
        let message = format!("address `{ip}` is the gateway of bridge domain `{}`", bd.name);
        return Err(Refusal::new(Code::BadAddress, message).hint("leave it out to get a free one"));
    }
    if !subnet.is_host(ip) {
        let message = format!("address `{ip}` is the network or broadcast address of `{subnet}`");
        return Err(Refusal::new(Code::BadAddress, message).hint("leave it out to get a free one"));
    }
    if taken.contains(&ip) {
        let message = format!("address `{ip}` belongs to another endpoint");
        return Err(Refusal::new(Code::AddressTaken, message)
            .hint("leave it out to get a free one, or detach the endpoint that has it"));
    }
    Ok(subnet.address(ip, bd))
}

/// A subnet as a range of numbers; both families in 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subnet {
    v6: bool,
    network: u128,
    /// Bits that tell its hosts apart.
    host_bits: u32,
    gateway: Gateway,
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", to_ip(self.network, self.v6), self.gateway.prefix_len)
    }
}

fn subnets(bd: &BridgeDomain) -> impl Iterator<Item = Subnet> + '_ {
    bd.gateways.iter().map(|gateway| {
        let (value, bits) = to_number(gateway.ip);
        let host_bits = bits.saturating_sub(u32::from(gateway.prefix_len));
        let network = value & !mask(host_bits);
        Subnet { v6: gateway.ip.is_ipv6(), network, host_bits, gateway: *gateway }
    })
}

impl Subnet {
    fn is_in(&self, prefix: Prefix) -> bool {
        let own = Prefix::new(self.gateway.ip, self.gateway.prefix_len);
        own.is_some_and(|own| prefix.covers(own))
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let (value, _) = to_number(ip);
        ip.is_ipv6() == self.v6 && value & !mask(self.host_bits) == self.network
    }

    /// First and last offset that a host may have. The network's own address (in IPv6 the
    /// subnet-router anycast, RFC 4291 2.6.1) and the IPv4 broadcast are none; a /31 (RFC 3021) or
    /// /127 (RFC 6164) has two hosts.
    fn hosts(&self) -> (u128, u128) {
        match (self.host_bits, self.v6) {
            (0, _) => (0, 0),
            (1, _) => (0, 1),
            (bits, false) => (1, mask(bits) - 1),
            (bits, true) => (1, mask(bits)),
        }
    }

    fn is_host(&self, ip: IpAddr) -> bool {
        let (first, last) = self.hosts();
        let offset = to_number(ip).0 & mask(self.host_bits);
        (first..=last).contains(&offset)
    }

    /// The first free address from `start` on, around the end.
    fn search(&self, start: u64, bd: &BridgeDomain, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let (first, mut last) = self.hosts();
        if self.v6 {
            // Thirty-two bits are plenty to choose from and leave an address people can read.
            last = last.min(u128::from(u32::MAX));
        }
        let count = last - first + 1;
        // At most these many can be in the way, so the search ends.
        let blocked = (taken.len() + bd.gateways.len()) as u128;
        (0..count.min(blocked + 1))
            .map(|step| self.network | (first + (u128::from(start) + step) % count))
            .map(|value| to_ip(value, self.v6))
            .find(|ip| !taken.contains(ip) && bd.gateways.iter().all(|g| g.ip != *ip))
    }

    fn address(&self, ip: IpAddr, bd: &BridgeDomain) -> Address {
        let gateway = bd.routed.then_some(self.gateway.ip);
        Address { ip, prefix_len: self.gateway.prefix_len, gateway }
    }
}

fn mask(bits: u32) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

fn to_number(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

fn to_ip(value: u128, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::from_bits(value))
    } else {
        // The value was made from 32 bits.
        IpAddr::V4(Ipv4Addr::from_bits((value & u128::from(u32::MAX)) as u32))
    }
}

/// 64-bit FNV-1a of the parts, mixed so that its low bits are usable. Part of no wire format, but
/// stable: it decides which addresses an endpoint gets back after a restart of its host.
fn hash(parts: &[&str]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvage_rules::ScopeId;

    fn bd(gateways: &[&str]) -> BridgeDomain {
        let gateways = gateways
            .iter()
            .map(|g| {
                let (ip, len) = g.split_once('/').unwrap();
                Gateway { ip: ip.parse().unwrap(), prefix_len: len.parse().unwrap() }
            })
            .collect();
        BridgeDomain {
            name: "bd".into(),
            scope: ScopeId(1),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            routed: true,
            gateways,
        }
    }

    fn id(name: &str) -> EndpointId {
        EndpointId(name.into())
    }

    fn pick(bd: &BridgeDomain, taken: &BTreeSet<IpAddr>) -> Result<Vec<IpAddr>, Code> {
        choose("h1", &id("web-1"), &Wish::default(), bd, taken)
            .map(|list| list.into_iter().map(|a| a.ip).collect())
            .map_err(|r| r.code)
    }

    #[test]
    fn every_host_address_of_a_subnet_is_given_once_and_nothing_else() {
        let bd = bd(&["10.0.0.1/29"]);
        let mut taken = BTreeSet::new();
        for _ in 0..5 {
            let [ip] = pick(&bd, &taken).unwrap()[..] else { panic!("one address expected") };
            assert!(taken.insert(ip), "{ip} was given twice");
        }
        let all: Vec<String> = taken.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(pick(&bd, &taken), Err(Code::NoAddress));
    }

    #[test]
    fn both_families_are_served_and_the_choice_is_stable() {
        let bd = bd(&["10.1.0.1/16", "2001:db8:1::1/64"]);
        let first = pick(&bd, &BTreeSet::new()).unwrap();
        assert_eq!(first.len(), 2);
        assert!(first[0].is_ipv4() && first[1].is_ipv6());
        assert_eq!(pick(&bd, &BTreeSet::new()).unwrap(), first);
        let next = pick(&bd, &BTreeSet::from([first[0]])).unwrap();
        assert_ne!(next[0], first[0]);
        assert_eq!(next[1], first[1]);
    }

    #[test]
    fn addresses_come_from_the_prefixes_that_were_named() {
        let bd = bd(&["10.1.0.1/24", "10.2.0.1/24", "2001:db8:1::1/64"]);
        let from = |prefixes: &[&str]| {
            let from: Vec<Prefix> = prefixes.iter().map(|p| p.parse().unwrap()).collect();
            let wish = Wish { ips: &[], from: &from };
            let chosen = choose("h1", &id("a"), &wish, &bd, &BTreeSet::new()).unwrap();
            chosen.iter().map(|a| a.ip.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(from(&["0.0.0.0/0"]).len(), 1, "no IPv6 unless it is named");
        assert_eq!(from(&["0.0.0.0/0", "::/0"]).len(), 2);
        let second = from(&["10.2.0.0/24"]);
        assert!(second.len() == 1 && second[0].starts_with("10.2.0."), "{second:?}");
    }

    #[test]
    fn a_full_subnet_gives_way_to_the_next() {
        let bd = bd(&["10.0.0.1/30", "10.0.1.1/30"]);
        let taken = BTreeSet::from(["10.0.0.2".parse().unwrap()]);
        assert_eq!(pick(&bd, &taken).unwrap(), ["10.0.1.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn an_address_asked_for_is_taken_as_it_is_or_refused_with_the_reason() {
        let bd = bd(&["10.0.0.1/24", "2001:db8:1::1/64"]);
        let taken = BTreeSet::from(["10.0.0.9".parse().unwrap()]);
        let ask = |ip: &str| {
            let ips = [ip.parse().unwrap()];
            choose("h1", &id("a"), &Wish { ips: &ips, from: &[] }, &bd, &taken)
        };
        let got = ask("10.0.0.5").unwrap();
        assert_eq!(got[0].ip.to_string(), "10.0.0.5");
        assert_eq!((got[0].prefix_len, got[0].gateway), (24, Some("10.0.0.1".parse().unwrap())));
        assert!(got[1].ip.is_ipv6(), "the other family is chosen");
        for (ip, code) in [
            ("10.0.0.9", Code::AddressTaken),
            ("10.0.0.1", Code::BadAddress),
            ("10.0.0.0", Code::BadAddress),
            ("10.0.0.255", Code::BadAddress),
            ("10.0.1.5", Code::BadAddress),
            ("2001:db8:1::", Code::BadAddress),
            ("2001:db8:2::5", Code::BadAddress),
        ] {
            assert_eq!(ask(ip).unwrap_err().code, code, "{ip}");
        }
        assert_eq!(
            ask("10.0.1.5").unwrap_err().hint.unwrap(),
            "the bridge domain has 10.0.0.0/24, 2001:db8:1::/64"
        );
    }

    #[test]
    fn names_are_local_unicast_and_short_enough() {
        let mac = choose_mac("h1", &id("web-1"), 0);
        assert_eq!(mac.0[0] & 0b11, 0b10);
        assert_ne!(mac, choose_mac("h2", &id("web-1"), 0));
        assert_eq!(host_ifname("h1", &id("web-1")).len(), 10);
    }
}
