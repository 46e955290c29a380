//! One range of numbers and who holds them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};

/// Hashes the same way in every process, so that nothing here depends on chance.
type Keyed<K> = HashMap<K, Held, BuildHasherDefault<DefaultHasher>>;

/// Every number of a pool is held by a key that exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("all {count} {what} are in use")]
pub struct Exhausted {
    /// What the numbers are for, in the plural.
    pub what: &'static str,
    /// How many there are.
    pub count: u64,
}

/// What a pool hands out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// What the numbers are for, in the plural.
    pub what: &'static str,
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
    /// How many keys that are gone are remembered; the numbers of those forgotten are never handed
    /// out again. `None` remembers all.
    pub remember: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    number: u32,
    /// The round in which the key was last asked for.
    seen: u64,
    /// When the key went, by the pool's own count of departures; `None` while it exists.
    retired: Option<u64>,
}

/// What became of a number since the last drain.
#[derive(Debug, Clone)]
pub(super) enum Fate<K> {
    /// It belongs to this key, which exists, or went as the pool's n-th.
    Held(K, Option<u64>),
    /// It belongs to nobody, and nothing about it needs to be kept.
    Forgotten,
}

/// Gives each key a number and keeps it while the key may return.
///
/// A key that goes keeps its number: the same name created again is the same group to every host
/// that still remembers it. Only when no fresh number is left does the key that went first lose its
/// own.
#[derive(Debug, Clone)]
pub(super) struct Pool<K> {
    range: Range,
    /// The lowest number never handed out; one above `range.last` when there is none.
    next: u64,
    round: u64,
    departures: u64,
    held: Keyed<K>,
    retired: BTreeMap<u64, K>,
    fates: BTreeMap<u32, Fate<K>>,
}

impl<K: Clone + Eq + Hash> Pool<K> {
    pub fn new(range: Range) -> Pool<K> {
        Pool {
            range,
            next: u64::from(range.first),
            round: 0,
            departures: 0,
            held: Keyed::default(),
            retired: BTreeMap::new(),
            fates: BTreeMap::new(),
        }
    }

    /// Starts a round: whatever is not asked for until [`Pool::retire`] goes.
    pub fn begin(&mut self) {
        self.round += 1;
    }

    /// The number of `key`, the one it had before if it ever had one.
    pub fn number(&mut self, key: &K) -> Result<u32, Exhausted> {
        if let Some(held) = self.held.get_mut(key) {
            held.seen = self.round;
            if let Some(since) = held.retired.take() {
                self.retired.remove(&since);
                self.fates.insert(held.number, Fate::Held(key.clone(), None));
            }
            return Ok(held.number);
        }
        let number = match u32::try_from(self.next) {
            Ok(fresh) if fresh <= self.range.last => {
                self.next += 1;
                fresh
            }
            _ => self.take_from_the_longest_gone()?,
        };
        self.held.insert(key.clone(), Held { number, seen: self.round, retired: None });
        self.fates.insert(number, Fate::Held(key.clone(), None));
        Ok(number)
    }

    /// Says that `key` exists, without giving it a number if it has none yet.
    pub fn keep(&mut self, key: &K) {
        if self.held.contains_key(key) {
            // A key that holds a number gets just that, so this cannot run dry.
            let _ = self.number(key);
        }
    }

    /// The number of `key` if it has one and exists.
    pub fn get(&self, key: &K) -> Option<u32> {
        self.held.get(key).filter(|held| held.retired.is_none()).map(|held| held.number)
    }

    /// A pool that has handed out these numbers to what `part` holds, and no others.
    pub fn of_part(&self, part: &Pool<K>) -> Pool<K> {
        let mut pool = Pool::new(self.range);
        for key in part.held.keys() {
            if let Some(held) = self.held.get(key).filter(|held| held.retired.is_none()) {
                pool.restore(held.number, key.clone(), None);
            }
        }
        pool
    }

    /// Keys not asked for since [`Pool::begin`] have gone, lowest number first. Called before fresh
    /// keys come, it lets them have the numbers of those that went in the same round.
    pub fn retire(&mut self) {
        let round = self.round;
        let mut gone: Vec<(u32, K)> = self
            .held
            .iter()
            .filter(|(_, held)| held.seen != round && held.retired.is_none())
            .map(|(key, held)| (held.number, key.clone()))
            .collect();
        gone.sort_by_key(|(number, _)| *number);
        for (number, key) in gone {
            self.departures += 1;
            if let Some(held) = self.held.get_mut(&key) {
                held.retired = Some(self.departures);
            }
            self.retired.insert(self.departures, key.clone());
            self.fates.insert(number, Fate::Held(key, Some(self.departures)));
        }
        self.forget_beyond_the_limit();
    }

    /// What changed since the last drain, by ascending number.
    pub fn drain(&mut self) -> BTreeMap<u32, Fate<K>> {
        std::mem::take(&mut self.fates)
    }

    /// Puts back one number as it was stored. False if it lies outside the range or is held twice.
    pub fn restore(&mut self, number: u32, key: K, retired: Option<u64>) -> bool {
        let inside = (self.range.first..=self.range.last).contains(&number);
        let held = Held { number, seen: self.round, retired };
        if !inside || self.held.insert(key.clone(), held).is_some() {
            return false;
        }
        self.next = self.next.max(u64::from(number) + 1);
        if let Some(since) = retired {
            self.departures = self.departures.max(since);
            return self.retired.insert(since, key).is_none();
        }
        true
    }

    fn take_from_the_longest_gone(&mut self) -> Result<u32, Exhausted> {
        let exhausted = Exhausted {
            what: self.range.what,
            count: u64::from(self.range.last) - u64::from(self.range.first) + 1,
        };
        if self.range.remember.is_some() {
            return Err(exhausted);
        }
        let (_, key) = self.retired.pop_first().ok_or_else(|| exhausted.clone())?;
        self.held.remove(&key).map(|held| held.number).ok_or(exhausted)
    }

    /// The highest number handed out is never forgotten: a restored pool learns from it where the
    /// fresh numbers begin.
    fn forget_beyond_the_limit(&mut self) {
        let Some(limit) = self.range.remember else { return };
        let excess = self.retired.len().saturating_sub(limit);
        let candidates: Vec<u64> = self.retired.keys().take(excess).copied().collect();
        for since in candidates {
            let Some(key) = self.retired.get(&since) else { continue };
            let Some(number) = self.held.get(key).map(|held| held.number) else { continue };
            if u64::from(number) + 1 == self.next {
                continue;
            }
            if let Some(key) = self.retired.remove(&since) {
                self.held.remove(&key);
            }
            self.fates.insert(number, Fate::Forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(last: u32, remember: Option<usize>) -> Pool<&'static str> {
        Pool::new(Range { what: "test numbers", first: 10, last, remember })
    }

    fn round(pool: &mut Pool<&'static str>, keys: &[&'static str]) -> Vec<Option<u32>> {
        pool.begin();
        let numbers = keys.iter().map(|key| pool.number(key).ok()).collect();
        pool.retire();
        numbers
    }

    #[test]
    fn a_key_that_returns_gets_its_number_back() {
        let mut pool = pool(99, None);
        assert_eq!(round(&mut pool, &["a", "b"]), [Some(10), Some(11)]);
        assert_eq!(round(&mut pool, &["b", "c"]), [Some(11), Some(12)]);
        assert_eq!(pool.get(&"a"), None);
        assert_eq!(round(&mut pool, &["a"]), [Some(10)]);
    }

    #[test]
    fn a_full_pool_reuses_the_number_gone_longest_then_says_so() {
        let mut pool = pool(12, None);
        round(&mut pool, &["a", "b", "c"]);
        round(&mut pool, &["b", "c"]);
        round(&mut pool, &["c"]);
        assert_eq!(round(&mut pool, &["c", "d", "e", "f"]), [Some(12), Some(10), Some(11), None]);
        assert_eq!(pool.number(&"f").unwrap_err().to_string(), "all 3 test numbers are in use",);
    }

    #[test]
    fn a_forgotten_number_is_never_handed_out_again() {
        let mut pool = pool(99, Some(1));
        round(&mut pool, &["a", "b", "c"]);
        round(&mut pool, &["c"]);
        assert_eq!(round(&mut pool, &["c", "b", "a"]), [Some(12), Some(11), Some(13)]);
    }

    #[test]
    fn a_restored_pool_goes_on_where_it_was() {
        let mut first = pool(99, Some(1));
        let mut stored: BTreeMap<u32, (&str, Option<u64>)> = BTreeMap::new();
        let mut restored = pool(99, Some(1));
        for keys in [&["a", "b", "c"][..], &["b"], &["d"], &[]] {
            round(&mut first, keys);
            for (number, fate) in first.drain() {
                match fate {
                    Fate::Held(key, retired) => stored.insert(number, (key, retired)),
                    Fate::Forgotten => stored.remove(&number),
                };
            }
        }
        for (number, (key, retired)) in stored {
            assert!(restored.restore(number, key, retired));
        }
        for keys in [&["a", "e"][..], &["d", "b"]] {
            assert_eq!(round(&mut first, keys), round(&mut restored, keys));
        }
    }

    #[test]
    fn a_row_that_cannot_be_is_refused() {
        let mut pool = pool(12, None);
        assert!(!pool.restore(13, "a", None));
        assert!(pool.restore(11, "b", None));
        assert!(!pool.restore(12, "b", None));
    }
}
