//! What a link leaves to its hardware.

use std::ffi::{c_char, c_ulong};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::libc;

use crate::error::{Doing, Result};
use crate::netns::NetNs;

/// `ETHTOOL_STXCSUM` (linux/ethtool.h).
const SET_TX_CHECKSUMS: u32 = 0x17;

/// `struct ethtool_value`.
#[repr(C)]
struct Setting {
    command: u32,
    value: u32,
}

/// Has the kernel fill in the checksums of what leaves by the link `name` of `namespace`, and cut it
/// into packets. A virtual link leaves both undone, for whoever takes the packet out at its other end;
/// a switch that reads packets as bytes does not know.
pub fn fill_checksums(namespace: &NetNs, name: &str) -> Result<()> {
    let mut setting = Setting { command: SET_TX_CHECKSUMS, value: 0 };
    let pointer = (&raw mut setting).cast::<c_char>();
    // SAFETY: an all-zero `ifreq` is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len().saturating_sub(1);
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = pointer;
    let doing = || format!("setting link `{name}` to fill in checksums");
    let socket = namespace.run(|| UdpSocket::bind(("0.0.0.0", 0)))?.doing(doing)?;
    // SAFETY: SIOCETHTOOL reads and writes the `ethtool_value` that the request points at, which
    // outlives the call (netdevice(7), linux/ethtool.h).
    let code =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as c_ulong, &raw mut request) };
    if code < 0 { Err(std::io::Error::last_os_error()).doing(doing) } else { Ok(()) }
}
