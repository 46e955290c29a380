//! The host crate against this machine's kernel. Needs root; fails by name where that is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod exit;
mod network;
mod sandbox;
