//! Network settings of one link, below `/proc/sys/net`.

use std::fs;

use nix::errno::Errno;

use crate::error::{Doing, Error, Result};
use crate::netns::NetNs;

/// Sets `/proc/sys/net/KEY` inside `namespace`; the key is as in `ipv4/ip_forward`.
///
/// The kernel looks these files up in the network namespace of the thread that opens them, so they
/// are opened by a thread inside; the mount of `/proc` does not matter.
pub fn set(namespace: &NetNs, key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{key}");
    namespace.run(|| fs::write(&path, value))?.doing(|| format!("setting `{path}` to `{value}`"))
}

/// Reads `/proc/sys/net/KEY` inside `namespace`, without its line end.
pub fn get(namespace: &NetNs, key: &str) -> Result<String> {
    let path = format!("/proc/sys/net/{key}");
    let text =
        namespace.run(|| fs::read_to_string(&path))?.doing(|| format!("reading `{path}`"))?;
    Ok(text.trim_end().to_owned())
}

/// Keeps the host's own IPv6 off the link `name`: no link-local address, no router solicitation,
/// no duplicate address detection. The host end of a workload's link carries the workload's
/// packets and none of the host's.
///
/// Call it before the link goes up. A host without IPv6 has nothing to be silenced.
pub fn silence_ipv6(namespace: &NetNs, name: &str) -> Result<()> {
    for (key, value) in [("disable_ipv6", "1"), ("accept_ra", "0"), ("router_solicitations", "0")] {
        match set(namespace, &format!("ipv6/conf/{name}/{key}"), value) {
            Err(Error::Os { source, .. })
                if source.raw_os_error() == Some(Errno::ENOENT as i32) => {}
            done => done?,
        }
    }
    Ok(())
}
