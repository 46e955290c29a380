//! Taboo contracts: what must not reach a group, whoever sends it and whatever contracts say.
//!
//! ACI's `black_list`: rules from any to the group, the way they are written. What its endpoints
//! send each other ranks before them.

use std::collections::BTreeMap;

use selvage_model::Dn;
use selvage_rules::{Action, ClassId, GroupKey, Reason};

use super::sides::{Domain, Draft, Sides, numbered};
use super::treatment::Outcome;
use super::{Builder, Default, Ends, Member, priority};
use crate::ir::Intent;

/// What the groups of VRFs that enforce contracts are protected from.
pub(super) fn sides(
    builder: &mut Builder<'_>,
    intent: &Intent,
    members: &[Member<'_>],
) -> Vec<Sides> {
    let enforced =
        |member: &&Member<'_>| intent.vrfs.get(member.vrf).is_some_and(|vrf| vrf.enforced);
    let mut protected: BTreeMap<&Dn, Vec<Ends>> = BTreeMap::new();
    let mut all = Vec::new();
    for member in members.iter().filter(enforced) {
        let Some(stance) = member.stance else { continue };
        for taboo in &stance.taboos {
            protected.entry(&taboo.contract).or_default().push(member.ends);
        }
        if stance.sealed {
            let what = Default { holder: member.dn, which: "taboo", reverse: false };
            let (action, reason) = (Action::Deny, Reason::Contract);
            let rule = builder.default_rule(&what, priority::TABOO, action, reason);
            let drafts = rule.into_iter().map(Draft::fixed).collect();
            all.push(toward(builder, drafts, &[member.ends]));
        }
    }
    for (dn, ends) in protected {
        let Some(taboo) = intent.taboos.get(dn) else { continue };
        let drafts = intent.clauses(taboo).filter_map(|clause| {
            let matches = clause.entry.matches;
            let draft = numbered(builder, &clause, matches, false, Outcome::DENY)?;
            Some(draft.ranked(priority::TABOO))
        });
        let drafts = drafts.collect();
        all.push(toward(builder, drafts, &ends));
    }
    all
}

/// From any to these groups, also where groups of other VRFs use what they offer.
fn toward(builder: &Builder<'_>, forward: Vec<Draft>, protected: &[Ends]) -> Sides {
    let mut domains = Vec::new();
    for ends in protected {
        let shared = builder.table.shared.get(&ends.key);
        let scopes = shared.into_iter().flat_map(|shared| &shared.offers_in);
        for scope in scopes.chain([&ends.key.scope]) {
            let any = GroupKey { scope: *scope, class: ClassId::ANY };
            let consumers = vec![Ends { key: any, default_source: None }];
            domains.push(Domain { consumers, providers: vec![*ends] });
        }
    }
    Sides { forward, back: Vec::new(), domains }
}
