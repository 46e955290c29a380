//! The state directory: two JSON files, replaced whole, and a lock that says one agent at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use selvage_agent::record::{Endpoints, Moves, Policy, VERSION};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::{Failure, Kind};

const ENDPOINTS: &str = "endpoints.json";
const POLICY: &str = "policy.json";
const MOVES: &str = "moves.jsonl";

/// The state directory of a running agent. It is this agent's alone for as long as this value lives.
pub struct StateDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    /// Makes the directory if need be, and takes it.
    pub fn open(path: &Path) -> Result<StateDir, Failure> {
        make_private(path)?;
        let lock_path = path.join("lock");
        let fail = |error: io::Error| {
            Failure::new(Kind::Failed, format!("cannot lock `{}`: {error}", lock_path.display()))
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(fail)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(StateDir { path: path.to_owned(), _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(Failure::new(
                Kind::Failed,
                format!("an agent with state directory `{}` is running", path.display()),
            )
            .hint("stop it first, or give this one its own --name, --state-dir and --run-dir")),
            Err((_, error)) => Err(fail(error.into())),
        }
    }

    /// The endpoints that were kept. What cannot be read is an error: to take it for nothing would
    /// cut every endpoint off.
    pub fn endpoints(&self) -> Result<Option<Endpoints>, Failure> {
        let kept: Option<Endpoints> = self.read(ENDPOINTS).map_err(|why| {
            Failure::new(Kind::Failed, why)
                .hint("restore the file, or run `selvage agent --uninstall` to start from nothing")
        })?;
        let known = kept.as_ref().is_none_or(|kept| kept.version == VERSION);
        if known { Ok(kept) } else { Err(self.newer(ENDPOINTS)) }
    }

    /// The policy that was kept; in words, why it cannot be read. Without it the endpoints wait for
    /// the controller, and what is in force stays.
    pub fn policy(&self) -> Result<Option<Policy>, String> {
        let kept: Option<Policy> = self.read(POLICY)?;
        let Some(mut policy) = kept.filter(|kept| kept.version == VERSION) else { return Ok(None) };
        let lines = fs::read_to_string(self.path.join(MOVES)).unwrap_or_default();
        // The last line may be cut off: what it says had not come into force.
        policy.follow(lines.lines().map_while(|line| serde_json::from_str(line).ok()));
        Ok(Some(policy))
    }

    /// Keeps the endpoints.
    pub fn save_endpoints(&self, endpoints: &Endpoints) -> Result<(), String> {
        self.write(ENDPOINTS, endpoints)
    }

    /// Keeps the policy. Moves that were kept before say themselves that they follow another one, so
    /// a crash before they are gone does no harm.
    pub fn save_policy(&self, policy: &Policy) -> Result<(), String> {
        self.write(POLICY, policy)?;
        self.remove(MOVES)
    }

    /// Keeps what changed elsewhere since. Not synced: a host that loses its page cache has lost its
    /// endpoints too.
    pub fn save_moves(&self, moves: &Moves) -> Result<(), String> {
        let path = self.path.join(MOVES);
        let append = || -> io::Result<()> {
            let mut line = serde_json::to_vec(moves)?;
            line.push(b'\n');
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?.write_all(&line)
        };
        append().map_err(|error| format!("cannot write `{}`: {error}", path.display()))
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<(), String> {
        for name in [ENDPOINTS, POLICY, MOVES, crate::docker::FILE, "lock"] {
            self.remove(name)?;
        }
        // It may hold what is not ours; then it stays.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot remove `{}`: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn newer(&self, name: &str) -> Failure {
        let path = self.path.join(name);
        Failure::new(
            Kind::Failed,
            format!("`{}` was written by another version of selvage", path.display()),
        )
        .hint("run the version that wrote it, or `selvage agent --uninstall` to start from nothing")
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let path = self.path.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
        };
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| format!("`{}` is damaged: {error}", path.display()))?;
        Ok(Some(value))
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), String> {
        replace(&self.path.join(name), value)
    }
}

/// Replaces a file as a whole: after a crash either the old or the new one is there.
pub fn replace(path: &Path, value: &impl Serialize) -> Result<(), String> {
    let beside = path.with_extension("json.new");
    let written = || -> io::Result<()> {
        let bytes = serde_json::to_vec(value)?;
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        // The rename itself is durable only with the directory.
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}

/// Makes a directory that only root can look into, with what is above it.
pub fn make_private(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot make directory `{}`: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_one_agent_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.endpoints().unwrap_or_else(|e| panic!("{e}")), None);
        let kept = Endpoints { version: VERSION, host: "h1".into(), endpoints: Vec::new() };
        state.save_endpoints(&kept).unwrap();
        assert_eq!(state.endpoints().unwrap_or_else(|e| panic!("{e}")), Some(kept));
        let second = StateDir::open(&path).err().unwrap().to_string();
        assert!(second.contains("is running"), "{second}");

        fs::write(path.join(ENDPOINTS), b"{\"version\":").unwrap();
        let damaged = state.endpoints().err().unwrap().to_string();
        assert!(damaged.contains("is damaged") && damaged.contains("--uninstall"), "{damaged}");
        state.clear().unwrap();
        assert!(!path.exists());
    }
}
