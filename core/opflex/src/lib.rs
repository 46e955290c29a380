//! OpFlex without sockets: frames, messages, sessions, registry, object database.

pub mod client;
pub mod ext;
pub mod frame;
pub mod message;
pub mod mo;
pub mod modb;
mod schedule;
pub mod server;
pub mod session;
mod time;
mod uri;

pub use time::Time;
pub use uri::{MAX_URI_BYTES, Uri, UriError};
