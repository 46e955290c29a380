//! The store that forgets: for tests and for controllers that are to leave nothing behind.

use std::collections::BTreeMap;

use crate::{Commit, Kept, LOG_ROWS, LogRow, Row, Store, StoreError};

/// Keeps the state as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryStore {
    revision: u64,
    objects: BTreeMap<String, Row>,
    numbers: BTreeMap<String, String>,
    log: BTreeMap<u64, LogRow>,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Kept, StoreError> {
        Ok(Kept {
            revision: self.revision,
            objects: self.objects.values().cloned().collect(),
            numbers: self.numbers.clone(),
        })
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if commit.revision != self.revision + 1 {
            return Err(StoreError::Order { kept: self.revision, got: commit.revision });
        }
        for dn in &commit.deleted {
            self.objects.remove(dn);
        }
        for (_, row) in &commit.put {
            self.objects.insert(row.dn.clone(), row.clone());
        }
        for (key, number) in &commit.numbers {
            match number {
                Some(number) => self.numbers.insert(key.clone(), number.clone()),
                None => self.numbers.remove(key),
            };
        }
        self.log.insert(commit.revision, commit.log_row());
        self.log.remove(&commit.revision.saturating_sub(LOG_ROWS));
        self.revision = commit.revision;
        Ok(())
    }

    fn log(&mut self, limit: usize) -> Result<Vec<LogRow>, StoreError> {
        Ok(self.log.values().rev().take(limit).cloned().collect())
    }
}
