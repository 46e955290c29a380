//! Many flows asked of one compiled policy, by endpoints that are told rather than learned: the
//! questions of a CI job or of another judge.
//!
//! The forms here are the lines of `selvage trace --flows`; their field names are an interface.

mod line;
mod names;
mod protect;

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_model::{Dn, Tree};
use selvage_rules::{Action, Packet, Reason, TcpFlags, Verdict, proto};
use serde::Serialize;

use crate::compile::Compiled;
use crate::front;
use crate::trace::{self, Side, Treated};

pub use line::{Ether, Flags, OneOrMany, Question, State, Told};
pub use names::NameOrNumber;
use protect::{Guard, Pass};

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
    guards: BTreeMap<String, Guard>,
    names_by_ip: BTreeMap<IpAddr, String>,
}

impl<'c> Batch<'c> {
    /// # Errors
    /// All that is wrong with the endpoints, at once.
    pub fn new(compiled: &'c Compiled, told: &[Told]) -> Result<Batch<'c>, Vec<BatchError>> {
        let mut batch = Batch {
            compiled,
            seats: BTreeMap::new(),
            guards: BTreeMap::new(),
            names_by_ip: BTreeMap::new(),
        };
        let mut wrong = Vec::new();
        for endpoint in told {
            match batch.seat(endpoint) {
                Err(error) => wrong.push(error),
                Ok(seat) => {
                    for ip in endpoint.ip.as_slice().iter().chain(&endpoint.external) {
                        batch.names_by_ip.entry(*ip).or_insert_with(|| endpoint.name.clone());
                    }
                    batch.guards.insert(endpoint.name.clone(), batch.guard(endpoint, &seat));
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

    /// What protects an endpoint, and its addresses for whoever is protected from it.
    fn guard(&self, told: &Told, seat: &Seat) -> Guard {
        let addresses = told.ip.as_slice().iter().chain(&told.external).copied().collect();
        let policies = match (seat, told.attributes.get(protect::ATTRIBUTE)) {
            (Seat::Inside(group), Some(text)) => protect::named(&self.compiled.table, group, text),
            _ => Vec::new(),
        };
        Guard { policies, addresses }
    }

    /// The guard of whoever a flow calls so; an address that is no endpoint's has none.
    fn guard_of(&self, text: &str) -> Guard {
        let ip = text.parse().ok();
        let by_ip = || self.guards.get(self.names_by_ip.get(&ip?)?);
        let known = self.guards.get(text).or_else(by_ip).cloned();
        known.unwrap_or_else(|| Guard { addresses: ip.into_iter().collect(), ..Guard::default() })
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
        let guards = [&question.from, &question.to].map(|text| self.guard_of(text));
        let (verdict, stopped_by) = match question.state {
            State::New => self.pass(&from, &to, &packet, &guards),
            State::Established => self.pass_reply(&from, &to, &packet, &guards),
        };
        let treated = match (&from.side, &to.side) {
            (Some(src), Some(dst)) => trace::treatment(self.compiled, src, dst, &packet, &verdict),
            _ => Treated::default(),
        };
        let answer = self.answer(verdict, treated, from.group, to.group);
        Ok(match stopped_by {
            Some(origin) => Answer { origin, ..answer },
            None => answer,
        })
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
