//! The one that owns the controller's state. Everybody else sends messages.
//!
//! A thread, not a task: a commit waits for the disk. Readers do not ask it: after each change it
//! leaves a [`View`] for them, which shares all objects with the tree it was taken from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvage_controller::{
    Core, HostNeed, Output, Planned, Prepared, Progress, RestoreError, Status, Stored, View, Write,
};
use selvage_model::{Changes, Refusal};
use selvage_opflex::server::{ConnId, ServerConfig};
use selvage_policy::number;
use selvage_rules::Revision;
use selvage_store::{Change, Commit, LogRow, Row, Store, StoreError};
use tokio::sync::{mpsc, oneshot, watch};

use super::clock::{Clock, wall_ms};
use super::notes;
use super::peers::{Lines, PeerEvent, PeerNumber};

/// Messages that may wait.
const QUEUE: usize = 1_024;

/// What the desk is asked.
pub enum Ask {
    /// Something happened on a connection.
    Peer(PeerNumber, PeerEvent),
    /// Change the tree.
    Write {
        /// Who asks.
        user: String,
        /// What for.
        write: Write,
        /// Only if this revision is in force.
        at: Option<Revision>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Written, WriteError>>,
    },
    /// What would a write do?
    Plan {
        /// The write.
        write: Write,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Planned, Vec<Refusal>>>,
    },
    /// What would each host need after a write?
    Capacity {
        /// The write.
        write: Write,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Vec<HostNeed>, Vec<Refusal>>>,
    },
    /// Who enforces what?
    Status(oneshot::Sender<Status>),
    /// Tell when every connected host enforces a revision, or at the deadline how far it is.
    Enforced {
        /// The revision.
        revision: Revision,
        /// When to give up waiting.
        until: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Progress>,
    },
    /// The newest rows of the log.
    Log(usize, oneshot::Sender<Result<Vec<LogRow>, StoreError>>),
    /// End.
    Stop,
}

/// A write that was done.
pub struct Written {
    /// What changed.
    pub changes: Changes,
    /// The revision in force now.
    pub revision: Revision,
}

/// A write that was not.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is wrong.
    #[error("refused")]
    Refused(Vec<Refusal>),
    /// It was made for a revision that is not in force any more.
    #[error(
        "planned against revision {planned}, but revision {now} is in force: nothing was applied"
    )]
    Stale {
        /// The revision it was made for.
        planned: Revision,
        /// The one in force.
        now: Revision,
    },
    /// It did not reach the disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where to send messages, and where to read.
#[derive(Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    view: watch::Receiver<Arc<View>>,
}

impl Desk {
    /// Sends a message; false once the desk is closed.
    pub async fn tell(&self, ask: Ask) -> bool {
        self.asks.send(ask).await.is_ok()
    }

    /// Sends a question and waits for the answer; `None` once the desk is closed.
    pub async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        if !self.tell(ask(reply)).await {
            return None;
        }
        answer.await.ok()
    }

    /// Waits until the desk is closed. Unless it was told to stop, something is badly wrong.
    pub async fn closed(&self) {
        self.asks.closed().await;
    }

    /// The tree as of the last change.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }
}

/// Why the state could not be taken up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it holds makes no sense to this version.
    #[error("the stored policy cannot be taken up: {0}")]
    Restore(#[from] RestoreError),
    /// A number that was stored is not written as this version writes them.
    #[error("the stored number `{0}` cannot be read")]
    Number(String),
}

/// Takes up the stored state, and starts the desk. The thread ends after [`Ask::Stop`].
pub fn open(
    mut store: Box<dyn Store>,
    config: ServerConfig,
    clock: Clock,
) -> Result<(Desk, std::thread::JoinHandle<()>), OpenError> {
    let core = restore(store.as_mut(), config, clock)?;
    let (asks, inbox) = mpsc::channel(QUEUE);
    let (publisher, view) = watch::channel(Arc::new(core.view()));
    let keeper = Keeper {
        core,
        store,
        clock,
        publisher,
        lines: Lines::default(),
        waiting: Vec::new(),
        changed: false,
    };
    let runtime = tokio::runtime::Handle::current();
    let run = move || runtime.block_on(keeper.run(inbox));
    let thread = std::thread::Builder::new().name("desk".into()).spawn(run);
    let thread = thread.map_err(|source| StoreError::Open { path: "thread".into(), source })?;
    Ok((Desk { asks, view }, thread))
}

fn restore(store: &mut dyn Store, config: ServerConfig, clock: Clock) -> Result<Core, OpenError> {
    let kept = store.load()?;
    let objects = kept.objects.into_iter().map(|row| selvage_controller::Kept {
        dn: row.dn,
        class: row.class,
        props: row.props.into_iter().collect(),
    });
    let mut numbers = Vec::with_capacity(kept.numbers.len());
    for (slot, row) in kept.numbers {
        let row: number::Row = serde_json::from_str(&row).map_err(|_| OpenError::Number(slot))?;
        numbers.push(row);
    }
    let revision = Revision(kept.revision);
    Ok(Core::restore(config, revision, objects, numbers, clock.now(), wall_ms())?)
}

/// A question that is answered later.
struct Waiting {
    revision: Revision,
    until: Instant,
    reply: oneshot::Sender<Progress>,
}

struct Keeper {
    core: Core,
    store: Box<dyn Store>,
    clock: Clock,
    publisher: watch::Sender<Arc<View>>,
    lines: Lines,
    waiting: Vec<Waiting>,
    /// Readers do not see yet what changed.
    changed: bool,
}

impl Keeper {
    async fn run(mut self, mut inbox: mpsc::Receiver<Ask>) {
        loop {
            let deadline = self.deadline();
            let ask = match tokio::time::timeout_at(deadline.into(), inbox.recv()).await {
                Ok(Some(Ask::Stop) | None) => return,
                Ok(Some(ask)) => Some(ask),
                Err(_) => None,
            };
            let outputs = match ask {
                Some(ask) => self.answer(ask),
                None => self.core.handle_timeout(self.clock.now(), wall_ms()),
            };
            self.carry_out(outputs);
            self.answer_waiting();
            if std::mem::take(&mut self.changed) {
                self.publisher.send_replace(Arc::new(self.core.view()));
            }
        }
    }

    fn deadline(&self) -> Instant {
        const IDLE: Duration = Duration::from_secs(3600);
        let core = self.core.poll_timeout().map(|(time, _)| self.clock.instant(time));
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        core.into_iter().chain(waiting).min().unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn answer(&mut self, ask: Ask) -> Vec<Output> {
        match ask {
            Ask::Peer(peer, event) => return self.peer(peer, event),
            Ask::Write { user, write, at, reply } => return self.write(user, &write, at, reply),
            Ask::Plan { write, reply } => {
                drop(reply.send(self.core.plan(&write, self.clock.now(), wall_ms())));
            }
            Ask::Capacity { write, reply } => {
                drop(reply.send(self.core.capacity(&write, wall_ms())));
            }
            // Whoever asked may have gone; then nobody misses the answer.
            Ask::Status(reply) => drop(reply.send(self.core.status(self.clock.now()))),
            Ask::Log(limit, reply) => drop(reply.send(self.store.log(limit))),
            Ask::Enforced { revision, until, reply } => {
                self.waiting.push(Waiting { revision, until, reply });
            }
            Ask::Stop => {}
        }
        Vec::new()
    }

    fn peer(&mut self, peer: PeerNumber, event: PeerEvent) -> Vec<Output> {
        let (conn, now, wall) = (ConnId(peer), self.clock.now(), wall_ms());
        match event {
            PeerEvent::Open(line) => {
                let local = line.local.to_string();
                tracing::debug!(peer, remote = %line.remote, "connected");
                self.lines.open(peer, line);
                self.core.connected(conn, &local, now, wall)
            }
            PeerEvent::Bytes(bytes, _permit) => self.core.receive(conn, &bytes, now, wall),
            PeerEvent::Closed(why) => {
                self.lines.close(peer);
                self.core.disconnected(conn, &why, now, wall)
            }
        }
    }

    fn write(
        &mut self,
        user: String,
        write: &Write,
        at: Option<Revision>,
        reply: oneshot::Sender<Result<Written, WriteError>>,
    ) -> Vec<Output> {
        let started = Instant::now();
        let stored = self.prepare(write, at).and_then(|prepared| {
            self.store_commit(&user, &prepared)?;
            Ok(prepared)
        });
        let (outputs, answer) = match stored {
            Ok(prepared) => {
                let changes = prepared.changes.clone();
                let outputs = self.core.publish(prepared, self.clock.now(), wall_ms());
                self.changed |= !changes.is_empty();
                (outputs, Ok(Written { changes, revision: self.core.revision() }))
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        notes::written(&user, &answer, started.elapsed());
        // A reader that asks after this answer must see what it wrote.
        if std::mem::take(&mut self.changed) {
            self.publisher.send_replace(Arc::new(self.core.view()));
        }
        // Whoever asked may have gone; what was committed stays.
        drop(reply.send(answer));
        outputs
    }

    fn prepare(&self, write: &Write, at: Option<Revision>) -> Result<Prepared, WriteError> {
        let now = self.core.revision();
        match at.filter(|planned| *planned != now) {
            Some(planned) => Err(WriteError::Stale { planned, now }),
            None => self.core.prepare(write, wall_ms()).map_err(WriteError::Refused),
        }
    }

    fn store_commit(&mut self, user: &str, prepared: &Prepared) -> Result<(), StoreError> {
        match &prepared.commit {
            Some(commit) => self.store.commit(&row_form(user, commit)),
            None => Ok(()),
        }
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { conn, bytes } => self.lines.send(conn.0, bytes),
                Output::Close { conn } => self.lines.close(conn.0),
                Output::Note(event) => {
                    self.changed = true;
                    notes::event(&event);
                }
            }
        }
    }

    fn answer_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let progress = self.core.fabric().progress(self.core.revision());
        let now = Instant::now();
        let reached = |waiting: &Waiting| {
            progress.revision >= waiting.revision.0 && progress.pending.is_empty()
        };
        for waiting in std::mem::take(&mut self.waiting) {
            if reached(&waiting) || waiting.until <= now {
                // Whoever waited may have gone.
                drop(waiting.reply.send(progress.clone()));
            } else {
                self.waiting.push(waiting);
            }
        }
    }
}

/// A commit in the words of the store.
fn row_form(user: &str, commit: &selvage_controller::Commit) -> Commit {
    let mut rows = Commit {
        revision: commit.revision.0,
        at_ms: wall_ms(),
        user: user.to_owned(),
        ..Commit::default()
    };
    for object in &commit.objects {
        match object {
            Stored::Created(mo) => rows.put.push((Change::Created, Row::from(&**mo))),
            Stored::Modified(mo) => rows.put.push((Change::Modified, Row::from(&**mo))),
            Stored::Deleted(dn) => rows.deleted.push(dn.to_string()),
        }
    }
    for change in &commit.numbers {
        let (slot, row) = match change {
            number::Change::Put(row) => (&row.slot, Some(json(row))),
            number::Change::Delete(slot) => (slot, None),
        };
        rows.numbers.insert(json(slot), row);
    }
    rows
}

/// The JSON of a number or its holder, which always has one.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
