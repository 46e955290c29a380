//! What a flow does.

use super::field::Field;

/// Port numbers with a meaning of their own (OpenFlow 1.4.1, 7.2.1).
pub mod port {
    /// Back out by the port it came in by.
    pub const IN_PORT: u32 = 0xffff_fff8;
    /// To whom the switch is controlled by.
    pub const CONTROLLER: u32 = 0xffff_fffd;
    /// The bridge's own port.
    pub const LOCAL: u32 = 0xffff_fffe;
    /// No port.
    pub const NONE: u32 = 0xffff_ffff;
}

/// Some bits of a field, from `start` (0 is the least significant), `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits {
    /// The field.
    pub field: Field,
    /// The first bit.
    pub start: u16,
    /// How many.
    pub count: u16,
}

impl Bits {
    /// All bits of `field`.
    pub fn all(field: Field) -> Bits {
        Bits { field, start: 0, count: u16::try_from(field.bits()).unwrap_or(0) }
    }

    /// `count` bits of `field` from `start`.
    pub fn of(field: Field, start: u16, count: u16) -> Bits {
        Bits { field, start, count }
    }
}

/// One action. Those that OpenFlow calls instructions ([`Action::WriteMetadata`], [`Action::Goto`])
/// are at the end of a flow's list, as `ovs-ofctl` has them. A flow without actions drops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Sends a copy out of a port, see [`port`]. Never out of the one it came in by, except by
    /// [`port::IN_PORT`].
    Output(u32),
    /// Sends a copy out of the port whose number these bits hold.
    OutputField(Bits),
    /// Sends a copy to us, see [`Controller`].
    Controller(Controller),
    /// Sets the bits of `mask` in `field`.
    Set {
        /// The field.
        field: Field,
        /// The value, right-aligned.
        value: u128,
        /// Which bits to set; all of them: [`Field::full_mask`].
        mask: u128,
    },
    /// Copies bits; both have the same count.
    Move {
        /// From.
        from: Bits,
        /// To.
        to: Bits,
    },
    /// Lowers the time to live by one; a packet whose would reach 0 ends here (to us as a packet-in
    /// with reason invalid-ttl, where such are asked for).
    DecTtl,
    /// Looks the packet up in a table, and comes back.
    Resubmit {
        /// As if it had come in by this port; `None`: by the one it did.
        in_port: Option<u16>,
        /// The table.
        table: u8,
    },
    /// Through the connection tracker.
    Ct(Ct),
    /// Forgets what the tracker said of the packet.
    CtClear,
    /// Does `0` to a copy of the packet: what they change ends with them.
    Clone(Vec<Action>),
    /// Member of a conjunction: matched when all its dimensions are.
    Conjunction {
        /// The conjunction, matched by [`Field::ConjId`].
        id: u32,
        /// The dimension, from 0.
        clause: u8,
        /// How many dimensions there are, 2 to 64.
        clauses: u8,
    },
    /// Through a group.
    Group(u32),
    /// Adds a VLAN tag with this Ethernet type (0x8100).
    PushVlan(u16),
    /// Removes the VLAN tag.
    PopVlan,
    /// Bytes that do nothing.
    Note(Vec<u8>),
    /// One that nobody here knows, as it came: header, body, padding.
    Other(Vec<u8>),
    /// Through a meter, first of all.
    Meter(u32),
    /// Sets the bits of `mask` in the metadata.
    WriteMetadata {
        /// The value.
        value: u64,
        /// Which bits to set.
        mask: u64,
    },
    /// Goes on in a later table.
    Goto(u8),
}

impl Action {
    /// Sets the whole of `field`.
    pub fn set(field: Field, value: impl Into<u128>) -> Action {
        Action::Set { field, value: value.into(), mask: field.full_mask() }
    }

    /// Copies all of `from` to `to`; both have the same width.
    pub fn copy(from: Field, to: Field) -> Action {
        Action::Move { from: Bits::all(from), to: Bits::all(to) }
    }
}

/// A copy of a packet for us.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Controller {
    /// At most so many bytes of it; 0xffff is all. Open vSwitch sends all of it anyway (observed with
    /// 3.1).
    pub max_len: u16,
    /// Comes back with it; at most some hundred bytes.
    pub userdata: Vec<u8>,
    /// Meter that bounds how many come.
    pub meter: Option<u32>,
}

/// Through the connection tracker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ct {
    /// Keeps the connection, if it is not kept yet.
    pub commit: bool,
    /// With `commit`: a kept connection of the other direction is replaced by one of this.
    pub force: bool,
    /// Connections of different zones are strangers to each other.
    pub zone: Zone,
    /// Looks the packet up in this table, with what is now known of its connection. Without it the
    /// flow's next action follows, with nothing known.
    pub table: Option<u8>,
    /// With `commit`: what is set in the connection: [`Field::CtMark`], [`Field::CtLabel`].
    pub exec: Vec<Action>,
}

/// A zone of the connection tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// This one.
    Number(u16),
    /// The one that these 16 bits hold.
    Field(Bits),
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::Number(0)
    }
}
