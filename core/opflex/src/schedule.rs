//! What is due when, by key.

use std::collections::{BTreeMap, BTreeSet};

use crate::Time;

/// One deadline for each key.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    times: BTreeMap<K, Time>,
    due: BTreeSet<(Time, K)>,
}

impl<K: Ord + Clone> Schedule<K> {
    pub(crate) fn new() -> Schedule<K> {
        Schedule { times: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// Sets the deadline of `key`, instead of the one it had.
    pub(crate) fn set(&mut self, key: K, time: Time) {
        self.remove(&key);
        self.times.insert(key.clone(), time);
        self.due.insert((time, key));
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(time) = self.times.remove(key) {
            self.due.remove(&(time, key.clone()));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(time, _)| *time)
    }

    /// Takes everything that is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<K> {
        let mut keys = Vec::new();
        while let Some((time, key)) = self.due.first().cloned() {
            if time > now {
                break;
            }
            self.remove(&key);
            keys.push(key);
        }
        keys
    }
}
