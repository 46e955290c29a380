//! What one host must enforce: its slice of the table, and where the endpoints are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    BdId, ClassId, External, GroupId, GroupKey, Hop, Mac, NodeId, Prefix, Revision, ScopeId, Table,
};

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

/// How two hosts tell each other of which class the sender of a packet is. Both are VXLAN (RFC 7348).
/// Chosen for each pair of hosts, from what both can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// The class is in the header (draft-smith-vxlan-group-policy); the VNI is the bridge domain of
    /// what is bridged, the scope of what is routed.
    Gbp,
    /// The VNI is the sender's group ([`GroupId`]). For switches that know no Group Policy, Open
    /// vSwitch's userspace datapath among them.
    EpgVni,
}

impl Encapsulation {
    /// Every encapsulation, the preferred one first.
    pub const ALL: [Encapsulation; 2] = [Encapsulation::Gbp, Encapsulation::EpgVni];

    /// What two hosts use who can do these; `None` if there is nothing that both can.
    pub fn between(
        here: &BTreeSet<Encapsulation>,
        there: &BTreeSet<Encapsulation>,
    ) -> Option<Encapsulation> {
        Encapsulation::ALL.into_iter().find(|one| here.contains(one) && there.contains(one))
    }

    /// What users read and type.
    pub fn name(self) -> &'static str {
        match self {
            Encapsulation::Gbp => "gbp",
            Encapsulation::EpgVni => "epg-vni",
        }
    }
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// This is no encapsulation's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownEncapsulation(String);

impl fmt::Display for UnknownEncapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no encapsulation; `gbp` and `epg-vni` are", self.0)
    }
}

impl std::error::Error for UnknownEncapsulation {}

impl FromStr for Encapsulation {
    type Err = UnknownEncapsulation;
    fn from_str(text: &str) -> Result<Encapsulation, UnknownEncapsulation> {
        let named = Encapsulation::ALL.into_iter().find(|one| one.name() == text);
        named.ok_or_else(|| UnknownEncapsulation(text.to_owned()))
    }
}

/// How many entries a host's data plane holds; `None` where there is no limit but memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Room {
    /// Pairs of classes.
    pub pairs: Option<u64>,
    /// Rules of all sets together.
    pub rules: Option<u64>,
}

/// A group whose packets may come out of the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// Its VRF and class.
    pub key: GroupKey,
    /// The bridge domain its endpoints are in; `None` for what is outside of all of them.
    pub bd: Option<BdId>,
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
    /// Tunnel addresses of the hosts of the fabric that share an encapsulation with this one, and
    /// which; an outer source that is not among them, or speaks another one, is no peer.
    pub tunnels: BTreeMap<IpAddr, Encapsulation>,
    /// Groups by their fabric-wide number: all that may send to this host or are on it.
    pub sources: BTreeMap<GroupId, Source>,
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
