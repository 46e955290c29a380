//! Where committed objects are kept: memory or a redb file.
//!
//! A [`Store`] holds the current state and a log in which a revision is a row. [`Store::commit`]
//! returns only when the commit would survive a power cut; whatever interrupts it leaves the
//! revision before it or the one it made, never a part. The controller validates first, commits
//! here, and only then publishes, so an error from here has changed nothing that anyone saw.

mod commit;
mod error;
mod file;
mod lock;
mod memory;

pub use commit::{Change, Commit, Counts, Kept, LOG_NAMES, LOG_ROWS, LogRow, Row};
pub use error::StoreError;
pub use file::FileStore;
pub use lock::DirLock;
pub use memory::MemoryStore;

/// Keeps the committed state.
pub trait Store: Send {
    /// Everything that is kept, as of the last commit.
    fn load(&mut self) -> Result<Kept, StoreError>;

    /// Makes a commit durable, whole or not at all. Its revision must be the next one.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;

    /// The newest rows of the log, newest first, `limit` at most.
    fn log(&mut self, limit: usize) -> Result<Vec<LogRow>, StoreError>;
}
