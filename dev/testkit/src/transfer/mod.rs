//! Traffic that notices what is lost: run it, kill a daemon under it, stop it, read the report.
//!
//! A [`Stream`] is one long TCP transfer of numbered words; a [`Pulse`] is numbered datagrams there
//! and back at a steady rate. Both talk to a [`crate::server`].

mod pulse;
pub(crate) mod stream;

pub use pulse::{Pulse, PulseReport};
pub use stream::{Stream, StreamReport};
