//! What happens to endpoints that are attached.

use std::time::Duration;

use selvage_agent::datapath::{Counters, PlaneError};
use selvage_agent::local::{Code, Stage};
use selvage_opflex::ext;
use selvage_rules::{EndpointId, Revision};

use crate::controller::{BD_WEB, Controller, DB, WEB, bridge_domain, group, ip, remote_db};
use crate::world::World;

#[test]
fn a_detach_leaves_nothing() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    world.detach("web-1").unwrap();
    assert!(world.links.is_empty() && world.in_force.locals.is_empty());
    assert!(world.controller.declared_locations().is_empty());
    assert!(world.endpoints.as_ref().unwrap().endpoints.is_empty());
    assert_eq!(world.detach("web-1").unwrap_err().code, Code::NoSuchEndpoint);
}

#[test]
fn a_link_that_vanishes_takes_its_endpoint_along() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    world.attach("web-2", WEB).unwrap();
    world.vanish("web-1");
    assert!(!world.enforced("web-1") && world.enforced("web-2"));
    assert_eq!(world.agent.list().len(), 1);
    assert_eq!(world.controller.declared_locations().len(), 1);
}

#[test]
fn a_deleted_group_quarantines_its_endpoints_until_it_is_back() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    world.attach("db-1", DB).unwrap();
    let update = world.controller.commit(Vec::new(), &[ext::group_uri(WEB)]);
    world.deliver(&update);
    let view = world.view("web-1");
    assert_eq!(view.stage, Stage::Quarantined);
    assert_eq!(view.fault.unwrap().code, Code::NoSuchEpg);
    assert!(!world.enforced("web-1") && world.enforced("db-1"));
    assert!(world.in_force.locals.contains_key(&EndpointId("web-1".into())), "its port is held");
    assert_eq!(world.controller.declared_locations().len(), 1);

    let update = world.controller.commit(vec![group(WEB).to_objects()], &[]);
    world.deliver(&update);
    assert_eq!(world.view("web-1").stage, Stage::Ready);
    assert!(world.enforced("web-1"));
    assert_eq!(world.controller.declared_locations().len(), 2);
    assert_eq!(world.controller.applied.last(), Some(&Revision(3)));
}

#[test]
fn a_subnet_that_goes_takes_its_address_out_of_force_and_says_so() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    let only_v4 = bridge_domain(BD_WEB, 201, &["10.1.0.1/24"]);
    let update = world.controller.commit(vec![only_v4], &[]);
    world.deliver(&update);
    let view = world.view("web-1");
    assert_eq!((view.stage, view.fault.unwrap().code), (Stage::Ready, Code::BadAddress));
    let local = world.in_force.locals[&view.id].endpoint.clone().unwrap();
    assert!(local.ips.len() == 1 && local.ips[0].is_ipv4());

    let other = bridge_domain(BD_WEB, 201, &["10.7.0.1/24"]);
    let update = world.controller.commit(vec![other], &[]);
    world.deliver(&update);
    assert_eq!(world.view("web-1").stage, Stage::Quarantined);
    assert!(!world.enforced("web-1"));
}

#[test]
fn endpoints_of_other_hosts_come_and_go_with_their_locations() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    assert!(world.in_force.remotes.is_empty());
    let update = world.controller.locate(remote_db("10.2.0.9"));
    world.deliver(&update);
    let remote = &world.in_force.remotes[&EndpointId("h2/db-9".into())];
    assert_eq!(remote.tunnel, ip("198.51.100.2"));
    assert!(world.in_force.table.bridge_domains.contains_key(&remote.endpoint.bd));
}

#[test]
fn a_controller_that_just_started_is_believed_in_what_it_says_and_not_in_what_it_leaves_out() {
    let mut controller = Controller::shop();
    controller.settled = false;
    let mut world = World::with(controller, true);
    world.attach("web-1", WEB).unwrap();
    assert!(world.in_force.tunnels.contains_key(&ip("198.51.100.2")), "a host it names is known");
    let update = world.controller.locate(remote_db("10.2.0.9"));
    world.deliver(&update);
    let remote = EndpointId("h2/db-9".into());
    assert!(world.in_force.remotes.contains_key(&remote), "so is an endpoint");

    // The agent and the controller start again, and the other host is not back yet.
    world.wait(Duration::from_secs(2));
    world.controller.locations.clear();
    world.controller.hosts.clear();
    world.restart();
    world.wait(Duration::from_secs(30));
    assert!(world.in_force.remotes.contains_key(&remote));
    assert!(world.in_force.tunnels.contains_key(&ip("198.51.100.2")));

    world.controller.settled = true;
    world.wait(Duration::from_secs(30));
    assert!(world.in_force.remotes.is_empty(), "it never came back");
}

#[test]
fn what_does_not_change_is_not_applied_again() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    let applies = world.applies;
    world.wait(Duration::from_secs(60));
    assert_eq!(world.applies, applies);
    let update = world.controller.commit(Vec::new(), &[]);
    world.deliver(&update);
    assert_eq!(world.in_force.revision, Revision(2));
    assert_eq!(world.controller.applied, [Revision(1), Revision(2)]);
}

#[test]
fn a_restarted_agent_enforces_what_it_enforced_before_it_hears_from_anybody() {
    let mut world = World::new();
    let before = world.attach("web-1", WEB).unwrap();
    let update = world.controller.locate(remote_db("10.2.0.9"));
    world.deliver(&update);
    let in_force = world.in_force.clone();
    world.reachable = false;
    world.restart();
    assert_eq!(world.in_force, in_force, "nothing changed by the restart");
    let view = world.view("web-1");
    assert_eq!((view.stage, &view.addresses), (Stage::Ready, &before.addresses));

    world.reachable = true;
    let applies = world.applies;
    world.wait(Duration::from_secs(30));
    assert_eq!(world.applies, applies, "the resync is no flap");
    assert_eq!(world.view("web-1").fault, None);
    assert_eq!(world.controller.applied, [Revision(1), Revision(1)]);
}

#[test]
fn without_its_kept_policy_a_restarted_agent_leaves_in_force_what_is() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    let in_force = world.in_force.clone();
    world.policy = None;
    world.reachable = false;
    world.restart();
    world.wait(Duration::from_secs(20));
    assert_eq!(world.in_force, in_force);
    world.reachable = true;
    world.wait(Duration::from_secs(30));
    assert_eq!(world.in_force.locals, in_force.locals);
    assert_eq!(world.view("web-1").stage, Stage::Ready);
}

#[test]
fn links_that_vanished_while_the_agent_was_away_are_detached() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    world.attach("web-2", WEB).unwrap();
    let name = world.view("web-1").host_ifname;
    world.links.remove(&name);
    world.restart();
    assert!(!world.enforced("web-1") && world.enforced("web-2"));
    assert_eq!(world.agent.list().len(), 1);
    assert_eq!(world.endpoints.as_ref().unwrap().endpoints.len(), 1);
}

#[test]
fn a_commit_that_does_not_fit_leaves_the_one_before_in_force() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    let error = PlaneError::TableFull { table: "rules".into(), limit: 1, need: 2 };
    world.plane_error = Some(error);
    let update = world.controller.commit(Vec::new(), &[]);
    world.deliver(&update);
    let status = world.agent.status(&Counters::default(), world.now());
    assert_eq!((status.desired, status.applied), (Revision(2), Revision(1)));
    assert_eq!(status.faults[0].code, Code::DataPlane);
    assert_eq!(world.controller.applied, [Revision(1)]);
    world.plane_error = None;
    world.wait(Duration::from_secs(6));
    assert_eq!(world.controller.applied, [Revision(1), Revision(2)]);
    assert!(world.agent.status(&Counters::default(), world.now()).faults.is_empty());
}

#[test]
fn a_controller_that_goes_changes_nothing() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    let (in_force, applies) = (world.in_force.clone(), world.applies);
    world.cut();
    world.wait(Duration::from_secs(600));
    assert_eq!((&world.in_force, world.applies), (&in_force, applies));
    let status = world.agent.status(&Counters::default(), world.now());
    assert!(!status.controller.connected && status.controller.since_ms >= 600_000);
    assert_eq!(
        status.controller.error.as_deref(),
        Some("the connection broke: connection refused")
    );
}
