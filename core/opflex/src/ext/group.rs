//! Groups and the pairs they take part in.

use std::sync::Arc;

use selvage_rules::{BdId, ClassId, GroupId, RuleSetId};

use super::{
    Malformed, bridge_domain_uri, class, expect_class, group_uri, missing, number, optional,
    rooted, rule_set_reference, split, target_name, text, vrf_uri,
};
use crate::Uri;
use crate::mo::{Object, Reference, Value};

/// `SelvageGroup`: a group of endpoints treated alike, with every pair that names it and another
/// group (or itself).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// DN of the group.
    pub name: Arc<str>,
    /// Its class, within its VRF.
    pub class: ClassId,
    /// Its fabric-wide number.
    pub encap: GroupId,
    /// Where its endpoints live.
    pub within: Within,
    /// The pairs in which it takes part.
    pub pairs: Vec<Pair>,
}

/// Where the endpoints of a group live, by DN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// In a bridge domain.
    BridgeDomain(Arc<str>),
    /// In any bridge domain of a VRF.
    Vrf(Arc<str>),
}

/// `SelvagePair`: which rules hold from one class to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Class of the sender; may be any.
    pub src: ClassId,
    /// Class of the receiver; may be any.
    pub dst: ClassId,
    /// The rules.
    pub rule_set: RuleSetId,
    /// The other group, as seen from the group that the pair is below.
    pub peer: Option<PairPeer>,
}

/// The other group of a pair: its name, for the words of a drop, and what its packets are known by
/// on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairPeer {
    /// DN of the group.
    pub name: Arc<str>,
    /// Its class.
    pub class: ClassId,
    /// Its fabric-wide number.
    pub encap: GroupId,
    /// The bridge domain its endpoints are in; `None` for what is outside of all of them.
    pub bd: Option<BdId>,
}

impl Group {
    /// Its URI.
    pub fn uri(&self) -> Uri {
        group_uri(&self.name)
    }

    /// The group and its pairs, as they travel.
    pub fn to_objects(&self) -> Vec<Object> {
        let (property, within) = match &self.within {
            Within::BridgeDomain(dn) => {
                ("bridgeDomain", Reference::new(class::BRIDGE_DOMAIN, bridge_domain_uri(dn)))
            }
            Within::Vrf(dn) => ("vrf", Reference::new(class::VRF, vrf_uri(dn))),
        };
        let uri = self.uri();
        let pairs = self.pairs.iter().map(|pair| pair.to_object(class::GROUP, &uri)).collect();
        let group = Object::new(class::GROUP, uri)
            .with("name", &*self.name)
            .with("classId", u64::from(self.class.0))
            .with("encapId", u64::from(self.encap.0))
            .with(property, Value::Reference(within));
        rooted(group, pairs)
    }

    /// Reads a group and its pairs back.
    pub fn from_objects<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
    ) -> Result<Group, Malformed> {
        let (group, pairs) = split(objects, class::GROUP)?;
        let within = match target_name(group, "vrf", class::VRF) {
            Ok(vrf) => Within::Vrf(vrf.into()),
            Err(_) => {
                let domain = target_name(group, "bridgeDomain", class::BRIDGE_DOMAIN)?;
                Within::BridgeDomain(domain.into())
            }
        };
        Ok(Group {
            name: text(group, "name")?,
            class: ClassId(number(group, "classId")?),
            encap: GroupId(number(group, "encapId")?),
            within,
            pairs: pairs.map(Pair::from_object).collect::<Result<_, _>>()?,
        })
    }
}

impl Pair {
    /// The URI of the pair below `parent`.
    pub fn uri(parent: &Uri, src: ClassId, dst: ClassId) -> Uri {
        parent.join(class::PAIR).join(src.0).join(dst.0)
    }

    /// The pair below `parent`, an object of class `subject`.
    pub fn to_object(&self, subject: &str, parent: &Uri) -> Object {
        let pair = Object::new(class::PAIR, Pair::uri(parent, self.src, self.dst))
            .with("srcClass", u64::from(self.src.0))
            .with("dstClass", u64::from(self.dst.0))
            .with("ruleSet", Value::Reference(rule_set_reference(self.rule_set)))
            .below(subject, parent.clone());
        let Some(peer) = &self.peer else { return pair };
        let pair = pair
            .with("peer", &*peer.name)
            .with("peerClass", u64::from(peer.class.0))
            .with("peerEncapId", u64::from(peer.encap.0));
        match peer.bd {
            None => pair,
            Some(bd) => pair.with("peerVni", u64::from(bd.0)),
        }
    }

    /// Reads a pair back.
    pub fn from_object(object: &Object) -> Result<Pair, Malformed> {
        expect_class(object, class::PAIR)?;
        let rule_set = target_name(object, "ruleSet", class::RULE_SET)?;
        let peer = match object.text("peer") {
            Some(name) => Some(PairPeer {
                name: name.clone(),
                class: ClassId(number(object, "peerClass")?),
                encap: GroupId(number(object, "peerEncapId")?),
                bd: optional(object, "peerVni")?.map(BdId),
            }),
            None => None,
        };
        Ok(Pair {
            src: ClassId(number(object, "srcClass")?),
            dst: ClassId(number(object, "dstClass")?),
            rule_set: RuleSetId(rule_set.parse().map_err(|_| missing(object, "ruleSet"))?),
            peer,
        })
    }
}
