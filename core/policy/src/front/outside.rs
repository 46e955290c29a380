//! L3Outs: external groups with their prefixes, and the hosts that lead outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use selvage_model::{Dn, Mo};
use selvage_rules::{Hop, NodeId, Prefix};

use super::group::as_dn;
use super::objects::tenant;
use super::relation::relations;
use super::{Reader, not_found, stance};
use crate::ir::{External, Intent};
use crate::problem::Cause;

pub(super) fn read(reader: &mut Reader<'_>, intent: &mut Intent) {
    for out in reader.objects.all("l3extOut") {
        let Some(vrf) = vrf_of(reader, out) else { continue };
        for mo in reader.objects.under(out.dn(), "l3extInstP") {
            let dn = mo.dn();
            let stance = stance::of(reader, intent, mo);
            let external = External {
                tenant: as_dn(tenant(dn), dn),
                out: out.dn().clone(),
                vrf: vrf.clone(),
                prefixes: prefixes(reader, dn),
                stance,
                provides: relations(reader, dn, "fvRsProv"),
                consumes: relations(reader, dn, "fvRsCons"),
            };
            let leaked = leaked(reader, dn);
            if !leaked.is_empty() {
                intent.leaks.insert(dn.clone(), leaked);
            }
            intent.externals.insert(dn.clone(), external);
        }
        intent.l3outs.insert(out.dn().clone(), vrf.clone());
        let routes = routes(reader, out.dn());
        let outside = intent.outside.entry(vrf).or_default();
        for (prefix, hops) in routes {
            outside.routes.entry(prefix).or_default().extend(hops);
        }
    }
    take_apart(reader, intent);
}

fn vrf_of(reader: &mut Reader<'_>, out: &Mo) -> Option<Dn> {
    let relation = reader.objects.under(out.dn(), "l3extRsEctx").first().copied();
    let found = relation.and_then(|mo| reader.target(mo));
    if found.is_none() {
        let missing = not_found("VRF", relation.map_or("", |mo| mo.get("tnFvCtxName")), out.dn());
        let text = format!("{missing}: the L3Out leads nowhere");
        reader.problem(out.dn(), Cause::NoVrf, text);
    }
    found
}

/// The prefixes that classify; the others of a group only say which routes to announce.
fn prefixes(reader: &mut Reader<'_>, group: &Dn) -> BTreeSet<Prefix> {
    let mut prefixes = BTreeSet::new();
    for mo in reader.objects.under(group, "l3extSubnet") {
        if !mo.get("scope").split(',').any(|word| word == "import-security") {
            continue;
        }
        match mo.get("ip").parse() {
            Ok(prefix) => drop(prefixes.insert(prefix)),
            Err(_) => {
                let text = format!("`{}` is no prefix: no address is in it", mo.get("ip"));
                reader.problem(mo.dn(), Cause::BadPrefix, text);
            }
        }
    }
    prefixes
}

/// The prefixes of an external group that other VRFs know: those that classify there
/// (`shared-security`) and to which a route is leaked (`shared-rtctrl`, which covers longer prefixes
/// only if it aggregates).
fn leaked(reader: &Reader<'_>, group: &Dn) -> BTreeSet<Prefix> {
    let has = |mo: &Mo, prop: &str, wanted: &str| mo.get(prop).split(',').any(|w| w == wanted);
    let prefix = |mo: &Mo| mo.get("ip").parse::<Prefix>().ok();
    let subnets = reader.objects.under(group, "l3extSubnet");
    let routes: Vec<&Mo> =
        subnets.iter().copied().filter(|mo| has(mo, "scope", "shared-rtctrl")).collect();
    let reached = |known: &Prefix| {
        routes.iter().any(|mo| {
            let all = has(mo, "aggregate", "shared-rtctrl");
            prefix(mo).is_some_and(|route| route == *known || all && route.covers(*known))
        })
    };
    let classifies =
        |mo: &&Mo| has(mo, "scope", "import-security") && has(mo, "scope", "shared-security");
    let known = subnets.iter().copied().filter(classifies).filter_map(prefix);
    known.filter(reached).collect()
}

/// A prefix puts an address into one group of a VRF: of several that claim it the one with the
/// lowest DN keeps it, so that the outcome depends on no order. The default prefix may be in many.
fn take_apart(reader: &mut Reader<'_>, intent: &mut Intent) {
    let mut holders: BTreeMap<(Dn, Prefix), Dn> = BTreeMap::new();
    for (dn, external) in &mut intent.externals {
        let mut kept = BTreeSet::new();
        for prefix in std::mem::take(&mut external.prefixes) {
            let key = (external.vrf.clone(), prefix);
            let holder = holders.entry(key).or_insert_with(|| dn.clone());
            if holder == dn || prefix.is_default() {
                kept.insert(prefix);
                continue;
            }
            let text =
                format!("prefix `{prefix}` is in `{holder}` already: it is not in this group");
            for mo in reader.objects.under(dn, "l3extSubnet") {
                if mo.get("ip").parse() == Ok(prefix) {
                    reader.problem(mo.dn(), Cause::PrefixInUse, text.clone());
                }
            }
        }
        external.prefixes = kept;
    }
}

/// A link of a border host.
struct Link {
    node: NodeId,
    name: Arc<str>,
    subnet: Option<Prefix>,
}

fn routes(reader: &mut Reader<'_>, out: &Dn) -> BTreeMap<Prefix, BTreeSet<Hop>> {
    let mut routes: BTreeMap<Prefix, BTreeSet<Hop>> = BTreeMap::new();
    let profiles = reader.objects.under(out, "l3extLNodeP");
    let links: Vec<Link> = profiles.iter().flat_map(|mo| links(reader, mo.dn())).collect();
    for link in &links {
        if let Some(subnet) = link.subnet {
            let hop = Hop { node: link.node, link: Arc::clone(&link.name), via: None };
            routes.entry(subnet).or_default().insert(hop);
        }
    }
    let nodes = profiles.iter().flat_map(|mo| reader.objects.under(mo.dn(), "l3extRsNodeL3OutAtt"));
    for mo in nodes.collect::<Vec<_>>() {
        let Some(node) = node_of(mo.get("tDn"), "node-") else {
            let text = format!("`{}` is no node: nothing leaves by it", mo.get("tDn"));
            reader.problem(mo.dn(), Cause::BadExit, text);
            continue;
        };
        for mo in reader.objects.under(mo.dn(), "ipRouteP") {
            let Ok(prefix) = mo.get("ip").parse() else { continue };
            let hops = hops(reader, mo, node, &links);
            routes.entry(prefix).or_default().extend(hops);
        }
    }
    routes.retain(|_, hops| !hops.is_empty());
    routes
}

fn links(reader: &mut Reader<'_>, profile: &Dn) -> Vec<Link> {
    let mut links = Vec::new();
    for profile in reader.objects.under(profile, "l3extLIfP") {
        for mo in reader.objects.under(profile.dn(), "l3extRsPathL3OutAtt") {
            let path = mo.get("tDn").split_once("/pathep-[");
            let name = path.and_then(|(_, name)| name.strip_suffix(']'));
            let node = path.and_then(|(node, _)| node_of(node, "paths-"));
            match (node, name.filter(|name| is_link_name(name))) {
                (Some(node), Some(name)) => links.push(Link {
                    node,
                    name: name.into(),
                    subnet: mo.get("addr").parse().ok(),
                }),
                _ => {
                    let text =
                        format!("`{}` is no link of a node: nothing leaves by it", mo.get("tDn"));
                    reader.problem(mo.dn(), Cause::BadExit, text);
                }
            }
        }
    }
    links
}

/// The next hops of a route, each with the link of its node that leads there: the one whose subnet
/// it is in, else the first.
fn hops(reader: &mut Reader<'_>, route: &Mo, node: NodeId, links: &[Link]) -> Vec<Hop> {
    let mut hops = Vec::new();
    let wrong = |reader: &mut Reader<'_>, dn: &Dn, why: &str| {
        let text = format!("{why}: the route leads nowhere");
        reader.problem(dn, Cause::BadExit, text);
    };
    let of_node = || links.iter().filter(|link| link.node == node);
    let family = |ip: IpAddr| Prefix::new(ip, 0);
    let prefix: Option<Prefix> = route.get("ip").parse().ok();
    for mo in reader.objects.under(route.dn(), "ipNexthopP") {
        let Ok(via) = mo.get("nhAddr").parse::<IpAddr>() else { continue };
        let near = of_node().find(|link| link.subnet.is_some_and(|subnet| subnet.contains(via)));
        if prefix.and_then(|prefix| family(prefix.address())) != family(via) {
            wrong(reader, mo.dn(), "the next hop is not of the route's address family");
        } else if let Some(link) = near.or_else(|| of_node().next()) {
            hops.push(Hop { node, link: Arc::clone(&link.name), via: Some(via) });
        } else {
            wrong(reader, mo.dn(), &format!("node {node} has no interface in this L3Out"));
        }
    }
    if reader.objects.under(route.dn(), "ipNexthopP").is_empty() {
        wrong(reader, route.dn(), "the route has no next hop");
    }
    hops
}

/// The number at the end of `topology/pod-1/WHAT-N`.
fn node_of(dn: &str, what: &str) -> Option<NodeId> {
    let number = dn.strip_prefix("topology/pod-1/")?.strip_prefix(what)?;
    number.parse().ok().filter(|number| *number > 0).map(NodeId)
}

/// What the kernel takes for a link's name (dev_valid_name).
fn is_link_name(name: &str) -> bool {
    let odd = |b: u8| b == b'/' || b == b':' || b.is_ascii_whitespace() || b.is_ascii_control();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(odd)
}
