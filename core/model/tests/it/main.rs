//! What the model promises, seen from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say so by failing"
)]

mod manifest;
mod property;
mod query;
mod relation;
mod txn;
mod wire;

use selvage_model::{Changes, Dn, Post, Refusal, Stamp, Tree, apply, initial_tree};

/// A tree with tenant `acme`: VRF `v`, bridge domain `b`, EPGs `web` and `db`, contract `sql`.
fn acme() -> Tree {
    let mut tree = initial_tree();
    post(&mut tree, "uni", acme_post()).unwrap();
    tree
}

fn acme_post() -> Post {
    let filter = Post::new("vzFilter").with("name", "sql").child(
        Post::new("vzEntry")
            .with("name", "pg")
            .with("etherT", "ip")
            .with("prot", "tcp")
            .with("dFromPort", "5432"),
    );
    let subject = Post::new("vzSubj")
        .with("name", "s")
        .child(Post::new("vzRsSubjFiltAtt").with("tnVzFilterName", "sql"));
    let epg = |name: &str, class: &str| {
        Post::new("fvAEPg")
            .with("name", name)
            .child(Post::new("fvRsBd").with("tnFvBDName", "b"))
            .child(Post::new(class).with("tnVzBrCPName", "sql"))
    };
    Post::new("fvTenant")
        .with("name", "acme")
        .child(Post::new("fvCtx").with("name", "v"))
        .child(
            Post::new("fvBD")
                .with("name", "b")
                .child(Post::new("fvRsCtx").with("tnFvCtxName", "v"))
                .child(Post::new("fvSubnet").with("ip", "10.0.0.1/24")),
        )
        .child(filter)
        .child(Post::new("vzBrCP").with("name", "sql").child(subject))
        .child(
            Post::new("fvAp")
                .with("name", "shop")
                .child(epg("web", "fvRsCons"))
                .child(epg("db", "fvRsProv")),
        )
}

fn post(tree: &mut Tree, at: &str, post: Post) -> Result<Changes, Vec<Refusal>> {
    apply(tree, Stamp::new("now", "1"), Some(&dn(at)), &post)
}

fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

fn get<'t>(tree: &'t Tree, dn: &str, prop: &str) -> &'t str {
    tree.get(dn).unwrap_or_else(|| panic!("no {dn}")).get(prop)
}
