//! One rule and the ordered, immutable sets rules come in.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{EtherType, Packet, Reason, RuleId, RuleSetId, ServiceId, TcpFlags, proto};

/// What a rule does with the packets it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it pass.
    Permit,
    /// Drop it.
    Deny,
    /// Send it through a service instead of to its destination: which, says [`Rule::treatment`].
    Redirect,
}

/// Which Ethernet types a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EtherMatch {
    /// Every type.
    Any,
    /// IPv4 and IPv6 (ACI's `ip`).
    Ip,
    /// One type.
    Is(EtherType),
}

impl EtherMatch {
    /// Whether `ether` is one of these types.
    pub fn matches(self, ether: EtherType) -> bool {
        match self {
            EtherMatch::Any => true,
            EtherMatch::Ip => ether.is_ip(),
            EtherMatch::Is(one) => ether == one,
        }
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port; never below `first`.
    pub last: u16,
}

impl PortRange {
    /// Every port: the rule does not look at this port at all.
    pub const ANY: PortRange = PortRange { first: 0, last: u16::MAX };

    /// Exactly one port.
    pub fn one(port: u16) -> PortRange {
        PortRange { first: port, last: port }
    }

    /// Whether `port` lies within.
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Which TCP flags a rule asks for. Matches TCP only, except `Any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TcpMatch {
    /// Does not look at flags.
    Any,
    /// ACK or RST is set (ACI's `est`).
    Established,
    /// All of these flags are set.
    All(TcpFlags),
}

/// Which ICMP types and codes a rule asks for. `None` does not look.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct IcmpMatch {
    /// The type.
    pub kind: Option<u8>,
    /// The code.
    pub code: Option<u8>,
}

/// The packets a rule is about. Fields are judged together: all must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Match {
    /// Ethernet type.
    pub ether: EtherMatch,
    /// IP protocol; `None` matches every protocol.
    pub proto: Option<u8>,
    /// Source port, of TCP, UDP and SCTP.
    pub sport: PortRange,
    /// Destination port, of TCP, UDP and SCTP.
    pub dport: PortRange,
    /// TCP flags.
    pub tcp: TcpMatch,
    /// ICMP and ICMPv6 type and code.
    pub icmp: IcmpMatch,
    /// ARP operation (1 request, 2 reply); `None` does not look.
    pub arp_op: Option<u16>,
    /// Only fragments other than the first (ACI's `applyToFrag`).
    pub later_fragments_only: bool,
    /// Differentiated services code point, 0 to 63; `None` does not look.
    #[serde(default)]
    pub dscp: Option<u8>,
}

impl Match {
    /// Matches every packet.
    pub const EVERYTHING: Match = Match {
        ether: EtherMatch::Any,
        proto: None,
        sport: PortRange::ANY,
        dport: PortRange::ANY,
        tcp: TcpMatch::Any,
        icmp: IcmpMatch { kind: None, code: None },
        arp_op: None,
        later_fragments_only: false,
        dscp: None,
    };

    /// Whether the rule looks beyond the IP header, where later fragments carry nothing.
    pub fn needs_l4(&self) -> bool {
        self.sport != PortRange::ANY
            || self.dport != PortRange::ANY
            || self.tcp != TcpMatch::Any
            || self.icmp != IcmpMatch::default()
    }

    /// How little of a packet it looks at: 0 is the narrowest. The order is that of ACI's filter
    /// priorities (actrlFltPrio): TCP flags, both ports, destination port, source port, protocol,
    /// fragments, less.
    pub fn breadth(&self) -> u8 {
        let (from, to) = (self.sport != PortRange::ANY, self.dport != PortRange::ANY);
        match (from, to) {
            _ if self.tcp != TcpMatch::Any => 0,
            (true, true) => 1,
            (false, true) => 2,
            (true, false) => 3,
            _ if self.proto.is_some() => 4,
            _ if self.later_fragments_only => 5,
            _ => 6,
        }
    }

    /// Whether `packet` is one of these packets.
    pub fn matches(&self, packet: &Packet) -> bool {
        if !self.ether.matches(packet.ether) {
            return false;
        }
        if self.proto.is_some_and(|p| p != packet.proto || !packet.ether.is_ip()) {
            return false;
        }
        if self.later_fragments_only && !packet.later_fragment {
            return false;
        }
        if self.dscp.is_some_and(|dscp| dscp != packet.dscp || !packet.ether.is_ip()) {
            return false;
        }
        if self.arp_op.is_some_and(|op| packet.ether != EtherType::ARP || op != packet.arp_op) {
            return false;
        }
        if !self.needs_l4() {
            return true;
        }
        if packet.later_fragment || !packet.ether.is_ip() {
            return false;
        }
        let ports = self.sport == PortRange::ANY && self.dport == PortRange::ANY
            || packet.has_ports()
                && self.sport.contains(packet.sport)
                && self.dport.contains(packet.dport);
        let flags = match self.tcp {
            TcpMatch::Any => true,
            TcpMatch::Established => {
                packet.proto == proto::TCP
                    && packet.tcp_flags.intersects(TcpFlags(TcpFlags::ACK.0 | TcpFlags::RST.0))
            }
            TcpMatch::All(flags) => packet.proto == proto::TCP && packet.tcp_flags.contains(flags),
        };
        let is_icmp = matches!(packet.proto, proto::ICMP | proto::ICMPV6);
        let icmp = self.icmp.kind.is_none_or(|k| is_icmp && k == packet.icmp_type)
            && self.icmp.code.is_none_or(|c| is_icmp && c == packet.icmp_code);
        ports && flags && icmp
    }
}

/// What else happens to the packets a rule lets through. The default is nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Treatment {
    /// The service they are sent through ([`Action::Redirect`]) or copied to ([`Action::Permit`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The class of service they are queued by: 1 to 6, as in ACI's `level1` to `level6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u8>,
    /// The code point they are marked with, 0 to 63.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u8>,
}

impl Treatment {
    /// Whether nothing else happens.
    pub fn is_nothing(&self) -> bool {
        *self == Treatment::default()
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Its number, which leads to its [`Origin`] in [`crate::Table::origins`].
    pub id: RuleId,
    /// Lower wins. Among equal priorities the more specific pair wins, then the earlier rule of the
    /// set: see [`RuleSet`].
    pub priority: u16,
    /// What it is about.
    pub matches: Match,
    /// What it does.
    pub action: Action,
    /// The reason its verdicts carry when it permits; a rule that denies says [`Reason::Denied`].
    pub reason: Reason,
    /// Replies to what it permits pass by the connection, not by a rule.
    pub stateful: bool,
    /// Packets it decides are logged.
    pub log: bool,
    /// What else happens to what it lets through.
    #[serde(default, skip_serializing_if = "Treatment::is_nothing")]
    pub treatment: Treatment,
}

/// Where a rule comes from, in the words of whoever wrote the policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// DN of the object that offers it: a contract subject, or the default that stands for one.
    pub dn: Arc<str>,
    /// DN of the filter entry it was made from; empty where there is none.
    pub entry: Arc<str>,
    /// `true` for the rule made for the way back, from provider to consumer.
    pub reverse: bool,
}

/// An immutable set of rules, ordered as they are to be tried: by priority, deny before what passes,
/// redirect before permit, stateful before stateless, logged before unlogged, treated before
/// untreated, then by [`RuleId`]. At a priority at which some are redirected, what passes is tried by
/// [`Match::breadth`] first, so that a narrow permit is an exception from a wide redirect (Cisco ACI
/// contract guide, *contract priorities*). The first match decides,
/// so the numbers, which depend on history, only decide who is named among rules that do the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleSet {
    /// Its number.
    pub id: RuleSetId,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl RuleSet {
    /// Puts `rules` in the order in which they are tried.
    pub fn new(id: RuleSetId, mut rules: Vec<Rule>) -> RuleSet {
        let redirects = rules.iter().filter(|rule| rule.action == Action::Redirect);
        let redirected: BTreeSet<u16> = redirects.map(|rule| rule.priority).collect();
        rules.sort_by_key(|r| {
            let passes = r.action != Action::Deny;
            let by_breadth = passes && redirected.contains(&r.priority);
            let breadth = if by_breadth { r.matches.breadth() } else { 0 };
            let permit = r.action == Action::Permit;
            let rank = (r.priority, passes, breadth, permit);
            (rank, !r.stateful, !r.log, Reverse(r.treatment), r.id)
        });
        // One rule may come by several ways.
        rules.dedup();
        RuleSet { id, rules }
    }

    /// The rule that decides about `packet`.
    pub fn first_match(&self, packet: &Packet) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches.matches(packet))
    }
}
