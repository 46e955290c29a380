//! The host: namespaces, links, tunnels, the sandbox.
//!
//! Everything here is an effect on the kernel of this machine, asked for by somebody else: no
//! policy, no threads of its own, synchronous calls. Network work goes through a [`Netlink`]
//! socket, which belongs to one network namespace for as long as it is open, so the caller's own
//! thread never changes its namespace.

pub mod bpffs;
mod error;
pub mod exit;
pub mod link;
mod netlink;
pub mod netns;
mod offload;
pub mod probe;
mod route;
pub mod sandbox;
pub mod sysctl;
mod vxlan;
pub mod watch;

pub use error::{Error, Result};
pub use link::{Change, Link, Veth};
pub use netlink::Netlink;
pub use netns::NetNs;
pub use offload::fill_checksums;
pub use route::Route;
pub use vxlan::Vxlan;
