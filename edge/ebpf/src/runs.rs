//! Which stretches of the rules array are free. First fit, neighbours joined. Pure.

use std::collections::BTreeMap;

use crate::layout::types::run;

/// The free stretches of an array: start -> length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeRuns {
    free: BTreeMap<u32, u32>,
}

impl FreeRuns {
    /// All of an array of `len` entries.
    pub fn all(len: u32) -> FreeRuns {
        let free = if len == 0 { BTreeMap::new() } else { BTreeMap::from([(0, len)]) };
        FreeRuns { free }
    }

    /// Takes a stretch of `count` entries, if one is free.
    pub fn take(&mut self, count: u32) -> Option<run> {
        let (start, len) =
            self.free.iter().find(|(_, len)| **len >= count).map(|(s, l)| (*s, *l))?;
        self.free.remove(&start);
        if len > count {
            self.free.insert(start + count, len - count);
        }
        Some(run { start, count })
    }

    /// Takes exactly `wanted`, found in use. `false` if part of it was taken before.
    pub fn claim(&mut self, wanted: run) -> bool {
        let Some((start, len)) =
            self.free.range(..=wanted.start).next_back().map(|(s, l)| (*s, *l))
        else {
            return false;
        };
        let (end, wanted_end) = (start + len, wanted.start.saturating_add(wanted.count));
        if wanted_end > end {
            return false;
        }
        self.free.remove(&start);
        if wanted.start > start {
            self.free.insert(start, wanted.start - start);
        }
        if end > wanted_end {
            self.free.insert(wanted_end, end - wanted_end);
        }
        true
    }

    /// Gives a stretch back.
    pub fn give_back(&mut self, given: run) {
        let (mut start, mut count) = (given.start, given.count);
        if let Some((before, len)) = self.free.range(..start).next_back().map(|(s, l)| (*s, *l))
            && before + len == start
        {
            self.free.remove(&before);
            start = before;
            count += len;
        }
        if let Some(len) = self.free.remove(&(start + count)) {
            count += len;
        }
        self.free.insert(start, count);
    }

    /// How many entries are free, in however many stretches.
    pub fn total(&self) -> u32 {
        self.free.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_joins_its_neighbours() {
        let mut free = FreeRuns::all(10);
        let runs: Vec<run> = (0..5).map(|_| free.take(2).unwrap()).collect();
        assert!(free.take(1).is_none());
        for at in [1, 3, 2] {
            free.give_back(runs[at]);
        }
        assert_eq!(free.take(6).map(|r| (r.start, r.count)), Some((2, 6)));
        assert_eq!(free.total(), 0);
    }

    #[test]
    fn a_stretch_is_claimed_once() {
        let mut free = FreeRuns::all(10);
        assert!(free.claim(run { start: 4, count: 3 }));
        assert!(!free.claim(run { start: 5, count: 1 }));
        assert!(!free.claim(run { start: 2, count: 3 }));
        assert!(!free.claim(run { start: 9, count: 2 }));
        assert_eq!(free.total(), 7);
        free.give_back(run { start: 4, count: 3 });
        assert_eq!(free, FreeRuns::all(10));
    }
}
