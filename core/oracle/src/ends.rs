//! Who a packet is from and for, and what is known of its connection.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_rules::{Mac, Packet};

/// An endpoint, and all that policy may ask of it.
///
/// Two ends of one group are two different endpoints of it, though they may be told the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// DN of the endpoint group that its port or workload was put into:
    /// `uni/tn-acme/ap-shop/epg-web`. What it is treated as may be another one: a microsegment or
    /// an endpoint security group that asks for its address, its name or a tag.
    pub attached: String,
    /// Its address. One that has several is asked about by each of them.
    pub ip: Option<IpAddr>,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// What else is known of it: `name` is the workload's, `tag:KEY` the value of a tag or label,
    /// and any other word the attribute of a virtual machine of that name (`guest-os`, `hv`, ..,
    /// the words of property `type` of class `fvVmAttr`).
    pub attributes: BTreeMap<String, String>,
    /// DNs of the host protection policies that it is under. None: it is under no such gate.
    pub protection: Vec<String>,
}

impl Endpoint {
    /// An endpoint of a group, of which nothing else is known.
    pub fn of(group: &str) -> Endpoint {
        Endpoint { attached: group.to_owned(), ..Endpoint::default() }
    }
}

/// One end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// An endpoint of the fabric.
    Member(&'a Endpoint),
    /// An address outside the fabric.
    Outside {
        /// DN of the VRF that it is outside of.
        vrf: &'a str,
        /// The address.
        address: IpAddr,
    },
}

impl<'a> From<&'a Endpoint> for End<'a> {
    fn from(endpoint: &'a Endpoint) -> End<'a> {
        End::Member(endpoint)
    }
}

/// What is known of the connection a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing: it is judged by the rules alone. So are all packets in the direction in which a
    /// connection was opened.
    New,
    /// It answers a connection: the receiver had sent `opening` to the sender before.
    Established {
        /// The first packet of the connection.
        opening: Packet,
    },
}
