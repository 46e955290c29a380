//! What a generated fabric may have besides groups, contracts and filters.

use std::collections::BTreeSet;

/// A part of the policy language that a fabric can be generated with or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Contracts of vzAny, in both parts.
    Any,
    /// Preferred groups.
    Preferred,
    /// Contracts within a group.
    Within,
    /// Taboos.
    Taboo,
    /// Labels of groups, relations and subjects.
    Labels,
    /// Exceptions of contracts and subjects.
    Exceptions,
    /// Contract masters.
    Masters,
    /// Contract interfaces.
    Interfaces,
    /// Directive `log`.
    Log,
    /// Entries that ask for a code point.
    CodePoint,
    /// Subnets shared between VRFs, and contracts that reach beyond one.
    Shared,
    /// External EPGs.
    Outside,
    /// Service graphs.
    Services,
    /// Host protection policies.
    Protection,
}

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 14] = [
        Feature::Any,
        Feature::Preferred,
        Feature::Within,
        Feature::Taboo,
        Feature::Labels,
        Feature::Exceptions,
        Feature::Masters,
        Feature::Interfaces,
        Feature::Log,
        Feature::CodePoint,
        Feature::Shared,
        Feature::Outside,
        Feature::Services,
        Feature::Protection,
    ];
}

/// Some of the features.
pub type Features = BTreeSet<Feature>;
