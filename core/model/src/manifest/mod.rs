//! The declarative file format: YAML in the ACI data model of Network-as-Code, as a posted tree.
//!
//! The keys are those of the public data model (repositories `netascode/terraform-aci-nac-aci` and
//! `netascode/nac-aci-comprehensive-example`, observed); which of them are taken here, and what
//! each means, is the table in [`shapes`]. Unlike there, a key that is not taken is an error, not
//! silence. That model's `name_suffix` defaults are all empty, so names are what they say. Its other
//! defaults are those of the classes but where [`shapes`] says so; an `ip` that is written in an IP
//! statement counts without `use_epg_subnet: false`. `precedence` of a microsegment is ours alone.
//!
//! All errors of a file come back together, each with its place. A reference to something the file
//! does not define is no error: it may exist already, and if it does not, that is a fault.

mod build;
mod node;
mod shapes;
mod write;

use std::collections::BTreeMap;

use crate::Post;

pub use write::write;

/// A file's contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// What is to be below `uni`: the tenants.
    pub posts: Vec<Post>,
    /// Where each object was written, by DN.
    pub places: BTreeMap<String, Span>,
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Byte offset of its start.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}:{}: {message}", span.line, span.column)]
pub struct Diagnostic {
    /// Where.
    pub span: Span,
    /// What, in lower case and without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Reads a file. The error holds everything that is wrong with it, in reading order.
pub fn parse(text: &str) -> Result<Manifest, Vec<Diagnostic>> {
    let root = node::read(text).map_err(|diagnostic| vec![diagnostic])?;
    build::build(&root)
}

#[cfg(test)]
mod tests;
