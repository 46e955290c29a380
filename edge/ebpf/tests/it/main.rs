//! Tests of the eBPF data plane against the kernel and against the judge.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy.toml allows them in tests, but takes only functions marked as tests for such"
)]

mod crafted;
mod frame;
mod judges;
mod kernel;
mod lifecycle;
mod matrix;
mod measure;
mod outside;
mod revoke;
mod rig;

use selvage_testkit::policy;
