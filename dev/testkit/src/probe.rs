//! Probes: real connections and echo requests, many at once, from inside a namespace.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selvage_host::NetNs;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::echo;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A TCP connection to this port, answered by `selvage-probe`.
    Tcp(u16),
    /// An echo request and its answer.
    Ping,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, by whoever says so.
    Reached {
        /// The name the far end gave; empty for echo.
        by: String,
        /// After how long.
        after: Duration,
    },
    /// Nothing came back in time.
    Silent,
    /// Something else came back: refused, unreachable, an answer that is none.
    Failed(String),
}

/// Tries every target from inside one namespace, all at once, each for at most `patience`.
/// Answers come in the order of the targets.
pub fn probe(
    namespace: &Path,
    targets: &[(IpAddr, What)],
    patience: Duration,
) -> Result<Vec<Outcome>> {
    let namespace = NetNs::open(namespace)?;
    namespace.run(|| in_namespace(targets, patience))?
}

fn in_namespace(targets: &[(IpAddr, What)], patience: Duration) -> Result<Vec<Outcome>> {
    // One thread: a socket belongs to the namespace of the thread that makes it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connections: Vec<_> = targets
        .iter()
        .filter_map(|(ip, what)| match what {
            What::Tcp(port) => Some(SocketAddr::new(*ip, *port)),
            What::Ping => None,
        })
        .map(|address| runtime.spawn(connect(address, patience)))
        .collect();
    let mut connected = runtime
        .block_on(async {
            let mut outcomes = Vec::new();
            for connection in connections {
                outcomes.push(connection.await.context("a probe broke off")?);
            }
            anyhow::Ok(outcomes)
        })?
        .into_iter();
    let hosts: Vec<IpAddr> =
        targets.iter().filter(|(_, what)| *what == What::Ping).map(|(ip, _)| *ip).collect();
    let mut echoed = echo::echo(&hosts, patience)?.into_iter();
    Ok(targets
        .iter()
        .filter_map(|(_, what)| match what {
            What::Tcp(_) => connected.next(),
            What::Ping => echoed.next(),
        })
        .collect())
}

async fn connect(address: SocketAddr, patience: Duration) -> Outcome {
    let start = Instant::now();
    let conversation = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(patience, conversation).await {
        Err(_) => Outcome::Silent,
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Ok(Ok(answer)) => match answer.trim().rsplit_once(' ') {
            Some((name, port)) if port == address.port().to_string() => {
                Outcome::Reached { by: name.to_owned(), after: start.elapsed() }
            }
            _ => Outcome::Failed(format!("answered {answer:?}")),
        },
    }
}
