//! The eBPF data plane of this project: two workloads of one host, or of two.

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use selvage_agent::datapath::{Datapath, Port};
use selvage_ebpf::{Config, Ebpf};
use selvage_host::{Change, Netlink, Vxlan, bpffs};
use selvage_rules::{Desired, Endpoint, EndpointId, Local, Mac, Remote, Revision, Table};

use super::bridge::underlay;
use super::{CLIENT, MTU, Path, SERVER, Space, join};
use crate::policy::{self, CLIENTS, SERVERS};

/// The host's side of the client's link, and what it is desired to know of it.
pub struct Host {
    /// Its namespace.
    pub space: Space,
    /// Its data plane.
    pub plane: Ebpf,
    /// What was applied.
    pub desired: Desired,
}

impl Host {
    fn new(number: u8, overlay: bool, configure: impl FnOnce(&mut Config)) -> Result<Host> {
        let space = Space::new("h")?;
        bpffs::ensure(bpffs::PATH)?;
        let mut link = Netlink::open_in(&space.ns)?;
        let overlay = match overlay {
            false => None,
            true => {
                let index = link.ensure_vxlan(&Vxlan { name: "svtun", port: 4789, mtu: MTU })?;
                link.change(index, Change { up: Some(true), ..Change::default() })?;
                Some(index)
            }
        };
        let pins = PathBuf::from(bpffs::PATH).join("selvage").join(&space.name);
        let mut config = Config::new(pins, tunnel(number), overlay);
        // A connection a knock: closed ones stay until the next sweep.
        config.sizes.connections = 1 << 19;
        config.connections_per_endpoint = 1 << 19;
        configure(&mut config);
        let plane = space.ns.run(|| Ebpf::open(config))??;
        Ok(Host { space, plane, desired: Desired::default() })
    }

    /// Takes hold of the link of a workload and gives its index.
    fn attach(&mut self, name: &str, workload: &Space, mac: Mac) -> Result<u32> {
        let ifindex = join(&self.space, name, workload, Some(mac))?;
        let port = Port { ifindex, name: name.to_owned() };
        self.space.ns.run(|| self.plane.attach_port(&port))??;
        Ok(ifindex)
    }

    /// Makes this what is enforced.
    pub fn apply(&mut self, desired: Desired) -> Result<()> {
        self.space.ns.run(|| self.plane.apply(&desired))??;
        self.desired = desired;
        Ok(())
    }

    /// Forgets every connection.
    pub fn forget(&mut self) -> Result<()> {
        self.plane.sweep(Duration::from_secs(u32::MAX.into()))?;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.plane.flush();
    }
}

/// A host with both workloads, their links unconnected to any stack: for programs run by hand.
pub fn single(table: Table, configure: impl FnOnce(&mut Config)) -> Result<(Host, [Space; 2])> {
    let mut host = Host::new(1, false, configure)?;
    let workloads = [Space::new("c")?, Space::new("s")?];
    let [client, server] = &workloads;
    let mut desired = Desired { revision: Revision(1), table, ..Desired::default() };
    for (name, space, endpoint) in
        [("client", client, client_endpoint()), ("server", server, server_endpoint())]
    {
        let ifindex = host.attach(name, space, endpoint.mac)?;
        let local = Local { ifindex, endpoint: Some(endpoint) };
        desired.locals.insert(EndpointId(name.into()), local);
    }
    host.apply(desired)?;
    Ok((host, workloads))
}

/// Two workloads of one host, under a contract.
pub fn policy(name: &'static str, table: Table) -> Result<Path> {
    let (host, [client, server]) = single(table, |_| {})?;
    client.address("eth0", CLIENT.into(), 24)?;
    server.address("eth0", SERVER.into(), 24)?;
    Ok(with_rest(name, client, server, vec![host]))
}

/// Two workloads of two hosts, under a contract.
pub fn across(name: &'static str, table: &Table) -> Result<Path> {
    let (mut near, mut far) = (Host::new(1, true, |_| {})?, Host::new(2, true, |_| {})?);
    underlay(&near.space, &far.space)?;
    let (client, server) = (Space::new("c")?, Space::new("s")?);
    let ports = [
        near.attach("client", &client, client_endpoint().mac)?,
        far.attach("server", &server, server_endpoint().mac)?,
    ];
    let ends = [("client", client_endpoint()), ("server", server_endpoint())];
    for (at, host) in [&mut near, &mut far].into_iter().enumerate() {
        let mut desired =
            Desired { revision: Revision(1), table: table.clone(), ..Desired::default() };
        desired.tunnels = policy::tunnels([tunnel(1), tunnel(2)]);
        for (owner, (number, (name, endpoint))) in (1..).zip(&ends).enumerate() {
            let (id, endpoint) = (EndpointId((*name).into()), endpoint.clone());
            if owner == at {
                let ifindex = ports.get(at).copied().unwrap_or_default();
                desired.locals.insert(id, Local { ifindex, endpoint: Some(endpoint) });
            } else {
                desired.remotes.insert(id, Remote { endpoint, tunnel: tunnel(number) });
            }
        }
        host.apply(desired)?;
    }
    client.address("eth0", CLIENT.into(), 24)?;
    server.address("eth0", SERVER.into(), 24)?;
    Ok(with_rest(name, client, server, vec![near, far]))
}

fn with_rest(name: &'static str, client: Space, server: Space, hosts: Vec<Host>) -> Path {
    let hosts = Rc::new(RefCell::new(hosts));
    let swept = Rc::clone(&hosts);
    let rest = move || swept.borrow_mut().iter_mut().try_for_each(Host::forget);
    Path { rest: Box::new(rest), ..Path::new(name, client, server, hosts) }
}

fn tunnel(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

/// The workload that asks.
pub(super) fn client_endpoint() -> Endpoint {
    endpoint(CLIENTS, 1, CLIENT.into())
}

/// The workload that serves.
pub(super) fn server_endpoint() -> Endpoint {
    endpoint(SERVERS, 2, SERVER.into())
}

fn endpoint(class: selvage_rules::ClassId, number: u8, v4: IpAddr) -> Endpoint {
    let v6 = IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from(number)]);
    let mac = Mac([2, 0x5e, 0, 0, 0, number]);
    Endpoint { bd: policy::BD, class, mac, ips: vec![v4, v6] }
}
