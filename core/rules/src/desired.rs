//! What one host must enforce: its slice of the table, and where the endpoints are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{BdId, ClassId, Mac, Revision, Table};

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
}
