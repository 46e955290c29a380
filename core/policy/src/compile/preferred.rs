//! Preferred groups: those groups of a VRF that talk to each other without contracts.
//!
//! As in ACI, everything is permitted between any two groups of the VRF, below all contracts, and
//! denied just above that from and to each group that is not in it. What only a default prefix
//! covers never is (contract guide, *preferred group*: `0.0.0.0/0` cannot be a member).

use selvage_model::Dn;
use selvage_rules::{Action, ClassId, GroupKey, Reason, Rule};

use super::sides::{Domain, Draft, Sides};
use super::{Builder, Default, Ends, Member, priority};
use crate::ir::{Any, Intent};
use crate::problem::{Cause, Problem};

/// What holds within VRFs with a preferred group, as from a consumer to a provider.
pub(super) fn sides(
    builder: &mut Builder<'_>,
    intent: &Intent,
    members: &[Member<'_>],
) -> Vec<Sides> {
    let mut all = Vec::new();
    for (vrf, found) in &intent.vrfs {
        let Some(scope) = builder.numbers.scope_of(&vrf.shared()) else { continue };
        if !found.enforced || !found.any.preferred {
            continue;
        }
        let any = Ends { key: GroupKey { scope, class: ClassId::ANY }, default_source: None };
        let apart = apart(builder, members, vrf);
        let mut side = |rule: Option<Rule>, consumers: Vec<Ends>, providers: Vec<Ends>| {
            let forward: Vec<Draft> = rule.into_iter().map(Draft::fixed).collect();
            all.push(Sides {
                forward,
                back: vec![],
                domains: vec![Domain { providers, consumers }],
            });
        };
        let [permit, from, to] = rules(builder, &found.any);
        side(permit, vec![any], vec![any]);
        side(from, apart.clone(), vec![any]);
        side(to, vec![any], apart);
    }
    all
}

/// Everything between any two, nothing from the groups that are not in it, nothing to them.
fn rules(builder: &mut Builder<'_>, any: &Any) -> [Option<Rule>; 3] {
    use priority::{FROM_UNPREFERRED, PREFERRED, TO_UNPREFERRED};
    let defaults = [
        ("preferred", false, PREFERRED, Action::Permit),
        ("not preferred", false, FROM_UNPREFERRED, Action::Deny),
        ("not preferred", true, TO_UNPREFERRED, Action::Deny),
    ];
    defaults.map(|(which, reverse, priority, action)| {
        let what = Default { holder: &any.dn, which, reverse };
        builder.default_rule(&what, priority, action, Reason::PreferredGroup)
    })
}

/// The groups of the VRF that are not in it.
fn apart(builder: &mut Builder<'_>, members: &[Member<'_>], vrf: &Dn) -> Vec<Ends> {
    let mut apart = Vec::new();
    for member in members.iter().filter(|member| member.vrf == vrf) {
        let preferred = member.stance.is_some_and(|stance| stance.preferred);
        let scope = member.ends.key.scope;
        let alone = |class| Ends { key: GroupKey { scope, class }, default_source: None };
        match member.ends.default_source {
            _ if !preferred => apart.push(member.ends),
            Some(default) => {
                apart.extend([alone(default), alone(ClassId::DEFAULT_OUTSIDE)]);
                let text = "a default prefix cannot be in the preferred group: what only it covers \
                            needs contracts";
                let dn = member.dn.clone();
                let cause = Cause::NotPreferred;
                builder.problems.push(Problem { dn, cause, text: text.to_owned() });
            }
            None => {}
        }
    }
    apart
}
