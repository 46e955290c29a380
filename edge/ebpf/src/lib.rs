//! The eBPF data plane: tcx programs in C, and what puts a [`selvage_rules::Desired`] into their
//! maps.
//!
//! ```text
//! Desired --lower--> places, rules --swap--> writes in order --datapath--> maps --> programs
//!                                       \--eval--> verdicts (to compare)
//! ```
//!
//! `lower`, `swap`, `runs` and `eval` are pure. Everything the rest does to the kernel is pinned
//! below [`Config::pin_dir`] and stays in force without this process.

mod config;
mod datapath;
mod error;
pub mod eval;
mod events;
pub mod layout;
pub mod lower;
mod maps;
pub mod outside;
mod ports;
mod program;
mod rehearsal;
mod reread;
mod runs;
mod state;
pub mod swap;

pub use config::{Config, Sizes};
pub use datapath::Ebpf;
pub use events::Events;
pub use maps::{Map, Maps, Programs};
pub use program::{Program, Run};
pub use rehearsal::Rehearsal;
