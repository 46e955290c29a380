//! The lowered tables, evaluated in Rust: what the programs in `bpf/` do, step by step. Pure.
//!
//! The third of the judges: it shares with the kernel the bytes of the tables, and with
//! [`selvage_rules::Table::judge`] the answer, which a property test holds them to. [`Tables`] is
//! `bpf/policy.h`; [`Lowered`] adds where the two ends of a packet are, and its connection.

use std::collections::BTreeMap;

use selvage_agent::judge::{At, Case, Opinion, answers};
use selvage_rules::{
    Action, BdId, ClassId, Encapsulation, GroupKey, Packet, PairKey, Reason, RuleId, ScopeId,
    Verdict,
};

use crate::layout::{Bytes, address_of, types};
use crate::lower::{
    Places, encapsulation, flag, group_key, ip_key, kind, mac_key, pair_check, pair_key, what_of,
};

/// Bits of the state word above the generation: some pair of the host has `any` there.
pub mod wildcard {
    use crate::layout::types::wildcard_shift;

    /// Some pair is (source, any).
    pub const DST: u64 = 1 << wildcard_shift::WILDCARD_DST.0;
    /// Some pair is (any, destination).
    pub const SRC: u64 = 1 << wildcard_shift::WILDCARD_SRC.0;
    /// Some pair is (any, any).
    pub const BOTH: u64 = 1 << wildcard_shift::WILDCARD_BOTH.0;
}

/// The policy maps as they are in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// The generation, and which wildcards there are.
    pub word: u64,
    /// The pair map.
    pub pairs: BTreeMap<Bytes<types::pair_key>, Bytes<types::pair>>,
    /// The rules array, where it has been written.
    pub rules: BTreeMap<u32, Bytes<types::rule>>,
}

impl Tables {
    /// The verdict a packet gets, as if no connection were known.
    pub fn judge(&self, scope: ScopeId, src: ClassId, dst: ClassId, packet: &Packet) -> Verdict {
        let asked = [0, wildcard::DST, wildcard::SRC, wildcard::BOTH];
        let mut best: Option<types::rule> = None;
        for (key, bit) in PairKey::lookups(scope, src, dst).into_iter().zip(asked) {
            if bit != 0 && self.word & bit == 0 {
                continue;
            }
            let Some(rule) = self.first_match(key, packet) else { continue };
            if best.is_none_or(|held| rule.priority < held.priority) {
                best = Some(rule);
            }
        }
        best.map_or(Verdict::IMPLICIT_DENY, |rule| verdict(&rule))
    }

    fn first_match(&self, key: PairKey, packet: &Packet) -> Option<types::rule> {
        let pair = self.pairs.get(&Bytes(pair_key(key)))?.0;
        if pair.check != pair_check(key) {
            return None;
        }
        let run = current(&pair, self.word);
        let what = what_of(packet);
        (run.start..run.start.saturating_add(run.count))
            .filter_map(|slot| self.rules.get(&slot))
            .map(|rule| rule.0)
            .find(|rule| matches(rule, what, packet))
    }
}

/// All that is installed: where everything is, and the policy.
#[derive(Debug, Clone, Default)]
pub struct Lowered {
    /// The policy maps.
    pub tables: Tables,
    /// The other maps.
    pub places: Places,
}

impl Lowered {
    /// What becomes of a packet at this host: `bpf/selvage.bpf.c`.
    pub fn judge(&self, case: &Case) -> Opinion {
        let met = match case.from.at {
            At::Port(ifindex) => self.at_port(ifindex, case),
            At::Host { .. } => self.out_of_tunnel(case),
        };
        let (scope, src, dst) = match met {
            Ok(met) => met,
            Err(reason) => return case.as_a_plane_says(Opinion { reason, rule: None }),
        };
        let opening = case.answers.filter(|opening| answers(&case.packet, opening));
        let forward = opening.map(|opening| self.tables.judge(scope, dst, src, &opening));
        let verdict = match forward.filter(|verdict| verdict.stateful) {
            Some(forward) => Verdict { reason: Reason::Established, ..forward },
            None => self.tables.judge(scope, src, dst, &case.packet),
        };
        let verdict = case.as_a_plane_says(verdict.into());
        if verdict.allows() && verdict.reason != Reason::Fabric && !self.can_send(scope, src, case)
        {
            return Opinion { reason: Reason::RedirectFailed, ..verdict };
        }
        verdict
    }

    /// `send_to_host`: a host that speaks `epg-vni` is told the number of the sender's group.
    fn can_send(&self, scope: ScopeId, src: ClassId, case: &Case) -> bool {
        let plain = matches!(case.to.at, At::Host { speaks: Encapsulation::EpgVni, .. });
        !plain || self.places.group_vnis.contains_key(&group_key(GroupKey { scope, class: src }))
    }

    /// `from_endpoint`: the VRF and both classes, or why it goes no further.
    fn at_port(&self, ifindex: u32, case: &Case) -> Result<(ScopeId, ClassId, ClassId), Reason> {
        let port = self.places.ports.get(&Bytes(ifindex)).ok_or(Reason::Quarantine)?.0;
        if port.mac != case.from.endpoint.mac.0 {
            return Err(Reason::SpoofedMac);
        }
        let scope = ScopeId(port.scope);
        let to = &case.to.endpoint;
        let place = if case.is_bridged() {
            self.places.by_mac.get(&mac_key(case.to.endpoint.bd, to.mac))
        } else {
            // Without an address the packet cannot be made, let alone be routed.
            let (_, address) = case.addresses().ok_or(Reason::UnknownDestination)?;
            self.places.by_ip.get(&ip_key(scope, address))
        };
        if !case.is_bridged() && port.routed == 0 {
            return Err(Reason::NotRouted);
        }
        let place = place.ok_or(Reason::UnknownDestination)?.0;
        if place.kind == kind::GATEWAY {
            return Err(Reason::Gateway);
        }
        if !case.is_bridged() && place.routed == 0 {
            return Err(Reason::NotRouted);
        }
        Ok((scope, ClassId(port.class), ClassId(place.class)))
    }

    /// `from_overlay`, likewise. The sender's host says the sender's class.
    fn out_of_tunnel(&self, case: &Case) -> Result<(ScopeId, ClassId, ClassId), Reason> {
        let places = &self.places;
        let outer = case.outer().ok_or(Reason::UnknownTunnel)?;
        let speaks = places.tunnels.get(&Bytes(address_of(outer.tunnel)));
        let speaks = speaks.ok_or(Reason::UnknownTunnel)?.0;
        let gbp = speaks == u32::from(encapsulation::number(Encapsulation::Gbp));
        if outer.class.is_some() != gbp {
            return Err(Reason::UnknownTunnel);
        }
        let vni = Bytes(outer.vni);
        let (scope, bd, src) = match outer.class {
            Some(class) => {
                let network = places.networks.get(&vni).ok_or(Reason::UnknownNetwork)?.0;
                (ScopeId(network.scope), network.bd, class)
            }
            None => {
                let source = places.sources.get(&vni).ok_or(Reason::UnknownNetwork)?.0;
                (ScopeId(source.scope), source.bd, ClassId(source.class))
            }
        };
        let to = &case.to.endpoint;
        let by_mac = || {
            // What is routed comes with a MAC that means nothing here.
            let is_to = bd != 0 && case.is_bridged();
            is_to.then(|| places.by_mac.get(&mac_key(BdId(bd), to.mac))).flatten()
        };
        let by_ip = || {
            let (_, address) = case.addresses()?;
            places.by_ip.get(&ip_key(scope, address))
        };
        let place = match (bd, gbp) {
            (0, _) => by_ip(),
            (_, true) => by_mac(),
            (_, false) => by_mac().or_else(by_ip),
        };
        let place = place.filter(|place| place.0.kind == kind::LOCAL);
        let place = place.ok_or(Reason::UnknownDestination)?.0;
        Ok((scope, src, ClassId(place.class)))
    }
}

/// Which of a pair's runs holds under `word`'s generation.
pub fn current(pair: &types::pair, word: u64) -> types::run {
    // Generations wrap: the sign of the difference says which is later.
    let age = (word as u32).wrapping_sub(pair.since) as i32;
    if age >= 0 { pair.after } else { pair.before }
}

fn matches(rule: &types::rule, what: u64, packet: &Packet) -> bool {
    let ports =
        |packet: &Packet| if packet.has_ports() { (packet.sport, packet.dport) } else { (0, 0) };
    let (sport, dport) = ports(packet);
    what & rule.mask == rule.value
        && (rule.sport_first..=rule.sport_last).contains(&sport)
        && (rule.dport_first..=rule.dport_last).contains(&dport)
}

fn verdict(rule: &types::rule) -> Verdict {
    let permit = rule.flags & flag::PERMIT != 0;
    Verdict {
        action: if permit { Action::Permit } else { Action::Deny },
        reason: Reason::from_code(rule.reason).unwrap_or(Reason::Malformed),
        rule: Some(RuleId(rule.id)),
        stateful: rule.flags & flag::STATEFUL != 0,
        log: rule.flags & flag::LOG != 0,
    }
}
