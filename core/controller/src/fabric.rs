//! The hosts: who is there, who enforces what, and since when.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use selvage_opflex::Time;
use selvage_opflex::server::Event;
use selvage_rules::{Revision, Room};

/// How many commits' times are kept, to tell how long hosts took.
const REMEMBERED: usize = 256;

/// The number of the first host among the nodes; 1 is the controller.
const FIRST_NODE: u16 = 101;

/// One host, as far as the controller knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its number among the nodes: the one it says it has, else one that was free when it came, for
    /// as long as the controller runs.
    pub node: u16,
    /// Its agent is connected.
    pub online: bool,
    /// Its agent is one of ours, and says what it enforces.
    pub selvage: bool,
    /// Its tunnel address, once declared.
    pub tunnel: Option<IpAddr>,
    /// The last revision whose policy it was sent.
    pub touched_by: Revision,
    /// The last revision it said it enforces.
    pub applied: Revision,
    /// It was sent policy and has not yet said that it enforces it.
    pub pending: bool,
    /// How much policy its data plane holds.
    pub room: Room,
    /// What it enforced when its connection went.
    left_with: Revision,
    /// How long after its commit the last revision was enforced.
    pub took: Option<Duration>,
    /// When its agent was last heard of: connected, or said something that counts.
    pub last_seen: Time,
}

/// All hosts that were ever there.
#[derive(Debug, Default)]
pub struct Fabric {
    hosts: BTreeMap<Arc<str>, Host>,
    commits: BTreeMap<Revision, Time>,
    /// A number that a host just gave up.
    vacated: Option<u16>,
}

/// Which hosts enforce the last revision.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// The last revision.
    pub revision: u64,
    /// How many hosts there are.
    pub hosts: usize,
    /// How many of them enforce it.
    pub enforcing: usize,
    /// Connected hosts that do not, by name.
    pub pending: Vec<Arc<str>>,
    /// Hosts that are not connected and enforce an older one, by name.
    pub offline: Vec<Arc<str>>,
    /// How long after the commit the slowest of the touched hosts enforced it, in milliseconds;
    /// absent if it touched none, or one is not done.
    pub took_ms: Option<u64>,
}

impl Fabric {
    /// The hosts, by name.
    pub fn hosts(&self) -> impl Iterator<Item = (&Arc<str>, &Host)> {
        self.hosts.iter()
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// The revision a host enforces, when the last one is `current`. A commit that did not touch
    /// it changed nothing that it should do.
    pub fn enforces(&self, host: &Host, current: Revision) -> Revision {
        match (host.online, host.pending) {
            (false, _) => host.left_with,
            (true, true) => host.applied,
            (true, false) => current,
        }
    }

    /// Notes that a commit was made.
    pub fn committed(&mut self, revision: Revision, now: Time) {
        self.commits.insert(revision, now);
        if self.commits.len() > REMEMBERED {
            self.commits.pop_first();
        }
    }

    /// Takes in what the OpFlex server tells. Returns the name of the host that looks different
    /// now, as a node of the tree.
    pub fn note(&mut self, event: &Event, current: Revision, now: Time) -> Option<Arc<str>> {
        self.vacated = None;
        match event {
            Event::Up { agent, selvage, .. } => {
                let host = self.entry(agent, now)?;
                host.online = true;
                host.selvage = *selvage;
                // What it had before it has to confirm; a host that was never sent anything
                // enforces everything there is for it.
                host.pending = host.touched_by > Revision(0);
                Some(agent.clone())
            }
            Event::Down { agent: Some(agent), .. } => {
                let left_with = self.hosts.get(agent).map(|host| self.enforces(host, current))?;
                let host = self.entry(agent, now)?;
                host.online = false;
                host.left_with = left_with;
                Some(agent.clone())
            }
            Event::Touched { agent, revision } => {
                let host = self.entry(agent, now)?;
                host.touched_by = *revision;
                host.pending = true;
                None
            }
            Event::Applied(applied) => {
                let committed = self.commits.get(&applied.revision).copied();
                let host = self.entry(&applied.agent, now)?;
                if applied.revision > host.applied {
                    host.took = committed.map(|committed| now.since(committed));
                }
                host.applied = host.applied.max(applied.revision);
                host.pending &= applied.revision < host.touched_by;
                None
            }
            Event::HostDeclared(declared) => {
                let host = self.entry(&declared.name, now)?;
                host.tunnel = Some(declared.tunnel);
                host.room = declared.room;
                if let Some(node) = declared.node {
                    self.renumber(&declared.name, node.0);
                }
                Some(declared.name.clone())
            }
            Event::HostGone(gone) => {
                let host = self.hosts.get_mut(&gone.name)?;
                host.tunnel = None;
                Some(gone.name.clone())
            }
            _ => None,
        }
    }

    /// Who enforces the last revision.
    pub fn progress(&self, current: Revision) -> Progress {
        let ours = || self.hosts.iter().filter(|(_, host)| host.selvage);
        let behind = |online: bool| -> Vec<Arc<str>> {
            let late = ours().filter(|(_, host)| {
                host.online == online && self.enforces(host, current) < current
            });
            late.map(|(name, _)| name.clone()).collect()
        };
        let (pending, offline) = (behind(true), behind(false));
        let hosts = ours().count();
        let touched = ours().filter(|(_, host)| host.touched_by == current);
        let took = touched.map(|(_, host)| host.took.filter(|_| !host.pending && host.online));
        let took: Option<Vec<Duration>> = took.collect();
        let slowest = took.and_then(|took| took.into_iter().max());
        Progress {
            revision: current.0,
            hosts,
            enforcing: hosts - pending.len() - offline.len(),
            pending,
            offline,
            took_ms: slowest.map(millis),
        }
    }

    /// The node that a host was shown as before the last [`Fabric::note`], if it is shown as another
    /// now, and which host has that number now.
    pub fn vacated(&self) -> Option<(u16, Option<&Arc<str>>)> {
        let number = self.vacated?;
        let now = self.hosts.iter().find(|(_, host)| host.node == number);
        Some((number, now.map(|(name, _)| name)))
    }

    /// Gives a host the number that it says it has. A host that has it changes with it: one of the
    /// two was only given a number because it came first.
    fn renumber(&mut self, name: &Arc<str>, wanted: u16) {
        let Some(before) = self.hosts.get(name).map(|host| host.node) else { return };
        if before == wanted {
            return;
        }
        for host in self.hosts.values_mut().filter(|host| host.node == wanted) {
            host.node = before;
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.node = wanted;
        }
        self.vacated = Some(before);
    }

    fn entry(&mut self, name: &Arc<str>, now: Time) -> Option<&mut Host> {
        if !self.hosts.contains_key(name) {
            let taken = |node: &u16| self.hosts.values().any(|host| host.node == *node);
            let node = (FIRST_NODE..).find(|node| !taken(node))?;
            let host = Host {
                node,
                online: false,
                selvage: false,
                tunnel: None,
                room: Room::default(),
                touched_by: Revision(0),
                applied: Revision(0),
                pending: false,
                left_with: Revision(0),
                took: None,
                last_seen: now,
            };
            self.hosts.insert(name.clone(), host);
        }
        let host = self.hosts.get_mut(name)?;
        host.last_seen = now;
        Some(host)
    }
}

/// A duration in milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
