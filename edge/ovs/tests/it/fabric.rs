//! Hosts and endpoints in network namespaces, joined by an underlay, each host with a data plane of
//! its own: Open vSwitch, or eBPF beside it. Everything is named after this process and taken down on
//! drop.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selvage_agent::datapath::{Datapath, Port};
use selvage_agent::untreated::untreated;
use selvage_ebpf::Ebpf;
use selvage_host::{Change, NetNs, Netlink, Route, Veth, Vxlan, bpffs, fill_checksums, sysctl};
use selvage_ovs::Ovs;
use selvage_rules::{
    BdId, ClassId, Desired, Encapsulation, Endpoint, EndpointId, GroupId, GroupKey, Local, Mac,
    Reason, Remote, Revision, Source, Table,
};
use selvage_testkit::ovs::Ovs as Switch;
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
    fn new(what: &str) -> Space {
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

/// Which data plane a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ovs,
    Ebpf,
}

pub struct Host {
    pub plane: Box<dyn Datapath>,
    /// Of a host with Open vSwitch.
    pub switch: Option<Switch>,
    pub space: Space,
    pub tunnel: IpAddr,
}

pub struct Rig {
    pub hosts: Vec<Host>,
    pub workloads: BTreeMap<&'static str, Workload>,
    pub table: Table,
    pub revision: u64,
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
    /// Hosts of these kinds with their underlay, `wanted` endpoints, and `table` applied everywhere.
    pub fn new(kinds: &[Kind], wanted: &[Wanted], table: Table) -> Rig {
        require_root();
        let spaces: Vec<Space> = kinds.iter().map(|_| Space::new("h")).collect();
        let hosts = make_hosts(spaces, kinds);
        let mut rig = Rig { hosts, workloads: BTreeMap::new(), table, revision: 0 };
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
        fill_checksums(&space.ns, "eth0").unwrap();
        sysctl::silence_ipv6(&host.space.ns, &name).unwrap();
        link.set_up(&name).unwrap();
        configure_workload(&space.ns, &wanted.ips, &self.table, wanted.bd);
        let endpoint =
            Endpoint { bd: wanted.bd, class: wanted.class, mac, ips: wanted.ips.clone() };
        let workload = Workload { space, endpoint, port, bound: true, wanted };
        self.workloads.insert(workload.wanted.name, workload);
    }

    /// What host `at` is to enforce.
    pub fn desired(&self, at: usize) -> Desired {
        let can = self.hosts[at].plane.encapsulations();
        let speaks = |host: &Host| {
            Some((host.tunnel, Encapsulation::between(&can, &host.plane.encapsulations())?))
        };
        let others = self.hosts.iter().enumerate().filter(|(number, _)| *number != at);
        let mut desired = Desired {
            revision: Revision(self.revision),
            table: self.table.clone(),
            tunnels: others.filter_map(|(_, host)| speaks(host)).collect(),
            sources: sources(self.workloads.values()),
            ..Desired::default()
        };
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

    /// Ends the data plane's process, so to speak, and starts it again over what it left.
    pub fn restart(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let link = underlay_of(at, 2);
        let switch = host.switch.as_ref().unwrap();
        let config = config(&host.space, switch, host.tunnel, &link);
        host.plane = Box::new(host.space.ns.run(|| Ovs::open(config)).unwrap().unwrap());
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

/// Two hosts joined by a link, or one with a link that leads nowhere.
fn make_hosts(spaces: Vec<Space>, kinds: &[Kind]) -> Vec<Host> {
    let count = spaces.len();
    for (number, space) in spaces.iter().enumerate().skip(1) {
        let mut first = Netlink::open_in(&spaces[0].ns).unwrap();
        let (near, far) = (underlay_of(0, count), underlay_of(number, count));
        let veth = Veth {
            name: &near,
            mac: None,
            peer: &far,
            peer_mac: None,
            peer_namespace: Some(&space.ns),
            mtu: 1600,
            group: 0,
        };
        first.create_veth(&veth).unwrap();
        let mut other = Netlink::open_in(&space.ns).unwrap();
        for (link, at, name, ns) in
            [(&mut first, 0, &near, &spaces[0].ns), (&mut other, number, &far, &space.ns)]
        {
            // What leaves a machine by a wire has its checksums.
            fill_checksums(ns, name).unwrap();
            link.set_up(name).unwrap();
            let index = link.index_of(name).unwrap();
            link.add_address(index, tunnel_of(at), 24).unwrap();
        }
    }
    let make = |(number, space): (usize, Space)| {
        let tunnel = tunnel_of(number);
        let kind = kinds[number];
        if kind == Kind::Ebpf {
            let plane = Box::new(ebpf(&space, tunnel));
            return Host { plane, switch: None, space, tunnel };
        }
        let switch = Switch::start(&space.ns).unwrap();
        let link = underlay_of(number, count);
        let config = config(&space, &switch, tunnel, &link);
        let plane = Box::new(space.ns.run(|| Ovs::open(config)).unwrap().unwrap());
        Host { plane, switch: Some(switch), space, tunnel }
    };
    spaces.into_iter().enumerate().map(make).collect()
}

/// The link to the other host; nothing where there is none.
fn underlay_of(number: usize, count: usize) -> String {
    if count == 1 { String::new() } else { format!("under{number}") }
}

fn config(space: &Space, switch: &Switch, tunnel: IpAddr, link: &str) -> selvage_ovs::Config {
    selvage_ovs::Config {
        database: switch.database(),
        bridge: "svbr".to_owned(),
        owner: space.name.clone(),
        datapath: "netdev".to_owned(),
        tunnel,
        underlay: (!link.is_empty()).then(|| link.to_owned()),
    }
}

fn ebpf(space: &Space, tunnel: IpAddr) -> Ebpf {
    let mut link = Netlink::open_in(&space.ns).unwrap();
    let overlay = link.ensure_vxlan(&Vxlan { name: "svtun", port: 4789, mtu: 1450 }).unwrap();
    link.change(overlay, Change { up: Some(true), ..Change::default() }).unwrap();
    let pins = PathBuf::from(bpffs::PATH).join("selvage").join(&space.name);
    let mut config = selvage_ebpf::Config::new(pins, tunnel, Some(overlay));
    config.sizes.connections = 4096;
    config.sizes.endpoints = 1024;
    space.ns.run(|| Ebpf::open(config)).unwrap().unwrap()
}

fn tunnel_of(host: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(host + 1).unwrap()])
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

    /// Runs a command inside.
    pub fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments);
        self.space.ns.enter(&mut command).unwrap();
        assert!(command.status().unwrap().success(), "{program} {arguments:?}");
    }

    /// Sends a datagram from an address of its choice.
    pub fn send_from(&self, from: SocketAddr, to: SocketAddr) {
        let socket = self.space.ns.run(|| UdpSocket::bind(from)).unwrap().unwrap();
        for _ in 0..10 {
            let _ = socket.send_to(b"hello", to);
            thread::sleep(Duration::from_millis(20));
        }
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
