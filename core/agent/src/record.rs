//! What the agent keeps across restarts: its endpoints, and the last complete policy.
//!
//! Endpoints are kept from the moment their attach is about to be answered: one that was never
//! answered leaves a link that no record owns, and such links are removed at start.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use selvage_rules::{EndpointId, Mac};
use serde::{Deserialize, Serialize};

use crate::local::Address;
use crate::slice::{Elsewhere, Move, Slice};

/// The version of the records that this program writes and reads.
pub const VERSION: u32 = 1;

/// The endpoints of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// [`VERSION`].
    pub version: u32,
    /// Name of the host they are of.
    pub host: String,
    /// One each.
    pub endpoints: Vec<EndpointRecord>,
}

/// One endpoint of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// Its name.
    pub id: EndpointId,
    /// DN of its group.
    pub group: Arc<str>,
    /// Path of its network namespace, as it was asked for.
    pub netns: PathBuf,
    /// Name of its link in its namespace.
    pub ifname: String,
    /// Name of the host's end.
    pub host_ifname: String,
    /// Its MAC.
    pub mac: Mac,
    /// Addresses it asked for.
    pub wish: Vec<IpAddr>,
    /// Addresses it has.
    pub addresses: Vec<Address>,
}

/// The last complete policy, and where the other endpoints were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// [`VERSION`].
    pub version: u32,
    /// Counts up with every record; [`Moves`] say which one they follow.
    pub sequence: u64,
    /// The policy.
    pub slice: Arc<Slice>,
    /// The other hosts and their endpoints.
    pub elsewhere: Arc<Elsewhere>,
}

/// What changed elsewhere since a [`Policy`] was kept. Endpoints of other hosts come and go by the
/// thousand, and a record of all of them is long; so these are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// [`Policy::sequence`] of the record that they change.
    pub sequence: u64,
    /// In the order in which they happened.
    pub moves: Vec<Move>,
}

impl Policy {
    /// Takes in what changed since; what follows another record is passed over.
    pub fn follow(&mut self, later: impl Iterator<Item = Moves>) {
        let mut elsewhere = Elsewhere::clone(&self.elsewhere);
        let ours = later.filter(|moves| moves.sequence == self.sequence);
        ours.flat_map(|moves| moves.moves).for_each(|change| elsewhere.take(change));
        self.elsewhere = Arc::new(elsewhere);
    }
}
