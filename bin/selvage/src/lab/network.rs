//! The lab's underlay: a namespace a host, and a spine that routes between them.

use std::net::IpAddr;

use selvage_host::{NetNs, Netlink, Route, Veth, fill_checksums, sysctl};

use super::failed;
use super::plan::{Host, PREFIX_LEN, Plan};
use crate::exit::Failure;

/// Index of the loopback link in every namespace.
const LOOPBACK: u32 = 1;

/// Bytes of the underlay's packets: the overlay adds 50 to a workload's 1450.
const MTU: u32 = 1500;

/// Whether any namespace of this lab is there.
pub fn exists(plan: &Plan) -> Result<bool, Failure> {
    let found = NetNs::list(&prefix(plan)).map_err(|error| failed("listing namespaces", error))?;
    Ok(!found.is_empty())
}

/// Makes every namespace and link.
pub fn create(plan: &Plan) -> Result<(), Failure> {
    make(plan).map_err(|error| failed("making the lab's network", error))
}

fn make(plan: &Plan) -> selvage_host::Result<()> {
    let spine = NetNs::create(&plan.spine)?;
    sysctl::set(&spine, "ipv4/ip_forward", "1")?;
    let mut netlink = Netlink::open_in(&spine)?;
    netlink.set_up("lo")?;
    netlink.add_address(LOOPBACK, IpAddr::V4(plan.opflex), 32)?;
    for host in &plan.hosts {
        join(&mut netlink, host)?;
        // What leaves a machine by a wire has its checksums, and switches rely on it.
        if plan.has_switches() {
            fill_checksums(&NetNs::named(&host.netns)?, &host.link)?;
        }
    }
    Ok(())
}

/// Makes one host and its link to the spine.
fn join(spine: &mut Netlink, host: &Host) -> selvage_host::Result<()> {
    let namespace = NetNs::create(&host.netns)?;
    let index = spine.create_veth(&Veth {
        name: &host.link,
        mac: None,
        peer: &host.link,
        peer_mac: None,
        peer_namespace: Some(&namespace),
        mtu: MTU,
        group: 0,
    })?;
    spine.add_address(index, IpAddr::V4(host.gateway), PREFIX_LEN)?;
    spine.set_up(&host.link)?;
    let mut inside = Netlink::open_in(&namespace)?;
    inside.set_up("lo")?;
    let index = inside.index_of(&host.link)?;
    inside.add_address(index, IpAddr::V4(host.address), PREFIX_LEN)?;
    inside.set_up(&host.link)?;
    inside.add_route(index, Route::default_via(IpAddr::V4(host.gateway)))?;
    eprintln!("host {}: namespace {}, underlay address {}", host.name, host.netns, host.address);
    Ok(())
}

/// Removes every namespace of this lab; links go with them.
pub fn delete(plan: &Plan) -> Result<(), Failure> {
    let failed = |error| failed("removing the lab's namespaces", error);
    for name in NetNs::list(&prefix(plan)).map_err(failed)? {
        NetNs::delete(&name).map_err(failed)?;
    }
    Ok(())
}

fn prefix(plan: &Plan) -> String {
    format!("sv-{}-", plan.name)
}
