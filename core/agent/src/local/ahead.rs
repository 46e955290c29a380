//! What a program asks before there is a namespace to attach: what a group is, and addresses that
//! are its own from then on. Container engines want both earlier than they make a sandbox.

use std::net::IpAddr;

use selvage_rules::{EndpointId, Mac, Prefix};
use serde::{Deserialize, Serialize};

/// Ask what a group is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupQuestion {
    /// The group: `TENANT/APP/EPG`, or a DN.
    pub epg: String,
    /// How long to try, in milliseconds; 10 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// What a group is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its DN.
    pub dn: String,
    /// DN of its bridge domain.
    pub bridge_domain: String,
    /// DN of its VRF.
    pub vrf: String,
    /// The bridge domain's subnets.
    pub subnets: Vec<SubnetView>,
}

/// One subnet of a bridge domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetView {
    /// The subnet.
    pub prefix: Prefix,
    /// Its address in the fabric.
    pub gateway: IpAddr,
    /// Whether packets are routed through that address.
    pub routed: bool,
}

/// Make addresses an endpoint's own, before it has a link. An attach under the same name takes them
/// over; without one they are given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// The endpoint's name on this host.
    pub id: EndpointId,
    /// Its group: `TENANT/APP/EPG`, or a DN.
    pub epg: String,
    /// Addresses asked for, as in an attach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<IpAddr>,
    /// MAC asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Prefixes to choose addresses from, as in an attach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Prefix>,
    /// How long to try, in milliseconds; 10 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How long to keep them without an attach, in milliseconds.
    pub hold_ms: u64,
}
