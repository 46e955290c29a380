//! What tests share: hosts in namespaces, probes, deadlines with dumps.
//!
//! Everything is real: packets through the kernel, from threads that enter a network namespace
//! (never `ip netns exec`, which hides `/sys/fs/bpf`). Nothing sleeps for luck: waiting has a
//! deadline, and what fails says what it saw.
//!
//! * [`eventually`] waits for something, and dumps the last look when it does not come.
//! * [`rig`] makes namespaces and two joined hosts, gone with the test, also with one that panics.
//! * [`ovs`] starts a private Open vSwitch.
//! * [`server`] answers with its name; `selvage-probe serve` is the same as a program.
//! * [`probe`] tries many connections and pings at once, and says how each ended.
//! * [`policy`] is a small fabric by hand; [`talk`] has its workloads serve and ask; [`fabric`] makes
//!   them, on hosts with any data plane, and is what every data plane has to show.
//! * [`docker`] starts an engine of its own in a host's namespace.
//! * [`transfer`] runs while daemons are killed, and says what was lost.

pub mod docker;
mod echo;
mod eventually;
pub mod fabric;
pub mod ovs;
pub mod policy;
pub mod probe;
pub mod rig;
pub mod server;
pub mod talk;
pub mod transfer;

pub use eventually::{eventually, holds};
