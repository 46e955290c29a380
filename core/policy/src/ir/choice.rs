//! What narrows a contract to some of the pairs that use it: labels and exceptions.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvage_model::Dn;

/// A word by which providers, consumers and subjects choose each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// The word.
    pub name: Arc<str>,
    /// It asks for sides that do not have the word.
    pub complement: bool,
}

/// How the labels of two sides must agree (ACI's `matchT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MatchType {
    /// Every label of the first side is one of the second's.
    All,
    /// They have a label in common.
    #[default]
    AtleastOne,
    /// They have exactly one label in common.
    AtmostOne,
    /// They have no label in common.
    None,
}

/// What a group's use of a contract asks of the other side and of the contract's subjects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Choice {
    /// Labels that the two groups choose each other by.
    pub labels: BTreeSet<Label>,
    /// How those labels agree; a provider's counts.
    pub match_type: MatchType,
    /// Labels that choose among the contract's subjects.
    pub subject_labels: BTreeSet<Label>,
}

impl Choice {
    /// Whether it chooses by nothing at all. Its match type then makes no difference among others
    /// that do not choose either.
    pub fn is_open(&self) -> bool {
        self.labels.is_empty() && self.subject_labels.is_empty()
    }
}

/// Which groups a subject is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chosen {
    /// Labels that providers choose it by, and how.
    pub by_provider: (BTreeSet<Label>, MatchType),
    /// Labels that consumers choose it by, and how.
    pub by_consumer: (BTreeSet<Label>, MatchType),
}

/// What an exception looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The name of the group's tenant.
    Tenant,
    /// The name of the group's VRF.
    Vrf,
    /// The group's name.
    Group,
    /// The group's DN.
    Dn,
    /// A tag of the group.
    Tag,
}

/// What text an exception is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Any text: there is no expression, or none that can be read.
    Any,
    /// All of the text matches this expression, which was found to be one.
    Expression(Arc<str>),
}

/// Pairs for which a contract or a subject does not count: those both of whose sides match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The exception.
    pub dn: Dn,
    /// What the two patterns look at.
    pub field: Field,
    /// Providers.
    pub provider: Pattern,
    /// Consumers.
    pub consumer: Pattern,
}
