//! Why a store refused.

use std::path::PathBuf;

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has locked the state directory.
    #[error("`{}` is in use by another controller{}", dir.display(), by(holder))]
    InUse {
        /// The state directory.
        dir: PathBuf,
        /// The process that holds it, where it could be read.
        holder: Option<u32>,
    },
    /// The state directory or a file in it cannot be opened or made.
    #[error("cannot open `{}`: {source}", path.display())]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not one of ours, or holds what nobody wrote.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file was written by a later version of this program.
    #[error("`{}` has format {found}, and this program knows formats up to {known}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format this program knows.
        known: u64,
    },
    /// A commit did not reach the disk. The state before it is intact.
    #[error("cannot write `{}`: {what}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// A commit is not the successor of the one that is kept.
    #[error("revision {got} does not follow revision {kept}")]
    Order {
        /// The revision that is kept.
        kept: u64,
        /// The revision of the refused commit.
        got: u64,
    },
}

fn by(holder: &Option<u32>) -> String {
    holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
