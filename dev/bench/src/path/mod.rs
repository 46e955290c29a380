//! Ways from one workload to another, to put load on: bare, bridged, by Docker, with an empty program,
//! and with policy.

mod bridge;
mod docker;
mod empty;
mod policy;
mod switch;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use selvage_host::{Change, NetNs, Netlink, Veth};

pub use bridge::{bridge, tunnelled_bridge};
pub use docker::{docker_bridge, docker_overlay};
pub use empty::empty;
pub use policy::{Host, across, policy, single};
pub use switch::{normal, switched};

/// MTU of every workload's link, so that paths differ in what is between and in nothing else.
pub const MTU: u32 = 1450;

/// Address of the workload that asks.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);

/// Address of the workload that serves.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 20);

/// A way from one workload to another.
pub struct Path {
    /// What it is called in the table.
    pub name: &'static str,
    /// Where the one that asks is.
    pub client: Space,
    /// Where the one that serves is.
    pub server: Space,
    /// The server's address.
    pub to: IpAddr,
    /// What is to be done between measurements.
    pub rest: Box<dyn FnMut() -> Result<()>>,
    /// What goes with it; after the namespaces' users.
    pub _belongings: Box<dyn std::any::Any>,
}

/// A namespace; one made here goes when this does.
pub struct Space {
    /// Its name; empty if it is somebody else's.
    pub name: String,
    /// Itself.
    pub ns: NetNs,
}

impl Space {
    /// Makes one.
    pub fn new(what: &str) -> Result<Space> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("svbn{}-{number}-{what}", std::process::id());
        let ns = NetNs::create(&name)?;
        Ok(Space { name, ns })
    }

    /// One that somebody else made, and removes.
    pub fn of(path: &std::path::Path) -> Result<Space> {
        Ok(Space { name: String::new(), ns: NetNs::open(path)? })
    }

    /// Gives the link `name` in it an address and brings it up.
    pub fn address(&self, name: &str, ip: IpAddr, prefix_len: u8) -> Result<()> {
        let mut link = Netlink::open_in(&self.ns)?;
        let index = link.index_of(name)?;
        link.set_up(name)?;
        Ok(link.add_address(index, ip, prefix_len)?)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = NetNs::delete(&self.name);
        }
    }
}

/// A veth pair from `near`, where its end is up, to `eth0` of `far`. Gives the near end's index.
pub fn join(near: &Space, name: &str, far: &Space, mac: Option<selvage_rules::Mac>) -> Result<u32> {
    let mut link = Netlink::open_in(&near.ns)?;
    let veth = Veth {
        name,
        mac: None,
        peer: "eth0",
        peer_mac: mac,
        peer_namespace: Some(&far.ns),
        mtu: MTU,
        group: 0,
    };
    let index = link.create_veth(&veth)?;
    link.change(index, Change { up: Some(true), ..Change::default() })?;
    Ok(index)
}

/// Two workloads on the two ends of one veth pair: the least there can be between them.
pub fn bare() -> Result<Path> {
    let (client, server) = (Space::new("c")?, Space::new("s")?);
    join(&client, "eth0", &server, None)?;
    client.address("eth0", CLIENT.into(), 24)?;
    server.address("eth0", SERVER.into(), 24)?;
    Ok(Path::new("bare veth pair", client, server, ()))
}

impl Path {
    /// A path between two workloads with the usual addresses.
    fn new(
        name: &'static str,
        client: Space,
        server: Space,
        belongings: impl std::any::Any,
    ) -> Path {
        Path {
            name,
            client,
            server,
            to: SERVER.into(),
            rest: Box::new(|| Ok(())),
            _belongings: Box::new(belongings),
        }
    }
}
