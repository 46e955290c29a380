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
    /// The number; `None` where it says that it is none in particular.
    pub(super) fn read<T: TryFrom<u64>>(
        &self,
        what: &'static str,
        names: &[(&str, u64)],
    ) -> Result<Option<T>, BatchError> {
        let number = match self {
            NameOrNumber::Number(number) => Some(*number),
            NameOrNumber::Name(text) => {
                let text = text.trim();
                if UNSPECIFIED.iter().any(|word| word.eq_ignore_ascii_case(text)) {
                    return Ok(None);
                }
                let hex = text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
                text.parse().ok().or(hex).or_else(|| {
                    let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
                    named.map(|(_, number)| *number)
                })
            }
        };
        number.and_then(|number| T::try_from(number).ok()).map(Some).ok_or_else(|| self.bad(what))
    }

    /// What is to be said if it is none of these.
    pub(super) fn bad(&self, what: &'static str) -> BatchError {
        let text = match self {
            NameOrNumber::Number(number) => number.to_string(),
            NameOrNumber::Name(text) => text.clone(),
        };
        BatchError::NoSuch { what, text }
    }
}

/// Words that stand for none in particular.
const UNSPECIFIED: [&str; 4] = ["", "unspecified", "any", "ip"];

/// Names of `vzEntry.etherT`.
pub(super) const ETHER_TYPES: &[(&str, u64)] = &[
    ("ipv4", 0x0800),
    ("ipv6", 0x86dd),
    ("arp", 0x0806),
    ("trill", 0x22f3),
    ("mpls_ucast", 0x8847),
    ("mac_security", 0x88e5),
    ("fcoe", 0x8906),
];

/// Names of `vzEntry.dFromPort`, and some that people write.
pub(super) const PORTS: &[(&str, u64)] = &[
    ("ftpData", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("dns", 53),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("snmp", 161),
    ("https", 443),
    ("rtsp", 554),
];

/// Names of `vzEntry.matchDscp` (RFC 2474, 2597, 3246 and 5865).
pub(super) const CODE_POINTS: &[(&str, u64)] = &[
    ("CS0", 0),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("VA", 44),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

/// Names of `vzEntry.prot`.
pub(super) const PROTOCOLS: &[(&str, u64)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("ipip", 4),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("udp", 17),
    ("icmpv6", 58),
    ("icmp6", 58),
    ("ipv6-icmp", 58),
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
pub(super) const ARP_OPERATIONS: &[(&str, u64)] =
    &[("req", 1), ("request", 1), ("reply", 2), ("rep", 2)];

/// TCP flags; `est`, of which either bit is enough, by the one that every reply has.
pub(super) const FLAGS: &[(&str, u8)] = &[
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("synack", 0x12),
    ("est", 0x10),
    ("established", 0x10),
    ("unspecified", 0),
    ("none", 0),
];
