//! Who is to hear of which URI, and until when.

use std::collections::{BTreeMap, BTreeSet};

use super::ConnId;
use crate::{Time, Uri};

/// Leases: a connection that resolved a URI hears of it and of everything below it.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_uri: BTreeMap<Uri, BTreeMap<ConnId, Time>>,
    by_conn: BTreeMap<ConnId, BTreeSet<Uri>>,
}

impl Subscriptions {
    /// Starts a lease, or lengthens it.
    pub(super) fn add(&mut self, conn: ConnId, uri: &Uri, until: Time) {
        let held = self.by_uri.entry(uri.clone()).or_default().entry(conn).or_insert(until);
        *held = until.max(*held);
        self.by_conn.entry(conn).or_default().insert(uri.clone());
    }

    /// Ends a lease.
    pub(super) fn remove(&mut self, conn: ConnId, uri: &Uri) {
        if let Some(uris) = self.by_conn.get_mut(&conn) {
            uris.remove(uri);
        }
        self.forget(conn, uri);
    }

    /// Ends every lease of a connection.
    pub(super) fn drop_conn(&mut self, conn: ConnId) {
        for uri in self.by_conn.remove(&conn).into_iter().flatten() {
            self.forget(conn, &uri);
        }
    }

    /// How many leases a connection has.
    pub(super) fn count(&self, conn: ConnId) -> usize {
        self.by_conn.get(&conn).map_or(0, BTreeSet::len)
    }

    /// What a connection has leases on.
    pub(super) fn of_conn(&self, conn: ConnId) -> impl Iterator<Item = &Uri> {
        self.by_conn.get(&conn).into_iter().flatten()
    }

    /// Whether `conn` hears of `uri`.
    pub(super) fn covers(&self, conn: ConnId, uri: &Uri, now: Time) -> bool {
        let lease = |at: &str| self.by_uri.get(at).and_then(|conns| conns.get(&conn));
        uri.ancestry().any(|at| lease(at).is_some_and(|until| *until > now))
    }

    /// Everyone who hears of `uri`: through it or through anything above it.
    pub(super) fn of(&self, uri: &Uri, now: Time) -> BTreeSet<ConnId> {
        let conns = uri.ancestry().filter_map(|at| self.by_uri.get(at)).flatten();
        conns.filter(|(_, until)| **until > now).map(|(conn, _)| *conn).collect()
    }

    /// Forgets what has run out.
    pub(super) fn sweep(&mut self, now: Time) {
        let by_conn = &mut self.by_conn;
        self.by_uri.retain(|uri, conns| {
            conns.retain(|conn, until| {
                let holds = *until > now;
                if !holds && let Some(uris) = by_conn.get_mut(conn) {
                    uris.remove(uri);
                }
                holds
            });
            !conns.is_empty()
        });
    }

    fn forget(&mut self, conn: ConnId, uri: &Uri) {
        if let Some(conns) = self.by_uri.get_mut(uri) {
            conns.remove(&conn);
            if conns.is_empty() {
                self.by_uri.remove(uri);
            }
        }
    }
}
