//! Hosts that are namespaces, agents that are processes, workloads that are namespaces.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvage_agent::local::{
    Attach, Detach, DropView, Drops, EndpointView, Nothing, Refusal, Request, Response, StatusView,
};
use selvage_host::probe::{self, Feature};
use selvage_host::{Change, NetNs, Netlink, Veth, fill_checksums};
use selvage_rules::EndpointId;
use selvage_testkit::ovs::Ovs;
use selvage_testkit::probe::{Outcome, What};

/// How long anything may take on a machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` gives something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => {
                panic!("{what}: not after {} s, but: {seen}", PATIENCE.as_secs())
            }
            Err(_) => std::thread::park_timeout(Duration::from_millis(10)),
        }
    }
}

/// A namespace that goes when this does.
pub struct Space {
    pub name: String,
    pub ns: NetNs,
}

impl Space {
    pub fn new(what: &str) -> Space {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("svag{}-{number}-{what}", std::process::id());
        let ns = NetNs::create(&name).unwrap();
        Space { name, ns }
    }

    /// What came of an echo request to `to`.
    pub fn pings(&self, to: IpAddr) -> bool {
        let patience = Duration::from_secs(1);
        let outcomes =
            selvage_testkit::probe::probe(self.ns.path(), &[(to, What::Ping)], patience).unwrap();
        matches!(outcomes[0], Outcome::Reached { .. })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = NetNs::delete(&self.name);
    }
}

/// Which data plane a host's agent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    Ebpf,
    Ovs,
}

/// Two hosts on one wire, with eBPF.
pub fn two_hosts() -> (Host, Host) {
    two_hosts_with([Plane::Ebpf; 2])
}

/// Two hosts on one wire.
pub fn two_hosts_with(planes: [Plane; 2]) -> (Host, Host) {
    probe::require(Feature::AGENT).unwrap_or_else(|lack| panic!("this test cannot run: {lack}"));
    let (one, two) = (Host::new("h1", 1, planes[0]), Host::new("h2", 2, planes[1]));
    let mut near = Netlink::open_in(&one.space.ns).unwrap();
    let mut far = Netlink::open_in(&two.space.ns).unwrap();
    let veth = Veth {
        name: "under0",
        mac: None,
        peer: "under0",
        peer_mac: None,
        peer_namespace: Some(&two.space.ns),
        mtu: 1500,
        group: 0,
    };
    near.create_veth(&veth).unwrap();
    for (netlink, host) in [(&mut near, &one), (&mut far, &two)] {
        let index = netlink.index_of("under0").unwrap();
        netlink.change(index, Change { up: Some(true), ..Change::default() }).unwrap();
        netlink.add_address(index, host.tunnel, 24).unwrap();
        // What leaves a machine by a wire has its checksums, and switches rely on it.
        if planes.contains(&Plane::Ovs) {
            fill_checksums(&host.space.ns, "under0").unwrap();
        }
    }
    (one, two)
}

/// A host, with or without a running agent.
pub struct Host {
    pub name: String,
    pub space: Space,
    pub tunnel: IpAddr,
    /// Of a host with Open vSwitch.
    pub switch: Option<Ovs>,
    node: u8,
    dir: tempfile::TempDir,
    controller: Option<SocketAddr>,
    agent: Option<Child>,
}

impl Host {
    fn new(name: &str, number: u8, plane: Plane) -> Host {
        let space = Space::new(name);
        let switch = (plane == Plane::Ovs).then(|| Ovs::start(&space.ns).unwrap());
        Host {
            switch,
            // Pins are by agent name, and other tests have hosts too.
            name: space.name.clone(),
            space,
            tunnel: Ipv4Addr::new(192, 0, 2, number).into(),
            node: 100 + number,
            dir: tempfile::tempdir().unwrap(),
            controller: None,
            agent: None,
        }
    }

    pub fn pins(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf/selvage").join(&self.name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The agent's command line.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
        let controller = self.controller.unwrap_or(SocketAddr::new(self.tunnel, 8009));
        command
            .args(["agent", "--name", &self.name, "--controller", &controller.to_string()])
            .args(["--tunnel-address", &self.tunnel.to_string(), "--netns", &self.space.name])
            .args(["--node-id", &self.node.to_string()])
            .arg("--run-dir")
            .arg(self.dir.path())
            .arg("--state-dir")
            .arg(self.state_dir());
        let socket = self.plugins().join("selvage.sock");
        command.arg(format!("--docker-socket={}", socket.display()));
        if let Some(switch) = &self.switch {
            command.args(["--dataplane", "ovs", "--ovs-datapath", "netdev"]);
            command.args(["--ovs-underlay", "under0", "--ovs-db"]).arg(switch.database());
        }
        command
    }

    /// Where its agent serves Docker's plugin.
    pub fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// Starts the agent and waits until it answers.
    pub fn start(&mut self, controller: SocketAddr) {
        self.controller = Some(controller);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.agent = Some(command.spawn().unwrap());
        eventually("the agent answers", || self.try_status().map_err(|e| e + "\n" + &self.log()));
    }

    /// Kills the agent: it gets no chance to do anything.
    pub fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Asks the agent to stop; gives whether it did so in good order.
    pub fn stop(&mut self) -> bool {
        let mut agent = self.agent.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(agent.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        agent.wait().unwrap().success()
    }

    /// Removes what the agent leaves.
    pub fn uninstall(&self) {
        let output = self.command().arg("--uninstall").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn ask_lines(&self, request: &Request) -> Result<Vec<Response>, String> {
        let mut stream = UnixStream::connect(self.socket()).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let line = serde_json::to_string(request).unwrap();
        writeln!(stream, "{line}").map_err(|e| e.to_string())?;
        let mut answers = Vec::new();
        for line in BufReader::new(stream).lines() {
            let answer = serde_json::from_str(&line.map_err(|e| e.to_string())?).unwrap();
            if matches!(answer, Response::End(_)) {
                return Ok(answers);
            }
            let more = matches!(answer, Response::Drop(_));
            answers.push(answer);
            if !more {
                return Ok(answers);
            }
        }
        Err("the agent closed the connection".to_owned())
    }

    pub fn ask(&self, request: &Request) -> Response {
        let answers = self.ask_lines(request);
        let answers = answers.unwrap_or_else(|e| panic!("{e}\n{}", self.log()));
        answers.into_iter().next().unwrap()
    }

    pub fn attach(&self, id: &str, epg: &str, space: &Space) -> Result<EndpointView, Refusal> {
        let request = Request::Attach(Attach {
            id: EndpointId(id.into()),
            epg: epg.into(),
            netns: space.ns.path().to_owned(),
            ifname: "eth0".into(),
            ip: Vec::new(),
            mac: None,
            from: Vec::new(),
            handover: false,
            timeout_ms: Some(30_000),
        });
        match self.ask(&request) {
            Response::Attached(view) => Ok(*view),
            Response::Error(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub fn detach(&self, id: &str) {
        let request = Request::Detach(Detach { id: EndpointId(id.into()) });
        let answer = self.ask(&request);
        assert!(matches!(answer, Response::Detached(_)), "{answer:?}\n{}", self.log());
    }

    pub fn list(&self) -> Vec<EndpointView> {
        match self.ask(&Request::List(Nothing {})) {
            Response::Endpoints(list) => list,
            other => panic!("{other:?}"),
        }
    }

    fn try_status(&self) -> Result<StatusView, String> {
        match self.ask_lines(&Request::Status(Nothing {}))?.into_iter().next() {
            Some(Response::Status(status)) => Ok(*status),
            other => Err(format!("{other:?}")),
        }
    }

    pub fn status(&self) -> StatusView {
        self.try_status().unwrap_or_else(|e| panic!("{e}\n{}", self.log()))
    }

    pub fn drops(&self) -> Vec<DropView> {
        let answers = self.ask_lines(&Request::Drops(Drops { follow: false })).unwrap();
        let drop = |answer| match answer {
            Response::Drop(drop) => Some(*drop),
            _ => None,
        };
        answers.into_iter().filter_map(drop).collect()
    }

    /// Host ends of endpoints' links.
    pub fn links(&self) -> Vec<String> {
        let mut netlink = Netlink::open_in(&self.space.ns).unwrap();
        let links = netlink.links("sv").unwrap();
        links.into_iter().filter(|link| link.kind == "veth").map(|link| link.name).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        let _ = self.command().arg("--uninstall").output();
    }
}
