//! From what the kernel says to what the agent passes on.

use std::fmt;

use selvage_agent::datapath::PlaneError;

use crate::swap::Full;

/// What this crate returns.
pub type Result<T> = std::result::Result<T, PlaneError>;

/// Says what was being done when something refused.
pub(crate) trait Doing<T> {
    /// `action` completes a sentence that starts with `cannot`.
    fn doing(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| refused(action(), error))
    }
}

/// The kernel refused `action`.
pub(crate) fn refused(action: String, cause: impl fmt::Display) -> PlaneError {
    PlaneError::Refused { action, cause: cause.to_string() }
}

/// A table is too small for what is asked.
pub(crate) fn full(full: Full) -> PlaneError {
    PlaneError::TableFull {
        table: full.table.to_owned(),
        limit: full.limit.into(),
        need: full.need,
    }
}
