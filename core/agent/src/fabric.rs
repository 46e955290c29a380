//! The rest of the fabric, as the OpFlex client knows it: policy, registry, other hosts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use selvage_opflex::client::{self, Client, ClientConfig, PeerId, Resolution};
use selvage_opflex::mo::Reference;
use selvage_opflex::{Time, ext};
use selvage_rules::{EndpointId, NodeId, Revision};

use crate::Now;
use crate::agent::{Config, Output};
use crate::slice::{self, Elsewhere, Location, Resolved, Slice};

/// What the controller said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A session stands.
    Up,
    /// None does, and why.
    Down(String),
    /// The registry took the declaration of this endpoint.
    Accepted(EndpointId),
    /// It refused it.
    Refused { id: EndpointId, message: String },
}

/// How much of a group's policy is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// Nothing is known.
    Unknown,
    /// The controller has no such group.
    Absent,
    /// Something it needs is missing; which.
    Partial(String),
    /// All of it.
    Complete,
}

/// The OpFlex client, and what is wanted of it.
#[derive(Debug)]
pub(crate) struct Fabric {
    client: Client,
    host: Arc<str>,
    node: Option<NodeId>,
    groups: BTreeSet<Arc<str>>,
    vrfs: BTreeSet<Arc<str>>,
    events: VecDeque<Event>,
    outputs: VecDeque<Output>,
    /// Something about policy or other hosts changed since it was last looked at.
    changed: bool,
}

impl Fabric {
    pub fn new(config: &Config, now: Now) -> Fabric {
        let mut client =
            Client::new(ClientConfig::new(&config.host, config.controllers.clone()), time(now));
        let host = ext::Host {
            name: config.host.as_str().into(),
            tunnel: config.tunnel,
            encapsulations: config.encapsulations.clone(),
            node: config.node,
            room: config.room,
        };
        // No endpoint can have this name, since it has a slash.
        client.declare("host/", host.to_objects(), time(now));
        if let Some(node) = config.node {
            client.want(&Reference::new(ext::class::BORDER, ext::border_uri(node)), time(now));
        }
        let mut fabric = Fabric {
            client,
            host: config.host.as_str().into(),
            node: config.node,
            groups: BTreeSet::new(),
            vrfs: BTreeSet::new(),
            events: VecDeque::new(),
            outputs: VecDeque::new(),
            changed: true,
        };
        fabric.tick(now);
        fabric
    }

    pub fn connected(&mut self, peer: PeerId, now: Now) {
        self.client.connected(peer, time(now));
        self.drain();
    }

    pub fn disconnected(&mut self, peer: PeerId, why: &str, jitter: u32, now: Now) {
        self.client.disconnected(peer, why, jitter, time(now));
        self.drain();
    }

    pub fn received(&mut self, peer: PeerId, bytes: &[u8], now: Now) {
        self.client.receive(peer, bytes, time(now));
        self.drain();
    }

    pub fn tick(&mut self, now: Now) {
        self.client.handle_timeout(time(now));
        self.drain();
    }

    pub fn next_deadline(&self) -> Option<(Now, &'static str)> {
        self.client.poll_timeout().map(|(at, why)| (Now(at.0.saturating_mul(1000)), why))
    }

    pub fn is_up(&self) -> bool {
        self.client.is_up()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether anything about policy or the other hosts changed since the last call; never while
    /// only half of a change is here.
    pub fn take_changed(&mut self) -> bool {
        self.client.is_settled() && std::mem::take(&mut self.changed)
    }

    /// Asks for exactly these groups, and for the locations of the endpoints of exactly these VRFs.
    pub fn want(&mut self, groups: BTreeSet<Arc<str>>, vrfs: BTreeSet<Arc<str>>, now: Now) {
        let now = time(now);
        for gone in self.groups.difference(&groups) {
            self.client.unwant_group(gone, now);
        }
        for new in groups.difference(&self.groups) {
            self.client.want_group(new, now);
        }
        for gone in self.vrfs.difference(&vrfs) {
            self.client.unwatch_vrf(gone, now);
        }
        for new in vrfs.difference(&self.vrfs) {
            self.client.watch_vrf(new, now);
        }
        self.changed |= self.groups != groups || self.vrfs != vrfs;
        (self.groups, self.vrfs) = (groups, vrfs);
        self.drain();
    }

    pub fn declare(&mut self, location: &ext::Location, now: Now) {
        self.client.declare(&location.endpoint.0, location.to_objects(), time(now));
        self.drain();
    }

    pub fn undeclare(&mut self, id: &EndpointId, now: Now) {
        self.client.undeclare(&id.0, time(now));
        self.drain();
    }

    pub fn report(&mut self, revision: Revision, now: Now) {
        self.client.report_applied(revision, time(now));
        self.drain();
    }

    /// How much is here of the group with this DN.
    pub fn group(&self, dn: &str) -> GroupState {
        match self.client.resolution(&ext::group_uri(dn)) {
            Resolution::Untracked | Resolution::Pending => GroupState::Unknown,
            Resolution::Absent => GroupState::Absent,
            Resolution::Present => match ext::slice(self.client.db(), [dn], None) {
                Ok(_) => GroupState::Complete,
                Err(missing) => GroupState::Partial(missing.to_string()),
            },
        }
    }

    /// How much is here of what this host is the border of.
    pub fn border(&self) -> GroupState {
        let Some(node) = self.node else { return GroupState::Absent };
        match self.client.resolution(&ext::border_uri(node)) {
            Resolution::Untracked | Resolution::Pending => GroupState::Unknown,
            Resolution::Absent => GroupState::Absent,
            Resolution::Present => match ext::slice(self.client.db(), [], Some(node)) {
                Ok(_) => GroupState::Complete,
                Err(missing) => GroupState::Partial(missing.to_string()),
            },
        }
    }

    /// Whether the registry has said where the endpoints of this VRF are.
    pub fn knows_locations(&self, vrf: &str) -> bool {
        self.client.knows_locations(vrf)
    }

    /// The policy of those of `groups` that are complete, and of the border if that is; `None` while they contradict each other,
    /// because the news of one of them is still on its way.
    pub fn slice(&self, groups: &BTreeSet<Arc<str>>) -> Option<Slice> {
        let complete = groups.iter().filter(|dn| self.group(dn) == GroupState::Complete);
        let border = self.node.filter(|_| self.border() == GroupState::Complete);
        let found = ext::slice(self.client.db(), complete.map(|dn| &**dn), border).ok()?;
        let resolved = found.table.groups.iter();
        let groups = resolved
            .filter_map(|(key, group)| {
                Some((group.name.clone(), Resolved { key: *key, bd: group.bd? }))
            })
            .collect();
        Some(Slice {
            revision: self.client.revision(),
            table: found.table,
            groups,
            names: found.names.into_iter().collect(),
            sources: found.sources,
        })
    }

    /// Where the other endpoints and hosts are. Until the registry has named all there are, what it
    /// has not said since the start is taken from `before`.
    pub fn elsewhere(&self, slice: &Slice, before: &Elsewhere) -> Elsewhere {
        let mut locations = BTreeMap::new();
        for (scope, vrf) in &slice.table.vrfs {
            let told = self.client.locations(&vrf.name);
            let mut known: BTreeMap<EndpointId, Location> = told
                .filter(|(_, location)| location.agent != self.host)
                .map(|(_, location)| (location.id(), Location::from(location)))
                .collect();
            if !self.client.settled_locations(&vrf.name) {
                keep_undisputed(&mut known, before.locations.get(scope));
            }
            locations.insert(*scope, known);
        }
        let others = self.client.hosts().filter(|host| host.name != self.host);
        let view = |host: &ext::Host| slice::Host {
            tunnel: host.tunnel,
            encapsulations: host.encapsulations.clone(),
            node: host.node,
        };
        let mut hosts: BTreeMap<_, _> =
            others.map(|host| (host.name.clone(), view(host))).collect();
        if !self.client.settled_hosts() {
            for (name, host) in &before.hosts {
                hosts.entry(name.clone()).or_insert_with(|| host.clone());
            }
        }
        Elsewhere { locations, hosts }
    }

    /// Sorts what the client has to say.
    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                client::Output::Connect { peer, address } => {
                    self.outputs.push_back(Output::Connect(peer, address));
                }
                client::Output::Send { peer, bytes } => {
                    self.outputs.push_back(Output::Send(peer, bytes));
                }
                client::Output::Close { peer } => self.outputs.push_back(Output::Close(peer)),
                client::Output::Event(event) => self.hear(event),
            }
        }
    }

    fn hear(&mut self, event: client::Event) {
        match event {
            client::Event::Up { .. } => {
                self.changed = true;
                self.events.push_back(Event::Up);
            }
            client::Event::Down { reason, .. } => {
                self.events.push_back(Event::Down(reason.to_string()));
            }
            client::Event::Changed(_)
            | client::Event::Revision(_)
            | client::Event::ResolvedEmpty(_)
            | client::Event::LocationsChanged { .. }
            | client::Event::HostsChanged => self.changed = true,
            client::Event::Declared { name } => {
                self.events.push_back(Event::Accepted(EndpointId(name)));
            }
            client::Event::DeclareRefused { name, message } => {
                self.events.push_back(Event::Refused { id: EndpointId(name), message });
            }
        }
    }
}

impl From<&ext::Location> for Location {
    fn from(location: &ext::Location) -> Location {
        Location {
            tunnel: location.tunnel,
            bd: location.bd,
            class: location.class,
            encap: location.encap,
            mac: location.mac,
            ips: location.ips.clone(),
            group: location.group.clone(),
            bridge_domain: location.bridge_domain.clone(),
        }
    }
}

fn time(now: Now) -> Time {
    Time(now.0 / 1000)
}

/// Adds to what is known what was known before, but for endpoints whose address another has now.
fn keep_undisputed(
    known: &mut BTreeMap<EndpointId, Location>,
    before: Option<&BTreeMap<EndpointId, Location>>,
) {
    let taken: BTreeSet<IpAddr> = known.values().flat_map(|l| l.ips.iter().copied()).collect();
    for (id, location) in before.into_iter().flatten() {
        if !location.ips.iter().any(|ip| taken.contains(ip)) {
            known.entry(id.clone()).or_insert_with(|| location.clone());
        }
    }
}
