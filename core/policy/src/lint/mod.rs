//! What a policy says in vain, says twice, or says too broadly: each with where, why, and how to mend
//! it. Nothing here is wrong; what is wrong is a [`crate::Problem`].
//!
//! Whether an entry decides about any packet is worked out exactly, over every pair of groups that
//! it lies between ([`crate::reach`]): *shadowed* means that no packet is left for it.

mod decides;
mod unused;
mod wide;

use selvage_model::{Dn, Tree};
use serde::Serialize;

use crate::compile::Compiled;
use crate::problem::dn_as_text;
use crate::reach::Reach;

/// What sort of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Other rules decide about every packet of the entry, and not all alike.
    Shadowed,
    /// Without the entry everything would fare the same.
    Redundant,
    /// No packet that it matches can get from one of its groups to another.
    NeverMatches,
    /// A contract that nobody provides.
    NotProvided,
    /// A contract that nobody consumes.
    NotConsumed,
    /// A contract that nobody provides or consumes.
    UnusedContract,
    /// A filter that no subject names.
    UnusedFilter,
    /// A contract without a subject.
    NoSubject,
    /// A subject without a filter.
    NoFilter,
    /// An entry that permits more than a service.
    Wide,
    /// A stateless entry lets the provider open connections from the port it serves.
    OpensBack,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It is hardly what was meant.
    Warning,
    /// It may be meant.
    Note,
}

impl Code {
    /// What users read and filter by.
    pub fn name(self) -> &'static str {
        match self {
            Code::Shadowed => "shadowed",
            Code::Redundant => "redundant",
            Code::NeverMatches => "never-matches",
            Code::NotProvided => "not-provided",
            Code::NotConsumed => "not-consumed",
            Code::UnusedContract => "unused-contract",
            Code::UnusedFilter => "unused-filter",
            Code::NoSubject => "no-subject",
            Code::NoFilter => "no-filter",
            Code::Wide => "wide",
            Code::OpensBack => "opens-back",
        }
    }

    /// How much it matters.
    pub fn level(self) -> Level {
        match self {
            Code::Redundant | Code::UnusedFilter | Code::UnusedContract => Level::Note,
            Code::Wide | Code::OpensBack => Level::Note,
            _ => Level::Warning,
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What sort of thing it is.
    pub code: Code,
    /// The object.
    #[serde(serialize_with = "dn_as_text")]
    pub dn: Dn,
    /// The subject in which an entry is meant; absent where it is meant everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Why, in one sentence.
    pub text: String,
    /// How to mend it.
    pub mend: String,
}

/// Looks at all of `tree`, of which `compiled` was made. Warnings first, then by object.
pub fn lint(tree: &Tree, compiled: &Compiled) -> Vec<Finding> {
    let reach = Reach::new(compiled);
    let cells = decides::Cells::new(&reach);
    let mut found = cells.findings();
    found.extend(wide::findings(compiled, &cells));
    found.extend(unused::findings(tree));
    found.sort();
    found.dedup();
    found
}

fn finding(code: Code, dn: &Dn, subject: Option<&str>, text: String, mend: String) -> Finding {
    let subject = subject.map(str::to_owned);
    Finding { level: code.level(), code, dn: dn.clone(), subject, text, mend }
}
