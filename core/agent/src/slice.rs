//! What the agent holds of the policy and of the other hosts, and the [`Desired`] it makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{
    BdId, BridgeDomain, ClassId, Desired, Endpoint, EndpointId, GroupKey, Local, Mac, Remote,
    Revision, ScopeId, Table,
};
use serde::{Deserialize, Serialize};

/// The policy of the groups this host has endpoints of: a complete closure, never a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slice {
    /// The commit it comes from.
    pub revision: Revision,
    /// The rules.
    pub table: Table,
    /// The groups it was resolved for, by DN.
    pub groups: BTreeMap<Arc<str>, Resolved>,
    /// DNs of these groups and of those at the other ends of their pairs, for the words of a drop.
    pub names: Vec<(GroupKey, Arc<str>)>,
}

/// What a group's DN led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Its class, and its VRF.
    pub key: GroupKey,
    /// The bridge domain its endpoints live in.
    pub bd: BdId,
}

impl Slice {
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
    /// Tunnel addresses of the other hosts.
    pub hosts: BTreeMap<Arc<str>, IpAddr>,
}

impl Elsewhere {
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
/// taken for the VRFs that local endpoints are in, since nothing here can speak to any other.
pub fn desired(
    slice: &Slice,
    elsewhere: &Elsewhere,
    here: impl Iterator<Item = (EndpointId, Here)>,
) -> Desired {
    let locals: BTreeMap<EndpointId, Local> = here
        .map(|(id, here)| (id, Local { ifindex: here.ifindex, endpoint: here.endpoint }))
        .collect();
    let scope_of = |bd: &BdId| slice.table.bridge_domains.get(bd).map(|bd| bd.scope);
    let scopes: BTreeSet<ScopeId> =
        locals.values().filter_map(|local| scope_of(&local.endpoint.as_ref()?.bd)).collect();
    let remotes = scopes
        .iter()
        .filter_map(|scope| elsewhere.locations.get(scope))
        .flatten()
        .map(|(id, location)| (id.clone(), remote(location)))
        .collect();
    let mut table = slice.table.clone();
    for (scope, locations) in &elsewhere.locations {
        for location in locations.values().filter(|_| scopes.contains(scope)) {
            table.bridge_domains.entry(location.bd).or_insert_with(|| foreign(location, *scope));
        }
    }
    Desired {
        revision: slice.revision,
        table,
        locals,
        remotes,
        tunnels: elsewhere.hosts.values().copied().collect(),
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
