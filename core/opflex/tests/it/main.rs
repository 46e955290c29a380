//! OpFlex from outside: recordings replayed, hostile peers, and whole fabrics in one process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod declarations;
mod hostile;
mod modb_model;
mod network;
mod recordings;
mod round_trip;
mod support;
