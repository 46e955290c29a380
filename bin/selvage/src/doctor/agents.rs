//! What each agent's data plane has installed, against what is desired.

use selvage_agent::datapath::Drift;
use selvage_agent::local::{AuditView, Nothing, Request, Response};
use serde::Serialize;

use crate::client::Agents;
use crate::exit::{Failure, Kind};

/// What was found of one agent.
#[derive(Serialize)]
pub struct Checkup {
    /// Its socket.
    pub socket: String,
    /// What its data plane said; absent when it could not be asked.
    pub audit: Option<AuditView>,
    /// Why it could not.
    pub error: Option<String>,
    /// Tables that differ.
    #[serde(skip)]
    pub drift: Vec<Drift>,
}

impl Checkup {
    /// Whether all is as it should be.
    pub fn well(&self) -> bool {
        self.error.is_none() && self.drift.is_empty()
    }

    /// That, in words.
    pub fn words(&self) -> String {
        let Some(audit) = &self.audit else {
            return self.error.clone().unwrap_or_default();
        };
        let plane = &audit.dataplane;
        match (&audit.desired, audit.installed) {
            (None, Some(installed)) => format!(
                "{plane} has revision {installed}, left by an earlier agent; nothing was asked of \
                 it since"
            ),
            (None, None) => format!("{plane} is empty, and nothing was asked of it yet"),
            (Some(desired), _) if self.drift.is_empty() => {
                format!("{plane} has what revision {desired} desires, entry by entry")
            }
            (Some(desired), _) => format!("{plane} differs from what revision {desired} desires"),
        }
    }
}

/// Asks every agent of this machine, or the one that was named.
pub fn look(agents: &Agents) -> Result<Vec<Checkup>, Failure> {
    let sockets = match agents.sockets() {
        Ok(sockets) => sockets,
        // A machine without an agent can be looked at too, unless one was named.
        Err(error) if agents.agent.is_none() && error.kind() == Kind::Unreachable => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(sockets.iter().map(|socket| ask(socket)).collect())
}

fn ask(socket: &std::path::Path) -> Checkup {
    let name = socket.display().to_string();
    match Agents::ask_one(socket, &Request::Audit(Nothing {})) {
        Ok(Response::Audit(audit)) => {
            let drift = audit.drift.clone();
            Checkup { socket: name, audit: Some(audit), error: None, drift }
        }
        Ok(_) => unasked(name, "its answer is none to this question".to_owned()),
        Err(failure) => unasked(name, failure.to_string()),
    }
}

fn unasked(socket: String, error: String) -> Checkup {
    Checkup { socket, audit: None, error: Some(error), drift: Vec::new() }
}
