//! OpenFlow 1.4 with Nicira's extensions, as Open vSwitch 2.8 and later speak it.
//!
//! 1.4 because it is the first version with bundles of its own, and the last whose flow statistics
//! and packet-out keep the older form. Sources: the OpenFlow Switch Specification 1.4.1, and
//! `nicira-ext.h`, `meta-flow.h` and `ofp-actions.c` of Open vSwitch.
//!
//! A [`Flow`] prints as `ovs-ofctl dump-flows` prints it.

mod action;
mod action_wire;
mod connection;
mod error;
mod field;
mod flow;
mod inbox;
mod matches;
mod message;
mod oxm;
mod refusal;
#[cfg(test)]
mod roundtrip;
mod text;
mod wire;

pub use action::{Action, Bits, Controller, Ct, Zone, port};
pub use connection::Connection;
pub use error::OpenFlowError;
pub use field::{Field, ct_state, frag};
pub use flow::{Change, Flow, FlowFilter, FlowStats};
pub use inbox::PacketIns;
pub use matches::{Masked, Match};
pub use message::{HEADER, Message, PacketIn, PacketReason, PortDesc, Switch, decode};
pub use refusal::Refusal;
pub use wire::Malformed;
