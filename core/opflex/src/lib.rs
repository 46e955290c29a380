//! OpFlex without sockets: frames, messages, sessions, registry, object database.
//!
//! ```text
//! bytes -> frame -> message -> session -> client (an agent)      -> modb -> ext::slice -> Table
//!                                      -> server (a controller)  <- PolicySource <- ext <- Table
//! ```
//!
//! Bytes and the time go in, bytes and events come out; a shell owns the sockets and the clock. The
//! wire is that of the public OpFlex implementation, as recorded; [`ext`] adds the classes by which
//! our agents receive a compiled table. Nothing here knows what a contract is.

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
