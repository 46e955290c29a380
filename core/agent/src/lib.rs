//! The agent without sockets: endpoints, resolved policy, what the host must enforce.
//!
//! [`datapath`] is what the agent asks of a data plane, [`local`] is what programs on the host ask
//! of the agent.

pub mod datapath;
pub mod local;
