//! The store against kills, full disks and power cuts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod damage;
mod kill;
mod power;
mod work;
