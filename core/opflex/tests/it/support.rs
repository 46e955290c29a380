//! Tables to serve, and a wire of bytes between one server and its clients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::test_runner::Config as ProptestConfig;
use selvage_opflex::Time;
use selvage_opflex::client::{self, Client, ClientConfig, PeerId};
use selvage_opflex::ext::SelvageSource;
use selvage_opflex::server::{self, ConnId, Server, ServerConfig};
use selvage_rules::{
    Action, BdId, BridgeDomain, ClassId, Gateway, Group, GroupId, GroupKey, Mac, Match, Origin,
    PairKey, PortRange, Reason, Revision, Rule, RuleId, RuleSet, RuleSetId, ScopeId, Table,
    Treatment, Vrf,
};

/// So many cases, unless `PROPTEST_CASES` says otherwise.
pub fn cases(count: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(count),
    }
}

pub const SCOPE: ScopeId = ScopeId(1);

pub fn class(index: usize) -> ClassId {
    ClassId(16386 + u16::try_from(index).unwrap())
}

pub fn group_name(index: usize) -> String {
    format!("uni/tn-t/ap-a/epg-g{index}")
}

/// What a table is made of; small enough to be changed at random.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub groups: BTreeSet<usize>,
    /// From, to (`None` is any), and the port that is open.
    pub pairs: BTreeMap<(Option<usize>, Option<usize>), u16>,
    /// Changes the gateway of the bridge domain.
    pub gateway: u8,
}

impl Policy {
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        table.vrfs.insert(SCOPE, Vrf { name: "uni/tn-t/ctx-v".into() });
        let gateway = Gateway { ip: [10, 0, self.gateway, 1].into(), prefix_len: 24 };
        let bd = BridgeDomain {
            name: "uni/tn-t/BD-b".into(),
            scope: SCOPE,
            mac: Mac([0, 0x22, 0xbd, 0xf8, 0x19, 0xff]),
            routed: true,
            gateways: vec![gateway],
        };
        table.bridge_domains.insert(BdId(2), bd);
        for index in &self.groups {
            let encap = GroupId(1000 + u32::try_from(*index).unwrap());
            let group = Group { name: group_name(*index).into(), bd: Some(BdId(2)), encap };
            table.groups.insert(GroupKey { scope: SCOPE, class: class(*index) }, group);
        }
        for ((src, dst), port) in &self.pairs {
            let exists = |end: &Option<usize>| end.is_none_or(|i| self.groups.contains(&i));
            if !exists(src) || !exists(dst) {
                continue;
            }
            let end = |end: &Option<usize>| end.map_or(ClassId::ANY, class);
            let key = PairKey { scope: SCOPE, src: end(src), dst: end(dst) };
            // Sets never change: another port is another number.
            let id = RuleSetId(u32::from(*port));
            table.rule_sets.insert(id, Arc::new(RuleSet::new(id, vec![rule(*port)])));
            let origin = Origin {
                dn: format!("uni/tn-t/brc-c/subj-{port}").into(),
                entry: "uni/tn-t/flt-f/e-e".into(),
                reverse: false,
            };
            table.origins.insert(RuleId(u32::from(*port)), origin);
            table.pairs.insert(key, id);
        }
        table
    }

    pub fn source(&self) -> SelvageSource {
        SelvageSource::new(Arc::new(self.table()))
    }

    /// What a host with these groups is to enforce: the part of the table that concerns them.
    pub fn slice(&self, groups: &BTreeSet<usize>) -> Table {
        let mut table = self.table();
        let classes: BTreeSet<ClassId> = groups.iter().map(|i| class(*i)).collect();
        table.groups.retain(|key, _| classes.contains(&key.class));
        let any = |key: &PairKey| key.src == ClassId::ANY || key.dst == ClassId::ANY;
        table.pairs.retain(|k, _| any(k) || classes.contains(&k.src) || classes.contains(&k.dst));
        if groups.is_empty() {
            return Table::default();
        }
        let sets: BTreeSet<RuleSetId> = table.pairs.values().copied().collect();
        table.rule_sets.retain(|id, _| sets.contains(id));
        table.origins.retain(|id, _| sets.contains(&RuleSetId(id.0)));
        table
    }
}

fn rule(port: u16) -> Rule {
    Rule {
        id: RuleId(u32::from(port)),
        priority: 100,
        matches: Match { proto: Some(6), dport: PortRange::one(port), ..Match::EVERYTHING },
        action: Action::Permit,
        reason: Reason::Contract,
        stateful: false,
        log: false,
        treatment: Treatment::default(),
    }
}

/// A server and its clients, joined by streams that deliver when the test says so.
pub struct Fabric {
    pub now: Time,
    pub server: Server,
    pub source: SelvageSource,
    pub revision: Revision,
    pub hosts: Vec<HostEnd>,
    pub server_events: Vec<server::Event>,
    next_conn: u64,
    config: fn(usize) -> ClientConfig,
}

/// One agent, and the bytes on their way.
pub struct HostEnd {
    pub client: Client,
    pub conn: Option<ConnId>,
    pub to_server: Vec<u8>,
    pub to_client: Vec<u8>,
    pub events: Vec<client::Event>,
    wants_connection: bool,
}

const PEER: PeerId = PeerId(0);

pub fn server_config() -> ServerConfig {
    ServerConfig::new("controller")
}

impl Fabric {
    pub fn new(hosts: usize, source: SelvageSource) -> Fabric {
        Fabric::with(hosts, source, config)
    }

    /// A fabric whose agents are configured by `config`.
    pub fn with(hosts: usize, source: SelvageSource, config: fn(usize) -> ClientConfig) -> Fabric {
        let now = Time(1_000_000);
        let host = |index: usize| HostEnd {
            client: Client::new(config(index), now),
            conn: None,
            to_server: Vec::new(),
            to_client: Vec::new(),
            events: Vec::new(),
            wants_connection: false,
        };
        let mut fabric = Fabric {
            now,
            server: Server::new(server_config(), Revision(1), now),
            source,
            revision: Revision(1),
            hosts: (0..hosts).map(host).collect(),
            server_events: Vec::new(),
            next_conn: 0,
            config,
        };
        fabric.tick(0);
        fabric
    }

    /// Moves the clock, and does what became due.
    pub fn tick(&mut self, millis: u64) {
        self.now = Time(self.now.0 + millis);
        self.server.handle_timeout(self.now);
        for host in 0..self.hosts.len() {
            self.hosts[host].client.handle_timeout(self.now);
            self.drain_client(host);
        }
        self.drain_server();
    }

    /// Makes the connection that a client asked for.
    pub fn connect(&mut self, host: usize) {
        if !std::mem::take(&mut self.hosts[host].wants_connection) {
            return;
        }
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.hosts[host].conn = Some(conn);
        self.server.connected(conn, "192.0.2.1:8009", self.now);
        self.hosts[host].client.connected(PEER, self.now);
        self.drain_client(host);
        self.drain_server();
    }

    /// Cuts a connection; what was on its way is lost.
    pub fn cut(&mut self, host: usize) {
        let Some(conn) = self.hosts[host].conn.take() else { return };
        self.hosts[host].to_server.clear();
        self.hosts[host].to_client.clear();
        self.server.disconnected(conn, "cut", self.now);
        self.hosts[host].client.disconnected(PEER, "cut", 0, self.now);
        self.drain_client(host);
        self.drain_server();
    }

    /// Delivers at most `count` bytes to the server.
    pub fn deliver_up(&mut self, host: usize, count: usize) {
        let Some(conn) = self.hosts[host].conn else { return };
        let queue = &mut self.hosts[host].to_server;
        let bytes: Vec<u8> = queue.drain(..count.min(queue.len())).collect();
        self.server.receive(conn, &bytes, &self.source, self.now);
        self.drain_server();
    }

    /// Delivers at most `count` bytes to the client.
    pub fn deliver_down(&mut self, host: usize, count: usize) {
        let queue = &mut self.hosts[host].to_client;
        let bytes: Vec<u8> = queue.drain(..count.min(queue.len())).collect();
        self.hosts[host].client.receive(PEER, &bytes, self.now);
        self.drain_client(host);
    }

    /// Connects everybody and delivers until nothing is on its way.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "the fabric never comes to rest");
            let mut busy = false;
            for host in 0..self.hosts.len() {
                busy |= self.hosts[host].wants_connection;
                self.connect(host);
                busy |= !self.hosts[host].to_server.is_empty();
                self.deliver_up(host, usize::MAX);
                busy |= !self.hosts[host].to_client.is_empty();
                self.deliver_down(host, usize::MAX);
            }
            if !busy {
                return;
            }
        }
    }

    /// Puts `policy` in force. Returns the agents that were sent something.
    pub fn commit(&mut self, policy: &Policy) -> Vec<String> {
        let source = policy.source();
        let change = self.source.diff(&source);
        self.source = source;
        self.revision = Revision(self.revision.0 + 1);
        let touched = self.server.commit(&self.source, &change, self.revision, self.now);
        self.drain_server();
        touched.iter().map(ToString::to_string).collect()
    }

    /// Replaces the server by one that knows nothing but its policy.
    pub fn restart_server(&mut self) {
        for host in 0..self.hosts.len() {
            self.cut(host);
        }
        self.server = Server::new(server_config(), self.revision, self.now);
    }

    /// Kills an agent and starts it again; it has forgotten everything.
    pub fn crash(&mut self, host: usize) {
        self.cut(host);
        self.hosts[host].wants_connection = false;
        self.hosts[host].client = Client::new((self.config)(host), self.now);
    }

    pub fn with_client(&mut self, host: usize, act: impl FnOnce(&mut Client, Time)) {
        act(&mut self.hosts[host].client, self.now);
        self.drain_client(host);
    }

    pub fn take_events(&mut self, host: usize) -> Vec<client::Event> {
        std::mem::take(&mut self.hosts[host].events)
    }

    fn drain_client(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].client.poll_output() {
            let end = &mut self.hosts[host];
            match output {
                client::Output::Connect { .. } => end.wants_connection = true,
                client::Output::Send { bytes, .. } => end.to_server.extend(bytes),
                client::Output::Event(event) => end.events.push(event),
                client::Output::Close { .. } => self.cut(host),
            }
        }
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                server::Output::Event(event) => self.server_events.push(event),
                server::Output::Send { conn, bytes } => {
                    let host = self.hosts.iter_mut().find(|host| host.conn == Some(conn));
                    if let Some(host) = host {
                        host.to_client.extend(bytes);
                    }
                }
                server::Output::Close { conn } => {
                    match self.hosts.iter().position(|host| host.conn == Some(conn)) {
                        Some(host) => self.cut(host),
                        None => self.server.disconnected(conn, "closed", self.now),
                    }
                }
            }
        }
    }
}

pub fn agent_name(host: usize) -> String {
    format!("host-{host}")
}

pub fn config(host: usize) -> ClientConfig {
    ClientConfig::new(&agent_name(host), vec!["192.0.2.1:8009".into()])
}
