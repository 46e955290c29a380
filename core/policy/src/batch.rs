//! Many flows asked of one compiled policy, by endpoints that are told rather than learned: the
//! questions of a CI job or of another judge.
//!
//! The forms here are the lines of `selvage trace --flows`; their field names are an interface.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_model::{Dn, Tree};
use selvage_rules::{Action, EtherType, Packet, Reason, TcpFlags, Verdict, proto};
use serde::{Deserialize, Serialize};

use crate::compile::Compiled;
use crate::front;
use crate::trace::{self, Side};

/// An endpoint, as it is told: attached to an EPG, or an address outside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// What flows call it.
    pub name: String,
    /// DN of the EPG it is attached to.
    #[serde(default)]
    pub epg: Option<String>,
    /// Its address, where it is outside.
    #[serde(default)]
    pub external: Option<IpAddr>,
    /// Its addresses.
    #[serde(default)]
    pub ip: OneOrMany<IpAddr>,
    /// Its MAC.
    #[serde(default)]
    pub mac: Option<String>,
    /// DN of the VRF, of one outside.
    #[serde(default)]
    pub vrf: Option<String>,
    /// DN of the L3Out it is behind, of one outside.
    #[serde(default)]
    pub l3out: Option<String>,
    /// What membership by attribute may look at.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Any number.
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> OneOrMany<T> {
        OneOrMany::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

/// A packet that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who sends it: name of an endpoint, or an address.
    pub from: String,
    /// Who is to get it, likewise.
    pub to: String,
    /// `ipv4` (the default), `ipv6` or `arp`.
    #[serde(default)]
    pub ether: Ether,
    /// Name or number of the IP protocol.
    #[serde(default)]
    pub proto: Option<NameOrNumber>,
    /// Source port; a client's where it is not said.
    #[serde(default)]
    pub sport: Option<u16>,
    /// Destination port.
    #[serde(default)]
    pub dport: Option<u16>,
    /// TCP flags, such as `syn,ack`; by `state` where they are not said.
    #[serde(default)]
    pub tcp_flags: Option<Flags>,
    /// ICMP type.
    #[serde(default)]
    pub icmp_type: Option<NameOrNumber>,
    /// ICMP code.
    #[serde(default)]
    pub icmp_code: Option<u8>,
    /// `req`, `reply`, or the number.
    #[serde(default)]
    pub arp_opcode: Option<NameOrNumber>,
    /// A fragment other than the first.
    #[serde(default)]
    pub fragment: bool,
    /// The first packet, or a reply on a connection.
    #[serde(default)]
    pub state: State,
    /// Anything; the answer does not look at it.
    #[serde(default)]
    pub id: Option<NameOrNumber>,
    /// Anything; the answer does not look at it.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Ethernet types that are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ether {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
    /// ARP.
    Arp,
}

/// Where a packet stands in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The first packet.
    #[default]
    New,
    /// A reply to a connection that the receiver opened.
    Established,
}

/// A word or a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum NameOrNumber {
    /// A number.
    Number(u64),
    /// A word; a number in quotes, too.
    Name(String),
}

/// TCP flags in any of the forms people write.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Flags {
    /// The flag byte.
    Byte(u8),
    /// `syn,ack` or `syn|ack`.
    Text(String),
    /// `["syn", "ack"]`.
    List(Vec<String>),
}

/// What becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// Why, by the names of `schema/reasons.toml`.
    pub reason: &'static str,
    /// Number of the rule that decided; absent where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<u32>,
    /// DNs behind that rule: subject, filter entry, and the relations to the contract.
    pub origin: Vec<String>,
    /// The packet is to be logged.
    pub log: bool,
    /// DN of the sender's group, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_group: Option<String>,
    /// DN of the receiver's group, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_group: Option<String>,
}

/// A question or an endpoint that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// An endpoint says neither where it is attached nor that it is outside, or both.
    #[error("endpoint `{name}` needs either `epg` or `external`")]
    Nowhere {
        /// The endpoint.
        name: String,
    },
    /// An endpoint outside whose VRF is not said.
    #[error("endpoint `{name}` is outside and needs `vrf` or `l3out`, the DN of one that exists")]
    NoVrf {
        /// The endpoint.
        name: String,
    },
    /// Two endpoints of one name.
    #[error("two endpoints are called `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// Text that is no DN.
    #[error("endpoint `{name}`: `{text}` is no DN")]
    NoDn {
        /// The endpoint.
        name: String,
        /// The text.
        text: String,
    },
    /// An end that is no endpoint and no address.
    #[error("`{text}` is neither the name of an endpoint nor an address")]
    NoEnd {
        /// The text.
        text: String,
    },
    /// A word that means nothing where it stands.
    #[error("`{text}` is no {what}")]
    NoSuch {
        /// What it should be.
        what: &'static str,
        /// The text.
        text: String,
    },
}

/// The endpoints that the hosts have declared, each by its name, or by its DN where it has none or
/// shares it with another.
pub fn learned(tree: &Tree) -> Vec<Told> {
    let mut by_name: BTreeMap<String, Told> = BTreeMap::new();
    for endpoint in front::endpoints(tree) {
        let taken = endpoint.name.is_empty() || by_name.contains_key(&endpoint.name);
        let name = if taken { endpoint.dn.to_string() } else { endpoint.name };
        let told = Told {
            name: name.clone(),
            epg: Some(endpoint.group.to_string()),
            external: None,
            ip: OneOrMany::Many(endpoint.ips),
            mac: endpoint.mac.map(|mac| mac.to_string()),
            vrf: None,
            l3out: None,
            attributes: BTreeMap::new(),
        };
        by_name.insert(name, told);
    }
    by_name.into_values().collect()
}

/// Where an endpoint is.
#[derive(Debug, Clone)]
enum Seat {
    Inside(Dn),
    Outside { vrf: Dn, ip: IpAddr },
}

/// A compiled policy, and endpoints in it.
#[derive(Debug)]
pub struct Batch<'c> {
    compiled: &'c Compiled,
    seats: BTreeMap<String, Seat>,
    names_by_ip: BTreeMap<IpAddr, String>,
}

impl<'c> Batch<'c> {
    /// # Errors
    /// All that is wrong with the endpoints, at once.
    pub fn new(compiled: &'c Compiled, told: &[Told]) -> Result<Batch<'c>, Vec<BatchError>> {
        let mut batch = Batch { compiled, seats: BTreeMap::new(), names_by_ip: BTreeMap::new() };
        let mut wrong = Vec::new();
        for endpoint in told {
            match batch.seat(endpoint) {
                Err(error) => wrong.push(error),
                Ok(seat) => {
                    for ip in endpoint.ip.as_slice().iter().chain(&endpoint.external) {
                        batch.names_by_ip.entry(*ip).or_insert_with(|| endpoint.name.clone());
                    }
                    if batch.seats.insert(endpoint.name.clone(), seat).is_some() {
                        wrong.push(BatchError::Twice { name: endpoint.name.clone() });
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(batch) } else { Err(wrong) }
    }

    fn seat(&self, told: &Told) -> Result<Seat, BatchError> {
        let dn = |text: &String| {
            let bad = || BatchError::NoDn { name: told.name.clone(), text: text.clone() };
            text.parse::<Dn>().map_err(|_| bad())
        };
        let outside = told.external.or(match told.ip.as_slice() {
            [ip] if told.epg.is_none() && (told.vrf.is_some() || told.l3out.is_some()) => Some(*ip),
            _ => None,
        });
        match (&told.epg, outside) {
            (Some(epg), None) => dn(epg).map(Seat::Inside),
            (None, Some(ip)) => {
                let vrf = told.vrf.as_ref().map(dn).transpose()?;
                let l3out = told.l3out.as_ref().map(dn).transpose()?;
                let vrf = vrf.or_else(|| self.vrf_of_l3out(&l3out?));
                vrf.map(|vrf| Seat::Outside { vrf, ip })
                    .ok_or_else(|| BatchError::NoVrf { name: told.name.clone() })
            }
            _ => Err(BatchError::Nowhere { name: told.name.clone() }),
        }
    }

    fn vrf_of_l3out(&self, l3out: &Dn) -> Option<Dn> {
        let externals = &self.compiled.intent.externals;
        externals.iter().find(|(dn, _)| l3out.contains(dn)).map(|(_, e)| e.vrf.clone())
    }

    /// What becomes of one packet.
    ///
    /// # Errors
    /// When the question cannot be understood.
    pub fn ask(&self, question: &Question) -> Result<Answer, BatchError> {
        let packet = question.packet()?;
        let (from, to) = self.ends(question)?;
        let (from, to) = (self.stand(&from, true), self.stand(&to, false));
        let verdict = match question.state {
            State::New => self.judge(&from, &to, &packet),
            State::Established => self.judge_reply(&from, &to, &packet),
        };
        Ok(self.answer(verdict, from.group, to.group))
    }

    /// Both ends. An address that is no endpoint's is outside the VRF of the other end.
    fn ends(&self, question: &Question) -> Result<(Seat, Seat), BatchError> {
        let known = |text: &str| {
            let by_ip = || self.names_by_ip.get(&text.parse::<IpAddr>().ok()?);
            self.seats.get(text).or_else(|| self.seats.get(by_ip()?)).cloned()
        };
        let bare = |text: &str, other: Option<&Seat>| {
            let ip: Option<IpAddr> = text.parse().ok();
            let vrf = match other {
                Some(Seat::Inside(group)) => self.compiled.intent.vrf_of(group).cloned(),
                Some(Seat::Outside { vrf, .. }) => Some(vrf.clone()),
                None => None,
            };
            let seat = ip.zip(vrf).map(|(ip, vrf)| Seat::Outside { vrf, ip });
            seat.ok_or_else(|| BatchError::NoEnd { text: text.to_owned() })
        };
        let (from, to) = (known(&question.from), known(&question.to));
        let from_seat = from.clone().map_or_else(|| bare(&question.from, to.as_ref()), Ok)?;
        let to_seat = to.map_or_else(|| bare(&question.to, from.as_ref()), Ok)?;
        Ok((from_seat, to_seat))
    }

    fn stand(&self, seat: &Seat, sends: bool) -> Stand {
        match seat {
            Seat::Inside(group) => Stand {
                side: trace::side(self.compiled, group),
                lack: Reason::Quarantine,
                group: Some(group.to_string()),
            },
            Seat::Outside { vrf, ip } => {
                let found = trace::side_of_address(self.compiled, vrf, *ip);
                Stand {
                    group: found.as_ref().map(|(name, _)| name.to_string()),
                    side: found.map(|(_, side)| side),
                    lack: if sends { Reason::UnknownSource } else { Reason::UnknownDestination },
                }
            }
        }
    }

    fn judge(&self, from: &Stand, to: &Stand, packet: &Packet) -> Verdict {
        match (&from.side, &to.side) {
            (Some(src), Some(dst)) => trace::judge(self.compiled, src, dst, packet),
            (None, _) => Verdict { reason: from.lack, ..Verdict::IMPLICIT_DENY },
            (_, None) => Verdict { reason: to.lack, ..Verdict::IMPLICIT_DENY },
        }
    }

    /// A reply passes by the connection if what it answers was let in by a stateful rule; else it
    /// is judged like any packet.
    fn judge_reply(&self, from: &Stand, to: &Stand, packet: &Packet) -> Verdict {
        let opening = self.judge(to, from, &opening(packet));
        if opening.action == Action::Permit && opening.stateful {
            return Verdict { reason: Reason::Established, ..opening };
        }
        self.judge(from, to, packet)
    }

    fn answer(&self, verdict: Verdict, from: Option<String>, to: Option<String>) -> Answer {
        let dns = |rule| {
            let dn = |group: &Option<String>| group.as_ref().and_then(|text| text.parse().ok());
            let (from, to): (Option<Dn>, Option<Dn>) = (dn(&from), dn(&to));
            // A reply was let in by a rule for the other way.
            let (from, to) = match verdict.reason {
                Reason::Established => (to?, from?),
                _ => (from?, to?),
            };
            let chain = trace::chain(self.compiled, rule, &from, &to)?;
            let relations = [chain.entry, chain.consumer, chain.provider];
            let texts = relations.into_iter().flatten().map(|dn| dn.to_string());
            Some(std::iter::once(chain.subject).chain(texts).collect())
        };
        Answer {
            verdict: match verdict.action {
                Action::Permit => "allow",
                Action::Deny => "deny",
            },
            reason: verdict.reason.name(),
            rule: verdict.rule.map(|rule| rule.0),
            origin: verdict.rule.and_then(dns).unwrap_or_default(),
            log: verdict.log,
            from_group: from,
            to_group: to,
        }
    }
}

/// One end of a flow, as far as policy knows it.
struct Stand {
    side: Option<Side>,
    /// What it means that there is no side.
    lack: Reason,
    group: Option<String>,
}

/// The packet that `reply` answers: ports exchanged, the first of its connection.
fn opening(reply: &Packet) -> Packet {
    let tcp_flags = if reply.proto == proto::TCP { TcpFlags::SYN } else { TcpFlags(0) };
    let icmp_type = match (reply.proto, reply.icmp_type) {
        (proto::ICMP, 0) => 8,
        (proto::ICMPV6, 129) => 128,
        (_, other) => other,
    };
    let arp_op = if reply.arp_op == 2 { 1 } else { reply.arp_op };
    Packet { sport: reply.dport, dport: reply.sport, tcp_flags, icmp_type, arp_op, ..*reply }
}

impl Question {
    /// The packet it is about.
    ///
    /// # Errors
    /// When a word in it means nothing.
    pub fn packet(&self) -> Result<Packet, BatchError> {
        let ether = match self.ether {
            Ether::Ipv4 => EtherType::IPV4,
            Ether::Ipv6 => EtherType::IPV6,
            Ether::Arp => EtherType::ARP,
        };
        let number = if ether == EtherType::ARP { 0 } else { self.protocol()? };
        let mut packet = Packet::ip(ether, number);
        packet.later_fragment = self.fragment;
        if packet.later_fragment {
            return Ok(packet);
        }
        if packet.has_ports() {
            // A reply goes to the port that a client would have.
            let (sport, dport) = match self.state {
                State::New => (trace::CLIENT_PORT, 0),
                State::Established => (0, trace::CLIENT_PORT),
            };
            packet.sport = self.sport.unwrap_or(sport);
            packet.dport = self.dport.unwrap_or(dport);
        }
        if number == proto::TCP {
            packet.tcp_flags = self.flags()?;
        }
        if matches!(number, proto::ICMP | proto::ICMPV6) {
            packet.icmp_type = self.icmp_type(number)?;
            packet.icmp_code = self.icmp_code.unwrap_or(0);
        }
        if ether == EtherType::ARP {
            packet.arp_op = match &self.arp_opcode {
                Some(opcode) => opcode.read("ARP operation", ARP_OPERATIONS)?,
                None => 1,
            };
        }
        Ok(packet)
    }

    fn protocol(&self) -> Result<u8, BatchError> {
        let Some(written) = &self.proto else {
            return Err(BatchError::NoSuch { what: "protocol", text: String::new() });
        };
        let number: u8 = written.read("protocol", PROTOCOLS)?;
        // People say `icmp` of both families.
        Ok(if number == proto::ICMP && self.ether == Ether::Ipv6 { proto::ICMPV6 } else { number })
    }

    fn icmp_type(&self, number: u8) -> Result<u8, BatchError> {
        let (request, reply) = if number == proto::ICMP { (8, 0) } else { (128, 129) };
        match &self.icmp_type {
            Some(written) if number == proto::ICMP => written.read("ICMP type", ICMP_TYPES),
            Some(written) => written.read("ICMPv6 type", ICMPV6_TYPES),
            None if self.state == State::New => Ok(request),
            None => Ok(reply),
        }
    }

    fn flags(&self) -> Result<TcpFlags, BatchError> {
        let words: Vec<&str> = match &self.tcp_flags {
            None if self.state == State::New => return Ok(TcpFlags::SYN),
            None => return Ok(TcpFlags::ACK),
            Some(Flags::Byte(byte)) => return Ok(TcpFlags(*byte)),
            Some(Flags::Text(text)) => text.split([',', '|', '+', ' ']).collect(),
            Some(Flags::List(list)) => list.iter().map(String::as_str).collect(),
        };
        let mut flags = 0;
        for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
            let known = FLAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            let Some((_, bit)) = known else {
                return Err(BatchError::NoSuch { what: "TCP flag", text: word.to_owned() });
            };
            flags |= bit;
        }
        Ok(TcpFlags(flags))
    }
}

impl NameOrNumber {
    fn read<T: TryFrom<u64>>(
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
const PROTOCOLS: &[(&str, u64)] = &[
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
const ICMP_TYPES: &[(&str, u64)] = &[
    ("echo-rep", 0),
    ("echo-reply", 0),
    ("dst-unreach", 3),
    ("src-quench", 4),
    ("echo", 8),
    ("echo-request", 8),
    ("time-exceeded", 11),
];

/// Names of `vzEntry.icmpv6T`.
const ICMPV6_TYPES: &[(&str, u64)] = &[
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
const ARP_OPERATIONS: &[(&str, u64)] = &[("req", 1), ("request", 1), ("reply", 2)];

const FLAGS: &[(&str, u8)] =
    &[("fin", 0x01), ("syn", 0x02), ("rst", 0x04), ("psh", 0x08), ("ack", 0x10), ("urg", 0x20)];
