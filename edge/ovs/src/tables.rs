//! The pipeline: its tables, what packets carry from one to the next, and what cookies say. This list
//! is the whole of it; [`crate::lower`] fills the tables.
//!
//! ```text
//! endpoint --> Port --+--> ArpSource --> Arp                          answered at once
//!                     +--> Source --+--> NdSource --> Nd --> NdReply  answered at once
//!                                   +--> Destination --> Route --> Gateway  answered at once
//!                                             |            |
//!                                             |           Ttl
//! tunnel ----> Port --> Tunnel --> Recipient  |            |
//!                                      |      |            |
//!                                      +----> Track <------+
//!
//! host's stack --> Port --> Exit --> Route
//! an address that no endpoint has: Route, Recipient --> Outside --> Ttl
//!
//!     Track --> State --+--> Reply --(no answer to anything)--+--> Forward --> Rules
//!                       +-------------------------------------+                  |
//!     Rules, Reply --> Commit --> Permit --> Deliver --> Output                  v
//!                                                              Drop <-- from everywhere
//! ```

use selvage_rules::{ClassId, Reason, RuleId};

use crate::openflow::{Action, Bits, Field};

/// A table of the pipeline; its number is its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Which endpoint it comes from, by port and source MAC; or that it comes out of the tunnel.
    Port = 0,
    /// Whose addresses an ARP packet claims.
    ArpSource,
    /// Answers ARP for gateways and for every known endpoint of the bridge domain.
    Arp,
    /// Whether an IP packet's source address is the endpoint's.
    Source,
    /// Whose addresses neighbour discovery comes from.
    NdSource,
    /// Answers neighbour solicitations; the type becomes that of the answer.
    Nd,
    /// Fills in the answer, which is an advertisement by now.
    NdReply,
    /// Whom it is for, by MAC; or that it is for the gateway's MAC and so to be routed.
    Destination,
    /// Of which group the sender of a packet from the host's own stack is, by longest prefix.
    Exit,
    /// Whom a routed packet is for, by address.
    Route,
    /// Answers echo to a gateway's address.
    Gateway,
    /// Of which group the sender of a packet out of the tunnel is, by VNI.
    Tunnel,
    /// Which endpoint of this host a packet out of the tunnel is for.
    Recipient,
    /// Of which group an address outside is, and by which host it is reached, by longest prefix.
    Outside,
    /// Whether a routed packet may make another hop.
    Ttl,
    /// Asks the connection tracker, where some rule of the VRF is stateful.
    Track,
    /// Whether it may be an answer to a tracked connection.
    State,
    /// The rules of (sender, receiver). A subroutine, as the next three: it sets a register.
    PairExact,
    /// The rules of (sender, any).
    PairSource,
    /// The rules of (any, receiver).
    PairDestination,
    /// The rules of (any, any).
    PairAny,
    /// The rules that the connection's opening packet would meet now, against its own direction.
    Reply,
    /// Looks up the rules that hold for the packet itself.
    Forward,
    /// The rules.
    Rules,
    /// Keeps the connection of what a stateful rule permits.
    Commit,
    /// Counts what passes, by its reason.
    Permit,
    /// Hop limit and MACs of what is routed.
    Deliver,
    /// To the endpoint's port, or to the host that it is on.
    Output,
    /// Counts what is dropped, by its reason, and tells of it.
    Drop,
    /// No packet comes here. Its one flow's cookie says which revision the others are of.
    Mark,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: &[Stage] = &[
        Stage::Port,
        Stage::ArpSource,
        Stage::Arp,
        Stage::Source,
        Stage::NdSource,
        Stage::Nd,
        Stage::NdReply,
        Stage::Destination,
        Stage::Exit,
        Stage::Route,
        Stage::Gateway,
        Stage::Tunnel,
        Stage::Recipient,
        Stage::Outside,
        Stage::Ttl,
        Stage::Track,
        Stage::State,
        Stage::PairExact,
        Stage::PairSource,
        Stage::PairDestination,
        Stage::PairAny,
        Stage::Reply,
        Stage::Forward,
        Stage::Rules,
        Stage::Commit,
        Stage::Permit,
        Stage::Deliver,
        Stage::Output,
        Stage::Drop,
        Stage::Mark,
    ];

    /// Its number.
    pub const fn table(self) -> u8 {
        self as u8
    }

    /// Its name, as users read it.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Port => "port",
            Stage::ArpSource => "arp-source",
            Stage::Arp => "arp",
            Stage::Source => "source",
            Stage::NdSource => "nd-source",
            Stage::Nd => "nd",
            Stage::NdReply => "nd-reply",
            Stage::Destination => "destination",
            Stage::Route => "route",
            Stage::Gateway => "gateway",
            Stage::Ttl => "ttl",
            Stage::Tunnel => "tunnel",
            Stage::Recipient => "recipient",
            Stage::Exit => "exit",
            Stage::Outside => "outside",
            Stage::Track => "track",
            Stage::State => "state",
            Stage::PairExact => "pair-exact",
            Stage::PairSource => "pair-source",
            Stage::PairDestination => "pair-destination",
            Stage::PairAny => "pair-any",
            Stage::Reply => "reply",
            Stage::Forward => "forward",
            Stage::Rules => "rules",
            Stage::Commit => "commit",
            Stage::Permit => "permit",
            Stage::Deliver => "deliver",
            Stage::Output => "output",
            Stage::Drop => "drop",
            Stage::Mark => "mark",
        }
    }

    /// The stage with this number.
    pub fn of_table(table: u8) -> Option<Stage> {
        Stage::ALL.iter().copied().find(|stage| stage.table() == table)
    }

    /// Goes on there.
    pub const fn goto(self) -> Action {
        Action::Goto(self.table())
    }

    /// Goes through there and comes back.
    pub const fn call(self) -> Action {
        Action::Resubmit { in_port: None, table: self.table() }
    }
}

/// What registers hold. Each is 0 until it is known.
pub mod reg {
    use super::Field;

    /// The VRF.
    pub const SCOPE: Field = Field::Reg0;
    /// Class of the sender.
    pub const SRC: Field = Field::Reg1;
    /// Class of the receiver.
    pub const DST: Field = Field::Reg2;
    /// Bridge domain of the sender.
    pub const BD: Field = Field::Reg3;
    /// See [`super::flag`].
    pub const FLAGS: Field = Field::Reg4;
    /// Number of the port it leaves by.
    pub const OUT: Field = Field::Reg5;
    /// The [`selvage_rules::Reason`] of the verdict.
    pub const REASON: Field = Field::Reg6;
    /// The rule that decided.
    pub const RULE: Field = Field::Reg7;
    /// Rule set of (sender, receiver); in between, a place to swap classes by.
    pub const SET_EXACT: Field = Field::Reg8;
    /// Rule set of (sender, any).
    pub const SET_SOURCE: Field = Field::Reg9;
    /// Rule set of (any, receiver).
    pub const SET_DESTINATION: Field = Field::Reg10;
    /// Rule set of (any, any).
    pub const SET_ANY: Field = Field::Reg11;
    /// MAC of the receiver, or of whoever an answer is about: the lower 48 bits.
    pub const MAC: Field = Field::XReg6;
    /// MAC of the receiver's gateway: the lower 48 bits.
    pub const GATEWAY_MAC: Field = Field::XReg7;
    /// The classes by which the answer is judged: those of the two ends the other way round. In the
    /// lower half the sender's as a receiver, in the upper half the receiver's as a sender. They
    /// differ for addresses outside that only a default prefix covers.
    pub const TURNED: Field = Field::Metadata;
}

/// Bits of [`reg::FLAGS`].
pub mod flag {
    /// Its MACs are those of another leg, to be written anew.
    pub const ROUTED: u32 = 0x01;
    /// It came out of the tunnel.
    pub const FROM_TUNNEL: u32 = 0x02;
    /// It is for an endpoint of another host.
    pub const REMOTE: u32 = 0x04;
    /// The rule that permits it is stateful.
    pub const STATEFUL: u32 = 0x08;
    /// The rule that decided wants it told of.
    pub const LOG: u32 = 0x10;
    /// It came from the host's own stack: from outside, or from the host itself.
    pub const FROM_OUTSIDE: u32 = 0x20;
}

/// Sets bits of [`reg::FLAGS`].
pub fn set_flags(bits: u32) -> Action {
    Action::Set { field: reg::FLAGS, value: bits.into(), mask: bits.into() }
}

/// Writes down of which class the sender is, and of which one as a receiver.
pub fn set_sender(sends: ClassId, receives: ClassId) -> [Action; 2] {
    let (value, mask) = (u128::from(receives.0), 0xffff_ffff);
    [Action::set(reg::SRC, u32::from(sends.0)), Action::Set { field: reg::TURNED, value, mask }]
}

/// Writes down of which class the receiver is, and of which one as a sender.
pub fn set_receiver(receives: ClassId, sends: ClassId) -> [Action; 2] {
    let (value, mask) = (u128::from(sends.0) << 32, 0xffff_ffff << 32);
    [Action::set(reg::DST, u32::from(receives.0)), Action::Set { field: reg::TURNED, value, mask }]
}

/// Sender and receiver change places; a second time takes it back.
pub fn turn_classes() -> Vec<Action> {
    let between = Bits::all(reg::SET_EXACT);
    let (sender, receiver) = (Bits::of(reg::TURNED, 0, 32), Bits::of(reg::TURNED, 32, 32));
    let exchange = |one: Bits, other: Bits| {
        [(one, between), (other, one), (between, other)].map(|(from, to)| Action::Move { from, to })
    };
    [exchange(Bits::all(reg::SRC), receiver), exchange(Bits::all(reg::DST), sender)].concat()
}

/// Writes a MAC into a register of 64 bits.
pub fn set_mac(register: Field, mac: selvage_rules::Mac) -> Action {
    Action::set(register, mac_value(mac))
}

/// A MAC as a number.
pub fn mac_value(mac: selvage_rules::Mac) -> u64 {
    mac.0.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Copies a MAC out of a register of 64 bits.
pub fn move_mac(register: Field, to: Field) -> Action {
    Action::Move { from: Bits::of(register, 0, 48), to: Bits::all(to) }
}

/// Ends here, for this reason.
pub fn drop_for(reason: Reason) -> Vec<Action> {
    vec![Action::set(reg::REASON, reason as u32), Stage::Drop.goto()]
}

/// What a flow's cookie says: that it is ours, the reason it counts, the rule it counts.
///
/// ```text
///  63          48 47    40 39    32 31          0
///  MAGIC          version  reason   rule, or revision in the stage Mark
/// ```
pub mod cookie {
    use super::{Reason, RuleId};

    /// Every flow of ours begins with this.
    pub const MAGIC: u64 = 0x5e1a << 48;
    /// Selects the flows of ours.
    pub const MAGIC_MASK: u64 = 0xffff << 48;
    /// The version of the pipeline. One that differs is replaced whole.
    pub const VERSION: u64 = 2 << 40;
    /// A flow that counts nothing.
    pub const PLAIN: u64 = MAGIC | VERSION;

    /// Of a flow whose packets count for `reason`.
    pub fn reason(reason: Reason) -> u64 {
        PLAIN | (reason as u64) << 32
    }

    /// Of a flow whose packets count for `rule`.
    pub fn rule(rule: RuleId) -> u64 {
        PLAIN | u64::from(rule.0)
    }

    /// The reason that a flow's packets count for.
    pub fn reason_of(cookie: u64) -> Option<Reason> {
        Reason::from_code((cookie >> 32) as u8)
    }

    /// The rule that a flow's packets count for.
    pub fn rule_of(cookie: u64) -> Option<RuleId> {
        let number = cookie as u32;
        (number != 0).then_some(RuleId(number))
    }

    /// Whether a flow of ours is of this version of the pipeline.
    pub fn is_current(cookie: u64) -> bool {
        cookie & (MAGIC_MASK | 0xff << 40) == PLAIN
    }
}

/// What comes with a packet that the stage Drop, or a rule that logs, sends to us.
pub mod told {
    /// The first byte of the userdata.
    pub const DROP: u8 = 1;
}
