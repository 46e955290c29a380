//! The Open vSwitch data plane.
//!
//! * [`openflow`] is the codec (bytes in, messages out) and a connection to one bridge,
//! * [`ovsdb`] makes and finds the bridge and its ports,
//! * [`unixctl`] asks the switch daemon what neither protocol can tell, [`trace`] what would become
//!   of a packet,
//! * [`events`] turns packets that the switch sends us into drop events.
//!
//! Nothing here runs a program: the switch is spoken to over its own sockets.

pub mod events;
pub mod headers;
mod jsonrpc;
pub mod openflow;
pub mod ovsdb;
pub mod tables;
pub mod trace;
pub mod unixctl;
