//! What this host declares to the endpoint registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Asked, Client, Event, Output, PeerId};
use crate::Time;
use crate::message::{Call, Declare, Id, Outcome, Role};
use crate::mo::{Object, Reference};

/// Objects declared together: an endpoint with its addresses, or the host itself.
#[derive(Debug)]
pub(super) struct Declaration {
    objects: Vec<Object>,
    /// What was declared under the same name before. It stays declared until the registry takes the
    /// new: a refusal must not take an address away that is in use.
    superseded: BTreeSet<Reference>,
    state: State,
    /// The number of the last request about it; answers to earlier ones do not count.
    number: Option<u64>,
    /// Requests since the last answer.
    attempts: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Pending,
    Accepted,
    Refused(String),
}

impl Client {
    /// Declares `objects` under `name`, in place of what was declared under it, until
    /// [`Client::undeclare`]. The registry takes all of them or none.
    pub fn declare(&mut self, name: &str, objects: Vec<Object>, now: Time) {
        let name: Arc<str> = name.into();
        let mut superseded = BTreeSet::new();
        if let Some(former) = self.declarations.remove(&name) {
            superseded.extend(roots(&former.objects));
            superseded.extend(former.superseded);
        }
        for root in roots(&objects) {
            superseded.remove(&root);
            self.withdrawn.remove(&root);
        }
        let state = State::Pending;
        let declaration = Declaration { objects, superseded, state, number: None, attempts: 0 };
        self.declarations.insert(name.clone(), declaration);
        let registries = self.ready_peers(Role::EndpointRegistry);
        self.send_declaration(&name, &registries, now);
        self.flush(now);
    }

    /// Takes back what was declared under `name`.
    pub fn undeclare(&mut self, name: &str, now: Time) {
        let Some((name, declaration)) = self.declarations.remove_entry(name) else { return };
        self.declaration_due.remove(&name);
        let mut gone = declaration.superseded;
        gone.extend(roots(&declaration.objects));
        self.withdraw(gone, now);
        self.flush(now);
    }

    /// Whether the registry took what was declared under `name`; `None` while it has not said.
    pub fn declared(&self, name: &str) -> Option<Result<(), &str>> {
        match &self.declarations.get(name)?.state {
            State::Pending => None,
            State::Accepted => Some(Ok(())),
            State::Refused(message) => Some(Err(message)),
        }
    }

    /// Declares everything anew to a registry that was just connected.
    pub(super) fn declare_all(&mut self, peer: PeerId, now: Time) {
        let withdrawn = std::mem::take(&mut self.withdrawn);
        if !withdrawn.is_empty() {
            let call = Call::EndpointUndeclare(withdrawn.into_iter().collect());
            self.ask(peer, &call, Asked::Other);
        }
        let names: Vec<Arc<str>> = self.declarations.keys().cloned().collect();
        for name in names {
            self.send_declaration(&name, &[peer], now);
        }
    }

    pub(super) fn refresh_declarations(&mut self, now: Time) {
        let due = self.declaration_due.take_due(now);
        let registries = self.ready_peers(Role::EndpointRegistry);
        for name in due {
            self.send_declaration(&name, &registries, now);
        }
    }

    pub(super) fn declare_answer(&mut self, name: &Arc<str>, id: &Id, outcome: Outcome, now: Time) {
        let refresh = self.declaration_refresh(name, now);
        let Some(declaration) = self.declarations.get_mut(name) else { return };
        if declaration.number != id.number() {
            return;
        }
        let state = match outcome {
            Ok(_) => State::Accepted,
            Err(refusal) => State::Refused(refusal.message),
        };
        let mut superseded = BTreeSet::new();
        if state == State::Accepted {
            declaration.attempts = 0;
            superseded = std::mem::take(&mut declaration.superseded);
            self.declaration_due.set(name.clone(), refresh);
        }
        if state != declaration.state {
            let name = name.clone();
            let event = match &state {
                State::Refused(message) => Event::DeclareRefused { name, message: message.clone() },
                State::Accepted | State::Pending => Event::Declared { name },
            };
            declaration.state = state;
            self.outputs.push_back(Output::Event(event));
        }
        self.withdraw(superseded, now);
    }

    /// Undeclares now, or when a registry is there again. An address may have gone from one endpoint
    /// of this host to another: the registry knows a root by its URI alone, so one that another
    /// declaration was granted stays, and one that it waits for is asked for again.
    fn withdraw(&mut self, mut gone: BTreeSet<Reference>, now: Time) {
        let mut waiting = Vec::new();
        for (name, declaration) in &self.declarations {
            let shared = roots(&declaration.objects).filter(|root| gone.contains(root));
            let shared: Vec<Reference> = shared.collect();
            if declaration.state == State::Accepted {
                gone.retain(|root| !shared.contains(root));
            } else if !shared.is_empty() {
                waiting.push(name.clone());
            }
        }
        if gone.is_empty() {
            return;
        }
        let registries = self.ready_peers(Role::EndpointRegistry);
        if registries.is_empty() {
            self.withdrawn.extend(gone);
            return;
        }
        let call = Call::EndpointUndeclare(gone.into_iter().collect());
        for peer in &registries {
            self.ask(*peer, &call, Asked::Other);
        }
        for name in waiting {
            self.send_declaration(&name, &registries, now);
        }
    }

    fn send_declaration(&mut self, name: &Arc<str>, peers: &[PeerId], now: Time) {
        let refresh = self.declaration_refresh(name, now);
        let Some(declaration) = self.declarations.get_mut(name) else { return };
        let wait = self.config.retry.saturating_mul(1 << declaration.attempts.min(16));
        declaration.attempts = declaration.attempts.saturating_add(1);
        let declare =
            Declare { objects: declaration.objects.clone(), prr: self.config.prr.as_secs() };
        self.declaration_due.set(name.clone(), refresh.min(now + wait));
        let call = Call::EndpointDeclare(vec![declare]);
        for peer in peers {
            let number = self.ask(*peer, &call, Asked::Declare(name.clone()));
            if let Some(declaration) = self.declarations.get_mut(name) {
                declaration.number = Some(number);
            }
        }
    }

    fn declaration_refresh(&self, name: &str, now: Time) -> Time {
        self.refresh_time(&crate::Uri::root().join(name), now)
    }
}

/// The objects of a list that are not below another of it.
fn roots(objects: &[Object]) -> impl Iterator<Item = Reference> {
    let listed: BTreeSet<_> = objects.iter().map(|object| &object.uri).collect();
    let is_root = move |object: &&Object| {
        object.parent.as_ref().is_none_or(|parent| !listed.contains(&parent.uri))
    };
    objects.iter().filter(is_root).map(Object::reference)
}
