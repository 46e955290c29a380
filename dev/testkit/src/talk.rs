//! Workloads that talk: servers that send back what they are sent, and clients that ask.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selvage_host::NetNs;

use crate::probe::{self, Outcome, What};

/// How long one datagram or echo request is waited for before another is sent.
const TRY: Duration = Duration::from_millis(200);

/// Answers on TCP and UDP ports with what it is sent, until the process ends.
///
/// # Errors
/// When a port cannot be listened on.
pub fn serve(ns: &NetNs, tcp: &[u16], udp: &[u16]) -> Result<()> {
    for port in tcp {
        let listener = ns.run(|| TcpListener::bind(("::", *port)))?.context("listening")?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || echo(stream));
            }
        });
    }
    for port in udp {
        let socket = ns.run(|| UdpSocket::bind(("::", *port)))?.context("listening")?;
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(buffer.get(..len).unwrap_or_default(), from);
            }
        });
    }
    Ok(())
}

fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 65536];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(buffer.get(..len).unwrap_or_default()).is_err() {
            return;
        }
    }
}

/// A connection, if one comes about in time.
pub fn connect(ns: &NetNs, to: SocketAddr, patience: Duration) -> Option<TcpStream> {
    ns.run(|| TcpStream::connect_timeout(&to, patience)).ok()?.ok()
}

/// Whether a datagram comes back. Asks again until patience ends, as the first may be early.
///
/// # Errors
/// When there is no socket to be had.
pub fn ask_udp(ns: &NetNs, to: SocketAddr, patience: Duration) -> Result<bool> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = ns.run(|| UdpSocket::bind(any))?.context("a socket")?;
    socket.set_read_timeout(Some(TRY))?;
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let _ = socket.send_to(b"hello", to);
        if socket.recv(&mut [0; 64]).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an echo request is answered. Asks again until patience ends, likewise.
///
/// # Errors
/// When there is no socket to be had.
pub fn ping(ns: &NetNs, to: IpAddr, patience: Duration) -> Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let outcomes = probe::probe(ns.path(), &[(to, What::Ping)], TRY.min(patience))?;
        if matches!(outcomes.first(), Some(Outcome::Reached { .. })) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}
