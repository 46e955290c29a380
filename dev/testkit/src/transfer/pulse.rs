//! Numbered datagrams there and back at a steady rate: what is lost has a number and a time.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use selvage_host::NetNs;
use serde::Serialize;

/// How long an answer may take before its request counts as lost.
const GRACE: Duration = Duration::from_secs(1);

/// How the exchange went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PulseReport {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered, each counted once.
    pub answered: u64,
    /// Numbers of the requests that were not answered, ascending, with the time each was sent at.
    pub lost: Vec<(u64, Duration)>,
    /// Requests the kernel refused to send, with its words.
    pub refused: Vec<(u64, String)>,
    /// Answers that came twice.
    pub duplicates: u64,
    /// The median of the times from request to answer.
    pub median: Duration,
    /// The longest of them.
    pub longest: Duration,
    /// The longest time between two answers.
    pub longest_gap: Duration,
}

/// An exchange that runs in a thread.
#[derive(Debug)]
pub struct Pulse {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<PulseReport>,
}

impl Pulse {
    /// Sends `rate` requests a second from `namespace` to a port of a [`crate::server::Server`].
    pub fn start(namespace: &NetNs, to: IpAddr, port: u16, rate: u32) -> Result<Pulse> {
        ensure!((1..=100_000).contains(&rate), "a rate between 1 and 100000, not {rate}");
        let local: IpAddr = match to {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let address = SocketAddr::from((to, port));
        let socket = namespace.run(|| UdpSocket::bind((local, 0)))??;
        socket.set_nonblocking(true)?;
        socket.connect(address).with_context(|| format!("connecting to {address}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let interval = Duration::from_secs(1) / rate;
        let thread = thread::spawn(move || exchange(&socket, interval, &told));
        Ok(Pulse { stop, thread })
    }

    /// Sends no more, waits for what is on the way, and says how it went.
    pub fn stop(self) -> Result<PulseReport> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the pulse's thread panicked"))
    }
}

/// What is known while it runs.
#[derive(Default)]
struct Tally {
    /// When each request that is not answered was sent.
    waiting: BTreeMap<u64, Duration>,
    refused: Vec<(u64, String)>,
    times: Vec<Duration>,
    duplicates: u64,
    last_answer: Option<Duration>,
    longest_gap: Duration,
}

/// How many missed beats are made up for at once; as many datagrams fit any socket's buffer.
const MOST_MISSED: u32 = 64;

fn exchange(socket: &UdpSocket, interval: Duration, stop: &AtomicBool) -> PulseReport {
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut next = 0_u64;
    let mut due = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        listen(socket, start, due, &mut tally);
        // A few missed beats are made up for. More, from a time when this thread was not let run,
        // are left out: in one burst they would overflow the socket's buffer, which is no loss of
        // the path's.
        due = (due + interval).max(start.elapsed().saturating_sub(interval * MOST_MISSED));
        let now = start.elapsed();
        match socket.send(&next.to_be_bytes()) {
            Ok(_) => drop(tally.waiting.insert(next, now)),
            // An earlier request's ICMP error is told on the next send; it is about the past, so
            // the number is tried once more and only then given up.
            Err(_) => match socket.send(&next.to_be_bytes()) {
                Ok(_) => drop(tally.waiting.insert(next, now)),
                Err(error) => tally.refused.push((next, error.to_string())),
            },
        }
        next += 1;
    }
    let end = start.elapsed() + GRACE;
    while !tally.waiting.is_empty() && start.elapsed() < end {
        let soon = (start.elapsed() + Duration::from_millis(10)).min(end);
        listen(socket, start, soon, &mut tally);
    }
    tally.report(next)
}

/// Takes answers until `until`. Waits with ppoll(2): a receive timeout counts in ticks of the
/// kernel's clock, several milliseconds each.
fn listen(socket: &UdpSocket, start: Instant, until: Duration, tally: &mut Tally) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                tally.take(buffer.get(..length).unwrap_or_default(), start.elapsed());
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // An ICMP error about an earlier request, told once.
            Err(_) => continue,
        }
        let left = until.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        // Whatever it says, the next look tells.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None);
    }
}

impl Tally {
    fn take(&mut self, answer: &[u8], now: Duration) {
        let Some(number) = answer.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else {
            return;
        };
        match self.waiting.remove(&number) {
            Some(sent) => {
                self.times.push(now - sent);
                let gap = now - self.last_answer.unwrap_or(Duration::ZERO);
                self.longest_gap = self.longest_gap.max(gap);
                self.last_answer = Some(now);
            }
            None => self.duplicates += 1,
        }
    }

    fn report(mut self, sent: u64) -> PulseReport {
        self.times.sort();
        PulseReport {
            sent,
            answered: self.times.len() as u64,
            lost: self.waiting.into_iter().collect(),
            refused: self.refused,
            duplicates: self.duplicates,
            median: self.times.get(self.times.len() / 2).copied().unwrap_or_default(),
            longest: self.times.last().copied().unwrap_or_default(),
            longest_gap: self.longest_gap,
        }
    }
}
