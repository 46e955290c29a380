//! Where endpoints are, and which hosts there are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{
    BdId, ClassId, Encapsulation, Endpoint, EndpointId, GroupId, Mac, NodeId, Remote, Room,
};

use super::{
    Malformed, bridge_domain_uri, class, expect_class, group_uri, host_uri, missing, number,
    optional, parsed, rooted, text, vrf_uri,
};
use crate::Uri;
use crate::mo::{Object, Subtree, Value};

/// An endpoint and the host it is on: `SelvageLocation`, below the `EprL2Ep` that every OpFlex
/// registry understands, beside one `EprL3Ep` for each address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Name of the agent.
    pub agent: Arc<str>,
    /// The endpoint's name at that agent.
    pub endpoint: EndpointId,
    /// DN of its group.
    pub group: Arc<str>,
    /// The group's class.
    pub class: ClassId,
    /// The group's fabric-wide number.
    pub encap: GroupId,
    /// DN of its bridge domain.
    pub bridge_domain: Arc<str>,
    /// The bridge domain's number.
    pub bd: BdId,
    /// DN of its VRF.
    pub vrf: Arc<str>,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its addresses, ascending.
    pub ips: Vec<IpAddr>,
    /// The tunnel address of its host.
    pub tunnel: IpAddr,
}

impl Location {
    /// `AGENT/ENDPOINT`: the endpoint's name in the fabric.
    pub fn id(&self) -> EndpointId {
        EndpointId(format!("{}/{}", self.agent, self.endpoint.0).into())
    }

    /// The URI of the `EprL2Ep`.
    pub fn l2_uri(&self) -> Uri {
        let context = bridge_domain_uri(&self.bridge_domain);
        Uri::root().join("EprL2Universe").join("EprL2Ep").join(context).join(self.mac)
    }

    /// The URI of the `EprL3Ep` of one address.
    pub fn l3_uri(&self, ip: IpAddr) -> Uri {
        let context = vrf_uri(&self.vrf);
        Uri::root().join("EprL3Universe").join("EprL3Ep").join(context).join(ip)
    }

    /// What an agent declares: the `EprL2Ep` with this location below it, and the `EprL3Ep`s.
    pub fn to_objects(&self) -> Vec<Object> {
        let standard = |subject: &str, uri: Uri, context: &Uri| {
            Object::new(subject, uri)
                .with("uuid", &*self.id().0)
                .with("mac", &*self.mac.to_string())
                .with("group", group_uri(&self.group).as_str())
                .with("context", context.as_str())
        };
        let context = bridge_domain_uri(&self.bridge_domain);
        let l2 = standard("EprL2Ep", self.l2_uri(), &context)
            .with("vmName", &*self.endpoint.0)
            .below("EprL2Universe", Uri::root().join("EprL2Universe"));
        let children = vec![Subtree::leaf(self.location_object())];
        let mut objects = Subtree { object: l2, children }.flatten();
        let context = vrf_uri(&self.vrf);
        objects.extend(self.ips.iter().map(|ip| {
            standard("EprL3Ep", self.l3_uri(*ip), &context)
                .with("ip", &*ip.to_string())
                .below("EprL3Universe", Uri::root().join("EprL3Universe"))
        }));
        objects
    }

    /// The `SelvageLocation` alone.
    pub fn location_object(&self) -> Object {
        let ips = self.ips.iter().map(|ip| Value::from(&*ip.to_string())).collect();
        let parent = self.l2_uri();
        Object::new(class::LOCATION, parent.join(class::LOCATION))
            .with("agent", &*self.agent)
            .with("endpoint", &*self.endpoint.0)
            .with("group", &*self.group)
            .with("classId", u64::from(self.class.0))
            .with("encapId", u64::from(self.encap.0))
            .with("bridgeDomain", &*self.bridge_domain)
            .with("vni", u64::from(self.bd.0))
            .with("vrf", &*self.vrf)
            .with("mac", &*self.mac.to_string())
            .with("ips", Value::List(ips))
            .with("tunnel", &*self.tunnel.to_string())
            .below("EprL2Ep", parent)
    }

    /// Reads a `SelvageLocation` back.
    pub fn from_object(object: &Object) -> Result<Location, Malformed> {
        expect_class(object, class::LOCATION)?;
        Ok(Location {
            agent: text(object, "agent")?,
            endpoint: EndpointId(text(object, "endpoint")?),
            group: text(object, "group")?,
            class: ClassId(number(object, "classId")?),
            encap: GroupId(number(object, "encapId")?),
            bridge_domain: text(object, "bridgeDomain")?,
            bd: BdId(number(object, "vni")?),
            vrf: text(object, "vrf")?,
            mac: parsed(object, "mac")?,
            ips: read_ips(object)?,
            tunnel: parsed(object, "tunnel")?,
        })
    }

    /// What a data plane needs to know of it.
    pub fn to_remote(&self) -> Remote {
        let endpoint =
            Endpoint { bd: self.bd, class: self.class, mac: self.mac, ips: self.ips.clone() };
        Remote { endpoint, tunnel: self.tunnel }
    }
}

fn read_ips(object: &Object) -> Result<Vec<IpAddr>, Malformed> {
    let Some(Value::List(list)) = object.get("ips") else { return Err(missing(object, "ips")) };
    let ip = |value: &Value| match value {
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    let mut ips: Vec<IpAddr> =
        list.iter().map(ip).collect::<Option<_>>().ok_or_else(|| missing(object, "ips"))?;
    ips.sort_unstable();
    ips.dedup();
    Ok(ips)
}

/// `SelvageHost`: a host of the fabric. What comes out of the overlay from another address is
/// dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name of the agent.
    pub name: Arc<str>,
    /// Its tunnel address.
    pub tunnel: IpAddr,
    /// What it can send and receive.
    pub encapsulations: BTreeSet<Encapsulation>,
    /// The number that the policy knows it by, if it has one.
    pub node: Option<NodeId>,
    /// How much policy its data plane holds.
    pub room: Room,
}

impl Host {
    /// What an agent declares of itself.
    pub fn to_objects(&self) -> Vec<Object> {
        let names = self.encapsulations.iter().map(|one| Value::from(one.name())).collect();
        let host = Object::new(class::HOST, host_uri(&self.name))
            .with("name", &*self.name)
            .with("tunnel", &*self.tunnel.to_string())
            .with("encapsulations", Value::List(names));
        let numbers = [
            ("node", self.node.map(|node| u64::from(node.0))),
            ("maxPairs", self.room.pairs),
            ("maxRules", self.room.rules),
        ];
        let said = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
        let host = said.fold(host, |host, (name, number)| host.with(name, number));
        rooted(host, Vec::new())
    }

    /// Reads a host back.
    pub fn from_object(object: &Object) -> Result<Host, Malformed> {
        expect_class(object, class::HOST)?;
        let Some(Value::List(names)) = object.get("encapsulations") else {
            return Err(missing(object, "encapsulations"));
        };
        // One that only a later version knows is none that this host shares with it.
        let known = |name: &Value| match name {
            Value::Text(name) => name.parse().ok(),
            _ => None,
        };
        Ok(Host {
            name: text(object, "name")?,
            tunnel: parsed(object, "tunnel")?,
            encapsulations: names.iter().filter_map(known).collect(),
            node: optional(object, "node")?.map(NodeId),
            room: Room {
                pairs: optional(object, "maxPairs")?,
                rules: optional(object, "maxRules")?,
            },
        })
    }
}
