//! Bridge domains and VRFs.

use std::sync::Arc;

use selvage_rules::{Arm, BdId, Gateway, Mac, Outside, ScopeId};

use super::{
    Malformed, Pair, bridge_domain_uri, class, expect_class, flag, missing, number, outside,
    parsed, rooted, split, target_name, text, vrf_uri,
};
use crate::Uri;
use crate::mo::{Object, Reference, Value};

/// `SelvageBridgeDomain`, with a `SelvageSubnet` for each gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeDomain {
    /// DN of the bridge domain.
    pub name: Arc<str>,
    /// Its number, the VNI of bridged packets.
    pub id: BdId,
    /// The MAC of its gateways.
    pub mac: Mac,
    /// Packets to the gateway's MAC are routed.
    pub routed: bool,
    /// DN of the VRF it is in.
    pub vrf: Arc<str>,
    /// Its gateways.
    pub gateways: Vec<Gateway>,
    /// Which of its endpoints are in another group than the one they are attached to.
    pub arms: Arc<Vec<Arm>>,
}

impl BridgeDomain {
    /// Its URI.
    pub fn uri(&self) -> Uri {
        bridge_domain_uri(&self.name)
    }

    /// The bridge domain and its subnets, as they travel.
    pub fn to_objects(&self) -> Vec<Object> {
        let uri = self.uri();
        let subnet = |gateway: &Gateway| {
            let at = uri.join(class::SUBNET).join(gateway.ip).join(gateway.prefix_len);
            Object::new(class::SUBNET, at)
                .with("gateway", &*gateway.ip.to_string())
                .with("prefixLen", u64::from(gateway.prefix_len))
        };
        let subnets = self.gateways.iter().map(subnet).collect();
        let vrf = Reference::new(class::VRF, vrf_uri(&self.vrf));
        let bridge_domain = Object::new(class::BRIDGE_DOMAIN, uri)
            .with("name", &*self.name)
            .with("vni", u64::from(self.id.0))
            .with("mac", &*self.mac.to_string())
            .with("routed", self.routed)
            .with("vrf", Value::Reference(vrf));
        rooted(with_arms(bridge_domain, &self.arms), subnets)
    }

    /// Reads a bridge domain and its subnets back.
    pub fn from_objects<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
    ) -> Result<BridgeDomain, Malformed> {
        let (object, subnets) = split(objects, class::BRIDGE_DOMAIN)?;
        let gateway = |subnet: &Object| {
            expect_class(subnet, class::SUBNET)?;
            let ip = parsed(subnet, "gateway")?;
            Ok(Gateway { ip, prefix_len: number(subnet, "prefixLen")? })
        };
        Ok(BridgeDomain {
            name: text(object, "name")?,
            id: BdId(number(object, "vni")?),
            mac: parsed(object, "mac")?,
            routed: flag(object, "routed")?,
            vrf: target_name(object, "vrf", class::VRF)?.into(),
            gateways: subnets.map(gateway).collect::<Result<_, _>>()?,
            arms: arms(object)?,
        })
    }
}

/// `SelvageVrf`, with every pair in which either class is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vrf {
    /// DN of the VRF.
    pub name: Arc<str>,
    /// Its number, the VNI of routed packets.
    pub scope: ScopeId,
    /// Pairs that hold for every host of the VRF.
    pub pairs: Vec<Pair>,
    /// The world outside; empty where nothing leads there.
    pub outside: Outside,
    /// Which of its endpoints are in another group than the one they are attached to.
    pub arms: Arc<Vec<Arm>>,
}

impl Vrf {
    /// Its URI.
    pub fn uri(&self) -> Uri {
        vrf_uri(&self.name)
    }

    /// The VRF and its pairs, as they travel.
    pub fn to_objects(&self) -> Vec<Object> {
        let uri = self.uri();
        let pairs = self.pairs.iter().map(|pair| pair.to_object(class::VRF, &uri));
        let children = pairs.chain(outside::objects(&self.outside, &uri)).collect();
        let vrf = Object::new(class::VRF, uri)
            .with("name", &*self.name)
            .with("scope", u64::from(self.scope.0));
        rooted(with_arms(vrf, &self.arms), children)
    }

    /// Reads a VRF and its pairs back.
    pub fn from_objects<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
    ) -> Result<Vrf, Malformed> {
        let (vrf, children) = split(objects, class::VRF)?;
        let (mut pairs, mut world) = (Vec::new(), Outside::default());
        for child in children {
            if !outside::read(&mut world, child)? {
                pairs.push(Pair::from_object(child)?);
            }
        }
        let scope = ScopeId(number(vrf, "scope")?);
        let arms = arms(vrf)?;
        Ok(Vrf { name: text(vrf, "name")?, scope, pairs, outside: world, arms })
    }
}

/// Arms travel as one text, in JSON: their order is what they mean, and objects have none.
fn with_arms(object: Object, arms: &[Arm]) -> Object {
    match serde_json::to_string(arms) {
        Ok(text) if !arms.is_empty() => object.with("arms", &*text),
        _ => object,
    }
}

fn arms(object: &Object) -> Result<Arc<Vec<Arm>>, Malformed> {
    let Some(text) = object.text("arms") else { return Ok(Arc::default()) };
    serde_json::from_str(text).map(Arc::new).map_err(|_| missing(object, "arms"))
}
