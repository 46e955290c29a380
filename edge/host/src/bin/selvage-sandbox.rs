//! A sandbox monitor and nothing else, for callers whose own `main` cannot begin with
//! [`selvage_host::sandbox::launched`]: tests, whose `main` is the test runner's.
//!
//! The note, when it is not empty, is the path of a file that is made when the sandbox is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use selvage_host::sandbox::{Entry, join};

fn main() -> ExitCode {
    let clean = |note: &str| {
        if !note.is_empty() {
            // The caller looks whether it is there.
            let _ = std::fs::write(note, "gone\n");
        }
    };
    selvage_host::sandbox::launched(clean).or_else(joined).unwrap_or_else(|| {
        eprintln!("selvage-sandbox: this is started by tests of the sandbox");
        ExitCode::from(2)
    })
}

/// `__join PID CGROUP.. -- COMMAND..`: runs a command in the sandbox of process PID.
fn joined() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "__join" {
        return None;
    }
    let pid = arguments.next()?.parse().ok()?;
    let entry = Entry {
        pid,
        cgroups: arguments.by_ref().take_while(|a| a != "--").map(PathBuf::from).collect(),
        command: arguments.collect(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]),
        folder: PathBuf::from("/"),
    };
    match join(entry) {
        Ok(status) => Some(ExitCode::from(status as u8)),
        Err(error) => {
            eprintln!("selvage-sandbox: {error}");
            None
        }
    }
}
