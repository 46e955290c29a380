//! The policy core from the outside: small tenants, and what passes between their groups.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod across;
mod any;
mod anything;
mod batch;
mod broken;
mod choosing;
mod contracts;
mod explaining;
mod generated;
mod inside;
mod linting;
mod members;
mod numbers;
mod outside;
mod planning;
mod protection;
mod services;
mod tracing;
mod verifying;
mod world;
