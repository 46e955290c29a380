//! What a contract means: the managed-object tree compiled into the rule table, explained and
//! traced.
//!
//! ```text
//! Tree --front--> Intent --compile--> Table --slice--> what one host needs
//!                    \______________________\--trace--> who allowed it, or what would
//!                                            Table + Table --plan--> what changes between groups
//!                    Table --reach--> exact sets of packets: verify, lint; capacity counts entries
//! ```
//!
//! Only [`front`] knows ACI classes by name, but for what [`lint`] counts and [`explain`] writes. Only [`compile`] knows what a contract means. The
//! numbers between them and the world are [`number`]'s.

pub mod batch;
pub mod capacity;
pub mod compile;
pub mod explain;
pub mod front;
pub mod ir;
pub mod lint;
pub mod matrix;
pub mod members;
pub mod number;
pub mod plan;
mod problem;
pub mod reach;
pub mod slice;
pub mod trace;
pub mod verify;

pub use compile::{Compiled, compile};
pub use number::Numbers;
pub use problem::{Cause, Problem, Severity};
