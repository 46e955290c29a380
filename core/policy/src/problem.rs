//! What is wrong with a configuration, said about the object that can mend it.
//!
//! A relation whose target does not exist is the tree's own fault, with a code for each relation
//! class; what follows from it here (a group in quarantine) is a problem of the object it befalls.

use std::fmt;

use selvage_model::Dn;
use serde::{Serialize, Serializer};

/// How much of what was asked for does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is lost yet.
    Warning,
    /// A part of the object has no effect.
    Minor,
    /// The object has no effect; what depends on it is closed.
    Major,
}

/// What kind of thing is wrong. Every cause has a fault code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A group is administratively down.
    ShutDown,
    /// A bridge domain is in no VRF, or in one that does not exist.
    NoVrf,
    /// A group is in no bridge domain that is enforced.
    NoBridgeDomain,
    /// A contract that is used has no subject.
    NoSubject,
    /// A subject that is used names no filter, or its filters have no entry.
    NoFilter,
    /// A contract is consumed, but nobody within its scope provides it.
    NoProvider,
    /// A filter entry contradicts itself.
    ContradictoryEntry,
    /// A subnet's address is none, or a group of addresses that no gateway can have.
    BadSubnet,
    /// Two subnets of one VRF overlap.
    OverlappingSubnets,
    /// A subject or filter denies with a part that is broken, so all of it is closed.
    BrokenDeny,
    /// The configuration asks for something that is not supported yet.
    NotSupported,
    /// A group asks for isolation in a VRF that enforces nothing.
    NotIsolated,
    /// What only a default prefix covers is asked into the preferred group.
    NotPreferred,
    /// A contract crosses VRFs, which no data plane carries.
    NotCarried,
    /// No address of a group whose contracts cross VRFs is known in the others.
    NotLeaked,
    /// A pool of numbers has run dry.
    OutOfNumbers,
    /// A prefix is in two external groups of one VRF.
    PrefixInUse,
    /// An external subnet's prefix is none.
    BadPrefix,
    /// A criterion of a microsegment that can hold of nobody, or that counts for nothing.
    BadCriterion,
    /// A selector of an endpoint security group that can choose nobody.
    BadSelector,
    /// Two endpoint security groups choose the same.
    ClaimedTwice,
    /// A border host, its link or a route of an L3Out cannot be.
    BadExit,
    /// An exception of a contract cannot be read, so it counts for everybody.
    BadException,
    /// A group cannot inherit the contracts of another one.
    BadMaster,
    /// An imported contract leads to no contract.
    EmptyImport,
    /// A service graph or a redirect policy cannot do what it is to do.
    NoService,
    /// A rule of quality of service contradicts itself.
    BadQuality,
    /// A rule of host protection cannot be read.
    BadProtection,
}

impl Cause {
    /// Every cause.
    pub const ALL: &[Cause] = &[
        Cause::ShutDown,
        Cause::NoVrf,
        Cause::NoBridgeDomain,
        Cause::NoSubject,
        Cause::NoFilter,
        Cause::NoProvider,
        Cause::ContradictoryEntry,
        Cause::BadSubnet,
        Cause::OverlappingSubnets,
        Cause::BrokenDeny,
        Cause::NotSupported,
        Cause::NotIsolated,
        Cause::NotPreferred,
        Cause::NotCarried,
        Cause::NotLeaked,
        Cause::OutOfNumbers,
        Cause::PrefixInUse,
        Cause::BadPrefix,
        Cause::BadCriterion,
        Cause::BadSelector,
        Cause::ClaimedTwice,
        Cause::BadExit,
        Cause::BadException,
        Cause::BadMaster,
        Cause::EmptyImport,
        Cause::NoService,
        Cause::BadQuality,
        Cause::BadProtection,
    ];

    /// The fault code. The block F9001xx is this project's own, above APIC's codes; none
    /// is ever reused.
    pub fn code(self) -> &'static str {
        match self {
            Cause::ShutDown => "F900101",
            Cause::NoVrf => "F900102",
            Cause::NoBridgeDomain => "F900103",
            Cause::NoSubject => "F900104",
            Cause::NoFilter => "F900105",
            Cause::NoProvider => "F900106",
            Cause::ContradictoryEntry => "F900107",
            Cause::BadSubnet => "F900108",
            Cause::OverlappingSubnets => "F900109",
            Cause::BrokenDeny => "F900110",
            Cause::NotSupported => "F900111",
            Cause::OutOfNumbers => "F900112",
            Cause::NotIsolated => "F900113",
            Cause::PrefixInUse => "F900114",
            Cause::BadPrefix => "F900115",
            Cause::BadExit => "F900116",
            Cause::BadCriterion => "F900150",
            Cause::BadSelector => "F900151",
            Cause::ClaimedTwice => "F900152",
            Cause::NotPreferred => "F900117",
            Cause::NotCarried => "F900130",
            Cause::NotLeaked => "F900131",
            Cause::BadException => "F900120",
            Cause::BadMaster => "F900121",
            Cause::EmptyImport => "F900122",
            Cause::NoService => "F900123",
            Cause::BadQuality => "F900124",
            Cause::BadProtection => "F900125",
        }
    }

    /// What users read and filter by.
    pub fn name(self) -> &'static str {
        match self {
            Cause::ShutDown => "shut-down",
            Cause::NoVrf => "no-vrf",
            Cause::NoBridgeDomain => "no-bridge-domain",
            Cause::NoSubject => "no-subject",
            Cause::NoFilter => "no-filter",
            Cause::NoProvider => "no-provider",
            Cause::ContradictoryEntry => "contradictory-entry",
            Cause::BadSubnet => "bad-subnet",
            Cause::OverlappingSubnets => "overlapping-subnets",
            Cause::BrokenDeny => "broken-deny",
            Cause::NotSupported => "not-supported",
            Cause::NotIsolated => "not-isolated",
            Cause::NotPreferred => "not-preferred",
            Cause::NotCarried => "not-carried",
            Cause::NotLeaked => "not-leaked",
            Cause::OutOfNumbers => "out-of-numbers",
            Cause::PrefixInUse => "prefix-in-use",
            Cause::BadPrefix => "bad-prefix",
            Cause::BadExit => "bad-exit",
            Cause::BadCriterion => "bad-criterion",
            Cause::BadSelector => "bad-selector",
            Cause::ClaimedTwice => "claimed-twice",
            Cause::BadException => "bad-exception",
            Cause::BadMaster => "bad-master",
            Cause::EmptyImport => "empty-import",
            Cause::NoService => "no-service",
            Cause::BadQuality => "bad-quality",
            Cause::BadProtection => "bad-protection",
        }
    }

    /// How much is lost by it.
    pub fn severity(self) -> Severity {
        match self {
            Cause::ShutDown | Cause::NotCarried | Cause::NoProvider => Severity::Warning,
            Cause::NoSubject
            | Cause::NoFilter
            | Cause::ContradictoryEntry
            | Cause::NotIsolated
            | Cause::NotPreferred
            | Cause::NotLeaked
            | Cause::NotSupported
            | Cause::BadException
            | Cause::BadMaster
            | Cause::EmptyImport
            | Cause::BadQuality
            | Cause::BadProtection
            | Cause::BadCriterion
            | Cause::BadSelector
            | Cause::ClaimedTwice
            | Cause::BadExit => Severity::Minor,
            Cause::NoVrf
            | Cause::NoBridgeDomain
            | Cause::BadSubnet
            | Cause::OverlappingSubnets
            | Cause::BrokenDeny
            | Cause::PrefixInUse
            | Cause::BadPrefix
            | Cause::NoService
            | Cause::OutOfNumbers => Severity::Major,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One thing wrong with the configuration. It becomes a fault under its object, and goes when the
/// configuration is mended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The object that is wrong, and where it is shown.
    #[serde(serialize_with = "dn_as_text")]
    pub dn: Dn,
    /// What kind of thing is wrong.
    pub cause: Cause,
    /// One sentence: what is wrong, and what therefore does not happen.
    pub text: String,
}

impl Problem {
    /// How much is lost by it.
    pub fn severity(&self) -> Severity {
        self.cause.severity()
    }

    /// Its fault code.
    pub fn code(&self) -> &'static str {
        self.cause.code()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code(), self.dn, self.text)
    }
}

pub(crate) fn dn_as_text<S: Serializer>(dn: &Dn, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dn.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cause_has_a_code_and_a_name_of_its_own() {
        let codes: BTreeSet<_> = Cause::ALL.iter().map(|c| c.code()).collect();
        let names: BTreeSet<_> = Cause::ALL.iter().map(|c| c.name()).collect();
        assert_eq!((codes.len(), names.len()), (Cause::ALL.len(), Cause::ALL.len()));
    }
}
