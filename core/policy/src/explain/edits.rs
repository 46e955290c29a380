//! Edits of a tree, as posts that can be merged: what stands around an object is said again with just
//! what names it.

use selvage_model::{Dn, Mo, Post, Tree, class};

/// What the file format wants to be told of an object again.
struct Kept {
    class: &'static str,
    /// Children that name another object: class and property.
    children: &'static [(&'static str, &'static str)],
    /// Attributes that it writes whole, or has defaults of its own for.
    attributes: &'static [&'static str],
}

const fn naming(class: &'static str, children: &'static [(&'static str, &'static str)]) -> Kept {
    Kept { class, children, attributes: &[] }
}

const KEPT: &[Kept] = &[
    Kept {
        attributes: &["fwdCtrl", "isAttrBasedEPg"],
        ..naming("fvAEPg", &[("fvRsBd", "tnFvBDName")])
    },
    naming("fvESg", &[("fvRsScope", "tnFvCtxName")]),
    naming("fvBD", &[("fvRsCtx", "tnFvCtxName")]),
    naming("l3extOut", &[("l3extRsEctx", "tnFvCtxName")]),
    Kept { attributes: &["etherT", "prot"], ..naming("vzEntry", &[]) },
];

/// Posts below `uni`, and how many objects they change.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// The posts.
    pub posts: Vec<Post>,
    /// DNs of the objects that are added, changed or deleted.
    pub objects: Vec<String>,
}

impl Edit {
    /// Adds a child object to one that exists.
    pub fn add(self, tree: &Tree, parent: &Dn, child: Post, rn: &str) -> Option<Edit> {
        let dn = format!("{parent}/{rn}");
        self.with(tree, parent, |post| post.child(child), dn)
    }

    /// Sets an attribute of an object.
    pub fn set(self, tree: &Tree, dn: &Dn, prop: &str, value: &str) -> Option<Edit> {
        let set = |post: Post| match post.get(prop).is_some() {
            true => {
                let mut post = post;
                post.attributes.retain(|(name, _)| name != prop);
                post.with(prop, value)
            }
            false => post.with(prop, value),
        };
        self.with(tree, dn, set, dn.to_string())
    }

    /// Deletes an object.
    pub fn delete(self, tree: &Tree, dn: &Dn) -> Option<Edit> {
        tree.get(dn.as_str())?;
        self.with(tree, dn, |post| post.with("status", "deleted"), dn.to_string())
    }

    fn with(
        mut self,
        tree: &Tree,
        dn: &Dn,
        change: impl FnOnce(Post) -> Post,
        object: String,
    ) -> Option<Edit> {
        let mut post = change(said_again(tree, dn)?);
        let mut above = dn.parent();
        while let Some(at) = above.filter(|at| at.as_str() != "uni") {
            post = said_again(tree, &at)?.child(post);
            above = at.parent();
        }
        merge(&mut self.posts, post);
        self.objects.push(object);
        Some(self)
    }
}

/// An object by what names it, and by what the file format wants to be told again.
fn said_again(tree: &Tree, dn: &Dn) -> Option<Post> {
    let held = tree.get(dn.as_str()).cloned().or_else(|| selvage_model::blank(dn))?;
    let class = held.class();
    let mut post = Post::new(class.name);
    for prop in class.naming_props() {
        post = post.with(prop, held.get(prop));
    }
    let Some(kept) = KEPT.iter().find(|kept| kept.class == class.name) else {
        return Some(post);
    };
    let always = class.name == "vzEntry";
    for prop in kept.attributes.iter().filter(|prop| always || is_set(&held, prop)) {
        post = post.with(*prop, held.get(prop));
    }
    for (class, prop) in kept.children {
        if let Some(child) = tree.children_of_class(dn, class).next() {
            post = post.child(Post::new(*class).with(*prop, child.get(prop)));
        }
    }
    Some(post)
}

fn is_set(mo: &Mo, prop: &str) -> bool {
    mo.set_props().any(|(name, _)| name == prop)
}

/// Adds a post to others, in the same objects where both name them.
fn merge(into: &mut Vec<Post>, post: Post) {
    let names =
        |prop: &str| class(&post.class).is_some_and(|c| c.naming_props().any(|p| p == prop));
    let named = |of: &Post| -> Vec<(String, String)> {
        of.attributes.iter().filter(|(prop, _)| names(prop)).cloned().collect()
    };
    let same = |held: &&mut Post| held.class == post.class && named(held) == named(&post);
    match into.iter_mut().find(same) {
        Some(held) => {
            for (prop, value) in post.attributes {
                if held.get(&prop).is_none() {
                    held.attributes.push((prop, value));
                }
            }
            post.children.into_iter().for_each(|child| merge(&mut held.children, child));
        }
        None => into.push(post),
    }
}
