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
//!     Track --> State --+--> Reply --(no answer to anything)--+--> Forward --> Rules
//!                       +-------------------------------------+                  |
//!     Rules, Reply --> Commit --> Permit --> Deliver --> Output                  v
//!                                                              Drop <-- from everywhere
//! ```

use selvage_rules::{Reason, RuleId};

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
    /// Whom a routed packet is for, by address.
    Route,
    /// Answers echo to a gateway's address.
    Gateway,
    /// Whether a routed packet may make another hop.
    Ttl,
    /// Of which group the sender of a packet out of the tunnel is, by VNI.
    Tunnel,
    /// Which endpoint of this host a packet out of the tunnel is for.
    Recipient,
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
        Stage::Route,
        Stage::Gateway,
        Stage::Ttl,
        Stage::Tunnel,
        Stage::Recipient,
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
    /// Tunnel address of the receiver's host, of IPv4: the lower 32 bits.
    pub const TUNNEL: Field = Field::Metadata;
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
}

/// Sets bits of [`reg::FLAGS`].
pub fn set_flags(bits: u32) -> Action {
    Action::Set { field: reg::FLAGS, value: bits.into(), mask: bits.into() }
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
    pub const VERSION: u64 = 1 << 40;
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
