//! What goes wrong between us and a bridge.

use std::path::PathBuf;
use std::time::Duration;

use super::refusal::Refusal;

/// A bridge could not be spoken to, or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenFlowError {
    /// There is no bridge at that socket, or no switch daemon behind it.
    #[error("cannot connect to the bridge at `{}`: {cause}; hint: is ovs-vswitchd running?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The connection ended: the switch daemon has ended, or the bridge is gone, or what it sent is no
    /// OpenFlow. Flows are lost with the daemon: connect again, and look.
    #[error("the connection to the bridge ended while {action}: {cause}")]
    Closed {
        /// What was being done.
        action: String,
        /// Why it ended.
        cause: String,
    },
    /// The bridge did not answer in time.
    #[error("the bridge did not answer within {} ms while {action}", after.as_millis())]
    Timeout {
        /// What was being done.
        action: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It speaks another version.
    #[error(
        "the bridge speaks OpenFlow up to wire version {theirs}, and 5 (OpenFlow 1.4) is needed; hint: its `protocols` must allow OpenFlow14"
    )]
    Version {
        /// Its version.
        theirs: u8,
    },
    /// It refused.
    #[error("the bridge refused {what}: {refusal}")]
    Refused {
        /// What it refused, such as a flow.
        what: String,
        /// Its words.
        refusal: Refusal,
    },
    /// A flow has more actions than a message can carry.
    #[error("{what} is longer than a message, 65535 bytes")]
    TooLong {
        /// What it is.
        what: String,
    },
}
