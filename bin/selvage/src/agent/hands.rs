//! One thread that does to the host what the core asks, in the order in which it asks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use selvage_agent::datapath::{Counters, Datapath, PlaneError};
use selvage_agent::judge::{Case, Opinions};
use selvage_agent::local::{AuditView, Code, Refusal, Response};
use selvage_agent::{LinkPlan, Now, Output};
use selvage_rules::Desired;
use tokio::sync::{mpsc, oneshot};

use super::exits::WaysOut;
use super::files::StateDir;
use super::links::Links;
use super::owner::Event;

/// What the thread is asked.
pub enum Job {
    /// An output of the core.
    Do(Output),
    /// What did the data plane count?
    Count(oneshot::Sender<Counters>),
    /// Is what the data plane has what it was asked for last?
    Audit(oneshot::Sender<Response>),
    /// What do the data plane's judges say about a packet?
    Judge(Box<Case>, oneshot::Sender<Result<Opinions, PlaneError>>),
    /// Forget connections that ended.
    Sweep,
    /// Which of the agent's links exist? Those that do not are told as gone.
    LookForLinks(Vec<u32>),
}

/// The thread's belongings.
pub struct Hands {
    pub plane: Box<dyn Datapath>,
    pub links: Links,
    pub ways: WaysOut,
    pub state: StateDir,
    /// What the data plane was asked for last.
    pub desired: Option<Arc<Desired>>,
    pub events: mpsc::UnboundedSender<Event>,
}

/// `CLOCK_MONOTONIC`, which the kernel stamps drops and connections with too.
pub fn monotonic() -> Duration {
    // The clock exists on every Linux; zero would only make timers late.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

/// Now, as the core counts it.
pub fn now() -> Now {
    Now(u64::try_from(monotonic().as_micros()).unwrap_or(u64::MAX))
}

impl Hands {
    /// Starts the thread. It ends when the sender is dropped, after what was asked before.
    pub fn start(self) -> std::io::Result<(Sender<Job>, JoinHandle<()>)> {
        let (sender, jobs) = channel();
        let thread =
            std::thread::Builder::new().name("hands".to_owned()).spawn(move || self.work(&jobs))?;
        Ok((sender, thread))
    }

    fn work(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Do(output) => self.carry_out(output),
                // Whoever asked may be gone.
                Job::Count(reply) => drop(reply.send(self.count())),
                Job::Audit(reply) => {
                    let answer = self.audit().unwrap_or_else(|error| {
                        Response::Error(Refusal::new(Code::DataPlane, error.to_string()))
                    });
                    drop(reply.send(answer));
                }
                Job::Judge(case, reply) => drop(reply.send(self.plane.judge(&case))),
                Job::Sweep => {
                    if let Err(error) = self.plane.sweep(monotonic()) {
                        tracing::warn!("cannot sweep connections: {error}");
                    }
                    self.try_again();
                }
                Job::LookForLinks(known) => self.look_for_links(&known),
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::MakeLink(plan) => self.make_link(plan),
            Output::RaiseLink(plan, mac, addresses) => {
                let done = self.links.raise(&plan, mac, &addresses);
                self.tell(match done {
                    Ok(()) => Event::Raised(plan.id),
                    Err(refusal) => Event::LinkFailed(plan.id, refusal),
                });
            }
            Output::RemoveLink(id, port) => {
                // A link that vanished while no agent ran has no index, and nothing holds it.
                if port.ifindex != 0
                    && let Err(error) = self.plane.detach_port(&port)
                {
                    tracing::warn!("cannot let go of link `{}`: {error}", port.name);
                }
                if let Err(error) = self.links.remove(&port.name) {
                    tracing::warn!("{error}");
                }
                self.tell(Event::Unlinked(id));
            }
            Output::Apply(desired) => {
                let result = self.apply(&desired);
                self.tell(Event::Applied(result));
            }
            Output::SaveEndpoints(endpoints) => {
                let result = self.state.save_endpoints(&endpoints);
                self.tell(Event::Saved(result));
            }
            Output::SavePolicy(policy) => {
                let result = self.state.save_policy(&policy);
                self.tell(Event::Saved(result));
            }
            Output::SaveMoves(moves) => {
                let result = self.state.save_moves(&moves);
                self.tell(Event::Saved(result));
            }
            Output::Answer(ticket, response) => self.tell(Event::Answer(ticket, response)),
            // These are the owner's own.
            Output::Connect(..) | Output::Send(..) | Output::Close(_) => {}
        }
    }

    fn apply(
        &mut self,
        desired: &Arc<Desired>,
    ) -> Result<selvage_agent::datapath::Applied, PlaneError> {
        let lacking = self.ways.ensure(desired);
        let mut result = self.plane.apply(desired);
        self.desired = Some(Arc::clone(desired));
        if let Ok(applied) = &mut result {
            applied.unsupported.extend(lacking);
            if let Err(error) = self.ways.prune(desired) {
                tracing::warn!("cannot remove a way out that is not needed: {error}");
            }
        }
        match &result {
            Ok(applied) => tracing::debug!(
                revision = applied.revision.0,
                changed = applied.changed,
                locals = desired.locals.len(),
                remotes = desired.remotes.len(),
                "applied"
            ),
            Err(error) => tracing::error!(revision = desired.revision.0, "cannot apply: {error}"),
        }
        result
    }

    /// A way out that lacked something, say a link that was not there, may lack it no more.
    fn try_again(&mut self) {
        if self.ways.is_lacking()
            && let Some(desired) = self.desired.clone()
        {
            let lacking = self.ways.ensure(&desired);
            if lacking.is_empty() {
                tracing::info!("the ways out are whole now");
                let unsupported = self.plane.apply(&desired).map(|applied| applied.unsupported);
                self.tell(Event::Lacks(unsupported.unwrap_or_default()));
            }
        }
    }

    /// A link that fails half-way is removed again at once.
    fn make_link(&mut self, plan: LinkPlan) {
        let made = self.links.make(&plan).and_then(|port| {
            let held = self.plane.attach_port(&port);
            held.map(|()| port.ifindex).map_err(|error| {
                drop(self.plane.detach_port(&port));
                drop(self.links.remove(&port.name));
                Refusal::new(Code::DataPlane, error.to_string())
            })
        });
        self.tell(match made {
            Ok(ifindex) => Event::Linked(plan.id, ifindex),
            Err(refusal) => Event::LinkFailed(plan.id, refusal),
        });
    }

    fn count(&mut self) -> Counters {
        self.plane.counters().unwrap_or_else(|error| {
            tracing::warn!("cannot read counters: {error}");
            Counters::default()
        })
    }

    fn audit(&mut self) -> Result<Response, PlaneError> {
        let installed = self.plane.installed()?.revision;
        let drift = match &self.desired {
            Some(desired) => self.plane.audit(desired)?,
            None => Vec::new(),
        };
        let desired = self.desired.as_ref().map(|desired| desired.revision);
        let dataplane = self.plane.name().to_owned();
        Ok(Response::Audit(AuditView { dataplane, desired, installed, drift }))
    }

    fn look_for_links(&mut self, known: &[u32]) {
        match self.links.ours() {
            Ok(ours) => {
                for ifindex in known {
                    if !ours.iter().any(|port| port.ifindex == *ifindex) {
                        self.tell(Event::LinkGone(*ifindex));
                    }
                }
            }
            Err(error) => tracing::warn!("cannot list links: {error}"),
        }
    }

    fn tell(&self, event: Event) {
        // The owner ends before its hands only when the whole agent ends.
        let _ = self.events.send(event);
    }
}
