//! Taboo contracts: what must not reach a group, whoever sends it and whatever contracts say.
//!
//! ACI's `black_list`: rules from any to the group, the way they are written. What its endpoints
//! send each other ranks before them.

use selvage_rules::{ClassId, GroupKey};

use super::sides::{Domain, Sides, numbered};
use super::treatment::Outcome;
use super::{Builder, Ends, Member, priority};
use crate::ir::Intent;

/// What the groups of VRFs that enforce contracts are protected from.
pub(super) fn sides(
    builder: &mut Builder<'_>,
    intent: &Intent,
    members: &[Member<'_>],
) -> Vec<Sides> {
    let mut all = Vec::new();
    for (dn, taboo) in &intent.taboos {
        let protects = |member: &&Member<'_>| {
            let enforced = intent.vrfs.get(member.vrf).is_some_and(|vrf| vrf.enforced);
            enforced
                && member.stance.is_some_and(|s| s.taboos.iter().any(|named| &named.contract == dn))
        };
        let protected: Vec<Ends> = members.iter().filter(protects).map(|m| m.ends).collect();
        if protected.is_empty() {
            continue;
        }
        let clauses = intent.clauses(taboo);
        let rules = clauses.filter_map(|clause| {
            let draft = numbered(builder, &clause, clause.entry.matches, false, Outcome::DENY)?;
            Some(draft.ranked(priority::TABOO))
        });
        let forward = rules.collect::<Vec<_>>();
        let any = |ends: &Ends, scope| Domain {
            consumers: vec![Ends {
                key: GroupKey { scope, class: ClassId::ANY },
                default_source: None,
            }],
            providers: vec![*ends],
        };
        // Also where groups of other VRFs use what it offers.
        let mut domains = Vec::new();
        for ends in &protected {
            let shared = builder.table.shared.get(&ends.key);
            let scopes = shared.into_iter().flat_map(|shared| &shared.offers_in);
            domains.extend(scopes.chain([&ends.key.scope]).map(|scope| any(ends, *scope)));
        }
        all.push(Sides { forward, back: Vec::new(), domains });
    }
    all
}
