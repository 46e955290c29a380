//! The lowered tables, evaluated in Rust: what `bpf/policy.h` does, step by step. Pure.
//!
//! The third of the judges: it shares with the kernel the bytes of the tables, and with
//! [`selvage_rules::Table::judge`] the answer, which a property test holds them to.

use std::collections::BTreeMap;

use selvage_rules::{Action, ClassId, Packet, PairKey, Reason, RuleId, ScopeId, Verdict};

use crate::layout::{Bytes, types};
use crate::lower::{flag, pair_check, pair_key, what_of};

/// Bits of the state word above the generation: some pair of the host has `any` there.
pub mod wildcard {
    use crate::layout::types::wildcard_shift;

    /// Some pair is (source, any).
    pub const DST: u64 = 1 << wildcard_shift::WILDCARD_DST.0;
    /// Some pair is (any, destination).
    pub const SRC: u64 = 1 << wildcard_shift::WILDCARD_SRC.0;
    /// Some pair is (any, any).
    pub const BOTH: u64 = 1 << wildcard_shift::WILDCARD_BOTH.0;
}

/// The policy maps as they are in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// The generation, and which wildcards there are.
    pub word: u64,
    /// The pair map.
    pub pairs: BTreeMap<Bytes<types::pair_key>, Bytes<types::pair>>,
    /// The rules array, where it has been written.
    pub rules: BTreeMap<u32, Bytes<types::rule>>,
}

impl Tables {
    /// The verdict a packet gets, as if no connection were known.
    pub fn judge(&self, scope: ScopeId, src: ClassId, dst: ClassId, packet: &Packet) -> Verdict {
        let asked = [0, wildcard::DST, wildcard::SRC, wildcard::BOTH];
        let mut best: Option<types::rule> = None;
        for (key, bit) in PairKey::lookups(scope, src, dst).into_iter().zip(asked) {
            if bit != 0 && self.word & bit == 0 {
                continue;
            }
            let Some(rule) = self.first_match(key, packet) else { continue };
            if best.is_none_or(|held| rule.priority < held.priority) {
                best = Some(rule);
            }
        }
        best.map_or(Verdict::IMPLICIT_DENY, |rule| verdict(&rule))
    }

    fn first_match(&self, key: PairKey, packet: &Packet) -> Option<types::rule> {
        let pair = self.pairs.get(&Bytes(pair_key(key)))?.0;
        if pair.check != pair_check(key) {
            return None;
        }
        let run = current(&pair, self.word);
        let what = what_of(packet);
        (run.start..run.start.saturating_add(run.count))
            .filter_map(|slot| self.rules.get(&slot))
            .map(|rule| rule.0)
            .find(|rule| matches(rule, what, packet))
    }
}

/// Which of a pair's runs holds under `word`'s generation.
pub fn current(pair: &types::pair, word: u64) -> types::run {
    // Generations wrap: the sign of the difference says which is later.
    let age = (word as u32).wrapping_sub(pair.since) as i32;
    if age >= 0 { pair.after } else { pair.before }
}

fn matches(rule: &types::rule, what: u64, packet: &Packet) -> bool {
    let ports =
        |packet: &Packet| if packet.has_ports() { (packet.sport, packet.dport) } else { (0, 0) };
    let (sport, dport) = ports(packet);
    what & rule.mask == rule.value
        && (rule.sport_first..=rule.sport_last).contains(&sport)
        && (rule.dport_first..=rule.dport_last).contains(&dport)
}

fn verdict(rule: &types::rule) -> Verdict {
    let permit = rule.flags & flag::PERMIT != 0;
    Verdict {
        action: if permit { Action::Permit } else { Action::Deny },
        reason: Reason::from_code(rule.reason).unwrap_or(Reason::Malformed),
        rule: Some(RuleId(rule.id)),
        stateful: rule.flags & flag::STATEFUL != 0,
        log: rule.flags & flag::LOG != 0,
    }
}
