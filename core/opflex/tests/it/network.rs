//! Fabrics with a bad network: whatever happens, in the end every host has what it should, and
//! at no time does one act upon less than a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use selvage_opflex::client::{ClientConfig, Event, Resolution};
use selvage_opflex::ext::{self, Location, slice};
use selvage_opflex::server;
use selvage_rules::{EndpointId, Revision, Table};

use crate::declarations::{VRF, location};
use crate::support::{Fabric, Policy, agent_name, cases, config, group_name};

/// What an agent would do: keep the last whole slice.
#[derive(Default, Clone)]
struct Agent {
    groups: BTreeSet<usize>,
    enforced: Option<Table>,
    declared: BTreeMap<Arc<str>, Location>,
}

fn names(groups: &BTreeSet<usize>) -> Vec<String> {
    groups.iter().map(|index| group_name(*index)).collect()
}

/// The groups of this host that exist, as far as it knows.
fn present(fabric: &Fabric, host: usize, groups: &BTreeSet<usize>) -> BTreeSet<usize> {
    let client = &fabric.hosts[host].client;
    let there = |index: &&usize| {
        client.resolution(&ext::group_uri(&group_name(**index))) == Resolution::Present
    };
    groups.iter().filter(there).copied().collect()
}

fn slice_of(fabric: &Fabric, host: usize, groups: &BTreeSet<usize>) -> Option<Table> {
    let names = names(&present(fabric, host, groups));
    let db = fabric.hosts[host].client.db();
    slice(db, names.iter().map(String::as_str), None).ok().map(|slice| slice.table)
}

fn two_tiers() -> Policy {
    Policy {
        groups: [0, 1, 2].into(),
        pairs: [((Some(0), Some(1)), 80), ((Some(1), Some(2)), 5432), ((None, Some(0)), 443)]
            .into(),
        gateway: 0,
    }
}

#[test]
fn one_round_trip_brings_the_whole_closure() {
    let policy = two_tiers();
    let mut fabric = Fabric::new(1, policy.source());
    fabric.settle();
    fabric.take_events(0);
    fabric.with_client(0, |client, now| client.want_group(&group_name(0), now));
    fabric.deliver_up(0, usize::MAX);
    fabric.deliver_down(0, usize::MAX);
    assert!(fabric.hosts[0].to_server.is_empty(), "nothing more is asked");
    let groups = BTreeSet::from([0]);
    assert_eq!(slice_of(&fabric, 0, &groups), Some(policy.slice(&groups)));
    let events = fabric.take_events(0);
    assert!(matches!(events.as_slice(), [Event::Changed(_), Event::Revision(Revision(1))]));
}

#[test]
fn a_commit_reaches_exactly_the_hosts_it_concerns_in_one_update() {
    let mut policy = two_tiers();
    let mut fabric = Fabric::new(3, policy.source());
    fabric.settle();
    for host in 0..3 {
        fabric.with_client(host, |client, now| client.want_group(&group_name(host), now));
    }
    fabric.settle();
    policy.pairs.insert((Some(1), Some(2)), 3306);
    assert_eq!(fabric.commit(&policy), [agent_name(1), agent_name(2)]);
    let frames = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 0).count();
    assert_eq!([0, 1, 2].map(|host| frames(&fabric.hosts[host].to_client)), [0, 1, 1]);
    fabric.settle();
    for host in 0..3 {
        let groups = BTreeSet::from([host]);
        assert_eq!(slice_of(&fabric, host, &groups), Some(policy.slice(&groups)));
    }
    assert_eq!(fabric.hosts[1].client.revision(), Revision(2));
    assert_eq!(fabric.hosts[0].client.revision(), Revision(1), "it was not touched");
    assert!(fabric.commit(&policy).is_empty(), "nothing changed, nobody is touched");
}

#[test]
fn a_group_that_does_not_exist_is_reported_and_arrives_when_it_is_made() {
    let mut policy = two_tiers();
    let mut fabric = Fabric::new(1, policy.source());
    fabric.settle();
    fabric.with_client(0, |client, now| client.want_group(&group_name(7), now));
    fabric.settle();
    let uri = ext::group_uri(&group_name(7));
    assert!(fabric.take_events(0).contains(&Event::ResolvedEmpty(uri.clone())));
    assert_eq!(fabric.hosts[0].client.resolution(&uri), Resolution::Absent);

    policy.groups.insert(7);
    fabric.commit(&policy);
    fabric.settle();
    assert_eq!(fabric.hosts[0].client.resolution(&uri), Resolution::Present);
    let groups = BTreeSet::from([7]);
    assert_eq!(slice_of(&fabric, 0, &groups), Some(policy.slice(&groups)));

    policy.groups.remove(&7);
    fabric.commit(&policy);
    fabric.settle();
    assert!(fabric.take_events(0).contains(&Event::ResolvedEmpty(uri)));
}

#[test]
fn what_nothing_needs_any_more_is_unresolved_and_forgotten() {
    let policy = two_tiers();
    let mut fabric = Fabric::new(1, policy.source());
    fabric.settle();
    fabric.with_client(0, |client, now| client.want_group(&group_name(0), now));
    fabric.settle();
    assert!(fabric.hosts[0].client.db().objects().count() > 5);
    fabric.with_client(0, |client, now| client.unwant_group(&group_name(0), now));
    fabric.settle();
    assert_eq!(fabric.hosts[0].client.db().objects().count(), 0);
    let mut other = policy.clone();
    other.gateway = 9;
    assert!(fabric.commit(&other).is_empty(), "the controller knows that it is not needed");
}

#[test]
fn acknowledged_revisions_reach_the_controller_and_again_after_its_restart() {
    let mut policy = two_tiers();
    let mut fabric = Fabric::new(1, policy.source());
    fabric.settle();
    fabric.with_client(0, |client, now| client.want_group(&group_name(0), now));
    policy.gateway = 1;
    fabric.settle();
    fabric.commit(&policy);
    fabric.settle();
    fabric.with_client(0, |client, now| client.report_applied(Revision(2), now));
    fabric.settle();
    let applied = ext::Applied { agent: agent_name(0).into(), revision: Revision(2) };
    assert!(fabric.server_events.contains(&server::Event::Applied(applied.clone())));

    fabric.server_events.clear();
    fabric.restart_server();
    fabric.tick(1_000);
    fabric.settle();
    assert!(fabric.server_events.contains(&server::Event::Applied(applied)));
}

#[test]
fn a_reconnection_without_news_changes_nothing() {
    let policy = two_tiers();
    let mut fabric = Fabric::new(1, policy.source());
    fabric.settle();
    fabric.with_client(0, |client, now| client.want_group(&group_name(1), now));
    fabric.settle();
    fabric.take_events(0);
    let held = |fabric: &Fabric| fabric.hosts[0].client.db().objects().cloned().collect::<Vec<_>>();
    let before = held(&fabric);
    fabric.restart_server();
    assert_eq!(held(&fabric), before, "fail static");
    fabric.tick(1_000);
    fabric.settle();
    let told = fabric.take_events(0);
    assert!(
        told.iter().all(|event| matches!(event, Event::Up { .. } | Event::Down { .. })),
        "{told:?}"
    );
}

#[test]
fn news_of_a_reconnection_come_together() {
    let mut policy = two_tiers();
    let mut fabric = Fabric::with(1, policy.source(), hasty);
    fabric.settle();
    for group in [0, 1, 2] {
        fabric.with_client(0, |client, now| client.want_group(&group_name(group), now));
    }
    fabric.settle();
    fabric.cut(0);
    fabric.take_events(0);
    policy.pairs.insert((Some(0), Some(1)), 81);
    policy.pairs.remove(&(Some(1), Some(2)));
    policy.gateway = 3;
    fabric.commit(&policy);
    fabric.tick(1_000);
    fabric.connect(0);
    let groups = BTreeSet::from([0, 1, 2]);
    let mut changes = 0;
    while !(fabric.hosts[0].to_server.is_empty() && fabric.hosts[0].to_client.is_empty()) {
        fabric.deliver_up(0, 1000);
        fabric.deliver_down(0, 100);
        for event in fabric.take_events(0) {
            if matches!(event, Event::Changed(_)) {
                changes += 1;
                assert_eq!(slice_of(&fabric, 0, &groups), Some(policy.slice(&groups)));
            }
        }
    }
    assert_eq!(changes, 1);
}

#[test]
fn leases_are_refreshed_between_a_third_and_a_half_and_run_out_without() {
    let mut policy = two_tiers();
    let mut fabric = Fabric::new(1, policy.source());
    fabric.settle();
    fabric.with_client(0, |client, now| client.want_group(&group_name(0), now));
    fabric.settle();
    // 7200 s of lease: refreshed after 2400 s at the earliest, and after 3600 s at the latest.
    let mut resolves = Vec::new();
    for minute in 1..=61 {
        for _ in 0..6 {
            fabric.tick(10_000);
            let sent = &fabric.hosts[0].to_server;
            if String::from_utf8_lossy(sent).contains("\"method\":\"policy_resolve\"") {
                resolves.push(minute);
            }
            fabric.settle();
        }
    }
    assert!(!resolves.is_empty());
    assert!(resolves.iter().all(|minute| (40..=61).contains(minute)), "{resolves:?}");

    // A host that says nothing but echoes loses its leases, and hears no more.
    policy.gateway = 5;
    assert_eq!(fabric.commit(&policy), [agent_name(0)]);
    fabric.settle();
    let conn = fabric.hosts[0].conn.unwrap();
    let echo = b"{\"id\":[\"echo\",9],\"result\":[1]}\0";
    for _ in 0..130 {
        fabric.now.0 += 60_000;
        fabric.server.receive(conn, echo, &fabric.source, fabric.now);
        fabric.server.handle_timeout(fabric.now);
    }
    policy.gateway = 6;
    assert!(fabric.commit(&policy).is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Up(usize, usize),
    Down(usize, usize),
    Connect(usize),
    Cut(usize),
    Restart,
    Tick(u64),
    Want(usize, usize),
    Unwant(usize, usize),
    ToggleGroup(usize),
    Pair(Option<usize>, Option<usize>, u16),
    Gateway(u8),
    /// A host's endpoint gets an address that others may want, too.
    Declare(usize, u8, u8),
    Undeclare(usize, u8),
    Crash(usize),
}

const HOSTS: usize = 3;
const GROUPS: usize = 5;

fn step() -> impl Strategy<Value = Step> {
    let host = 0..HOSTS;
    let group = 0..GROUPS;
    let end = || proptest::option::weighted(0.8, 0..GROUPS);
    prop_oneof![
        6 => (host.clone(), 1usize..20_000).prop_map(|(h, n)| Step::Up(h, n)),
        6 => (host.clone(), 1usize..20_000).prop_map(|(h, n)| Step::Down(h, n)),
        2 => host.clone().prop_map(Step::Connect),
        1 => host.clone().prop_map(Step::Cut),
        1 => Just(Step::Restart),
        2 => (0u64..20_000).prop_map(Step::Tick),
        3 => (host.clone(), group.clone()).prop_map(|(h, g)| Step::Want(h, g)),
        1 => (host, group.clone()).prop_map(|(h, g)| Step::Unwant(h, g)),
        2 => group.prop_map(Step::ToggleGroup),
        4 => (end(), end(), 1u16..30).prop_map(|(s, d, p)| Step::Pair(s, d, p)),
        1 => (0u8..3).prop_map(Step::Gateway),
        4 => (0..HOSTS, 1u8..4, 1u8..8).prop_map(|(h, e, a)| Step::Declare(h, e, a)),
        2 => (0..HOSTS, 1u8..4).prop_map(|(h, e)| Step::Undeclare(h, e)),
        1 => (0..HOSTS).prop_map(Step::Crash),
    ]
}

/// Small batches and short leases: a resync takes several answers, and leases run out when bytes
/// are stuck.
fn hasty(host: usize) -> ClientConfig {
    ClientConfig { prr: Duration::from_secs(40), batch: 2, ..config(host) }
}

struct World {
    fabric: Fabric,
    policy: Policy,
    agents: Vec<Agent>,
    /// Every table that was ever in force, as each host should see it.
    history: Vec<Policy>,
}

impl World {
    fn new() -> World {
        let policy = Policy { groups: [0, 1].into(), ..Policy::default() };
        let mut fabric = Fabric::with(HOSTS, policy.source(), hasty);
        for host in 0..HOSTS {
            fabric.with_client(host, |client, now| client.watch_vrf(VRF, now));
        }
        let agents = vec![Agent::default(); HOSTS];
        World { fabric, history: vec![policy.clone()], policy, agents }
    }

    fn act(&mut self, step: Step) {
        let fabric = &mut self.fabric;
        match step {
            Step::Up(host, count) => fabric.deliver_up(host, count),
            Step::Down(host, count) => fabric.deliver_down(host, count),
            Step::Connect(host) => fabric.connect(host),
            Step::Cut(host) => fabric.cut(host),
            Step::Restart => fabric.restart_server(),
            Step::Tick(millis) => fabric.tick(millis),
            Step::Want(host, group) => {
                self.agents[host].groups.insert(group);
                fabric.with_client(host, |c, now| c.want_group(&group_name(group), now));
            }
            Step::Unwant(host, group) => {
                self.agents[host].groups.remove(&group);
                fabric.with_client(host, |c, now| c.unwant_group(&group_name(group), now));
            }
            Step::ToggleGroup(group) => {
                if !self.policy.groups.remove(&group) {
                    self.policy.groups.insert(group);
                }
                self.commit();
            }
            Step::Pair(src, dst, port) => {
                if self.policy.pairs.insert((src, dst), port) == Some(port) {
                    self.policy.pairs.remove(&(src, dst));
                }
                self.commit();
            }
            Step::Gateway(gateway) => {
                self.policy.gateway = gateway;
                self.commit();
            }
            Step::Declare(host, endpoint, address) => {
                let location = location(host, endpoint, address);
                let name = location.endpoint.0.clone();
                fabric.with_client(host, |c, now| c.declare(&name, location.to_objects(), now));
                self.agents[host].declared.insert(name, location);
            }
            Step::Undeclare(host, endpoint) => {
                let name = location(host, endpoint, 0).endpoint.0;
                fabric.with_client(host, |c, now| c.undeclare(&name, now));
                self.agents[host].declared.remove(&name);
            }
            Step::Crash(host) => {
                fabric.crash(host);
                fabric.with_client(host, |c, now| c.watch_vrf(VRF, now));
                self.agents[host] = Agent::default();
            }
        }
        for host in 0..HOSTS {
            self.swap(host);
        }
    }

    fn commit(&mut self) {
        self.fabric.commit(&self.policy);
        self.history.push(self.policy.clone());
    }

    /// An agent swaps when it is told of a change, and its closure is whole. Whatever it swaps to
    /// must have been in force for its groups at some time.
    fn swap(&mut self, host: usize) {
        let told = self.fabric.take_events(host);
        if !told.iter().any(|event| matches!(event, Event::Changed(_))) {
            return;
        }
        assert!(self.fabric.hosts[host].client.is_settled());
        let groups = present(&self.fabric, host, &self.agents[host].groups);
        let Some(table) = slice_of(&self.fabric, host, &groups) else { return };
        let held = self.history.iter().any(|policy| policy.slice(&groups) == table);
        assert!(held, "host {host} swapped to a table that never was: {table:#?}");
        self.agents[host].enforced = Some(table);
    }

    fn finish(&mut self) {
        // Long enough for every retry and every time limit.
        for _ in 0..12 {
            self.fabric.tick(16_000);
            self.fabric.settle();
            for host in 0..HOSTS {
                self.swap(host);
            }
        }
        for host in 0..HOSTS {
            let wanted = &self.agents[host].groups;
            let exist: BTreeSet<usize> =
                wanted.intersection(&self.policy.groups).copied().collect();
            assert_eq!(present(&self.fabric, host, wanted), exist, "host {host}");
            let slice = slice_of(&self.fabric, host, wanted);
            assert_eq!(slice, Some(self.policy.slice(&exist)), "host {host}");
            if !exist.is_empty() {
                assert_eq!(self.agents[host].enforced, slice, "host {host} was not told");
            }
        }
        self.check_endpoints();
    }

    /// What the registry took is what the agents say it took, and what all others know.
    fn check_endpoints(&self) {
        let registered: BTreeMap<EndpointId, &Location> =
            self.fabric.server.locations().map(|location| (location.id(), location)).collect();
        let (mut taken, mut refused) = (BTreeMap::new(), BTreeSet::new());
        for (host, agent) in self.agents.iter().enumerate() {
            let client = &self.fabric.hosts[host].client;
            for (name, location) in &agent.declared {
                match client.declared(name) {
                    Some(Ok(())) => drop(taken.insert(location.id(), location)),
                    Some(Err(message)) => {
                        assert!(message.contains("is held by"), "{message}");
                        refused.insert(location.id());
                    }
                    None => panic!("host {host} has no answer about {name}"),
                }
            }
            let known: BTreeMap<EndpointId, &Location> =
                client.locations(VRF).map(|(_, location)| (location.id(), location)).collect();
            let mut others = registered.clone();
            others.retain(|_, location| *location.agent != *agent_name(host));
            assert_eq!(known, others, "host {host}");
        }
        let addresses: BTreeSet<_> = registered.values().map(|location| &location.ips).collect();
        assert_eq!(addresses.len(), registered.len(), "an address has one holder");
        // What is refused leaves in place what was taken of the same endpoint before.
        let mut registered = registered;
        registered.retain(|id, _| !refused.contains(id));
        assert_eq!(taken, registered);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn every_fabric_converges_and_no_host_acts_upon_half_a_policy(
        steps in proptest::collection::vec(step(), 0..80)
    ) {
        let mut world = World::new();
        for step in steps {
            world.act(step);
        }
        world.finish();
    }
}
