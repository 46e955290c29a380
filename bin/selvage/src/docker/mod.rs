//! Docker's plugin socket: HTTP around the core's driver.
//!
//! One task owns the driver. Each connection turns HTTP into calls; what the driver asks goes to the
//! agent's owner like a request of the local socket, and what it keeps goes to `docker.json` in the
//! state directory before Docker hears that it worked.

mod http;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvage_agent::Ticket;
use selvage_agent::docker::{Driver, Output, Record, Reply, VERSION};
use selvage_agent::local::{Code, Refusal, Request, Response};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use crate::agent::{Event, listen, replace};
use crate::exit::{Failure, Kind};

/// Where Docker looks for a plugin called `selvage`.
pub const SOCKET: &str = "/run/docker/plugins/selvage.sock";

/// What is kept, in the state directory.
pub const FILE: &str = "docker.json";

/// Longer than any request to the agent takes. Docker itself would wait for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tickets of the local socket count up from zero; these do from here.
const TICKETS: u64 = 1 << 63;

/// A call of Docker's: its method, its body, where the answer goes.
pub struct Call {
    method: String,
    body: Vec<u8>,
    reply: oneshot::Sender<Reply>,
}

/// The socket, bound and not yet served; removed when this ends.
pub struct Plugin {
    listener: UnixListener,
    path: PathBuf,
    kept: PathBuf,
    driver: Driver,
}

impl Plugin {
    /// Binds the socket and reads what was kept.
    pub fn open(path: &Path, state_dir: &Path) -> Result<Plugin, Failure> {
        let kept = state_dir.join(FILE);
        let driver = Driver::new(read(&kept)?);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                let message = format!("cannot make directory `{}`: {error}", folder.display());
                Failure::new(Kind::Failed, message)
            })?;
        }
        Ok(Plugin { listener: listen(path)?, path: path.to_owned(), kept, driver })
    }

    /// Serves until the agent ends.
    pub async fn serve(self, events: mpsc::UnboundedSender<Event>) {
        let (calls, queue) = mpsc::channel(64);
        let desk = Desk {
            driver: self.driver,
            kept: self.kept,
            events,
            waiting: BTreeMap::new(),
            next: TICKETS,
        };
        tracing::info!("Docker finds the plugin `selvage` at {}", self.path.display());
        let _remove = RemoveOnDrop(self.path);
        tokio::join!(desk.work(queue), http::serve(&self.listener, calls));
    }
}

struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The driver, and those who wait for it.
struct Desk {
    driver: Driver,
    kept: PathBuf,
    events: mpsc::UnboundedSender<Event>,
    waiting: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    next: u64,
}

impl Desk {
    async fn work(mut self, mut calls: mpsc::Receiver<Call>) {
        let (answers, mut answered) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                call = calls.recv() => {
                    let Some(call) = call else { return };
                    self.next += 1;
                    let ticket = Ticket(self.next);
                    let (number, body) = (self.next - TICKETS, String::from_utf8_lossy(&call.body));
                    tracing::debug!(number, method = call.method, %body, "Docker calls");
                    self.waiting.insert(ticket, call.reply);
                    self.driver.call(ticket, &call.method, &call.body);
                }
                answer = answered.recv() => {
                    let Some((ticket, response)) = answer else { return };
                    self.driver.answered(ticket, response);
                }
            }
            while let Some(output) = self.driver.poll_output() {
                match output {
                    Output::Ask(ticket, request) => {
                        tokio::spawn(ask(ticket, request, self.events.clone(), answers.clone()));
                    }
                    Output::Save(ticket, record) => {
                        let result = save(self.kept.clone(), *record).await;
                        self.driver.saved(ticket, result);
                    }
                    Output::Reply(ticket, reply) => {
                        let (number, body) =
                            (ticket.0 - TICKETS, String::from_utf8_lossy(&reply.body));
                        tracing::debug!(number, %body, "answered");
                        if let Some(waiting) = self.waiting.remove(&ticket) {
                            // Docker may have given up, or may be gone.
                            let _ = waiting.send(reply);
                        }
                    }
                }
            }
        }
    }
}

/// Asks the agent, and has an answer in any case.
async fn ask(
    ticket: Ticket,
    request: Request,
    events: mpsc::UnboundedSender<Event>,
    answers: mpsc::UnboundedSender<(Ticket, Response)>,
) {
    let (reply, response) = oneshot::channel();
    let stopping = || Refusal::new(Code::Stopping, "the agent is stopping");
    let response = match events.send(Event::Request(request, ticket, reply)) {
        Err(_) => Response::Error(stopping()),
        Ok(()) => match tokio::time::timeout(PATIENCE, response).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Response::Error(stopping()),
            Err(_) => {
                let _ = events.send(Event::Abandoned(ticket));
                let message = format!("the agent did not answer within {} s", PATIENCE.as_secs());
                Response::Error(Refusal::new(Code::Deadline, message))
            }
        },
    };
    // The desk is gone when the agent ends.
    let _ = answers.send((ticket, response));
}

async fn save(path: PathBuf, record: Record) -> Result<(), String> {
    let written = tokio::task::spawn_blocking(move || replace(&path, &record)).await;
    written.unwrap_or_else(|error| Err(error.to_string()))
}

/// What was kept. What cannot be read is an error: to take it for nothing would leave Docker with
/// networks that nobody knows.
fn read(path: &Path) -> Result<Record, Failure> {
    let failed = |why: String| {
        Failure::new(Kind::Failed, format!("`{}` {why}", path.display()))
            .hint("restore the file, or remove it and Docker's selvage networks")
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Record::default()),
        Err(error) => return Err(failed(format!("cannot be read: {error}"))),
    };
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| failed(format!("is damaged: {error}")))?;
    if record.version != VERSION {
        return Err(failed("was written by another version of selvage".to_owned()));
    }
    Ok(record)
}
