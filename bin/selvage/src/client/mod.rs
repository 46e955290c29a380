//! The verbs that ask a running controller or agent.
//!
//! A verb here parses its arguments, asks over REST or over an agent's socket, and prints the
//! answer; it decides nothing about policy.

mod drops;
mod get;
mod output;
mod rest;
mod sockets;

use clap::Subcommand;

use crate::exit::Failure;

pub use sockets::Agents;

/// A verb that asks a running controller or agent.
#[derive(Subcommand)]
pub enum Verb {
    /// Show managed objects: a class, or the object of a DN
    Get(get::Args),
    /// Show dropped packets and why, each with the groups, the contract and the nearest that would allow
    Drops(drops::Args),
}

/// Asks, and prints the answer.
pub fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Get(args) => get::run(&args),
        Verb::Drops(args) => drops::run(&args),
    }
}
