//! What can go wrong with the kernel, in words for the person who must act.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::probe::Feature;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{doing}: {source}")]
    Os {
        /// What was being done, as in "mounting bpffs at `/sys/fs/bpf`".
        doing: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("{doing}: {source}{}", said(.kernel))]
    Netlink {
        /// What was being done.
        doing: String,
        /// The error number.
        source: io::Error,
        /// The kernel's own words (extended acknowledgement), often empty.
        kernel: String,
    },
    /// No link of that name.
    #[error("no link `{name}` in this network namespace")]
    NoLink {
        /// The name asked for.
        name: String,
    },
    /// A path that is no network namespace.
    #[error("`{}` is not a network namespace", .path.display())]
    NotNetNs {
        /// The path asked for.
        path: PathBuf,
    },
    /// A name the kernel or this crate cannot take.
    #[error("`{name}` cannot name {what}: {why}")]
    BadName {
        /// The name.
        name: String,
        /// What was to be named.
        what: &'static str,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A link exists, but it is not the one that is needed.
    #[error(
        "link `{name}` exists with {found}, but {wanted} is needed\n  hint: delete it, or use another name"
    )]
    Mismatch {
        /// The link's name.
        name: String,
        /// What it has.
        found: String,
        /// What is needed.
        wanted: String,
    },
    /// This machine lacks features.
    #[error("{}", lacking(.0))]
    Lacks(Vec<Feature>),
    /// The kernel's answer could not be read.
    #[error("the kernel's answer to {doing} is malformed")]
    Malformed {
        /// What was being done.
        doing: String,
    },
}

impl Error {
    /// The error number of the kernel, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Os { source, .. } | Error::Netlink { source, .. } => {
                source.raw_os_error().map(Errno::from_raw)
            }
            _ => None,
        }
    }
}

fn said(kernel: &str) -> String {
    if kernel.is_empty() { String::new() } else { format!(" (the kernel says: {kernel})") }
}

fn lacking(features: &[Feature]) -> String {
    let lines: Vec<String> = features.iter().map(Feature::lack).collect();
    lines.join("\n")
}

/// Names what was being done when a system call failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Os { doing: what(), source: error.into() })
    }
}
