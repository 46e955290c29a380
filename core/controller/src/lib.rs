//! The controller without sockets: commits, compilation, peers, revisions.

mod capacity;
mod check;
mod core;
mod fabric;
mod nodes;
mod overlay;
mod plan;
mod policy;
mod render;
mod sessions;
mod stamp;
mod status;

pub use crate::core::{Commit, Core, Kept, Output, Prepared, RestoreError, Stored, View, Write};
pub use capacity::{HostNeed, need_of};
pub use check::{Checked, Wrong, check};
pub use fabric::{Fabric, Host, Progress};
pub use plan::{
    EndpointCount, Entries, Faults, HostChange, ObjectChange, Objects, Planned, PropChange, compare,
};
pub use sessions::{Sessions, TOKEN_LIFE, TokenDigest};
pub use status::{HostStatus, PolicyStatus, Status};
