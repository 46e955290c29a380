//! Assertions stored with the policy, and commits that would break one.

use selvage_controller::Write;
use selvage_model::{Post, Refusal};

use crate::world::{DB, OTHER, WEB, World, tenant};

fn assertion(name: &str, props: &[(&str, &str)]) -> Post {
    let post = Post::new("selvageAssertion").with("name", name);
    props.iter().fold(post, |post, (prop, value)| post.with(*prop, *value))
}

fn write(at: &str, post: Post) -> Write {
    Write::Post { at: Some(at.parse().unwrap()), post }
}

fn world() -> World {
    let mut world = World::new();
    world.post("uni", tenant());
    let only = [("kind", "only"), ("from", "t/shop/web"), ("to", "t/shop/db")];
    world.post("uni", assertion("only-web-reaches-db", &only));
    let reach = [("kind", "reachable"), ("from", WEB), ("to", DB), ("traffic", "tcp/5432")];
    world.post("uni", assertion("web-reaches-db", &reach));
    world
}

/// The texts of a refusal, which a plan gives as well.
fn refused(world: &mut World, write: &Write) -> Vec<String> {
    let before = world.core.view();
    let text = |refusals: Vec<Refusal>| -> Vec<String> {
        assert!(refusals.iter().all(|refusal| refusal.code() == 100), "{refusals:?}");
        refusals.iter().map(ToString::to_string).collect()
    };
    let planned = text(world.core.plan(write, world.now, 0).unwrap_err());
    let texts = text(world.write(write).unwrap_err());
    assert_eq!(texts, planned);
    let after = world.core.view();
    assert_eq!((after.revision, after.tree), (before.revision, before.tree));
    texts
}

#[test]
fn a_commit_that_breaks_an_assertion_is_refused_with_a_packet() {
    let mut world = world();
    let widen =
        write(OTHER, Post::new("fvAEPg").child(Post::new("fvRsCons").with("tnVzBrCPName", "sql")));
    assert_eq!(
        refused(&mut world, &widen),
        [
            "Validation failed: assertion only-web-reaches-db would not hold (nothing outside t/shop/web \
          reaches t/shop/db with anything): tcp 49152 to 5432 over IPv4 from t/shop/other reaches \
          t/shop/db: contract sql allows it (subject `uni/tn-t/brc-sql/subj-sql`, entry \
          `uni/tn-t/flt-sql/e-sql`, by `uni/tn-t/ap-shop/epg-db/rsprov-sql` and \
          `uni/tn-t/ap-shop/epg-other/rscons-sql`)"
        ]
    );
    let cut = Write::Delete { dn: format!("{WEB}/rscons-sql").parse().unwrap() };
    let [text] = &refused(&mut world, &cut)[..] else { panic!() };
    assert!(text.contains("assertion web-reaches-db would not hold"), "{text}");
    assert!(text.ends_with("no contract between the two groups covers it"), "{text}");
    // A group that an assertion names cannot go without it.
    let [first, _] = &refused(&mut world, &Write::Delete { dn: WEB.parse().unwrap() })[..] else {
        panic!()
    };
    assert!(first.contains("it cannot be understood: no group is called"), "{first}");
}

#[test]
fn an_assertion_goes_in_the_same_commit_as_what_it_is_about() {
    let mut world = world();
    let gone = |name: &str| assertion(name, &[("status", "deleted")]);
    let tenant = Post::new("fvTenant").with("name", "t").with("status", "deleted");
    let all = Post::new("polUni")
        .child(tenant)
        .child(gone("only-web-reaches-db"))
        .child(gone("web-reaches-db"));
    assert!(!world.write(&write("uni", all)).unwrap().is_empty());
}

#[test]
fn an_assertion_that_is_false_is_refused_itself() {
    let mut world = world();
    let post = assertion("x", &[("from", "t/shop/web"), ("to", "t/shop/db")]);
    let [text] = &refused(&mut world, &write("uni", post))[..] else { panic!() };
    assert!(text.contains("assertion x would not hold (t/shop/web does not reach t/shop/db"));
}

#[test]
fn assertions_survive_a_restart() {
    let mut world = world();
    world.restart();
    let cut = Write::Delete { dn: format!("{WEB}/rscons-sql").parse().unwrap() };
    assert_eq!(refused(&mut world, &cut).len(), 1);
}
