//! What root inside may do, in its own namespaces.

use std::fs;
use std::io;

use super::sys;

/// What a container usually keeps, by the numbers of linux/capability.h. Left out of the usual set:
/// `MKNOD`, which a user namespace does not grant anyway, and `AUDIT_WRITE`, which goes to the
/// host's log.
const KEPT: [u32; 12] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    13, // NET_RAW: ping. What it could forge, the data plane drops.
    18, // SYS_CHROOT
    31, // SETFCAP
];

/// Reduces this thread to the kept set, for good: the bounding set keeps exec from giving more.
pub(super) fn reduce() -> io::Result<()> {
    let kept = KEPT.iter().fold(0_u64, |mask, cap| mask | 1 << cap);
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
    let last: u32 = last.trim().parse().map_err(io::Error::other)?;
    for cap in (0..=last).filter(|cap| kept & (1 << cap) == 0) {
        sys::drop_from_bounding_set(cap)?;
    }
    sys::set_capabilities(kept)
}
