//! The nodes of a service graph in the order in which packets pass them.

use std::collections::BTreeMap;

use selvage_model::{Dn, Mo};

use super::Reader;

/// The way through a graph, from the consumer.
pub(super) struct Course<'a> {
    /// Nodes that packets pass.
    pub stops: Vec<Stop<'a>>,
    /// Nodes that get copies.
    pub copies: Vec<&'a Mo>,
}

/// A node on the way.
pub(super) struct Stop<'a> {
    /// The node.
    pub node: &'a Mo,
    /// Name of its connector on the consumer's side.
    pub consumer: &'a str,
    /// Name of its connector on the provider's side.
    pub provider: &'a str,
}

/// Walks `graph` from its consumer's end to its provider's.
///
/// # Errors
/// Says what keeps it from being walked.
pub(super) fn course<'a>(reader: &Reader<'a>, graph: &Dn) -> Result<Course<'a>, String> {
    let nodes = reader.objects.under(graph, "vnsAbsNode").into_iter();
    let (copies, nodes): (Vec<&Mo>, Vec<&Mo>) = nodes.partition(|node| node.get("isCopy") == "yes");
    if nodes.is_empty() && copies.is_empty() {
        return Err(format!("graph `{graph}` has no node"));
    }
    let links = links(reader, graph)?;
    let stops = match (&nodes[..], links.is_empty()) {
        ([], _) => Vec::new(),
        // With one node and no connection there is but one way to draw them.
        ([node], true) => {
            vec![Stop { node, consumer: "consumer", provider: "provider" }]
        }
        (_, true) => return Err(format!("the nodes of graph `{graph}` are not connected")),
        _ => walk(graph, &nodes, &links)?,
    };
    Ok(Course { stops, copies })
}

/// The connectors that each connector is joined to.
type Links<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn links<'a>(reader: &Reader<'a>, graph: &Dn) -> Result<Links<'a>, String> {
    let mut links = Links::new();
    for connection in reader.objects.under(graph, "vnsAbsConnection") {
        let ends: Vec<&str> = reader
            .objects
            .under(connection.dn(), "vnsRsAbsConnectionConns")
            .into_iter()
            .map(|mo| mo.get("tDn"))
            .collect();
        let [a, b] = ends[..] else {
            return Err(format!(
                "connection `{}` has {} ends, not two",
                connection.dn(),
                ends.len()
            ));
        };
        links.entry(a).or_default().push(b);
        links.entry(b).or_default().push(a);
    }
    Ok(links)
}

fn walk<'a>(graph: &Dn, nodes: &[&'a Mo], links: &Links<'a>) -> Result<Vec<Stop<'a>>, String> {
    let broken = |what: &str| format!("{what} of graph `{graph}` is not connected");
    let is_end = |connector: &str, end: &str| {
        parent_of(connector).starts_with(&format!("{graph}/AbsTermNode{end}-"))
    };
    let mut from = links
        .keys()
        .copied()
        .find(|connector| is_end(connector, "Con"))
        .ok_or_else(|| broken("the consumer's end"))?;
    let mut stops: Vec<Stop<'a>> = Vec::new();
    loop {
        let joined = links.get(from).map(Vec::as_slice).unwrap_or_default();
        let [at] = joined else {
            return Err(format!("connector `{from}` is not joined to one other"));
        };
        if is_end(at, "Prov") {
            break;
        }
        let holds = |node: &&&Mo| node.dn().as_str() == parent_of(at);
        let node = nodes.iter().find(holds).copied();
        let node = node.filter(|node| stops.iter().all(|stop| stop.node.dn() != node.dn()));
        let node = node.ok_or_else(|| format!("connector `{at}` leads to no further node"))?;
        let exit = links.keys().copied().find(|c| c != at && parent_of(c) == node.dn().as_str());
        let exit = exit.ok_or_else(|| broken(&format!("node `{}`", node.get("name"))))?;
        stops.push(Stop { node, consumer: connector(at), provider: connector(exit) });
        from = exit;
    }
    if stops.len() < nodes.len() {
        return Err(format!("a node of graph `{graph}` is not on the way to the provider"));
    }
    Ok(stops)
}

fn parent_of(connector: &str) -> &str {
    connector.rsplit_once('/').map_or("", |(node, _)| node)
}

fn connector(dn: &str) -> &str {
    let rn = dn.rsplit_once('/').map_or(dn, |(_, rn)| rn);
    rn.strip_prefix("AbsFConn-").unwrap_or(rn)
}
