//! The file system in which BPF maps and links are pinned.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::error::{Doing, Result};

/// Where every tool expects it.
pub const PATH: &str = "/sys/fs/bpf";

/// Mounts bpffs at `path` unless it is there already. Gives whether it had to.
pub fn ensure(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let doing = || format!("mounting bpffs at `{}`", path.display());
    if statfs(path).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(false);
    }
    if !path.exists() {
        fs::create_dir_all(path).doing(doing)?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), path, Some("bpf"), flags, Some("mode=0700")).doing(doing)?;
    Ok(true)
}
