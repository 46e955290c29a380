//! The agent's side: connections to one or more controllers, the objects they sent, what this host
//! declares, and where the endpoints of other hosts are.
//!
//! ```text
//! shell:  Connect -> connected | disconnected      bytes -> receive      clock -> handle_timeout
//! agent:  want | declare | watch_vrf | report_applied          reads db, locations, hosts
//! ```
//!
//! Every input may leave outputs, taken in order with [`Client::poll_output`]. Nothing is forgotten
//! when a connection goes (fail static). After a reconnection everything tracked is resolved anew;
//! until the answers are in, changes are held back, so that no half-old state is acted upon.

mod connection;
mod declarations;
mod endpoints;
mod policy;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selvage_rules::Revision;

use crate::ext::{Applied, Host, Location};
use crate::message::{Call, Id, Outcome, Role};
use crate::mo::{Object, Reference};
use crate::modb::Modb;
use crate::session::{CloseReason, Limits, SessionEvent};
use crate::{Time, Uri};

use crate::schedule::Schedule;
use connection::Connection;
use declarations::Declaration;
use policy::Lease;

/// An agent's request ids start here (observed).
const FIRST_NUMBER: u64 = 1 << 63;

/// What an agent is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The agent's name, unique in the fabric.
    pub name: Arc<str>,
    /// The OpFlex domain.
    pub domain: String,
    /// The controllers, `host:port` each.
    pub peers: Vec<String>,
    /// Policy refresh rate: how long what is resolved and declared holds without a refresh.
    pub prr: Duration,
    /// How long an answer may take before the request is sent again; doubles each time.
    pub retry: Duration,
    /// How long to wait before the first reconnection; doubles each time.
    pub backoff: Duration,
    /// The longest wait before a reconnection.
    pub backoff_max: Duration,
    /// How many objects are resolved by one request to a controller of ours. Others are asked one
    /// by one, as observed.
    pub batch: usize,
    /// What peers are granted.
    pub limits: Limits,
}

impl ClientConfig {
    /// The defaults: those of the reference implementation, but for a shorter first reconnection.
    pub fn new(name: &str, peers: Vec<String>) -> ClientConfig {
        ClientConfig {
            name: name.into(),
            domain: "selvage".into(),
            peers,
            prr: Duration::from_secs(7200),
            retry: Duration::from_secs(10),
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            batch: 64,
            limits: Limits::AGENT,
        }
    }
}

/// One of the configured peers, by its place in [`ClientConfig::peers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub usize);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Connect to `address`, then call [`Client::connected`] or [`Client::disconnected`].
    Connect {
        /// Which peer.
        peer: PeerId,
        /// `host:port`, as configured.
        address: String,
    },
    /// Send these bytes, after those before.
    Send {
        /// Which peer.
        peer: PeerId,
        /// Whole frames.
        bytes: Vec<u8>,
    },
    /// Send what is left and close; then call [`Client::disconnected`].
    Close {
        /// Which peer.
        peer: PeerId,
    },
    /// Tell the agent.
    Event(Event),
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A controller is there; everything is being resolved and declared anew.
    Up {
        /// Which peer.
        peer: PeerId,
        /// Its name.
        name: String,
    },
    /// A connection ended, or could not be made.
    Down {
        /// Which peer.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// These objects are new, gone or different. Comes whole: everything one update or one resync
    /// brought is in the database by now.
    Changed(BTreeSet<Uri>),
    /// The database is at this commit. Comes after the [`Event::Changed`] it belongs to.
    Revision(Revision),
    /// The controller has no such object.
    ResolvedEmpty(Uri),
    /// The registry took a declaration.
    Declared {
        /// The name it was declared under.
        name: Arc<str>,
    },
    /// The registry refused a declaration. It is offered again from time to time until undeclared.
    DeclareRefused {
        /// The name it was declared under.
        name: Arc<str>,
        /// The registry's words.
        message: String,
    },
    /// Endpoints of a watched VRF came, went or moved; also when a registry first says where they
    /// are, be it nowhere.
    LocationsChanged {
        /// DN of the VRF.
        vrf: Arc<str>,
    },
    /// Hosts came, went or changed their tunnel address.
    HostsChanged,
}

/// What is known of something that is wanted or pointed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Nobody tracks it.
    Untracked,
    /// It was asked for; no answer yet.
    Pending,
    /// It is in the database.
    Present,
    /// A controller said that it does not exist.
    Absent,
}

/// Whether changes are held back: between a reconnection and the last answer of its resync the
/// database is half old, half new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    No,
    /// Until the answers are in, or this time: a request that is never answered must not stop
    /// everything.
    Until(Time),
    /// Until the next resync: the connection went in the middle of one.
    Offline,
}

/// What a request was about, until its answer comes.
#[derive(Debug)]
enum Asked {
    Policy(Vec<Reference>),
    PolicyUnresolve(Vec<Reference>),
    Endpoint(Reference),
    Declare(Arc<str>),
    Other,
}

/// A request without an answer.
#[derive(Debug)]
struct Pending {
    peer: PeerId,
    asked: Asked,
}

/// The agent's end of OpFlex. See the module.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    outputs: VecDeque<Output>,
    connections: Vec<Connection>,
    next_number: u64,
    pending: BTreeMap<u64, Pending>,

    db: Modb,
    leases: BTreeMap<Uri, Lease>,
    lease_due: Schedule<Uri>,
    /// Unresolves in flight: a reference that comes back meanwhile is resolved explicitly.
    unresolving: BTreeSet<Reference>,
    changed: BTreeSet<Uri>,
    revision: Revision,
    told_revision: Revision,
    held: Held,

    declarations: BTreeMap<Arc<str>, Declaration>,
    declaration_due: Schedule<Arc<str>>,
    /// Undeclared while no registry was there.
    withdrawn: BTreeSet<Reference>,

    watched: BTreeSet<Reference>,
    /// What is watched and a registry has answered for.
    answered: BTreeSet<Reference>,
    /// What is watched and a registry has named all of.
    settled: BTreeSet<Reference>,
    watch_due: Schedule<Reference>,
    locations: BTreeMap<Arc<str>, BTreeMap<Uri, Location>>,
    hosts: BTreeMap<Arc<str>, Host>,
    applied: Option<Applied>,
}

impl Client {
    /// An agent that knows nothing yet. Its first connections are due at once.
    pub fn new(config: ClientConfig, now: Time) -> Client {
        let connections = config.peers.iter().map(|address| Connection::new(address, now));
        let mut client = Client {
            outputs: VecDeque::new(),
            connections: connections.collect(),
            next_number: FIRST_NUMBER,
            pending: BTreeMap::new(),
            db: Modb::default(),
            leases: BTreeMap::new(),
            lease_due: Schedule::new(),
            unresolving: BTreeSet::new(),
            changed: BTreeSet::new(),
            revision: Revision(0),
            told_revision: Revision(0),
            held: Held::No,
            declarations: BTreeMap::new(),
            declaration_due: Schedule::new(),
            withdrawn: BTreeSet::new(),
            watched: BTreeSet::new(),
            answered: BTreeSet::new(),
            settled: BTreeSet::new(),
            watch_due: Schedule::new(),
            locations: BTreeMap::new(),
            hosts: BTreeMap::new(),
            applied: None,
            config,
        };
        client.watch_hosts();
        client
    }

    /// The connection that [`Output::Connect`] asked for is there.
    pub fn connected(&mut self, peer: PeerId, now: Time) {
        let identity = self.identity(peer);
        if let (Some(connection), Some(identity)) = (self.connections.get_mut(peer.0), identity) {
            connection.open(identity, self.config.limits, now);
        }
        self.flush(now);
    }

    /// The connection ended, or could not be made. `jitter` is a random number: it spreads the
    /// reconnections of many agents.
    pub fn disconnected(&mut self, peer: PeerId, why: &str, jitter: u32, now: Time) {
        let (first, max) = (self.config.backoff, self.config.backoff_max);
        let Some(connection) = self.connections.get_mut(peer.0) else { return };
        let reason = connection.down(why, first, max, jitter, now);
        self.pending.retain(|_, pending| pending.peer != peer);
        self.unresolving.clear();
        if self.held != Held::No && !self.is_up() {
            self.held = Held::Offline;
        }
        self.outputs.push_back(Output::Event(Event::Down { peer, reason }));
        self.flush(now);
    }

    /// Takes bytes from a peer, however they are cut.
    pub fn receive(&mut self, peer: PeerId, bytes: &[u8], now: Time) {
        let Some(connection) = self.connections.get_mut(peer.0) else { return };
        for event in connection.receive(bytes, now) {
            match event {
                SessionEvent::Ready(other) => self.ready(peer, &other, now),
                SessionEvent::Request { call, .. } => self.take_call(call, now),
                SessionEvent::Response { id, outcome } => self.answered(&id, outcome, now),
                SessionEvent::Closed(reason) => self.end(peer, reason),
            }
        }
        self.flush(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        for peer in (0..self.connections.len()).map(PeerId) {
            let Some(connection) = self.connections.get_mut(peer.0) else { continue };
            if let Some(address) = connection.connect_due(now) {
                self.outputs.push_back(Output::Connect { peer, address });
            }
            if let Some(reason) = connection.handle_timeout(now) {
                self.end(peer, reason);
            }
        }
        self.refresh_leases(now);
        self.refresh_declarations(now);
        self.refresh_watches(now);
        self.flush(now);
    }

    /// When [`Client::handle_timeout`] is to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let connections = self.connections.iter().filter_map(Connection::poll_timeout);
        let own = [
            (self.lease_due.next(), "policy refresh"),
            (self.declaration_due.next(), "declaration refresh"),
            (self.watch_due.next(), "location refresh"),
            (self.held.until(), "end of resync"),
        ];
        let own = own.into_iter().filter_map(|(time, why)| Some((time?, why)));
        connections.chain(own).min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether a controller is there.
    pub fn is_up(&self) -> bool {
        self.connections.iter().any(Connection::is_ready)
    }

    /// The objects that are held.
    pub fn db(&self) -> &Modb {
        &self.db
    }

    /// Whether the database is one consistent state: no resync is under way. While it is not, the
    /// agent keeps what it enforces.
    pub fn is_settled(&self) -> bool {
        self.held == Held::No
    }

    /// The last commit of which the database has everything this agent resolved.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Reports that `revision` is enforced; again to every controller that comes later.
    pub fn report_applied(&mut self, revision: Revision, now: Time) {
        let applied = Applied { agent: self.config.name.clone(), revision };
        self.applied = Some(applied.clone());
        self.report(vec![applied.to_object()], now);
    }

    /// Reports what is observed, to the controllers that are there now.
    pub fn report(&mut self, objects: Vec<Object>, now: Time) {
        for peer in self.ready_peers(Role::Observer) {
            self.ask(peer, &Call::StateReport(objects.clone()), Asked::Other);
        }
        self.flush(now);
    }

    fn ready_peers(&self, role: Role) -> Vec<PeerId> {
        let offers = |(index, connection): (usize, &Connection)| {
            connection.offers(role).then_some(PeerId(index))
        };
        self.connections.iter().enumerate().filter_map(offers).collect()
    }

    fn take_call(&mut self, call: Call, now: Time) {
        match call {
            Call::PolicyUpdate(update) => self.policy_update(update, now),
            Call::EndpointUpdate(update) => self.endpoint_update(update),
            // The session serves an agent nothing else.
            _ => {}
        }
    }

    fn answered(&mut self, id: &Id, outcome: Outcome, now: Time) {
        let Some(pending) = id.number().and_then(|number| self.pending.remove(&number)) else {
            return;
        };
        match pending.asked {
            Asked::Policy(asked) => {
                self.policy_answer(asked, outcome, now);
                self.resync_step(pending.peer, id);
            }
            Asked::PolicyUnresolve(gone) => {
                for reference in gone {
                    self.unresolving.remove(&reference);
                }
            }
            Asked::Endpoint(target) => self.watch_answer(&target, outcome, now),
            Asked::Declare(name) => self.declare_answer(&name, id, outcome, now),
            Asked::Other => {}
        }
    }

    /// Sends a request, and remembers what it was about. Returns its number.
    fn ask(&mut self, peer: PeerId, call: &Call, asked: Asked) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(connection) = self.connections.get_mut(peer.0) {
            connection.request(&Id::new(call.method(), number), call);
        }
        self.pending.insert(number, Pending { peer, asked });
        number
    }

    /// Sends what a connection has to say.
    fn drain(&mut self, peer: PeerId) {
        let bytes = self.connections.get_mut(peer.0).map(Connection::take_output);
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            self.outputs.push_back(Output::Send { peer, bytes });
        }
    }

    /// Closes a connection from this side; the shell says when it is gone.
    fn end(&mut self, peer: PeerId, reason: CloseReason) {
        self.drain(peer);
        if let Some(connection) = self.connections.get_mut(peer.0) {
            connection.close(reason);
        }
        self.outputs.push_back(Output::Close { peer });
    }

    /// Ends every input: what the connections have to send goes out, then what changed is told.
    fn flush(&mut self, now: Time) {
        for peer in (0..self.connections.len()).map(PeerId) {
            self.drain(peer);
        }
        if self.held.until().is_some_and(|until| now >= until) {
            self.held = Held::No;
        }
        if self.held != Held::No {
            return;
        }
        if !self.changed.is_empty() {
            let changed = std::mem::take(&mut self.changed);
            self.outputs.push_back(Output::Event(Event::Changed(changed)));
        }
        if self.revision != self.told_revision {
            self.told_revision = self.revision;
            self.outputs.push_back(Output::Event(Event::Revision(self.revision)));
        }
    }
}

impl Held {
    fn until(self) -> Option<Time> {
        match self {
            Held::Until(time) => Some(time),
            Held::No | Held::Offline => None,
        }
    }
}

/// A number from 0 to 65535 that depends on nothing but its inputs: spreads refreshes without
/// randomness. FNV-1a.
fn spread(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().copied().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (hash ^ (hash >> 32)) & 0xffff
}
