//! What passes between the endpoints of one group.
//!
//! Everything, unless the group is isolated or names contracts for itself; then only what those
//! contracts permit, in both of their directions, since each endpoint is at both ends. A contract
//! that the group both provides and consumes says nothing about it.

use selvage_rules::{Action, PairKey, Reason, Rule};

use super::priority::{self, Breadth};
use super::sides::rules;
use super::{Builder, Default, Member, selection};
use crate::ir::{Intent, Stance};
use crate::problem::{Cause, Problem};

/// Puts the rules of every group about itself into the table.
pub(super) fn fill(builder: &mut Builder<'_>, intent: &Intent, members: &[Member<'_>]) {
    for member in members {
        let Some(stance) = member.stance else { continue };
        let closed = stance.isolated || stance.inside.is_some();
        if intent.vrfs.get(member.vrf).is_some_and(|vrf| vrf.enforced) {
            let class = member.ends.key.class;
            let pair = PairKey { scope: member.ends.key.scope, src: class, dst: class };
            let mut inside = contracts(builder, intent, member, stance);
            inside.extend(otherwise(builder, member, closed));
            builder.put(pair, inside);
        } else if closed {
            let text = format!("VRF `{}` enforces nothing: the group is not isolated", member.vrf,);
            let dn = member.dn.clone();
            builder.problems.push(Problem { dn, cause: Cause::NotIsolated, text });
        }
    }
}

fn contracts(
    builder: &mut Builder<'_>,
    intent: &Intent,
    member: &Member<'_>,
    stance: &Stance,
) -> Vec<Rule> {
    let mut all = Vec::new();
    for relation in stance.inside.iter().flatten() {
        let Some(contract) = intent.contracts.get(&relation.contract) else { continue };
        let Some(part) = selection::inside(intent, contract, member, relation) else { continue };
        let (forward, back) = rules(builder, intent, contract, &part);
        all.extend(forward.into_iter().chain(back).map(|draft| draft.at(Breadth::Inside)));
    }
    all
}

/// What holds for what no contract of the group's own covers.
fn otherwise(builder: &mut Builder<'_>, member: &Member<'_>, closed: bool) -> Option<Rule> {
    let (priority, action) = if closed {
        (priority::ISOLATED, Action::Deny)
    } else {
        (priority::INTRA_GROUP, Action::Permit)
    };
    let what = Default { holder: member.dn, which: "", reverse: false };
    builder.default_rule(&what, priority, action, Reason::IntraGroup)
}
