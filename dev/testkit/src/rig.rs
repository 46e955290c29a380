//! Namespaces for a test, and two hosts in them.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use selvage_host::probe::{self, Feature};
use selvage_host::{Change, NetNs, Netlink, Veth};

/// Told apart within one process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The namespaces of one test. They go with it, also when it panics; those of a test that was killed
/// go when the next lab is made.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    names: Vec<String>,
}

impl Lab {
    /// A lab whose namespaces are called `svWHAT-PID-N-NAME`. Fails by name where root is missing.
    pub fn new(what: &str) -> Result<Lab> {
        probe::require(&[Feature::Root])?;
        let fits = !what.is_empty() && what.chars().all(|c| c.is_ascii_alphanumeric());
        ensure!(fits, "`{what}` cannot name a lab: letters and digits only");
        remove_stale(what)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("sv{what}-{}-{number}", std::process::id());
        Ok(Lab { prefix, names: Vec::new() })
    }

    /// What the names of its namespaces begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A new namespace, its loopback up.
    pub fn namespace(&mut self, name: &str) -> Result<NetNs> {
        let name = format!("{}-{name}", self.prefix);
        let namespace = NetNs::create(&name)?;
        self.names.push(name);
        Ok(namespace)
    }

    /// Joins two namespaces by a link that is up on both ends, and gives the indices of its ends.
    pub fn join(&self, a: (&NetNs, &str), b: (&NetNs, &str), mtu: u32) -> Result<(u32, u32)> {
        let mut near = Netlink::open_in(a.0)?;
        let mut far = Netlink::open_in(b.0)?;
        let veth = Veth {
            name: a.1,
            mac: None,
            peer: b.1,
            peer_mac: None,
            peer_namespace: Some(b.0),
            mtu,
            group: 0,
        };
        let near_index = near.create_veth(&veth)?;
        let far_index = far.index_of(b.1)?;
        let up = Change { up: Some(true), ..Change::default() };
        near.change(near_index, up)?;
        far.change(far_index, up)?;
        Ok((near_index, far_index))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = NetNs::delete(name) {
                eprintln!("lab: {error}");
            }
        }
    }
}

/// A host of a lab.
#[derive(Debug)]
pub struct Host {
    /// Its network namespace.
    pub namespace: NetNs,
    /// Its name, `h1` or `h2`.
    pub name: &'static str,
    /// Its link to the other host.
    pub underlay: &'static str,
    /// Its address on that link.
    pub address: IpAddr,
    /// Its IPv6 address on that link.
    pub address6: IpAddr,
}

/// Two hosts joined by an underlay link, each in a namespace.
///
/// The underlay's addresses are of 198.18.0.0/15 (RFC 2544) and fd00::/8; its MTU leaves room for
/// 1450-byte packets in VXLAN over IPv4 and IPv6.
#[derive(Debug)]
pub struct TwoHosts {
    /// The first host.
    pub h1: Host,
    /// The second host.
    pub h2: Host,
    /// Where further namespaces are made.
    pub lab: Lab,
}

impl TwoHosts {
    /// Makes them.
    pub fn new(what: &str) -> Result<TwoHosts> {
        let mut lab = Lab::new(what)?;
        let h1 = host(&mut lab, "h1", 1)?;
        let h2 = host(&mut lab, "h2", 2)?;
        let ends = ((&h1.namespace, h1.underlay), (&h2.namespace, h2.underlay));
        let (first, second) = lab.join(ends.0, ends.1, 1550)?;
        for (host, index) in [(&h1, first), (&h2, second)] {
            let mut netlink = Netlink::open_in(&host.namespace)?;
            netlink.add_address(index, host.address, 24)?;
            netlink.add_address(index, host.address6, 64)?;
        }
        Ok(TwoHosts { h1, h2, lab })
    }
}

fn host(lab: &mut Lab, name: &'static str, number: u8) -> Result<Host> {
    Ok(Host {
        namespace: lab.namespace(name)?,
        name,
        underlay: "underlay",
        address: IpAddr::from([198, 18, 0, number]),
        address6: IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)]),
    })
}

/// What a namespace holds, for a failing test to print: links with counters, addresses, neighbours,
/// routes.
pub fn dump(namespace: &NetNs) -> String {
    let mut text = format!("namespace {}:\n", namespace.path().display());
    for what in [&["-s", "link"][..], &["addr"], &["neigh"], &["route"], &["-6", "route"]] {
        let mut command = Command::new("ip");
        command.args(what).stdin(Stdio::null());
        let output = namespace
            .enter(&mut command)
            .map_err(|error| error.to_string())
            .and_then(|()| command.output().map_err(|error| error.to_string()));
        match output {
            Ok(output) => text.push_str(&String::from_utf8_lossy(&output.stdout)),
            Err(error) => text.push_str(&error),
        }
    }
    text
}

/// Deletes the namespaces of labs whose process is gone.
fn remove_stale(what: &str) -> Result<()> {
    let prefix = format!("sv{what}-");
    for name in NetNs::list(&prefix)? {
        let pid = name.strip_prefix(&prefix).and_then(|rest| rest.split('-').next());
        let alive = pid
            .and_then(|pid| pid.parse::<u32>().ok())
            .is_none_or(|pid| Path::new(&format!("/proc/{pid}")).exists());
        if !alive {
            NetNs::delete(&name).with_context(|| format!("removing the stale `{name}`"))?;
        }
    }
    Ok(())
}
