//! What the caller decides about the data plane.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How the data plane is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The socket of the switch's database. The bridge's socket is beside it.
    pub database: PathBuf,
    /// Name of the bridge: 1 to 13 bytes, since two more links are named after it. It is ours alone;
    /// one that is not is never touched.
    pub bridge: String,
    /// Whose it is: the agent's name.
    pub owner: String,
    /// `netdev` is Open vSwitch's own datapath, `system` the kernel's.
    pub datapath: String,
    /// This host's tunnel address.
    pub tunnel: IpAddr,
    /// The link that has the tunnel address, which a bridge of ours is to share with the kernel. Open
    /// vSwitch's own datapath can tunnel only by a link that it has; `None` where it has one already,
    /// or where the kernel tunnels.
    pub underlay: Option<String>,
}

impl Config {
    /// Where the bridge `name` listens.
    pub fn socket(&self, name: &str) -> PathBuf {
        let folder = self.database.parent().unwrap_or(Path::new("/"));
        folder.join(format!("{name}.mgmt"))
    }

    /// Name of the tunnel port.
    pub fn tunnel_port(&self) -> String {
        format!("{}-t", self.bridge)
    }

    /// Name of the bridge that has the underlay's link.
    pub fn underlay_bridge(&self) -> String {
        format!("{}-u", self.bridge)
    }
}
