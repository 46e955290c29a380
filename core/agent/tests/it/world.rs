//! A host around the agent: links that are numbers, a data plane that is a value, a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use selvage_agent::datapath::{Applied, PlaneError};
use selvage_agent::local::{Attach, Code, Detach, EndpointView, Refusal, Request, Response};
use selvage_agent::record::{Endpoints, Moves, Policy};
use selvage_agent::{Agent, Config, Now, Output, Restored, Ticket};
use selvage_opflex::Time;
use selvage_opflex::client::PeerId;
use selvage_rules::{Desired, Encapsulation, EndpointId, Room};

use crate::controller::{ADDRESS, Controller};

pub struct World {
    pub agent: Agent,
    pub controller: Controller,
    /// Connections to the controller work.
    pub reachable: bool,
    /// What the data plane enforces.
    pub in_force: Arc<Desired>,
    /// How many times it was asked.
    pub applies: usize,
    /// What it says instead.
    pub plane_error: Option<PlaneError>,
    /// It does not answer at all.
    pub plane_stuck: bool,
    /// Host ends that exist, by name.
    pub links: BTreeMap<String, u32>,
    /// Endpoints whose links cannot be made.
    pub bad_links: BTreeSet<String>,
    /// What was raised.
    pub raised: BTreeSet<EndpointId>,
    pub answers: BTreeMap<Ticket, Response>,
    pub endpoints: Option<Endpoints>,
    pub policy: Option<Policy>,
    moves: Vec<Moves>,
    peer: Option<PeerId>,
    now: Now,
    next_ticket: u64,
    next_ifindex: u32,
}

fn config() -> Config {
    Config {
        host: "h1".into(),
        tunnel: "198.51.100.1".parse().unwrap(),
        controllers: vec![ADDRESS.into()],
        dataplane: "fake".into(),
        encapsulations: Encapsulation::ALL.into(),
        room: Room::default(),
        node: None,
        version: "0".into(),
        pid: 1,
    }
}

impl World {
    pub fn new() -> World {
        World::with(Controller::shop(), true)
    }

    pub fn with(controller: Controller, reachable: bool) -> World {
        let now = Now(1_000_000);
        let mut world = World {
            agent: Agent::new(config(), Restored::default(), now),
            controller,
            reachable,
            in_force: Arc::default(),
            applies: 0,
            plane_error: None,
            plane_stuck: false,
            links: BTreeMap::new(),
            bad_links: BTreeSet::new(),
            raised: BTreeSet::new(),
            answers: BTreeMap::new(),
            endpoints: None,
            policy: None,
            moves: Vec::new(),
            peer: None,
            now,
            next_ticket: 1,
            next_ifindex: 10,
        };
        world.run();
        world
    }

    /// The agent is killed and starts again: what it kept, what is in force and the links stay.
    pub fn restart(&mut self) {
        self.controller.hang_up();
        self.peer = None;
        let kept = self.endpoints.clone().map(|kept| kept.endpoints).unwrap_or_default();
        let endpoints = kept
            .into_iter()
            .map(|record| {
                let ifindex = self.links.get(&record.host_ifname).copied();
                (record, ifindex)
            })
            .collect();
        let mut policy = self.policy.clone();
        policy.iter_mut().for_each(|policy| policy.follow(self.moves.iter().cloned()));
        let restored = Restored { endpoints, policy };
        self.agent = Agent::new(config(), restored, self.now);
        self.run();
    }

    /// Does what the agent asks until it asks nothing.
    pub fn run(&mut self) {
        let mut steps = 0;
        while let Some(output) = self.agent.poll_output() {
            steps += 1;
            assert!(steps < 10_000, "the agent does not come to rest: {output:?}");
            self.now = Now(self.now.0 + 10);
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::MakeLink(plan) => {
                if self.bad_links.contains(&*plan.id.0) {
                    let refusal = Refusal::new(Code::NoSuchNamespace, "no such namespace");
                    return self.agent.link_failed(&plan.id, refusal, now);
                }
                self.next_ifindex += 1;
                self.links.insert(plan.host_ifname, self.next_ifindex);
                self.agent.linked(&plan.id, self.next_ifindex, now);
            }
            Output::RaiseLink(plan, ..) => {
                let local = &self.in_force.locals[&plan.id];
                assert!(local.endpoint.is_some(), "`{}` goes up in quarantine", plan.id.0);
                self.raised.insert(plan.id.clone());
                self.agent.raised(&plan.id, now);
            }
            Output::RemoveLink(id, port) => {
                let held = self.in_force.locals.get(&id).is_some_and(|l| l.endpoint.is_some());
                assert!(!held || !self.links.contains_key(&port.name), "`{}` is in force", id.0);
                self.links.remove(&port.name);
                self.agent.unlinked(&id, now);
            }
            Output::Apply(desired) => self.apply(desired),
            Output::SaveEndpoints(endpoints) => self.endpoints = Some(endpoints),
            Output::SavePolicy(policy) => (self.policy, self.moves) = (Some(policy), Vec::new()),
            Output::SaveMoves(moves) => self.moves.push(moves),
            Output::Answer(ticket, response) => {
                assert!(self.answers.insert(ticket, *response).is_none(), "answered twice");
            }
            Output::Connect(peer, address) => {
                assert_eq!(address, ADDRESS);
                if !self.reachable {
                    return self.agent.disconnected(peer, "connection refused", 0, now);
                }
                self.peer = Some(peer);
                let hello = self.controller.connect(time(now));
                self.agent.connected(peer, now);
                self.agent.received(peer, &hello, now);
            }
            Output::Send(peer, bytes) => {
                let answer = self.controller.receive(&bytes, time(now));
                if !answer.is_empty() {
                    self.agent.received(peer, &answer, now);
                }
            }
            Output::Close(peer) => {
                self.controller.hang_up();
                self.agent.disconnected(peer, "closed", 0, now);
            }
        }
    }

    fn apply(&mut self, desired: Arc<Desired>) {
        self.applies += 1;
        if self.plane_stuck {
            return;
        }
        let result = match self.plane_error.clone() {
            Some(error) => Err(error),
            None => {
                let revision = desired.revision;
                self.in_force = desired;
                Ok(Applied { revision, changed: 1, unsupported: Vec::new() })
            }
        };
        self.agent.applied(result, self.now);
    }

    /// Time passes, and everything that falls due happens when it does.
    pub fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((due, _)) = self.agent.next_deadline().filter(|(due, _)| *due <= end) {
            self.now = due.max(self.now);
            self.agent.tick(self.now);
            self.run();
        }
        self.now = end;
        self.agent.tick(end);
        self.run();
    }

    /// Bytes that the controller sends of itself.
    pub fn deliver(&mut self, bytes: &[u8]) {
        if let Some(peer) = self.peer {
            self.agent.received(peer, bytes, self.now);
        }
        self.run();
    }

    pub fn cut(&mut self) {
        self.reachable = false;
        self.controller.hang_up();
        if let Some(peer) = self.peer.take() {
            self.agent.disconnected(peer, "the stream ended", 0, self.now);
        }
        self.run();
    }

    pub fn start_attach(&mut self, request: Attach) -> Ticket {
        let ticket = self.ticket();
        self.agent.attach(ticket, request, self.now);
        self.run();
        ticket
    }

    /// Asks as the local socket does; the answer, if it comes at once.
    pub fn ask(&mut self, request: Request) -> Option<Response> {
        let ticket = self.ticket();
        match request {
            Request::Attach(attach) => self.agent.attach(ticket, attach, self.now),
            Request::Detach(detach) => self.agent.detach(ticket, &detach.id, self.now),
            Request::Reserve(reserve) => self.agent.reserve(ticket, reserve, self.now),
            Request::Group(question) => self.agent.ask_group(ticket, &question, self.now),
            other => panic!("no way to ask {other:?}"),
        }
        self.run();
        self.answers.get(&ticket).cloned()
    }

    pub fn attach(&mut self, id: &str, epg: &str) -> Result<EndpointView, Refusal> {
        let ticket = self.start_attach(request(id, epg));
        self.attached(ticket)
    }

    pub fn attached(&self, ticket: Ticket) -> Result<EndpointView, Refusal> {
        match self.answers.get(&ticket) {
            Some(Response::Attached(view)) => Ok(*view.clone()),
            Some(Response::Error(refusal)) => Err(refusal.clone()),
            other => panic!("no answer to an attach: {other:?}"),
        }
    }

    pub fn detach(&mut self, id: &str) -> Result<(), Refusal> {
        let ticket = self.ticket();
        self.agent.detach(ticket, &EndpointId(id.into()), self.now);
        self.run();
        match self.answers.get(&ticket) {
            Some(Response::Detached(Detach { .. })) => Ok(()),
            Some(Response::Error(refusal)) => Err(refusal.clone()),
            other => panic!("no answer to a detach: {other:?}"),
        }
    }

    pub fn vanish(&mut self, id: &str) {
        let view = self.view(id);
        self.links.remove(&view.host_ifname);
        self.agent.link_vanished(view.ifindex, self.now);
        self.run();
    }

    pub fn view(&self, id: &str) -> EndpointView {
        let views = self.agent.list();
        let found = views.iter().find(|view| &*view.id.0 == id);
        found.unwrap_or_else(|| panic!("no endpoint {id} in {views:#?}")).clone()
    }

    /// Whether the data plane knows what this endpoint is.
    pub fn enforced(&self, id: &str) -> bool {
        let local = self.in_force.locals.get(&EndpointId(id.into()));
        local.is_some_and(|local| local.endpoint.is_some())
    }

    pub fn now(&self) -> Now {
        self.now
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

pub fn request(id: &str, epg: &str) -> Attach {
    Attach {
        id: EndpointId(id.into()),
        epg: epg.into(),
        netns: "/proc/1/ns/net".into(),
        ifname: "eth0".into(),
        ip: Vec::new(),
        mac: None,
        from: Vec::new(),
        handover: false,
        timeout_ms: None,
    }
}

fn time(now: Now) -> Time {
    Time(now.0 / 1000)
}
