//! Hosts: what they are sent, what they say they enforce, and how it is shown.

use selvage_model::Post;
use selvage_opflex::ext;
use selvage_rules::Revision;

use crate::world::{DB, OTHER, WEB, World, tenant};

/// Two hosts, `web` on the first and `db` on the second.
fn two_hosts() -> World {
    let mut world = World::new();
    world.post("uni", tenant());
    world.agent("host-1", "192.0.2.1");
    world.agent("host-2", "192.0.2.2");
    world.attach("host-1", "web-1", WEB, "10.0.0.11");
    world.attach("host-2", "db-1", DB, "10.0.0.12");
    world
}

fn icmp() -> Post {
    Post::new("vzFilter")
        .with("name", "sql")
        .child(Post::new("vzEntry").with("name", "ping").with("etherT", "ip").with("prot", "icmp"))
}

#[test]
fn an_agent_receives_what_its_groups_need_and_acknowledges() {
    let world = two_hosts();
    let db = world.agents["host-1"].client.db();
    let has = |uri: &selvage_opflex::Uri| db.get(uri).is_some();
    assert!(has(&ext::group_uri(WEB)));
    assert!(has(&ext::bridge_domain_uri("uni/tn-t/BD-net")));
    assert!(has(&ext::vrf_uri("uni/tn-t/ctx-main")));
    assert!(!has(&ext::group_uri(OTHER)), "a group that is not on the host was sent");
    let sets = db.objects().filter(|o| &*o.subject == ext::class::RULE_SET).count();
    assert!(sets >= 2, "{sets} rule sets");
    let progress = world.core.fabric().progress(world.core.revision());
    assert_eq!((progress.hosts, progress.enforcing), (2, 2), "{progress:?}");
}

#[test]
fn a_commit_reaches_just_the_hosts_it_concerns() {
    let mut world = two_hosts();
    let heard = |world: &mut World| -> Vec<usize> {
        world.agents.values_mut().map(|agent| std::mem::take(&mut agent.heard)).collect()
    };
    heard(&mut world);
    world.post("uni/tn-t", icmp());
    assert!(heard(&mut world).iter().all(|bytes| *bytes > 0));
    // A group that neither host has, in no contract with theirs.
    world.post(OTHER, Post::new("fvAEPg").with("pcEnfPref", "enforced"));
    assert_eq!(heard(&mut world), [0, 0]);
    let progress = world.core.fabric().progress(world.core.revision());
    assert_eq!((progress.revision, progress.enforcing), (3, 2), "{progress:?}");
}

#[test]
fn a_host_that_has_not_acknowledged_is_pending_and_the_time_it_took_is_told() {
    let mut world = two_hosts();
    world.agents.get_mut("host-2").unwrap().acknowledges = false;
    world.post("uni/tn-t", icmp());
    let progress = world.core.fabric().progress(world.core.revision());
    assert_eq!((progress.hosts, progress.enforcing), (2, 1));
    assert_eq!(progress.pending, ["host-2".into()]);
    assert_eq!(progress.took_ms, None);
    world.pass(7);
    let revision = world.core.revision();
    world.with("host-2", |client, now| client.report_applied(revision, now));
    let progress = world.core.fabric().progress(revision);
    assert_eq!((progress.enforcing, progress.took_ms), (2, Some(7)), "{progress:?}");
    let status = world.core.status(world.now);
    assert_eq!(status.hosts[1].enforces, revision.0);
    assert_eq!(status.hosts[1].took_ms, Some(7));
    assert_eq!(status.hosts[0].took_ms, Some(0));
}

#[test]
fn a_host_that_is_away_is_not_counted_for_what_came_meanwhile() {
    let mut world = two_hosts();
    world.lose("host-2");
    let status = |world: &World| {
        let status = world.core.status(world.now);
        (status.hosts[1].online, status.hosts[1].enforces, status.progress.enforcing)
    };
    assert_eq!(status(&world), (false, 1, 2));
    world.post("uni/tn-t", icmp());
    assert_eq!(status(&world), (false, 1, 1));
    world.connect("host-2");
    assert_eq!(status(&world), (true, 2, 2));
}

#[test]
fn a_restarted_controller_learns_anew_who_enforces_what() {
    let mut world = two_hosts();
    world.post("uni/tn-t", icmp());
    world.restart();
    let progress = world.core.fabric().progress(world.core.revision());
    assert_eq!((progress.revision, progress.hosts, progress.enforcing), (2, 2, 2), "{progress:?}");
    assert_eq!(world.core.fabric().host("host-1").unwrap().applied, Revision(2));
}

#[test]
fn hosts_and_endpoints_are_objects_of_the_tree() {
    let mut world = two_hosts();
    let tree = world.core.view().tree;
    let nodes: Vec<(&str, &str, &str)> = tree
        .of_class("fabricNode")
        .map(|mo| (mo.get("name"), mo.get("fabricSt"), mo.get("address")))
        .collect();
    let expected = [("host-1", "active", "192.0.2.1"), ("host-2", "active", "192.0.2.2")];
    assert!(expected.iter().all(|node| nodes.contains(node)), "{nodes:?}");
    let cep = format!("{WEB}/cep-02:00:0A:00:00:0B");
    let endpoint = tree.get(&cep).unwrap();
    assert_eq!((endpoint.get("ip"), endpoint.get("hostingServer")), ("10.0.0.11", "host-1"));
    assert!(tree.get(&format!("{cep}/ip-[10.0.0.11]")).is_some());

    world.lose("host-1");
    let state = |world: &World| {
        let tree = world.core.view().tree;
        let node = tree.of_class("fabricNode").find(|mo| mo.get("name") == "host-1");
        (node.unwrap().get("fabricSt").to_owned(), tree.get(&cep).is_some())
    };
    assert_eq!(state(&world), ("inactive".to_owned(), true));
    world.pass(61_000);
    assert_eq!(state(&world), ("inactive".to_owned(), false), "endpoints of a lost host stay");
}

#[test]
fn an_endpoint_is_never_stored_and_returns_with_its_group() {
    let mut world = two_hosts();
    let cep = format!("{WEB}/cep-02:00:0A:00:00:0B");
    world.delete(WEB);
    assert!(world.core.view().tree.get(&cep).is_none());
    world.post("uni", tenant());
    assert!(world.core.view().tree.get(&cep).is_some(), "the endpoint did not return");
    world.restart();
    let stored = world.core.view();
    assert_eq!(stored.tree.of_class("fvCEp").count(), 2, "agents declare their endpoints anew");
}

#[test]
fn an_address_in_use_is_refused_with_its_holder() {
    let mut world = two_hosts();
    world.attach("host-2", "thief", DB, "10.0.0.11");
    let refused = world.agents["host-2"].client.declared("thief").unwrap().unwrap_err();
    assert!(refused.contains("web-1"), "{refused}");
    assert_eq!(world.core.endpoints(), 2);
}
