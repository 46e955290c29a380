//! What people ask of a running controller: who enforces what, and what stands.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use selvage_opflex::Time;
use serde::Serialize;

use crate::Core;
use crate::fabric::{Progress, millis};

/// The state of the fabric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Who enforces the last revision.
    pub progress: Progress,
    /// Every host, by name.
    pub hosts: Vec<HostStatus>,
    /// Endpoints that agents declared.
    pub endpoints: usize,
    /// Objects in the tree.
    pub objects: usize,
    /// Rules of the compiled policy, and the pairs of groups they hold between.
    pub policy: PolicyStatus,
    /// Faults, by severity.
    pub faults: BTreeMap<String, usize>,
}

/// The size of the compiled policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyStatus {
    /// Groups that are enforced.
    pub groups: usize,
    /// Pairs of groups that rules hold between.
    pub pairs: usize,
    /// Distinct sets of rules.
    pub rule_sets: usize,
    /// Rules in them.
    pub rules: usize,
}

/// The state of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostStatus {
    /// Name of its agent.
    pub name: Arc<str>,
    /// Its agent is connected.
    pub online: bool,
    /// Its agent is one of ours, and says what it enforces.
    pub selvage: bool,
    /// Its tunnel address.
    pub tunnel: Option<IpAddr>,
    /// The revision it enforces.
    pub enforces: u64,
    /// The last revision whose policy it was sent.
    pub touched_by: u64,
    /// It was sent policy that it does not enforce yet.
    pub pending: bool,
    /// How long after its commit the host enforced the last revision that touched it, in
    /// milliseconds.
    pub took_ms: Option<u64>,
    /// When it was last heard of, in milliseconds before now.
    pub last_seen_ms: u64,
    /// Endpoints it has.
    pub endpoints: usize,
}

impl Core {
    /// The state of the fabric.
    pub fn status(&self, now: Time) -> Status {
        let current = self.revision();
        let fabric = self.fabric();
        let view = self.view();
        let table = &view.compiled.table;
        let mut faults = BTreeMap::new();
        for fault in view.tree.of_class("faultInst") {
            *faults.entry(fault.get("severity").to_owned()).or_default() += 1;
        }
        let endpoints = self.endpoints_by_host();
        let hosts = fabric.hosts().map(|(name, host)| HostStatus {
            name: name.clone(),
            online: host.online,
            selvage: host.selvage,
            tunnel: host.tunnel,
            enforces: fabric.enforces(host, current).0,
            touched_by: host.touched_by.0,
            pending: host.pending,
            took_ms: host.took.map(millis),
            last_seen_ms: millis(now.since(host.last_seen)),
            endpoints: endpoints.get(&**name).copied().unwrap_or_default(),
        });
        Status {
            progress: fabric.progress(current),
            hosts: hosts.collect(),
            endpoints: self.endpoints(),
            objects: view.tree.len(),
            policy: PolicyStatus {
                groups: table.groups.len(),
                pairs: table.pairs.len(),
                rule_sets: table.rule_sets.len(),
                rules: table.rule_sets.values().map(|set| set.rules.len()).sum(),
            },
            faults,
        }
    }
}
