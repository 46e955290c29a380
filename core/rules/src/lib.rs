//! The compiled rule table: class ids, rules, verdicts and what a host must enforce.
//!
//! This is the waist of the compiler. The controller's policy front lowers the managed-object tree
//! into a [`Table`]; OpFlex carries each host its slice; the agent joins that slice with endpoint
//! locations into a [`Desired`]; a data plane enforces `Desired` and nothing else.
//!
//! Nothing here knows an EPG, a contract or a class of the ACI model: groups are numbers, and the
//! names that come along (`Arc<str>`) are opaque labels for the people who read a verdict.

mod desired;
mod id;
mod membership;
mod outside;
mod packet;
mod protection;
mod quality;
mod reason;
mod rule;
mod service;
mod table;

pub use desired::{
    Desired, Encapsulation, Endpoint, EndpointId, Exit, Local, Remote, Room, Source,
    UnknownEncapsulation, Way,
};
pub use id::{
    BdId, ClassId, GroupId, Mac, NodeId, ParseIdError, Revision, RuleId, RuleSetId, ScopeId,
    ServiceId,
};
pub use membership::{Arm, Arms, Attachment, Comparison, Facts, Test, chosen};
pub use outside::{External, Hop, Inside, Outside, Prefix};
pub use packet::{EtherType, Packet, TcpFlags, proto};
pub use protection::{FarEnd, Gate, Protection};
pub use quality::{Mark, MarkField, Metered, Policing, Quality, Rate, Unit};
pub use reason::{Kind, Reason};
pub use rule::{
    Action, EtherMatch, IcmpMatch, Match, Origin, PortRange, Rule, RuleSet, TcpMatch, Treatment,
};
pub use service::{Balance, Service, ServiceHop, Threshold, WhileDown};
pub use table::{BridgeDomain, Gateway, Group, GroupKey, PairKey, Shared, Table, Verdict, Vrf};
