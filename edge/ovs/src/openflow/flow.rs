//! Flows, and what is done with them.

use std::fmt;

use super::action::Action;
use super::matches::Match;

/// A flow: what it matches and what it does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Flow {
    /// The table it is in, 0 to 253.
    pub table: u8,
    /// The highest that matches decides. `ovs-ofctl` does not print 32768.
    pub priority: u16,
    /// Any number: whose it is, by convention.
    pub cookie: u64,
    /// Seconds after which it ends unused; 0 is never.
    pub idle_timeout: u16,
    /// Seconds after which it ends; 0 is never.
    pub hard_timeout: u16,
    /// What it matches. Table, priority and match together are a flow's identity.
    pub matches: Match,
    /// What it does; nothing is a drop.
    pub actions: Vec<Action>,
}

/// A flow of a switch, and what it counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStats {
    /// The flow.
    pub flow: Flow,
    /// Packets since it was made.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds since it was made.
    pub age: u32,
}

/// One change of a bridge's flows, part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds the flow, in place of one with its identity (whose counters are lost).
    Add(Flow),
    /// Gives the flow of this identity other actions and keeps its cookie and counters. There being
    /// none is no error.
    SetActions(Flow),
    /// Removes the flow of exactly this identity. There being none is no error.
    Remove {
        /// Its table.
        table: u8,
        /// Its priority.
        priority: u16,
        /// Its match.
        matches: Match,
    },
    /// Removes every flow that the filter selects.
    RemoveAll(FlowFilter),
}

/// Selects flows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowFilter {
    /// Of this table; `None`: of all.
    pub table: Option<u8>,
    /// Whose cookie has these bits.
    pub cookie: u64,
    /// Which bits of the cookie count.
    pub cookie_mask: u64,
    /// Whose match is at least this narrow.
    pub matches: Match,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Add(flow) => write!(f, "add flow `{flow}`"),
            Change::SetActions(flow) => write!(f, "change flow `{flow}`"),
            Change::Remove { table, priority, matches } => {
                write!(f, "remove flow `table={table}, priority={priority},{matches}`")
            }
            Change::RemoveAll(filter) => {
                let FlowFilter { cookie, cookie_mask, matches, .. } = filter;
                write!(f, "remove all flows `cookie={cookie:#x}/{cookie_mask:#x}")?;
                if let Some(table) = filter.table {
                    write!(f, ", table={table}")?;
                }
                write!(f, ", {matches}`")
            }
        }
    }
}
