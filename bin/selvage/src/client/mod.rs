//! The verbs that ask a running controller or agent.
//!
//! A verb here parses its arguments, asks over REST or over an agent's socket, and prints the
//! answer; it decides nothing about policy.

mod apply;
mod batch;
mod capacity;
mod check;
mod drops;
mod files;
mod get;
mod judges;
mod objects;
pub mod output;
mod picture;
mod plan;
mod rest;
mod sockets;
mod status;
mod support;
mod trace;

use clap::Subcommand;

use crate::exit::Failure;

pub use output::Format;
pub use sockets::Agents;

/// A verb that asks a running controller or agent.
#[derive(Subcommand)]
pub enum Verb {
    /// Make the controller's tree what these files say, and wait until every host enforces it
    Apply(apply::Args),
    /// Say what applying these files would do to traffic, objects and hosts, and touch nothing
    Plan(plan::Args),
    /// Say whether the assertions of these files hold, what lint finds and what is wrong; asks no daemon
    Check(check::Args),
    /// Say what these files say in vain, twice, or too broadly; asks no daemon
    Lint(check::LintArgs),
    /// Say how many entries of its tables each host needs for these files, and by whose doing
    Capacity(capacity::Args),
    /// Say what happens to a flow between two groups or endpoints, and which objects decide it
    Trace(trace::Args),
    /// Show which host enforces which revision, and what is wrong
    Status(status::Args),
    /// Show managed objects: a class, or the object of a DN
    Get(get::Args),
    /// Show dropped packets and why, each with the groups, the contract and the nearest that would allow
    Drops(drops::Args),
}

/// Asks, and prints the answer.
pub fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Apply(args) => apply::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Lint(args) => check::lint(&args),
        Verb::Capacity(args) => capacity::run(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Get(args) => get::run(&args),
        Verb::Drops(args) => drops::run(&args),
    }
}
