//! What one host must enforce: its slice of the table, and where the endpoints are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{BdId, ClassId, External, Hop, Mac, NodeId, Prefix, Revision, ScopeId, Table};

/// An endpoint's name on its host: the container id, the VM's uuid, or what the user called it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(pub Arc<str>);

/// One MAC with its addresses, and the group that decides what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its bridge domain, and by that its VRF.
    pub bd: BdId,
    /// The class of its group within that VRF.
    pub class: ClassId,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its addresses, of both families, ascending.
    pub ips: Vec<IpAddr>,
}

/// An endpoint of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// Interface index of the host's end of its link.
    pub ifindex: u32,
    /// What it is. `None` is quarantine: the link exists, nothing passes.
    pub endpoint: Option<Endpoint>,
}

/// An endpoint of another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// What it is.
    pub endpoint: Endpoint,
    /// The tunnel address of the host it is on.
    pub tunnel: IpAddr,
}

/// What one host must enforce.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Desired {
    /// The last commit that touched this host.
    pub revision: Revision,
    /// The slice of the rule table its endpoints need.
    pub table: Table,
    /// Its own endpoints.
    pub locals: BTreeMap<EndpointId, Local>,
    /// Endpoints of other hosts, keyed `HOST/ENDPOINT` by the registry.
    pub remotes: BTreeMap<EndpointId, Remote>,
    /// Tunnel addresses of all hosts of the fabric; an outer source that is not among them is no
    /// peer.
    pub tunnels: BTreeSet<IpAddr>,
    /// The number that the policy knows this host by, if it has one.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// Tunnel addresses of the other hosts, by the numbers that the policy knows them by.
    #[serde(default)]
    pub nodes: BTreeMap<NodeId, IpAddr>,
}

/// Where a packet leaves for the world outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// By this host's own network stack.
    Here,
    /// By the host with this tunnel address.
    Host(IpAddr),
}

/// What holds for addresses outside, by their prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way<'a> {
    /// The group they are in; `None` is no group, so nothing may pass either way.
    pub group: Option<&'a External>,
    /// Where packets to them leave; `None` if no host is known that leads there.
    pub exit: Option<Exit>,
}

impl Desired {
    /// What holds outside the VRF, by longest prefix.
    pub fn ways(&self, scope: ScopeId) -> BTreeMap<Prefix, Way<'_>> {
        let Some(outside) = self.table.outside.get(&scope) else { return BTreeMap::new() };
        let ways = outside.joined().into_iter().map(|(prefix, (group, hops))| {
            (prefix, Way { group, exit: hops.and_then(|hops| self.exit(hops)) })
        });
        ways.collect()
    }

    /// This host if it is among `hops`, else the one of lowest number that is known.
    fn exit(&self, hops: &BTreeSet<Hop>) -> Option<Exit> {
        if hops.iter().any(|hop| Some(hop.node) == self.node) {
            return Some(Exit::Here);
        }
        hops.iter().find_map(|hop| self.nodes.get(&hop.node)).map(|tunnel| Exit::Host(*tunnel))
    }

    /// The VRFs that packets leave from by this host's own network stack.
    pub fn exits_here(&self) -> BTreeSet<ScopeId> {
        let Some(node) = self.node else { return BTreeSet::new() };
        let outside = self.table.outside.iter();
        outside.filter(|(_, o)| o.borders().contains(&node)).map(|(scope, _)| *scope).collect()
    }
}
