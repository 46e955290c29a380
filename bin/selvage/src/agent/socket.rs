//! The local socket: lines to requests, answers to lines.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use selvage_agent::Ticket;
use selvage_agent::local::{Code, MAX_LINE, Nothing, Refusal, Request, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::drops::Notice;
use super::owner::Event;
use crate::exit::{Failure, Kind};

/// Drops that wait for one follower; what comes when they are that many is counted and left out.
const FOLLOWER_QUEUE: usize = 1024;

/// The socket, removed when this ends.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds `agent.sock` in `run_dir`, in place of one that nobody listens on.
    pub fn bind(run_dir: &Path) -> Result<Socket, Failure> {
        super::files::make_private(run_dir)?;
        let path = run_dir.join("agent.sock");
        Ok(Socket { listener: listen(&path)?, path })
    }

    /// Serves until the agent ends.
    pub async fn serve(&self, events: mpsc::UnboundedSender<Event>) {
        let mut next = 0;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    next += 1;
                    tokio::spawn(converse(stream, next, events.clone()));
                }
                Err(error) => {
                    tracing::warn!("cannot accept on the local socket: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Listens on `path`, in place of a socket that nobody listens on. For root only.
pub fn listen(path: &Path) -> Result<UnixListener, Failure> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let message = format!("an agent listens on `{}` already", path.display());
        return Err(Failure::new(Kind::Failed, message)
            .hint("stop it first, or give this one its own --name, --state-dir and --run-dir"));
    }
    let failed = |error: io::Error| {
        Failure::new(Kind::Failed, format!("cannot listen on `{}`: {error}", path.display()))
    };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever may attach endpoints may put workloads into any group.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// One connection, until either side has enough of it.
async fn converse(stream: UnixStream, number: u64, events: mpsc::UnboundedSender<Event>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    // Unique among all connections: an owner knows a request by it.
    let mut ticket = number << 24;
    loop {
        let line = match read_line(&mut reader).await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(refusal) => {
                let _ = write(&mut writer, &Response::Error(refusal)).await;
                return;
            }
        };
        ticket += 1;
        let done = match serde_json::from_slice::<Request>(&line) {
            Ok(Request::Drops(drops)) => {
                send_drops(&mut reader, &mut writer, drops.follow, &events).await
            }
            Ok(request) => {
                let response = answer(&mut reader, request, Ticket(ticket), &events).await;
                match response {
                    Some(response) => write(&mut writer, &response).await,
                    None => return,
                }
            }
            Err(error) => {
                let refusal = Refusal::new(Code::BadRequest, format!("no request: {error}")).hint(
                    "one JSON object a line: attach, detach, list, drops, status, audit or judge",
                );
                write(&mut writer, &Response::Error(refusal)).await
            }
        };
        if done.is_err() {
            return;
        }
    }
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> Result<Option<Vec<u8>>, Refusal> {
    let mut line = Vec::new();
    let mut limited = reader.take(MAX_LINE as u64 + 1);
    match limited.read_until(b'\n', &mut line).await {
        Ok(0) => Ok(None),
        Ok(length) if length > MAX_LINE => {
            Err(Refusal::new(Code::BadRequest, format!("a line is longer than {MAX_LINE} bytes")))
        }
        Ok(_) => Ok(Some(line)),
        Err(_) => Ok(None),
    }
}

/// The answer to a request that has one; `None` when whoever asked is gone, or the agent is.
async fn answer(
    reader: &mut BufReader<OwnedReadHalf>,
    request: Request,
    ticket: Ticket,
    events: &mpsc::UnboundedSender<Event>,
) -> Option<Response> {
    let (reply, mut response) = oneshot::channel();
    events.send(Event::Request(request, ticket, reply)).ok()?;
    tokio::select! {
        response = &mut response => return response.ok(),
        gone = is_gone(reader) => if gone {
            let _ = events.send(Event::Abandoned(ticket));
            return None;
        },
    }
    // A further request waits to be read; it is read when this one is answered.
    response.await.ok()
}

/// Waits until the peer has closed its end, or sent more.
async fn is_gone(reader: &mut BufReader<OwnedReadHalf>) -> bool {
    reader.fill_buf().await.is_ok_and(<[u8]>::is_empty)
}

/// What was dropped lately and, when following, what is dropped from now on.
async fn send_drops(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    follow: bool,
    events: &mpsc::UnboundedSender<Event>,
) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (sender, mut notices) = mpsc::channel(FOLLOWER_QUEUE);
    let (reply, past) = oneshot::channel();
    events.send(Event::Drops(reply, follow.then_some(sender))).map_err(|_| gone())?;
    for drop in past.await.map_err(|_| gone())? {
        write(writer, &Response::Drop(Box::new((*drop).clone()))).await?;
    }
    if !follow {
        return write(writer, &Response::End(Nothing {})).await;
    }
    loop {
        let notice = tokio::select! {
            notice = notices.recv() => notice.ok_or_else(gone)?,
            // Nothing else is served on a connection that follows.
            _ = is_gone(reader) => return Err(gone()),
        };
        let response = match notice {
            Notice::Drop(drop) => Response::Drop(Box::new((*drop).clone())),
            Notice::Lost(count) => Response::Lost(count),
        };
        write(writer, &response).await?;
    }
}

async fn write(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
