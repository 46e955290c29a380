//! Storage that fails at any operation, and power that goes before the disk has sorted its writes.

use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use selvage_store::{FileStore, Store, StoreError};

use crate::work;

/// A disk with a volatile cache: what was written since the last sync may be lost in any part.
#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
    /// Writes and syncs until everything fails; `None` never.
    left: Option<u32>,
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn store(&self) -> Result<FileStore, StoreError> {
        let disk = self.clone();
        FileStore::with_backend(
            Path::new("a test disk"),
            Box::new(move || Ok(Box::new(disk.clone()) as Box<dyn StorageBackend>)),
        )
    }

    fn fail_after(&self, operations: Option<u32>) {
        self.0.lock().unwrap().left = operations;
    }

    /// The power goes: of the writes since the last sync, those survive whose bit in `which` is set.
    fn cut(&self, which: u64) {
        let mut platter = self.0.lock().unwrap();
        let pending = std::mem::take(&mut platter.pending);
        for (i, (at, data)) in pending.into_iter().enumerate() {
            if which >> (i % 64) & 1 == 1 {
                put(&mut platter.durable, at, &data);
            }
        }
        platter.cached = platter.durable.clone();
        platter.left = None;
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl Platter {
    fn operate(&mut self) -> std::io::Result<()> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(std::io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().unwrap().cached.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let platter = self.0.lock().unwrap();
        let at = offset as usize;
        let bytes = platter.cached.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operate()?;
        platter.cached.resize(len as usize, 0);
        // A file system journals its sizes; only contents are at risk here.
        platter.durable.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> std::io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operate()?;
        platter.durable = platter.cached.clone();
        platter.pending.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operate()?;
        put(&mut platter.cached, offset as usize, data);
        platter.pending.push((offset as usize, data.to_vec()));
        Ok(())
    }
}

#[test]
fn a_full_disk_refuses_the_commit_and_the_next_one_works() {
    let disk = Disk::default();
    let mut store = disk.store().unwrap();
    let mut refused = 0;
    let mut revision = 0;
    for operations in 0..200 {
        disk.fail_after(Some(operations));
        let result = store.commit(&work::commit(revision + 1));
        disk.fail_after(None);
        match result {
            Ok(()) => revision += 1,
            Err(StoreError::Write { .. } | StoreError::Open { .. }) => refused += 1,
            Err(other) => panic!("after {operations} operations: {other}"),
        }
        let kept = store.load().unwrap();
        assert_eq!(kept.revision, revision, "after {operations} operations");
        work::assert_whole(&kept);
    }
    assert!(refused > 3, "only {refused} commits were refused");
    assert!(revision > 100, "only {revision} commits were taken");
}

#[test]
fn a_power_cut_leaves_one_whole_revision() {
    let mut seen_lost = 0;
    for operations in 0..60 {
        for which in [0, u64::MAX, 0x5555_5555_5555_5555, 0xcccc_3333_f0f0_0f0f] {
            let disk = Disk::default();
            let mut store = disk.store().unwrap();
            store.commit(&work::commit(1)).unwrap();
            disk.fail_after(Some(operations));
            let mut acknowledged = 1;
            while store.commit(&work::commit(acknowledged + 1)).is_ok() && acknowledged < 6 {
                acknowledged += 1;
            }
            drop(store);
            disk.cut(which);
            let kept = disk.store().unwrap().load().unwrap();
            work::assert_whole(&kept);
            assert!(
                kept.revision == acknowledged || kept.revision == acknowledged + 1,
                "{operations} operations, writes {which:x}: acknowledged {acknowledged}, kept {}",
                kept.revision
            );
            seen_lost += u32::from(kept.revision == acknowledged);
        }
    }
    assert!(seen_lost > 10, "no commit was ever lost: the cut did not cut");
}
