//! A controller, agents, and the wires between them, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use selvage_controller::{Commit, Core, Kept, Output, Stored, Write};
use selvage_model::{Changes, Dn, Post, Refusal};
use selvage_opflex::Time;
use selvage_opflex::client::{self, Client, ClientConfig, PeerId};
use selvage_opflex::ext::{Host, Location};
use selvage_opflex::server::{ConnId, ServerConfig};
use selvage_policy::number;
use selvage_rules::{Encapsulation, EndpointId, Revision, Room};

/// Where the controller says it is.
const ADDRESS: &str = "198.18.0.1:8009";
const WALL: u64 = 1_700_000_000_000;

/// What a store would hold.
#[derive(Default)]
pub struct Shelf {
    revision: Revision,
    objects: BTreeMap<String, Kept>,
    numbers: Vec<number::Row>,
}

impl Shelf {
    fn keep(&mut self, commit: &Commit) {
        self.revision = commit.revision;
        for object in &commit.objects {
            match object {
                Stored::Created(mo) | Stored::Modified(mo) => {
                    let props = mo.set_props();
                    let kept = Kept {
                        dn: mo.dn().to_string(),
                        class: mo.class().name.to_owned(),
                        props: props.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                    };
                    self.objects.insert(kept.dn.clone(), kept);
                }
                Stored::Deleted(dn) => drop(self.objects.remove(dn.as_str())),
            }
        }
        for change in &commit.numbers {
            let slot = match change {
                number::Change::Put(row) => &row.slot,
                number::Change::Delete(slot) => slot,
            };
            self.numbers.retain(|row| row.slot != *slot);
            if let number::Change::Put(row) = change {
                self.numbers.push(row.clone());
            }
        }
    }
}

/// One agent, and its connection if it has one.
pub struct Agent {
    pub client: Client,
    conn: Option<ConnId>,
    /// Bytes it was sent since somebody last looked.
    pub heard: usize,
    /// It reports what it enforces as soon as it can.
    pub acknowledges: bool,
}

pub struct World {
    pub core: Core,
    pub now: Time,
    pub agents: BTreeMap<String, Agent>,
    pub shelf: Shelf,
    conns: u64,
}

impl World {
    pub fn new() -> World {
        let shelf = Shelf::default();
        World {
            core: start(&shelf, Time(1000)),
            now: Time(1000),
            agents: BTreeMap::new(),
            shelf,
            conns: 0,
        }
    }

    /// The controller is killed and started again from what was stored.
    pub fn restart(&mut self) {
        self.core = start(&self.shelf, self.now);
        let names: Vec<String> = self.agents.keys().cloned().collect();
        for name in names {
            self.lose(&name);
            self.connect(&name);
        }
    }

    pub fn write(&mut self, write: &Write) -> Result<Changes, Vec<Refusal>> {
        let prepared = self.core.prepare(write, WALL)?;
        if let Some(commit) = &prepared.commit {
            self.shelf.keep(commit);
        }
        let changes = prepared.changes.clone();
        let outputs = self.core.publish(prepared, self.now, WALL);
        self.run(outputs);
        Ok(changes)
    }

    pub fn post(&mut self, at: &str, post: Post) -> Changes {
        let at = Some(at.parse().unwrap());
        self.write(&Write::Post { at, post }).unwrap()
    }

    pub fn delete(&mut self, dn: &str) -> Changes {
        self.write(&Write::Delete { dn: dn.parse().unwrap() }).unwrap()
    }

    /// Adds an agent, connected, its host declared.
    pub fn agent(&mut self, name: &str, tunnel: &str) {
        self.agent_with(name, tunnel, Room::default());
    }

    /// The same, of a host that holds so much policy.
    pub fn agent_with(&mut self, name: &str, tunnel: &str, room: Room) {
        let config = ClientConfig::new(name, vec![ADDRESS.to_owned()]);
        let client = Client::new(config, self.now);
        let agent = Agent { client, conn: None, heard: 0, acknowledges: true };
        self.agents.insert(name.to_owned(), agent);
        self.connect(name);
        let encapsulations = Encapsulation::ALL.into();
        let (name_of_it, tunnel) = (name.into(), tunnel.parse().unwrap());
        let host = Host { name: name_of_it, tunnel, encapsulations, node: None, room };
        self.with(name, |client, now| client.declare("host", host.to_objects(), now));
    }

    /// Attaches an endpoint: its group is resolved, its location declared.
    pub fn attach(&mut self, agent: &str, id: &str, group: &str, ip: &str) {
        self.with(agent, |client, now| client.want_group(group, now));
        let location = self.location(agent, id, group, ip);
        self.with(agent, |client, now| client.declare(id, location.to_objects(), now));
    }

    fn location(&self, agent: &str, id: &str, group: &str, ip: &str) -> Location {
        let view = self.core.view();
        let dn: Dn = group.parse().unwrap();
        let key = view.compiled.groups[&dn];
        let intent = &view.compiled.intent.groups[&dn];
        let ip: IpAddr = ip.parse().unwrap();
        let IpAddr::V4(v4) = ip else { panic!("{ip} is not IPv4") };
        let [a, b, c, d] = v4.octets();
        Location {
            agent: agent.into(),
            endpoint: EndpointId(id.into()),
            group: group.into(),
            class: key.class,
            encap: view.compiled.table.groups[&key].encap,
            bridge_domain: intent.bd.as_ref().unwrap().shared(),
            bd: view.compiled.table.groups[&key].bd.unwrap(),
            vrf: intent.vrf.shared(),
            mac: format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}").parse().unwrap(),
            ips: vec![ip],
            tunnel: "192.0.2.1".parse().unwrap(),
        }
    }

    pub fn connect(&mut self, name: &str) {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let agent = self.agents.get_mut(name).unwrap();
        agent.conn = Some(conn);
        agent.client.connected(PeerId(0), self.now);
        let outputs = self.core.connected(conn, ADDRESS, self.now, WALL);
        self.run(outputs);
    }

    /// The connection of an agent breaks.
    pub fn lose(&mut self, name: &str) {
        let agent = self.agents.get_mut(name).unwrap();
        let Some(conn) = agent.conn.take() else { return };
        agent.client.disconnected(PeerId(0), "cut", 0, self.now);
        let outputs = self.core.disconnected(conn, "cut", self.now, WALL);
        self.run(outputs);
    }

    /// Does something at an agent, and lets everything that follows happen.
    pub fn with(&mut self, agent: &str, act: impl FnOnce(&mut Client, Time)) {
        act(&mut self.agents.get_mut(agent).unwrap().client, self.now);
        self.run(Vec::new());
    }

    /// Time passes at the controller.
    pub fn pass(&mut self, millis: u64) {
        self.now = Time(self.now.0 + millis);
        let outputs = self.core.handle_timeout(self.now, WALL);
        self.run(outputs);
    }

    /// Carries bytes to and fro until all is quiet.
    fn run(&mut self, outputs: Vec<Output>) {
        let mut outputs = VecDeque::from(outputs);
        loop {
            while let Some(output) = outputs.pop_front() {
                self.deliver(output);
            }
            for (conn, bytes) in self.spoken() {
                outputs.extend(self.core.receive(conn, &bytes, self.now, WALL));
            }
            if outputs.is_empty() {
                return;
            }
        }
    }

    fn deliver(&mut self, output: Output) {
        let now = self.now;
        let found = |agents: &'_ mut BTreeMap<String, Agent>, conn| -> Option<String> {
            agents.iter().find(|(_, a)| a.conn == Some(conn)).map(|(name, _)| name.clone())
        };
        match output {
            Output::Send { conn, bytes } => {
                let Some(name) = found(&mut self.agents, conn) else { return };
                let agent = self.agents.get_mut(&name).unwrap();
                agent.heard += bytes.len();
                agent.client.receive(PeerId(0), &bytes, now);
            }
            Output::Close { conn } => {
                let Some(name) = found(&mut self.agents, conn) else { return };
                self.lose(&name);
            }
            Output::Note(_) => {}
        }
    }

    /// What the agents have to say.
    fn spoken(&mut self) -> Vec<(ConnId, Vec<u8>)> {
        let mut spoken = Vec::new();
        for agent in self.agents.values_mut() {
            while let Some(output) = agent.client.poll_output() {
                match (output, agent.conn) {
                    (client::Output::Send { bytes, .. }, Some(conn)) => spoken.push((conn, bytes)),
                    (client::Output::Event(client::Event::Revision(revision)), _)
                        if agent.acknowledges =>
                    {
                        agent.client.report_applied(revision, self.now);
                    }
                    _ => {}
                }
            }
        }
        spoken
    }
}

fn start(shelf: &Shelf, now: Time) -> Core {
    let objects = shelf.objects.values().cloned();
    let numbers = shelf.numbers.iter().cloned();
    Core::restore(ServerConfig::new("test"), shelf.revision, objects, numbers, now, WALL).unwrap()
}

/// Tenant `t` with a VRF, a bridge domain, and groups `web`, `db` and `other`; `web` consumes what
/// `db` provides: contract `sql`, TCP port 5432.
pub fn tenant() -> Post {
    let named = |class: &str, name: &str| Post::new(class).with("name", name);
    let group =
        |name: &str| named("fvAEPg", name).child(Post::new("fvRsBd").with("tnFvBDName", "net"));
    let entry = named("vzEntry", "sql")
        .with("etherT", "ip")
        .with("prot", "tcp")
        .with("dFromPort", "5432")
        .with("dToPort", "5432");
    let subject =
        named("vzSubj", "sql").child(Post::new("vzRsSubjFiltAtt").with("tnVzFilterName", "sql"));
    named("fvTenant", "t")
        .child(named("fvCtx", "main"))
        .child(
            named("fvBD", "net")
                .child(Post::new("fvRsCtx").with("tnFvCtxName", "main"))
                .child(Post::new("fvSubnet").with("ip", "10.0.0.1/24")),
        )
        .child(named("vzFilter", "sql").child(entry))
        .child(named("vzBrCP", "sql").child(subject))
        .child(
            named("fvAp", "shop")
                .child(group("web").child(Post::new("fvRsCons").with("tnVzBrCPName", "sql")))
                .child(group("db").child(Post::new("fvRsProv").with("tnVzBrCPName", "sql")))
                .child(group("other")),
        )
}

pub const WEB: &str = "uni/tn-t/ap-shop/epg-web";
pub const DB: &str = "uni/tn-t/ap-shop/epg-db";
pub const OTHER: &str = "uni/tn-t/ap-shop/epg-other";
