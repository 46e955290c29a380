//! The judges, compared.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod agreement;
mod faulty_planes;
mod ground;
mod judges;
mod mutants;
mod regressions;
mod stories;
mod witnesses;
