//! What the switch says, as the data plane says it.

use selvage_agent::datapath::PlaneError;

use crate::lower::TooManyRules;
use crate::openflow::OpenFlowError;
use crate::ovsdb::OvsdbError;

/// How a switch is started, for whom there is none.
const START: &str =
    "start ovsdb-server and ovs-vswitchd, or name the database's socket with --ovs-db";

/// What the caller wants to know of a failure.
pub(crate) trait Doing<T> {
    /// Says what was being done.
    fn doing(self, action: &str) -> Result<T, PlaneError>;
}

impl<T> Doing<T> for Result<T, OvsdbError> {
    fn doing(self, action: &str) -> Result<T, PlaneError> {
        self.map_err(|error| match error {
            OvsdbError::Connect { path, cause } => missing("ovsdb-server", &path, &cause),
            error => refused(action, error),
        })
    }
}

impl<T> Doing<T> for Result<T, OpenFlowError> {
    fn doing(self, action: &str) -> Result<T, PlaneError> {
        self.map_err(|error| match error {
            OpenFlowError::Connect { path, cause } => missing("ovs-vswitchd", &path, &cause),
            error => refused(action, error),
        })
    }
}

impl<T> Doing<T> for Result<T, selvage_host::Error> {
    fn doing(self, action: &str) -> Result<T, PlaneError> {
        self.map_err(|error| refused(action, error))
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, action: &str) -> Result<T, PlaneError> {
        self.map_err(|error| refused(action, error))
    }
}

impl From<TooManyRules> for Failed {
    fn from(error: TooManyRules) -> Failed {
        let (limit, need) = (error.limit, error.need);
        Failed(PlaneError::TableFull { table: "flow priorities".to_owned(), limit, need })
    }
}

/// A [`PlaneError`] on its way.
pub(crate) struct Failed(pub PlaneError);

pub(crate) fn refused(action: &str, cause: impl ToString) -> PlaneError {
    PlaneError::Refused { action: action.to_owned(), cause: cause.to_string() }
}

fn missing(daemon: &str, path: &std::path::Path, cause: &str) -> PlaneError {
    PlaneError::Unsupported {
        feature: format!(
            "Open vSwitch ({daemon} does not answer at `{}`: {cause})",
            path.display()
        ),
        hint: START.to_owned(),
    }
}
