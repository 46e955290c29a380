//! The agent against a controller and a data plane that are values in the same test: no sockets, no
//! clock, no threads.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod ahead;
mod attach;
mod controller;
mod docker;
mod drops;
mod life;
mod members;
mod world;
