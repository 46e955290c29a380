//! What is resolved: leases on everything tracked, and the updates that come for it.

use std::sync::Arc;

use super::{Asked, Client, Event, Held, Output, PeerId, Resolution, spread};
use crate::ext;
use crate::message::{Call, Id, Identity, Outcome, Reply, Resolve, Role, Update};
use crate::mo::{Object, Reference};
use crate::modb::Delta;
use crate::session::Peer;
use crate::{Time, Uri};

/// What is known of something tracked.
#[derive(Debug)]
pub(super) struct Lease {
    subject: Arc<str>,
    resolution: Resolution,
    /// Requests since the last answer.
    attempts: u32,
}

impl Client {
    /// Resolves `target` and all it points at, and keeps it up to date until [`Client::unwant`].
    pub fn want(&mut self, target: &Reference, now: Time) {
        let delta = self.db.want(target);
        self.absorb(delta, now);
        self.flush(now);
    }

    /// Takes [`Client::want`] back. What nothing else needs is unresolved and forgotten.
    pub fn unwant(&mut self, target: &Reference, now: Time) {
        let delta = self.db.unwant(target);
        self.absorb(delta, now);
        self.flush(now);
    }

    /// Wants the group with this DN.
    pub fn want_group(&mut self, dn: &str, now: Time) {
        self.want(&Reference::new(ext::class::GROUP, ext::group_uri(dn)), now);
    }

    /// Takes [`Client::want_group`] back.
    pub fn unwant_group(&mut self, dn: &str, now: Time) {
        self.unwant(&Reference::new(ext::class::GROUP, ext::group_uri(dn)), now);
    }

    /// What is known of the object at `uri`.
    pub fn resolution(&self, uri: &Uri) -> Resolution {
        self.leases.get(uri).map_or(Resolution::Untracked, |lease| lease.resolution)
    }

    /// Fills the database with what an earlier run of this agent held, before any controller is
    /// there. Only what is wanted by then, or pointed at by it, is kept.
    pub fn restore(&mut self, objects: Vec<Object>, now: Time) {
        let delta = self.db.update(Update { replace: objects, ..Update::default() });
        self.absorb(delta, now);
        self.flush(now);
    }

    pub(super) fn identity(&self, peer: PeerId) -> Option<Identity> {
        let connection = self.connections.get(peer.0)?;
        let mut identity = Identity::agent(&self.config.name, &self.config.domain);
        identity.my_location = connection.location().cloned();
        Some(identity)
    }

    /// The identity exchange is over: everything is asked and declared anew.
    pub(super) fn ready(&mut self, peer: PeerId, other: &Peer, now: Time) {
        let Peer::Server(server) = other else { return };
        let Some(connection) = self.connections.get_mut(peer.0) else { return };
        connection.ready(server.clone());
        let (repository, registry, observer) = (
            connection.offers(Role::PolicyRepository),
            connection.offers(Role::EndpointRegistry),
            connection.offers(Role::Observer),
        );
        self.outputs.push_back(Output::Event(Event::Up { peer, name: server.name.clone() }));
        if repository {
            let tracked: Vec<Reference> = self.db.tracked().collect();
            let numbers = self.resolve(&tracked, &[peer], now);
            self.held = match numbers.is_empty() {
                true => Held::No,
                false => Held::Until(now + self.config.retry),
            };
            if let Some(connection) = self.connections.get_mut(peer.0) {
                connection.resync = numbers;
            }
        }
        if registry {
            self.declare_all(peer, now);
            self.watch_all(peer, now);
        }
        if observer && let Some(applied) = &self.applied {
            let call = Call::StateReport(vec![applied.to_object()]);
            self.ask(peer, &call, Asked::Other);
        }
    }

    /// One answer of a resync is in; after the last, changes are no longer held back.
    pub(super) fn resync_step(&mut self, peer: PeerId, id: &Id) {
        let Some(connection) = self.connections.get_mut(peer.0) else { return };
        let waiting = connection.resync.len();
        connection.resync.retain(|number| Some(*number) != id.number());
        if waiting > 0 && connection.resync.is_empty() {
            self.held = Held::No;
        }
    }

    pub(super) fn policy_update(&mut self, mut update: Update, now: Time) {
        self.note_revision(&mut update.replace);
        self.note_revision(&mut update.merge_children);
        let delta = self.db.update(update);
        self.absorb(delta, now);
    }

    pub(super) fn policy_answer(&mut self, asked: Vec<Reference>, outcome: Outcome, now: Time) {
        let Ok(Reply::Policy(mut objects)) = outcome else {
            // Asked again when the retry is due; an error says nothing about the object.
            return;
        };
        self.note_revision(&mut objects);
        let delta = self.db.resolved(&asked, objects);
        for target in &asked {
            let Some(lease) = self.leases.get_mut(&target.uri) else { continue };
            lease.attempts = 0;
            self.lease_due.set(target.uri.clone(), self.refresh_time(&target.uri, now));
            self.settle_lease(&target.uri);
        }
        self.absorb(delta, now);
    }

    pub(super) fn refresh_leases(&mut self, now: Time) {
        let due = self.lease_due.take_due(now);
        if due.is_empty() {
            return;
        }
        let reference = |uri: &Uri| {
            let lease = self.leases.get(uri)?;
            Some(Reference { subject: lease.subject.clone(), uri: uri.clone() })
        };
        let targets: Vec<Reference> = due.iter().filter_map(reference).collect();
        let peers = self.ready_peers(Role::PolicyRepository);
        self.resolve(&targets, &peers, now);
    }

    /// Takes in what a change of the database did: leases for what is tracked now, none for what
    /// is no longer.
    fn absorb(&mut self, delta: Delta, now: Time) {
        for uri in &delta.changed {
            self.settle_lease(uri);
        }
        self.changed.extend(delta.changed);
        self.unresolve(delta.untracked.into_iter().collect());
        let peers = self.ready_peers(Role::PolicyRepository);
        let implicit = self.leases_travel_along(&peers);
        let mut explicit = Vec::new();
        for target in delta.tracked {
            let here = self.db.get(&target.uri).is_some();
            let leased = implicit && here && !self.unresolving.contains(&target);
            let resolution = if here { Resolution::Present } else { Resolution::Pending };
            let lease = Lease { subject: target.subject.clone(), resolution, attempts: 0 };
            self.leases.insert(target.uri.clone(), lease);
            if leased {
                self.lease_due.set(target.uri.clone(), self.refresh_time(&target.uri, now));
            } else {
                explicit.push(target);
            }
        }
        self.resolve(&explicit, &peers, now);
    }

    /// Whether what came unasked, as the target of a reference, came with a lease: our controllers
    /// grant one, others do not. With two controllers the other one knows nothing of it.
    fn leases_travel_along(&self, peers: &[PeerId]) -> bool {
        match peers {
            [only] => self.connections.get(only.0).is_some_and(|c| c.is_selvage()),
            _ => false,
        }
    }

    /// Brings the lease of `uri` in line with the database.
    fn settle_lease(&mut self, uri: &Uri) {
        let Some(lease) = self.leases.get_mut(uri) else { return };
        let before = lease.resolution;
        lease.resolution =
            if self.db.get(uri).is_some() { Resolution::Present } else { Resolution::Absent };
        if lease.resolution == Resolution::Absent && before != Resolution::Absent {
            self.outputs.push_back(Output::Event(Event::ResolvedEmpty(uri.clone())));
        }
    }

    /// Asks `peers` for `targets`, and sees to it that they are asked again. Returns the numbers of
    /// the requests.
    fn resolve(&mut self, targets: &[Reference], peers: &[PeerId], now: Time) -> Vec<u64> {
        for target in targets {
            let Some(lease) = self.leases.get_mut(&target.uri) else { continue };
            let wait = self.config.retry.saturating_mul(1 << lease.attempts.min(16));
            let again = now + wait;
            lease.attempts = lease.attempts.saturating_add(1);
            let again = again.min(self.refresh_time(&target.uri, now));
            self.lease_due.set(target.uri.clone(), again);
        }
        let prr = self.config.prr.as_secs();
        let mut numbers = Vec::new();
        for peer in peers {
            for batch in targets.chunks(self.batch_for(*peer)) {
                let resolve = |target: &Reference| Resolve { target: target.clone(), prr };
                let call = Call::PolicyResolve(batch.iter().map(resolve).collect());
                numbers.push(self.ask(*peer, &call, Asked::Policy(batch.to_vec())));
            }
        }
        numbers
    }

    fn unresolve(&mut self, targets: Vec<Reference>) {
        if targets.is_empty() {
            return;
        }
        for target in &targets {
            self.leases.remove(&target.uri);
            self.lease_due.remove(&target.uri);
        }
        for peer in self.ready_peers(Role::PolicyRepository) {
            for batch in targets.chunks(self.batch_for(peer)) {
                self.unresolving.extend(batch.iter().cloned());
                let call = Call::PolicyUnresolve(batch.to_vec());
                self.ask(peer, &call, Asked::PolicyUnresolve(batch.to_vec()));
            }
        }
    }

    /// How many objects go into one request to `peer`.
    fn batch_for(&self, peer: PeerId) -> usize {
        let ours = self.connections.get(peer.0).is_some_and(|c| c.is_selvage());
        if ours { self.config.batch.max(1) } else { 1 }
    }

    /// A time between prr/3 and prr/2 from now, as observed.
    pub(super) fn refresh_time(&self, uri: &Uri, now: Time) -> Time {
        let third = self.config.prr / 3;
        let more = (self.config.prr / 2).saturating_sub(third);
        let parts = [self.config.name.as_bytes(), uri.as_str().as_bytes(), &now.0.to_le_bytes()];
        let share = u32::try_from(spread(&parts)).unwrap_or_default();
        now + third + more.saturating_mul(share) / 0x1_0000
    }

    /// Takes the revision out of a list of objects: it is about the list, not part of the tree.
    fn note_revision(&mut self, objects: &mut Vec<Object>) {
        objects.retain(|object| match ext::revision_of(object) {
            Some(revision) => {
                self.revision = revision;
                false
            }
            None => true,
        });
    }
}
