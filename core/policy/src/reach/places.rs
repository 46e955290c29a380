//! Which prefix decides about which addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_rules::Prefix;

/// Addresses that one prefix decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The longest prefix they are in; `None` if they are in none.
    pub prefix: Option<Prefix>,
    /// One of them.
    pub address: IpAddr,
}

/// Takes the addresses of `whole` apart by the longest of `map`'s prefixes that they are in: first
/// what a prefix around `whole` decides about, then by prefix. A prefix that longer ones cover has
/// no part.
pub fn addresses<V>(map: &BTreeMap<Prefix, V>, whole: Prefix) -> Vec<Addresses> {
    let within: Vec<Prefix> = map.keys().copied().filter(|p| whole.covers(*p)).collect();
    let mut parts = Vec::new();
    if !within.contains(&whole) {
        let around = map.keys().copied().filter(|p| p.covers(whole));
        let prefix = around.max_by_key(|p| p.length());
        parts.extend(free(whole, &within).map(|address| Addresses { prefix, address }));
    }
    for prefix in &within {
        let longer: Vec<Prefix> =
            within.iter().copied().filter(|p| prefix.covers(*p) && p != prefix).collect();
        let address = free(*prefix, &longer);
        parts.extend(address.map(|address| Addresses { prefix: Some(*prefix), address }));
    }
    parts
}

/// An address of `whole` that none of the prefixes in it has.
fn free(whole: Prefix, taken: &[Prefix]) -> Option<IpAddr> {
    if taken.is_empty() {
        return Some(some_host(whole));
    }
    if taken.contains(&whole) {
        return None;
    }
    halves(whole)?.into_iter().find_map(|half| {
        let within: Vec<Prefix> = taken.iter().copied().filter(|p| half.covers(*p)).collect();
        free(half, &within)
    })
}

/// The first address that could be a host's: the lowest names the network.
fn some_host(prefix: Prefix) -> IpAddr {
    let next = match prefix.address() {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) | 1).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) | 1).into()),
    };
    if prefix.contains(next) { next } else { prefix.address() }
}

/// The two prefixes that are one bit longer; `None` of a single address.
fn halves(prefix: Prefix) -> Option<[Prefix; 2]> {
    let len = prefix.length() + 1;
    let upper = match prefix.address() {
        IpAddr::V4(v4) => {
            let bit = 1_u32.checked_shl(32_u32.checked_sub(len.into())?)?;
            IpAddr::V4((u32::from(v4) | bit).into())
        }
        IpAddr::V6(v6) => {
            let bit = 1_u128.checked_shl(128_u32.checked_sub(len.into())?)?;
            IpAddr::V6((u128::from(v6) | bit).into())
        }
    };
    Some([Prefix::new(prefix.address(), len)?, Prefix::new(upper, len)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(held: &[&str], whole: &str, expected: &[(&str, &str)]) {
        let map = held.iter().map(|text| (text.parse().unwrap(), ())).collect();
        let parts = addresses(&map, whole.parse().unwrap());
        let name = |part: &Addresses| part.prefix.map_or("none".to_owned(), |p| p.to_string());
        let got: Vec<_> = parts.iter().map(|p| (name(p), p.address.to_string())).collect();
        let expected: Vec<_> =
            expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn addresses_go_to_the_longest_prefix_and_what_is_covered_has_none() {
        check(&[], "10.0.0.0/8", &[("none", "10.0.0.1")]);
        check(&["0.0.0.0/0"], "10.0.0.0/8", &[("0.0.0.0/0", "10.0.0.1")]);
        check(
            &["0.0.0.0/0", "10.0.0.0/9"],
            "10.0.0.0/8",
            &[("0.0.0.0/0", "10.128.0.1"), ("10.0.0.0/9", "10.0.0.1")],
        );
        check(
            &["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"],
            "10.0.0.0/8",
            &[("10.0.0.0/9", "10.0.0.1"), ("10.128.0.0/9", "10.128.0.1")],
        );
        check(
            &["10.0.0.1/32"],
            "10.0.0.0/31",
            &[("none", "10.0.0.0"), ("10.0.0.1/32", "10.0.0.1")],
        );
        check(&["2001:db8::/32"], "::/0", &[("none", "::1"), ("2001:db8::/32", "2001:db8::1")]);
    }
}
