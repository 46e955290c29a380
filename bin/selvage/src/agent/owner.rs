//! The one task that owns the core: events in, outputs out, and the clock between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use selvage_agent::datapath::{Applied, Counters, Drop, PlaneError};
use selvage_agent::judge::{Case, Opinions};
use selvage_agent::local::{Code, DropView, Refusal, Request, Response};
use selvage_agent::{Agent, Output, Ticket};
use selvage_opflex::client::PeerId;
use selvage_rules::EndpointId;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::drops::{History, Notice};
use super::hands::{Job, now};
use super::uplink::Uplinks;

/// How often ended connections are forgotten.
const SWEEP: Duration = Duration::from_secs(5);

/// How long an agent that stops waits for what it has begun.
const STOP: Duration = Duration::from_secs(3);

/// Something happened.
pub enum Event {
    Request(Request, Ticket, oneshot::Sender<Response>),
    Abandoned(Ticket),
    Drops(oneshot::Sender<Vec<Arc<DropView>>>, Option<mpsc::Sender<Notice>>),
    Connected(PeerId),
    Received(PeerId, Vec<u8>),
    Disconnected(PeerId, String),
    Linked(EndpointId, u32),
    LinkFailed(EndpointId, Refusal),
    Raised(EndpointId),
    Unlinked(EndpointId),
    LinkGone(u32),
    LinksUnknown,
    Applied(Result<Applied, PlaneError>),
    /// What the data plane cannot enforce is something else now.
    Lacks(Vec<String>),
    Saved(Result<(), String>),
    Answer(Ticket, Box<Response>),
    Counted(oneshot::Sender<Response>, Counters),
    Judged(oneshot::Sender<Response>, Box<Case>, Opinions),
    Dropped(Vec<Drop>, u64),
    Stop,
}

/// The core and what it is connected to.
pub struct Owner {
    agent: Agent,
    hands: Sender<Job>,
    uplinks: Uplinks,
    events: UnboundedSender<Event>,
    waiting: BTreeMap<Ticket, oneshot::Sender<Response>>,
    history: History,
}

impl Owner {
    /// Owns `agent`.
    pub fn new(agent: Agent, hands: Sender<Job>, events: UnboundedSender<Event>) -> Owner {
        let uplinks = Uplinks::new(events.clone());
        let (waiting, history) = (BTreeMap::new(), History::default());
        Owner { agent, hands, uplinks, events, waiting, history }
    }

    /// Works until it is told to stop, and what had begun by then is done.
    pub async fn run(mut self, mut queue: UnboundedReceiver<Event>) {
        let mut sweep = tokio::time::interval(SWEEP);
        let mut stop_at = None;
        self.carry_out();
        while stop_at.is_none_or(|at| now() < at && self.agent.is_busy()) {
            let deadline = self.agent.next_deadline().map(|(at, _)| at);
            let wait = deadline.into_iter().chain(stop_at).min();
            let wait = wait.map_or(SWEEP, |at| Duration::from_micros(at.since(now())));
            tokio::select! {
                event = queue.recv() => match event {
                    Some(Event::Stop) => {
                        self.agent.stop(now());
                        stop_at = Some(now() + STOP);
                    }
                    Some(event) => self.take(event),
                    None => return,
                },
                () = tokio::time::sleep(wait) => self.agent.tick(now()),
                _ = sweep.tick() => self.ask(Job::Sweep),
            }
            self.carry_out();
        }
        // What was answered last is still on its way through the hands.
        let (reply, done) = oneshot::channel();
        self.ask(Job::Count(reply));
        let _ = tokio::time::timeout(STOP, done).await;
        while let Ok(event) = queue.try_recv() {
            if let Event::Answer(ticket, response) = event {
                self.answer(ticket, *response);
            }
        }
    }

    fn take(&mut self, event: Event) {
        let now = now();
        match event {
            Event::Request(request, ticket, reply) => self.request(request, ticket, reply),
            Event::Abandoned(ticket) => {
                self.waiting.remove(&ticket);
                self.agent.abandoned(ticket, now);
            }
            Event::Drops(reply, follower) => {
                let _ = reply.send(self.history.past());
                if let Some(follower) = follower {
                    self.history.follow(follower);
                }
            }
            Event::Connected(peer) => self.agent.connected(peer, now),
            Event::Received(peer, bytes) => self.agent.received(peer, &bytes, now),
            Event::Disconnected(peer, why) => {
                self.uplinks.close(peer);
                self.agent.disconnected(peer, &why, jitter(), now);
            }
            Event::Linked(id, ifindex) => self.agent.linked(&id, ifindex, now),
            Event::LinkFailed(id, refusal) => self.agent.link_failed(&id, refusal, now),
            Event::Raised(id) => self.agent.raised(&id, now),
            Event::Unlinked(id) => self.agent.unlinked(&id, now),
            Event::LinkGone(ifindex) => self.agent.link_vanished(ifindex, now),
            Event::LinksUnknown => {
                let known = self.agent.list().iter().map(|view| view.ifindex).collect();
                self.ask(Job::LookForLinks(known));
            }
            Event::Applied(result) => self.agent.applied(result, now),
            Event::Lacks(unsupported) => self.agent.lacks(unsupported),
            Event::Saved(result) => self.agent.saved(result),
            Event::Answer(ticket, response) => self.answer(ticket, *response),
            Event::Counted(reply, counters) => {
                let status = self.agent.status(&counters, now);
                let _ = reply.send(Response::Status(Box::new(status)));
            }
            Event::Judged(reply, case, opinions) => {
                let judged = self.agent.judged(&case, opinions);
                let _ = reply.send(Response::Judged(Box::new(judged)));
            }
            Event::Dropped(drops, lost) => {
                let names = self.agent.names();
                self.history.add(&drops, lost, &names);
            }
            Event::Stop => {}
        }
    }

    fn request(&mut self, request: Request, ticket: Ticket, reply: oneshot::Sender<Response>) {
        match request {
            Request::Attach(attach) => {
                self.waiting.insert(ticket, reply);
                self.agent.attach(ticket, attach, now());
            }
            Request::Detach(detach) => {
                self.waiting.insert(ticket, reply);
                self.agent.detach(ticket, &detach.id, now());
            }
            Request::Reserve(reserve) => {
                self.waiting.insert(ticket, reply);
                self.agent.reserve(ticket, reserve, now());
            }
            Request::Group(question) => {
                self.waiting.insert(ticket, reply);
                self.agent.ask_group(ticket, &question, now());
            }
            Request::List(_) => {
                let _ = reply.send(Response::Endpoints(self.agent.list()));
            }
            Request::Status(_) => {
                let (count, counted) = oneshot::channel();
                self.ask(Job::Count(count));
                let events = self.events.clone();
                tokio::spawn(async move {
                    if let Ok(counters) = counted.await {
                        let _ = events.send(Event::Counted(reply, counters));
                    }
                });
            }
            Request::Audit(_) => self.ask(Job::Audit(reply)),
            Request::Judge(judge) => match self.agent.case_of(&judge) {
                Ok(case) => self.judge(case, reply),
                // Whoever asked may be gone by now.
                Err(refusal) => drop(reply.send(Response::Error(refusal))),
            },
            // The socket asks for these in its own way.
            Request::Drops(_) => {}
        }
    }

    fn judge(&self, case: Case, reply: oneshot::Sender<Response>) {
        let case = Box::new(case);
        let (ask, said) = oneshot::channel();
        self.ask(Job::Judge(case.clone(), ask));
        let events = self.events.clone();
        tokio::spawn(async move {
            match said.await {
                Ok(Ok(opinions)) => drop(events.send(Event::Judged(reply, case, opinions))),
                Ok(Err(error)) => {
                    let refusal = Refusal::new(Code::DataPlane, error.to_string());
                    drop(reply.send(Response::Error(refusal)));
                }
                Err(_) => {}
            }
        });
    }

    fn answer(&mut self, ticket: Ticket, response: Response) {
        if let Response::Error(refusal) = &response {
            tracing::info!(code = ?refusal.code, "refused: {}", refusal.message);
        }
        if let Some(reply) = self.waiting.remove(&ticket) {
            // Whoever asked may be gone by now.
            let _ = reply.send(response);
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Connect(peer, address) => self.uplinks.connect(peer, address),
                Output::Send(peer, bytes) => self.uplinks.send(peer, bytes),
                Output::Close(peer) => self.uplinks.close(peer),
                other => self.ask(Job::Do(other)),
            }
        }
    }

    fn ask(&self, job: Job) {
        if self.hands.send(job).is_err() {
            tracing::error!("the thread that works on this host has ended");
        }
    }
}

/// Spreads the reconnections of many agents: two of them seldom fail in the same nanosecond.
fn jitter() -> u32 {
    super::hands::monotonic().subsec_nanos()
}
