//! What the packets of a contract pass on their way, and how they are treated.

use selvage_model::Dn;
use selvage_rules::{Balance, ServiceHop, Threshold};

/// Marks that a contract or a part of it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marking {
    /// The class of service, 1 to 6.
    pub class: Option<u8>,
    /// The code point, 0 to 63.
    pub dscp: Option<u8>,
}

/// The service graph of a subject, as far as it decides about packets between the two groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Through {
    /// From consumer to provider.
    pub to_provider: Path,
    /// From provider to consumer.
    pub to_consumer: Path,
    /// The device that gets copies both ways.
    pub copy: Option<Dn>,
    /// Log what passes.
    pub log: bool,
}

/// What packets pass one way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Path {
    /// Nothing: they go to their destination.
    #[default]
    Straight,
    /// The machines of these redirect policies, one after the other; never empty.
    Services(Vec<Dn>),
    /// They are dropped, since the policy says so while its machines are down.
    Dropped,
    /// What they were to pass is unknown, so nothing is permitted.
    Unknown,
}

impl Through {
    /// A graph that cannot be made: nothing passes.
    pub fn unknown() -> Through {
        let (to_provider, to_consumer) = (Path::Unknown, Path::Unknown);
        Through { to_provider, to_consumer, ..Through::default() }
    }
}

/// A redirect policy, or a copy device, which has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Its machines that can be used, ascending.
    pub hops: Vec<ServiceHop>,
    /// What chooses among them.
    pub balance: Balance,
    /// When it is down.
    pub threshold: Option<Threshold>,
}
