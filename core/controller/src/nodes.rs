//! Hosts and endpoints as objects of the tree: there while they are there, never stored.

use selvage_model::{Dn, Edit, Mo, blank};
use selvage_opflex::ext::Location;

use crate::fabric::Host;

/// The pod that all nodes are in.
const POD: &str = "topology/pod-1";

/// Shows a host as `fabricNode`.
pub fn show_host(edit: &mut Edit, name: &str, host: &Host, wall: &str) {
    let Some(dn) = node_dn(host.node) else { return };
    let old = edit.tree().shared(dn.as_str());
    let Some(mut node) = old.as_deref().cloned().or_else(|| blank(&dn)) else { return };
    let state = if host.online { "active" } else { "inactive" };
    if node.get("fabricSt") != state {
        node.set("lastStateModTs", wall);
    }
    let address = host.tunnel.map(|ip| ip.to_string()).unwrap_or_default();
    let model = if host.selvage { "selvage" } else { "opflex" };
    for (property, value) in [
        ("name", name),
        ("role", "leaf"),
        ("fabricSt", state),
        ("address", &address),
        ("model", model),
        ("vendor", "selvage"),
    ] {
        node.set(property, value);
    }
    edit.put(node);
}

/// Takes out the node of a host that has another number now.
pub fn hide_node(edit: &mut Edit, node: u16) {
    if let Some(dn) = node_dn(node) {
        edit.remove(&dn);
    }
}

/// Shows an endpoint as `fvCEp` with an `fvIp` for each address, under its group; nothing if the
/// group does not exist.
pub fn show_endpoint(edit: &mut Edit, location: &Location, host: Option<&Host>, wall: &str) {
    let Some(dn) = endpoint_dn(location) else { return };
    let group = dn.parent();
    if group.is_none_or(|group| edit.tree().get(group.as_str()).is_none()) {
        return;
    }
    let Some(mut endpoint) = blank(&dn) else { return };
    let first = location.ips.first().map(ToString::to_string);
    let path = host.and_then(|host| node_dn(host.node)).map(|dn| dn.to_string());
    for (property, value) in [
        ("name", endpoint_mac(location).as_str()),
        ("ip", first.as_deref().unwrap_or("0.0.0.0")),
        ("encap", &format!("vxlan-{}", location.bd)),
        ("lcC", "learned,vmm"),
        ("id", &location.endpoint.0),
        ("contName", &location.endpoint.0),
        ("hostingServer", &location.agent),
        ("fabricPathDn", path.as_deref().unwrap_or_default()),
        ("bdDn", &location.bridge_domain),
        ("vrfDn", &location.vrf),
        ("baseEpgDn", &location.group),
        ("uuid", &location.id().0),
    ] {
        endpoint.set(property, value);
    }
    edit.put(endpoint);
    show_addresses(edit, &dn, location, wall);
}

fn show_addresses(edit: &mut Edit, endpoint: &Dn, location: &Location, wall: &str) {
    let wanted: Vec<Dn> =
        location.ips.iter().filter_map(|ip| format!("{endpoint}/ip-[{ip}]").parse().ok()).collect();
    let stale: Vec<Dn> = edit
        .tree()
        .children_of_class(endpoint, "fvIp")
        .map(Mo::dn)
        .filter(|dn| !wanted.contains(dn))
        .cloned()
        .collect();
    stale.iter().for_each(|dn| edit.remove(dn));
    for dn in wanted.iter().filter(|dn| edit.tree().get(dn.as_str()).is_none()).collect::<Vec<_>>()
    {
        if let Some(mut address) = blank(dn) {
            address.set("createTs", wall);
            edit.put(address);
        }
    }
}

/// Takes an endpoint out.
pub fn hide_endpoint(edit: &mut Edit, location: &Location) {
    if let Some(dn) = endpoint_dn(location) {
        edit.remove(&dn);
    }
}

/// Where an endpoint is shown.
pub fn endpoint_dn(location: &Location) -> Option<Dn> {
    format!("{}/cep-{}", location.group, endpoint_mac(location)).parse().ok()
}

fn endpoint_mac(location: &Location) -> String {
    location.mac.to_string().to_ascii_uppercase()
}

fn node_dn(node: u16) -> Option<Dn> {
    format!("{POD}/node-{node}").parse().ok()
}
