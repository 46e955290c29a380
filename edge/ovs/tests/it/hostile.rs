//! Whoever is behind the socket, we end in time and say why.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selvage_ovs::openflow::{Connection, OpenFlowError};
use selvage_ovs::ovsdb::{Client, OvsdbError};
use selvage_ovs::unixctl::{Control, ControlError};

const PATIENCE: Duration = Duration::from_millis(300);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A socket behind which somebody says `words` to everyone, then listens, or hangs up.
struct Stranger(PathBuf);

impl Stranger {
    fn new(words: Vec<u8>, stays: bool) -> Stranger {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("svstr-{}-{number}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.write_all(&words);
                if stays {
                    let _ = stream.read_to_end(&mut Vec::new());
                }
            }
        });
        Stranger(path)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn openflow(words: &[u8], stays: bool) -> OpenFlowError {
    let stranger = Stranger::new(words.to_vec(), stays);
    let started = Instant::now();
    let error = Connection::open(&stranger.0, PATIENCE).unwrap_err();
    assert!(started.elapsed() < PATIENCE * 10, "{error}");
    error
}

#[test]
fn a_bridge_that_is_none_is_told_apart() {
    let hello = |version| [version, 0, 0, 8, 0, 0, 0, 1];
    assert!(matches!(openflow(&[], true), OpenFlowError::Timeout { .. }));
    assert!(matches!(openflow(&[], false), OpenFlowError::Closed { .. }));
    assert!(matches!(openflow(&hello(5), true), OpenFlowError::Timeout { .. }));
    assert!(matches!(openflow(&hello(4), true), OpenFlowError::Version { theirs: 4 }));
    // A length shorter than the header, a message of another version, text.
    for words in [&[5, 0, 0, 3, 0, 0, 0, 0][..], &[4, 6, 0, 8, 0, 0, 0, 0], b"HTTP/1.1 400 Bad"] {
        let error = openflow(words, true);
        assert!(error.to_string().contains("malformed message"), "{error}");
    }
    // Half a message.
    assert!(matches!(openflow(&[5, 0, 0xff, 0xff, 0, 0], true), OpenFlowError::Timeout { .. }));
    // More than anyone asked for: no memory is spent on it.
    let flood = hello(5).repeat(200_000);
    assert!(matches!(openflow(&flood, true), OpenFlowError::Timeout { .. }));
}

#[test]
fn a_database_that_is_none_is_told_apart() {
    let database = |words: &[u8], stays| {
        let stranger = Stranger::new(words.to_vec(), stays);
        let started = Instant::now();
        let error = Client::connect(&stranger.0, PATIENCE).unwrap_err();
        assert!(started.elapsed() < PATIENCE * 10, "{error}");
        error
    };
    for words in [&b""[..], b"{", b"{\"id\": 7}", b"hello", b"[1]", b"{\"id\":1,\"result\":3}"] {
        for stays in [false, true] {
            let error = database(words, stays);
            assert!(matches!(error, OvsdbError::Broken { .. }), "{words:?}: {error}");
        }
    }
    let refused = database(b"{\"id\":1,\"error\":\"no\"}", true);
    assert!(matches!(refused, OvsdbError::Refused { .. }), "{refused}");
    let empty = database(b"{\"id\":1,\"result\":[{\"rows\":[]}],\"error\":null}", true);
    assert_eq!(empty, OvsdbError::Empty);
}

#[test]
fn a_daemon_that_is_none_is_told_apart() {
    for words in [&b""[..], b"nonsense", b"{\"id\":1}}"] {
        let stranger = Stranger::new(words.to_vec(), true);
        let mut control = Control::connect(&stranger.0, PATIENCE).unwrap();
        let answer = control.run("version", &[]);
        let broken = matches!(answer, Err(ControlError::Broken { .. }));
        assert!(broken || answer == Ok("null".to_owned()), "{answer:?}");
    }
}
