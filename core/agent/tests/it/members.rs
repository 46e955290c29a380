//! Endpoints that selectors put into another group than the one they are attached to.

use std::sync::Arc;

use selvage_agent::local::Stage;
use selvage_opflex::ext::{BridgeDomain, Group, Within};
use selvage_opflex::mo::Object;
use selvage_rules::{Arm, BdId, ClassId, Comparison, EndpointId, Gateway, GroupId, Test};

use crate::controller::{BD_WEB, Controller, DB, VRF, WEB, WEB_CLASS, ip};
use crate::world::World;

const SAFE: &str = "uni/tn-shop/ap-store/esg-safe";
const SAFE_CLASS: ClassId = ClassId(16400);

/// Whoever is called `web-1` is in `group`.
fn named(group: Option<&str>) -> Vec<Arm> {
    let test = Test::Label {
        keys: vec!["vm-name".into()],
        comparison: Comparison::Equals,
        value: "web-1".into(),
    };
    vec![Arm { test, group: group.map(Arc::from), cause: "uni/x".into() }]
}

fn web_domain(arms: Vec<Arm>) -> Vec<Object> {
    let domain = BridgeDomain {
        name: BD_WEB.into(),
        id: BdId(201),
        mac: "00:22:bd:f8:19:ff".parse().unwrap(),
        routed: true,
        vrf: VRF.into(),
        gateways: vec![Gateway { ip: ip("10.1.0.1"), prefix_len: 24 }],
        arms: Arc::new(arms),
    };
    domain.to_objects()
}

fn safe() -> Vec<Object> {
    let group = Group {
        name: SAFE.into(),
        class: SAFE_CLASS,
        encap: GroupId(77),
        within: Within::Vrf(VRF.into()),
        pairs: Vec::new(),
    };
    group.to_objects()
}

fn class_of(world: &World, name: &str) -> Option<ClassId> {
    let local = world.in_force.locals.get(&EndpointId(name.into()))?;
    local.endpoint.as_ref().map(|endpoint| endpoint.class)
}

#[test]
fn a_selector_that_comes_and_goes_moves_an_endpoint_there_and_back() {
    let mut world = World::new();
    world.attach("web-1", WEB).unwrap();
    world.attach("web-2", WEB).unwrap();
    world.attach("db-1", DB).unwrap();
    assert_eq!(class_of(&world, "web-1"), Some(WEB_CLASS));

    let update = world.controller.commit(vec![safe(), web_domain(named(Some(SAFE)))], &[]);
    world.deliver(&update);
    assert_eq!(class_of(&world, "web-1"), Some(SAFE_CLASS));
    assert_eq!(class_of(&world, "web-2"), Some(WEB_CLASS));
    let local = world.in_force.locals[&EndpointId("web-1".into())].endpoint.clone().unwrap();
    assert_eq!(local.bd, BdId(201), "it keeps its bridge domain");
    let declared = world.controller.declared_locations();
    let declared = declared.iter().find(|location| &*location.endpoint.0 == "web-1").unwrap();
    assert_eq!((declared.class, declared.encap, &*declared.group), (SAFE_CLASS, GroupId(77), WEB));
    assert_eq!(world.view("web-1").class, Some(SAFE_CLASS));

    let update = world.controller.commit(vec![web_domain(Vec::new())], &[]);
    world.deliver(&update);
    assert_eq!(class_of(&world, "web-1"), Some(WEB_CLASS));
    assert!(!world.in_force.table.groups.values().any(|group| &*group.name == SAFE));
}

#[test]
fn an_endpoint_comes_up_in_the_group_that_is_chosen_for_it_and_stays_there_over_a_restart() {
    let mut controller = Controller::shop();
    controller.put(safe());
    controller.put(web_domain(named(Some(SAFE))));
    let mut world = World::with(controller, true);
    world.attach("web-1", WEB).unwrap();
    assert_eq!(class_of(&world, "web-1"), Some(SAFE_CLASS));
    world.reachable = false;
    world.restart();
    assert_eq!(class_of(&world, "web-1"), Some(SAFE_CLASS));
    assert_eq!(world.view("web-1").stage, Stage::Ready);
}

#[test]
fn an_endpoint_whose_group_is_not_there_is_in_quarantine() {
    for group in [Some(SAFE), None] {
        let mut world = World::new();
        world.attach("web-1", WEB).unwrap();
        let update = world.controller.commit(vec![web_domain(named(group))], &[]);
        world.deliver(&update);
        assert_eq!(world.view("web-1").stage, Stage::Quarantined, "{group:?}");
        assert_eq!(class_of(&world, "web-1"), None);
        let update = world.controller.commit(vec![web_domain(Vec::new())], &[]);
        world.deliver(&update);
        assert_eq!(class_of(&world, "web-1"), Some(WEB_CLASS));
    }
}
