//! Where the endpoints of other hosts are, and which hosts there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Asked, Client, Event, Output, PeerId};
use crate::ext::{self, Host, Location, class};
use crate::message::{Call, Outcome, Reply, Resolve, Role, Update};
use crate::mo::{Object, Reference};
use crate::{Time, Uri};

impl Client {
    /// Learns where the endpoints of the VRF with this DN are, until [`Client::unwatch_vrf`].
    pub fn watch_vrf(&mut self, dn: &str, now: Time) {
        let target = Reference::new(class::VRF, ext::vrf_uri(dn));
        if self.watched.insert(target.clone()) {
            let registries = self.ready_peers(Role::EndpointRegistry);
            self.send_watch(&target, &registries, now);
            self.flush(now);
        }
    }

    /// Takes [`Client::watch_vrf`] back, and forgets the locations.
    pub fn unwatch_vrf(&mut self, dn: &str, now: Time) {
        let target = Reference::new(class::VRF, ext::vrf_uri(dn));
        if self.watched.remove(&target) {
            self.watch_due.remove(&target);
            self.answered.remove(&target);
            self.settled.remove(&target);
            for peer in self.ready_peers(Role::EndpointRegistry) {
                self.ask(peer, &Call::EndpointUnresolve(vec![target.clone()]), Asked::Other);
            }
            if let Some((vrf, _)) = self.locations.remove_entry(dn) {
                self.outputs.push_back(Output::Event(Event::LocationsChanged { vrf }));
            }
            self.flush(now);
        }
    }

    /// Fills in the locations and hosts that an earlier run of this agent knew, before any
    /// controller is there. Only those in watched VRFs are kept.
    pub fn restore_endpoints(&mut self, objects: Vec<Object>, now: Time) {
        self.endpoint_update(Update { replace: objects, ..Update::default() });
        self.flush(now);
    }

    /// The endpoints of other agents in the VRF with this DN, by the URI of their location.
    pub fn locations(&self, vrf: &str) -> impl Iterator<Item = (&Uri, &Location)> {
        self.locations.get(vrf).into_iter().flatten()
    }

    /// Whether a registry has said, since this agent watches it, where the endpoints of the VRF with
    /// this DN are. A controller that just started may not have heard of all of them yet:
    /// [`Client::settled_locations`].
    pub fn knows_locations(&self, vrf: &str) -> bool {
        self.answered.contains(&Reference::new(class::VRF, ext::vrf_uri(vrf)))
    }

    /// Whether a registry has named all endpoints of the VRF with this DN there are: one that is not
    /// among them does not exist.
    pub fn settled_locations(&self, vrf: &str) -> bool {
        self.settled.contains(&Reference::new(class::VRF, ext::vrf_uri(vrf)))
    }

    /// Whether a registry has named all hosts there are.
    pub fn settled_hosts(&self) -> bool {
        self.settled.contains(&Reference::new(class::HOST, ext::hosts_uri()))
    }

    /// The endpoints of other agents in every watched VRF.
    pub fn all_locations(&self) -> impl Iterator<Item = &Location> {
        self.locations.values().flat_map(BTreeMap::values)
    }

    /// The hosts of the fabric, this one among them once it is declared.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// Every agent needs to know every host: tunnel packets from others are dropped.
    pub(super) fn watch_hosts(&mut self) {
        self.watched.insert(Reference::new(class::HOST, ext::hosts_uri()));
    }

    pub(super) fn watch_all(&mut self, peer: PeerId, now: Time) {
        let targets: Vec<Reference> = self.watched.iter().cloned().collect();
        for target in targets {
            self.send_watch(&target, &[peer], now);
        }
    }

    pub(super) fn refresh_watches(&mut self, now: Time) {
        let due = self.watch_due.take_due(now);
        let registries = self.ready_peers(Role::EndpointRegistry);
        for target in due {
            self.send_watch(&target, &registries, now);
        }
    }

    /// The answer names all there are: what it does not name is gone. Unless the registry says that
    /// it is still waiting for agents to come back: then nothing goes, and it is asked again soon.
    pub(super) fn watch_answer(&mut self, target: &Reference, outcome: Outcome, now: Time) {
        if !self.watched.contains(target) {
            return;
        }
        let Ok(Reply::Endpoint(objects)) = outcome else { return };
        let unsettled = |object: &Object| {
            &*object.subject == class::REGISTRY && object.number("settled") == Some(0)
        };
        let first = self.answered.insert(target.clone());
        if objects.iter().any(unsettled) {
            self.watch_due.set(target.clone(), now + self.config.retry);
            if first {
                self.tell_of(target);
            }
            return self.endpoint_update(Update { replace: objects, ..Update::default() });
        }
        self.watch_due.set(target.clone(), self.refresh_time(&target.uri, now));
        let first = self.settled.insert(target.clone());
        if &*target.subject == class::HOST {
            let hosts = objects.iter().filter_map(|object| Host::from_object(object).ok());
            let hosts = hosts.map(|host| (host.name.clone(), host)).collect();
            if first || self.hosts != hosts {
                self.hosts = hosts;
                self.outputs.push_back(Output::Event(Event::HostsChanged));
            }
            return;
        }
        let Some(vrf): Option<Arc<str>> = target.uri.segments().nth(2).map(Arc::from) else {
            return;
        };
        let read = |object: &Object| {
            let location = Location::from_object(object).ok()?;
            (location.vrf == vrf).then(|| (object.uri.clone(), location))
        };
        let locations: BTreeMap<Uri, Location> = objects.iter().filter_map(read).collect();
        let held = self.locations.entry(vrf.clone()).or_default();
        if first || *held != locations {
            *held = locations;
            self.outputs.push_back(Output::Event(Event::LocationsChanged { vrf }));
        }
    }

    /// That there is an answer is news, even if it names nothing.
    fn tell_of(&mut self, target: &Reference) {
        let event = match target.uri.segments().nth(2) {
            Some(vrf) => Event::LocationsChanged { vrf: vrf.into() },
            None => Event::HostsChanged,
        };
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn endpoint_update(&mut self, update: Update) {
        let mut vrfs: Vec<Arc<str>> = Vec::new();
        let mut hosts = false;
        for object in &update.replace {
            if let Ok(location) = Location::from_object(object) {
                vrfs.extend(self.learn_location(&object.uri, location));
            } else if let Ok(host) = Host::from_object(object) {
                hosts |= self.hosts.get(&host.name) != Some(&host);
                self.hosts.insert(host.name.clone(), host);
            }
        }
        for gone in &update.delete {
            vrfs.extend(self.forget_location(&gone.uri));
            let before = self.hosts.len();
            self.hosts.retain(|name, _| ext::host_uri(name) != gone.uri);
            hosts |= self.hosts.len() != before;
        }
        vrfs.sort_unstable();
        vrfs.dedup();
        for vrf in vrfs {
            self.outputs.push_back(Output::Event(Event::LocationsChanged { vrf }));
        }
        if hosts {
            self.outputs.push_back(Output::Event(Event::HostsChanged));
        }
    }

    /// Returns the VRFs in which something changed.
    fn learn_location(&mut self, uri: &Uri, location: Location) -> Vec<Arc<str>> {
        let vrf = location.vrf.clone();
        if self.locations.get(&vrf).and_then(|held| held.get(uri)) == Some(&location) {
            return Vec::new();
        }
        let mut changed = self.forget_location(uri);
        if self.watched.contains(&Reference::new(class::VRF, ext::vrf_uri(&vrf))) {
            self.locations.entry(vrf.clone()).or_default().insert(uri.clone(), location);
            changed.push(vrf);
        }
        changed
    }

    fn forget_location(&mut self, uri: &Uri) -> Vec<Arc<str>> {
        let held = self.locations.iter_mut();
        held.filter_map(|(vrf, held)| held.remove(uri).map(|_| vrf.clone())).collect()
    }

    fn send_watch(&mut self, target: &Reference, peers: &[PeerId], now: Time) {
        self.watch_due.set(target.clone(), now + self.config.retry);
        let resolve = Resolve { target: target.clone(), prr: self.config.prr.as_secs() };
        let call = Call::EndpointResolve(vec![resolve]);
        for peer in peers {
            // Other registries have no such class.
            if self.connections.get(peer.0).is_some_and(|c| c.is_selvage()) {
                self.ask(*peer, &call, Asked::Endpoint(target.clone()));
            }
        }
    }
}
