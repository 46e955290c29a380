//! The verbs that ask a running controller or agent.

use clap::Subcommand;

use crate::exit::{Failure, Kind};

/// A verb that asks a running controller or agent.
#[derive(Subcommand)]
pub enum Verb {
    /// Show which host enforces which revision
    Status,
}

/// Asks, and prints the answer.
pub fn run(_verb: Verb) -> Result<(), Failure> {
    Err(Failure::new(Kind::Unable, "not built into this binary"))
}
