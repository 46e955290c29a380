//! What is done when a workload is gone, by its sandbox's monitor.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use selvage_agent::local::{Detach, Request};
use selvage_host::sandbox;
use selvage_rules::EndpointId;
use serde::{Deserialize, Serialize};

/// How long a hanging agent may keep a monitor. The agent sees by itself that the link is gone; the
/// message only makes it sooner.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a monitor must know to clean up.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    id: String,
    record: PathBuf,
    agent: PathBuf,
}

impl Note {
    /// For the workload called `id`.
    pub fn new(id: &str, record: &Path, agent: &Path) -> Note {
        Note { id: id.to_owned(), record: record.to_owned(), agent: agent.to_owned() }
    }

    /// As the sandbox carries it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Takes over when this process was started to look after a sandbox.
pub fn monitored() -> Option<ExitCode> {
    sandbox::launched(|note| {
        let Ok(note) = serde_json::from_str::<Note>(note) else { return };
        // An agent that does not know it any more, or is gone, is what is wanted.
        let _ = detach(&note);
        let _ = fs::remove_file(&note.record);
        if let Some(folder) = note.record.parent() {
            // Stays while others, or logs, are in it.
            let _ = fs::remove_dir(folder);
        }
    })
}

fn detach(note: &Note) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(&note.agent)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = Request::Detach(Detach { id: EndpointId(note.id.as_str().into()) });
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    // Waited for, so that an address is free again when `selvage run` ends.
    BufReader::new(stream).read_line(&mut String::new()).map(drop)
}
