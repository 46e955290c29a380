//! Quality of service of a whole group: what holds where no rule says otherwise.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How packets from a group are queued, marked and policed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Quality {
    /// Their class of service, 1 to 6, where no rule and no mark says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u8>,
    /// What the marks they come with are turned into. The first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// How fast they may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policing: Option<Policing>,
}

/// What becomes of packets with a range of marks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// DN of the object that says so.
    pub name: Arc<str>,
    /// Which mark is looked at.
    pub field: MarkField,
    /// The lowest value.
    pub first: u8,
    /// The highest value.
    pub last: u8,
    /// The class of service that is given, 1 to 6.
    pub class: Option<u8>,
    /// The code point that is given, 0 to 63.
    pub dscp: Option<u8>,
    /// The 802.1p value that is given, 0 to 7.
    pub cos: Option<u8>,
}

/// A mark that packets come with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkField {
    /// The differentiated services code point, 0 to 63.
    Dscp,
    /// The 802.1p value of the frame, 0 to 7.
    Cos,
}

/// A rate that packets may not exceed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policing {
    /// DN of the policy.
    pub name: Arc<str>,
    /// What is counted.
    pub unit: Unit,
    /// All groups of the policy have one rate together; otherwise each endpoint has it.
    pub shared: bool,
    /// The committed rate.
    pub committed: Rate,
    /// The peak rate, where there are two.
    pub peak: Option<Rate>,
    /// What happens within the committed rate.
    pub conform: Metered,
    /// What happens above it.
    pub exceed: Metered,
    /// What happens above the peak rate.
    pub violate: Metered,
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bits.
    Bits,
    /// Packets.
    Packets,
}

/// A rate and how far it may be exceeded for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// Units a second; never 0.
    pub per_second: u64,
    /// Bytes, or packets, that may come at once; `None` leaves it to the data plane.
    pub burst: Option<u64>,
}

/// What happens to packets by the rate they come at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metered {
    /// They pass.
    Pass,
    /// They are dropped.
    Drop,
    /// They pass with other marks.
    Mark {
        /// The code point, 0 to 63.
        dscp: Option<u8>,
        /// The 802.1p value, 0 to 7.
        cos: Option<u8>,
    },
}
