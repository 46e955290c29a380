//! Attaching, and what can be in its way.

use std::time::Duration;

use selvage_agent::datapath::PlaneError;
use selvage_agent::local::{Code, Stage};
use selvage_rules::{EndpointId, Revision};

use crate::controller::{Controller, DB, VRF, WEB, WEB_CLASS, ip, remote_db};
use crate::world::{World, request};

#[test]
fn an_attach_is_answered_when_its_policy_is_in_force() {
    let mut world = World::new();
    let view = world.attach("web-1", "shop/store/web").unwrap();
    assert_eq!((view.stage, view.fault.clone()), (Stage::Ready, None));
    assert_eq!((view.group.as_str(), view.vrf.as_deref()), (WEB, Some(VRF)));
    assert_eq!(view.addresses.len(), 2, "one of each family");
    assert_eq!(view.addresses[0].gateway, Some(ip("10.1.0.1")));

    assert!(world.enforced("web-1") && world.raised.contains(&EndpointId("web-1".into())));
    let local = world.in_force.locals[&view.id].clone();
    assert_eq!(local.endpoint.unwrap().class, WEB_CLASS);
    assert_eq!(local.ifindex, view.ifindex);
    assert!(world.in_force.tunnels.contains_key(&ip("198.51.100.2")));

    let declared = world.controller.declared_locations();
    assert_eq!(declared.len(), 1);
    assert_eq!(declared[0].ips, view.addresses.iter().map(|a| a.ip).collect::<Vec<_>>());
    assert_eq!(world.controller.applied, [Revision(1)]);
    assert_eq!(world.endpoints.as_ref().unwrap().endpoints.len(), 1);

    let timings = view.timings.unwrap();
    assert!(timings.linked_us > 0 && timings.resolved_us <= timings.declared_us);
    assert!(timings.declared_us <= timings.enforced_us && timings.enforced_us < timings.ready_us);
}

#[test]
fn a_second_endpoint_of_a_known_group_asks_the_controller_only_for_its_address() {
    let mut world = World::new();
    let first = world.attach("web-1", "shop/store/web").unwrap();
    let second = world.attach("web-2", WEB).unwrap();
    assert_ne!(first.mac, second.mac);
    assert!(first.addresses.iter().all(|a| !second.addresses.contains(a)));
    assert_eq!(world.controller.declared_locations().len(), 2);
}

#[test]
fn a_group_that_does_not_exist_is_refused_and_leaves_nothing() {
    let mut world = World::new();
    let refusal = world.attach("x-1", "shop/store/nosuch").unwrap_err();
    assert_eq!(refusal.code, Code::NoSuchEpg);
    assert!(refusal.message.contains("`shop/store/nosuch`"), "{refusal}");
    assert!(world.links.is_empty() && world.agent.list().is_empty());
    assert!(world.in_force.locals.is_empty());
}

#[test]
fn requests_that_make_no_sense_are_told_so() {
    let mut world = World::new();
    world.attach("web-1", "shop/store/web").unwrap();
    for (request, code) in [
        (request("web-1", "shop/store/web"), Code::Exists),
        (request("", "shop/store/web"), Code::BadRequest),
        (request("a b", "shop/store/web"), Code::BadRequest),
        (request("a", "web"), Code::BadRequest),
        (
            selvage_agent::local::Attach {
                ifname: "a-name-of-16-byt".into(),
                ..request("a", "shop/store/web")
            },
            Code::BadRequest,
        ),
        (
            selvage_agent::local::Attach {
                mac: Some("01:00:5e:00:00:01".parse().unwrap()),
                ..request("a", "shop/store/web")
            },
            Code::BadRequest,
        ),
        (
            selvage_agent::local::Attach {
                ip: vec![ip("10.9.0.5")],
                ..request("a", "shop/store/web")
            },
            Code::BadAddress,
        ),
    ] {
        let ticket = world.start_attach(request.clone());
        let refusal = world.attached(ticket).unwrap_err();
        assert_eq!(refusal.code, code, "{request:?}");
        assert!(refusal.hint.is_some(), "{refusal:?}");
    }
    assert_eq!(world.agent.list().len(), 1);
}

#[test]
fn an_address_that_the_registry_refuses_gives_way_to_the_next() {
    let mut world = World::new();
    let first = world.attach("db-1", DB).unwrap();
    world.detach("db-1").unwrap();
    // Somebody has it by now, and this host has not heard: the registry says so.
    let taken = first.addresses[0].ip;
    world.controller.locations.push(remote_db(&taken.to_string()));
    let again = world.attach("db-1", DB);
    let mut asked = request("db-2", DB);
    asked.ip = vec![taken];
    let ticket = world.start_attach(asked);
    assert_eq!(world.attached(ticket).unwrap_err().code, Code::AddressTaken);
    assert_ne!(again.unwrap().addresses[0].ip, taken);
}

#[test]
fn a_conflict_that_only_the_registry_knows_is_resolved_or_refused() {
    let mut world = World::new();
    world.attach("db-0", DB).unwrap();
    let free = world.attach("db-1", DB).unwrap().addresses[0].ip;
    world.detach("db-1").unwrap();
    // The VRF is watched already, and no update about this one comes.
    world.controller.locations.push(remote_db(&free.to_string()));
    let mut asked = request("db-2", DB);
    asked.ip = vec![free];
    let ticket = world.start_attach(asked);
    let refusal = world.attached(ticket).unwrap_err();
    assert_eq!(refusal.code, Code::AddressTaken);
    assert!(refusal.message.contains("h2/db-9"), "the holder is named: {refusal}");
    assert_ne!(world.attach("db-1", DB).unwrap().addresses[0].ip, free);
}

#[test]
fn without_a_controller_an_unknown_group_is_not_ready_and_a_known_one_attaches() {
    let mut world = World::with(Controller::shop(), false);
    let ticket = world.start_attach(request("web-1", WEB));
    world.wait(Duration::from_secs(4));
    let refusal = world.attached(ticket).unwrap_err();
    assert_eq!(refusal.code, Code::NotReady);
    assert!(refusal.message.contains("connection refused"), "{refusal}");
    assert!(world.links.is_empty());

    world.reachable = true;
    world.wait(Duration::from_secs(30));
    world.attach("web-1", WEB).unwrap();
    world.cut();
    let view = world.attach("web-2", WEB).unwrap();
    assert_eq!(view.stage, Stage::Ready);
    assert_eq!(view.fault.unwrap().code, Code::Unconfirmed);
    assert!(world.enforced("web-1") && world.enforced("web-2"));

    world.reachable = true;
    world.wait(Duration::from_secs(30));
    assert_eq!(world.view("web-2").fault, None);
    assert_eq!(world.controller.declared_locations().len(), 2);
}

#[test]
fn an_attach_that_takes_too_long_says_what_it_waited_for_and_is_undone() {
    let mut world = World::new();
    world.controller.mute_registry = true;
    let ticket = world.start_attach(request("web-1", WEB));
    assert!(!world.links.is_empty());
    world.wait(Duration::from_secs(11));
    let refusal = world.attached(ticket).unwrap_err();
    assert_eq!(refusal.code, Code::Deadline);
    assert!(refusal.message.contains("registry"), "{refusal}");
    assert!(world.links.is_empty() && world.agent.list().is_empty());

    world.controller.mute_registry = false;
    let mut hasty = request("web-2", WEB);
    hasty.timeout_ms = Some(50);
    world.plane_stuck = true;
    let ticket = world.start_attach(hasty);
    world.wait(Duration::from_secs(2));
    let refusal = world.attached(ticket).unwrap_err();
    assert!(refusal.message.contains("data plane"), "{refusal}");
}

#[test]
fn a_policy_that_arrives_in_part_is_waited_for_and_named() {
    let mut controller = Controller::shop();
    let set = crate::controller::forward().uri();
    controller.objects.retain(|uri, _| !uri.is_within(set.as_str()));
    let mut world = World::with(controller, true);
    let ticket = world.start_attach(request("web-1", WEB));
    world.wait(Duration::from_secs(5));
    assert!(!world.answers.contains_key(&ticket) && !world.enforced("web-1"));
    let update = world.controller.commit(vec![crate::controller::forward().to_objects()], &[]);
    world.deliver(&update);
    assert_eq!(world.attached(ticket).unwrap().stage, Stage::Ready);
}

#[test]
fn a_link_or_a_data_plane_that_fails_fails_the_attach_alone() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    world.bad_links.insert("web-2".into());
    assert_eq!(world.attach("web-2", WEB).unwrap_err().code, Code::NoSuchNamespace);

    world.plane_error =
        Some(PlaneError::TableFull { table: "endpoints".into(), limit: 1, need: 2 });
    let refusal = world.attach("web-3", WEB).unwrap_err();
    assert_eq!(refusal.code, Code::DataPlane);
    assert!(refusal.message.contains("`endpoints`"), "{refusal}");
    assert!(world.enforced("web-1") && world.agent.list().len() == 1);
    world.plane_error = None;
    world.attach("web-3", WEB).unwrap();
}
