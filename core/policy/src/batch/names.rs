//! Words for numbers, as the object model and people write them.

use serde::Deserialize;

use super::BatchError;

/// A word or a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum NameOrNumber {
    /// A number.
    Number(u64),
    /// A word; a number in quotes, too.
    Name(String),
}

impl NameOrNumber {
    pub(super) fn read<T: TryFrom<u64>>(
        &self,
        what: &'static str,
        names: &[(&str, u64)],
    ) -> Result<T, BatchError> {
        let number = match self {
            NameOrNumber::Number(number) => Some(*number),
            NameOrNumber::Name(text) => text.parse().ok().or_else(|| {
                let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
                named.map(|(_, number)| *number)
            }),
        };
        let bad = || {
            let text = match self {
                NameOrNumber::Number(number) => number.to_string(),
                NameOrNumber::Name(text) => text.clone(),
            };
            BatchError::NoSuch { what, text }
        };
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(bad)
    }
}

/// Names of `vzEntry.prot`.
pub(super) const PROTOCOLS: &[(&str, u64)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("icmpv6", 58),
    ("icmp6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("ospfigp", 89),
    ("pim", 103),
    ("l2tp", 115),
    ("sctp", 132),
];

/// Names of `vzEntry.icmpv4T`.
pub(super) const ICMP_TYPES: &[(&str, u64)] = &[
    ("echo-rep", 0),
    ("echo-reply", 0),
    ("dst-unreach", 3),
    ("src-quench", 4),
    ("echo", 8),
    ("echo-request", 8),
    ("time-exceeded", 11),
];

/// Names of `vzEntry.icmpv6T`.
pub(super) const ICMPV6_TYPES: &[(&str, u64)] = &[
    ("dst-unreach", 1),
    ("time-exceeded", 3),
    ("echo-req", 128),
    ("echo", 128),
    ("echo-request", 128),
    ("echo-rep", 129),
    ("echo-reply", 129),
    ("nbr-solicit", 135),
    ("nbr-advert", 136),
    ("redirect", 137),
];

/// Names of `vzEntry.arpOpc`.
pub(super) const ARP_OPERATIONS: &[(&str, u64)] = &[("req", 1), ("request", 1), ("reply", 2)];

pub(super) const FLAGS: &[(&str, u8)] =
    &[("fin", 0x01), ("syn", 0x02), ("rst", 0x04), ("psh", 0x08), ("ack", 0x10), ("urg", 0x20)];
