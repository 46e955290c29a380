//! Prefixes of addresses, bit by bit, the naive way.

use std::net::IpAddr;

/// A prefix of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    address: IpAddr,
    /// Its length in bits.
    pub(crate) length: u32,
}

impl Prefix {
    /// Reads `10.0.0.0/8`, or an address alone, which is all bits of it.
    pub(crate) fn read(text: &str) -> Option<Prefix> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() { width } else { length.parse().ok()? };
        (length <= width).then_some(Prefix { address, length })
    }

    /// Whether it names one address only.
    pub(crate) fn is_host(&self) -> bool {
        self.length == if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether `address` is in it.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let (own, other) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.octets().to_vec(), other.octets().to_vec())
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.octets().to_vec(), other.octets().to_vec())
            }
            _ => return false,
        };
        let bit = |bytes: &[u8], at: u32| {
            let byte = bytes.get(at as usize / 8).copied().unwrap_or(0);
            byte >> (7 - at % 8) & 1
        };
        (0..self.length).all(|at| bit(&own, at) == bit(&other, at))
    }
}

#[cfg(test)]
mod tests {
    use super::Prefix;

    /// Naive: a gateway's prefix starts at the gateway. Host bits do not count.
    #[test]
    fn host_bits_do_not_count_and_families_do_not_mix() {
        let covers =
            |prefix: &str, ip: &str| Prefix::read(prefix).unwrap().covers(ip.parse().unwrap());
        assert!(covers("10.1.2.254/24", "10.1.2.1"));
        assert!(!covers("10.1.2.254/24", "10.1.3.1"));
        assert!(covers("10.1.2.3", "10.1.2.3") && !covers("10.1.2.3", "10.1.2.2"));
        assert!(covers("::/0", "2001:db8::1") && !covers("0.0.0.0/0", "2001:db8::1"));
        assert!(Prefix::read("10.0.0.0/33").is_none() && Prefix::read("web").is_none());
    }
}
