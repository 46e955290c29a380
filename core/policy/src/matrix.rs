//! Who reaches whom: every ordered pair of groups against a list of packets.

use selvage_model::Dn;
use selvage_rules::{Packet, Verdict};
use serde::Serialize;

use crate::compile::Compiled;
use crate::problem::dn_as_text;
use crate::trace;

/// One cell of a reachability matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Group of the sender.
    #[serde(serialize_with = "dn_as_text")]
    pub from: Dn,
    /// Group of the receiver.
    #[serde(serialize_with = "dn_as_text")]
    pub to: Dn,
    /// Place of the packet in the list of probes.
    pub probe: usize,
    /// What happens to it, as if no connection were known.
    pub verdict: Verdict,
    /// The contract that decided, by DN, or the reason where none did.
    pub by: String,
}

/// Judges every probe between every ordered pair of `groups`, a group with itself included: by
/// sender, then receiver, then probe.
pub fn matrix(compiled: &Compiled, groups: &[Dn], probes: &[Packet]) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(groups.len() * groups.len() * probes.len());
    for from in groups {
        for to in groups {
            for (probe, packet) in probes.iter().enumerate() {
                let verdict = trace::verdict(compiled, from, to, packet);
                let chain = verdict.rule.and_then(|rule| trace::chain(compiled, rule, from, to));
                let contract = chain.and_then(|chain| chain.contract);
                let by = contract.map_or_else(|| verdict.reason.to_string(), |dn| dn.to_string());
                cells.push(Cell { from: from.clone(), to: to.clone(), probe, verdict, by });
            }
        }
    }
    cells
}
