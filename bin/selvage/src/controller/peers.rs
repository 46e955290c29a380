//! OpFlex connections: bytes in, bytes out, and nothing a peer does hurts another.
//!
//! One task a connection. What it reads goes to the desk two pieces at a time at most, so a flood
//! of one peer waits in that peer's own socket. What it is to write waits in a queue that is
//! bounded in bytes; a peer that lets it fill is cut.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::desk::{Ask, Desk};

/// Connections at a time.
const MAX_PEERS: usize = 8_192;
/// Bytes that may wait for one peer.
const MAX_QUEUED: usize = 64 << 20;
/// Pieces of one peer that may wait for the desk.
const MAX_PENDING: usize = 2;
/// One read, and one write.
const PIECE: usize = 64 << 10;
/// A peer that takes no byte for so long is cut.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// A connection, by the order in which it was made.
pub type PeerNumber = u64;

/// What a connection tells the desk.
pub enum PeerEvent {
    /// It was made.
    Open(Line),
    /// Bytes came. The permit goes with their processing.
    Bytes(Vec<u8>, OwnedSemaphorePermit),
    /// It ended.
    Closed(String),
}

/// The desk's end of a connection.
pub struct Line {
    /// Where the peer is.
    pub remote: SocketAddr,
    /// The address of ours that it connected to.
    pub local: SocketAddr,
    queue: mpsc::UnboundedSender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

impl Line {
    /// Queues bytes for the peer; false if its queue is full, and the connection cut.
    fn send(&self, bytes: Vec<u8>) -> bool {
        let queued = self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        if queued + bytes.len() > MAX_QUEUED || self.queue.send(bytes).is_err() {
            self.cut.notify_one();
            return false;
        }
        true
    }
}

/// The lines of all peers, held by the desk.
#[derive(Default)]
pub struct Lines(BTreeMap<PeerNumber, Line>);

impl Lines {
    /// Notes a new connection.
    pub fn open(&mut self, peer: PeerNumber, line: Line) {
        self.0.insert(peer, line);
    }

    /// Queues bytes; a peer that does not take its bytes loses its connection.
    pub fn send(&mut self, peer: PeerNumber, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if self.0.get(&peer).is_some_and(|line| !line.send(bytes)) {
            tracing::warn!(peer, "the peer does not read: cut");
            self.0.remove(&peer);
        }
    }

    /// Ends a connection once what is queued was sent.
    pub fn close(&mut self, peer: PeerNumber) {
        self.0.remove(&peer);
    }
}

/// Accepts connections for ever.
pub async fn serve(listener: TcpListener, desk: Desk) {
    let places = Arc::new(Semaphore::new(MAX_PEERS));
    for peer in 1.. {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, remote) = accept(&listener).await;
        let desk = desk.clone();
        tokio::spawn(async move {
            converse(peer, stream, remote, &desk).await;
            drop(place);
        });
    }
}

/// The next connection. What fails here (a peer that is gone again, no file descriptors left)
/// passes with time.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => return (stream, remote),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(peer: PeerNumber, stream: TcpStream, remote: SocketAddr, desk: &Desk) {
    // Only a delay is lost where the system refuses it.
    let _ = stream.set_nodelay(true);
    // Without an own address the connection is gone already.
    let Ok(local) = stream.local_addr() else { return };
    let (read, write) = stream.into_split();
    let (queue, waiting) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let cut = Arc::new(Notify::new());
    let line = Line { remote, local, queue, queued: Arc::clone(&queued), cut: Arc::clone(&cut) };
    if !desk.tell(Ask::Peer(peer, PeerEvent::Open(line))).await {
        return;
    }
    let why = tokio::select! {
        why = read_all(peer, read, desk) => why,
        why = write_all(write, waiting, &queued) => why,
        () = cut.notified() => "it did not read what was sent".to_owned(),
    };
    desk.tell(Ask::Peer(peer, PeerEvent::Closed(why))).await;
}

async fn read_all(peer: PeerNumber, mut read: OwnedReadHalf, desk: &Desk) -> String {
    let pending = Arc::new(Semaphore::new(MAX_PENDING));
    let mut buffer = vec![0; PIECE];
    loop {
        let Ok(permit) = Arc::clone(&pending).acquire_owned().await else {
            return "it was closed".to_owned();
        };
        let bytes = match read.read(&mut buffer).await {
            Ok(0) => return "the peer closed it".to_owned(),
            Ok(count) => buffer.get(..count).unwrap_or_default().to_vec(),
            Err(error) => return error.to_string(),
        };
        if !desk.tell(Ask::Peer(peer, PeerEvent::Bytes(bytes, permit))).await {
            return "the controller stops".to_owned();
        }
    }
}

/// Ends when the desk has closed its end and everything was sent.
async fn write_all(
    mut write: OwnedWriteHalf,
    mut waiting: mpsc::UnboundedReceiver<Vec<u8>>,
    queued: &AtomicUsize,
) -> String {
    while let Some(bytes) = waiting.recv().await {
        for piece in bytes.chunks(PIECE) {
            match tokio::time::timeout(WRITE_PATIENCE, write.write_all(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "it did not read what was sent".to_owned(),
            }
            queued.fetch_sub(piece.len(), Ordering::Relaxed);
        }
    }
    // The peer may be gone already; then there is nothing left to end.
    let _ = write.shutdown().await;
    "it was closed".to_owned()
}
