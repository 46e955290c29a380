//! What agents resolve, and what a commit sends to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use selvage_rules::Revision;

use super::{Agent, ConnId, Event, MAX_LEASES, Output, PolicySource, Server};
use crate::ext::{self, class};
use crate::message::{Call, Outcome, Refusal, Reply, Resolve, Update};
use crate::mo::{Object, Reference};
use crate::{Time, Uri};

/// What a commit changed, down to single objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Objects that are new or different. Each goes out with everything below it.
    pub changed: BTreeSet<Reference>,
    /// Objects that are gone.
    pub deleted: BTreeSet<Reference>,
}

/// The subtrees a commit sends, each asked of the source once.
struct Answers<'a> {
    source: &'a dyn PolicySource,
    known: BTreeMap<Uri, Arc<Vec<Object>>>,
}

impl Answers<'_> {
    fn get(&mut self, target: &Reference) -> Arc<Vec<Object>> {
        if let Some(known) = self.known.get(&target.uri) {
            return known.clone();
        }
        let objects = Arc::new(self.source.resolve(&target.subject, &target.uri));
        self.known.insert(target.uri.clone(), objects.clone());
        objects
    }
}

impl Server {
    /// Sends every agent that resolved something of `change` one update: what changed, what the
    /// agent now needs and does not have yet, what is gone, and the revision. Nobody else hears of
    /// it. Returns the agents of ours that were sent something; each is also told as
    /// [`Event::Touched`].
    pub fn commit(
        &mut self,
        source: &dyn PolicySource,
        change: &Change,
        revision: Revision,
        now: Time,
    ) -> Vec<Arc<str>> {
        self.revision = revision;
        let mut answers = Answers { source, known: BTreeMap::new() };
        let mut touched = Vec::new();
        for (conn, (changed, deleted)) in self.audience(change, now) {
            let Some(agent) = self.conns.get(&conn).and_then(|state| state.agent.clone()) else {
                continue;
            };
            let mut update = Update::default();
            for target in changed {
                update.replace.extend(answers.get(target).iter().cloned());
            }
            update.delete.extend(deleted.into_iter().cloned());
            if agent.selvage {
                self.close_over(conn, &mut update.replace, &mut answers, now);
                update.replace.push(ext::revision_object(revision));
                touched.push(agent.name.clone());
                self.touch(&agent);
            }
            self.request(conn, &Call::PolicyUpdate(update));
        }
        self.flush();
        touched
    }

    pub(super) fn policy_resolve(
        &mut self,
        conn: ConnId,
        agent: &Agent,
        list: Vec<Resolve>,
        source: &dyn PolicySource,
        now: Time,
    ) -> Outcome {
        for resolve in &list {
            let subject = &*resolve.target.subject;
            if !source.knows(subject) || (class::is_ours(subject) && !agent.selvage) {
                return Err(Refusal::error(format!("Unknown subject: {subject}")));
            }
        }
        if self.policy.count(conn) + list.len() > MAX_LEASES {
            return Err(Refusal::error(format!("more than {MAX_LEASES} resolved objects")));
        }
        for Resolve { target, prr } in &list {
            let prr = Duration::from_secs(*prr);
            self.policy.add(conn, &target.uri, now + prr);
            if let Some(state) = self.conns.get_mut(&conn) {
                state.prr = prr;
            }
        }
        let mut answers = Answers { source, known: BTreeMap::new() };
        let mut objects = Vec::new();
        for resolve in &list {
            objects.extend(answers.get(&resolve.target).iter().cloned());
        }
        if agent.selvage && !objects.is_empty() {
            self.close_over(conn, &mut objects, &mut answers, now);
            objects.push(ext::revision_object(self.revision));
            self.touch(agent);
        }
        Ok(Reply::Policy(objects))
    }

    /// The agents of ours that a commit of `change` would be sent to, each with the groups it
    /// resolved, by DN. Nothing is sent.
    pub fn would_touch(
        &self,
        change: &Change,
        now: Time,
    ) -> BTreeMap<Arc<str>, BTreeSet<Arc<str>>> {
        let mut touched = BTreeMap::new();
        for conn in self.audience(change, now).into_keys() {
            let agent = self.conns.get(&conn).and_then(|state| state.agent.as_ref());
            let Some(agent) = agent.filter(|agent| agent.selvage) else { continue };
            let groups: &mut BTreeSet<_> = touched.entry(agent.name.clone()).or_default();
            groups.extend(self.policy.of_conn(conn).filter_map(ext::group_of).map(Arc::from));
        }
        touched
    }

    /// Which connections are to hear of what.
    fn audience<'a>(
        &self,
        change: &'a Change,
        now: Time,
    ) -> BTreeMap<ConnId, (Vec<&'a Reference>, Vec<&'a Reference>)> {
        let mut audience: BTreeMap<ConnId, (Vec<_>, Vec<_>)> = BTreeMap::new();
        for target in &change.changed {
            for conn in self.policy.of(&target.uri, now) {
                audience.entry(conn).or_default().0.push(target);
            }
        }
        for target in &change.deleted {
            for conn in self.policy.of(&target.uri, now) {
                audience.entry(conn).or_default().1.push(target);
            }
        }
        audience
    }

    /// Adds what `objects` point at and the agent does not have, and what that points at, and so
    /// on; with a lease on each, as if the agent had resolved it. So a reference never arrives
    /// before its target, and costs no further round trip.
    fn close_over(
        &mut self,
        conn: ConnId,
        objects: &mut Vec<Object>,
        answers: &mut Answers<'_>,
        now: Time,
    ) {
        let Some(prr) = self.conns.get(&conn).map(|state| state.prr) else { return };
        let mut included: BTreeSet<Uri> = objects.iter().map(|o| o.uri.clone()).collect();
        let mut next = 0;
        while let Some(object) = objects.get(next) {
            next += 1;
            let targets: Vec<Reference> = object.references().cloned().collect();
            for target in targets {
                if self.policy.covers(conn, &target.uri, now) || included.contains(&target.uri) {
                    continue;
                }
                let found = answers.get(&target);
                if !found.is_empty() && self.policy.count(conn) < MAX_LEASES {
                    self.policy.add(conn, &target.uri, now + prr);
                    included.extend(found.iter().map(|o| o.uri.clone()));
                    objects.extend(found.iter().cloned());
                }
            }
        }
    }

    fn touch(&mut self, agent: &Agent) {
        let touched = Event::Touched { agent: agent.name.clone(), revision: self.revision };
        self.outputs.push_back(Output::Event(touched));
    }
}
