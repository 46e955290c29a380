//! A writer killed at any point leaves every acknowledged revision, whole.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use selvage_store::{FileStore, Store};

use crate::work;

const WRITER: &str = "SELVAGE_TEST_STORE_WRITER";
const ROUNDS: u32 = 60;

/// Not a test of its own: what the child process of the test below runs. It commits for ever and
/// prints each revision once it was acknowledged.
#[test]
fn writer() {
    let Ok(path) = std::env::var(WRITER) else { return };
    let mut store = FileStore::open(Path::new(&path)).unwrap();
    let mut out = std::io::stdout().lock();
    for revision in store.load().unwrap().revision + 1.. {
        store.commit(&work::commit(revision)).unwrap();
        writeln!(out, "ack {revision}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn every_acknowledged_revision_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tree.redb");
    let mut last = 0;
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(&path, round).max(last);
        let kept = FileStore::open(&path).unwrap().load().unwrap();
        work::assert_whole(&kept);
        assert!(
            kept.revision == acknowledged || kept.revision == acknowledged + 1,
            "round {round}: {acknowledged} was acknowledged, {} is kept",
            kept.revision
        );
        last = kept.revision;
    }
    assert!(last > u64::from(ROUNDS), "the writers committed next to nothing: {last}");
    let log = FileStore::open(&path).unwrap().log(10).unwrap();
    assert_eq!(log.first().map(|row| row.revision), Some(last));
}

/// Lets a writer commit for a while, kills it, and returns the last revision it acknowledged.
fn run_and_kill(path: &Path, round: u32) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::writer", "--nocapture", "--test-threads=1"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    let mut read = |wanted: usize| {
        for _ in 0..wanted {
            let Some(Ok(line)) = lines.next() else { break };
            // The harness writes its own words before the first line.
            if let Some((_, revision)) = line.split_once("ack ") {
                acknowledged = revision.trim().parse().unwrap();
            }
        }
    };
    read(5 + round as usize % 7);
    // Spread the kill over the length of a commit: a different fraction of it each round.
    let pause = std::time::Duration::from_micros(u64::from(round.wrapping_mul(7919) % 3000));
    let until = std::time::Instant::now() + pause;
    while std::time::Instant::now() < until {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    read(usize::MAX);
    acknowledged
}
