//! The agent's shell: sockets, links and clocks around the agent core.

use crate::exit::{Failure, Kind};

/// Arguments of this verb.
#[derive(clap::Args)]
pub struct Args {}

/// Runs it until it ends.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Kind::Unable, "not built into this binary"))
}
