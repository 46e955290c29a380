//! Microsegments: EPGs that ask for endpoints of other EPGs by their attributes.
//!
//! *ACI Virtualization Guide*, "Microsegmentation with Cisco ACI":
//! - an EPG with `isAttrBasedEPg` takes the endpoints that its criterion (`fvCrtrn`) matches out of
//!   the EPGs they are attached to; only its own contracts hold for them then;
//! - the criterion matches if any (`match=any`) or all (`match=all`) of its attributes and blocks
//!   (`fvSCrtrn`, each with a `match` of its own) do;
//! - it is about endpoints of the microsegment's own bridge domain, or of its VRF where `scope` says
//!   so;
//! - where several match: one by MAC before one by address (the longest prefix first), that before
//!   all others; of these the higher *EPG Match Precedence* (`prec`), then the attribute that comes
//!   first in the guide's table "Attributes for microsegmented EPGs", then its operator (equals,
//!   contains, starts with, ends with). What is still equal is a fault there; here the lower DN has
//!   it, so that all hosts agree.

use selvage_model::{Mo, Tree};

use crate::Endpoint;
use crate::pattern::compare;
use crate::place::{bridge_domain_of, vrf_of};
use crate::prefix::Prefix;

/// How specific a match is: place in the table of attributes, then place among those of its kind.
/// Lower wins.
type Rank = (u8, u32);

/// Places in the table from here on are about machines, and may be overridden.
const MACHINE: u8 = 3;

/// The group of an endpoint attached to `attached`: the microsegment that takes it out of there, or
/// else that group. `None` for an endpoint that was attached to a microsegment that does not ask for
/// it: it has no other group.
pub(crate) fn group_of<'a>(
    tree: &'a Tree,
    endpoint: &Endpoint,
    attached: &'a Mo,
    bd: &Mo,
    vrf: &Mo,
) -> Option<&'a Mo> {
    if is_segment(attached) {
        return asks_for(tree, attached, endpoint, bd, vrf).map(|_| attached);
    }
    let segments = tree.of_class("fvAEPg").filter(|epg| is_segment(epg));
    let asking = segments.filter_map(|segment| {
        let (precedence, rank) = asks_for(tree, segment, endpoint, bd, vrf)?;
        let kind = rank.0.min(MACHINE);
        let override_ = if kind == MACHINE { -precedence } else { 0 };
        Some(((kind, override_, rank, segment.dn().to_string()), segment))
    });
    let best = asking.min_by(|a, b| a.0.cmp(&b.0));
    Some(best.map_or(attached, |(_, segment)| segment))
}

fn is_segment(epg: &Mo) -> bool {
    epg.get("isAttrBasedEPg") == "yes"
}

/// The precedence of a microsegment that asks for the endpoint, and by what it does at best.
fn asks_for(
    tree: &Tree,
    segment: &Mo,
    endpoint: &Endpoint,
    bd: &Mo,
    vrf: &Mo,
) -> Option<(i64, Rank)> {
    let criterion = tree.children_of_class(segment.dn(), "fvCrtrn").next()?;
    if !in_reach(tree, segment, criterion, bd, vrf) {
        return None;
    }
    let rank = matches(tree, segment, criterion, endpoint)?;
    Some((criterion.get("prec").parse().unwrap_or(0), rank))
}

/// Whether the criterion is about endpoints of this bridge domain and VRF.
fn in_reach(tree: &Tree, segment: &Mo, criterion: &Mo, bd: &Mo, vrf: &Mo) -> bool {
    let own = bridge_domain_of(tree, segment);
    match criterion.get("scope") {
        "scope-vrf" => vrf_of(tree, segment).is_some_and(|own| own.dn() == vrf.dn()),
        _ => own.is_some_and(|own| own.dn() == bd.dn()),
    }
}

/// Whether a criterion or block matches, and by which of its attributes at best.
fn matches(tree: &Tree, segment: &Mo, criterion: &Mo, endpoint: &Endpoint) -> Option<Rank> {
    let attributes =
        ["fvIpAttr", "fvMacAttr", "fvVmAttr", "fvDnsAttr", "fvIdGroupAttr", "fvSCrtrn"];
    let asked: Vec<Option<Rank>> = tree
        .children(criterion.dn())
        .filter(|child| attributes.contains(&child.class().name))
        .map(|child| attribute(tree, segment, child, endpoint))
        .collect();
    if criterion.get("match") == "all" && asked.iter().any(Option::is_none) {
        return None;
    }
    asked.into_iter().flatten().min()
}

fn attribute(tree: &Tree, segment: &Mo, asked: &Mo, endpoint: &Endpoint) -> Option<Rank> {
    match asked.class().name {
        "fvMacAttr" => {
            let mac = endpoint.mac?.to_string();
            mac.eq_ignore_ascii_case(asked.get("mac")).then_some((1, 0))
        }
        "fvIpAttr" => address(tree, segment, asked, endpoint),
        "fvVmAttr" => of_machine(asked, endpoint),
        "fvSCrtrn" => matches(tree, segment, asked, endpoint),
        // Names by DNS and groups of a directory are known to no host: they match nobody.
        _ => None,
    }
}

/// `fvIpAttr`: an address or a prefix, or with `usefvSubnet` the subnets of the microsegment itself.
fn address(tree: &Tree, segment: &Mo, asked: &Mo, endpoint: &Endpoint) -> Option<Rank> {
    let ip = endpoint.ip?;
    let prefixes: Vec<Prefix> = if asked.get("usefvSubnet") == "yes" {
        let subnets = tree.children_of_class(segment.dn(), "fvSubnet");
        subnets.filter_map(|subnet| Prefix::read(subnet.get("ip"))).collect()
    } else {
        Prefix::read(asked.get("ip")).into_iter().collect()
    };
    let covering = prefixes.into_iter().filter(|prefix| prefix.covers(ip));
    covering.map(|prefix| (2, 128 - prefix.length)).min()
}

/// `fvVmAttr`: a word about the machine, in the order of the guide's table.
fn of_machine(asked: &Mo, endpoint: &Endpoint) -> Option<Rank> {
    let (place, name) = match asked.get("type") {
        "vnic" => (3, "vnic".to_owned()),
        "vm" => (4, "vm".to_owned()),
        "vm-name" => (5, "name".to_owned()),
        "hv" => (6, "hv".to_owned()),
        "domain" => (7, "domain".to_owned()),
        "rootContName" => (8, "rootContName".to_owned()),
        "custom-label" => (9, format!("tag:{}", asked.get("labelName"))),
        "guest-os" => (10, "guest-os".to_owned()),
        "tag" => (11, format!("tag:{}", asked.get("category"))),
        folder @ ("vm-folder" | "vmfolder-path") => (12, folder.to_owned()),
        _ => return None,
    };
    let value = endpoint.attributes.get(&name)?;
    let operator = asked.get("operator");
    let operators = ["equals", "contains", "startsWith", "endsWith", "notEquals"];
    let rank = operators.into_iter().zip(1..).find(|(known, _)| *known == operator)?;
    compare(operator, asked.get("value"), value).then_some((place, rank.1))
}
