//! Who is logged in, and who has guessed too often.
//!
//! Tokens never come here, only digests of them: a look-up whose time depends on its key then says
//! nothing about a token.

use std::collections::BTreeMap;
use std::time::Duration;

use selvage_opflex::Time;

/// How long a token holds after a login or a refresh.
pub const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// Sessions kept at a time. A further login ends the one that would expire first.
const MAX_SESSIONS: usize = 10_000;

/// Wrong passwords that cost nothing.
const FREE_GUESSES: u32 = 5;
/// The longest wait between two guesses.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// A guesser who was silent for so long starts anew.
const FORGIVE: Duration = Duration::from_secs(900);
/// Guessers remembered at a time; a further one displaces the one silent for longest.
const MAX_GUESSERS: usize = 10_000;
/// How often what has run out is dropped.
const SWEEP: Duration = Duration::from_secs(60);

/// A digest of a token.
pub type TokenDigest = [u8; 32];

/// Tokens and who they belong to.
#[derive(Debug, Default)]
pub struct Sessions {
    live: BTreeMap<TokenDigest, Session>,
    guessers: BTreeMap<(String, String), Guesser>,
    next_sweep: Time,
}

#[derive(Debug)]
struct Session {
    user: String,
    ends: Time,
}

#[derive(Debug, Clone, Copy)]
struct Guesser {
    wrong: u32,
    last: Time,
}

impl Guesser {
    /// From when on the next guess counts.
    fn free_at(&self) -> Time {
        match self.wrong.checked_sub(FREE_GUESSES) {
            None => self.last,
            Some(over) => {
                let wait = Duration::from_secs(1 << over.min(10));
                self.last + wait.min(MAX_WAIT)
            }
        }
    }
}

impl Sessions {
    /// Whether a password may be tried now for `user` from the address `from`; else how long to
    /// wait. Counting by both keeps a stranger from locking the user out everywhere.
    pub fn may_try(&self, user: &str, from: &str, now: Time) -> Result<(), Duration> {
        let guesser = self.guessers.get(&(user.to_owned(), from.to_owned()));
        match guesser.map(Guesser::free_at) {
            Some(free_at) if free_at > now => Err(free_at.since(now)),
            _ => Ok(()),
        }
    }

    /// Notes a wrong password.
    pub fn failed(&mut self, user: &str, from: &str, now: Time) {
        self.sweep(now);
        let key = (user.to_owned(), from.to_owned());
        if self.guessers.len() >= MAX_GUESSERS && !self.guessers.contains_key(&key) {
            let quietest = self.guessers.iter().min_by_key(|(_, g)| g.last).map(|(k, _)| k.clone());
            if let Some(quietest) = quietest {
                self.guessers.remove(&quietest);
            }
        }
        let guesser = self.guessers.entry(key).or_insert(Guesser { wrong: 0, last: now });
        if now.since(guesser.last) >= FORGIVE {
            guesser.wrong = 0;
        }
        guesser.wrong = guesser.wrong.saturating_add(1);
        guesser.last = now;
    }

    /// Starts a session after the right password.
    pub fn start(&mut self, token: TokenDigest, user: &str, from: &str, now: Time) {
        self.guessers.remove(&(user.to_owned(), from.to_owned()));
        self.sweep(now);
        if self.live.len() >= MAX_SESSIONS {
            let oldest = self.live.iter().min_by_key(|(_, s)| s.ends).map(|(k, _)| *k);
            if let Some(oldest) = oldest {
                self.live.remove(&oldest);
            }
        }
        let session = Session { user: user.to_owned(), ends: now + TOKEN_LIFE };
        self.live.insert(token, session);
    }

    /// The user this token belongs to, if it holds.
    pub fn user(&self, token: &TokenDigest, now: Time) -> Option<&str> {
        let session = self.live.get(token)?;
        (session.ends > now).then_some(session.user.as_str())
    }

    fn sweep(&mut self, now: Time) {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.live.retain(|_, session| session.ends > now);
            self.guessers.retain(|_, guesser| now.since(guesser.last) < FORGIVE);
        }
    }

    /// Ends a session.
    pub fn end(&mut self, token: &TokenDigest) {
        self.live.remove(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TokenDigest = [1; 32];

    #[test]
    fn a_token_holds_for_ten_minutes_and_not_beyond_logout() {
        let mut sessions = Sessions::default();
        sessions.start(A, "admin", "127.0.0.1", Time(0));
        assert_eq!(sessions.user(&A, Time(599_999)), Some("admin"));
        assert_eq!(sessions.user(&A, Time(600_000)), None);
        sessions.start(A, "admin", "127.0.0.1", Time(700_000));
        sessions.end(&A);
        assert_eq!(sessions.user(&A, Time(700_001)), None);
    }

    #[test]
    fn guessing_gets_slow_for_the_guesser_alone() {
        let mut sessions = Sessions::default();
        for _ in 0..FREE_GUESSES {
            assert_eq!(sessions.may_try("admin", "10.0.0.9", Time(0)), Ok(()));
            sessions.failed("admin", "10.0.0.9", Time(0));
        }
        let wait = |s: &Sessions, now| s.may_try("admin", "10.0.0.9", now).err();
        assert_eq!(wait(&sessions, Time(0)), Some(Duration::from_secs(1)));
        assert_eq!(wait(&sessions, Time(1_000)), None);
        for _ in 0..20 {
            sessions.failed("admin", "10.0.0.9", Time(1_000));
        }
        assert_eq!(wait(&sessions, Time(1_000)), Some(MAX_WAIT));
        assert_eq!(sessions.may_try("admin", "10.0.0.1", Time(1_000)), Ok(()));
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let mut sessions = Sessions::default();
        let digest = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            bytes
        };
        for n in 0..=MAX_SESSIONS {
            sessions.start(digest(n), "admin", "127.0.0.1", Time(n as u64 / 100));
        }
        assert_eq!(sessions.live.len(), MAX_SESSIONS);
        assert!(sessions.user(&digest(MAX_SESSIONS), Time(100)).is_some());
    }
}
