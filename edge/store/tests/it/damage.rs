//! What is no store of ours is refused in words.

use selvage_store::{Commit, FileStore, MemoryStore, Store, StoreError};

use crate::work;

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tree.redb");
    let text = "this is no database\n".repeat(500);
    std::fs::write(&path, &text).unwrap();
    let error = FileStore::open(&path).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tree.redb");
    let _first = FileStore::open(&path).unwrap();
    let error = FileStore::open(&path).err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = FileStore::open(&dir.path().join("gone/tree.redb")).err().unwrap();
    assert!(error.to_string().contains("gone/tree.redb"), "{error}");
}

#[test]
fn a_revision_out_of_turn_is_refused() {
    let refused = |store: &mut dyn Store| {
        store.commit(&work::commit(1)).unwrap();
        for revision in [0, 1, 3] {
            let commit = Commit { revision, ..Commit::default() };
            let error = store.commit(&commit).unwrap_err();
            assert!(matches!(error, StoreError::Order { kept: 1, .. }), "{error:?}");
        }
        work::assert_whole(&store.load().unwrap());
    };
    refused(&mut MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    refused(&mut FileStore::open(&dir.path().join("tree.redb")).unwrap());
}

#[test]
fn both_stores_keep_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tree.redb");
    let (mut file, mut memory) = (FileStore::open(&path).unwrap(), MemoryStore::default());
    for revision in 1..=5 {
        file.commit(&work::commit(revision)).unwrap();
        memory.commit(&work::commit(revision)).unwrap();
    }
    assert_eq!(file.log(3).unwrap(), memory.log(3).unwrap());
    drop(file);
    let kept = FileStore::open(&path).unwrap().load().unwrap();
    assert_eq!(kept, memory.load().unwrap());
}
