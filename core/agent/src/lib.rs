//! The agent without sockets: endpoints, resolved policy, what the host must enforce.
//!
//! [`Agent`] takes what happens (a request on the local socket, bytes from the controller, a link
//! that vanished, the data plane's answer, time) and says what is to be done. [`datapath`] is what
//! it asks of a data plane, [`judge`] what it can ask it about one packet, [`local`] is what programs on the host ask of it, [`drops`] puts dropped
//! packets into words.

pub mod address;
mod advance;
mod agent;
mod ahead;
pub mod datapath;
pub mod docker;
pub mod drops;
mod endpoint;
mod fabric;
pub mod frame;
mod hearing;
pub mod judge;
pub mod local;
mod names;
mod program;
pub mod record;
pub mod slice;
pub mod untreated;
mod view;
pub mod words;

pub use agent::{ATTACH_DEADLINE, Agent, Config, LinkPlan, MTU, Output, Restored};
pub use names::{Now, Ticket, group_dn};
