//! The agent's shell: sockets, links, files and clocks around the agent core.
//!
//! One task owns the core ([`owner`]); everything that happens reaches it as an event, in one queue.
//! What is to be done to the host goes to one thread, in order ([`hands`]); the controller's
//! connection ([`uplink`]), the local socket ([`socket`]), the links ([`links`]) and the drops
//! ([`drops`]) each have a task or thread that turns one outside thing into events.

mod drops;
mod exits;
mod files;
mod hands;
mod links;
mod owner;
mod plane;
mod socket;
mod start;
mod uplink;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::exit::Failure;

pub use files::replace;
pub use owner::Event;
pub use socket::listen;

/// Arguments of this verb.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Name of this host in the fabric [default: its host name]
    #[arg(long, value_name = "HOST")]
    name: Option<String>,
    /// OpFlex address of the controller
    #[arg(long, value_name = "ADDR:PORT", required_unless_present = "uninstall")]
    controller: Option<String>,
    /// Address that other hosts send this host's overlay packets to
    #[arg(long, value_name = "IP", required_unless_present = "uninstall")]
    tunnel_address: Option<IpAddr>,
    /// Number that the policy knows this host by, `N` of `topology/pod-1/node-N`; a host that is to be
    /// the border of an L3Out needs one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16000))]
    node_id: Option<u16>,
    /// Network namespace to be the host in, by name or path [default: the one it is started in]
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
    /// Where the socket for programs on this host is
    #[arg(long, value_name = "DIR", default_value = "/run/selvage")]
    run_dir: PathBuf,
    /// Where endpoints and the last policy are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/selvage/agent")]
    state_dir: PathBuf,
    /// Serve Docker's network and IPAM plugin, at PATH or where Docker looks for it
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = crate::docker::SOCKET
    )]
    docker_socket: Option<PathBuf>,
    /// What enforces
    #[arg(long, value_name = "PLANE", value_enum, default_value = "ebpf")]
    dataplane: Dataplane,
    /// Bridge of Open vSwitch that is this agent's own; made if there is none
    #[arg(long, value_name = "BRIDGE", default_value = "selvage")]
    ovs_bridge: String,
    /// Socket of Open vSwitch's database; the bridge's own is beside it
    #[arg(long, value_name = "PATH", default_value = "/run/openvswitch/db.sock")]
    ovs_db: PathBuf,
    /// Datapath of the bridge: `system` is the kernel's, `netdev` Open vSwitch's own
    #[arg(long, value_name = "TYPE", default_value = "system", value_parser = ["system", "netdev"])]
    ovs_datapath: String,
    /// Link with the tunnel address, to be shared with the kernel: `netdev` tunnels only by a link
    /// that Open vSwitch has
    #[arg(long, value_name = "LINK")]
    ovs_underlay: Option<String>,
    /// Remove everything an agent of this name left on this host, and end
    #[arg(long)]
    uninstall: bool,
}

/// Which data plane enforces.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Dataplane {
    /// Programs at the edge of every link.
    Ebpf,
    /// A bridge of Open vSwitch.
    Ovs,
}

/// Runs it until it is told to stop.
pub fn run(args: Args) -> Result<(), Failure> {
    if args.uninstall { start::uninstall(&args) } else { start::serve(args) }
}
