//! Addresses ahead of an attach, and questions about groups.

use std::time::Duration;

use selvage_agent::local::{
    Attach, Code, GroupQuestion, GroupView, Refusal, Request, Reserve, Response, Stage,
};
use selvage_rules::EndpointId;

use crate::controller::{BD_WEB, DB, WEB, ip, remote_db};
use crate::world::{World, request};

fn reserve(id: &str, epg: &str) -> Reserve {
    Reserve {
        id: EndpointId(id.into()),
        epg: epg.into(),
        ip: Vec::new(),
        mac: None,
        from: Vec::new(),
        timeout_ms: None,
        hold_ms: 60_000,
    }
}

fn refused(response: Response) -> Refusal {
    match response {
        Response::Error(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn group(world: &mut World, epg: &str) -> Result<GroupView, Refusal> {
    match world.ask(Request::Group(GroupQuestion { epg: epg.into(), timeout_ms: None })) {
        Some(Response::Group(view)) => Ok(*view),
        Some(other) => Err(refused(other)),
        None => panic!("no answer"),
    }
}

#[test]
fn reserved_addresses_are_declared_without_a_link_and_the_attach_takes_them_over() {
    let mut world = World::new();
    let Some(Response::Reserved(held)) = world.ask(Request::Reserve(reserve("c1", WEB))) else {
        panic!("not reserved");
    };
    assert_eq!((held.stage, held.ifindex, held.addresses.len()), (Stage::Reserved, 0, 2));
    assert!(world.links.is_empty() && world.endpoints.is_none(), "nothing to keep yet");
    assert_eq!(world.controller.declared_locations()[0].ips.len(), 2);
    let other = world.attach("c2", WEB).unwrap();
    assert!(other.addresses.iter().all(|a| !held.addresses.contains(a)));

    let attach = Attach { handover: true, ..request("c1", WEB) };
    let ticket = world.start_attach(attach);
    let view = world.attached(ticket).unwrap();
    assert_eq!((view.stage, &view.addresses, view.mac), (Stage::Ready, &held.addresses, held.mac));
    world.wait(Duration::from_secs(120));
    assert_eq!(world.view("c1").stage, Stage::Ready, "it is no reservation any more");
    world.detach("c1").unwrap();
    assert_eq!(world.controller.declared_locations().len(), 1);
}

#[test]
fn a_reservation_that_nobody_takes_over_ends() {
    let mut world = World::new();
    world.ask(Request::Reserve(reserve("c1", WEB))).unwrap();
    world.ask(Request::Reserve(reserve("c2", WEB))).unwrap();
    let wrong = refused(world.ask(Request::Attach(request("c2", DB))).unwrap());
    assert_eq!(wrong.code, Code::Exists);
    world.detach("c2").unwrap();
    world.wait(Duration::from_secs(59));
    assert_eq!(world.agent.list().len(), 1);
    world.wait(Duration::from_secs(2));
    assert!(world.agent.list().is_empty() && world.controller.declared_locations().is_empty());
    assert!(
        !world.agent.is_busy()
            && world.agent.next_deadline().is_none_or(|(at, _)| at > world.now())
    );
}

#[test]
fn who_has_an_address_that_is_asked_for_is_named() {
    let mut world = World::new();
    world.controller.locations.push(remote_db("10.2.0.77"));
    let here = world.attach("db-1", DB).unwrap();
    for (taken, holder) in [(here.addresses[0].ip, "h1/db-1"), (ip("10.2.0.77"), "h2/")] {
        let asked = Reserve { ip: vec![taken], ..reserve("db-2", DB) };
        let refusal = refused(world.ask(Request::Reserve(asked)).unwrap());
        assert_eq!(refusal.code, Code::AddressTaken);
        assert!(refusal.message.contains(holder), "{refusal}");
    }
    assert_eq!(world.agent.list().len(), 1);
}

#[test]
fn a_question_about_a_group_is_answered_and_leaves_no_trace() {
    let mut world = World::new();
    let view = group(&mut world, "shop/store/web").unwrap();
    assert_eq!((view.dn.as_str(), view.bridge_domain.as_str()), (WEB, BD_WEB));
    let subnets: Vec<String> = view.subnets.iter().map(|s| s.prefix.to_string()).collect();
    assert_eq!(subnets, ["10.1.0.0/24", "2001:db8:1::/64"]);
    assert_eq!(view.subnets[0].gateway, ip("10.1.0.1"));
    assert_eq!(group(&mut world, "shop/store/no").unwrap_err().code, Code::NoSuchEpg);
    assert_eq!(group(&mut world, "shop").unwrap_err().code, Code::BadRequest);
    assert!(world.agent.list().is_empty() && world.in_force.locals.is_empty());

    world.attach("web-1", WEB).unwrap();
    world.cut();
    assert_eq!(group(&mut world, WEB).unwrap(), view, "it is in use here");
    let ask = Request::Group(GroupQuestion { epg: DB.into(), timeout_ms: None });
    assert_eq!(world.ask(ask), None, "it waits for the controller");
    world.wait(Duration::from_secs(4));
    let mut late = world.answers.values().filter_map(|answer| match answer {
        Response::Error(refusal) if refusal.code == Code::NotReady => Some(&refusal.message),
        _ => None,
    });
    assert!(late.next().unwrap().contains("`shop/store/db` is not known on this host"));
}
