//! The managed-object tree: classes as data, transactions, relations, queries, the wire forms and
//! the YAML manifest.
//!
//! `model` knows no class by name: what a class may hold, contain and point at comes from
//! [`Schema`], generated from `schema/aci.toml`. What a contract *means* is the policy crate's.

mod class;
mod dn;
mod mo;
mod tree;

pub use class::{ClassDef, PropDef, PropType, RelationDef};
pub use dn::{Dn, ParseDnError};
pub use mo::Mo;
pub use tree::Tree;
