//! What rules rank by. Lower wins; the numbers are those of ACI's zoning rules (Cisco ACI contract
//! guide, *contract priorities*), so that a reader of `show zoning-rule` finds them again.

use selvage_rules::{Action, ClassId, Match, PairKey};

use crate::ir::DenyRank;

/// A contract for the endpoints of one group among each other (`class-eq-filter`).
pub const INSIDE: u16 = 1;
/// Nothing else passes inside a group (`class-eq-deny`).
pub const ISOLATED: u16 = 2;
/// A group talks to itself (`class-eq-allow`).
pub const INTRA_GROUP: u16 = 3;
/// A taboo contract (`black_list`).
pub const TABOO: u16 = 5;
/// A filter that looks at something, between two groups (`fully_qual`). Also the highest rank a deny
/// can be given.
pub const PAIR: u16 = 7;
/// A filter that matches everything, between two groups (`src_dst_any`).
pub const PAIR_ALL: u16 = 9;
/// A filter between a provider of another VRF and any group (`shsrc_any_filt_perm`).
pub const SHARED: u16 = 10;
/// Everything between a provider of another VRF and any group (`shsrc_any_any_perm`).
pub const SHARED_ALL: u16 = 11;
/// Nothing else between a provider of another VRF and any group (`shsrc_any_any_deny`).
pub const SHARED_DENY: u16 = 12;
/// A filter from a group to any (`src_any_filter`); the medium rank a deny can be given.
pub const TO_ANY: u16 = 13;
/// A filter from any to a group (`any_dest_filter`).
pub const FROM_ANY: u16 = 14;
/// Everything from a group to any (`src_any_any`).
pub const TO_ANY_ALL: u16 = 15;
/// Everything from any to a group (`any_dest_any`).
pub const FROM_ANY_ALL: u16 = 16;
/// A filter between any two groups (`any_any_filter`); the lowest rank a deny can be given.
pub const ANY_TO_ANY: u16 = 17;
/// From a group that is not in the preferred group (`grp_src_any_any_deny`).
pub const FROM_UNPREFERRED: u16 = 18;
/// To a group that is not in the preferred group (`grp_any_dest_any_deny`).
pub const TO_UNPREFERRED: u16 = 19;
/// Between any two groups of the preferred group (`grp_any_any_any_permit`).
pub const PREFERRED: u16 = 20;
/// Everything between any two groups (`any_any_any`).
pub const ANY_TO_ANY_ALL: u16 = 21;

/// How general a pair is, which ranks the rules of its contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breadth {
    /// The endpoints of one group.
    Inside,
    /// Two groups.
    Pair,
    /// A provider of another VRF, and any group.
    Shared,
    /// A group to any.
    ToAny,
    /// Any to a group.
    FromAny,
    /// Any to any.
    AnyToAny,
}

impl Breadth {
    /// How general `pair` is within its VRF.
    pub fn of(pair: PairKey) -> Breadth {
        match (pair.src == ClassId::ANY, pair.dst == ClassId::ANY) {
            (false, false) => Breadth::Pair,
            (false, true) => Breadth::ToAny,
            (true, false) => Breadth::FromAny,
            (true, true) => Breadth::AnyToAny,
        }
    }

    /// The rank of what a contract does with `matches` between such a pair.
    ///
    /// Deny wins among equals. Of equals of two pairs the one of the more specific pair is found
    /// first, so a deny that a less specific pair is given with the rank of permits of a more
    /// specific one ranks just before them; no permit has that rank.
    pub fn rank(self, action: Action, rank: DenyRank, matches: &Match) -> u16 {
        let all = *matches == Match::EVERYTHING;
        let usual = match (self, all) {
            // Nothing is less than it that could permit, so no deny is ranked down.
            (Breadth::Inside, _) => return INSIDE,
            (Breadth::Pair, false) => PAIR,
            (Breadth::Pair, true) => PAIR_ALL,
            (Breadth::Shared, false) => SHARED,
            (Breadth::Shared, true) => SHARED_ALL,
            (Breadth::ToAny, false) => TO_ANY,
            (Breadth::ToAny, true) => TO_ANY_ALL,
            (Breadth::FromAny, false) => FROM_ANY,
            (Breadth::FromAny, true) => FROM_ANY_ALL,
            (Breadth::AnyToAny, false) => ANY_TO_ANY,
            (Breadth::AnyToAny, true) => ANY_TO_ANY_ALL,
        };
        match (action, rank) {
            (Action::Permit | Action::Redirect, _) | (Action::Deny, DenyRank::Default) => usual,
            (Action::Deny, DenyRank::Highest) if self == Breadth::Pair => PAIR,
            (Action::Deny, DenyRank::Highest) => PAIR - 1,
            (Action::Deny, DenyRank::Medium) if matches!(self, Breadth::Pair | Breadth::ToAny) => {
                TO_ANY
            }
            (Action::Deny, DenyRank::Medium) => TO_ANY - 1,
            (Action::Deny, DenyRank::Lowest) => ANY_TO_ANY,
        }
    }
}
