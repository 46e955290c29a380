//! What is written down about a workload, beside its agent's socket: `workloads/NAME.json`.
//!
//! The sandbox's monitor keeps the file locked for as long as it lives. So a record whose lock can
//! be had is one that a killed monitor left, and its name is free; a process id never has to be
//! trusted.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selvage_agent::local::EndpointView;
use selvage_host::sandbox::Sandbox;
use selvage_rules::Mac;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Kind};

/// How often and after which pause a lock is tried before it counts as held.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A workload that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workload {
    /// Its name: the endpoint's on its host.
    pub name: String,
    /// DN of its group.
    pub group: String,
    /// Its host.
    pub host: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its first process.
    pub pid: u32,
    /// The process that looks after it.
    pub monitor: u32,
    /// Where its network namespace can be opened.
    pub netns: PathBuf,
    /// Folders of its control groups.
    pub cgroups: Vec<PathBuf>,
    /// What it runs.
    pub command: Vec<String>,
    /// Socket of its agent.
    pub agent: PathBuf,
    /// When its policy was in force, in milliseconds since 1970-01-01 UTC.
    pub started_ms: u64,
    /// Microseconds from asking the agent to its answer that policy is in force, by the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_us: Option<u64>,
}

impl Workload {
    /// What there is to say once the agent has answered.
    pub fn new(
        command: &[String],
        sandbox: &Sandbox,
        view: &EndpointView,
        agent: &Path,
    ) -> Workload {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Workload {
            name: view.id.0.to_string(),
            group: view.group.clone(),
            host: view.host.clone(),
            addresses: view.addresses.iter().map(|address| address.ip).collect(),
            mac: view.mac,
            pid: sandbox.pid(),
            monitor: sandbox.monitor(),
            netns: sandbox.network(),
            cgroups: sandbox.cgroups().to_vec(),
            command: command.to_vec(),
            agent: agent.to_owned(),
            started_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            attach_us: view.timings.map(|timings| timings.ready_us),
        }
    }

    /// Its addresses, for people.
    pub fn addresses(&self) -> String {
        let texts: Vec<String> = self.addresses.iter().map(IpAddr::to_string).collect();
        texts.join(" ")
    }

    /// That it runs, for people.
    pub fn sentence(&self) -> String {
        let took = match self.attach_us {
            Some(us) => format!(", attached in {}.{} ms", us / 1000, us % 1000 / 100),
            None => String::new(),
        };
        format!("{}: {} in {}{took}", self.name, self.addresses(), self.group)
    }
}

/// The sole right to a name among the workloads of an agent.
#[derive(Debug)]
pub struct Claim {
    file: File,
    path: PathBuf,
    name: String,
}

impl Claim {
    /// Takes `name`, unless a workload of that name runs.
    pub fn take(folder: &Path, name: &str) -> Result<Claim, Failure> {
        let path = folder.join(format!("{name}.json"));
        let failed = |error: std::io::Error| {
            Failure::new(Kind::Failed, format!("writing `{}`: {error}", path.display()))
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut tries = 0..LOCK_TRIES;
        loop {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(failed)?;
            if file.try_lock().is_err() {
                // Someone who lists the workloads holds it for an instant.
                if tries.next().is_some() {
                    thread::sleep(LOCK_PAUSE);
                    continue;
                }
                let message = format!("a workload called `{name}` is running already");
                return Err(Failure::new(Kind::Input, message)
                    .hint(format!("choose another --name, or `selvage stop {name}`")));
            }
            // The last holder may have removed the file between our opening and our locking it.
            let here = fs::metadata(&path).map(|meta| meta.ino()).ok();
            if here == file.metadata().map(|meta| meta.ino()).ok() {
                return Ok(Claim { file, path, name: name.to_owned() });
            }
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the output of a detached one goes. It stays after the workload, to be read.
    pub fn log(&self) -> PathBuf {
        self.path.with_extension("log")
    }

    /// A name for control groups, which all agents of a machine share: the record's path tells
    /// workloads of the same name on different agents apart.
    pub fn group_name(&self) -> String {
        let folder = self.path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        let folder = folder.display().to_string().replace('/', "-");
        format!("{}@{}", self.name, folder.trim_matches('-'))
    }

    /// The lock, for the monitor to hold as well.
    pub fn share(&self) -> Result<OwnedFd, Failure> {
        let copy = self.file.try_clone();
        Ok(copy
            .map_err(|error| Failure::new(Kind::Failed, format!("copying a lock: {error}")))?
            .into())
    }

    /// Writes the workload down.
    pub fn write(&self, workload: &Workload) -> Result<(), Failure> {
        let write = || -> std::io::Result<()> {
            let text = serde_json::to_vec_pretty(workload)?;
            let mut file = &self.file;
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&text)
        };
        write().map_err(|error| {
            Failure::new(Kind::Failed, format!("writing `{}`: {error}", self.path.display()))
        })
    }
}

/// Where the workloads of the agent behind `socket` are written down.
pub fn folder(socket: &Path) -> PathBuf {
    socket.parent().unwrap_or(Path::new("/")).join("workloads")
}

/// The workloads of the agents behind these sockets, by name. What a killed monitor left is removed.
pub fn list(sockets: &[PathBuf]) -> Vec<Workload> {
    let mut found: Vec<Workload> = sockets
        .iter()
        .filter_map(|socket| fs::read_dir(folder(socket)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .filter_map(|path| read(&path))
        .collect();
    found.sort_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));
    found
}

/// The one workload called `name`.
pub fn find(sockets: &[PathBuf], name: &str) -> Result<Workload, Failure> {
    let mut found = list(sockets);
    found.retain(|workload| workload.name == name);
    match (found.pop(), found.pop()) {
        (Some(workload), None) => Ok(workload),
        (None, _) => Err(Failure::new(Kind::Input, format!("no workload is called `{name}`"))
            .hint("`selvage ps` lists them")),
        (Some(a), Some(b)) => {
            let message = format!("`{name}` runs on {} and on {}", b.host, a.host);
            Err(Failure::new(Kind::Input, message).hint("name the agent with --agent"))
        }
    }
}

/// The record, if its workload runs.
fn read(path: &Path) -> Option<Workload> {
    let file = File::open(path).ok()?;
    // Empty while it is being made.
    let workload: Option<Workload> = serde_json::from_slice(&fs::read(path).ok()?).ok();
    if file.try_lock_shared().is_err() {
        return workload;
    }
    // Nobody looks after it. Removed while locked, so that nobody takes the name meanwhile.
    let _ = fs::remove_file(path);
    for folder in workload.iter().flat_map(|workload| &workload.cgroups) {
        // Its processes died with its monitor.
        let _ = fs::remove_dir(folder);
        let _ = folder.parent().map(fs::remove_dir);
    }
    None
}

/// Checks the name of a workload: it is a file name, a host name and an endpoint's name.
pub fn parse_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let fits = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(inner);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a name has 1-63 letters, digits, `-`, `_` and `.`, and begins with one of the first two"
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "web-7", "db_2.x", &"x".repeat(63)] {
            assert_eq!(parse_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", ".", "..", "a/b", "a b", "ä", &"x".repeat(64)] {
            assert!(parse_name(bad).is_err(), "`{bad}` was taken");
        }
    }

    #[test]
    fn a_name_is_claimed_once_and_free_again() {
        let folder = std::env::temp_dir().join(format!("svrun-claim-{}", std::process::id()));
        let claim = Claim::take(&folder, "web-1").unwrap();
        let second = Claim::take(&folder, "web-1").unwrap_err().to_string();
        assert!(second.contains("`web-1` is running"), "{second}");
        Claim::take(&folder, "web-2").unwrap();
        let shared = claim.share().unwrap();
        drop(claim);
        Claim::take(&folder, "web-1").expect_err("the monitor's copy holds it");
        drop(shared);
        Claim::take(&folder, "web-1").unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
