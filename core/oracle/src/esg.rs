//! Endpoint security groups: groups of a VRF that ask for endpoints by selectors.
//!
//! *Security Configuration Guide*, "Endpoint Security Groups", "ESG selectors" and "Precedence of
//! selectors":
//!
//! | order | selector | what it looks at |
//! |---|---|---|
//! | 1 | tag on an endpoint's IP (`fvEpIpTag`); IP subnet of one address | the address |
//! | 2 | tag on a bridge domain's subnet; IP subnet | the longest prefix |
//! | 3 | tag on an endpoint's MAC (`fvEpMacTag`) | the MAC |
//! | 4 | tag of the workload itself, as its host or orchestrator knows it | the endpoint |
//! | 5 | tag on the EPG; EPG | the EPG or microsegment |
//!
//! Tags and EPGs are those of the ESG's own tenant; every selector is about endpoints of the ESG's
//! VRF. Where two ESGs ask for one endpoint with equal right, that is a fault, and neither of the two
//! selectors takes effect.

use std::collections::{BTreeMap, BTreeSet};

use selvage_model::{Dn, Mo, Tree};

use crate::Endpoint;
use crate::pattern::compare;
use crate::place::{named, tenant, vrf_of};
use crate::prefix::Prefix;

/// Order of the selector, then its place among those of its kind. Lower wins.
type Rank = (u8, u32);

/// Something tagged that the endpoint is, is on, or has.
struct Tagged<'a> {
    order: u8,
    place: u32,
    /// Whose tag it is.
    tenant: Option<Dn>,
    key: &'a str,
    value: &'a str,
}

/// The ESG that asks for the endpoint of `epg`, if one does.
pub(crate) fn group_of<'a>(
    tree: &'a Tree,
    endpoint: &Endpoint,
    epg: &Mo,
    bd: &Mo,
    vrf: &Mo,
) -> Option<&'a Mo> {
    let tags = tags_of(tree, endpoint, epg, bd, vrf);
    let here = |group: &&Mo| vrf_of(tree, group).is_some_and(|own| own.dn() == vrf.dn());
    let mut claims: BTreeMap<Rank, Vec<&Mo>> = BTreeMap::new();
    for group in tree.of_class("fvESg").filter(here) {
        for rank in by_selectors(tree, group, endpoint, epg, &tags) {
            claims.entry(rank).or_default().push(group);
        }
    }
    claims.into_values().find_map(|groups| match groups.as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

/// The EPG that an EPG selector of `group` means: one of its tenant and its VRF.
pub(crate) fn epg_selected<'a>(tree: &'a Tree, group: &Mo, selector: &Mo) -> Option<&'a Mo> {
    let epg = tree.get(selector.get("matchEpgDn")).filter(|mo| mo.class().name == "fvAEPg")?;
    let one_vrf = vrf_of(tree, epg)?.dn() == vrf_of(tree, group)?.dn();
    (one_vrf && tenant(epg.dn()) == tenant(group.dn())).then_some(epg)
}

/// The ranks at which a group's selectors ask for the endpoint.
fn by_selectors(
    tree: &Tree,
    group: &Mo,
    endpoint: &Endpoint,
    epg: &Mo,
    tags: &[Tagged<'_>],
) -> BTreeSet<Rank> {
    let own = tenant(group.dn());
    let mut found = BTreeSet::new();
    for selector in tree.children(group.dn()) {
        match selector.class().name {
            "fvTagSelector" => {
                let operator = selector.get("valueOperator");
                found.extend(
                    tags.iter()
                        .filter(|tag| tag.tenant == own && tag.key == selector.get("matchKey"))
                        .filter(|tag| compare(operator, selector.get("matchValue"), tag.value))
                        .map(|tag| (tag.order, tag.place)),
                );
            }
            "fvEPSelector" => {
                let prefix = subnet_of(selector.get("matchExpression"));
                let covering =
                    prefix.filter(|prefix| endpoint.ip.is_some_and(|ip| prefix.covers(ip)));
                found.extend(covering.map(|prefix| match prefix.is_host() {
                    true => (1, 0),
                    false => (2, 128 - prefix.length),
                }));
            }
            "fvEPgSelector" => {
                let meant = epg_selected(tree, group, selector);
                found.extend(meant.filter(|meant| meant.dn() == epg.dn()).map(|_| (5, 0)));
            }
            _ => {}
        }
    }
    found
}

/// `ip=='10.1.0.0/16'`, the only kind of expression there is.
fn subnet_of(expression: &str) -> Option<Prefix> {
    let rest = expression.trim().strip_prefix("ip")?.trim_start().strip_prefix("==")?;
    Prefix::read(rest.trim().trim_matches(['\'', '"']))
}

/// All tags that count for the endpoint.
fn tags_of<'a>(
    tree: &'a Tree,
    endpoint: &'a Endpoint,
    epg: &'a Mo,
    bd: &'a Mo,
    vrf: &Mo,
) -> Vec<Tagged<'a>> {
    let mut tags = Vec::new();
    let mut add = |order: u8, place: u32, of: Option<Dn>, on: &Mo| {
        for tag in tree.children_of_class(on.dn(), "tagTag") {
            let (key, value) = (tag.get("key"), tag.get("value"));
            tags.push(Tagged { order, place, tenant: of.clone(), key, value });
        }
    };
    let in_vrf = |tag: &Mo| {
        named(tree, tag.dn(), "ctx", tag.get("ctxName")).is_some_and(|own| own.dn() == vrf.dn())
    };
    for tagged in tree.of_class("fvEpIpTag").filter(|tag| in_vrf(tag)) {
        if endpoint.ip.is_some_and(|ip| tagged.get("ip").parse() == Ok(ip)) {
            add(1, 0, tenant(tagged.dn()), tagged);
        }
    }
    let subnets = [bd, epg].into_iter().flat_map(|of| tree.children_of_class(of.dn(), "fvSubnet"));
    for subnet in subnets {
        let prefix = Prefix::read(subnet.get("ip"));
        if let (Some(prefix), Some(ip)) = (prefix, endpoint.ip)
            && prefix.covers(ip)
        {
            add(2, 128 - prefix.length, tenant(subnet.dn()), subnet);
        }
    }
    for tagged in tree.of_class("fvEpMacTag") {
        let own =
            endpoint.mac.is_some_and(|mac| mac.to_string().eq_ignore_ascii_case(tagged.get("mac")));
        let there = match tagged.get("bdName") {
            "*" => in_vrf(tagged),
            name => named(tree, tagged.dn(), "BD", name).is_some_and(|found| found.dn() == bd.dn()),
        };
        if own && there {
            add(3, 0, tenant(tagged.dn()), tagged);
        }
    }
    add(5, 0, tenant(epg.dn()), epg);
    for (name, value) in &endpoint.attributes {
        let key = match name.as_str() {
            "name" => "__vmm::vmname",
            other => match other.strip_prefix("tag:") {
                Some(key) => key,
                None => continue,
            },
        };
        tags.push(Tagged { order: 4, place: 0, tenant: tenant(epg.dn()), key, value });
    }
    tags
}
