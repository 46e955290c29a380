//! The agent: one method for each thing that can happen, and a queue of what is to be done.
//!
//! Every input ends in [`Agent::settle`], which moves each endpoint as far as it can go and asks the
//! data plane for what is then desired, if that is not in force already. So no input needs to know
//! what another left undone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use selvage_opflex::client::PeerId;
use selvage_rules::{Desired, Encapsulation, EndpointId, NodeId, Revision, Room};

use crate::ahead::Question;
use crate::datapath::{Applied, PlaneError, Port};
use crate::drops::Names;
use crate::endpoint::{Attaching, Endpoint, Failing, Link, Phase};
use crate::fabric::Fabric;
use crate::local::{Address, Attach, Code, Refusal, Response, Timings};
use crate::record;
use crate::slice::{Elsewhere, Move, Slice};
use crate::{Now, Ticket, group_dn};

/// Endpoints cannot have a packet that becomes greater than 1500 bytes in the tunnel: 50 bytes are
/// the outer headers.
pub const MTU: u32 = 1450;

/// How long an attach may take where it does not say.
pub const ATTACH_DEADLINE: Duration = Duration::from_secs(10);

/// How long an attach waits for a controller that is away, if it needs it.
pub(crate) const AWAY_PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait before asking the data plane again for what it refused.
pub(crate) const RETRY: Duration = Duration::from_secs(5);

/// What an agent must be told of its host.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's name in the fabric.
    pub host: String,
    /// Its tunnel address.
    pub tunnel: IpAddr,
    /// OpFlex addresses of the controllers, as configured: `host:port` each.
    pub controllers: Vec<String>,
    /// The number that the policy knows the host by, if it has one.
    pub node: Option<NodeId>,
    /// Which data plane enforces.
    pub dataplane: String,
    /// What it can send to other hosts and receive from them.
    pub encapsulations: BTreeSet<Encapsulation>,
    /// How much policy it holds.
    pub room: Room,
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
}

/// What an earlier run left behind.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// Its endpoints, each with the interface index of its link, if that still exists.
    pub endpoints: Vec<(record::EndpointRecord, Option<u32>)>,
    /// The last complete policy.
    pub policy: Option<record::Policy>,
}

/// The link of an endpoint, for whoever makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlan {
    /// The endpoint.
    pub id: EndpointId,
    /// Path of its network namespace.
    pub netns: std::path::PathBuf,
    /// Name of the link there.
    pub ifname: String,
    /// Name of the host's end.
    pub host_ifname: String,
    /// Greatest packet, in bytes.
    pub mtu: u32,
    /// The endpoint's end stays in the agent's own namespace: somebody else moves it, brings it up
    /// and gives it its MAC and addresses.
    pub handover: bool,
}

/// Something to be done. Outputs are to be carried out in order, but for those about different
/// endpoints' links, which may overlap.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Make this link, down, and have the data plane take hold of the host's end. Answered by
    /// [`Agent::linked`] or [`Agent::link_failed`]; a link that failed is to leave nothing behind.
    MakeLink(LinkPlan),
    /// Set the MAC and addresses of the link's end in its namespace, bring both ends up, add routes.
    /// Answered by [`Agent::raised`] or [`Agent::link_failed`].
    RaiseLink(LinkPlan, selvage_rules::Mac, Vec<Address>),
    /// Have the data plane let go of the host's end, and remove the link if it is still there.
    /// Answered by [`Agent::unlinked`].
    RemoveLink(EndpointId, Port),
    /// Make this what is enforced. Answered by [`Agent::applied`].
    Apply(Arc<Desired>),
    /// Keep this; it must be durable before the next output is carried out.
    SaveEndpoints(record::Endpoints),
    /// Likewise; it replaces the policy and the moves kept before.
    SavePolicy(record::Policy),
    /// Append this to what was kept. It must survive the end of this program, but not that of the
    /// host: no endpoint of this host survives that either.
    SaveMoves(record::Moves),
    /// Answer a request.
    Answer(Ticket, Box<Response>),
    /// Connect to this address. Answered by [`Agent::connected`] or [`Agent::disconnected`].
    Connect(PeerId, String),
    /// Send these bytes to a controller, after those before.
    Send(PeerId, Vec<u8>),
    /// Send what is left to this controller and close. Answered by [`Agent::disconnected`].
    Close(PeerId),
}

/// The agent of one host.
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) started: Now,
    pub(crate) fabric: Fabric,
    pub(crate) endpoints: BTreeMap<EndpointId, Endpoint>,
    /// The policy that is to be in force.
    pub(crate) slice: Arc<Slice>,
    /// Whether `slice` came from somewhere: an empty one at start says nothing about what an earlier
    /// run left in force.
    pub(crate) slice_known: bool,
    /// Groups that selectors put endpoints into, by the policy that was last seen complete.
    pub(crate) awaited: BTreeSet<Arc<str>>,
    pub(crate) elsewhere: Arc<Elsewhere>,
    /// Where an earlier run knew others to be.
    pub(crate) restored: Arc<Elsewhere>,
    /// The number of the last record of policy.
    pub(crate) sequence: u64,
    /// How many moves were kept since it was; `None` before this run has made one, since the last
    /// line of an earlier run may be cut off.
    pub(crate) moves: Option<usize>,
    pub(crate) plane: PlaneState,
    /// Why what is to be kept cannot be.
    pub(crate) unkept: Option<Refusal>,
    /// The commit that the controller was told to be in force, in this session.
    pub(crate) reported: Option<Revision>,
    pub(crate) link_to_controller: ControllerState,
    /// Questions that wait for what a group is.
    pub(crate) questions: Vec<Question>,
    outputs: VecDeque<Output>,
}

/// The data plane, as far as the agent knows it.
#[derive(Debug, Default)]
pub(crate) struct PlaneState {
    /// What it is being asked for, and since when.
    pub asked: Option<(Arc<Desired>, Now)>,
    /// What is in force.
    pub in_force: Option<Arc<Desired>>,
    /// What it refused last, why, and when to ask again.
    pub refused: Option<(Arc<Desired>, Refusal, Now)>,
    /// What it cannot enforce of what is in force.
    pub unsupported: Vec<String>,
    /// Microseconds the last change took.
    pub took: Option<u64>,
    /// Names for drops, made when the first drop needs them.
    pub names: Option<Arc<Names>>,
}

/// The connection to the controller.
#[derive(Debug)]
pub(crate) struct ControllerState {
    pub connected: bool,
    pub since: Now,
    pub error: Option<String>,
}

impl Agent {
    /// An agent that starts, with what an earlier run left behind.
    pub fn new(config: Config, restored: Restored, now: Now) -> Agent {
        let fabric = Fabric::new(&config, now);
        let slice_known = restored.policy.is_some() || restored.endpoints.is_empty();
        let sequence = restored.policy.as_ref().map_or(0, |policy| policy.sequence);
        let policy = restored.policy.map(|p| (p.slice, p.elsewhere)).unwrap_or_default();
        let endpoints = restored
            .endpoints
            .into_iter()
            .map(|(record, ifindex)| (record.id.clone(), Endpoint::restored(record, ifindex)));
        let mut agent = Agent {
            config,
            started: now,
            fabric,
            endpoints: endpoints.collect(),
            slice: policy.0,
            slice_known,
            awaited: BTreeSet::new(),
            restored: policy.1.clone(),
            elsewhere: policy.1,
            sequence,
            moves: None,
            plane: PlaneState::default(),
            unkept: None,
            reported: None,
            link_to_controller: ControllerState { connected: false, since: now, error: None },
            questions: Vec::new(),
            outputs: VecDeque::new(),
        };
        agent.settle(now);
        agent
    }

    /// What is to be done next, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// When [`Agent::tick`] must be called at the latest, and for what.
    pub fn next_deadline(&self) -> Option<(Now, &'static str)> {
        let attaching = self.endpoints.values().filter_map(|e| e.attaching.as_ref());
        let away = (!self.link_to_controller.connected).then_some(AWAY_PATIENCE);
        let attaches = attaching
            .flat_map(|a| [Some(a.deadline), away.map(|patience| a.started + patience)])
            .flatten()
            .map(|at| (at, "an attach takes too long"));
        let failing = self.endpoints.values().filter_map(|e| e.failing.as_ref());
        let failing = failing.map(|f| (f.answer_by, "a failed attach is to be answered"));
        let retry = self.plane.refused.as_ref().map(|(_, _, at)| (*at, "ask the data plane again"));
        let fabric = self.fabric.next_deadline();
        let ahead = self.ahead_deadline();
        attaches.chain(failing).chain(retry).chain(fabric).chain(ahead).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.fabric.tick(now);
        let patience_ends = |a: &Attaching| now >= a.started + AWAY_PATIENCE;
        let mut late = Vec::new();
        for endpoint in self.endpoints.values() {
            let Some(attaching) = &endpoint.attaching else { continue };
            if endpoint.phase == Phase::Resolving
                && !self.link_to_controller.connected
                && patience_ends(attaching)
                && !self.slice.groups.contains_key(&endpoint.group)
            {
                late.push((endpoint.id.clone(), self.not_ready(&endpoint.group)));
            } else if now >= attaching.deadline {
                late.push((endpoint.id.clone(), self.too_late(endpoint, now)));
            }
        }
        for (id, refusal) in late {
            self.fail(&id, refusal, now);
        }
        self.tick_ahead(now);
        let due = self
            .endpoints
            .values_mut()
            .filter(|e| e.failing.as_ref().is_some_and(|f| now >= f.answer_by));
        let due: Vec<Failing> = due.filter_map(|e| e.failing.take()).collect();
        for failing in due {
            self.answer(failing.ticket, Response::Error(failing.refusal));
        }
        self.settle(now);
    }

    /// A program on the host asks for an endpoint. The answer comes as [`Output::Answer`].
    pub fn attach(&mut self, ticket: Ticket, request: Attach, now: Now) {
        let attaching = attaching(ticket, request.timeout_ms, now);
        match self.reserved(&request) {
            Some(Ok(reserved)) => {
                reserved.take_link(request, attaching);
                let plan = plan(reserved);
                self.output(Output::MakeLink(plan));
            }
            Some(Err(refusal)) => self.answer(ticket, Response::Error(refusal)),
            None => match self.admit(&request) {
                Err(refusal) => self.answer(ticket, Response::Error(refusal)),
                Ok(group) => {
                    let endpoint = Endpoint::asked(&self.config.host, request, group, attaching);
                    self.output(Output::MakeLink(plan(&endpoint)));
                    self.endpoints.insert(endpoint.id.clone(), endpoint);
                }
            },
        }
        self.settle(now);
    }

    pub(crate) fn admit(&self, request: &Attach) -> Result<Arc<str>, Refusal> {
        let group = group_dn(&request.epg)?;
        check_id(&request.id)?;
        check_ifname(&request.ifname)?;
        if let Some(mac) = request.mac.filter(|mac| mac.0[0] & 1 == 1 || mac.0 == [0; 6]) {
            let message = format!("MAC `{mac}` is not one an endpoint can have");
            return Err(Refusal::new(Code::BadRequest, message).hint("use a unicast address"));
        }
        if let Some(held) = self.endpoints.get(&request.id) {
            let message = if held.is_leaving() {
                format!("endpoint `{}` is still being removed", request.id.0)
            } else {
                format!("endpoint `{}` exists on this host already", request.id.0)
            };
            return Err(Refusal::new(Code::Exists, message)
                .hint("choose another name, or detach that endpoint first"));
        }
        Ok(group)
    }

    /// A program on the host asks to remove an endpoint. The answer comes as [`Output::Answer`].
    pub fn detach(&mut self, ticket: Ticket, id: &EndpointId, now: Now) {
        match self.endpoints.get_mut(id) {
            Some(endpoint) => {
                endpoint.detaching.push(ticket);
                let message = format!("endpoint `{}` was detached before it was ready", id.0);
                self.fail(id, Refusal::new(Code::Cancelled, message), now);
            }
            None => {
                let message = format!("no endpoint `{}` on host `{}`", id.0, self.config.host);
                let refusal = Refusal::new(Code::NoSuchEndpoint, message)
                    .hint("`selvage status` lists the endpoints of a host");
                self.answer(ticket, Response::Error(refusal));
            }
        }
        self.settle(now);
    }

    /// Whoever made this request is gone: an endpoint that is not ready yet is not wanted any more.
    pub fn abandoned(&mut self, ticket: Ticket, now: Now) {
        self.questions.retain(|question| question.ticket != ticket);
        let waiting = self
            .endpoints
            .values()
            .find(|e| e.attaching.as_ref().is_some_and(|a| a.ticket == ticket))
            .map(|e| e.id.clone());
        if let Some(id) = waiting {
            self.fail(&id, Refusal::new(Code::Cancelled, "whoever asked for it is gone"), now);
        }
        self.settle(now);
    }

    /// What the data plane cannot enforce of what is in force has changed, with nothing asked of it.
    pub fn lacks(&mut self, unsupported: Vec<String>) {
        self.plane.unsupported = unsupported;
    }

    /// A link was made, and is in quarantine.
    pub fn linked(&mut self, id: &EndpointId, ifindex: u32, now: Now) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.link = Link::Made(ifindex);
            if let Some(attaching) = &mut endpoint.attaching {
                attaching.timings.linked_us = now.since(attaching.started);
            }
        }
        self.settle(now);
    }

    /// A link could not be made, or could not be brought up. Nothing is left of it in the first
    /// case.
    pub fn link_failed(&mut self, id: &EndpointId, refusal: Refusal, now: Now) {
        if let Some(endpoint) = self.endpoints.get_mut(id)
            && endpoint.link == Link::Making
        {
            endpoint.link = Link::Gone;
        }
        self.fail(id, refusal, now);
        self.settle(now);
    }

    /// A link is up, with addresses and routes.
    pub fn raised(&mut self, id: &EndpointId, now: Now) {
        if let Some(endpoint) = self.endpoints.get_mut(id).filter(|e| e.phase == Phase::Raising) {
            endpoint.phase = Phase::Settled;
            if let Some(attaching) = endpoint.attaching.take() {
                let elapsed = now.since(attaching.started);
                endpoint.timings = Some(Timings { ready_us: elapsed, ..attaching.timings });
                self.save_endpoints();
                if let Some(view) = self.endpoints.get(id).map(|e| self.endpoint_view(e)) {
                    self.answer(attaching.ticket, Response::Attached(Box::new(view)));
                }
            }
        }
        self.settle(now);
    }

    /// A link is gone, and the data plane let go of it.
    pub fn unlinked(&mut self, id: &EndpointId, now: Now) {
        if let Some(endpoint) = self.endpoints.remove(id) {
            self.save_endpoints();
            if let Some(failing) = endpoint.failing {
                self.answer(failing.ticket, Response::Error(failing.refusal));
            }
            for ticket in endpoint.detaching {
                let gone = crate::local::Detach { id: id.clone() };
                self.answer(ticket, Response::Detached(gone));
            }
        }
        self.settle(now);
    }

    /// The host's end of a link vanished: its namespace ended, or somebody deleted it.
    pub fn link_vanished(&mut self, ifindex: u32, now: Now) {
        let id = self
            .endpoints
            .values()
            .find(|e| e.link == Link::Made(ifindex) && e.phase != Phase::Removing)
            .map(|e| e.id.clone());
        if let Some(id) = id {
            let message = format!("the link of endpoint `{}` vanished", id.0);
            self.fail(&id, Refusal::new(Code::Link, message).hint("did its namespace end?"), now);
        }
        self.settle(now);
    }

    /// The data plane did, or could not do, what [`Output::Apply`] asked.
    pub fn applied(&mut self, result: Result<Applied, PlaneError>, now: Now) {
        self.take_applied(result, now);
        self.settle(now);
    }

    /// The connection that [`Output::Connect`] asked for is there.
    pub fn connected(&mut self, peer: PeerId, now: Now) {
        self.fabric.connected(peer, now);
        self.settle(now);
    }

    /// Bytes came from a controller.
    pub fn received(&mut self, peer: PeerId, bytes: &[u8], now: Now) {
        self.fabric.received(peer, bytes, now);
        self.settle(now);
    }

    /// A connection ended, or could not be made. What is in force stays. `jitter` is a random
    /// number: it spreads the reconnections of many agents.
    pub fn disconnected(&mut self, peer: PeerId, why: &str, jitter: u32, now: Now) {
        self.fabric.disconnected(peer, why, jitter, now);
        self.settle(now);
    }

    /// The program is about to end: whoever waits for an endpoint is told. What is in force stays.
    pub fn stop(&mut self, now: Now) {
        let waiting = self.endpoints.values().filter(|e| e.attaching.is_some());
        let ids: Vec<EndpointId> = waiting.map(|e| e.id.clone()).collect();
        for id in ids {
            let refusal = Refusal::new(Code::Stopping, "the agent is stopping")
                .hint("try again when it is back");
            self.fail(&id, refusal, now);
        }
        self.settle(now);
    }

    /// Whether an endpoint is on its way in or out.
    pub fn is_busy(&self) -> bool {
        let rest = |phase| matches!(phase, Phase::Settled | Phase::Reserved);
        let moving = self.endpoints.values().any(|e| !rest(e.phase));
        moving || self.plane.asked.is_some()
    }

    /// A file of the state directory could not be written, and why; or it could again.
    pub fn saved(&mut self, result: Result<(), String>) {
        self.unkept = result.err().map(|why| {
            Refusal::new(Code::State, why)
                .hint("until it can be, a restart of the agent forgets what changed since")
        });
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, response: Response) {
        self.output(Output::Answer(ticket, Box::new(response)));
    }

    pub(crate) fn save_endpoints(&mut self) {
        // Attached ones only: what was never answered for is not owned by anybody after a crash.
        let kept = self.endpoints.values().filter(|e| e.phase == Phase::Settled);
        let endpoints = record::Endpoints {
            version: record::VERSION,
            host: self.config.host.clone(),
            endpoints: kept.map(Endpoint::record).collect(),
        };
        self.output(Output::SaveEndpoints(endpoints));
    }

    pub(crate) fn save_policy(&mut self) {
        self.sequence += 1;
        self.moves = Some(0);
        self.output(Output::SavePolicy(record::Policy {
            version: record::VERSION,
            sequence: self.sequence,
            slice: self.slice.clone(),
            elsewhere: self.elsewhere.clone(),
        }));
    }

    /// Keeps what changed elsewhere: by itself, until that is as long as all there is.
    pub(crate) fn note(&mut self, moves: Vec<Move>) {
        let most = self.elsewhere.len().max(FEW);
        match self.moves.map(|before| before + moves.len()).filter(|count| *count <= most) {
            None => self.save_policy(),
            Some(count) => {
                self.moves = Some(count);
                let sequence = self.sequence;
                self.output(Output::SaveMoves(record::Moves { sequence, moves }));
            }
        }
    }
}

/// So many moves are never worth a record of everything.
const FEW: usize = 256;

pub(crate) fn attaching(ticket: Ticket, timeout_ms: Option<u64>, now: Now) -> Attaching {
    let wait = timeout_ms.map_or(ATTACH_DEADLINE, Duration::from_millis);
    let timings = Timings::default();
    Attaching { ticket, started: now, deadline: now + wait, timings, hold: None }
}

pub(crate) fn plan(endpoint: &Endpoint) -> LinkPlan {
    LinkPlan {
        id: endpoint.id.clone(),
        netns: endpoint.netns.clone(),
        ifname: endpoint.ifname.clone(),
        host_ifname: endpoint.host_ifname.clone(),
        mtu: MTU,
        handover: endpoint.handover,
    }
}

fn check_id(id: &EndpointId) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if id.0.is_empty() || id.0.len() > 128 || !id.0.chars().all(allowed) {
        let message = format!("`{}` cannot name an endpoint", id.0);
        return Err(Refusal::new(Code::BadRequest, message)
            .hint("1 to 128 letters, digits, `_`, `.`, `:` or `-`"));
    }
    Ok(())
}

/// The kernel's own limits for names of links.
pub(crate) fn check_ifname(name: &str) -> Result<(), Refusal> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(bad) {
        let message = format!("`{name}` cannot name a link");
        return Err(Refusal::new(Code::BadRequest, message)
            .hint("1 to 15 bytes without `/`, `:` or white space, such as `eth0`"));
    }
    Ok(())
}
