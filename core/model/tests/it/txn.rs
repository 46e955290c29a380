//! Posting: what is accepted, what is refused and how, and that a refusal changes nothing.

use selvage_model::{Post, Stamp, apply, delete, initial_tree};

use crate::{acme, acme_post, dn, get, post};

/// Posts and expects these refusals, as (code, DN, property), and an untouched tree.
#[track_caller]
fn refused(at: &str, body: Post, expected: &[(u16, &str, Option<&str>)]) {
    let mut tree = acme();
    let before = tree.clone();
    let refusals = post(&mut tree, at, body).expect_err("was accepted");
    let got: Vec<_> = refusals.iter().map(|r| (r.code(), r.dn(), r.prop())).collect();
    assert_eq!(got, expected, "{refusals:#?}");
    assert_eq!(tree, before, "the tree was changed");
}

#[test]
fn a_tree_is_applied_whole_with_defaults_and_implicit_children() {
    let tree = acme();
    assert_eq!(get(&tree, "uni/tn-acme/BD-b", "mac"), "00:22:BD:F8:19:FF");
    assert_eq!(get(&tree, "uni/tn-acme/BD-b/rsctx", "tnFvCtxName"), "v");
    assert_eq!(get(&tree, "uni/tn-acme/flt-sql/e-pg", "dToPort"), "5432");
    assert_eq!(tree.get("uni/tn-acme/flt-sql/e-pg").unwrap().number("dFromPort"), Some(5432));
}

#[test]
fn posting_the_same_again_in_other_words_is_no_change() {
    let mut tree = acme();
    assert!(post(&mut tree, "uni", acme_post()).unwrap().is_empty());
    let bd = Post::new("fvBD")
        .with("dn", "uni/tn-[acme]/BD-b")
        .with("rn", "BD-b")
        .with("status", "created, modified")
        .with("mac", "00:22:bd:f8:19:ff")
        .with("unicastRoute", "true");
    assert!(apply(&mut tree, Stamp::new("later", "2"), None, &bd).unwrap().is_empty());
    assert_eq!(get(&tree, "uni/tn-acme/BD-b", "modTs"), "now");
}

#[test]
fn the_url_names_the_object_or_its_parent() {
    let cases = [
        ("uni/tn-acme/ap-new", Post::new("fvAp")),
        ("uni/tn-acme/ap-new", Post::new("fvAp").with("name", "new")),
        ("uni/tn-acme", Post::new("fvAp").with("name", "new")),
        ("uni/tn-acme", Post::new("fvAp").with("rn", "ap-new")),
        ("uni/tn-elsewhere", Post::new("fvAp").with("dn", "uni/tn-acme/ap-new")),
        (
            "uni",
            Post::new("polUni").child(
                Post::new("fvTenant")
                    .with("name", "acme")
                    .child(Post::new("fvAp").with("dn", "uni/tn-acme/ap-new")),
            ),
        ),
    ];
    for (at, body) in cases {
        let mut tree = acme();
        let changes = post(&mut tree, at, body.clone()).unwrap();
        let created: Vec<_> = changes.created.iter().map(|mo| mo.dn().as_str()).collect();
        assert_eq!(created, ["uni/tn-acme/ap-new"], "{at} {body:?}");
        assert_eq!(get(&tree, "uni/tn-acme/ap-new", "name"), "new");
    }
}

#[test]
fn every_error_comes_at_once() {
    let body = Post::new("fvTenant")
        .with("name", "acme")
        .with("nonsense", "1")
        .child(Post::new("fvBD").with("name", "b").with("mac", "zz"))
        .child(Post::new("fvNonsense").child(Post::new("fvBD").with("bad", "1")))
        .child(Post::new("fvBD").with("name", "b 2").with("arpFlood", "maybe"))
        .child(Post::new("fvCtx").with("name", "v").with("pcEnfPref", "sometimes"))
        .child(Post::new("fvAEPg").with("name", "e"))
        .child(Post::new("fvAp"))
        .child(Post::new("fvAp").with("rn", "BD-x"));
    refused(
        "uni",
        body,
        &[
            (400, "uni/tn-acme", Some("nonsense")),
            (801, "uni/tn-acme/BD-b", Some("mac")),
            (122, "uni/tn-acme", None),
            (400, "uni/tn-acme", Some("bad")),
            (801, "uni/tn-acme/BD-b 2", Some("name")),
            (120, "uni/tn-acme/ctx-v", Some("pcEnfPref")),
            (400, "uni/tn-acme", None),
            (400, "uni/tn-acme", Some("name")),
            (104, "uni/tn-acme/BD-x", None),
        ],
    );
}

#[test]
fn a_missing_parent_is_one_error_not_one_for_each_child() {
    let body = Post::new("fvAp").with("name", "a").child(Post::new("fvAEPg").with("name", "e"));
    refused("uni/tn-nowhere", body, &[(102, "uni/tn-nowhere", None)]);
}

#[test]
fn status_decides_what_must_exist() {
    let at = "uni/tn-acme";
    let bd = |name: &str, status: &str| Post::new("fvBD").with("name", name).with("status", status);
    refused(at, bd("b", "created"), &[(103, "uni/tn-acme/BD-b", None)]);
    refused(at, bd("x", "modified"), &[(102, "uni/tn-acme/BD-x", None)]);
    refused(at, bd("b", "destroyed"), &[(120, "uni/tn-acme/BD-b", Some("status"))]);
    refused(at, bd("b", "created,deleted"), &[(120, "uni/tn-acme/BD-b", Some("status"))]);
    for (name, status) in [("b", "modified"), ("x", "created"), ("x", ""), ("x", "deleted")] {
        assert!(post(&mut acme(), at, bd(name, status)).is_ok(), "{name} {status}");
    }
}

#[test]
fn names_and_create_only_properties_are_fixed() {
    let renamed = Post::new("fvTenant").with("name", "other");
    refused("uni/tn-acme", renamed, &[(107, "uni/tn-acme", Some("name"))]);
    let kind = Post::new("fvBD").with("type", "fc");
    refused("uni/tn-acme/BD-b", kind, &[(107, "uni/tn-acme/BD-b", Some("type"))]);
}

#[test]
fn the_systems_own_objects_are_refused() {
    let endpoint = Post::new("fvCEp").with("mac", "00:00:00:00:00:01");
    let dn = "uni/tn-acme/ap-shop/epg-web/cep-00:00:00:00:00:01";
    refused("uni/tn-acme/ap-shop/epg-web", endpoint, &[(120, dn, None)]);
    let gone = Post::new("polUni").with("status", "deleted");
    refused("uni", gone, &[(120, "uni", None)]);
    let common = Post::new("fvTenant").with("name", "common").with("status", "deleted");
    refused("uni", common, &[(120, "uni/tn-common", None)]);
}

#[test]
fn deleting_takes_what_is_below_and_resets_what_cannot_go() {
    let mut tree = acme();
    let body = Post::new("polUni").child(
        Post::new("fvTenant").with("name", "acme").child(
            Post::new("fvBD")
                .with("name", "b")
                .with("mac", "not looked at")
                .child(Post::new("fvRsCtx").with("status", "deleted")),
        ),
    );
    refused("uni", body, &[(801, "uni/tn-acme/BD-b", Some("mac"))]);
    delete(&mut tree, Stamp::new("now", "1"), &dn("uni/tn-acme/BD-b/rsctx")).unwrap();
    assert_eq!(get(&tree, "uni/tn-acme/BD-b/rsctx", "tnFvCtxName"), "");
    let body = Post::new("fvTenant")
        .with("dn", "uni/tn-acme")
        .with("status", "deleted")
        .with("descr", "whatever")
        .child(Post::new("fvNonsense"));
    let changes = apply(&mut tree, Stamp::new("now", "1"), None, &body).unwrap();
    assert!(changes.created.is_empty() && changes.modified.is_empty());
    assert_eq!(tree, initial_tree());
}

#[test]
fn one_port_bound_alone_stands_for_both() {
    let mut tree = acme();
    let at = "uni/tn-acme/flt-sql";
    let entry = |name: &str| Post::new("vzEntry").with("name", name);
    let ports = |tree: &selvage_model::Tree, name: &str| {
        let dn = format!("{at}/e-{name}");
        (get(tree, &dn, "dFromPort").to_owned(), get(tree, &dn, "dToPort").to_owned())
    };
    let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    post(&mut tree, at, entry("to").with("dToPort", "443")).unwrap();
    assert_eq!(ports(&tree, "to"), both("https", "https"));
    post(&mut tree, at, entry("zero").with("dFromPort", "80").with("dToPort", "0")).unwrap();
    assert_eq!(ports(&tree, "zero"), both("http", "http"));
    post(&mut tree, at, entry("to").with("dToPort", "450")).unwrap();
    assert_eq!(ports(&tree, "to"), both("https", "450"));
    post(&mut tree, at, entry("to").with("dFromPort", "unspecified")).unwrap();
    assert_eq!(ports(&tree, "to"), both("unspecified", "unspecified"));
    let upside_down = entry("bad").with("dFromPort", "443").with("dToPort", "http");
    refused(at, upside_down, &[(120, "uni/tn-acme/flt-sql/e-bad", Some("dFromPort"))]);
}

#[test]
fn a_tree_without_end_is_refused() {
    let mut deep = Post::new("fvTenant").with("name", "t");
    for _ in 0..100 {
        deep = Post::new("fvTenant").with("name", "t").child(deep);
    }
    let mut tree = acme();
    let refusals = post(&mut tree, "uni", deep).unwrap_err();
    assert!(refusals.iter().any(|r| r.to_string().contains("levels")), "{refusals:?}");
    assert_eq!(tree, acme());
}
