//! One controller a state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::StoreError;

/// Holds a directory against a second controller until it is dropped, or its process ends in
/// whatever way: the lock is the kernel's, so none is ever left behind.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks `dir`, which must exist.
    pub fn acquire(dir: &Path) -> Result<DirLock, StoreError> {
        let path = dir.join("lock");
        let open = |source| StoreError::Open { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(open)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::InUse { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(open(source)),
        }
        file.set_len(0).map_err(open)?;
        file.rewind().map_err(open)?;
        writeln!(file, "{}", std::process::id()).map_err(open)?;
        Ok(DirLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path()).unwrap();
        let refused = DirLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(refused.ends_with(&format!("(process {})", std::process::id())), "{refused}");
        drop(first);
        DirLock::acquire(dir.path()).unwrap();
    }
}
