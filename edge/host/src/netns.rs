//! Network namespaces: named as `ip netns` names them, or by any path to one.
//!
//! `ip netns exec` gives a process a mount namespace with its own `/sys` (ip-netns(8)), which hides
//! `/sys/fs/bpf` and the cgroups. Here only the network is entered, in a thread made for it or in a
//! child before it executes; whoever calls stays where it is.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, panic, thread};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::error::{Doing, Error, Result};

/// Where named namespaces are kept, by the convention of ip-netns(8).
pub const FOLDER: &str = "/run/netns";

const NONE: Option<&str> = None;

/// An open network namespace. It lives at least as long as this value.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    path: PathBuf,
}

/// Identifies a namespace, whatever path leads to it. Never 0 inodes; reused after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetNsId {
    dev: u64,
    inode: u64,
}

impl NetNs {
    /// The namespace at `path`: `/proc/PID/ns/net`, `/run/netns/NAME`, or any bind mount of one.
    pub fn open(path: impl Into<PathBuf>) -> Result<NetNs> {
        let path = path.into();
        let file = File::open(&path).doing(|| format!("opening namespace `{}`", path.display()))?;
        let is_namespace = fstatfs(&file).is_ok_and(|fs| fs.filesystem_type() == NSFS_MAGIC);
        if is_namespace { Ok(NetNs { file, path }) } else { Err(Error::NotNetNs { path }) }
    }

    /// The namespace called `name`, or, when `name` has a slash, the one at that path.
    pub fn named(name: &str) -> Result<NetNs> {
        NetNs::open(path_of(name))
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<NetNs> {
        NetNs::open("/proc/thread-self/ns/net")
    }

    /// Makes a namespace and names it. Its loopback is up.
    pub fn create(name: &str) -> Result<NetNs> {
        check_name(name)?;
        let path = path_of(name);
        let doing = || format!("creating network namespace `{name}`");
        share_folder().doing(doing)?;
        // O_EXCL: two creators of one name must not both succeed.
        File::create_new(&path).doing(doing)?;
        let made = in_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            // The path must name this thread: /proc/self is the thread group's leader, which is
            // still in the old namespace.
            mount(Some("/proc/thread-self/ns/net"), &path, NONE, MsFlags::MS_BIND, NONE)
        });
        if let Err(error) = made {
            // The mount point without its mount would look like a namespace to `ip netns list`.
            let _ = fs::remove_file(&path);
            return Err(error).doing(doing);
        }
        let namespace = NetNs::open(path)?;
        crate::Netlink::open_in(&namespace)?.set_up("lo")?;
        Ok(namespace)
    }

    /// Takes the name off a namespace. It ends when its last process and handle do. A name that
    /// does not exist is no error.
    pub fn delete(name: &str) -> Result<()> {
        check_name(name)?;
        let path = path_of(name);
        let doing = || format!("deleting network namespace `{name}`");
        match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // EINVAL: a file left by a creator that was killed half-way.
            Ok(()) | Err(Errno::ENOENT | Errno::EINVAL) => {}
            Err(error) => return Err(error).doing(doing),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).doing(doing),
            _ => Ok(()),
        }
    }

    /// The named namespaces whose names begin with `prefix`, sorted.
    pub fn list(prefix: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(FOLDER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.doing(|| format!("listing `{FOLDER}`"))?,
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Where this namespace was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its identity; equal for every path that leads to it.
    pub fn id(&self) -> Result<NetNsId> {
        let meta = self.file.metadata().doing(|| format!("reading `{}`", self.path.display()))?;
        Ok(NetNsId { dev: meta.dev(), inode: meta.ino() })
    }

    /// Runs `f` inside, in a thread made for it, and gives what it gives.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        in_own_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)?;
            Ok(f())
        })
        .doing(|| format!("entering namespace `{}`", self.path.display()))
    }

    /// Makes `command` start inside.
    pub fn enter(&self, command: &mut Command) -> Result<()> {
        let file = self.file.try_clone().doing(|| "copying a namespace handle".to_owned())?;
        // SAFETY: between fork and exec only setns(2) runs, a plain system call that neither
        // allocates nor locks; the closure owns the descriptor it uses.
        unsafe {
            command.pre_exec(move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?));
        }
        Ok(())
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn path_of(name: &str) -> PathBuf {
    if name.contains('/') { PathBuf::from(name) } else { Path::new(FOLDER).join(name) }
}

fn check_name(name: &str) -> Result<()> {
    let why = if name.is_empty() || name == "." || name == ".." {
        "it is no file name"
    } else if name.contains('/') || name.contains('\0') {
        "it has a slash or a NUL"
    } else if name.len() > 255 {
        "it is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(Error::BadName { name: name.to_owned(), what: "a network namespace", why })
}

/// Makes the folder a shared mount, as ip(8) does: a namespace deleted here is then unmounted in
/// every other mount namespace too, and does not live on unseen.
fn share_folder() -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    match mount(NONE, FOLDER, NONE, shared, NONE) {
        // EINVAL: it is not a mount point yet.
        Err(Errno::EINVAL) => {
            mount(Some(FOLDER), FOLDER, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
            mount(NONE, FOLDER, NONE, shared, NONE)?;
            Ok(())
        }
        done => Ok(done?),
    }
}

/// setns(2) and unshare(2) of a network concern the calling thread alone, and nothing must run in
/// it afterwards that expects the old one.
fn in_own_thread<T: Send>(f: impl FnOnce() -> nix::Result<T> + Send) -> nix::Result<T> {
    thread::scope(|scope| match scope.spawn(f).join() {
        Ok(result) => result,
        Err(payload) => panic::resume_unwind(payload),
    })
}
