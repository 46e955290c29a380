//! What the caller decides about the data plane.

use std::net::IpAddr;
use std::path::PathBuf;

/// How the data plane is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where its maps and links are pinned; on bpffs. One directory for each agent.
    pub pin_dir: PathBuf,
    /// This host's tunnel address. Its family is that of the whole underlay.
    pub tunnel: IpAddr,
    /// Interface index of the vxlan device (`external gbp`); `None` reaches no other host.
    pub overlay: Option<u32>,
    /// How much the maps hold.
    pub sizes: Sizes,
    /// Connections that may be charged to one endpoint.
    pub connections_per_endpoint: u32,
    /// Events each CPU raises each second for each reason; more are counted as lost.
    pub events_per_second: u32,
}

impl Config {
    /// With the usual sizes.
    pub fn new(pin_dir: impl Into<PathBuf>, tunnel: IpAddr, overlay: Option<u32>) -> Config {
        Config {
            pin_dir: pin_dir.into(),
            tunnel,
            overlay,
            sizes: Sizes::default(),
            connections_per_endpoint: 16384,
            events_per_second: 1000,
        }
    }
}

/// How many entries each map holds at most. Counts for maps that are made; one that is pinned
/// already keeps the size it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Local endpoints.
    pub ports: u32,
    /// Endpoints of all hosts, by address and by MAC.
    pub endpoints: u32,
    /// Bridge domains and VRFs.
    pub networks: u32,
    /// Hosts of the fabric.
    pub tunnels: u32,
    /// Prefixes outside.
    pub prefixes: u32,
    /// Groups that may send to this host.
    pub sources: u32,
    /// Class pairs.
    pub pairs: u32,
    /// Rules of all sets together, and different rules.
    pub rules: u32,
    /// Tracked connections. About 170 bytes each, taken at once.
    pub connections: u32,
    /// Bytes of the event ring; a power of two, at least a page.
    pub event_bytes: u32,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            ports: 4096,
            endpoints: 262_144,
            networks: 16_384,
            tunnels: 16_384,
            prefixes: 65_536,
            sources: 65_536,
            pairs: 262_144,
            rules: 65_536,
            connections: 131_072,
            event_bytes: 1 << 20,
        }
    }
}

impl Sizes {
    /// What made-up packets write to: nobody reads their counts, and they have few connections.
    pub(crate) const REHEARSAL: Sizes = Sizes {
        ports: 1,
        endpoints: 1,
        networks: 1,
        tunnels: 1,
        prefixes: 1,
        sources: 1,
        pairs: 1,
        rules: 1,
        connections: 64,
        event_bytes: 4096,
    };

    /// Of the map with this name, if its size is to choose.
    pub(crate) fn of(&self, map: &str) -> Option<u32> {
        Some(match map {
            "ports" | "connection_counts" => self.ports,
            "endpoints_by_ip" | "endpoints_by_mac" => self.endpoints,
            "networks" => self.networks,
            "tunnels" => self.tunnels,
            "outside" => self.prefixes,
            "sources" | "group_vnis" => self.sources,
            "pairs" => self.pairs,
            "rules" | "rule_counters" => self.rules,
            "connections" => self.connections,
            "events" => self.event_bytes,
            _ => return None,
        })
    }
}
