//! What holds whatever is posted: a refusal changes nothing, an accepted post leaves a tree that
//! is whole, relations computed step by step are those computed from nothing, and a change says
//! all that differs.

use proptest::collection::vec;
use proptest::prelude::*;
use selvage_model::query::Filter;
use selvage_model::wire::{json, xml};
use selvage_model::{Changes, Dn, Edit, Post, Stamp, Tree, apply, canonical, initial_tree, schema};

/// Few names, so that posts meet.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("x"), 1 => Just("y"), 1 => Just("default"), 1 => Just("x-y")]
        .prop_map(str::to_owned)
}

fn status() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 2 => Just("created,modified"), 2 => Just("deleted")]
}

fn named(class: &'static str, prop: &'static str) -> impl Strategy<Value = Post> {
    (name(), status())
        .prop_map(move |(name, status)| Post::new(class).with(prop, name).with("status", status))
}

fn with_children(
    of: impl Strategy<Value = Post>,
    child: impl Strategy<Value = Post>,
) -> impl Strategy<Value = Post> {
    (of, vec(child, 0..4)).prop_map(|(mut post, children)| {
        post.children = children;
        post
    })
}

fn tenant() -> impl Strategy<Value = Post> {
    let bd = with_children(named("fvBD", "name"), named("fvRsCtx", "tnFvCtxName"));
    let relation = prop_oneof![
        named("fvRsBd", "tnFvBDName"),
        named("fvRsProv", "tnVzBrCPName"),
        named("fvRsCons", "tnVzBrCPName"),
    ];
    let epg = with_children(named("fvAEPg", "name"), relation);
    let subject =
        with_children(named("vzSubj", "name"), named("vzRsSubjFiltAtt", "tnVzFilterName"));
    let child = prop_oneof![
        named("fvCtx", "name"),
        named("vzFilter", "name"),
        bd,
        with_children(named("fvAp", "name"), epg),
        with_children(named("vzBrCP", "name"), subject),
    ];
    let name = prop_oneof![3 => name(), 1 => Just("common".to_owned())];
    let root = (name, prop_oneof![9 => Just(""), 1 => Just("deleted")])
        .prop_map(|(name, status)| Post::new("fvTenant").with("name", name).with("status", status));
    let replaced = prop_oneof![
        Just(("fvCtx", "ctx-x")),
        Just(("fvBD", "BD-x")),
        Just(("vzBrCP", "brc-x")),
        Just(("vzFilter", "flt-x"))
    ]
    .prop_map(|(class, rn)| {
        let object = || Post::new(class).with("rn", rn);
        vec![object().with("status", "deleted"), object()]
    });
    let children = vec(prop_oneof![6 => child.prop_map(|c| vec![c]), 1 => replaced], 0..5);
    (root, children).prop_map(|(mut post, children)| {
        post.children = children.concat();
        post
    })
}

/// Something wrong to put somewhere.
fn fault() -> impl Strategy<Value = Post> {
    prop_oneof![
        Just(Post::new("fvNonsense")),
        Just(Post::new("fvTenant").with("name", "x")),
        Just(Post::new("vzEntry")),
        Just(Post::new("fvCtx").with("name", "bad name")),
        Just(Post::new("fvCtx").with("name", "x").with("pcEnfPref", "perhaps")),
        Just(Post::new("fvBD").with("name", "x").with("colour", "red")),
        Just(Post::new("fvAp").with("rn", "nonsense")),
        Just(Post::new("fvAp").with("name", "new").with("status", "modified")),
        Just(Post::new("fvAp").with("name", "new").with("status", "gone")),
    ]
}

fn post(tree: &mut Tree, post: &Post) -> Option<Changes> {
    let uni: Dn = "uni".parse().unwrap();
    apply(tree, Stamp::new("now", "1"), Some(&uni), post).ok()
}

/// Puts `bad` somewhere below `post`, where `path` leads.
fn plant(post: &mut Post, path: &[usize], bad: Post) {
    match path.split_first() {
        Some((step, rest)) if !post.children.is_empty() => {
            let at = step % post.children.len();
            let below_deleted = post.children[at].get("status") == Some("deleted");
            if below_deleted {
                post.children.push(bad)
            } else {
                plant(&mut post.children[at], rest, bad)
            }
        }
        _ => post.children.push(bad),
    }
}

#[track_caller]
fn assert_whole(tree: &Tree) {
    let mut rebuilt = Tree::default();
    for mo in tree.iter() {
        let parent = mo.dn().parent();
        assert!(parent.is_none_or(|p| tree.get(p.as_str()).is_some()), "{} has no parent", mo.dn());
        let (dn, class) = canonical(mo.dn()).unwrap();
        assert_eq!((&dn, class), (mo.dn(), mo.class()));
        for child in mo.class().implicit_children {
            assert_eq!(
                tree.children_of_class(mo.dn(), child).count(),
                1,
                "{} lacks {child}",
                mo.dn()
            );
        }
        let children: Vec<_> = tree.children(mo.dn()).map(|c| c.dn()).collect();
        let all = tree.descendants(mo.dn()).map(|c| c.dn());
        let expected: Vec<_> = all.filter(|dn| dn.parent().as_ref() == Some(mo.dn())).collect();
        assert_eq!(children, expected);
        rebuilt.insert(mo.clone());
    }
    assert_eq!(&rebuilt, tree, "the indexes differ from those made afresh");
    let mut afresh = tree.clone();
    let changes = Edit::new(&mut afresh, Stamp::new("later", "2")).commit_afresh();
    assert_eq!(changes, Changes::default(), "relations differ from those computed afresh");
}

fn replayed(mut before: Tree, changes: &Changes) -> Tree {
    for mo in &changes.deleted {
        before.remove(mo.dn().as_str()).unwrap();
    }
    for mo in &changes.created {
        assert!(before.insert_shared(mo.clone()).is_none());
    }
    for change in &changes.modified {
        assert_eq!(before.insert_shared(change.new.clone()).as_ref(), Some(&change.old));
    }
    before
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn accepted_posts_leave_a_whole_tree_and_refused_ones_the_same(posts in vec(tenant(), 1..8)) {
        let mut tree = initial_tree();
        for body in &posts {
            let before = tree.clone();
            match post(&mut tree, body) {
                None => prop_assert_eq!(&tree, &before),
                Some(changes) => {
                    assert_whole(&tree);
                    prop_assert_eq!(replayed(before, &changes), tree.clone());
                    let once = tree.clone();
                    if body.get("status") != Some("deleted") && !json::post(body).contains("deleted") {
                        prop_assert!(post(&mut tree, body).unwrap().is_empty());
                        prop_assert_eq!(&tree, &once);
                    }
                }
            }
        }
    }

    #[test]
    fn one_bad_object_anywhere_changes_nothing(
        first in tenant(),
        second in tenant(),
        path in vec(any::<usize>(), 0..4),
        bad in fault(),
    ) {
        let mut tree = initial_tree();
        post(&mut tree, &first);
        let before = tree.clone();
        let mut body = second;
        body.attributes.retain(|(name, _)| name != "status");
        plant(&mut body, &path, bad);
        prop_assert!(post(&mut tree, &body).is_none(), "{:?}", body);
        prop_assert_eq!(tree, before);
    }

    #[test]
    fn any_tree_of_texts_survives_json(
        class in "[a-z]{0,8}",
        attributes in proptest::collection::btree_map(".{0,8}", ".{0,16}", 0..5),
        children in vec(tenant(), 0..3),
    ) {
        let attributes = attributes.into_iter().collect();
        let tree = Post { class, attributes, children };
        prop_assert_eq!(json::parse(json::post(&tree).as_bytes()), Ok(tree));
    }

    #[test]
    fn no_bytes_break_the_reader(
        body in tenant(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = json::post(&body).into_bytes();
        let at = cut.index(bytes.len());
        if let Err(error) = json::parse(&bytes[..at]) {
            prop_assert!(error.to_string().contains("line"), "{}", error);
        }
        bytes[at] = byte;
        let _ = json::parse(&bytes);
        let _ = xml::parse(&bytes);
    }

    #[test]
    fn no_text_breaks_names_and_filters(text in "[\\[\\]/{}a-z(),.\"\\\\ \u{e4}\n-]{0,40}") {
        let _ = Filter::parse(&text);
        let _ = Filter::parse(&format!("and({text})"));
        if let Ok(dn) = text.parse::<Dn>() {
            let _ = canonical(&dn);
        }
        for prefix in ["uni/tn-", "uni/tn-a/BD-b/subnet-[", "uni/tn-a/BD-b/rtbd-["] {
            if let Ok(dn) = format!("{prefix}{text}").parse::<Dn>() {
                let Ok((named, class)) = canonical(&dn) else { continue };
                prop_assert_eq!(canonical(&named), Ok((named, class)));
            }
        }
    }

    #[test]
    fn normalising_twice_is_normalising_once(
        value in prop_oneof![
            "[0-9a-fA-F:./,-]{0,20}",
            "[a-z, ]{0,12}",
            ".{0,8}",
            any::<std::net::IpAddr>().prop_map(|ip| format!("{ip}/24")),
            any::<u32>().prop_map(|n| (n % 70_000).to_string()),
        ]
    ) {
        for def in schema().iter().flat_map(|class| class.props) {
            if let Ok(once) = def.normalise(&value) {
                prop_assert_eq!(def.normalise(&once), Ok(once.clone()), "{}", def.name);
            }
        }
    }
}
