//! A connection to one bridge.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::action::Action;
use super::error::OpenFlowError;
use super::flow::{Change, FlowFilter, FlowStats};
use super::inbox::{Inbox, PacketIns};
use super::message::{self, Bundle, Message, PortDesc, Switch, VERSION};
use super::refusal::Refusal;
use super::wire::Writer;

type Result<T> = std::result::Result<T, OpenFlowError>;

/// Bytes that are written at once.
const CHUNK: usize = 256 * 1024;

/// A connection to one bridge, by the socket that it listens on (`RUNDIR/BRIDGE.mgmt`).
///
/// Calls wait for their answer. When the switch daemon ends, every call fails with
/// [`OpenFlowError::Closed`] and [`Connection::is_open`] is false; its flows are lost then. Open
/// another, look at its flows, install them again.
#[derive(Debug)]
pub struct Connection {
    out: Arc<Mutex<UnixStream>>,
    inbox: Inbox,
    timeout: Duration,
    transaction: u32,
    bundle: u32,
    switch: Switch,
    path: PathBuf,
}

impl Connection {
    /// Connects and says hello. No answer may take longer than `timeout`, a bundle's apart: it gets
    /// as much again for every thousand changes.
    pub fn open(path: &Path, timeout: Duration) -> Result<Connection> {
        let failed = |cause: std::io::Error| OpenFlowError::Connect {
            path: path.to_owned(),
            cause: cause.to_string(),
        };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_write_timeout(Some(timeout)).map_err(failed)?;
        let out = Arc::new(Mutex::new(stream.try_clone().map_err(failed)?));
        let inbox = Inbox::start(stream, out.clone()).map_err(failed)?;
        let mut connection = Connection {
            out,
            inbox,
            timeout,
            transaction: 0,
            bundle: 0,
            switch: Switch { datapath: 0, tables: 0 },
            path: path.to_owned(),
        };
        connection.greet()?;
        Ok(connection)
    }

    /// The socket it is connected to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the switch says of itself.
    pub fn switch(&self) -> Switch {
        self.switch
    }

    /// Whether the other end is still there, as far as is known without asking.
    pub fn is_open(&self) -> bool {
        self.inbox.is_open()
    }

    /// Makes all changes, in order, as one: a packet sees the flows before all of them or after. On
    /// [`OpenFlowError::Refused`] none was made. After [`OpenFlowError::Closed`] and
    /// [`OpenFlowError::Timeout`] either all or none were; look.
    pub fn apply(&mut self, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let action = || format!("changing {} flows", changes.len());
        let thousands = u32::try_from(changes.len() / 1000).unwrap_or(u32::MAX);
        let timeout = self.timeout.saturating_mul(thousands.saturating_add(1));
        self.bundle = self.bundle.wrapping_add(1);
        let (bundle, opening) = (self.bundle, self.transaction.wrapping_add(1));
        let first = opening.wrapping_add(1);
        let question = |timeout| Question { timeout, action: &action, since: Some(opening) };
        let done = self.add(bundle, changes, &action).and_then(|()| {
            // What refuses a change leaves the bundle open, and the rest of it could be committed;
            // of one change there is no rest.
            if changes.len() > 1 {
                self.ask(message::barrier_request(), question(timeout), |answer| {
                    matches!(answer, Message::Barrier).then_some(())
                })?;
            }
            self.ask(message::bundle(bundle, Bundle::Commit), question(timeout), |answer| {
                matches!(answer, Message::BundleDone).then_some(())
            })
        });
        done.map_err(|failure| match failure {
            Failure::Fatal(error) => error,
            Failure::Refused { transaction, refusal } => {
                // It may be gone already; what is said about that is of no interest.
                let question = Question { since: None, ..question(self.timeout) };
                let _ = self.ask(message::bundle(bundle, Bundle::Discard), question, |answer| {
                    matches!(answer, Message::BundleDone).then_some(())
                });
                let number = usize::try_from(transaction.wrapping_sub(first)).ok();
                let change = number.and_then(|number| changes.get(number));
                let what = change.map_or_else(action, |change| format!("to {change}"));
                OpenFlowError::Refused { what, refusal }
            }
        })
    }

    /// The flows that `filter` selects, in no particular order.
    pub fn flows(&mut self, filter: &FlowFilter) -> Result<Vec<FlowStats>> {
        let mut all = Vec::new();
        self.request(message::flows_request(filter), "reading its flows", |answer| {
            let Message::Flows { flows, more } = answer else { return None };
            all.extend(flows);
            (!more).then_some(())
        })?;
        Ok(all)
    }

    /// The ports of the bridge.
    pub fn ports(&mut self) -> Result<Vec<PortDesc>> {
        let mut all = Vec::new();
        self.request(message::ports_request(), "reading its ports", |answer| {
            let Message::Ports { ports, more } = answer else { return None };
            all.extend(ports);
            (!more).then_some(())
        })?;
        Ok(all)
    }

    /// Makes a meter that lets through `rate` packets a second, and `burst` at once; one of that
    /// number is changed.
    pub fn set_meter(&mut self, number: u32, rate: u32, burst: u32) -> Result<()> {
        let made = self.command(message::meter(false, number, rate, burst), "making a meter");
        match made {
            Err(OpenFlowError::Refused { .. }) => {
                self.command(message::meter(true, number, rate, burst), "changing a meter")
            }
            done => done,
        }
    }

    /// How many packets each meter has held back, by its number.
    pub fn held_back(&mut self) -> Result<BTreeMap<u32, u64>> {
        let mut all = BTreeMap::new();
        self.request(message::meters_request(), "reading its meters", |answer| {
            let Message::Meters { meters, more } = answer else { return None };
            all.extend(meters);
            (!more).then_some(())
        })?;
        Ok(all)
    }

    /// Sends a packet out as if it had come in by `in_port`.
    pub fn packet_out(&mut self, in_port: u32, actions: &[Action], packet: &[u8]) -> Result<()> {
        self.command(message::packet_out(in_port, actions, packet), "sending a packet")
    }

    /// Asks whether it is there.
    pub fn echo(&mut self) -> Result<()> {
        self.request(message::echo_request(), "waiting for its echo", |answer| {
            matches!(answer, Message::EchoReply(_)).then_some(())
        })
    }

    /// Waits until all that was asked before is done.
    pub fn barrier(&mut self) -> Result<()> {
        self.request(message::barrier_request(), "waiting for a barrier", |answer| {
            matches!(answer, Message::Barrier).then_some(())
        })
    }

    /// Asks for the packets that flows send to us. There is one who takes them: a second call gives
    /// none. They come as long as this connection lives.
    pub fn packets(&mut self) -> Result<Option<PacketIns>> {
        let Some(packets) = self.inbox.take_packets() else { return Ok(None) };
        self.command(message::packet_form(), "asking for packets")?;
        self.command(message::want_packets(), "asking for packets")?;
        Ok(Some(packets))
    }

    fn greet(&mut self) -> Result<()> {
        let timeout = self.timeout;
        let hello = "saying hello";
        self.send(message::hello(), hello)?;
        let deadline = Instant::now() + timeout;
        loop {
            match self.receive(deadline, timeout, &|| hello.to_owned())?.1 {
                Message::Hello { version } if version < VERSION => {
                    return Err(OpenFlowError::Version { theirs: version });
                }
                Message::Hello { .. } => break,
                Message::Refused(refusal) => {
                    return Err(OpenFlowError::Refused { what: "our hello".to_owned(), refusal });
                }
                _ => {}
            }
        }
        self.switch =
            self.request(
                message::features_request(),
                "asking what it is",
                |answer| match answer {
                    Message::Features(switch) => Some(switch),
                    _ => None,
                },
            )?;
        Ok(())
    }

    /// Opens a bundle and adds every change to it, watching for refusals meanwhile.
    fn add(
        &mut self,
        bundle: u32,
        changes: &[Change],
        action: &dyn Fn() -> String,
    ) -> std::result::Result<(), Failure> {
        self.forget();
        let mut chunk = self.frame(message::bundle(bundle, Bundle::Open), action)?;
        for change in changes {
            // Both messages carry the same transaction (OpenFlow 1.4.1, 7.3.9.6).
            let transaction = self.transaction.wrapping_add(1);
            let too_long = || OpenFlowError::TooLong { what: change.to_string() };
            let inner =
                message::finish(message::flow_mod(change), transaction).ok_or_else(too_long)?;
            let whole = message::finish(message::bundle_add(bundle, &inner), transaction)
                .ok_or_else(too_long)?;
            self.transaction = transaction;
            chunk.extend(whole);
            if chunk.len() >= CHUNK {
                self.write(&std::mem::take(&mut chunk), action)?;
                self.check_refused()?;
            }
        }
        self.write(&chunk, action)?;
        Ok(())
    }

    /// Fails if something that was sent has been refused already.
    fn check_refused(&mut self) -> std::result::Result<(), Failure> {
        loop {
            match self.inbox.answers.try_recv() {
                Ok((transaction, Message::Refused(refusal))) => {
                    return Err(Failure::Refused { transaction, refusal });
                }
                Ok(_) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Sends what has no answer, and waits until it is done.
    fn command(&mut self, message: Writer, action: &str) -> Result<()> {
        self.forget();
        let since = Some(self.send(message, action)?);
        let question = Question { timeout: self.timeout, action: &|| action.to_owned(), since };
        let done = self.ask(message::barrier_request(), question, |answer| {
            matches!(answer, Message::Barrier).then_some(())
        });
        done.map_err(|failure| failure.of(action))
    }

    /// Sends a question and waits until `take` has its answer.
    fn request<T>(
        &mut self,
        message: Writer,
        action: &str,
        take: impl FnMut(Message) -> Option<T>,
    ) -> Result<T> {
        self.forget();
        let timeout = self.timeout;
        let question = Question { timeout, action: &|| action.to_owned(), since: None };
        self.ask(message, question, take).map_err(|failure| failure.of(action))
    }

    fn ask<T>(
        &mut self,
        message: Writer,
        question: Question<'_>,
        mut take: impl FnMut(Message) -> Option<T>,
    ) -> std::result::Result<T, Failure> {
        let Question { timeout, action, since } = question;
        let frame = self.frame(message, action)?;
        let own = self.transaction;
        let since = since.unwrap_or(own);
        self.write(&frame, action)?;
        let deadline = Instant::now() + timeout;
        loop {
            match self.receive(deadline, timeout, action)? {
                // Transactions wrap around.
                (of, Message::Refused(refusal))
                    if of.wrapping_sub(since) <= own.wrapping_sub(since) =>
                {
                    return Err(Failure::Refused { transaction: of, refusal });
                }
                (of, answer) if of == own => {
                    if let Some(answer) = take(answer) {
                        return Ok(answer);
                    }
                }
                _ => {}
            }
        }
    }

    /// Forgets answers to questions that were given up.
    fn forget(&mut self) {
        self.inbox.answers.try_iter().for_each(drop);
    }

    fn send(&mut self, message: Writer, action: &str) -> Result<u32> {
        let action = || action.to_owned();
        let frame = self.frame(message, &action)?;
        self.write(&frame, &action)?;
        Ok(self.transaction)
    }

    fn frame(&mut self, message: Writer, action: &dyn Fn() -> String) -> Result<Vec<u8>> {
        self.transaction = self.transaction.wrapping_add(1);
        message::finish(message, self.transaction)
            .ok_or_else(|| OpenFlowError::TooLong { what: action() })
    }

    fn write(&mut self, bytes: &[u8], action: &dyn Fn() -> String) -> Result<()> {
        let closed = |cause: String| OpenFlowError::Closed { action: action(), cause };
        let mut out = self.out.lock().map_err(|_| closed("its reader failed".to_owned()))?;
        out.write_all(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                OpenFlowError::Timeout { action: action(), after: self.timeout }
            }
            _ => closed(self.inbox.why(&error.to_string())),
        })
    }

    fn receive(
        &mut self,
        deadline: Instant,
        timeout: Duration,
        action: &dyn Fn() -> String,
    ) -> Result<(u32, Message)> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.inbox.answers.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                OpenFlowError::Timeout { action: action(), after: timeout }
            }
            RecvTimeoutError::Disconnected => {
                OpenFlowError::Closed { action: action(), cause: self.inbox.why("it was closed") }
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Ends the thread that reads.
        if let Ok(out) = self.out.lock() {
            let _ = out.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// A question, apart from its words.
struct Question<'a> {
    timeout: Duration,
    action: &'a dyn Fn() -> String,
    /// Refusals count from this transaction on; `None`: from the question itself.
    since: Option<u32>,
}

/// Why a question has no answer.
enum Failure {
    Refused { transaction: u32, refusal: Refusal },
    Fatal(OpenFlowError),
}

impl Failure {
    fn of(self, action: &str) -> OpenFlowError {
        match self {
            Failure::Fatal(error) => error,
            Failure::Refused { refusal, .. } => {
                OpenFlowError::Refused { what: action.to_owned(), refusal }
            }
        }
    }
}

impl From<OpenFlowError> for Failure {
    fn from(error: OpenFlowError) -> Failure {
        Failure::Fatal(error)
    }
}
