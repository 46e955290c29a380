//! Waiting with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Looks until `look` succeeds, and gives what it found. When `patience` runs out first, panics
/// with the last look's error: put into it whatever explains why.
pub fn eventually<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        let missing = match look() {
            Ok(found) => return found,
            Err(missing) => missing,
        };
        let waited = start.elapsed();
        assert!(waited < patience, "not within {waited:.1?}: {what}\n{missing}");
        if waited + pause > patience {
            // The last look is right at the deadline.
            pause = patience.saturating_sub(waited);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// For a condition that has nothing to say for itself.
pub fn holds(condition: bool) -> Result<(), String> {
    if condition { Ok(()) } else { Err(String::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_comes_and_dumps_what_does_not() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "the third look", || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
        });
        assert_eq!(found, 3);
        let failure = std::panic::catch_unwind(|| {
            eventually(Duration::from_millis(5), "never", || holds(false).map_err(|_| "x=7".into()))
        })
        .unwrap_err();
        let text = failure.downcast_ref::<String>().unwrap();
        assert!(text.contains("never") && text.contains("x=7"), "{text}");
    }
}
