//! Hosts and endpoints in network namespaces, joined by an underlay, each host with its own data
//! plane. Everything is named after this process and taken down on drop.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selvage_agent::datapath::{Datapath, Port};
use selvage_agent::untreated::untreated;
use selvage_ebpf::{Config, Ebpf};
use selvage_host::{Change, NetNs, Netlink, Route, Veth, Vxlan, bpffs, sysctl};
use selvage_rules::{
    BdId, ClassId, Desired, Encapsulation, Endpoint, EndpointId, GroupId, GroupKey, Local, Mac,
    NodeId, Reason, Remote, Revision, Source, Table,
};
use selvage_testkit::talk;

use crate::policy::SCOPE;

/// Says loudly why nothing can be shown here, instead of failing obscurely later.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "the packet tests need root (network namespaces, BPF)"
    );
    bpffs::ensure(bpffs::PATH).expect("bpffs");
}

static NEXT: AtomicU32 = AtomicU32::new(0);

fn fresh_name(what: &str) -> String {
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("svp{}{what}{number}", std::process::id())
}

/// A namespace that goes with its name.
pub struct Space {
    pub name: String,
    pub ns: NetNs,
}

impl Space {
    pub fn new(what: &str) -> Space {
        let name = fresh_name(what);
        let ns = NetNs::create(&name).unwrap();
        Space { name, ns }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = NetNs::delete(&self.name);
    }
}

/// An endpoint to be made.
#[derive(Clone)]
pub struct Wanted {
    pub name: &'static str,
    pub host: usize,
    pub bd: BdId,
    pub class: ClassId,
    pub ips: Vec<IpAddr>,
}

pub struct Workload {
    pub wanted: Wanted,
    pub space: Space,
    pub endpoint: Endpoint,
    pub port: Port,
    /// Cleared to keep it in quarantine.
    pub bound: bool,
}

pub struct Host {
    pub space: Space,
    pub tunnel: IpAddr,
    pub plane: Ebpf,
    pub config: Config,
}

pub struct Rig {
    pub hosts: Vec<Host>,
    pub workloads: BTreeMap<&'static str, Workload>,
    pub table: Table,
    pub revision: u64,
    options: Options,
}

/// What is special about a rig.
#[derive(Clone, Copy)]
pub struct Options {
    /// The workloads' links stay down: no packet but those that a test makes.
    pub silent: bool,
    /// Hosts reach each other over IPv6.
    pub underlay_v6: bool,
    /// How hosts speak to each other.
    pub speaks: Encapsulation,
    /// Changes the data planes' configuration.
    pub configure: fn(&mut Config),
}

impl Default for Options {
    fn default() -> Options {
        Options::USUAL
    }
}

impl Options {
    /// Stacks do what they do.
    pub const USUAL: Options = Options {
        silent: false,
        underlay_v6: false,
        speaks: Encapsulation::Gbp,
        configure: |_| {},
    };

    /// No stack sends anything.
    pub const SILENT: Options = Options { silent: true, ..Options::USUAL };
}

/// The groups of these workloads, by a number that is no class's.
fn sources<'a>(workloads: impl Iterator<Item = &'a Workload>) -> BTreeMap<GroupId, Source> {
    let source = |workload: &Workload| {
        let Wanted { bd, class, .. } = workload.wanted;
        let key = GroupKey { scope: SCOPE, class };
        (GroupId(u32::from(class.0) + 100_000), Source { key, bd: Some(bd) })
    };
    workloads.map(source).collect()
}

impl Rig {
    /// `hosts` hosts with their underlay, `wanted` endpoints, and `table` applied everywhere.
    pub fn new(hosts: usize, wanted: &[Wanted], table: Table) -> Rig {
        Rig::with(hosts, wanted, table, Options::default())
    }

    pub fn with(hosts: usize, wanted: &[Wanted], table: Table, options: Options) -> Rig {
        require_root();
        let spaces: Vec<Space> = (0..hosts).map(|_| Space::new("h")).collect();
        let hosts = make_hosts(spaces, options);
        let mut rig = Rig { hosts, workloads: BTreeMap::new(), table, revision: 0, options };
        for (number, wanted) in (1..).zip(wanted) {
            rig.add(number, wanted.clone());
        }
        rig.apply();
        rig
    }

    fn add(&mut self, number: u8, wanted: Wanted) {
        let host = &mut self.hosts[wanted.host];
        let space = Space::new("w");
        let mac = Mac([2, 0x5e, 0, 0, 0, number]);
        let name = format!("sv{number:08x}");
        let mut link = Netlink::open_in(&host.space.ns).unwrap();
        let veth = Veth {
            name: &name,
            mac: None,
            peer: "eth0",
            peer_mac: Some(mac),
            peer_namespace: Some(&space.ns),
            mtu: 1450,
            group: 0,
        };
        let ifindex = link.create_veth(&veth).unwrap();
        let port = Port { ifindex, name: name.clone() };
        host.space.ns.run(|| host.plane.attach_port(&port)).unwrap().unwrap();
        if !self.options.silent {
            sysctl::silence_ipv6(&host.space.ns, &name).unwrap();
            link.set_up(&name).unwrap();
            configure_workload(&space.ns, &wanted.ips, &self.table, wanted.bd);
        }
        let endpoint =
            Endpoint { bd: wanted.bd, class: wanted.class, mac, ips: wanted.ips.clone() };
        let workload = Workload { space, endpoint, port, bound: true, wanted };
        self.workloads.insert(workload.wanted.name, workload);
    }

    /// What host `at` is to enforce.
    pub fn desired(&self, at: usize) -> Desired {
        let mut desired = Desired {
            revision: Revision(self.revision),
            table: self.table.clone(),
            tunnels: self.hosts.iter().map(|host| (host.tunnel, self.options.speaks)).collect(),
            sources: sources(self.workloads.values()),
            node: Some(node_of(at)),
            ..Desired::default()
        };
        for (other, host) in self.hosts.iter().enumerate().filter(|(other, _)| *other != at) {
            desired.nodes.insert(node_of(other), host.tunnel);
        }
        for workload in self.workloads.values() {
            let id = EndpointId(workload.wanted.name.into());
            let endpoint = workload.endpoint.clone();
            if workload.wanted.host == at {
                let endpoint = workload.bound.then_some(endpoint);
                desired.locals.insert(id, Local { ifindex: workload.port.ifindex, endpoint });
            } else if workload.bound {
                let tunnel = self.hosts[workload.wanted.host].tunnel;
                desired.remotes.insert(id, Remote { endpoint, tunnel });
            }
        }
        desired
    }

    /// Applies the table and endpoints, as they are now, on every host.
    pub fn apply(&mut self) {
        self.revision += 1;
        for at in 0..self.hosts.len() {
            let desired = self.desired(at);
            let host = &mut self.hosts[at];
            let applied = host.space.ns.run(|| host.plane.apply(&desired)).unwrap().unwrap();
            assert_eq!(applied.revision, desired.revision);
            assert_eq!(applied.unsupported, untreated(&desired.table, host.plane.name()));
        }
    }

    /// Ends the data plane's process, so to speak, and starts it again over its pins.
    pub fn restart(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let config = host.config.clone();
        host.plane = host.space.ns.run(|| Ebpf::open(config)).unwrap().unwrap();
    }

    pub fn of(&self, name: &str) -> &Workload {
        &self.workloads[name]
    }

    /// Packets with this reason, over all hosts.
    pub fn packets(&mut self, reason: Reason) -> u64 {
        self.hosts
            .iter_mut()
            .map(|host| host.plane.counters().unwrap())
            .filter_map(|counters| counters.reasons.get(&reason).map(|count| count.packets))
            .sum()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.plane.flush();
        }
    }
}

/// One bridge-less underlay: the first host's end of a veth to each other host.
fn make_hosts(spaces: Vec<Space>, options: Options) -> Vec<Host> {
    for (number, space) in spaces.iter().enumerate().skip(1) {
        let mut first = Netlink::open_in(&spaces[0].ns).unwrap();
        let near = format!("under{number}");
        let veth = Veth {
            name: &near,
            mac: None,
            peer: "under0",
            peer_mac: None,
            peer_namespace: Some(&space.ns),
            mtu: 1600,
            group: 0,
        };
        first.create_veth(&veth).unwrap();
        first.set_up(&near).unwrap();
        let mut other = Netlink::open_in(&space.ns).unwrap();
        other.set_up("under0").unwrap();
        let near = first.index_of(&near).unwrap();
        let far = other.index_of("under0").unwrap();
        let (here, there) = (tunnel_of(0, options), tunnel_of(number, options));
        let len = if options.underlay_v6 { 128 } else { 32 };
        first.add_address(near, here, len).unwrap();
        other.add_address(far, there, len).unwrap();
        first.add_route(near, Route::on_link(there, len)).unwrap();
        other.add_route(far, Route::on_link(here, len)).unwrap();
    }
    let make = |(number, space): (usize, Space)| {
        let mut link = Netlink::open_in(&space.ns).unwrap();
        let overlay = link.ensure_vxlan(&Vxlan { name: "svtun", port: 4789, mtu: 1450 }).unwrap();
        link.change(overlay, Change { up: Some(true), ..Change::default() }).unwrap();
        let pins = PathBuf::from(bpffs::PATH).join("selvage").join(&space.name);
        let mut config = Config::new(pins, tunnel_of(number, options), Some(overlay));
        config.sizes.connections = 4096;
        config.sizes.endpoints = 1024;
        config.sizes.pairs = 1024;
        config.sizes.rules = 8192;
        (options.configure)(&mut config);
        let copy = config.clone();
        let plane = space.ns.run(|| Ebpf::open(copy)).unwrap().unwrap();
        Host { space, tunnel: tunnel_of(number, options), plane, config }
    };
    spaces.into_iter().enumerate().map(make).collect()
}

/// Hosts are numbered as a fabric's leaves are: from 101.
fn node_of(host: usize) -> NodeId {
    NodeId(101 + u16::try_from(host).unwrap())
}

fn tunnel_of(host: usize, options: Options) -> IpAddr {
    let last = u8::try_from(host + 1).unwrap();
    if options.underlay_v6 {
        return IpAddr::from([0x2001, 0xdb8, 0xff, 0, 0, 0, 0, u16::from(last)]);
    }
    IpAddr::from([192, 0, 2, last])
}

fn configure_workload(ns: &NetNs, ips: &[IpAddr], table: &Table, bd: BdId) {
    let mut link = Netlink::open_in(ns).unwrap();
    let index = link.index_of("eth0").unwrap();
    link.set_up("eth0").unwrap();
    let gateways = &table.bridge_domains[&bd].gateways;
    for ip in ips {
        let len = if ip.is_ipv4() { 24 } else { 64 };
        link.add_address(index, *ip, len).unwrap();
    }
    for gateway in gateways {
        if ips.iter().any(|ip| ip.is_ipv4() == gateway.ip.is_ipv4()) {
            link.add_route(index, Route::default_via(gateway.ip)).unwrap();
        }
    }
}

impl Workload {
    pub fn ip(&self, v6: bool) -> IpAddr {
        *self.endpoint.ips.iter().find(|ip| ip.is_ipv6() == v6).unwrap()
    }

    /// Answers on TCP and UDP ports with what it is sent, until the process ends.
    pub fn serve(&self, tcp: &[u16], udp: &[u16]) {
        talk::serve(&self.space.ns, tcp, udp).unwrap();
    }

    pub fn connect(&self, to: SocketAddr, patience: Duration) -> Option<TcpStream> {
        talk::connect(&self.space.ns, to, patience)
    }

    pub fn ask_udp(&self, to: SocketAddr, patience: Duration) -> bool {
        talk::ask_udp(&self.space.ns, to, patience).unwrap()
    }

    pub fn ping(&self, to: IpAddr, patience: Duration) -> bool {
        talk::ping(&self.space.ns, to, patience).unwrap()
    }
}

/// Waits until `done` holds; gives up loudly, with `dump`.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool, dump: impl FnOnce() -> String) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}\n{}", dump());
        thread::sleep(Duration::from_millis(10));
    }
}
