//! The compiled table, and the judge that reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Action, Arm, Arms, Attachment, BdId, ClassId, EtherType, External, Facts, GroupId, Mac, Origin,
    Outside, Packet, Prefix, Protection, Quality, Reason, Rule, RuleId, RuleSet, RuleSetId,
    ScopeId, Service, ServiceId, chosen,
};

/// A VRF: one routing and policy-scope domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vrf {
    /// DN of the VRF.
    pub name: Arc<str>,
}

/// An anycast gateway address: every host answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gateway {
    /// The gateway's own address.
    pub ip: IpAddr,
    /// Length of its subnet's prefix, in bits.
    pub prefix_len: u8,
}

/// One layer-2 domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeDomain {
    /// DN of the bridge domain.
    pub name: Arc<str>,
    /// The VRF it is in.
    pub scope: ScopeId,
    /// The MAC of its gateways, the same on every host.
    pub mac: Mac,
    /// Packets to the gateway's MAC are routed.
    pub routed: bool,
    /// Its gateways, of both address families.
    pub gateways: Vec<Gateway>,
}

/// Identifies a group: class ids mean something only within a VRF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKey {
    /// The VRF.
    pub scope: ScopeId,
    /// The group's class within it.
    pub class: ClassId,
}

/// What groups of other VRFs know of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shared {
    /// Its addresses that they know.
    pub prefixes: BTreeSet<Prefix>,
    /// VRFs whose groups use contracts that it offers. There its class, which is fabric-wide, means
    /// it; there is judged what passes between it and their groups.
    pub offers_in: BTreeSet<ScopeId>,
    /// VRFs of which groups offer contracts that it uses.
    pub uses_of: BTreeSet<ScopeId>,
}

impl Shared {
    /// Whether they know this address; of an address that is not said, whether they know any of its
    /// family.
    pub fn knows(&self, ip: Option<IpAddr>, ether: EtherType) -> bool {
        self.prefixes.iter().any(|prefix| match ip {
            Some(ip) => prefix.contains(ip),
            None => ether.is_ip() && prefix.address().is_ipv6() == (ether == EtherType::IPV6),
        })
    }
}

/// A group of endpoints treated alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// DN of the group.
    pub name: Arc<str>,
    /// The bridge domain its endpoints live in; `None` if they are of several, and each keeps its
    /// own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bd: Option<BdId>,
    /// Its fabric-wide number.
    pub encap: GroupId,
}

/// Key of the table. Either class may be [`ClassId::ANY`].
///
/// The field order is the precedence of lookup results that have equal rule priority: a pair with
/// both classes is more specific than one with a source, that than one with a destination, that
/// than (any, any).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PairKey {
    /// The VRF.
    pub scope: ScopeId,
    /// Class of the sender.
    pub src: ClassId,
    /// Class of the receiver.
    pub dst: ClassId,
}

impl PairKey {
    /// The at most four keys that a packet from `src` to `dst` is looked up by, most specific first.
    pub fn lookups(scope: ScopeId, src: ClassId, dst: ClassId) -> [PairKey; 4] {
        [
            PairKey { scope, src, dst },
            PairKey { scope, src, dst: ClassId::ANY },
            PairKey { scope, src: ClassId::ANY, dst },
            PairKey { scope, src: ClassId::ANY, dst: ClassId::ANY },
        ]
    }
}

/// What happens to a packet, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Permit or deny.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The rule that decided; `None` for the implicit deny.
    pub rule: Option<RuleId>,
    /// Replies pass by the connection.
    pub stateful: bool,
    /// The packet is to be logged.
    pub log: bool,
}

impl Verdict {
    /// What holds where no rule matches.
    pub const IMPLICIT_DENY: Verdict = Verdict {
        action: Action::Deny,
        reason: Reason::NoContract,
        rule: None,
        stateful: false,
        log: false,
    };
}

/// The rule table of a fabric, or the slice of it that one host needs.
///
/// Rule sets are shared by all pairs that use the same contracts. The table is total: where nothing
/// matches, [`Verdict::IMPLICIT_DENY`] holds. Whatever is permitted without a contract (inside a
/// group, in an unenforced VRF) is a pair and a rule like any other, so a data plane needs no case
/// for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// VRFs by scope.
    pub vrfs: BTreeMap<ScopeId, Vrf>,
    /// Bridge domains.
    pub bridge_domains: BTreeMap<BdId, BridgeDomain>,
    /// Groups. Kept out of JSON object keys by [`as_list`].
    #[serde(with = "as_list")]
    pub groups: BTreeMap<GroupKey, Group>,
    /// Which rules hold from one class to another.
    #[serde(with = "as_list")]
    pub pairs: BTreeMap<PairKey, RuleSetId>,
    /// Rule sets by number.
    pub rule_sets: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// Services that rules name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceId, Service>,
    /// Quality of service of groups that ask for any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "as_list")]
    pub qualities: BTreeMap<GroupKey, Quality>,
    /// Host protection policies, by DN.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub protections: BTreeMap<Arc<str>, Protection>,
    /// Where each rule comes from.
    pub origins: BTreeMap<RuleId, Origin>,
    /// Groups that meet groups of other VRFs.
    #[serde(default, with = "as_list", skip_serializing_if = "BTreeMap::is_empty")]
    pub shared: BTreeMap<GroupKey, Shared>,
    /// The world outside, for VRFs that have a way there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outside: BTreeMap<ScopeId, Outside>,
    /// Which endpoints are in another group than the one they are attached to, by the name of their
    /// VRF, which is asked first, and of their bridge domain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arms: Arms,
}

impl Table {
    /// Why an endpoint is in another group than the one it is attached to, and in which; `None` if it
    /// is in that one.
    pub fn chosen(&self, at: Attachment<'_>, facts: &Facts) -> Option<&Arm> {
        let domain = self.bridge_domains.values().find(|bd| *bd.name == *at.bridge_domain);
        let vrf = domain.and_then(|bd| self.vrfs.get(&bd.scope)).map(|vrf| &*vrf.name);
        let names = [vrf, Some(at.bridge_domain)].into_iter().flatten();
        let lists = names.filter_map(|name| self.arms.get(name)).map(|arms| arms.as_slice());
        chosen(lists, at, facts)
    }

    /// The group outside that `ip` is in. Endpoints come before: ask for them first.
    pub fn external(&self, scope: ScopeId, ip: IpAddr) -> Option<&External> {
        self.outside.get(&scope)?.group_of(ip)
    }

    /// Where is judged what passes between two groups: in their VRF, or if they are of two, in that of
    /// the one which uses contracts of the other. `None` if they do not meet: neither does, or these
    /// addresses are not known there. Of an address that is not said any of the packet's family will
    /// do.
    pub fn meeting(
        &self,
        (src, src_ip): (GroupKey, Option<IpAddr>),
        (dst, dst_ip): (GroupKey, Option<IpAddr>),
        ether: EtherType,
    ) -> Option<ScopeId> {
        if src.scope == dst.scope {
            return Some(src.scope);
        }
        let (from, to) = (self.shared.get(&src)?, self.shared.get(&dst)?);
        if !from.knows(src_ip, ether) || !to.knows(dst_ip, ether) {
            return None;
        }
        if from.offers_in.contains(&dst.scope) && to.uses_of.contains(&src.scope) {
            Some(dst.scope)
        } else if to.offers_in.contains(&src.scope) && from.uses_of.contains(&dst.scope) {
            Some(src.scope)
        } else {
            None
        }
    }

    /// The group that a class means in a VRF: one of its own, or one of another VRF that offers
    /// contracts there.
    pub fn home(&self, key: GroupKey) -> GroupKey {
        if key.class >= ClassId::FIRST_LOCAL {
            return key;
        }
        let mut here = self.shared.iter().filter(|(home, _)| home.class == key.class);
        let found = here.find(|(_, shared)| shared.offers_in.contains(&key.scope));
        found.map_or(key, |(home, _)| *home)
    }

    /// Name and fabric-wide number of the group that packets of this class come from, inside or
    /// outside.
    pub fn sender(&self, key: GroupKey) -> Option<(&Arc<str>, GroupId)> {
        let key = self.home(key);
        if let Some(group) = self.groups.get(&key) {
            return Some((&group.name, group.encap));
        }
        let mut outside = self.outside.get(&key.scope)?.groups.values();
        outside.find(|group| group.source == key.class).map(|group| (&group.name, group.encap))
    }

    /// Name of the group that has this class on either side, inside or outside.
    pub fn name_of(&self, key: GroupKey) -> Option<&Arc<str>> {
        let outside = || {
            let mut groups = self.outside.get(&key.scope)?.groups.values();
            groups.find(|group| group.destination == key.class).map(|group| &group.name)
        };
        self.sender(key).map(|(name, _)| name).or_else(outside)
    }

    /// The rule that decides about `packet`, and the pair it was found under.
    pub fn deciding_rule(
        &self,
        scope: ScopeId,
        src: ClassId,
        dst: ClassId,
        packet: &Packet,
    ) -> Option<(PairKey, &Rule)> {
        let mut best: Option<(PairKey, &Rule)> = None;
        for key in PairKey::lookups(scope, src, dst) {
            let set = self.pairs.get(&key).and_then(|id| self.rule_sets.get(id));
            let Some(rule) = set.and_then(|set| set.first_match(packet)) else { continue };
            // Lookups come most specific first, so an equal priority does not displace.
            if best.is_none_or(|(_, held)| rule.priority < held.priority) {
                best = Some((key, rule));
            }
        }
        best
    }

    /// Judges `packet` by the rules alone, as if no connection were known.
    pub fn judge(&self, scope: ScopeId, src: ClassId, dst: ClassId, packet: &Packet) -> Verdict {
        match self.deciding_rule(scope, src, dst, packet) {
            None => Verdict::IMPLICIT_DENY,
            Some((_, rule)) => Verdict {
                action: rule.action,
                reason: if rule.action == Action::Deny { Reason::Denied } else { rule.reason },
                rule: Some(rule.id),
                stateful: rule.stateful && rule.action != Action::Deny,
                log: rule.log,
            },
        }
    }
}

/// Maps with structured keys as lists of `[key, value]`, since JSON keys are strings.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EtherType, Match, PortRange, Treatment, proto};

    const SCOPE: ScopeId = ScopeId(100);
    const WEB: ClassId = ClassId(16386);
    const DB: ClassId = ClassId(16387);

    fn rule(id: u32, priority: u16, dport: PortRange, action: Action) -> Rule {
        Rule {
            id: RuleId(id),
            priority,
            matches: Match { proto: Some(proto::TCP), dport, ..Match::EVERYTHING },
            action,
            reason: Reason::Contract,
            stateful: false,
            log: false,
            treatment: Treatment::default(),
        }
    }

    fn table(pairs: &[(ClassId, ClassId, Vec<Rule>)]) -> Table {
        let mut table = Table::default();
        for (number, (src, dst, rules)) in (1..).zip(pairs) {
            let id = RuleSetId(number);
            table.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules.clone())));
            table.pairs.insert(PairKey { scope: SCOPE, src: *src, dst: *dst }, id);
        }
        table
    }

    fn syn(dport: u16) -> Packet {
        Packet::tcp_syn(EtherType::IPV4, 40000, dport)
    }

    #[test]
    fn the_empty_table_denies_and_names_no_rule() {
        assert_eq!(Table::default().judge(SCOPE, WEB, DB, &syn(80)), Verdict::IMPLICIT_DENY);
    }

    #[test]
    fn the_best_priority_of_four_lookups_wins() {
        let table = table(&[
            (WEB, DB, vec![rule(1, 100, PortRange::one(5432), Action::Permit)]),
            (ClassId::ANY, DB, vec![rule(2, 50, PortRange::ANY, Action::Deny)]),
        ]);
        assert_eq!(table.judge(SCOPE, WEB, DB, &syn(5432)).rule, Some(RuleId(2)));
    }

    #[test]
    fn at_equal_priority_the_more_specific_pair_wins() {
        let table = table(&[
            (WEB, DB, vec![rule(1, 100, PortRange::one(5432), Action::Permit)]),
            (ClassId::ANY, ClassId::ANY, vec![rule(2, 100, PortRange::ANY, Action::Deny)]),
        ]);
        assert_eq!(table.judge(SCOPE, WEB, DB, &syn(5432)).rule, Some(RuleId(1)));
        assert_eq!(table.judge(SCOPE, WEB, DB, &syn(22)).reason, Reason::Denied);
    }

    #[test]
    fn a_later_fragment_matches_no_rule_with_ports() {
        let table = table(&[(WEB, DB, vec![rule(1, 100, PortRange::one(80), Action::Permit)])]);
        let fragment = Packet { later_fragment: true, ..syn(80) };
        assert_eq!(table.judge(SCOPE, WEB, DB, &fragment), Verdict::IMPLICIT_DENY);
    }

    #[test]
    fn a_table_survives_json() {
        let table = table(&[(WEB, DB, vec![rule(1, 100, PortRange::one(80), Action::Permit)])]);
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
    }
}
