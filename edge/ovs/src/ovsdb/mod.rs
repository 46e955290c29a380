//! OVSDB (RFC 7047): the bridge that is ours, its ports, and what the switch can.
//!
//! A bridge says who owns it in its `external_ids`. One of the wanted name without our mark is never
//! touched.

mod client;
mod error;
mod port;
mod value;

pub use client::{BridgeSpec, Client, Version};
pub use error::OvsdbError;
pub use port::{PortKind, PortRow, PortSpec};
