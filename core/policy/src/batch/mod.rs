//! Many flows asked of one compiled policy, by endpoints that are told rather than learned: the
//! questions of a CI job or of another judge.
//!
//! The forms here are the lines of `selvage trace --flows`; their field names are an interface.

mod line;
mod names;
mod protect;
mod told;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use selvage_model::{Dn, Tree};
use selvage_rules::{Action, EtherType, Packet, Reason, TcpFlags, Verdict, proto};
use serde::Serialize;

use crate::compile::Compiled;
use crate::front;
use crate::members::{self, Membership};
use crate::trace::{self, Side, Treated};

use line::State;
pub use line::{Flags, Question};
pub use names::NameOrNumber;
use protect::{Guard, Pass};
pub use told::{External, OneOrMany, Told};
use told::{Read, Where};

/// What becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `allow`, `deny` or `redirect`.
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
    /// What else happens to it if it passes.
    #[serde(flatten)]
    pub treated: Treated,
    /// DN of what chose the sender's group, where that is not the one it is attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_by: Option<String>,
    /// DN of what chose the receiver's group, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_by: Option<String>,
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
    /// A field that nobody knows, and that somebody meant.
    #[error("unknown field `{field}`; did you mean `{meant}`?")]
    Misspelt {
        /// The field.
        field: String,
        /// What it looks like.
        meant: String,
    },
    /// Ports without a protocol that has them.
    #[error("a port needs a `proto` that has ports")]
    PortsOfWhat,
    /// An address that several endpoints have.
    #[error("several endpoints have the address `{text}`; name one")]
    WhichEnd {
        /// The address.
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
            ip: OneOrMany::Many(endpoint.ips.iter().map(ToString::to_string).collect()),
            mac: endpoint.mac.map(|mac| mac.to_string()),
            ..Told::inside(&name, &endpoint.group)
        };
        by_name.insert(name, told);
    }
    by_name.into_values().collect()
}

/// Where an endpoint is.
#[derive(Debug, Clone)]
enum Seat {
    Inside { member: Membership, ips: Vec<IpAddr>, policies: Vec<Arc<str>> },
    Outside { vrf: Dn, ip: IpAddr },
}

impl Seat {
    /// The same, where just this of its addresses is meant.
    fn only(&self, ip: IpAddr) -> Seat {
        match self {
            Seat::Inside { member, policies, .. } => {
                let (member, policies) = (member.clone(), policies.clone());
                Seat::Inside { member, ips: vec![ip], policies }
            }
            Seat::Outside { vrf, .. } => Seat::Outside { vrf: vrf.clone(), ip },
        }
    }

    fn ips(&self) -> &[IpAddr] {
        match self {
            Seat::Inside { ips, .. } => ips,
            Seat::Outside { ip, .. } => std::slice::from_ref(ip),
        }
    }
}

/// A compiled policy, and endpoints in it.
#[derive(Debug)]
pub struct Batch<'c> {
    compiled: &'c Compiled,
    seats: BTreeMap<String, Result<Seat, BatchError>>,
    by_address: BTreeMap<IpAddr, Vec<String>>,
}

impl<'c> Batch<'c> {
    /// Seats `told`. An endpoint that cannot be understood is an error of every flow that names it.
    pub fn new(compiled: &'c Compiled, told: &[Told]) -> Batch<'c> {
        let mut batch = Batch { compiled, seats: BTreeMap::new(), by_address: BTreeMap::new() };
        for endpoint in told {
            let name = &endpoint.name;
            let seat = endpoint.read().and_then(|read| batch.seat(name, read));
            for ip in seat.iter().flat_map(Seat::ips) {
                batch.by_address.entry(*ip).or_default().push(name.clone());
            }
            let twice = || Err(BatchError::Twice { name: name.clone() });
            let seat = if batch.seats.contains_key(name) { twice() } else { seat };
            batch.seats.insert(name.clone(), seat);
        }
        batch
    }

    /// What is wrong with the endpoints.
    pub fn misunderstood(&self) -> impl Iterator<Item = &BatchError> {
        self.seats.values().filter_map(|seat| seat.as_ref().err())
    }

    fn seat(&self, name: &str, read: Read) -> Result<Seat, BatchError> {
        match read.place {
            Where::Inside(group) if self.compiled.intent.externals.contains_key(&group) => {
                let member =
                    Membership { attached: group.clone(), group: Some(group), cause: None };
                Ok(Seat::Inside { member, ips: read.ips, policies: Vec::new() })
            }
            Where::Inside(group) => {
                let facts = members::facts(name, read.mac, &read.ips, &read.attributes);
                let member = members::of(self.compiled, &group, &facts);
                let named = read.attributes.iter().filter(|(key, _)| key == protect::ATTRIBUTE);
                let table = &self.compiled.table;
                let policies =
                    named.flat_map(|(_, text)| protect::named(table, &group, text)).collect();
                Ok(Seat::Inside { member, ips: read.ips, policies })
            }
            Where::Outside { vrf, l3out, ip } => {
                let vrf = vrf.or_else(|| self.compiled.intent.l3outs.get(&l3out?).cloned());
                vrf.map(|vrf| Seat::Outside { vrf, ip })
                    .ok_or_else(|| BatchError::NoVrf { name: name.to_owned() })
            }
        }
    }

    /// What protects an end of a flow, and its addresses for whoever is protected from it.
    fn guard(seat: &Seat) -> Guard {
        let policies = match seat {
            Seat::Inside { policies, .. } => policies.clone(),
            Seat::Outside { .. } => Vec::new(),
        };
        Guard { policies, addresses: seat.ips().to_vec() }
    }

    /// What becomes of one packet.
    ///
    /// # Errors
    /// When the question cannot be understood.
    pub fn ask(&self, question: &Question) -> Result<Answer, BatchError> {
        let state = question.state()?;
        let (from, to) = self.ends(question)?;
        let packet = question.packet(family(&from, &to))?;
        let guards = [&from, &to].map(Batch::guard);
        let (from, to) =
            (self.stand(&from, true, packet.ether), self.stand(&to, false, packet.ether));
        let (verdict, stopped_by) = match state {
            State::New => self.pass(&from, &to, &packet, &guards),
            State::Established => self.pass_reply(&from, &to, &packet, &guards),
        };
        let treated = match (&from.side, &to.side) {
            (Some(src), Some(dst)) => trace::treatment(self.compiled, src, dst, &packet, &verdict),
            _ => Treated::default(),
        };
        let answer = self.answer(verdict, treated, from.group, to.group);
        let answer = Answer { from_by: from.cause, to_by: to.cause, ..answer };
        Ok(match stopped_by {
            Some(origin) => Answer { origin, ..answer },
            None => answer,
        })
    }

    /// Both ends. An address that is no endpoint's is outside the VRF of the other end.
    fn ends(&self, question: &Question) -> Result<(Seat, Seat), BatchError> {
        let (from, to) = (self.named(&question.from)?, self.named(&question.to)?);
        let sender = match from {
            Some(seat) => seat.clone(),
            None => self.at_address(&question.from, to)?,
        };
        let receiver = match to {
            Some(seat) => seat.clone(),
            None => self.at_address(&question.to, Some(&sender))?,
        };
        Ok((sender, receiver))
    }

    fn named(&self, text: &str) -> Result<Option<&Seat>, BatchError> {
        self.seats.get(text).map(|seat| seat.as_ref().map_err(Clone::clone)).transpose()
    }

    /// Whoever has an address, as seen from the other end: an endpoint of its VRF, else an endpoint of
    /// a VRF that shares with it, else the world outside.
    fn at_address(&self, text: &str, other: Option<&Seat>) -> Result<Seat, BatchError> {
        let no_end = || BatchError::NoEnd { text: text.to_owned() };
        let ip = told::address(text).ok_or_else(no_end)?;
        let vrf = other.and_then(|seat| self.vrf_of(seat));
        let names = self.by_address.get(&ip).map(Vec::as_slice).unwrap_or_default();
        let seats: Vec<Seat> = names
            .iter()
            .filter_map(|name| self.seats.get(name)?.as_ref().ok())
            .map(|seat| seat.only(ip))
            .collect();
        let of_vrf = |seat: &&Seat| vrf.is_none() || self.vrf_of(seat) == vrf;
        let shares = |seat: &&Seat| other.is_some_and(|other| self.meet(other, seat));
        let near: Vec<&Seat> = seats.iter().filter(of_vrf).collect();
        let near = if near.is_empty() { seats.iter().filter(shares).collect() } else { near };
        match (near.as_slice(), vrf, seats.as_slice()) {
            ([seat], ..) => Ok((*seat).clone()),
            ([], Some(vrf), far) => match (trace::side_of_address(self.compiled, &vrf, ip), far) {
                (None, [seat]) => Ok(seat.clone()),
                _ => Ok(Seat::Outside { vrf, ip }),
            },
            ([], None, _) => Err(no_end()),
            _ => Err(BatchError::WhichEnd { text: text.to_owned() }),
        }
    }

    fn meet(&self, a: &Seat, b: &Seat) -> bool {
        let ether = family(a, b);
        let side = |seat| self.stand(seat, true, ether).side;
        side(a).zip(side(b)).is_some_and(|(a, b)| trace::meet(self.compiled, &a, &b, ether))
    }

    fn vrf_of(&self, seat: &Seat) -> Option<Dn> {
        match seat {
            Seat::Inside { member, .. } => self.compiled.intent.vrf_of(&member.attached).cloned(),
            Seat::Outside { vrf, .. } => Some(vrf.clone()),
        }
    }

    fn stand(&self, seat: &Seat, sends: bool, ether: EtherType) -> Stand {
        let of_family = |ip: &&IpAddr| ip.is_ipv6() == (ether == EtherType::IPV6);
        let ip = seat.ips().iter().find(of_family).copied();
        match seat {
            Seat::Inside { member, .. } => Stand {
                side: match &member.group {
                    Some(group) if self.compiled.externals.contains_key(group) => {
                        trace::side(self.compiled, group)
                    }
                    _ => trace::side_of_member(self.compiled, member),
                }
                .map(|side| side.at(ip)),
                lack: Reason::Quarantine,
                group: Some(member.group.as_ref().unwrap_or(&member.attached).to_string()),
                cause: member.cause.as_ref().map(ToString::to_string),
            },
            Seat::Outside { vrf, ip } => {
                let found = trace::side_of_address(self.compiled, vrf, *ip);
                Stand {
                    group: found.as_ref().map(|(name, _)| name.to_string()),
                    side: found.map(|(_, side)| side),
                    lack: if sends { Reason::UnknownSource } else { Reason::UnknownDestination },
                    cause: None,
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

    /// Both gates for a packet that nobody knows a connection of: contracts, then what protects the
    /// two ends. Says who stopped it if the second did.
    fn pass(
        &self,
        from: &Stand,
        to: &Stand,
        packet: &Packet,
        [sender, receiver]: &[Guard; 2],
    ) -> (Verdict, Option<Vec<String>>) {
        let verdict = self.judge(from, to, packet);
        guarded(verdict, || protect::first(&self.compiled.table, sender, receiver, packet))
    }

    /// Both gates for a reply. By contracts it passes by the connection if what it answers was let
    /// in by a stateful rule; else it is judged like any packet. Likewise by what protects the ends.
    fn pass_reply(
        &self,
        from: &Stand,
        to: &Stand,
        packet: &Packet,
        guards: &[Guard; 2],
    ) -> (Verdict, Option<Vec<String>>) {
        let opening_packet = opening(packet);
        let [sender, receiver] = guards;
        let there = [receiver.clone(), sender.clone()];
        let (opening, _) = self.pass(to, from, &opening_packet, &there);
        if opening.action == Action::Deny {
            return self.pass(from, to, packet, guards);
        }
        let verdict = if opening.stateful {
            Verdict { action: Action::Permit, reason: Reason::Established, ..opening }
        } else {
            self.judge(from, to, packet)
        };
        let table = &self.compiled.table;
        guarded(verdict, || protect::answer(table, sender, receiver, packet, &opening_packet))
    }

    fn answer(
        &self,
        verdict: Verdict,
        treated: Treated,
        from: Option<String>,
        to: Option<String>,
    ) -> Answer {
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
        let mut origin: Vec<String> = verdict.rule.and_then(dns).unwrap_or_default();
        origin.extend(treated.services.iter().chain(&treated.copy).map(|dn| dn.to_string()));
        Answer {
            verdict: match verdict.action {
                Action::Permit => "allow",
                Action::Deny => "deny",
                Action::Redirect => "redirect",
            },
            reason: verdict.reason.name(),
            rule: verdict.rule.map(|rule| rule.0),
            origin,
            log: verdict.log,
            from_group: from,
            to_group: to,
            treated,
            from_by: None,
            to_by: None,
        }
    }
}

/// A verdict after the second gate, and who stopped the packet there.
fn guarded(verdict: Verdict, gate: impl FnOnce() -> Pass) -> (Verdict, Option<Vec<String>>) {
    if verdict.action == Action::Deny {
        return (verdict, None);
    }
    let pass = gate();
    let log = verdict.log || pass.log;
    match pass.stopped_by {
        None => (Verdict { log, ..verdict }, None),
        Some(origin) => {
            let reason = Reason::HostProtection;
            (Verdict { reason, log: pass.log, ..Verdict::IMPLICIT_DENY }, Some(origin))
        }
    }
}

/// The address family that both ends have; IPv4 where they have both, or none is known.
fn family(from: &Seat, to: &Seat) -> EtherType {
    let lacks_v4 = |seat: &Seat| !seat.ips().is_empty() && seat.ips().iter().all(IpAddr::is_ipv6);
    if lacks_v4(from) || lacks_v4(to) { EtherType::IPV6 } else { EtherType::IPV4 }
}

/// One end of a flow, as far as policy knows it.
struct Stand {
    side: Option<Side>,
    /// What it means that there is no side.
    lack: Reason,
    group: Option<String>,
    /// What chose it.
    cause: Option<String>,
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
