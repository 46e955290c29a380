//! System calls that nix does not wrap.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// A copy of the mounts at and below `path`, attached nowhere (open_tree(2)).
pub(super) fn clone_mounts(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as libc::c_uint;
    }
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let fd = Errno::result(fd)? as i32;
    // SAFETY: the kernel just gave this descriptor to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes copied mounts, all of them, read-only, deaf to set-user-ID bits and to device files, and
/// private (mount_setattr(2)). Unlike a remount this reaches every mount below the top.
pub(super) fn restrict_mounts(mounts: &OwnedFd) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is an empty C string, the attributes outlive the call, and their size is
    // passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mounts.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// Attaches copied mounts at `path` (move_mount(2)).
pub(super) fn attach_mounts(mounts: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: both paths are NUL-terminated strings that outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mounts.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2)).
pub(super) fn open_pid(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = Errno::result(fd)? as i32;
    // SAFETY: the kernel just gave this descriptor to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Leaves the session keyring of the caller for an empty one: whatever is in a keyring that a process
/// has inherited is its own to read (session-keyring(7)). A kernel without keys has none to read.
pub(super) fn leave_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let name = std::ptr::null::<libc::c_char>();
    // SAFETY: no name means a nameless keyring; nothing is read through the pointer.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Closes every descriptor from 3 on except `keep`.
pub(super) fn close_all_but(keep: impl AsFd) -> io::Result<()> {
    let keep = keep.as_fd().as_raw_fd() as libc::c_uint;
    for (first, last) in [(3, keep.saturating_sub(1)), (keep + 1, libc::c_uint::MAX)] {
        if first <= last {
            // SAFETY: closing by number is what is asked for; the caller owns none of them beyond
            // this call, because what follows is exec or exit.
            Errno::result(unsafe { libc::close_range(first, last, 0) })?;
        }
    }
    Ok(())
}

/// Makes every descriptor from 3 on close with exec, whoever left it open.
pub(super) fn close_on_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
    // SAFETY: nothing is closed here, only marked.
    Ok(Errno::result(unsafe { libc::close_range(3, libc::c_uint::MAX, flags) }).map(drop)?)
}

/// Sets every signal to its default; `SIGPIPE` is ignored by the Rust runtime, and what is ignored
/// stays so through exec (signal(7)).
pub(super) fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL installs no handler. The numbers that cannot be set fail harmlessly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Drops a capability from the bounding set of this thread (capabilities(7)).
pub(super) fn drop_from_bounding_set(cap: u32) -> io::Result<()> {
    // SAFETY: the call takes integers.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0, 0, 0) };
    Ok(Errno::result(result).map(drop)?)
}

/// Sets the permitted and effective capabilities of this thread; the inheritable ones are none, and
/// with them the ambient ones.
pub(super) fn set_capabilities(mask: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // linux/capability.h: _LINUX_CAPABILITY_VERSION_3, with the low half first.
    let header = Header { version: 0x2008_0522, pid: 0 };
    let half = |bits: u32| Half { effective: bits, permitted: bits, inheritable: 0 };
    let halves = [half(mask as u32), half((mask >> 32) as u32)];
    // SAFETY: header and both halves have the layout of version 3 and outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_capset, &raw const header, (&raw const halves).cast::<u8>())
    };
    Ok(Errno::result(result).map(drop)?)
}

/// Ends this process without running anything of the program it was forked from.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
