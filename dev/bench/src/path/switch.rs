//! Open vSwitch, its userspace datapath: as a plain switch, and as our data plane.

use anyhow::Result;
use selvage_agent::datapath::{Datapath, Port};
use selvage_host::{Netlink, fill_checksums};
use selvage_ovs::{Config, Ovs};
use selvage_rules::{Desired, EndpointId, Local, Mac, Revision, Table};
use selvage_testkit::ovs::Ovs as Switch;

use super::policy::{client_endpoint, server_endpoint};
use super::{CLIENT, Path, SERVER, Space, join};

/// Two workloads on a bridge that does what a switch does (`NORMAL`).
pub fn normal() -> Result<Path> {
    let (host, client, server) = (Space::new("n")?, Space::new("c")?, Space::new("s")?);
    let switch = Switch::start(&host.ns)?;
    let database = format!("--db=unix:{}", switch.database().display());
    let vsctl = |words: &str| {
        let words: Vec<&str> = [&*database].into_iter().chain(words.split(' ')).collect();
        switch.tool("ovs-vsctl", &words).map(drop)
    };
    vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")?;
    for (space, name) in [(&client, "port1"), (&server, "port2")] {
        join(&host, name, space, None)?;
        fill_checksums(&space.ns, "eth0")?;
        vsctl(&format!("add-port br0 {name}"))?;
    }
    client.address("eth0", CLIENT.into(), 24)?;
    server.address("eth0", SERVER.into(), 24)?;
    Ok(Path::new("Open vSwitch, NORMAL", client, server, (switch, host)))
}

/// Two workloads under a contract, enforced by Open vSwitch.
pub fn switched(name: &'static str, table: Table) -> Result<Path> {
    let (host, client, server) = (Space::new("o")?, Space::new("c")?, Space::new("s")?);
    let switch = Switch::start(&host.ns)?;
    let config = Config {
        database: switch.database(),
        bridge: "svbr".to_owned(),
        owner: host.name.clone(),
        datapath: "netdev".to_owned(),
        tunnel: [192, 0, 2, 1].into(),
        underlay: None,
    };
    let mut plane = host.ns.run(|| Ovs::open(config))??;
    let mut desired = Desired { revision: Revision(1), table, ..Desired::default() };
    for (name, space, endpoint) in
        [("port1", &client, client_endpoint()), ("port2", &server, server_endpoint())]
    {
        let Mac(mac) = endpoint.mac;
        let ifindex = join(&host, name, space, Some(Mac(mac)))?;
        let port = Port { ifindex, name: name.to_owned() };
        host.ns.run(|| plane.attach_port(&port))??;
        fill_checksums(&space.ns, "eth0")?;
        let local = Local { ifindex, endpoint: Some(endpoint) };
        desired.locals.insert(EndpointId(name.into()), local);
    }
    host.ns.run(|| plane.apply(&desired))??;
    // The switch lets go of a link's address when it takes hold of it: the workloads' ends come last.
    for (space, address) in [(&client, CLIENT), (&server, SERVER)] {
        Netlink::open_in(&space.ns)?.set_up("eth0")?;
        space.address("eth0", address.into(), 24)?;
    }
    Ok(Path::new(name, client, server, (plane, switch, host)))
}
