//! Commits whose traces show whether one was half-applied.

use std::collections::BTreeMap;

use selvage_store::{Change, Commit, Kept, Row};

/// How many objects every commit rewrites.
const WIDTH: u64 = 40;

/// Commit `revision`: every object carries its number, one object exists for it alone, and the one
/// that existed for its predecessor goes.
pub fn commit(revision: u64) -> Commit {
    let mut put: Vec<(Change, Row)> =
        (0..WIDTH).map(|i| (Change::Modified, row(&format!("uni/tn-{i:03}"), revision))).collect();
    put.push((Change::Created, row(&format!("uni/only-{revision}"), revision)));
    Commit {
        revision,
        at_ms: 1_000 + revision,
        user: "admin".to_owned(),
        put,
        deleted: vec![format!("uni/only-{}", revision - 1)],
        numbers: BTreeMap::from([("last".to_owned(), Some(revision.to_string()))]),
    }
}

fn row(dn: &str, revision: u64) -> Row {
    let props = BTreeMap::from([("descr".to_owned(), format!("revision {revision}"))]);
    Row { dn: dn.to_owned(), class: "fvTenant".to_owned(), props }
}

/// Asserts that `kept` is what commit `kept.revision` left, and nothing of any other.
pub fn assert_whole(kept: &Kept) {
    if kept.revision == 0 {
        assert_eq!(*kept, Kept::default());
        return;
    }
    let expected: Vec<Row> = commit(kept.revision).put.into_iter().map(|(_, row)| row).collect();
    let mut sorted = expected;
    sorted.sort_by(|a, b| a.dn.cmp(&b.dn));
    assert_eq!(kept.objects, sorted, "revision {} is not whole", kept.revision);
    assert_eq!(kept.numbers, BTreeMap::from([("last".to_owned(), kept.revision.to_string())]));
}
