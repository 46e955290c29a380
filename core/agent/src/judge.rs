//! What the judges of a data plane are asked about one packet, and what they answer.
//!
//! A plane has two: its *lowered* tables, read back from where they are installed and evaluated in
//! Rust, and the *live* plane itself, which is shown a frame made by [`crate::frame`] the way it is
//! shown real ones. What they say is held against the rule table and the oracle, which the
//! controller asks. Asking leaves no trace: no connection, no count, no drop.

use std::net::IpAddr;

use selvage_rules::{
    ClassId, Encapsulation, Endpoint, EtherType, GroupId, Mac, Packet, Reason, RuleId, ScopeId,
    Verdict, proto,
};
use serde::{Deserialize, Serialize};

use crate::frame;

/// One packet between two endpoints, as one host meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The VRF of both.
    pub scope: ScopeId,
    /// Who sends it.
    pub from: Party,
    /// Whom it is for.
    pub to: Party,
    /// What is sent.
    pub packet: Packet,
    /// If the packet answers a connection: what the receiver had sent before to open it.
    pub answers: Option<Packet>,
}

/// One end of a [`Case`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// MAC of the gateways of its bridge domain: what it sends to be routed goes there.
    pub gateway: Mac,
    /// The fabric-wide number of its group, if it is known here.
    pub group: Option<GroupId>,
    /// Where it is, seen from this host.
    pub at: At,
}

/// Where an endpoint is, seen from a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// On this host, behind the link whose host's end has this interface index.
    Port(u32),
    /// On another host.
    Host {
        /// Its tunnel address.
        tunnel: IpAddr,
        /// How it says of which class a sender is.
        speaks: Encapsulation,
    },
}

/// What the header around a packet says that comes from another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outer {
    /// The outer source address.
    pub tunnel: IpAddr,
    /// The VNI.
    pub vni: u32,
    /// The class in the group policy header, if there is one.
    pub class: Option<ClassId>,
}

/// What one judge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// Whether the packet passes, and why.
    pub reason: Reason,
    /// The rule that decided, or that opened the connection which did; `None` where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
}

/// What the two judges of a plane say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinions {
    /// The installed tables, evaluated in Rust.
    pub lowered: Opinion,
    /// The plane itself.
    pub live: Opinion,
}

impl Case {
    /// The first address of both ends in the packet's family (IPv4 for ARP and what is not IP);
    /// `None` if one of them has none.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        let v6 = self.packet.ether == EtherType::IPV6;
        let first = |party: &Party| {
            party.endpoint.ips.iter().copied().find(|address| address.is_ipv6() == v6)
        };
        Some((first(&self.from)?, first(&self.to)?))
    }

    /// Both are in one bridge domain: the frame goes from one to the other, and not to a gateway.
    pub fn is_bridged(&self) -> bool {
        self.from.endpoint.bd == self.to.endpoint.bd
    }

    /// The frame that the sender would send, or that would come out of the tunnel: to the receiver
    /// within a bridge domain, to the gateway otherwise. `None` if an end has no address of the
    /// packet's family.
    pub fn frame(&self) -> Option<Vec<u8>> {
        let (src, dst) = self.addresses()?;
        let to = if self.is_bridged() { self.to.endpoint.mac } else { self.from.gateway };
        let to = if self.packet.ether == EtherType::ARP { Mac([0xff; 6]) } else { to };
        frame::frame((self.from.endpoint.mac, src), (to, dst), &self.packet)
    }

    /// The header that the sender's host puts around the packet; `None` if that is this host.
    pub fn outer(&self) -> Option<Outer> {
        let At::Host { tunnel, speaks } = self.from.at else { return None };
        let endpoint = &self.from.endpoint;
        Some(match speaks {
            Encapsulation::Gbp => {
                let vni = if self.is_bridged() { endpoint.bd.0 } else { self.scope.0 };
                Outer { tunnel, vni, class: Some(endpoint.class) }
            }
            Encapsulation::EpgVni => {
                Outer { tunnel, vni: self.from.group.map_or(0, |group| group.0), class: None }
            }
        })
    }

    /// The packet that the receiver had sent before, as a case of its own.
    pub fn opening(&self) -> Option<Case> {
        Some(Case {
            scope: self.scope,
            from: self.to.clone(),
            to: self.from.clone(),
            packet: self.answers?,
            answers: None,
        })
    }

    /// What a plane has to say where the rules say `by_rules`.
    pub fn as_a_plane_says(&self, by_rules: Opinion) -> Opinion {
        let at_port = matches!(self.from.at, At::Port(_));
        as_a_plane_says(&self.packet, at_port, self.is_bridged(), by_rules)
    }
}

/// What a plane has to say about `packet` where the rules say `by_rules`. `at_port`: it meets the
/// packet at the sender's port, and not out of the tunnel; `bridged`: both ends are in one bridge
/// domain.
///
/// Some packets never come before the rules: address resolution is the fabric's own affair at
/// the sender's port, and only IP is carried. And a plane tells a later fragment, which shows
/// no port to be permitted by, from other packets that no contract covers.
pub fn as_a_plane_says(
    packet: &Packet,
    at_port: bool,
    bridged: bool,
    by_rules: Opinion,
) -> Opinion {
    const BEFORE_ALL: [Reason; 4] =
        [Reason::Quarantine, Reason::SpoofedMac, Reason::UnknownTunnel, Reason::UnknownNetwork];
    if BEFORE_ALL.contains(&by_rules.reason) {
        return by_rules;
    }
    let alone = |reason| Opinion { reason, rule: None };
    let resolves = bridged && by_rules.reason != Reason::UnknownDestination;
    if packet.ether == EtherType::ARP && at_port {
        let asks = packet.arp_op == 1;
        let lost = asks && !resolves;
        return alone(if lost { Reason::UnknownDestination } else { Reason::Fabric });
    }
    if !packet.ether.is_ip() {
        return alone(Reason::UnsupportedEthertype);
    }
    if is_neighbour_discovery(packet) && at_port {
        return alone(match packet.icmp_type {
            ROUTER_SOLICITATION => Reason::Multicast,
            SOLICITATION | ADVERTISEMENT if packet.icmp_code != 0 => Reason::Malformed,
            SOLICITATION if !resolves => Reason::UnknownDestination,
            SOLICITATION | ADVERTISEMENT => Reason::Fabric,
            _ => Reason::SpoofedArp,
        });
    }
    if packet.later_fragment && by_rules.reason == Reason::NoContract {
        return alone(Reason::Fragment);
    }
    // No plane can do that so far.
    if by_rules.reason == Reason::Service {
        return Opinion { reason: Reason::RedirectUnsupported, ..by_rules };
    }
    by_rules
}

/// RFC 4861, 4: router solicitation; router advertisement is the next.
const ROUTER_SOLICITATION: u8 = 133;
/// RFC 4861, 4.3.
pub(crate) const SOLICITATION: u8 = 135;
/// RFC 4861, 4.4; redirect is the next.
pub(crate) const ADVERTISEMENT: u8 = 136;

/// Whether the packet is one of the five messages of RFC 4861.
pub fn is_neighbour_discovery(packet: &Packet) -> bool {
    packet.ether == EtherType::IPV6
        && packet.proto == proto::ICMPV6
        && !packet.later_fragment
        && (ROUTER_SOLICITATION..=ADVERTISEMENT + 1).contains(&packet.icmp_type)
}

/// Whether `packet` can be an answer to `opening`, sent the other way by the one who got it: the
/// same protocol with the ports exchanged, and no question of its own (a pure SYN, an echo request).
/// Later fragments and ICMP other than echo belong to no connection.
pub fn answers(packet: &Packet, opening: &Packet) -> bool {
    let is_icmp = |packet: &Packet| matches!(packet.proto, proto::ICMP | proto::ICMPV6);
    let echo = |packet: &Packet, v4: u8, v6: u8| {
        packet.icmp_type == if packet.proto == proto::ICMP { v4 } else { v6 }
    };
    let flags = packet.tcp_flags.0 & 0x16;
    packet.ether.is_ip()
        && (packet.ether, packet.proto) == (opening.ether, opening.proto)
        && !packet.later_fragment
        && !opening.later_fragment
        && (packet.sport, packet.dport) == (opening.dport, opening.sport)
        && !(packet.proto == proto::TCP && flags == 0x02)
        && (!is_icmp(packet) || echo(opening, 8, 128) && echo(packet, 0, 129))
}

impl Opinion {
    /// Whether the packet passes.
    pub fn allows(&self) -> bool {
        self.reason.is_allow()
    }
}

impl From<Verdict> for Opinion {
    fn from(verdict: Verdict) -> Opinion {
        Opinion { reason: verdict.reason, rule: verdict.rule }
    }
}

#[cfg(test)]
mod tests {
    use selvage_rules::TcpFlags;

    use super::*;

    const V4: EtherType = EtherType::IPV4;

    #[test]
    fn an_answer_turns_the_ports_and_asks_nothing_itself() {
        let syn = Packet::tcp_syn(V4, 40000, 80);
        let turned = Packet { sport: 80, dport: 40000, ..syn };
        let with = |flags| Packet { tcp_flags: TcpFlags(flags), ..turned };
        assert!(answers(&with(0x12), &syn) && answers(&with(0x14), &syn));
        assert!(!answers(&turned, &syn), "a pure SYN");
        assert!(!answers(&with(0x12), &Packet { sport: 1, ..syn }), "of another connection");
        assert!(!answers(&Packet { later_fragment: true, ..with(0x12) }, &syn));
        let echo = Packet::echo_request(V4);
        assert!(answers(&Packet { icmp_type: 0, ..echo }, &echo));
        assert!(!answers(&echo, &echo), "a request is a question");
        assert!(!answers(&Packet { icmp_type: 3, ..echo }, &echo), "an error is none");
    }
}
