//! One long TCP transfer that is watched word by word: for killing daemons under it.
//!
//! The client first says at which rate it wants the stream (bytes per second as 8 big-endian bytes,
//! 0 for as fast as it goes); then the server sends the numbers 0, 1, 2, ... as 8 big-endian bytes
//! each until the connection ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use selvage_host::NetNs;
use serde::Serialize;

/// How long one read waits before it is tried again; the length of a stall is measured across reads.
const TICK: Duration = Duration::from_millis(20);
/// How often a paced stream sends.
const PACE: Duration = Duration::from_millis(2);

/// How a transfer went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamReport {
    /// Bytes that arrived.
    pub bytes: u64,
    /// From connected to the end.
    pub lasted: Duration,
    /// The longest time in which nothing arrived.
    pub longest_stall: Duration,
    /// Why it ended before it was stopped, if it did: reset, closed, or a word out of order.
    pub broken: Option<String>,
}

/// A transfer that runs in a thread.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    thread: thread::JoinHandle<StreamReport>,
}

impl Stream {
    /// Connects from `namespace` to the stream port of a [`crate::server::Server`].
    pub fn start(namespace: &NetNs, to: IpAddr, port: u16, rate: u64) -> Result<Stream> {
        let address = SocketAddr::from((to, port));
        let patience = Duration::from_secs(5);
        let mut stream = namespace
            .run(|| TcpStream::connect_timeout(&address, patience))?
            .with_context(|| format!("connecting to {address}"))?;
        stream.write_all(&rate.to_be_bytes())?;
        stream.set_read_timeout(Some(TICK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let bytes = Arc::new(AtomicU64::new(0));
        let (told, count) = (stop.clone(), bytes.clone());
        let thread = thread::spawn(move || receive(&mut stream, &told, &count));
        Ok(Stream { stop, bytes, thread })
    }

    /// Bytes that have arrived so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends it, and says how it went.
    pub fn stop(self) -> Result<StreamReport> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the transfer's thread panicked"))
    }
}

fn receive(stream: &mut TcpStream, stop: &AtomicBool, bytes: &AtomicU64) -> StreamReport {
    let start = Instant::now();
    let mut last = start;
    let mut longest_stall = Duration::ZERO;
    let mut checker = Checker::default();
    let mut buffer = vec![0; 256 * 1024];
    let broken = loop {
        if stop.load(Ordering::Relaxed) {
            break None;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break Some("the server closed the connection".to_owned()),
            Ok(length) => {
                let now = Instant::now();
                longest_stall = longest_stall.max(now - last);
                last = now;
                if let Err(wrong) = checker.take(buffer.get(..length).unwrap_or_default()) {
                    break Some(wrong);
                }
                bytes.store(checker.bytes, Ordering::Relaxed);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => break Some(error.to_string()),
        }
    };
    let end = Instant::now();
    StreamReport {
        bytes: checker.bytes,
        lasted: end - start,
        longest_stall: longest_stall.max(end - last),
        broken,
    }
}

/// Sends numbered words until the other end is gone.
pub(crate) fn send(stream: &mut TcpStream, rate: u64) -> io::Result<()> {
    let chunk = if rate == 0 {
        64 * 1024
    } else {
        // Whole words, at least one, at most what fits a write.
        let bytes = u128::from(rate) * PACE.as_micros() / 1_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(8, 1 << 20) / 8 * 8
    };
    let start = Instant::now();
    let (mut next, mut turn) = (0_u64, 0_u32);
    let mut buffer = Vec::with_capacity(chunk);
    loop {
        buffer.clear();
        while buffer.len() < chunk {
            buffer.extend(next.to_be_bytes());
            next += 1;
        }
        stream.write_all(&buffer)?;
        turn += 1;
        if rate != 0 {
            // The pace is what is asked for; a late turn is made up for.
            thread::sleep((PACE * turn).saturating_sub(start.elapsed()));
        }
    }
}

/// Checks that words come in order, however they are cut.
#[derive(Debug, Default)]
struct Checker {
    bytes: u64,
    /// The beginning of a word whose end has not come.
    partial: Vec<u8>,
}

impl Checker {
    fn take(&mut self, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            let missing = 8 - self.partial.len();
            let (now, later) = data.split_at(missing.min(data.len()));
            self.partial.extend(now);
            data = later;
            self.bytes += now.len() as u64;
            if let Ok(word) = <[u8; 8]>::try_from(self.partial.as_slice()) {
                let (found, expected) = (u64::from_be_bytes(word), self.bytes / 8 - 1);
                if found != expected {
                    return Err(format!("word {expected} came as {found}"));
                }
                self.partial.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_checked_however_they_are_cut() {
        let bytes: Vec<u8> = (0_u64..1000).flat_map(u64::to_be_bytes).collect();
        for cut in [1, 3, 8, 13, 8000] {
            let mut checker = Checker::default();
            for piece in bytes.chunks(cut) {
                checker.take(piece).unwrap();
            }
            assert_eq!(checker.bytes, 8000);
        }
        let mut wrong = bytes;
        wrong.drain(80..88);
        let error = Checker::default().take(&wrong).unwrap_err();
        assert_eq!(error, "word 10 came as 11");
    }
}
