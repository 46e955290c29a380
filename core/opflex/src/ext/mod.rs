//! The classes that OpFlex lacks: the compiled table, where endpoints are, and what is enforced.
//!
//! They travel as managed objects like any other, rooted at `/SelvageUniverse/`, and only between
//! peers whose identity names the feature `selvage`:
//!
//! ```text
//! SelvageGroup/<DN>/            name classId encapId bridgeDomain-> or vrf->
//!   SelvagePair/<src>/<dst>/    srcClass dstClass ruleSet-> peer peerClass peerEncapId peerVni
//! SelvageBridgeDomain/<DN>/     name vni mac routed arms vrf->
//!   SelvageSubnet/<ip>/<len>/   gateway prefixLen
//! SelvageVrf/<DN>/              name scope arms
//!   SelvagePair/<src>/<dst>/    as above, for pairs in which either class is any
//!   SelvagePrefix/<prefix>/     prefix name sourceClass destinationClass encapId
//!   SelvageRoute/<prefix>/<node>/<via>/  prefix node link via
//!   SelvageInside/<prefix>/     prefix public
//! SelvageBorder/<node>/         node
//!   SelvageExit/<VRF>/          outside->
//! SelvageOutside/<VRF>/         vrf->
//!   SelvagePair/<src>/<dst>/    as above, for pairs in which a class is outside
//! SelvageRuleSet/<number>/      number
//!   SelvageRule/<index>/        the fields of a rule, and its origin
//! SelvageHost/<name>/           name tunnel encapsulations node maxPairs maxRules
//! SelvageRevision/              revision
//! SelvageApplied/<name>/        name revision
//! SelvageRegistry/              settled
//! ```
//!
//! A pair of two groups is below both, so that a host that has either knows it. A pair with a class
//! of any is below the VRF: every host of the VRF needs it, whichever groups it has.
//!
//! `SelvageLocation` hangs below the `EprL2Ep` of the endpoint it is about.

mod endpoint;
mod group;
mod network;
mod outside;
mod rules;
mod slice;
mod source;

use std::str::FromStr;
use std::sync::Arc;

use selvage_rules::{NodeId, Revision, RuleSetId};

pub use endpoint::{Host, Location};
pub use group::{Group, Pair, PairPeer, Within};
pub use network::{BridgeDomain, Vrf};
pub use outside::{Border, Outside};
pub use rules::RuleSet;
pub use slice::{Incomplete, Slice, slice};
pub use source::{SelvageSource, borders};

use crate::Uri;
use crate::mo::{Object, Reference, Subtree};

/// Names of the classes.
pub mod class {
    /// A group of endpoints.
    pub const GROUP: &str = "SelvageGroup";
    /// Which rule set holds from one class to another.
    pub const PAIR: &str = "SelvagePair";
    /// A bridge domain.
    pub const BRIDGE_DOMAIN: &str = "SelvageBridgeDomain";
    /// A gateway of a bridge domain.
    pub const SUBNET: &str = "SelvageSubnet";
    /// A VRF.
    pub const VRF: &str = "SelvageVrf";
    /// Which group outside has a prefix.
    pub const PREFIX: &str = "SelvagePrefix";
    /// By which host a prefix is reached.
    pub const ROUTE: &str = "SelvageRoute";
    /// A subnet as the world outside may see it.
    pub const INSIDE: &str = "SelvageInside";
    /// The VRFs that a host is the border of.
    pub const BORDER: &str = "SelvageBorder";
    /// One VRF that a host is the border of.
    pub const EXIT: &str = "SelvageExit";
    /// What a border host of a VRF needs.
    pub const OUTSIDE: &str = "SelvageOutside";
    /// An immutable set of rules.
    pub const RULE_SET: &str = "SelvageRuleSet";
    /// One rule of a set.
    pub const RULE: &str = "SelvageRule";
    /// Where an endpoint is.
    pub const LOCATION: &str = "SelvageLocation";
    /// A host of the fabric.
    pub const HOST: &str = "SelvageHost";
    /// The commit that an update ends.
    pub const REVISION: &str = "SelvageRevision";
    /// The commit that an agent enforces.
    pub const APPLIED: &str = "SelvageApplied";
    /// Whether the endpoint registry knows all there is to know.
    pub const REGISTRY: &str = "SelvageRegistry";
    /// What all of them are below.
    pub const UNIVERSE: &str = "SelvageUniverse";

    /// Whether `subject` is one of ours.
    pub fn is_ours(subject: &str) -> bool {
        subject.starts_with("Selvage")
    }
}

/// An object of a `Selvage` class does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is no object at all.
    #[error("no object of class `{0}`")]
    Nothing(&'static str),
    /// It is of another class.
    #[error("`{uri}` is of class `{got}`, not `{expected}`")]
    Class {
        /// The object.
        uri: Uri,
        /// Its class.
        got: Arc<str>,
        /// The class it should be of.
        expected: &'static str,
    },
    /// A property is absent, or of another type or range.
    #[error("`{uri}` has no valid `{property}`")]
    Property {
        /// The object.
        uri: Uri,
        /// The property.
        property: &'static str,
    },
}

/// `/SelvageUniverse/`.
pub fn universe() -> Uri {
    Uri::root().join(class::UNIVERSE)
}

/// The URI of the group with this DN.
pub fn group_uri(dn: &str) -> Uri {
    universe().join(class::GROUP).join(dn)
}

/// The DN of the group that `uri` is of; `None` if it is of something else.
pub fn group_of(uri: &Uri) -> Option<String> {
    let mut segments = uri.segments();
    let is_group = segments.next()? == class::UNIVERSE && segments.next()? == class::GROUP;
    segments.next().filter(|_| is_group)
}

/// The URI of the bridge domain with this DN.
pub fn bridge_domain_uri(dn: &str) -> Uri {
    universe().join(class::BRIDGE_DOMAIN).join(dn)
}

/// The URI of the VRF with this DN.
pub fn vrf_uri(dn: &str) -> Uri {
    universe().join(class::VRF).join(dn)
}

/// The URI of what the host of this number is the border of.
pub fn border_uri(node: NodeId) -> Uri {
    universe().join(class::BORDER).join(node)
}

/// The URI of what a border host of the VRF with this DN needs.
pub fn outside_uri(dn: &str) -> Uri {
    universe().join(class::OUTSIDE).join(dn)
}

/// The URI of a rule set.
pub fn rule_set_uri(id: RuleSetId) -> Uri {
    universe().join(class::RULE_SET).join(id)
}

/// The URI that all hosts are below: what an agent resolves to learn of them.
pub fn hosts_uri() -> Uri {
    universe().join(class::HOST)
}

/// The URI of the host of this name.
pub fn host_uri(name: &str) -> Uri {
    hosts_uri().join(name)
}

/// The object that ends an answer of the endpoint registry. While it is not `settled` the controller
/// has just started and agents are still coming back: what the answer does not name may exist.
pub fn registry_object(settled: bool) -> Object {
    Object::new(class::REGISTRY, universe().join(class::REGISTRY))
        .with("settled", settled)
        .below(class::UNIVERSE, universe())
}

/// The object that ends every update of commit `revision`.
pub fn revision_object(revision: Revision) -> Object {
    let uri = universe().join(class::REVISION);
    Object::new(class::REVISION, uri)
        .with("revision", revision.0)
        .below(class::UNIVERSE, universe())
}

/// The commit that an update ends, if `object` says so.
pub fn revision_of(object: &Object) -> Option<Revision> {
    if &*object.subject != class::REVISION {
        return None;
    }
    object.number("revision").map(Revision)
}

/// What an agent reports after its swap: it enforces this commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Name of the agent.
    pub agent: Arc<str>,
    /// The commit.
    pub revision: Revision,
}

impl Applied {
    /// The object that says so.
    pub fn to_object(&self) -> Object {
        let uri = universe().join(class::APPLIED).join(&self.agent);
        Object::new(class::APPLIED, uri)
            .with("name", &*self.agent)
            .with("revision", self.revision.0)
            .below(class::UNIVERSE, universe())
    }

    /// Reads it back.
    pub fn from_object(object: &Object) -> Result<Applied, Malformed> {
        expect_class(object, class::APPLIED)?;
        Ok(Applied {
            agent: text(object, "name")?,
            revision: Revision(number(object, "revision")?),
        })
    }
}

/// Hangs `object` below the universe.
fn rooted(object: Object, children: Vec<Object>) -> Vec<Object> {
    let object = object.below(class::UNIVERSE, universe());
    let children = children.into_iter().map(Subtree::leaf).collect();
    Subtree { object, children }.flatten()
}

/// Takes a list apart into its first object, which must be of class `expected`, and the others.
fn split<'a>(
    objects: impl IntoIterator<Item = &'a Object>,
    expected: &'static str,
) -> Result<(&'a Object, impl Iterator<Item = &'a Object>), Malformed> {
    let mut objects = objects.into_iter();
    let first = objects.next().ok_or(Malformed::Nothing(expected))?;
    expect_class(first, expected)?;
    Ok((first, objects))
}

fn expect_class(object: &Object, expected: &'static str) -> Result<(), Malformed> {
    if &*object.subject == expected {
        return Ok(());
    }
    Err(Malformed::Class { uri: object.uri.clone(), got: object.subject.clone(), expected })
}

fn missing(object: &Object, property: &'static str) -> Malformed {
    Malformed::Property { uri: object.uri.clone(), property }
}

fn text(object: &Object, property: &'static str) -> Result<Arc<str>, Malformed> {
    object.text(property).cloned().ok_or_else(|| missing(object, property))
}

fn parsed<T: FromStr>(object: &Object, property: &'static str) -> Result<T, Malformed> {
    text(object, property)?.parse().map_err(|_| missing(object, property))
}

fn number<T: TryFrom<u64>>(object: &Object, property: &'static str) -> Result<T, Malformed> {
    optional(object, property)?.ok_or_else(|| missing(object, property))
}

fn optional<T: TryFrom<u64>>(
    object: &Object,
    property: &'static str,
) -> Result<Option<T>, Malformed> {
    let convert = |number| T::try_from(number).map_err(|_| missing(object, property));
    object.number(property).map(convert).transpose()
}

fn flag(object: &Object, property: &'static str) -> Result<bool, Malformed> {
    Ok(number::<u64>(object, property)? != 0)
}

/// The name in a reference to an object of class `expected`, `/SelvageUniverse/<class>/<name>/`.
fn target_name(
    object: &Object,
    property: &'static str,
    expected: &'static str,
) -> Result<String, Malformed> {
    let target = object.target(property).filter(|target| &*target.subject == expected);
    let name = target.and_then(|target| target.uri.segments().nth(2));
    name.ok_or_else(|| missing(object, property))
}

fn rule_set_reference(id: RuleSetId) -> Reference {
    Reference::new(class::RULE_SET, rule_set_uri(id))
}
