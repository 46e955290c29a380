//! The controller core with agents that are real but for their sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod assertions;
mod capacity;
mod commits;
mod hosts;
mod world;
