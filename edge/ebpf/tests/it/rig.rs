//! Hosts with the eBPF data plane.

use std::path::PathBuf;

use selvage_ebpf::{Config, Ebpf};
use selvage_host::{Change, Netlink, Vxlan, bpffs};
use selvage_testkit::fabric::{self, Ground, Kind};

pub use selvage_testkit::fabric::{Options, Wanted};

/// A rig of such hosts.
pub type Rig = fabric::Rig<Maps>;

/// How the data plane is opened: over its pins.
#[derive(Clone, Default)]
pub struct Maps {
    /// Changes its configuration.
    pub configure: Option<fn(&mut Config)>,
    /// That, once it was opened.
    pub config: Option<Config>,
}

impl Kind for Maps {
    type Plane = Ebpf;

    fn open(&mut self, ground: Ground<'_>) -> Box<Ebpf> {
        let configure = self.configure;
        let config = self.config.get_or_insert_with(|| config(ground, configure));
        Box::new(Ebpf::open(config.clone()).unwrap())
    }
}

fn config(ground: Ground<'_>, configure: Option<fn(&mut Config)>) -> Config {
    let mut link = Netlink::open().unwrap();
    let overlay = link.ensure_vxlan(&Vxlan { name: "svtun", port: 4789, mtu: 1450 }).unwrap();
    link.change(overlay, Change { up: Some(true), ..Change::default() }).unwrap();
    let pins = PathBuf::from(bpffs::PATH).join("selvage").join(&ground.space.name);
    let mut config = Config::new(pins, ground.tunnel, Some(overlay));
    config.sizes.connections = 4096;
    config.sizes.endpoints = 1024;
    config.sizes.pairs = 1024;
    config.sizes.rules = 8192;
    if let Some(configure) = configure {
        configure(&mut config);
    }
    config
}

/// One host.
pub fn one() -> [Maps; 1] {
    [Maps::default()]
}

/// Two hosts.
pub fn two() -> [Maps; 2] {
    [Maps::default(), Maps::default()]
}

/// One host whose stacks send nothing.
pub const SILENT: Options = Options { silent: true, underlay_v6: false, speaks: None };
