//! How the agent looks from outside: the answers to `list` and `status`.

use std::collections::BTreeMap;

use selvage_rules::{RuleId, Table};

use crate::Now;
use crate::agent::{Agent, MTU};
use crate::datapath::{Count, Counters};
use crate::endpoint::{Endpoint, Link, Phase};
use crate::local::{Code, ControllerView, EndpointView, Refusal, RuleView, Stage, StatusView};

impl Agent {
    /// The endpoints of this host, by name.
    pub fn list(&self) -> Vec<EndpointView> {
        self.endpoints.values().map(|endpoint| self.endpoint_view(endpoint)).collect()
    }

    /// How the agent is, with what the data plane counted.
    pub fn status(&self, counters: &Counters, now: Now) -> StatusView {
        let in_force = self.plane.in_force.as_deref();
        let mut endpoints = BTreeMap::new();
        for endpoint in self.endpoints.values() {
            *endpoints.entry(self.stage(endpoint).0).or_default() += 1;
        }
        let table = in_force.map(|desired| &desired.table);
        StatusView {
            host: self.config.host.clone(),
            version: self.config.version.clone(),
            pid: self.config.pid,
            uptime_ms: now.since(self.started) / 1000,
            tunnel: self.config.tunnel,
            dataplane: self.config.dataplane.clone(),
            controller: ControllerView {
                address: self.config.controllers.join(", "),
                connected: self.link_to_controller.connected,
                since_ms: now.since(self.link_to_controller.since) / 1000,
                error: self.link_to_controller.error.clone(),
            },
            desired: self.slice.revision,
            applied: in_force.map(|desired| desired.revision).unwrap_or_default(),
            apply_us: self.plane.took,
            endpoints,
            remotes: in_force.map_or(0, |desired| desired.remotes.len() as u64),
            peers: self.elsewhere.hosts.len() as u64,
            reasons: counters.reasons.clone(),
            rules: table.map(|table| rules(table, &counters.rules)).unwrap_or_default(),
            tables: counters.tables.clone(),
            faults: self.faults(),
        }
    }

    /// What is wrong with the agent as a whole.
    fn faults(&self) -> Vec<Refusal> {
        let refused = self.plane.refused.iter().map(|(_, refusal, _)| {
            let message = format!("the last change is not in force: {}", refusal.message);
            Refusal { message, ..refusal.clone() }
        });
        let unsupported = self.plane.unsupported.iter().map(|what| {
            Refusal::new(
                Code::Unsupported,
                format!("{what} is denied: this data plane cannot enforce it"),
            )
        });
        refused.chain(unsupported).chain(self.unkept.clone()).collect()
    }

    pub(crate) fn endpoint_view(&self, endpoint: &Endpoint) -> EndpointView {
        let (stage, fault) = self.stage(endpoint);
        let group = self.slice.group(&endpoint.group);
        let key = group.map(|(resolved, _)| resolved.key);
        let vrf = key.and_then(|key| self.slice.table.vrfs.get(&key.scope));
        let in_force = self.plane.in_force.as_ref();
        let seat = self.slice.seat(&endpoint.group, &endpoint.facts());
        EndpointView {
            id: endpoint.id.clone(),
            host: self.config.host.clone(),
            group: endpoint.group.to_string(),
            bridge_domain: group.map(|(_, bd)| bd.name.to_string()),
            vrf: vrf.map(|vrf| vrf.name.to_string()),
            class: seat.and_then(|seat| seat.found).map(|(class, _)| class),
            scope: key.map(|key| key.scope),
            stage,
            fault,
            mac: endpoint.mac,
            addresses: endpoint.addresses.clone(),
            netns: endpoint.netns.clone(),
            ifname: endpoint.ifname.clone(),
            host_ifname: endpoint.host_ifname.clone(),
            ifindex: match endpoint.link {
                Link::Made(ifindex) => ifindex,
                Link::Making | Link::Gone => 0,
            },
            mtu: MTU,
            revision: in_force.map(|desired| desired.revision).unwrap_or_default(),
            timings: endpoint.timings,
        }
    }

    /// Where an endpoint is in its life, and what is wrong with it.
    fn stage(&self, endpoint: &Endpoint) -> (Stage, Option<Refusal>) {
        match endpoint.phase {
            Phase::Resolving | Phase::Declaring => return (Stage::Resolving, None),
            Phase::Reserved => return (Stage::Reserved, endpoint.conflict.clone()),
            Phase::Programming | Phase::Raising => return (Stage::Programming, None),
            Phase::Leaving | Phase::Removing => return (Stage::Leaving, None),
            Phase::Settled => {}
        }
        let in_force = self.plane.in_force.as_ref().and_then(|d| d.locals.get(&endpoint.id));
        match endpoint.identity(&self.slice) {
            // At start an earlier run's rules are in force while nothing is known here yet.
            Err(_) if !self.slice_known => (Stage::Resolving, None),
            Err(why) => (Stage::Quarantined, Some(why)),
            Ok(identity) => {
                let same = in_force.is_some_and(|local| local.endpoint.as_ref() == Some(&identity));
                let stage = if same { Stage::Ready } else { Stage::Programming };
                (stage, endpoint.remark(&self.slice))
            }
        }
    }
}

fn rules(table: &Table, counts: &BTreeMap<RuleId, Count>) -> Vec<RuleView> {
    let view = |(rule, origin): (&RuleId, &selvage_rules::Origin)| RuleView {
        rule: *rule,
        dn: origin.dn.to_string(),
        entry: origin.entry.to_string(),
        reverse: origin.reverse,
        count: counts.get(rule).copied().unwrap_or_default(),
    };
    table.origins.iter().map(view).collect()
}
