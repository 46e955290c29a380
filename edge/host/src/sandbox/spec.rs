//! What a sandbox is to be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A sandbox to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Its name, and that of its cgroups: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The program and its arguments. Without a slash it is looked for in the environment's `PATH`,
    /// inside the sandbox.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts, inside.
    pub folder: PathBuf,
    /// Its host name.
    pub hostname: String,
    /// What it sees as `/`, read-only; `None` is the host's root.
    pub rootfs: Option<PathBuf>,
    /// Files and folders of the host to be seen inside as well, read-only.
    pub binds: Vec<Bind>,
    /// The host's user and group ids that its own stand for.
    pub ids: IdRange,
    /// How much of the machine it may use.
    pub limits: Limits,
    /// Handed to whoever cleans up after it; means nothing here.
    pub note: String,
}

/// Something of the host, seen inside as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// The host's file or folder.
    pub host: PathBuf,
    /// Where it is inside. Made if it does not exist, which works below `/run`, `/tmp`, `/var/tmp`
    /// and `/root`: the rest is read-only.
    pub inside: PathBuf,
}

/// 65,536 consecutive user ids and as many group ids, which appear as 0 and up inside.
///
/// The ranges handed out lie between 0x7000_0000 and 0x7fff_ffff. That is above what distributions
/// give to users, subordinate ids and systemd's containers, and below the half that is negative in
/// a 32-bit integer (systemd's "Users, Groups, UIDs and GIDs" lists it as unused).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    first: u32,
}

impl IdRange {
    /// How many ids a range has.
    pub const SIZE: u32 = 1 << 16;
    const FIRST: u32 = 0x7000_0000;
    const RANGES: u32 = 1 << 12;

    /// The range for a sandbox of this name. Two names may share one (in 1 of 4,096 cases); they are
    /// then still apart by their other namespaces.
    pub fn for_name(name: &str) -> IdRange {
        // FNV-1a: stable over releases, unlike the standard library's hasher.
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        IdRange { first: IdRange::FIRST + (hash % IdRange::RANGES) * IdRange::SIZE }
    }

    /// The host's id of the sandbox's root.
    pub fn root(self) -> u32 {
        self.first
    }

    /// The line of `/proc/PID/uid_map`, user_namespaces(7).
    pub(super) fn map(self) -> String {
        format!("0 {} {}\n", self.first, IdRange::SIZE)
    }
}

/// How much of the machine a sandbox may use. `None` does not limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time, in thousandths of a processor; at least 10.
    pub millicpus: Option<u32>,
    /// Memory with page cache and tmpfs, in bytes. Swap is not allowed on top.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Reading and writing of one disk.
    pub io: Option<IoLimits>,
}

/// How fast a sandbox may read and write. `None` does not limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimits {
    /// The disk: a block device, or any path on it; `None` is the disk of the root.
    pub device: Option<PathBuf>,
    /// Bytes read per second.
    pub read_bytes: Option<u64>,
    /// Bytes written per second.
    pub write_bytes: Option<u64>,
    /// Reads per second.
    pub read_ops: Option<u64>,
    /// Writes per second.
    pub write_ops: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_stay_within_bounds() {
        for name in ["a", "web-1", "web-2", &"x".repeat(63)] {
            let first = IdRange::for_name(name).root();
            assert_eq!(first % IdRange::SIZE, 0);
            assert!((0x7000_0000..=0x7fff_0000).contains(&first), "{first:#x}");
        }
        assert_ne!(IdRange::for_name("web-1"), IdRange::for_name("web-2"));
        assert_eq!(IdRange::for_name("a").map().split(' ').count(), 3);
    }
}
