//! Hosts and endpoints in network namespaces, joined by an underlay, each host with a data plane of
//! its own: whichever a [`Kind`] opens. Everything is named after this process and taken down on drop.
//!
//! [`matrix`], [`life`] and [`outside`] are what every data plane has to show by packets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test whose fabric cannot be made fails by panicking"
)]

mod hosts;
pub mod life;
pub mod matrix;
pub mod outside;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selvage_agent::datapath::{Datapath, Port};
use selvage_agent::untreated::untreated;
use selvage_host::{NetNs, Netlink, Route, Veth, bpffs, fill_checksums, sysctl};
use selvage_rules::{
    BdId, ClassId, Desired, Encapsulation, Endpoint, EndpointId, GroupId, GroupKey, Local, Mac,
    Reason, Remote, Revision, Source, Table,
};

use crate::policy::SCOPE;
use crate::talk;

pub use hosts::{Ground, Host};

/// Which data plane a host has, and how it is opened.
pub trait Kind: Send {
    /// The data plane.
    type Plane: Datapath + ?Sized;

    /// Opens it, or opens it again over what it left. Called in the host's namespace.
    fn open(&mut self, ground: Ground<'_>) -> Box<Self::Plane>;

    /// Links are to carry packets as a wire does: cut to size, checksums filled in.
    fn is_like_a_wire(&self) -> bool {
        false
    }
}

/// What is special about a rig.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The workloads' links stay down: no packet but those that a test makes.
    pub silent: bool,
    /// Hosts reach each other over IPv6.
    pub underlay_v6: bool,
    /// How hosts speak to each other; `None`: as both can.
    pub speaks: Option<Encapsulation>,
}

/// An endpoint to be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub name: &'static str,
    /// The number of its host.
    pub host: usize,
    /// Its bridge domain.
    pub bd: BdId,
    /// Its class.
    pub class: ClassId,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

/// An endpoint.
#[derive(Debug)]
pub struct Workload {
    /// What it was made of.
    pub wanted: Wanted,
    /// Its namespace.
    pub space: Space,
    /// What hosts know of it.
    pub endpoint: Endpoint,
    /// The host's end of its link.
    pub port: Port,
    /// Cleared to keep it in quarantine.
    pub bound: bool,
}

/// Hosts, endpoints, and the table that is in force.
pub struct Rig<K: Kind> {
    /// The hosts: one, or two that are joined.
    pub hosts: Vec<Host<K>>,
    /// The endpoints, by name.
    pub workloads: BTreeMap<&'static str, Workload>,
    /// What [`Rig::apply`] applies.
    pub table: Table,
    /// The last that was applied.
    pub revision: u64,
    options: Options,
}

/// A namespace that goes with its name.
#[derive(Debug)]
pub struct Space {
    /// Its name.
    pub name: String,
    /// Itself.
    pub ns: NetNs,
}

impl Space {
    /// A new one, whose name says what it is.
    pub fn new(what: &str) -> Space {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let name = format!("svp{}{what}{number}", std::process::id());
        let ns = NetNs::create(&name).unwrap();
        Space { name, ns }
    }

    /// Runs a command inside, and gives what it prints.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments);
        self.ns.enter(&mut command).unwrap();
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = NetNs::delete(&self.name);
    }
}

/// Says loudly why nothing can be shown here, instead of failing obscurely later.
pub fn require_root() {
    let root = nix::unistd::geteuid().is_root();
    assert!(root, "the packet tests need root (network namespaces, BPF)");
    bpffs::ensure(bpffs::PATH).unwrap();
}

impl<K: Kind> Rig<K> {
    /// Hosts of these kinds with their underlay, `wanted` endpoints, and `table` applied everywhere.
    pub fn new(kinds: impl IntoIterator<Item = K>, wanted: &[Wanted], table: Table) -> Rig<K> {
        Rig::with(kinds, wanted, table, Options::default())
    }

    /// The same with options.
    pub fn with(
        kinds: impl IntoIterator<Item = K>,
        wanted: &[Wanted],
        table: Table,
        options: Options,
    ) -> Rig<K> {
        require_root();
        let hosts = hosts::make(kinds.into_iter().collect(), options);
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
        if host.plane.reads_bytes() {
            fill_checksums(&space.ns, "eth0").unwrap();
        }
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
        let can = self.hosts[at].plane.encapsulations();
        let others = || self.hosts.iter().enumerate().filter(|(number, _)| *number != at);
        let speaks = |host: &Host<K>| {
            let both = Encapsulation::between(&can, &host.plane.encapsulations());
            Some((host.tunnel, self.options.speaks.or(both)?))
        };
        let mut desired = Desired {
            revision: Revision(self.revision),
            table: self.table.clone(),
            tunnels: others().filter_map(|(_, host)| speaks(host)).collect(),
            sources: self.sources(),
            node: Some(hosts::node_of(at)),
            nodes: others().map(|(at, host)| (hosts::node_of(at), host.tunnel)).collect(),
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

    /// The groups of the workloads, by a number that is no class's, and those outside.
    fn sources(&self) -> BTreeMap<GroupId, Source> {
        let inside = self.workloads.values().map(|workload| {
            let Wanted { bd, class, .. } = workload.wanted;
            (group_of(class), Source { key: GroupKey { scope: SCOPE, class }, bd: Some(bd) })
        });
        let outside = self.table.outside.iter().flat_map(|(scope, outside)| {
            outside.groups.values().map(|group| {
                let key = GroupKey { scope: *scope, class: group.source };
                (group.encap, Source { key, bd: None })
            })
        });
        inside.chain(outside).collect()
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
        self.hosts[at].restart();
    }

    /// The endpoint of this name.
    pub fn of(&self, name: &str) -> &Workload {
        &self.workloads[name]
    }

    /// Packets with this reason, over all hosts.
    pub fn packets(&mut self, reason: Reason) -> u64 {
        let counters = self.hosts.iter_mut().map(|host| {
            let host: &mut Host<K> = host;
            host.space.ns.run(|| host.plane.counters()).unwrap().unwrap()
        });
        counters.filter_map(|counters| counters.reasons.get(&reason).map(|c| c.packets)).sum()
    }
}

impl<K: Kind> Rig<K> {
    /// Waits until more than `than` packets were counted with this reason: some planes count late.
    pub fn counts_more(&mut self, reason: Reason, than: u64) {
        let mut held = 0;
        let deadline = Instant::now() + Duration::from_secs(10);
        while held <= than {
            assert!(Instant::now() < deadline, "{held} packets are counted as {reason}");
            held = self.packets(reason);
        }
    }
}

impl<K: Kind> Drop for Rig<K> {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.plane.flush();
        }
    }
}

/// The fabric-wide number of the group of this class.
pub fn group_of(class: ClassId) -> GroupId {
    GroupId(u32::from(class.0) + 100_000)
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
    /// Its first address of a family.
    pub fn ip(&self, v6: bool) -> IpAddr {
        *self.endpoint.ips.iter().find(|ip| ip.is_ipv6() == v6).unwrap()
    }

    /// Answers on TCP and UDP ports with what it is sent, until the process ends.
    pub fn serve(&self, tcp: &[u16], udp: &[u16]) {
        talk::serve(&self.space.ns, tcp, udp).unwrap();
    }

    /// A connection, if one comes about in time.
    pub fn connect(&self, to: SocketAddr, patience: Duration) -> Option<TcpStream> {
        talk::connect(&self.space.ns, to, patience)
    }

    /// Whether a datagram comes back.
    pub fn ask_udp(&self, to: SocketAddr, patience: Duration) -> bool {
        talk::ask_udp(&self.space.ns, to, patience).unwrap()
    }

    /// Whether an echo request is answered.
    pub fn ping(&self, to: IpAddr, patience: Duration) -> bool {
        talk::ping(&self.space.ns, to, patience).unwrap()
    }

    /// A socket that may speak and listen at this port of its IPv4 address, whose buffer holds
    /// whatever comes while its reader is not let run.
    pub fn roomy_socket(&self, port: u16) -> UdpSocket {
        use nix::sys::socket::{setsockopt, sockopt};
        let at = SocketAddr::new(self.ip(false), port);
        let socket = self.space.ns.run(|| UdpSocket::bind(at)).unwrap().unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket
    }

    /// Sends a few datagrams from an address of its choice.
    pub fn send_from(&self, from: SocketAddr, to: SocketAddr) {
        let socket = self.space.ns.run(|| UdpSocket::bind(from)).unwrap().unwrap();
        for _ in 0..10 {
            let _ = socket.send_to(b"hello", to);
            thread::sleep(Duration::from_millis(20));
        }
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
