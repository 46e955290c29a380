//! Redirect policies, and which of them the packets of a subject pass: its service graph, the device
//! selected for each node of it, and the policy of the side at which packets get there.
//!
//! A graph of which any part is missing permits nothing: what its packets were to pass is unknown,
//! and past it they must not go.

use selvage_model::{Dn, Mo};
use selvage_rules::{Balance, Mac, ServiceHop, Threshold, WhileDown};

use super::Reader;
use super::graph::{self, Stop};
use super::objects::tenant;
use crate::ir::{Intent, Path, Service, Through};
use crate::problem::Cause;

/// Stands for every name in a device selection.
const ANY: &str = "any";

/// Reads the redirect policies.
pub(super) fn policies(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("vnsSvcRedirectPol") {
        let mut hops: Vec<ServiceHop> = Vec::new();
        for dest in reader.objects.under(mo.dn(), "vnsRedirectDest") {
            hops.extend(hop(reader, mo, dest));
        }
        for dest in reader.objects.under(mo.dn(), "vnsL1L2RedirectDest") {
            let text =
                "machines that are bridged or wired are not supported: nothing is sent there";
            reader.problem(dest.dn(), Cause::NotSupported, text.to_owned());
        }
        hops.sort();
        let balance = match mo.get("hashingAlgorithm") {
            "sip" => Balance::Source,
            "dip" => Balance::Destination,
            _ => Balance::Ends,
        };
        let service = Service { hops, balance, threshold: threshold(reader, mo) };
        intent.services.insert(mo.dn().clone(), service);
    }
}

fn hop(reader: &mut Reader<'_>, policy: &Mo, dest: &Mo) -> Option<ServiceHop> {
    let unusable = |reader: &mut Reader<'_>, why: &str| {
        reader.problem(dest.dn(), Cause::NoService, format!("{why}: nothing is sent there"));
    };
    let Ok(ip) = dest.get("ip").parse() else {
        unusable(reader, "the destination has no address");
        return None;
    };
    let mac: Mac = dest.get("mac").parse().unwrap_or(Mac([0; 6]));
    let watched = !reader.objects.under(policy.dn(), "vnsRsIPSLAMonitoringPol").is_empty();
    if mac == Mac([0; 6]) && !watched {
        unusable(reader, "the destination has no MAC, and no probe asks for it");
        return None;
    }
    let weight = dest.get("weight").parse().unwrap_or(1);
    let group = reader.objects.under(dest.dn(), "vnsRsRedirectHealthGroup").first().copied();
    let health = group.and_then(|mo| reader.target(mo)).map(|dn| dn.shared());
    Some(ServiceHop { ip, mac, weight, health })
}

fn threshold(reader: &mut Reader<'_>, mo: &Mo) -> Option<Threshold> {
    if mo.get("thresholdEnable") != "yes" {
        return None;
    }
    let percent = |prop| mo.get(prop).parse().unwrap_or(0).min(100);
    let (min, max) = (percent("minThresholdPercent"), percent("maxThresholdPercent"));
    if min > max {
        let text = format!("the threshold is down below {min} % but up only from {max} %");
        reader.problem(mo.dn(), Cause::NoService, format!("{text}: {min} % counts for both"));
    }
    let down = match mo.get("thresholdDownAction") {
        "deny" => WhileDown::Deny,
        "bypass" => WhileDown::Bypass,
        _ => WhileDown::Permit,
    };
    Some(Threshold { min, max: max.max(min), down })
}

/// What the packets of `holder`, a subject or its part for one direction, pass. `relations` are
/// objects and the classes of their relations to a graph, the nearest first.
pub(super) fn through(
    reader: &mut Reader<'_>,
    intent: &mut Intent,
    contract: &Mo,
    relations: &[(&Dn, &str)],
) -> Through {
    let named = relations.iter().find_map(|(dn, class)| {
        let relation = reader.objects.under(dn, class).first().copied()?;
        (!relation.get("tnVnsAbsGraphName").is_empty()).then_some(relation)
    });
    let Some(relation) = named else { return Through::default() };
    let made = match reader.target(relation) {
        None => Err(format!("there is no service graph `{}`", relation.get("tnVnsAbsGraphName"))),
        Some(graph) => make(reader, intent, contract, &graph),
    };
    match made {
        Ok(through) => {
            let log = relation.get("directives").split(',').any(|word| word == "log");
            Through { log, ..through }
        }
        Err(why) => {
            let text = format!("{why}: nothing that was to pass it is permitted");
            reader.problem(relation.dn(), Cause::NoService, text);
            Through::unknown()
        }
    }
}

/// The redirect policies on the way through `graph`, of each direction.
fn make(
    reader: &mut Reader<'_>,
    intent: &mut Intent,
    contract: &Mo,
    graph: &Dn,
) -> Result<Through, String> {
    let course = graph::course(reader, graph)?;
    let mut there = Vec::new();
    let mut back = Vec::new();
    for stop in &course.stops {
        let selected = selection(reader, contract, graph, stop.node)?;
        there.extend(policy(reader, selected, stop, stop.consumer)?);
        back.extend(policy(reader, selected, stop, stop.provider)?);
    }
    if !course.stops.is_empty() && there.is_empty() && back.is_empty() {
        return Err(
            "no node of the graph has a redirect policy, and others are not supported".to_owned()
        );
    }
    back.reverse();
    let mut copy = None;
    for node in &course.copies {
        let device = copy_device(reader, contract, graph, node)?;
        intent.services.insert(device.clone(), Service::default());
        copy = Some(device);
    }
    let to_provider = path(intent, there)?;
    let to_consumer = path(intent, back)?;
    Ok(Through { to_provider, to_consumer, copy, log: false })
}

/// What packets pass of these policies, by the machines they have.
fn path(intent: &Intent, policies: Vec<Dn>) -> Result<Path, String> {
    let mut passed = Vec::new();
    for dn in policies {
        let service = intent.services.get(&dn);
        let service = service.ok_or_else(|| format!("there is no redirect policy `{dn}`"))?;
        if !service.hops.is_empty() {
            passed.push(dn);
            continue;
        }
        match service.threshold.map(|threshold| threshold.down) {
            None => return Err(format!("redirect policy `{dn}` has no destination")),
            Some(WhileDown::Bypass) => {}
            Some(WhileDown::Permit) => break,
            Some(WhileDown::Deny) if passed.is_empty() => return Ok(Path::Dropped),
            // What the machines before it send on is dropped there.
            Some(WhileDown::Deny) => break,
        }
    }
    Ok(if passed.is_empty() { Path::Straight } else { Path::Services(passed) })
}

/// The device selection for a node: of the contract's tenant, else of the graph's, else of tenant
/// `common`; the one that names most.
fn selection<'a>(
    reader: &Reader<'a>,
    contract: &Mo,
    graph: &Dn,
    node: &Mo,
) -> Result<&'a Mo, String> {
    let (contract_name, graph_name, node_name) =
        (contract.get("name"), name(graph), node.get("name"));
    let wanted = [
        ("ctrctNameOrLbl", contract_name),
        ("graphNameOrLbl", graph_name),
        ("nodeNameOrLbl", node_name),
    ];
    for place in [tenant(contract.dn()), tenant(graph), "uni/tn-common"] {
        let Ok(place) = place.parse::<Dn>() else { continue };
        let all = reader.objects.under(&place, "vnsLDevCtx").into_iter();
        let fits = |mo: &&Mo| wanted.iter().all(|(p, name)| [name, ANY].contains(&mo.get(p)));
        let exact = |mo: &&Mo| wanted.map(|(prop, name)| mo.get(prop) == name);
        if let Some(best) = all.filter(fits).max_by_key(exact) {
            return Ok(best);
        }
    }
    Err(format!(
        "no device is selected for node `{node_name}` of graph `{graph_name}` and contract \
         `{contract_name}`"
    ))
}

/// The redirect policy of one side of a selected device, if that side has one.
fn policy(
    reader: &Reader<'_>,
    selected: &Mo,
    stop: &Stop<'_>,
    connector: &str,
) -> Result<Option<Dn>, String> {
    let sides = reader.objects.under(selected.dn(), "vnsLIfCtx");
    let named = |wanted: &str| sides.iter().find(|mo| mo.get("connNameOrLbl") == wanted);
    let Some(side) = named(connector).or_else(|| named(ANY)) else {
        let node = stop.node.get("name");
        return Err(format!(
            "`{}` says nothing of connector `{connector}` of node `{node}`",
            selected.dn(),
        ));
    };
    let class = "vnsRsLIfCtxToSvcRedirectPol";
    let Some(relation) = reader.objects.under(side.dn(), class).first().copied() else {
        return Ok(None);
    };
    let found = reader.target(relation);
    let missing = || format!("there is no redirect policy `{}`", relation.get("tDn"));
    found.map(Some).ok_or_else(missing)
}

fn copy_device(reader: &Reader<'_>, contract: &Mo, graph: &Dn, node: &Mo) -> Result<Dn, String> {
    let selected = selection(reader, contract, graph, node);
    let by = |dn: &Dn, class| {
        let relation = reader.objects.under(dn, class).first().copied()?;
        reader.target(relation)
    };
    let device = selected.ok().and_then(|mo| by(mo.dn(), "vnsRsLDevCtxToLDev"));
    let device = device.or_else(|| by(node.dn(), "vnsRsNodeToLDev"));
    device.ok_or_else(|| format!("copy node `{}` has no device", node.get("name")))
}

fn name(graph: &Dn) -> &str {
    graph.rn().strip_prefix("AbsGraph-").unwrap_or_default()
}
