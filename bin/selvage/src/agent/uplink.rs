//! Connections to controllers: bytes out, bytes in.

use std::collections::BTreeMap;
use std::time::Duration;

use selvage_opflex::client::PeerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::owner::Event;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// The connections of this agent, by controller.
pub struct Uplinks {
    events: UnboundedSender<Event>,
    writers: BTreeMap<PeerId, UnboundedSender<Vec<u8>>>,
}

impl Uplinks {
    /// None yet; what happens on each is told to `events`.
    pub fn new(events: UnboundedSender<Event>) -> Uplinks {
        Uplinks { events, writers: BTreeMap::new() }
    }

    /// Connects, and tells when it is done or failed.
    pub fn connect(&mut self, peer: PeerId, address: String) {
        let (writer, bytes) = unbounded_channel();
        self.writers.insert(peer, writer);
        let events = self.events.clone();
        tokio::spawn(async move {
            let why = match run(peer, &address, bytes, &events).await {
                Ok(()) => "the controller closed the connection".to_owned(),
                Err(why) => why,
            };
            // The owner is gone when the agent ends.
            let _ = events.send(Event::Disconnected(peer, why));
        });
    }

    /// Sends bytes after those before. What goes to a connection that just ended is lost with it.
    pub fn send(&self, peer: PeerId, bytes: Vec<u8>) {
        if let Some(writer) = self.writers.get(&peer) {
            let _ = writer.send(bytes);
        }
    }

    /// Closes, after what was sent before.
    pub fn close(&mut self, peer: PeerId) {
        self.writers.remove(&peer);
    }
}

async fn run(
    peer: PeerId,
    address: &str,
    mut bytes: UnboundedReceiver<Vec<u8>>,
    events: &UnboundedSender<Event>,
) -> Result<(), String> {
    let connecting = timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = connecting
        .map_err(|_| format!("no answer within {} s", CONNECT.as_secs()))?
        .map_err(|error| error.to_string())?;
    // Small requests in both directions, each waited for.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let _ = events.send(Event::Connected(peer));
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = reader.read(&mut buffer) => {
                let length = read.map_err(|error| error.to_string())?;
                if length == 0 {
                    return Ok(());
                }
                let got = buffer.get(..length).unwrap_or_default().to_vec();
                let _ = events.send(Event::Received(peer, got));
            }
            next = bytes.recv() => match next {
                Some(next) => writer.write_all(&next).await.map_err(|error| error.to_string())?,
                None => {
                    drop(writer.shutdown().await);
                    return Err("closed from this side".to_owned());
                }
            },
        }
    }
}
