//! The world outside: prefixes, routes and subnets below a VRF, and what a border host needs besides.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{ClassId, External, GroupId, Hop, Inside, NodeId, Outside as World, Prefix};

use super::{
    Malformed, Pair, border_uri, class, expect_class, flag, number, outside_uri, parsed, rooted,
    split, target_name, text, vrf_uri,
};
use crate::Uri;
use crate::mo::{Object, Reference, Value};

/// What is below a `SelvageVrf` of the world outside it: every host of the VRF needs that.
pub(super) fn objects(world: &World, vrf: &Uri) -> Vec<Object> {
    let below = |subject: &'static str, uri: Uri, prefix: &Prefix| {
        Object::new(subject, uri).with("prefix", &*prefix.to_string())
    };
    let groups = world.groups.iter().map(|(prefix, group)| {
        below(class::PREFIX, vrf.join(class::PREFIX).join(prefix), prefix)
            .with("name", &*group.name)
            .with("sourceClass", u64::from(group.source.0))
            .with("destinationClass", u64::from(group.destination.0))
            .with("encapId", u64::from(group.encap.0))
    });
    let hops = world.routes.iter().flat_map(|(prefix, hops)| hops.iter().map(move |h| (prefix, h)));
    let routes = hops.map(|(prefix, hop)| {
        let via = hop.via.map(|via| via.to_string());
        let last = via.clone().unwrap_or_else(|| hop.link.to_string());
        let uri = vrf.join(class::ROUTE).join(prefix).join(hop.node).join(last);
        let route = below(class::ROUTE, uri, prefix)
            .with("node", u64::from(hop.node.0))
            .with("link", &*hop.link);
        match via {
            Some(via) => route.with("via", &*via),
            None => route,
        }
    });
    let inside = world.inside.iter().map(|(prefix, inside)| {
        below(class::INSIDE, vrf.join(class::INSIDE).join(prefix), prefix)
            .with("public", inside.public)
    });
    let all = groups.chain(routes).chain(inside);
    all.map(|object| object.below(class::VRF, vrf.clone())).collect()
}

/// Takes in what one of them says; false if it is of another class.
pub(super) fn read(world: &mut World, object: &Object) -> Result<bool, Malformed> {
    match &*object.subject {
        class::PREFIX => {
            let group = External {
                name: text(object, "name")?,
                source: ClassId(number(object, "sourceClass")?),
                destination: ClassId(number(object, "destinationClass")?),
                encap: GroupId(number(object, "encapId")?),
            };
            world.groups.insert(parsed(object, "prefix")?, group);
        }
        class::ROUTE => {
            let via = match object.text("via") {
                Some(_) => Some(parsed::<IpAddr>(object, "via")?),
                None => None,
            };
            let node = NodeId(number(object, "node")?);
            let hop = Hop { node, link: text(object, "link")?, via };
            world.routes.entry(parsed(object, "prefix")?).or_default().insert(hop);
        }
        class::INSIDE => {
            let inside = Inside { public: flag(object, "public")? };
            world.inside.insert(parsed(object, "prefix")?, inside);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `SelvageBorder`: the VRFs that a host is the border of, whether it has endpoints of them or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Border {
    /// The host.
    pub node: NodeId,
    /// DNs of the VRFs.
    pub vrfs: BTreeSet<Arc<str>>,
}

impl Border {
    /// Its URI.
    pub fn uri(&self) -> Uri {
        border_uri(self.node)
    }

    /// The border and its VRFs, as they travel.
    pub fn to_objects(&self) -> Vec<Object> {
        let uri = self.uri();
        let exit = |vrf: &Arc<str>| {
            let outside = Reference::new(class::OUTSIDE, outside_uri(vrf));
            Object::new(class::EXIT, uri.join(class::EXIT).join(vrf))
                .with("outside", Value::Reference(outside))
                .below(class::BORDER, uri.clone())
        };
        let exits = self.vrfs.iter().map(exit).collect();
        let border = Object::new(class::BORDER, uri.clone()).with("node", u64::from(self.node.0));
        rooted(border, exits)
    }

    /// Reads a border back.
    pub fn from_objects<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
    ) -> Result<Border, Malformed> {
        let (border, exits) = split(objects, class::BORDER)?;
        let vrf = |exit: &Object| {
            expect_class(exit, class::EXIT)?;
            Ok(Arc::from(target_name(exit, "outside", class::OUTSIDE)?))
        };
        Ok(Border {
            node: NodeId(number(border, "node")?),
            vrfs: exits.map(vrf).collect::<Result<_, _>>()?,
        })
    }
}

/// `SelvageOutside`: every pair in which a class of addresses outside a VRF takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// DN of the VRF.
    pub vrf: Arc<str>,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

impl Outside {
    /// Its URI.
    pub fn uri(&self) -> Uri {
        outside_uri(&self.vrf)
    }

    /// The outside and its pairs, as they travel.
    pub fn to_objects(&self) -> Vec<Object> {
        let uri = self.uri();
        let pairs = self.pairs.iter().map(|pair| pair.to_object(class::OUTSIDE, &uri)).collect();
        let vrf = Reference::new(class::VRF, vrf_uri(&self.vrf));
        let outside = Object::new(class::OUTSIDE, uri).with("vrf", Value::Reference(vrf));
        rooted(outside, pairs)
    }

    /// Reads an outside and its pairs back.
    pub fn from_objects<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
    ) -> Result<Outside, Malformed> {
        let (outside, pairs) = split(objects, class::OUTSIDE)?;
        Ok(Outside {
            vrf: target_name(outside, "vrf", class::VRF)?.into(),
            pairs: pairs.map(Pair::from_object).collect::<Result<_, _>>()?,
        })
    }
}
