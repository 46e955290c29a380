//! A drop in words: who, to whom, for what, why, and which contract came nearest. What passes by a
//! rule that logs is said in the same words.
//!
//! The data plane reports numbers. [`Names`] holds what they stand for on this host at the moment;
//! it is made from the [`Desired`] in force.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{
    Action, BdId, ClassId, Desired, EtherMatch, GroupKey, Mac, Packet, PairKey, Reason, Rule,
    ScopeId, Table, proto,
};

use crate::datapath::{Direction, Drop};
use crate::local::{DropView, Nearest, Party};
use crate::words;

/// An endpoint, as drops name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Who {
    endpoint: String,
    host: String,
    group: GroupKey,
}

/// What the numbers of a drop stand for on this host.
#[derive(Debug, Clone, Default)]
pub struct Names {
    host: String,
    table: Table,
    by_ip: BTreeMap<(ScopeId, IpAddr), Who>,
    by_mac: BTreeMap<(BdId, Mac), Who>,
    by_port: BTreeMap<u32, Who>,
    groups: BTreeMap<GroupKey, Arc<str>>,
}

impl Names {
    /// What is known on `host` while `desired` is in force. `others` are groups that it has no
    /// endpoint of.
    pub fn new(
        host: &str,
        desired: &Desired,
        others: impl Iterator<Item = (GroupKey, Arc<str>)>,
    ) -> Names {
        let own = desired.table.groups.iter().map(|(key, group)| (*key, group.name.clone()));
        let mut names = Names {
            host: host.to_owned(),
            table: desired.table.clone(),
            groups: others.chain(own).collect(),
            ..Names::default()
        };
        let scope_of = |bd| desired.table.bridge_domains.get(&bd).map(|bd| bd.scope);
        let mut add = |endpoint: &selvage_rules::Endpoint, name: &str, host: &str| {
            let scope = scope_of(endpoint.bd)?;
            let group = GroupKey { scope, class: endpoint.class };
            let who = Who { endpoint: name.to_owned(), host: host.to_owned(), group };
            for ip in &endpoint.ips {
                names.by_ip.insert((scope, *ip), who.clone());
            }
            names.by_mac.insert((endpoint.bd, endpoint.mac), who.clone());
            Some(who)
        };
        let mut ports = BTreeMap::new();
        for (id, remote) in &desired.remotes {
            let (host, name) = id.0.split_once('/').unwrap_or(("", &id.0));
            add(&remote.endpoint, name, host);
        }
        for (id, local) in &desired.locals {
            let who = local.endpoint.as_ref().and_then(|endpoint| add(endpoint, &id.0, host));
            ports.extend(who.map(|who| (local.ifindex, who)));
        }
        names.by_port = ports;
        names
    }

    /// Says in words what `drop` says in numbers. `time_ms` is when, since 1970.
    pub fn view(&self, drop: &Drop, time_ms: u64) -> DropView {
        let src = self.sender(drop);
        let dst = self.receiver(drop);
        let service = words::service(&drop.packet);
        let nearest = (drop.reason == Reason::NoContract)
            .then(|| self.nearest(src.key(drop)?, dst.key(drop)?, &drop.packet))
            .flatten();
        let origin = drop.rule.and_then(|rule| self.table.origins.get(&rule));
        let origin = origin.map(|origin| origin.dn.to_string());
        let why = why(drop, &src, &dst, &service, origin.as_deref());
        let (src_label, dst_label, host) = (src.label(), dst.label(), &self.host);
        let fate = if drop.reason.is_allow() { "passed" } else { "dropped" };
        let mut text = format!("{src_label} -> {dst_label} {service} {fate} on {host}: {why}");
        if let Some(near) = &nearest {
            text.push_str(&format!("; nearest: contract {} allows {}", near.contract, near.allows));
            if near.reverse {
                text.push_str(&format!(" from {} to {}", dst.group_label(), src.group_label()));
            }
        }
        let ip = drop.packet.ether.is_ip();
        DropView {
            time_ms,
            text,
            host: self.host.clone(),
            reason: drop.reason,
            direction: drop.direction,
            src: src.party,
            dst: dst.party,
            service,
            proto: ip.then_some(drop.packet.proto),
            rule: drop.rule,
            origin,
            nearest,
            tunnel: drop.tunnel,
            length: drop.length,
        }
    }

    fn sender(&self, drop: &Drop) -> Named {
        // What comes in by an endpoint's port is that endpoint's, whatever its headers claim.
        let port = (drop.direction == Direction::FromEndpoint).then_some(drop.ifindex);
        self.named(drop, port, drop.src_class, drop.src_mac, drop.src, drop.packet.sport)
    }

    fn receiver(&self, drop: &Drop) -> Named {
        let port = (drop.direction == Direction::ToEndpoint).then_some(drop.ifindex);
        self.named(drop, port, drop.dst_class, drop.dst_mac, drop.dst, drop.packet.dport)
    }

    fn named(
        &self,
        drop: &Drop,
        port: Option<u32>,
        class: Option<ClassId>,
        mac: Mac,
        ip: Option<IpAddr>,
        l4: u16,
    ) -> Named {
        let scope = drop.scope.or_else(|| {
            drop.bd.and_then(|bd| self.table.bridge_domains.get(&bd)).map(|bd| bd.scope)
        });
        let who = port
            .and_then(|port| self.by_port.get(&port))
            .or_else(|| self.by_ip.get(&(scope?, ip?)))
            .or_else(|| if ip.is_none() { self.by_mac.get(&(drop.bd?, mac)) } else { None });
        let group = scope
            .zip(class.filter(|class| *class != ClassId::ANY))
            .map(|(scope, class)| GroupKey { scope, class })
            .or_else(|| who.map(|who| who.group));
        let name = group.and_then(|key| self.groups.get(&key)).map(|name| name.to_string());
        Named {
            party: Party {
                endpoint: who.map(|who| who.endpoint.clone()),
                host: who.map(|who| who.host.clone()),
                group: name,
                class: group.map(|key| key.class),
                mac: Some(mac),
                ip,
                port: drop.packet.has_ports().then_some(l4),
            },
            scope: group.map(|key| key.scope),
        }
    }

    /// The contract that comes nearest to allowing `packet` from `src` to `dst`: one in the same
    /// direction before one the other way round, the same protocol before another, then the nearest
    /// port. Rules for the way back are passed over: nobody wrote them.
    fn nearest(&self, src: GroupKey, dst: GroupKey, packet: &Packet) -> Option<Nearest> {
        let ways = [(src.class, dst.class, false), (dst.class, src.class, true)];
        ways.into_iter()
            .flat_map(|(from, to, reverse)| {
                PairKey::lookups(src.scope, from, to).map(|key| (key, reverse))
            })
            .filter_map(|(key, reverse)| Some((self.table.pairs.get(&key)?, reverse)))
            .filter_map(|(set, reverse)| Some((self.table.rule_sets.get(set)?, reverse)))
            .flat_map(|(set, reverse)| set.rules.iter().map(move |rule| (rule, reverse)))
            .filter(|(rule, _)| rule.action == Action::Permit && rule.reason == Reason::Contract)
            .filter_map(|(rule, reverse)| {
                let origin = self.table.origins.get(&rule.id)?;
                (!origin.reverse).then_some((rule, reverse, origin))
            })
            .min_by_key(|(rule, reverse, _)| (*reverse, distance(rule, packet), rule.id))
            .map(|(rule, reverse, origin)| Nearest {
                contract: words::contract(&origin.dn).to_owned(),
                dn: origin.dn.to_string(),
                allows: words::matches(&rule.matches),
                reverse,
            })
    }
}

/// How far a rule is from a packet: another protocol is farther than any port.
fn distance(rule: &Rule, packet: &Packet) -> (bool, bool, u16) {
    let same_ether = match rule.matches.ether {
        EtherMatch::Is(ether) => ether == packet.ether,
        EtherMatch::Any | EtherMatch::Ip => true,
    };
    let same_proto = rule.matches.proto.is_none_or(|p| {
        let icmp = |p| matches!(p, proto::ICMP | proto::ICMPV6);
        p == packet.proto || icmp(p) && icmp(packet.proto)
    });
    let (ports, port) = (rule.matches.dport, packet.dport);
    let gap = if port < ports.first { ports.first - port } else { port.saturating_sub(ports.last) };
    (!same_proto, !same_ether, gap)
}

/// A party and the VRF its class means something in.
struct Named {
    party: Party,
    scope: Option<ScopeId>,
}

impl Named {
    fn key(&self, drop: &Drop) -> Option<GroupKey> {
        Some(GroupKey { scope: self.scope.or(drop.scope)?, class: self.party.class? })
    }

    /// The most telling name there is.
    fn label(&self) -> String {
        let Party { endpoint, ip, mac, .. } = &self.party;
        match (endpoint, ip, mac) {
            (Some(name), _, _) => name.clone(),
            (None, Some(ip), _) => ip.to_string(),
            (None, None, Some(mac)) => mac.to_string(),
            (None, None, None) => "unknown".to_owned(),
        }
    }

    fn group_label(&self) -> String {
        match (&self.party.group, self.party.class) {
            (Some(dn), _) => words::short(dn).to_owned(),
            (None, Some(class)) => format!("class {class}"),
            (None, None) => self.label(),
        }
    }
}

fn why(drop: &Drop, src: &Named, dst: &Named, service: &str, origin: Option<&str>) -> String {
    match (drop.reason, origin) {
        (Reason::NoContract, _) => format!(
            "no contract lets {} reach {} on {service}",
            src.group_label(),
            dst.group_label()
        ),
        (Reason::Contract, Some(dn)) => format!("contract {} allows it", words::contract(dn)),
        (Reason::Denied, Some(dn)) => format!("contract {} denies it", words::contract(dn)),
        (Reason::Denied, None) => match drop.rule {
            Some(rule) => format!("rule {rule} denies it"),
            None => Reason::Denied.text().to_owned(),
        },
        (Reason::UnknownTunnel, _) => match drop.tunnel {
            Some(outer) => {
                format!("it came through the overlay from {outer}, which is no host of the fabric")
            }
            None => drop.reason.text().to_owned(),
        },
        (reason, _) => reason.text().to_owned(),
    }
}
