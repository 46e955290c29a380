//! The one place that reads a clock.

use std::time::Instant;

use selvage_opflex::Time;

/// Time since the controller started, which never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts at zero.
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Now.
    pub fn now(self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When `time` comes, on the system's clock.
    pub fn instant(self, time: Time) -> Instant {
        self.origin + time.since(Time(0))
    }
}

/// Milliseconds since 1970, for people: no decision depends on it.
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
