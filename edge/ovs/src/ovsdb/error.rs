//! What goes wrong between us and the switch's database.

use std::path::PathBuf;

/// The switch's database could not be spoken to, or holds what must not be touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OvsdbError {
    /// There is no database server behind the socket.
    #[error("cannot connect to the database of Open vSwitch at `{}`: {cause}; hint: is ovsdb-server running?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The connection broke.
    #[error("the database of Open vSwitch failed while {action}: {cause}")]
    Broken {
        /// What was being done.
        action: String,
        /// What happened.
        cause: String,
    },
    /// It answered with an error.
    #[error("the database of Open vSwitch refused {action}: {cause}")]
    Refused {
        /// What was being done.
        action: String,
        /// Its words.
        cause: String,
    },
    /// The database is empty: nobody has ever started a switch on it.
    #[error("the database has no Open_vSwitch row; hint: `ovs-vsctl --no-wait init` makes it")]
    Empty,
    /// The change is in the database, and no switch daemon has taken it over.
    #[error(
        "the switch daemon did not take over the change within {ms} ms: {action}; hint: is ovs-vswitchd running?"
    )]
    NotApplied {
        /// What was being done.
        action: String,
        /// How long it was waited for, in milliseconds.
        ms: u128,
    },
    /// A bridge of that name is there and not ours.
    #[error("bridge `{name}` belongs to {}; it was not touched; hint: choose another name", owner.as_deref().unwrap_or("somebody else"))]
    BridgeTaken {
        /// Its name.
        name: String,
        /// Whose it is, where it says so.
        owner: Option<String>,
    },
    /// There is no bridge of that name.
    #[error("no bridge `{name}`")]
    NoBridge {
        /// Its name.
        name: String,
    },
    /// A port of that name is at another bridge.
    #[error("port `{name}` is in use at another bridge; it was not touched")]
    PortTaken {
        /// Its name.
        name: String,
    },
    /// The switch could not open the port.
    #[error("the switch cannot open port `{name}`: {cause}")]
    PortFailed {
        /// Its name.
        name: String,
        /// Its words.
        cause: String,
    },
}
