//! The binary as its users meet it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;
mod docker;
mod live;
mod offline;
mod packaging;
mod rest;
mod run;
