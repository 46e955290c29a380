//! The controller's side: every connected agent, what each resolved, and what each declared.
//!
//! ```text
//! shell:       connected | disconnected     bytes -> receive     clock -> handle_timeout
//! controller:  commit                       events <- poll_output
//! policy:      asked of a PolicySource, which the controller implements
//! ```
//!
//! Every input may leave outputs, taken in order with [`Server::poll_output`]. The policy itself is
//! not held here, and the source is asked only for what an agent resolved.

mod endpoints;
mod policy;
mod registry;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selvage_rules::Revision;

use crate::ext::{Applied, Host, Location, class};
use crate::message::{
    Call, Id, Identity, IdentityReply, Listed, Outcome, Refusal, Reply, Role, feature_data,
};
use crate::mo::Object;
use crate::schedule::Schedule;
use crate::session::{CloseReason, Limits, Peer, Session, SessionEvent, Side};
use crate::{Time, Uri};

pub use policy::Change;
use registry::Registry;
use subscriptions::Subscriptions;

/// An agent may hold this many leases of each kind: more than any host has pairs, and few enough
/// that one agent cannot fill the controller's memory.
pub const MAX_LEASES: usize = 1 << 18;

/// Where policy comes from: the controller's compiled tree.
pub trait PolicySource {
    /// The object at `uri`, of class `subject`, and everything below it, parents first; empty if
    /// there is none.
    fn resolve(&self, subject: &str, uri: &Uri) -> Vec<Object>;

    /// Whether there is a class `subject` at all. A resolve of an unknown one is an error.
    fn knows(&self, subject: &str) -> bool {
        class::is_ours(subject)
    }
}

/// What a controller is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The controller's name.
    pub name: String,
    /// The OpFlex domain.
    pub domain: String,
    /// What agents have in their configuration for this controller, `host:port` each. Empty: the
    /// address that the agent connected to. An agent that does not find its own text in the list
    /// stays away for good.
    pub advertise: Vec<String>,
    /// How long endpoints of a lost agent are kept, and how long after its start the controller
    /// waits for all agents before it says that what it does not know does not exist.
    pub grace: Duration,
    /// Between sweeps of leases that ran out.
    pub sweep: Duration,
    /// What agents are granted.
    pub limits: Limits,
}

impl ServerConfig {
    /// The defaults.
    pub fn new(name: &str) -> ServerConfig {
        ServerConfig {
            name: name.to_owned(),
            domain: "selvage".to_owned(),
            advertise: Vec::new(),
            grace: Duration::from_secs(60),
            sweep: Duration::from_secs(60),
            limits: Limits::SERVER,
        }
    }
}

/// One connection, as the shell numbers them; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send these bytes, after those before.
    Send {
        /// Which connection.
        conn: ConnId,
        /// Whole frames.
        bytes: Vec<u8>,
    },
    /// Send what is left and close; then call [`Server::disconnected`].
    Close {
        /// Which connection.
        conn: ConnId,
    },
    /// Tell the controller.
    Event(Event),
}

/// What the controller is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An agent introduced itself.
    Up {
        /// Its connection.
        conn: ConnId,
        /// Its name.
        agent: Arc<str>,
        /// Whether it is one of ours.
        selvage: bool,
    },
    /// A connection ended.
    Down {
        /// The connection.
        conn: ConnId,
        /// The agent, if it had introduced itself and has no newer connection.
        agent: Option<Arc<str>>,
        /// Why.
        reason: CloseReason,
    },
    /// An agent was sent policy of this revision, by a commit or as an answer: it does not enforce
    /// the revision until it says so.
    Touched {
        /// The agent.
        agent: Arc<str>,
        /// The revision.
        revision: Revision,
    },
    /// An agent enforces this revision.
    Applied(Applied),
    /// An agent reported something else: a fault, a counter.
    Reported {
        /// The agent.
        agent: Arc<str>,
        /// What it reported.
        object: Object,
    },
    /// An endpoint came, moved or changed.
    Located(Location),
    /// An endpoint went.
    Departed(Location),
    /// A host came or changed its tunnel address.
    HostDeclared(Host),
    /// A host went.
    HostGone(Host),
}

/// One connection.
#[derive(Debug)]
struct Conn {
    session: Session,
    agent: Option<Agent>,
    /// Of the requests of ours, from 1 (observed).
    requests: u64,
    /// The policy refresh rate the agent asked for last; leases that it gets unasked last as long.
    prr: Duration,
    /// Closed from this side, for this reason; the shell has not said so yet.
    closing: Option<CloseReason>,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
struct Agent {
    name: Arc<str>,
    selvage: bool,
}

/// The controller's end of OpFlex. See the module.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    outputs: VecDeque<Output>,
    conns: BTreeMap<ConnId, Conn>,
    /// The connection of each agent that introduced itself.
    agents: BTreeMap<Arc<str>, ConnId>,
    conn_due: Schedule<ConnId>,
    /// Connections that may have something to send.
    talking: BTreeSet<ConnId>,
    policy: Subscriptions,
    endpoints: Subscriptions,
    registry: Registry,
    revision: Revision,
    started: Time,
    next_sweep: Time,
}

impl Server {
    /// A controller whose policy is at `revision`, and that no agent has found yet.
    pub fn new(config: ServerConfig, revision: Revision, now: Time) -> Server {
        Server {
            outputs: VecDeque::new(),
            conns: BTreeMap::new(),
            agents: BTreeMap::new(),
            conn_due: Schedule::new(),
            talking: BTreeSet::new(),
            policy: Subscriptions::default(),
            endpoints: Subscriptions::default(),
            registry: Registry::default(),
            revision,
            started: now,
            next_sweep: now + config.sweep,
            config,
        }
    }

    /// Someone connected to `local`, our own address as `host:port`.
    pub fn connected(&mut self, conn: ConnId, local: &str, now: Time) {
        let side = Side::Server(self.identity(local));
        let session = Session::start(side, self.config.limits, 0, now);
        let prr = Duration::ZERO;
        let state = Conn { session, agent: None, requests: 0, prr, closing: None };
        self.conns.insert(conn, state);
        self.reschedule(conn);
        self.talking.insert(conn);
        self.flush();
    }

    /// The connection ended; `why` is the shell's word for it.
    pub fn disconnected(&mut self, conn: ConnId, why: &str, now: Time) {
        let Some(gone) = self.conns.remove(&conn) else { return };
        self.conn_due.remove(&conn);
        self.policy.drop_conn(conn);
        self.endpoints.drop_conn(conn);
        let current = |agent: &Agent| self.agents.get(&agent.name) == Some(&conn);
        let agent = gone.agent.filter(current).map(|agent| agent.name);
        if let Some(agent) = &agent {
            self.agents.remove(agent);
            self.registry.lose(agent, now + self.config.grace);
        }
        let reason = gone.closing.unwrap_or_else(|| CloseReason::Stream(why.to_owned()));
        self.outputs.push_back(Output::Event(Event::Down { conn, agent, reason }));
        self.flush();
    }

    /// Takes bytes from a connection, however they are cut. What they ask for comes from `source`.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8], source: &dyn PolicySource, now: Time) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        self.talking.insert(conn);
        for event in state.session.receive(bytes, now) {
            match event {
                SessionEvent::Ready(Peer::Agent(identity)) => self.ready(conn, &identity),
                SessionEvent::Request { id, call } => self.serve(conn, &id, call, source, now),
                SessionEvent::Closed(reason) => self.close(conn, reason),
                // Errors of an agent that could not read an update; there is nothing to do about
                // it, and a session of the server's side meets no other server.
                SessionEvent::Response { .. } | SessionEvent::Ready(Peer::Server(_)) => {}
            }
        }
        self.flush();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        for conn in self.conn_due.take_due(now) {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            self.talking.insert(conn);
            match state.session.handle_timeout(now) {
                Some(SessionEvent::Closed(reason)) => self.close(conn, reason),
                _ => self.reschedule(conn),
            }
        }
        if now >= self.next_sweep {
            self.next_sweep = now + self.config.sweep;
            self.policy.sweep(now);
            self.endpoints.sweep(now);
        }
        let changes = self.registry.expire(now);
        self.publish(changes, now);
        self.flush();
    }

    /// When [`Server::handle_timeout`] is to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let times = [
            (self.conn_due.next(), "a session"),
            (Some(self.next_sweep), "sweep of leases"),
            (self.registry.next_expiry(), "endpoints of a lost agent"),
        ];
        times.into_iter().filter_map(|(time, why)| Some((time?, why))).min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The agents that are connected, by name.
    pub fn agents(&self) -> impl Iterator<Item = &Arc<str>> {
        self.agents.keys()
    }

    /// The endpoints that agents of ours declared.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        self.registry.entries().filter_map(|entry| entry.location.as_ref())
    }

    fn identity(&self, local: &str) -> IdentityReply {
        let listed = |text: &String| Listed {
            role: Role::CONTROLLER.to_vec(),
            connectivity_info: text.clone(),
        };
        let local = [local.to_owned()];
        let advertise: &[String] = match self.config.advertise.as_slice() {
            [] => &local,
            advertise => advertise,
        };
        IdentityReply {
            name: self.config.name.clone(),
            domain: self.config.domain.clone(),
            your_location: None,
            data: Some(feature_data()),
            my_role: Role::CONTROLLER.to_vec(),
            peers: advertise.iter().map(listed).collect(),
        }
    }

    fn ready(&mut self, conn: ConnId, identity: &Identity) {
        let agent = Agent { name: identity.name.as_str().into(), selvage: identity.is_selvage() };
        let up = Event::Up { conn, agent: agent.name.clone(), selvage: agent.selvage };
        if let Some(older) = self.agents.insert(agent.name.clone(), conn) {
            self.close(older, CloseReason::Superseded);
        }
        if let Some(state) = self.conns.get_mut(&conn) {
            state.agent = Some(agent);
        }
        self.outputs.push_back(Output::Event(up));
    }

    fn serve(&mut self, conn: ConnId, id: &Id, call: Call, source: &dyn PolicySource, now: Time) {
        // The session hands requests over only when the agent is known.
        let Some(agent) = self.conns.get(&conn).and_then(|state| state.agent.clone()) else {
            return;
        };
        let outcome = match call {
            Call::PolicyResolve(list) => self.policy_resolve(conn, &agent, list, source, now),
            Call::PolicyUnresolve(list) => {
                list.iter().for_each(|target| self.policy.remove(conn, &target.uri));
                Ok(Reply::Empty)
            }
            Call::EndpointDeclare(list) => self.endpoint_declare(&agent, list, now),
            Call::EndpointUndeclare(list) => self.endpoint_undeclare(&agent, &list, now),
            Call::EndpointResolve(list) => self.endpoint_resolve(conn, &agent, list, now),
            Call::EndpointUnresolve(list) => {
                list.iter().for_each(|target| self.endpoints.remove(conn, &target.uri));
                Ok(Reply::Empty)
            }
            Call::StateReport(objects) => self.state_report(&agent, objects),
            _ => Err(Refusal::unsupported()),
        };
        self.respond(conn, id, &outcome);
    }

    fn state_report(&mut self, agent: &Agent, objects: Vec<Object>) -> Outcome {
        for object in objects {
            let event = match Applied::from_object(&object) {
                Ok(applied) if applied.agent == agent.name => Event::Applied(applied),
                _ => Event::Reported { agent: agent.name.clone(), object },
            };
            self.outputs.push_back(Output::Event(event));
        }
        Ok(Reply::Empty)
    }

    fn respond(&mut self, conn: ConnId, id: &Id, outcome: &Outcome) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.session.respond(id, outcome);
            self.talking.insert(conn);
        }
    }

    /// Sends a request of ours: an update, which is not answered.
    fn request(&mut self, conn: ConnId, call: &Call) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.requests += 1;
            state.session.request(&Id::new(call.method(), state.requests), call);
            self.talking.insert(conn);
        }
    }

    /// Ends a connection from this side; the shell says when it is gone.
    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let bytes = state.session.take_output();
        state.session.close(reason.clone());
        state.closing = Some(reason);
        self.conn_due.remove(&conn);
        self.policy.drop_conn(conn);
        self.endpoints.drop_conn(conn);
        if !bytes.is_empty() {
            self.outputs.push_back(Output::Send { conn, bytes });
        }
        self.outputs.push_back(Output::Close { conn });
    }

    /// Deadlines of a session only ever move away, so it is looked at again when the one that was
    /// known comes.
    fn reschedule(&mut self, conn: ConnId) {
        let due = self.conns.get(&conn).and_then(|state| state.session.poll_timeout());
        if let Some((time, _)) = due {
            self.conn_due.set(conn, time);
        }
    }

    fn flush(&mut self) {
        for conn in std::mem::take(&mut self.talking) {
            let bytes = self.conns.get_mut(&conn).map(|state| state.session.take_output());
            if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
                self.outputs.push_back(Output::Send { conn, bytes });
            }
        }
    }
}
