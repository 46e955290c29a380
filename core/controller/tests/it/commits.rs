//! What a commit does to the tree, the numbers and the store.

use selvage_controller::Write;
use selvage_model::Post;

use crate::world::{DB, OTHER, WEB, World, tenant};

fn prop(world: &World, dn: &str, prop: &str) -> String {
    let view = world.core.view();
    view.tree.get(dn).unwrap_or_else(|| panic!("{dn} does not exist")).get(prop).to_owned()
}

#[test]
fn a_commit_shows_the_numbers_it_gave_out() {
    let mut world = World::new();
    world.post("uni", tenant());
    assert_eq!(world.core.revision().0, 1);
    let scope = prop(&world, "uni/tn-t/ctx-main", "scope");
    assert_ne!(scope, "0");
    assert_eq!(prop(&world, "uni/tn-t/ctx-main", "seg"), scope);
    assert_eq!(prop(&world, WEB, "scope"), scope);
    assert_ne!(prop(&world, "uni/tn-t/BD-net", "seg"), "0");
    let tags = [WEB, DB, OTHER].map(|dn| prop(&world, dn, "pcTag"));
    assert!(tags.iter().all(|tag| tag.parse::<u16>().is_ok_and(|tag| tag >= 16386)), "{tags:?}");
    assert!(tags[0] != tags[1] && tags[1] != tags[2]);
}

#[test]
fn what_says_nothing_new_makes_no_revision() {
    let mut world = World::new();
    world.post("uni", tenant());
    assert!(world.post("uni", tenant()).is_empty());
    assert!(world.delete("uni/tn-nobody").is_empty());
    assert_eq!(world.core.revision().0, 1);
}

#[test]
fn a_refused_post_leaves_no_trace() {
    let mut world = World::new();
    world.post("uni", tenant());
    let before = world.core.view().tree;
    let at = Some("uni/tn-t".parse().unwrap());
    let post = Post::new("fvTenant")
        .child(Post::new("fvBD").with("name", "good"))
        .child(Post::new("fvBD").with("name", "bad").with("arpFlood", "perhaps"))
        .child(Post::new("fvBD").with("name", "worse").with("color", "red"));
    let refusals = world.write(&Write::Post { at, post }).unwrap_err();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    assert_eq!(world.core.view().tree, before);
    assert_eq!(world.core.revision().0, 1);
}

#[test]
fn a_prepared_commit_that_is_not_published_leaves_no_trace() {
    let mut world = World::new();
    world.post("uni", tenant());
    let before = world.core.view().tree;
    let write = Write::Delete { dn: WEB.parse().unwrap() };
    let prepared = world.core.prepare(&write, 0).unwrap();
    assert!(prepared.commit.is_some());
    drop(prepared);
    assert_eq!(world.core.view().tree, before);
}

#[test]
fn faults_come_and_go_with_their_cause() {
    let mut world = World::new();
    world.post("uni", tenant());
    let codes = |world: &World, below: &str| -> Vec<String> {
        let view = world.core.view();
        let of = |mo: &&selvage_model::Mo| mo.dn().as_str().starts_with(below);
        view.tree.of_class("faultInst").filter(of).map(|mo| mo.get("code").to_owned()).collect()
    };
    assert_eq!(codes(&world, "uni/tn-t"), [""; 0]);
    world.delete("uni/tn-t/BD-net");
    // The relation leads nowhere (the tree's own fault), so the group is in no bridge domain.
    assert!(codes(&world, &format!("{WEB}/rsbd")).contains(&"F0955".to_owned()));
    assert!(codes(&world, WEB).contains(&"F900103".to_owned()), "{:?}", codes(&world, WEB));
    assert_eq!(prop(&world, WEB, "pcTag"), "any");
    world.post("uni", tenant());
    assert_eq!(codes(&world, "uni/tn-t"), [""; 0]);
    assert_ne!(prop(&world, WEB, "pcTag"), "any");
}

#[test]
fn a_restart_brings_back_the_same_tree_numbers_and_policy() {
    let mut world = World::new();
    world.post("uni", tenant());
    world.post(DB, Post::new("fvAEPg").with("descr", "data"));
    world.delete(OTHER);
    world.post(
        "uni/tn-t/ap-shop",
        Post::new("fvAp").child(
            Post::new("fvAEPg")
                .with("name", "lost")
                .child(Post::new("fvRsBd").with("tnFvBDName", "nowhere")),
        ),
    );
    let before = world.core.view();
    world.restart();
    let after = world.core.view();
    assert_eq!(after.revision, before.revision);
    assert_eq!(after.compiled, before.compiled);
    let lasting =
        |tree: &selvage_model::Tree| -> Vec<selvage_model::Mo> { tree.iter().cloned().collect() };
    let pairs = lasting(&before.tree).into_iter().zip(lasting(&after.tree));
    for (one, two) in pairs {
        assert!(one.says_the_same_as(&two), "{one:?}\n{two:?}");
    }
    assert_eq!(before.tree.len(), after.tree.len());
}
