//! A lab on one machine: hosts in namespaces, a controller, an agent on each host.

use crate::exit::{Failure, Kind};

/// Arguments of this verb.
#[derive(clap::Args)]
pub struct Args {}

/// Runs it until it ends.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Kind::Unable, "not built into this binary"))
}
