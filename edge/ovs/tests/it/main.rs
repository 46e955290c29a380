//! Tests against a real Open vSwitch, started privately.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy.toml allows them in tests, but takes only functions marked as tests for such"
)]

mod database;
mod events;
mod fabric;
mod flows;
mod hostile;
mod judges;
mod lifecycle;
mod live_judges;
mod matrix;
mod measure;
mod outside;
mod restart;
mod rig;

use selvage_testkit::policy;
