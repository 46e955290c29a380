//! Opening the data plane that was asked for, and removing it.

use std::path::{Path, PathBuf};

use selvage_agent::MTU;
use selvage_agent::datapath::Datapath;
use selvage_ebpf::{Config, Ebpf};
use selvage_host::{Netlink, Vxlan, bpffs};
use selvage_ovs::Ovs;

use super::start::{refused, system};
use super::{Args, Dataplane};
use crate::exit::{Failure, Kind};

/// The tunnel device. A host has one: it owns the UDP port.
const TUNNEL: &str = "svtun0";

/// VXLAN's UDP port (IANA).
const VXLAN_PORT: u16 = 4789;

/// Opens the data plane of the agent `host`; what an earlier run left is in force all the while.
pub fn open(args: &Args, host: &str) -> Result<Box<dyn Datapath>, Failure> {
    match args.dataplane {
        Dataplane::Ebpf => {
            let mut netlink = Netlink::open().map_err(system)?;
            let vxlan = Vxlan { name: TUNNEL, port: VXLAN_PORT, mtu: MTU };
            let overlay = netlink.ensure_vxlan(&vxlan).map_err(system)?;
            netlink.set_up(TUNNEL).map_err(system)?;
            let tunnel = args.tunnel_address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
            let config = Config::new(pin_dir(host), tunnel, Some(overlay));
            Ok(Box::new(Ebpf::open(config).map_err(refused)?))
        }
        Dataplane::Ovs => Ok(Box::new(Ovs::open(ovs_config(args, host)).map_err(refused)?)),
    }
}

/// Removes the data plane of the agent `host`, and the tunnel device.
pub fn remove(args: &Args, host: &str) -> Result<(), Failure> {
    match args.dataplane {
        Dataplane::Ebpf => {
            if pin_dir(host).exists() {
                open(args, host)?.flush().map_err(refused)?;
            }
            let mut netlink = Netlink::open().map_err(system)?;
            netlink.delete_link(TUNNEL).map(drop).map_err(system)
        }
        Dataplane::Ovs => selvage_ovs::remove(&ovs_config(args, host)).map_err(refused),
    }
}

/// Removes what the data plane of the agent `host` has pinned, where its namespace is gone.
pub fn remove_pins(host: &str) -> Result<(), Failure> {
    match std::fs::remove_dir_all(pin_dir(host)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let dir = pin_dir(host);
            Err(Failure::new(Kind::Failed, format!("cannot remove `{}`: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}

fn ovs_config(args: &Args, host: &str) -> selvage_ovs::Config {
    selvage_ovs::Config {
        database: args.ovs_db.clone(),
        bridge: args.ovs_bridge.clone(),
        owner: host.to_owned(),
        datapath: args.ovs_datapath.clone(),
        tunnel: args.tunnel_address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
        underlay: args.ovs_underlay.clone(),
    }
}

fn pin_dir(host: &str) -> PathBuf {
    Path::new(bpffs::PATH).join("selvage").join(host)
}
