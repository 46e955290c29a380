//! The agents of this machine, each behind its unix socket.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use selvage_agent::local::{Code, Refusal, Request, Response};

use crate::exit::{Failure, Kind};

/// Which agents to ask.
#[derive(clap::Args)]
pub struct Agents {
    /// Socket of the agent to ask [default: every agent of this machine]
    #[arg(long, env = "SELVAGE_AGENT", value_name = "SOCKET")]
    pub agent: Option<PathBuf>,
    /// Where daemons on this machine leave their sockets and addresses
    #[arg(long, env = "SELVAGE_RUN_DIR", value_name = "DIR", default_value = "/run/selvage")]
    pub run_dir: PathBuf,
}

impl Agents {
    /// The sockets to ask: the one that was named, else every `agent.sock` in the run directory
    /// and in its folders.
    pub fn sockets(&self) -> Result<Vec<PathBuf>, Failure> {
        if let Some(socket) = &self.agent {
            return Ok(vec![socket.clone()]);
        }
        let mut found: Vec<PathBuf> = fs::read_dir(&self.run_dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("agent.sock"))
            .chain([self.run_dir.join("agent.sock")])
            .filter(|path| path.exists())
            .collect();
        found.sort();
        if found.is_empty() {
            let place = self.run_dir.display();
            return Err(Failure::new(
                Kind::Unreachable,
                format!("no agent runs here: no socket in {place}"),
            )
            .hint("start one with `selvage agent`, or name its socket with --agent"));
        }
        Ok(found)
    }

    /// Sends one request to the agent behind `socket` and gives the answers as they come.
    pub fn ask(
        socket: &Path,
        request: &Request,
    ) -> Result<impl Iterator<Item = Result<Response, Failure>> + use<>, Failure> {
        let name = socket.display().to_string();
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Unreachable, format!("cannot reach the agent at {name}: {error}"))
                .hint("is it running? `selvage agent` starts it")
        };
        let mut stream = UnixStream::connect(socket).map_err(|error| unreachable(&error))?;
        let text = serde_json::to_string(request).map_err(|error| unreachable(&error))?;
        writeln!(stream, "{text}").map_err(|error| unreachable(&error))?;
        Ok(BufReader::new(stream).lines().map(move |line| {
            let line =
                line.map_err(|error| Failure::new(Kind::Unreachable, format!("{name}: {error}")))?;
            serde_json::from_str(&line).map_err(|error| {
                Failure::new(Kind::Failed, format!("{name} answered no JSON: {error}"))
            })
        }))
    }

    /// Sends one request that has one answer.
    pub fn ask_one(socket: &Path, request: &Request) -> Result<Response, Failure> {
        let gone = || Failure::new(Kind::Unreachable, "the agent closed the connection unanswered");
        match Agents::ask(socket, request)?.next().ok_or_else(gone)?? {
            Response::Error(refusal) => Err(refused(refusal)),
            answer => Ok(answer),
        }
    }
}

/// What an agent refused, as a failure.
pub fn refused(refusal: Refusal) -> Failure {
    let kind = match refusal.code {
        Code::NotReady => Kind::Unreachable,
        Code::NoSuchEpg | Code::NoSuchEndpoint | Code::Exists | Code::BadRequest => Kind::Input,
        _ => Kind::Failed,
    };
    let failure = Failure::new(kind, refusal.message);
    match refusal.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
