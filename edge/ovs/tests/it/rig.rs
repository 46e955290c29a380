//! A switch with one bridge, in a namespace of its own.

use std::path::PathBuf;
use std::time::Duration;

use selvage_host::NetNs;
use selvage_ovs::openflow::{Change, Connection, Flow, FlowFilter};
use selvage_ovs::ovsdb::{BridgeSpec, Client};
use selvage_testkit::ovs::Ovs;
use selvage_testkit::rig::Lab;

pub const BRIDGE: &str = "svbr";
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Rig {
    // Goes before the namespace does.
    pub ovs: Ovs,
    pub namespace: NetNs,
    _lab: Lab,
}

impl Rig {
    /// A switch without a bridge.
    pub fn bare() -> Rig {
        let mut lab = Lab::new("ovs").unwrap();
        let namespace = lab.namespace("h").unwrap();
        let ovs = Ovs::start(&namespace).unwrap();
        Rig { ovs, namespace, _lab: lab }
    }

    /// A switch with our bridge.
    pub fn new() -> Rig {
        let rig = Rig::bare();
        rig.database().ensure_bridge(&spec("h")).unwrap();
        rig
    }

    pub fn database(&self) -> Client {
        Client::connect(&self.ovs.database(), TIMEOUT).unwrap()
    }

    pub fn bridge(&self) -> Connection {
        Connection::open(&self.socket(), TIMEOUT).unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.ovs.bridge(BRIDGE)
    }
}

pub fn spec(owner: &str) -> BridgeSpec {
    BridgeSpec { name: BRIDGE.into(), owner: owner.into(), datapath: "netdev".into() }
}

/// Every flow of the bridge, sorted.
pub fn flows(connection: &mut Connection) -> Vec<Flow> {
    let stats = connection.flows(&FlowFilter::default()).unwrap();
    let mut flows: Vec<Flow> = stats.into_iter().map(|stats| stats.flow).collect();
    flows.sort();
    flows
}

pub fn add(flows: &[Flow]) -> Vec<Change> {
    flows.iter().cloned().map(Change::Add).collect()
}
