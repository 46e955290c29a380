//! Policies that some host has no room for.

use selvage_controller::Write;
use selvage_model::Post;
use selvage_rules::Room;

use crate::world::{DB, WEB, World, tenant};

/// Entries more in the filter between web and db.
fn entries(count: u16) -> Write {
    let entry = |at: u16| {
        let port = (10_000 + at).to_string();
        let entry = Post::new("vzEntry").with("name", format!("e{at}"));
        let entry = entry.with("etherT", "ip").with("prot", "tcp");
        entry.with("dFromPort", port.as_str()).with("dToPort", port.as_str())
    };
    let filter = Post::new("vzFilter");
    let post = (0..count).map(entry).fold(filter, Post::child);
    Write::Post { at: Some("uni/tn-t/flt-sql".parse().unwrap()), post }
}

fn world(room: Room) -> World {
    let mut world = World::new();
    world.post("uni", tenant());
    world.agent_with("h1", "198.51.100.1", room);
    world.attach("h1", "web-1", WEB, "10.0.0.2");
    world.agent("h2", "198.51.100.2");
    world.attach("h2", "db-1", DB, "10.0.0.3");
    world
}

#[test]
fn a_policy_that_a_host_has_no_room_for_is_refused_before_anything_is_touched() {
    // web's own pair, and one each way between web and db.
    let mut world = world(Room { pairs: Some(3), rules: Some(12) });
    let fits = entries(1);
    assert!(!world.write(&fits).unwrap().is_empty());
    let before = world.core.view();
    world.agents.values_mut().for_each(|agent| agent.heard = 0);

    let large = entries(9);
    let planned = world.core.plan(&large, world.now, 0).unwrap_err();
    let refused = world.write(&large).unwrap_err();
    assert_eq!(planned, refused);
    let texts: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "Validation failed: host h1 would need 25 entries of table `rules` while it swaps, and holds \
          12; heaviest contracts: uni/tn-t/brc-sql 20, uni/tn-t/ap-shop/epg-web 1"
        ]
    );
    let after = world.core.view();
    assert_eq!((after.revision, after.tree), (before.revision, before.tree));
    assert!(world.agents.values().all(|agent| agent.heard == 0), "nobody was told anything");
}

#[test]
fn a_host_without_a_limit_has_room_for_everything() {
    let mut world = world(Room::default());
    assert!(!world.write(&entries(500)).unwrap().is_empty());
}

#[test]
fn what_each_host_needs_is_told_with_the_contracts_that_need_it() {
    let world = world(Room { pairs: Some(100), rules: Some(100) });
    let needs = world.core.capacity(&entries(9), 0).unwrap();
    let lines: Vec<String> = needs
        .iter()
        .map(|host| {
            let (need, once) = (host.need, host.at_once);
            let heavy = &host.heaviest[0];
            format!(
                "{}: {} pairs, {} rules; at once {}, {}; {} {} {}",
                host.name,
                need.pairs,
                need.rules,
                once.pairs,
                once.rules,
                heavy.contract,
                heavy.pairs,
                heavy.rules,
            )
        })
        .collect();
    let expected = ["h1", "h2"]
        .map(|name| format!("{name}: 3 pairs, 21 rules; at once 3, 23; uni/tn-t/brc-sql 2 20"));
    assert_eq!(lines, expected);
    assert!(needs.iter().all(|host| host.over.is_empty()));
}
