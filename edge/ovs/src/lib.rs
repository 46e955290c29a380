//! The Open vSwitch data plane.
//!
//! ```text
//! Desired --lower--> flows --difference--> one bundle --datapath--> bridge
//!                        \--eval--> verdicts (to compare)
//! ```
//!
//! * [`tables`] is the pipeline as one list, [`lower`] fills it and [`eval`] reads it: all pure,
//! * [`openflow`] is the codec (bytes in, messages out) and a connection to one bridge,
//! * [`ovsdb`] makes and finds the bridge and its ports,
//! * [`unixctl`] asks the switch daemon what neither protocol can tell, [`trace`] what would become
//!   of a packet,
//! * [`events`] turns packets that the switch sends us into drop events.
//!
//! Nothing here runs a program: the switch is spoken to over its own sockets.

mod config;
mod datapath;
mod difference;
pub mod eval;
pub mod events;
mod exits;
mod failure;
pub mod headers;
mod jsonrpc;
pub mod judge;
pub mod lower;
pub mod openflow;
pub mod ovsdb;
pub mod tables;
pub mod trace;
mod underlay;
pub mod unixctl;

pub use config::Config;
pub use datapath::{Ovs, remove};
pub use difference::{Flows, difference};
