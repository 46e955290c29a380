//! What a sandbox sees as its file system.

use std::fs::{self, DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, fchdir, pivot_root};

use super::spec::{Bind, Spec};
use super::{SandboxError, Setup, sys};

const NONE: Option<&str> = None;

/// Device files (name, major, minor) of devices.txt in the kernel's documentation.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Gives this process a mount namespace of its own with the sandbox's root as `/`.
///
/// Called with the host's root rights, inside the sandbox's network namespace (whose links the new
/// `/sys` shows) and process-id namespace (whose processes the new `/proc` shows), before the user
/// namespace is entered. So the mounts belong to the host's user namespace, and root inside can
/// neither change nor undo them.
pub(super) fn build(spec: &Spec) -> Result<(), SandboxError> {
    unshare(CloneFlags::CLONE_NEWNS).setup("making a mount namespace")?;
    // Else mounts made here would appear on the host, and the host's would appear here, writable.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .setup("separating the mounts")?;
    let binds = spec.binds.iter().map(take).collect::<Result<Vec<_>, _>>()?;
    let top = spec.rootfs.as_deref().unwrap_or(Path::new("/"));
    let tree =
        sys::clone_mounts(top, true).setup(|| format!("taking `{}` as the root", top.display()))?;
    sys::restrict_mounts(&tree).setup("making the root read-only")?;
    // Any folder serves as the place where the new root is attached; /proc must exist anyway.
    sys::attach_mounts(&tree, Path::new("/proc")).setup("attaching the root")?;
    become_root(&tree)?;
    mount_kernel_views(spec)?;
    mount_private(spec)?;
    make_devices(spec)?;
    for (bind, mounts) in spec.binds.iter().zip(binds) {
        place(bind, &mounts)?;
    }
    Ok(())
}

/// pivot_root(2) with both paths the same: the old root ends up on top of the new one and is then
/// taken away, without a folder to put it in.
fn become_root(tree: &OwnedFd) -> Result<(), SandboxError> {
    fchdir(tree).setup("entering the new root")?;
    pivot_root(".", ".").setup("changing the root")?;
    umount2(".", MntFlags::MNT_DETACH).setup("letting go of the host's root")?;
    chdir("/").setup("entering the new root")
}

/// /proc of this process-id namespace and /sys of this network namespace.
fn mount_kernel_views(spec: &Spec) -> Result<(), SandboxError> {
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    clear("/proc", spec)?;
    mount(Some("proc"), "/proc", Some("proc"), plain, NONE).setup("mounting /proc")?;
    // Its network settings belong to root inside and would be writable; the rest to the host.
    mount(Some("/proc/sys"), "/proc/sys", NONE, MsFlags::MS_BIND, NONE)
        .setup("binding /proc/sys")?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | plain;
    mount(NONE, "/proc/sys", NONE, read_only, NONE).setup("making /proc/sys read-only")?;
    if clear_optional("/sys") {
        mount(Some("sysfs"), "/sys", Some("sysfs"), plain | MsFlags::MS_RDONLY, NONE)
            .setup("mounting /sys")?;
    }
    if Path::new("/sys/firmware").is_dir() {
        mount(Some("tmpfs"), "/sys/firmware", Some("tmpfs"), plain | MsFlags::MS_RDONLY, NONE)
            .setup("hiding /sys/firmware")?;
    }
    Ok(())
}

/// Folders that are the sandbox's own, empty, and gone with it. /run also because the sockets of the
/// host's daemons are there.
fn mount_private(spec: &Spec) -> Result<(), SandboxError> {
    let owner = spec.ids.root();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for (path, mode) in [("/tmp", "1777"), ("/var/tmp", "1777"), ("/run", "755"), ("/root", "700")]
    {
        if clear_optional(path) {
            let options = format!("mode={mode},uid={owner},gid={owner}");
            mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str()))
                .setup(|| format!("mounting {path}"))?;
        }
    }
    Ok(())
}

fn make_devices(spec: &Spec) -> Result<(), SandboxError> {
    clear("/dev", spec)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), "/dev", Some("tmpfs"), flags, Some("mode=755,size=64k"))
        .setup("mounting /dev")?;
    for (name, major, minor) in DEVICES {
        let path = Path::new("/dev").join(name);
        let doing = || format!("making {}", path.display());
        let mode = Mode::from_bits_truncate(0o666);
        mknod(&path, SFlag::S_IFCHR, mode, makedev(major, minor)).setup(doing)?;
        // mknod(2) takes the mask off.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).setup(doing)?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, Path::new("/dev").join(link)).setup(|| format!("making /dev/{link}"))?;
    }
    let folder =
        |path: &str| DirBuilder::new().mode(0o755).create(path).setup(|| format!("making {path}"));
    folder("/dev/pts")?;
    // A group of terminals by custom number 5; a slave's user is whoever opens its master.
    let options = format!("newinstance,ptmxmode=0666,mode=0620,gid={}", spec.ids.root() + 5);
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, Some(options.as_str()))
        .setup("mounting /dev/pts")?;
    folder("/dev/shm")?;
    let flags = flags | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), flags, Some("mode=1777,size=64m"))
        .setup("mounting /dev/shm")
}

/// Takes something of the host while it is still in sight.
fn take(bind: &Bind) -> Result<OwnedFd, SandboxError> {
    let mounts = sys::clone_mounts(&bind.host, false)
        .setup(|| format!("binding `{}`", bind.host.display()))?;
    sys::restrict_mounts(&mounts)
        .setup(|| format!("making `{}` read-only", bind.host.display()))?;
    Ok(mounts)
}

/// Puts it where it is wanted.
fn place(bind: &Bind, mounts: &OwnedFd) -> Result<(), SandboxError> {
    let inside = Path::new("/").join(&bind.inside);
    let doing = || format!("binding `{}` at `{}`", bind.host.display(), inside.display());
    let is_folder = File::from(mounts.try_clone().setup(doing)?).metadata().setup(doing)?.is_dir();
    if !inside.exists() {
        let folder = if is_folder { Some(inside.as_path()) } else { inside.parent() };
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o755)
            .create(folder.unwrap_or(Path::new("/")))
            .setup(doing)?;
        if !is_folder {
            File::create(&inside).setup(doing)?;
        }
    }
    sys::attach_mounts(mounts, &inside).setup(doing)
}

/// Takes the host's mounts off a folder that must exist.
fn clear(path: &str, spec: &Spec) -> Result<(), SandboxError> {
    if clear_optional(path) {
        return Ok(());
    }
    let rootfs = spec.rootfs.clone().unwrap_or_else(|| PathBuf::from("/"));
    Err(SandboxError::Rootfs { path: rootfs, why: format!("it has no folder `{path}`") })
}

/// Takes the host's mounts off a folder, all that are stacked there. Gives whether it is a folder: a
/// link (as /tmp may be) leads to a place that is cleared under its own name.
fn clear_optional(path: &str) -> bool {
    let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    while let Ok(()) | Err(Errno::EINTR) = umount2(path, flags) {}
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}
