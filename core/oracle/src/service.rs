//! Service graphs: what a subject sends its traffic through, or copies it to.
//!
//! *Cisco ACI Policy-Based Redirect Service Graph Design* (white paper c11-739971); *Layer 4 to Layer 7
//! Services Deployment Guide*, "Configuring policy-based redirect", "Configuring copy services".

use selvage_model::{Dn, Mo, Tree};

use crate::contract::{Rule, Way};
use crate::place::{named, tenant};

/// What becomes of the packets that a filter of a subject permits.
pub(crate) enum Service {
    /// They pass.
    None,
    /// They are sent where this redirect policy says.
    Through(Dn),
    /// They pass, and a copy goes to these devices.
    Copied(Vec<Dn>),
    /// They are dropped: the policy says so, or has nowhere to send them.
    Down,
    /// The graph cannot be made, so the filter permits nothing.
    Broken,
}

impl Service {
    /// What a permit of the subject becomes.
    pub(crate) fn applied_to<'a>(&self, rule: Rule<'a>) -> Option<Rule<'a>> {
        match self {
            Service::None => Some(rule),
            Service::Through(policy) => {
                let reason = selvage_rules::Reason::Service;
                Some(Rule { redirect: Some(policy.clone()), reason, ..rule })
            }
            Service::Copied(to) => Some(Rule { copy: to.clone(), ..rule }),
            Service::Down => Some(Rule { deny: true, stateful: false, ..rule }),
            Service::Broken => None,
        }
    }
}

/// What one function of a graph does with packets in one direction.
enum Step {
    Redirect(Dn),
    Copy(Dn),
    /// It is a hop that packets find by routing, or one that is bypassed.
    Pass,
    /// Packets go to their destination, whatever comes after.
    Permit,
    Deny,
    Broken,
}

/// The service of a subject in one direction, by the relation that names its graph, if there is one.
///
/// A graph (`vnsAbsGraph`) is sought by name from the contract's tenant. Each of its functions
/// (`vnsAbsNode`) finds its device by a selection policy (`vnsLDevCtx`) for this contract, graph and
/// function; the policy's connector on the side that the packet comes from names the redirect
/// policy. From consumer to provider the functions come in the order of the graph, back in reverse;
/// the first that redirects is where the packet goes. Within a group (`within`) a graph has one function
/// at most (PBR white paper, "Intra-EPG contract with PBR"). A graph that cannot be made is a fault, and the
/// contract is not programmed for this subject.
pub(crate) fn of_subject(
    tree: &Tree,
    subject: &Mo,
    graph: Option<&Mo>,
    way: Way,
    within: bool,
) -> Service {
    let Some(relation) = graph else { return Service::None };
    let Some(graph) = named(tree, relation.dn(), "AbsGraph", relation.get("tnVnsAbsGraphName"))
    else {
        return Service::Broken;
    };
    let mut nodes: Vec<&Mo> = tree.children_of_class(graph.dn(), "vnsAbsNode").collect();
    if within && nodes.len() > 1 || !does_anything(tree, subject, graph, &nodes) {
        return Service::Broken;
    }
    if way == Way::Answering {
        nodes.reverse();
    }
    let in_way = |way: Way| -> Vec<Step> {
        nodes.iter().map(|node| step(tree, subject, graph, node, way)).collect()
    };
    // A graph is made as a whole, whichever way its packets go.
    let (steps, other) = match way {
        Way::Asking => (in_way(way), in_way(Way::Answering)),
        Way::Answering => (in_way(way), in_way(Way::Asking)),
    };
    if steps.iter().chain(&other).any(|step| matches!(step, Step::Broken)) {
        return Service::Broken;
    }
    let mut copies = Vec::new();
    for step in steps {
        match step {
            Step::Redirect(policy) => return Service::Through(policy),
            Step::Deny => return Service::Down,
            Step::Permit => return Service::None,
            Step::Copy(to) => copies.push(to),
            Step::Pass | Step::Broken => {}
        }
    }
    if copies.is_empty() { Service::None } else { Service::Copied(copies) }
}

/// Whether any function of the graph is one that packets are sent to, in either direction, or that
/// gets copies; a graph of none is one that cannot be made.
fn does_anything(tree: &Tree, subject: &Mo, graph: &Mo, nodes: &[&Mo]) -> bool {
    nodes.iter().any(|node| {
        node.get("isCopy") == "yes"
            || selection(tree, subject, graph, node).is_some_and(|selection| {
                tree.descendants(selection.dn())
                    .any(|mo| mo.class().name == "vnsRsLIfCtxToSvcRedirectPol")
            })
    })
}

fn step(tree: &Tree, subject: &Mo, graph: &Mo, node: &Mo, way: Way) -> Step {
    let Some(selection) = selection(tree, subject, graph, node) else { return Step::Broken };
    if node.get("isCopy") == "yes" {
        let device = tree.children_of_class(selection.dn(), "vnsRsLDevCtxToLDev").next();
        let device = device.and_then(|to| tree.get(to.get("tDn")));
        return device.map_or(Step::Broken, |device| Step::Copy(device.dn().clone()));
    }
    let side = match way {
        Way::Asking => "consumer",
        Way::Answering => "provider",
    };
    let connector = tree
        .children_of_class(selection.dn(), "vnsLIfCtx")
        .find(|connector| connector.get("connNameOrLbl") == side);
    let Some(connector) = connector else { return Step::Broken };
    match tree.children_of_class(connector.dn(), "vnsRsLIfCtxToSvcRedirectPol").next() {
        None => Step::Pass,
        Some(to) => match tree.get(to.get("tDn")) {
            Some(policy) if policy.class().name == "vnsSvcRedirectPol" => redirect(tree, policy),
            _ => Step::Broken,
        },
    }
}

/// The selection policy for a function: the one that names contract, graph and function rather than
/// `any`, of the contract's tenant, or if that has none of the graph's.
fn selection<'a>(tree: &'a Tree, subject: &Mo, graph: &Mo, node: &Mo) -> Option<&'a Mo> {
    let contract = tree.get(subject.dn().parent()?.as_str())?;
    let fits = |policy: &&Mo, prop: &str, name: &str| [name, "any"].contains(&policy.get(prop));
    let wide = |policy: &Mo| {
        ["ctrctNameOrLbl", "graphNameOrLbl", "nodeNameOrLbl"].map(|prop| policy.get(prop) == "any")
    };
    let of_tenant = |own: &Dn| {
        tree.children_of_class(own, "vnsLDevCtx")
            .filter(|policy| fits(policy, "ctrctNameOrLbl", contract.get("name")))
            .filter(|policy| fits(policy, "graphNameOrLbl", graph.get("name")))
            .filter(|policy| fits(policy, "nodeNameOrLbl", node.get("name")))
            .min_by_key(|policy| wide(policy))
    };
    of_tenant(&tenant(contract.dn())?).or_else(|| of_tenant(&tenant(graph.dn())?))
}

/// Where a redirect policy sends packets.
///
/// PBR white paper, "Threshold": with too few destinations alive the policy does as its
/// `thresholdDownAction` says: permit them without the service, deny them, or bypass this function.
/// A policy without any destination has too few; where it has no threshold either, there is nothing to
/// make a graph of, and what was to be inspected does not pass uninspected.
fn redirect(tree: &Tree, policy: &Mo) -> Step {
    let known = |text: &str| !matches!(text, "" | "00:00:00:00:00:00");
    let mut destinations = tree.children_of_class(policy.dn(), "vnsRedirectDest");
    // Where destinations are tracked, the probe learns the MAC.
    let tracked = tree.children_of_class(policy.dn(), "vnsRsIPSLAMonitoringPol").next().is_some();
    if destinations.any(|to| known(to.get("ip")) && (tracked || known(to.get("mac")))) {
        return Step::Redirect(policy.dn().clone());
    }
    match (policy.get("thresholdEnable"), policy.get("thresholdDownAction")) {
        ("yes", "permit") => Step::Permit,
        ("yes", "bypass") => Step::Pass,
        ("yes", _) => Step::Deny,
        _ => Step::Broken,
    }
}
