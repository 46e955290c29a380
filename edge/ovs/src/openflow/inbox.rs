//! What a bridge sends, sorted by a thread: answers, and packets for us.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use super::error::OpenFlowError;
use super::message::{self, HEADER, Message, PacketIn};

/// Answers that may wait. When nobody takes them, no more are read: the switch waits.
const ANSWERS: usize = 64;
/// Packets that may wait. When nobody takes them, further ones are counted and forgotten.
const PACKETS: usize = 4096;

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Shared {
    open: AtomicBool,
    /// Packets that nobody took in time.
    lost: AtomicU64,
    why: OnceLock<String>,
}

/// The receiving end of a connection.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) answers: Receiver<(u32, Message)>,
    shared: Arc<Shared>,
    packets: Option<PacketIns>,
}

/// Packets that the switch sent us. They wait here, a few thousand at most.
#[derive(Debug)]
pub struct PacketIns {
    packets: Receiver<Box<PacketIn>>,
    shared: Arc<Shared>,
    /// Lost ones that were told of.
    told: u64,
}

impl Inbox {
    /// Starts reading `stream`; echo requests are answered to `out`, which others write to as well.
    pub(super) fn start(stream: UnixStream, out: Arc<Mutex<UnixStream>>) -> io::Result<Inbox> {
        let (to_answers, answers) = sync_channel(ANSWERS);
        let (to_packets, packets) = sync_channel(PACKETS);
        let shared = Arc::new(Shared { open: AtomicBool::new(true), ..Shared::default() });
        let reader = Reader { stream, out, to_answers, to_packets, shared: shared.clone() };
        thread::Builder::new().name("openflow".to_owned()).spawn(move || reader.run())?;
        let packets = Some(PacketIns { packets, shared: shared.clone(), told: 0 });
        Ok(Inbox { answers, shared, packets })
    }

    /// Whether the connection is open.
    pub(super) fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Why it ended, as far as whoever reads has found out; otherwise `else_why`.
    pub(super) fn why(&self, else_why: &str) -> String {
        self.shared.why.get().cloned().unwrap_or_else(|| else_why.to_owned())
    }

    /// The packets; there is one who takes them.
    pub(super) fn take_packets(&mut self) -> Option<PacketIns> {
        self.packets.take()
    }
}

impl PacketIns {
    /// Waits for packets, at most `timeout`, and appends all that are there to `out`. Returns how
    /// many were lost since the last call because they were not taken in time.
    pub fn wait(
        &mut self,
        timeout: Duration,
        out: &mut Vec<PacketIn>,
    ) -> Result<u64, OpenFlowError> {
        match self.packets.recv_timeout(timeout) {
            Ok(first) => {
                out.push(*first);
                out.extend(self.packets.try_iter().take(PACKETS).map(|packet| *packet));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let cause = self.shared.why.get().cloned().unwrap_or_default();
                return Err(OpenFlowError::Closed { action: "waiting for packets".into(), cause });
            }
        }
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let news = lost.saturating_sub(self.told);
        self.told = lost;
        Ok(news)
    }
}

struct Reader {
    stream: UnixStream,
    out: Arc<Mutex<UnixStream>>,
    to_answers: SyncSender<(u32, Message)>,
    to_packets: SyncSender<Box<PacketIn>>,
    shared: Arc<Shared>,
}

impl Reader {
    fn run(mut self) {
        let why = loop {
            if let Err(why) = self.one() {
                break why;
            }
        };
        let _ = self.shared.why.set(why);
        self.shared.open.store(false, Ordering::Release);
        // Whoever writes must notice too.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Reads a message and passes it on; fails with why it cannot go on.
    fn one(&mut self) -> Result<(), String> {
        let frame = read_frame(&mut self.stream).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "the switch closed it".to_owned(),
            _ => error.to_string(),
        })?;
        let (transaction, message) =
            message::decode(&frame).map_err(|cause| format!("malformed message: {cause}"))?;
        match message {
            Message::EchoRequest(payload) => {
                let Some(reply) = message::finish(message::echo_reply(&payload), transaction)
                else {
                    return Ok(());
                };
                let mut out = self.out.lock().map_err(|_| "its writer failed".to_owned())?;
                out.write_all(&reply).map_err(|error| error.to_string())
            }
            Message::Packet(packet) => match self.to_packets.try_send(packet) {
                Err(TrySendError::Full(_)) => {
                    self.shared.lost.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                _ => Ok(()),
            },
            Message::PortStatus(_) | Message::Other(_) => Ok(()),
            answer => self
                .to_answers
                .send((transaction, answer))
                .map_err(|_| "nobody reads it any more".to_owned()),
        }
    }
}

/// Reads one message. Its length has 16 bits, so it cannot be large.
fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let [version, _, high, low, ..] = header;
    // 1.0 to 1.5. A stranger's text would read as a long message otherwise, and be waited for.
    if !(1..=6).contains(&version) {
        return Err(io::Error::other(format!("malformed message: no OpenFlow version {version}")));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < HEADER {
        return Err(io::Error::other(format!("malformed message: it says it has {length} bytes")));
    }
    let mut frame = header.to_vec();
    frame.resize(length, 0);
    stream.read_exact(frame.get_mut(HEADER..).unwrap_or_default())?;
    Ok(frame)
}
