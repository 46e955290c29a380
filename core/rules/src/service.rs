//! What traffic is sent through on its way, or copied to.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Mac, ServiceId};

/// What traffic is sent through, or copied to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Service {
    /// DN of the redirect policy, or of the copy device.
    pub name: Arc<str>,
    /// Where it is sent; one of them a flow. None of a copy device that is known by its ports only.
    pub hops: Vec<ServiceHop>,
    /// What of a packet chooses the hop: the same for both directions of a flow.
    #[serde(default)]
    pub balance: Balance,
    /// When it counts as down. `None` if nobody counts its hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// The service that comes after it on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ServiceId>,
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceHop {
    /// Its address.
    pub ip: IpAddr,
    /// Its Ethernet address; all zero if it has to be learned from the address.
    pub mac: Mac,
    /// Its share of the flows, 1 to 10.
    #[serde(default = "one")]
    pub weight: u8,
    /// Hops of one health group are down together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Arc<str>>,
}

fn one() -> u8 {
    1
}

/// What of a packet chooses among the hops of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Both addresses and the protocol.
    #[default]
    Ends,
    /// The address of whoever opened the flow.
    Source,
    /// The address it was opened to.
    Destination,
}

/// When a service counts as down, and what happens to its traffic then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Threshold {
    /// It is down below this percentage of hops that work.
    pub min: u8,
    /// It is up again from this percentage on.
    pub max: u8,
    /// What happens while it is down.
    pub down: WhileDown,
}

/// What happens to the traffic of a service that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhileDown {
    /// It goes to its destination, past this service and those after it.
    Permit,
    /// It is dropped.
    Deny,
    /// It goes past this service only.
    Bypass,
}
