//! What agents declare, and who hears of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::registry::{Changed, Entry};
use super::{Agent, ConnId, Event, MAX_LEASES, Output, Server};
use crate::ext::{self, Host, class};
use crate::message::{Call, Declare, Outcome, Refusal, Reply, Resolve, Update};
use crate::mo::{Object, Reference};
use crate::{Time, Uri};

impl Server {
    /// Takes back what `agent` had declared before this controller started, as it was last heard
    /// of. It is kept for the grace time, like that of an agent that is gone.
    pub fn restore_endpoints(&mut self, agent: &str, objects: Vec<Object>, now: Time) {
        let agent: Arc<str> = agent.into();
        if let Ok(changes) = self.registry.declare(&agent, objects) {
            self.publish(changes, now);
            self.registry.lose(&agent, now + self.config.grace);
            self.flush();
        }
    }

    pub(super) fn endpoint_declare(
        &mut self,
        agent: &Agent,
        list: Vec<Declare>,
        now: Time,
    ) -> Outcome {
        let objects = list.into_iter().flat_map(|declare| declare.objects).collect();
        let changes = self.registry.declare(&agent.name, objects).map_err(Refusal::error)?;
        self.publish(changes, now);
        Ok(Reply::Empty)
    }

    pub(super) fn endpoint_undeclare(
        &mut self,
        agent: &Agent,
        list: &[Reference],
        now: Time,
    ) -> Outcome {
        let undeclare = |root: &Reference| self.registry.undeclare(&agent.name, root);
        let changes = list.iter().filter_map(undeclare).collect();
        self.publish(changes, now);
        Ok(Reply::Empty)
    }

    pub(super) fn endpoint_resolve(
        &mut self,
        conn: ConnId,
        agent: &Agent,
        list: Vec<Resolve>,
        now: Time,
    ) -> Outcome {
        for Resolve { target, .. } in &list {
            let subject = &*target.subject;
            let standard = subject.starts_with("Epr") || subject.starts_with("Gbpe");
            let ours = class::is_ours(subject) && agent.selvage;
            if !standard && !ours {
                return Err(Refusal::error(format!("Unknown subject: {subject}")));
            }
        }
        if self.endpoints.count(conn) + list.len() > MAX_LEASES {
            return Err(Refusal::error(format!("more than {MAX_LEASES} resolved endpoints")));
        }
        let mut objects = Vec::new();
        for Resolve { target, prr } in list {
            self.endpoints.add(conn, &target.uri, now + Duration::from_secs(prr));
            if &*target.subject == class::VRF {
                let others = self.registry.in_vrf(&target.uri).filter(|e| e.owner != agent.name);
                objects.extend(others.filter_map(location_object).cloned());
            } else {
                objects.extend(self.registry.find(&target.uri));
            }
        }
        if agent.selvage {
            objects.push(ext::registry_object(now >= self.started + self.config.grace));
        }
        Ok(Reply::Endpoint(objects))
    }

    /// Tells the controller, and the agents that asked to hear of it.
    pub(super) fn publish(&mut self, changes: Vec<Changed>, now: Time) {
        let mut updates: BTreeMap<ConnId, Update> = BTreeMap::new();
        for change in changes {
            self.announce(&change);
            for conn in self.endpoints.of(&change.root.uri, now) {
                let update = updates.entry(conn).or_default();
                match &change.after {
                    Some(entry) => update.replace.extend(entry.objects.iter().cloned()),
                    None => update.delete.push(change.root.clone()),
                }
            }
            self.publish_location(&change, &mut updates, now);
        }
        for (conn, update) in updates {
            self.request(conn, &Call::EndpointUpdate(update));
        }
    }

    /// Those who watch a VRF hear of the locations in it, but for their own.
    fn publish_location(
        &self,
        change: &Changed,
        updates: &mut BTreeMap<ConnId, Update>,
        now: Time,
    ) {
        let (before, after) = (placed(change.before.as_ref()), placed(change.after.as_ref()));
        if let Some((vrf, object, owner)) = &after {
            for conn in self.endpoints.of(vrf, now) {
                let update = updates.entry(conn).or_default();
                if self.agents.get(*owner) == Some(&conn) {
                    // It came from elsewhere: what this agent knew of it is no longer true.
                    if before.as_ref().is_some_and(|(_, _, former)| former != owner) {
                        update.delete.push(object.reference());
                    }
                } else {
                    update.replace.push((*object).clone());
                }
            }
        }
        if let Some((vrf, object, _)) = &before
            && after.as_ref().is_none_or(|(now_in, ..)| now_in != vrf)
        {
            for conn in self.endpoints.of(vrf, now) {
                updates.entry(conn).or_default().delete.push(object.reference());
            }
        }
        updates.retain(|_, update| *update != Update::default());
    }

    fn announce(&mut self, change: &Changed) {
        let location = |entry: &Option<Entry>| entry.as_ref().and_then(|e| e.location.clone());
        let host = |entry: &Option<Entry>| {
            entry.as_ref().and_then(|e| Host::from_object(e.objects.first()?).ok())
        };
        let event = match (location(&change.before), location(&change.after)) {
            (_, Some(after)) => Some(Event::Located(after)),
            (Some(before), None) => Some(Event::Departed(before)),
            (None, None) => match (host(&change.before), host(&change.after)) {
                (_, Some(after)) => Some(Event::HostDeclared(after)),
                (Some(before), None) => Some(Event::HostGone(before)),
                (None, None) => None,
            },
        };
        self.outputs.extend(event.map(Output::Event));
    }
}

fn location_object(entry: &Entry) -> Option<&Object> {
    entry.objects.iter().find(|object| &*object.subject == class::LOCATION)
}

/// The VRF in which an entry is located, the object that says so, and whose it is.
fn placed(entry: Option<&Entry>) -> Option<(Uri, &Object, &Arc<str>)> {
    let entry = entry?;
    let vrf = ext::vrf_uri(&entry.location.as_ref()?.vrf);
    Some((vrf, location_object(entry)?, &entry.owner))
}
