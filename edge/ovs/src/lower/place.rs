//! Where every address and MAC is, and who has the last word where two claim the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_rules::{BdId, ClassId, Desired, Encapsulation, Endpoint, Mac, ScopeId};

use super::Bridge;

/// Who has an address or a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its bridge domain.
    pub bd: BdId,
    /// Its class; 0 for a gateway.
    pub class: ClassId,
    /// Its MAC.
    pub mac: Mac,
    /// The MAC of its bridge domain's gateways.
    pub gateway_mac: Mac,
    /// Its bridge domain routes.
    pub routed: bool,
    /// How it is reached.
    pub at: At,
}

/// How something is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// By this port of the bridge.
    Port(u32),
    /// By the host with this tunnel address.
    Host(IpAddr),
    /// It is a gateway: every host answers for it.
    Gateway,
}

/// A port with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its VRF.
    pub scope: ScopeId,
    /// Who is there.
    pub place: Place,
    /// The addresses that are its own.
    pub owns: Vec<IpAddr>,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// By VRF and address.
    pub by_ip: BTreeMap<(ScopeId, IpAddr), Place>,
    /// By bridge domain and MAC.
    pub by_mac: BTreeMap<(BdId, Mac), Place>,
    /// By the number of the port.
    pub ports: BTreeMap<u32, Bound>,
}

impl Places {
    /// Where everything of `desired` is. A local endpoint comes before one of another host, a gateway
    /// before both.
    pub fn of(desired: &Desired, bridge: &Bridge, unsupported: &mut Vec<String>) -> Places {
        let mut places = Places::default();
        let domains = &desired.table.bridge_domains;
        for (id, remote) in &desired.remotes {
            if remote.tunnel.is_ipv4() != bridge.tunnel.is_ipv4() {
                unsupported.push(format!(
                    "endpoint `{}` is behind `{}`, which is not of the family of this host's \
                     tunnel address `{}`",
                    id.0, remote.tunnel, bridge.tunnel
                ));
                continue;
            }
            // A host that is not known yet, or shares no encapsulation with this one, is out of reach.
            let speaks = desired.tunnels.get(&remote.tunnel);
            if speaks == Some(&Encapsulation::EpgVni) {
                places.put(desired, &remote.endpoint, At::Host(remote.tunnel));
            }
        }
        let bound = |ifindex: &u32| bridge.ports.get(ifindex).copied();
        for local in desired.locals.values() {
            let (Some(endpoint), Some(port)) = (&local.endpoint, bound(&local.ifindex)) else {
                continue;
            };
            places.put(desired, endpoint, At::Port(port));
        }
        for (bd, domain) in domains.iter().filter(|(_, domain)| domain.routed) {
            for gateway in &domain.gateways {
                let place = Place {
                    bd: *bd,
                    class: ClassId(0),
                    mac: domain.mac,
                    gateway_mac: domain.mac,
                    routed: true,
                    at: At::Gateway,
                };
                places.by_ip.insert((domain.scope, gateway.ip), place);
            }
        }
        for local in desired.locals.values() {
            let (Some(endpoint), Some(port)) = (&local.endpoint, bound(&local.ifindex)) else {
                continue;
            };
            places.bind(desired, endpoint, port);
        }
        places
    }

    fn put(&mut self, desired: &Desired, endpoint: &Endpoint, at: At) {
        let Some((scope, place)) = place(desired, endpoint, at) else { return };
        self.by_mac.insert((place.bd, place.mac), place);
        for ip in &endpoint.ips {
            self.by_ip.insert((scope, *ip), place);
        }
    }

    fn bind(&mut self, desired: &Desired, endpoint: &Endpoint, port: u32) {
        let Some((scope, place)) = place(desired, endpoint, At::Port(port)) else { return };
        let is_own = |ip: &&IpAddr| {
            let held = self.by_ip.get(&(scope, **ip));
            !ip.is_unspecified() && held.is_some_and(|held| held.at == At::Port(port))
        };
        let owns = endpoint.ips.iter().filter(is_own).copied().collect();
        self.ports.insert(port, Bound { scope, place, owns });
    }
}

fn place(desired: &Desired, endpoint: &Endpoint, at: At) -> Option<(ScopeId, Place)> {
    let domain = desired.table.bridge_domains.get(&endpoint.bd)?;
    let place = Place {
        bd: endpoint.bd,
        class: endpoint.class,
        mac: endpoint.mac,
        gateway_mac: domain.mac,
        routed: domain.routed,
        at,
    };
    Some((domain.scope, place))
}
