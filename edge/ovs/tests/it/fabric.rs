//! Hosts with Open vSwitch, started privately, or with eBPF beside it.

use std::path::PathBuf;

use selvage_agent::datapath::Datapath;
use selvage_ebpf::Ebpf;
use selvage_host::{NetNs, Netlink, Vxlan, bpffs};
use selvage_ovs::{Config, Ovs};
use selvage_testkit::fabric::{self, Ground};
use selvage_testkit::ovs::Ovs as Switch;

pub use selvage_testkit::fabric::{Workload, eventually};

/// A rig of such hosts.
pub type Rig = fabric::Rig<Kind>;

/// Which data plane a host has.
pub enum Kind {
    /// Open vSwitch; the switch is started when the plane is first opened.
    Ovs(Option<Switch>),
    /// eBPF.
    Ebpf,
}

/// A host with Open vSwitch.
pub const OVS: Kind = Kind::Ovs(None);

impl Kind {
    /// The switch.
    pub fn switch(&mut self) -> &mut Switch {
        match self {
            Kind::Ovs(Some(switch)) => switch,
            _ => panic!("no switch was started here"),
        }
    }
}

impl fabric::Kind for Kind {
    type Plane = dyn Datapath;

    fn open(&mut self, ground: Ground<'_>) -> Box<dyn Datapath> {
        let Kind::Ovs(switch) = self else { return Box::new(ebpf(ground)) };
        let here = NetNs::named(&ground.space.name).unwrap();
        let switch = switch.get_or_insert_with(|| Switch::start(&here).unwrap());
        Box::new(Ovs::open(config(ground, switch)).unwrap())
    }

    fn is_like_a_wire(&self) -> bool {
        matches!(self, Kind::Ovs(_))
    }
}

/// How the plane of a host is opened.
pub fn config(ground: Ground<'_>, switch: &Switch) -> Config {
    Config {
        database: switch.database(),
        bridge: "svbr".to_owned(),
        owner: ground.space.name.clone(),
        datapath: "netdev".to_owned(),
        tunnel: ground.tunnel,
        underlay: ground.link.map(str::to_owned),
    }
}

fn ebpf(ground: Ground<'_>) -> Ebpf {
    let mut link = Netlink::open().unwrap();
    let overlay = link.ensure_vxlan(&Vxlan { name: "svtun", port: 4789, mtu: 1450 }).unwrap();
    link.set_up("svtun").unwrap();
    let pins = PathBuf::from(bpffs::PATH).join("selvage").join(&ground.space.name);
    let mut config = selvage_ebpf::Config::new(pins, ground.tunnel, Some(overlay));
    config.sizes.connections = 4096;
    config.sizes.endpoints = 1024;
    Ebpf::open(config).unwrap()
}
