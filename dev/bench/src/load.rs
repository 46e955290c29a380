//! Load between two network namespaces: a stream, request and response, connect and close.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};
use selvage_host::NetNs;
use serde::Serialize;

/// How long a connection may take before the path counts as broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ports that loads use; policy must let them pass.
pub const PORTS: std::ops::RangeInclusive<u16> = 5001..=5003;

/// What is done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// One TCP stream as fast as it goes: Gbit/s.
    Stream,
    /// One byte there, one byte back, on one connection: round trips a second.
    RequestResponse,
    /// A new connection for every byte there and back: connections a second.
    Connect,
}

impl Load {
    /// All of them.
    pub const ALL: [Load; 3] = [Load::Stream, Load::RequestResponse, Load::Connect];

    /// As it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Load::Stream => "TCP stream",
            Load::RequestResponse => "request/response",
            Load::Connect => "connect rate",
        }
    }

    /// What its number counts.
    pub fn unit(self) -> &'static str {
        match self {
            Load::Stream => "Gbit/s",
            Load::RequestResponse => "round trips/s",
            Load::Connect => "connections/s",
        }
    }

    fn port(self) -> u16 {
        match self {
            Load::Stream => 5001,
            Load::RequestResponse => 5002,
            Load::Connect => 5003,
        }
    }

    /// Does it for `time`, from `client` to `to`, which is an address of `server`.
    pub fn run(self, client: &NetNs, server: &NetNs, to: IpAddr, time: Duration) -> Result<f64> {
        let to = SocketAddr::new(to, self.port());
        let listener = server.run(|| TcpListener::bind(SocketAddr::new(to.ip(), to.port())))?;
        let listener = listener.with_context(|| format!("listening on {to}"))?;
        thread::scope(|scope| {
            let serving = scope.spawn(move || self.serve(&listener));
            let asked = client.run(|| self.ask(to, time))?;
            let served = serving.join().map_err(|_| anyhow!("the server's thread panicked"))?;
            match self {
                Load::Stream => asked.and(served),
                Load::RequestResponse | Load::Connect => served.and(asked),
            }
        })
    }

    fn serve(self, listener: &TcpListener) -> Result<f64> {
        match self {
            Load::Stream => receive(accept(listener)?),
            Load::RequestResponse => echo(accept(listener)?).map(|()| 0.0),
            Load::Connect => loop {
                let mut stream = accept(listener)?;
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                stream.write_all(&byte)?;
                if byte == LAST {
                    return Ok(0.0);
                }
            },
        }
    }

    fn ask(self, to: SocketAddr, time: Duration) -> Result<f64> {
        match self {
            Load::Stream => send(connect(to)?, time).map(|()| 0.0),
            Load::RequestResponse => {
                let mut stream = connect(to)?;
                stream.set_nodelay(true)?;
                count(time, || exchange(&mut stream, *b"x"))
            }
            Load::Connect => {
                let rate = count(time, || knock(to, *b"x"))?;
                knock(to, LAST)?;
                Ok(rate)
            }
        }
    }
}

/// Tells the server of [`Load::Connect`] that no further connection comes.
const LAST: [u8; 1] = *b"L";

/// Waits for a client, but not for ever: a path that lets nothing through is an error.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(PATIENCE).context("too patient")?;
    anyhow::ensure!(poll(&mut ready, patience)? > 0, "nobody connected within {PATIENCE:?}");
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE);
    let stream = stream.with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn send(mut stream: TcpStream, time: Duration) -> Result<()> {
    let block = vec![0x5a; 128 * 1024];
    let end = Instant::now() + time;
    while Instant::now() < end {
        stream.write_all(&block)?;
    }
    Ok(())
}

/// Gbit/s, as the receiver saw them.
fn receive(mut stream: TcpStream) -> Result<f64> {
    let mut block = vec![0; 256 * 1024];
    let start = Instant::now();
    let mut bytes = 0_u64;
    loop {
        match stream.read(&mut block)? {
            0 => break,
            more => bytes += more as u64,
        }
    }
    Ok(bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9)
}

fn echo(mut stream: TcpStream) -> Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

fn exchange(stream: &mut TcpStream, byte: [u8; 1]) -> Result<()> {
    stream.write_all(&byte)?;
    stream.read_exact(&mut [0])?;
    Ok(())
}

/// One connection, ended by a reset so that its port is free again at once.
fn knock(to: SocketAddr, byte: [u8; 1]) -> Result<()> {
    let mut stream = connect(to)?;
    exchange(&mut stream, byte)?;
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    Ok(())
}

/// How often a second `once` can be done.
fn count(time: Duration, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    let mut times = 0_u64;
    while start.elapsed() < time {
        once()?;
        times += 1;
    }
    Ok(times as f64 / start.elapsed().as_secs_f64())
}
