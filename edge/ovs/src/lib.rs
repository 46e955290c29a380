//! The Open vSwitch data plane.
//!
//! * [`openflow`] is the codec (bytes in, messages out) and a connection to one bridge,
//! * [`ovsdb`] makes and finds the bridge and its ports,
//! * [`unixctl`] asks the switch daemon what neither protocol can tell.
//!
//! Nothing here runs a program: the switch is spoken to over its own sockets.

mod jsonrpc;
pub mod openflow;
pub mod ovsdb;
pub mod tables;
pub mod unixctl;
