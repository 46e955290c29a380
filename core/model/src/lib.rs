//! The managed-object tree: classes as data, transactions, relations, queries, the wire forms and
//! the YAML manifest.
//!
//! `model` knows no class by name: what a class may hold, contain and point at comes from
//! [`schema`], generated from `schema/aci*.toml`. What a contract *means* is the policy crate's.

mod class;
mod dn;
mod edit;
pub mod fault;
mod generated;
pub mod manifest;
mod mo;
mod post;
pub mod query;
mod refusal;
mod relation;
mod schema;
mod suggest;
mod support;
mod tree;
mod txn;
mod value;
pub mod wire;

pub use class::{Chars, ClassDef, MadeBy, PropDef, PropType, RelationDef, Support};
pub use dn::{Dn, ParseDnError};
pub use edit::{Changes, Edit, Modified, Stamp};
pub use mo::Mo;
pub use post::Post;
pub use refusal::Refusal;
pub use relation::target;
pub use schema::{
    blank, child_class, class, class_of, implicit_children, initial_tree, is_known, schema,
};
pub use suggest::nearest;
pub use support::Standing;
pub use tree::Tree;
pub use txn::{MAX_DEPTH, MAX_OBJECTS, apply, apply_in, canonical, delete};
pub use value::{UNSPECIFIED, ValueError, ip_or_prefix, ip_prefix};
