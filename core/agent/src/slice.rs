//! What the agent holds of the policy and of the other hosts, and the [`Desired`] it makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{
    Attachment, BdId, BridgeDomain, ClassId, Desired, Encapsulation, Endpoint, EndpointId, Facts,
    GroupId, GroupKey, Local, Mac, NodeId, Remote, Revision, ScopeId, Source, Table,
};
use serde::{Deserialize, Serialize};

/// The policy of the groups this host has endpoints of: a complete closure, never a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slice {
    /// The commit it comes from.
    pub revision: Revision,
    /// The rules.
    pub table: Table,
    /// Those of the groups it was resolved for that endpoints can be attached to, by DN.
    pub groups: BTreeMap<Arc<str>, Resolved>,
    /// DNs of these groups and of those at the other ends of their pairs, for the words of a drop.
    pub names: Vec<(GroupKey, Arc<str>)>,
    /// What these groups are known by on the wire.
    pub sources: BTreeMap<GroupId, Source>,
}

/// What a group's DN led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Its class, and its VRF.
    pub key: GroupKey,
    /// The bridge domain its endpoints live in.
    pub bd: BdId,
}

/// The group of an endpoint, where that is not just the one it is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// DN of the group that was chosen for it; `None` if none was.
    pub name: Option<Arc<str>>,
    /// Class and fabric-wide number of its group; `None` is quarantine.
    pub found: Option<(ClassId, GroupId)>,
}

impl Slice {
    /// The VRFs that the host `node` is the border of.
    pub fn borders(&self, node: NodeId) -> impl Iterator<Item = ScopeId> {
        let outside = self.table.outside.iter();
        outside.filter(move |(_, o)| o.borders().contains(&node)).map(|(scope, _)| *scope)
    }

    /// Whether this is a group of the slice, be anybody attached to it or not.
    pub fn has_group(&self, dn: &str) -> bool {
        self.table.groups.values().any(|group| *group.name == *dn)
    }

    /// The group that an endpoint is in, by what is known of it. Its bridge domain is that of the group
    /// it is attached to, whatever group it is in.
    pub fn seat(&self, attached: &str, facts: &Facts) -> Option<Seat> {
        let (resolved, bd) = self.group(attached)?;
        let at = Attachment { group: attached, bridge_domain: &bd.name };
        let Some(arm) = self.table.chosen(at, facts) else {
            let encap = self.table.groups.get(&resolved.key)?.encap;
            return Some(Seat { name: None, found: Some((resolved.key.class, encap)) });
        };
        let found = arm.group.as_ref().and_then(|name| {
            let scope = resolved.key.scope;
            let mut groups = self.table.groups.iter();
            groups.find(|(key, group)| key.scope == scope && group.name == *name)
        });
        let found = found.map(|(key, group)| (key.class, group.encap));
        Some(Seat { name: arm.group.clone(), found })
    }

    /// The class and the bridge domain of the group `dn`.
    pub fn group(&self, dn: &str) -> Option<(Resolved, &BridgeDomain)> {
        let resolved = *self.groups.get(dn)?;
        Some((resolved, self.table.bridge_domains.get(&resolved.bd)?))
    }
}

/// Where an endpoint of another host is, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Tunnel address of its host.
    pub tunnel: IpAddr,
    /// VNI of its bridge domain.
    pub bd: BdId,
    /// Its class.
    pub class: ClassId,
    /// Its group's fabric-wide number.
    pub encap: GroupId,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses, ascending.
    pub ips: Vec<IpAddr>,
    /// DN of its group.
    pub group: Arc<str>,
    /// DN of its bridge domain, which this host may have no endpoint in.
    pub bridge_domain: Arc<str>,
}

/// What is known of the rest of the fabric.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Endpoints of other hosts by VRF, keyed `HOST/ENDPOINT`.
    pub locations: BTreeMap<ScopeId, BTreeMap<EndpointId, Location>>,
    /// The other hosts.
    pub hosts: BTreeMap<Arc<str>, Host>,
}

/// A host as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its tunnel address.
    pub tunnel: IpAddr,
    /// What it can send and receive.
    pub encapsulations: BTreeSet<Encapsulation>,
    /// The number that the policy knows it by, if it has one.
    #[serde(default)]
    pub node: Option<NodeId>,
}

/// One thing that changed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Move {
    /// An endpoint is there now.
    Came(ScopeId, EndpointId, Location),
    /// An endpoint is nowhere now.
    Went(ScopeId, EndpointId),
    /// A host is there now.
    HostCame(Arc<str>, Host),
    /// A host is gone.
    HostWent(Arc<str>),
}

impl Elsewhere {
    /// What changed from `self` to `new`.
    pub fn moves(&self, new: &Elsewhere) -> Vec<Move> {
        let mut moves = Vec::new();
        let none = BTreeMap::new();
        for (scope, after) in &new.locations {
            let before = self.locations.get(scope).unwrap_or(&none);
            let came = after.iter().filter(|(id, location)| before.get(*id) != Some(*location));
            moves.extend(came.map(|(id, l)| Move::Came(*scope, id.clone(), l.clone())));
        }
        for (scope, before) in &self.locations {
            let after = new.locations.get(scope).unwrap_or(&none);
            let went = before.keys().filter(|id| !after.contains_key(*id));
            moves.extend(went.map(|id| Move::Went(*scope, id.clone())));
        }
        let came = new.hosts.iter().filter(|(name, host)| self.hosts.get(*name) != Some(*host));
        moves.extend(came.map(|(name, host)| Move::HostCame(name.clone(), host.clone())));
        let went = self.hosts.keys().filter(|name| !new.hosts.contains_key(*name));
        moves.extend(went.map(|name| Move::HostWent(name.clone())));
        moves
    }

    /// Takes in one change.
    pub fn take(&mut self, change: Move) {
        match change {
            Move::Came(scope, id, location) => {
                self.locations.entry(scope).or_default().insert(id, location);
            }
            Move::Went(scope, id) => {
                self.locations.get_mut(&scope).map(|held| held.remove(&id));
            }
            Move::HostCame(name, host) => drop(self.hosts.insert(name, host)),
            Move::HostWent(name) => drop(self.hosts.remove(&name)),
        }
    }

    /// How many endpoints and hosts are known.
    pub fn len(&self) -> usize {
        self.locations.values().map(BTreeMap::len).sum::<usize>() + self.hosts.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Every address that endpoints of other hosts have in this VRF.
    pub fn addresses(&self, scope: ScopeId) -> impl Iterator<Item = IpAddr> + '_ {
        self.locations
            .get(&scope)
            .into_iter()
            .flat_map(|l| l.values())
            .flat_map(|l| &l.ips)
            .copied()
    }

    /// Whether an endpoint of another host has this MAC in this bridge domain.
    pub fn has_mac(&self, scope: ScopeId, bd: BdId, mac: Mac) -> bool {
        let in_vrf = self.locations.get(&scope).into_iter().flat_map(|l| l.values());
        in_vrf.into_iter().any(|l| l.bd == bd && l.mac == mac)
    }
}

/// An endpoint of this host as the data plane is to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Interface index of the host's end of its link.
    pub ifindex: u32,
    /// What it is; `None` is quarantine.
    pub endpoint: Option<Endpoint>,
}

/// Joins policy, local endpoints and locations into what this host must enforce. Locations are
/// taken for the VRFs that local endpoints are in, and those that this host (`node`) is the border of,
/// since nothing here can speak to any other. `can` is what the data plane can send and receive.
pub fn desired(
    slice: &Slice,
    elsewhere: &Elsewhere,
    can: &BTreeSet<Encapsulation>,
    node: Option<NodeId>,
    here: impl Iterator<Item = (EndpointId, Here)>,
) -> Desired {
    let locals: BTreeMap<EndpointId, Local> = here
        .map(|(id, here)| (id, Local { ifindex: here.ifindex, endpoint: here.endpoint }))
        .collect();
    let scope_of = |bd: &BdId| slice.table.bridge_domains.get(bd).map(|bd| bd.scope);
    let scopes = locals.values().filter_map(|local| scope_of(&local.endpoint.as_ref()?.bd));
    let scopes: BTreeSet<ScopeId> =
        scopes.chain(node.into_iter().flat_map(|node| slice.borders(node))).collect();
    let remotes = scopes
        .iter()
        .filter_map(|scope| elsewhere.locations.get(scope))
        .flatten()
        .map(|(id, location)| (id.clone(), remote(location)))
        .collect();
    let mut table = slice.table.clone();
    let mut sources = slice.sources.clone();
    for (scope, locations) in &elsewhere.locations {
        for location in locations.values().filter(|_| scopes.contains(scope)) {
            table.bridge_domains.entry(location.bd).or_insert_with(|| foreign(location, *scope));
            let key = GroupKey { scope: *scope, class: location.class };
            // The controller's word comes before that of another host.
            sources.entry(location.encap).or_insert(Source { key, bd: Some(location.bd) });
        }
    }
    for (scope, outside) in &table.outside {
        for group in outside.groups.values() {
            let key = GroupKey { scope: *scope, class: group.source };
            sources.entry(group.encap).or_insert(Source { key, bd: None });
        }
    }
    let peers = elsewhere
        .hosts
        .values()
        .filter_map(|host| Some((host.tunnel, Encapsulation::between(can, &host.encapsulations)?)));
    Desired {
        revision: slice.revision,
        table,
        locals,
        remotes,
        tunnels: peers.collect(),
        sources,
        node,
        nodes: elsewhere
            .hosts
            .values()
            .filter_map(|host| Some((host.node?, host.tunnel)))
            .collect(),
    }
}

/// A bridge domain that is known only because an endpoint of another host is in it. That host knows
/// its gateways; here it only says which VRF the endpoint is in.
fn foreign(location: &Location, scope: ScopeId) -> BridgeDomain {
    let name = location.bridge_domain.clone();
    BridgeDomain { name, scope, mac: Mac([0; 6]), routed: true, gateways: Vec::new() }
}

fn remote(location: &Location) -> Remote {
    let Location { tunnel, bd, class, mac, ips, .. } = location;
    let endpoint = Endpoint { bd: *bd, class: *class, mac: *mac, ips: ips.clone() };
    Remote { endpoint, tunnel: *tunnel }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(last: u8) -> Location {
        Location {
            tunnel: [192, 0, 2, last].into(),
            bd: BdId(7),
            class: ClassId(16386),
            encap: GroupId(20),
            mac: Mac([2, 0, 0, 0, 0, last]),
            ips: vec![[10, 0, 0, last].into()],
            group: "g".into(),
            bridge_domain: "bd".into(),
        }
    }

    #[test]
    fn moves_lead_from_one_to_the_other() {
        let at = |list: &[(u32, &str, u8)]| {
            let mut elsewhere = Elsewhere::default();
            for (scope, id, last) in list {
                let id = EndpointId((*id).into());
                elsewhere.take(Move::Came(ScopeId(*scope), id, location(*last)));
                let tunnel = [192, 0, 2, *last].into();
                let host = Host { tunnel, encapsulations: Encapsulation::ALL.into(), node: None };
                elsewhere.take(Move::HostCame(format!("h{last}").into(), host));
            }
            elsewhere
        };
        let states = [
            at(&[]),
            at(&[(1, "h1/a", 1), (1, "h2/b", 2)]),
            at(&[(1, "h1/a", 3), (2, "h2/b", 2)]),
            at(&[(2, "h2/b", 2)]),
        ];
        for from in &states {
            for to in &states {
                let mut state = from.clone();
                from.moves(to).into_iter().for_each(|change| state.take(change));
                state.locations.retain(|_, held| !held.is_empty());
                assert_eq!(&state, to);
                assert_eq!(from.moves(to).is_empty(), from == to);
            }
        }
    }
}
