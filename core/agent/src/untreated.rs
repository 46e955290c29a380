//! What a data plane says of rules that want more than a verdict, where it cannot give it.

use std::collections::BTreeSet;

use selvage_rules::{Action, Reason, Rule, Table, Verdict};

/// In words, what the data plane `plane` does with packets that rules of `table` send through a
/// service, copy, queue by class or mark, and with groups and endpoints that have a quality or a
/// protection of their own, if it can do none of these. What should be redirected is
/// dropped, since it must not pass the service by; the rest passes as it is.
pub fn untreated(table: &Table, plane: &str) -> Vec<String> {
    let used: BTreeSet<_> = table.pairs.values().collect();
    let sets = table.rule_sets.iter().filter(|(id, _)| used.contains(id));
    let rules = sets.flat_map(|(_, set)| set.rules.iter());
    let mut said: BTreeSet<String> = rules.flat_map(|rule| of_rule(table, plane, rule)).collect();
    for key in table.qualities.keys() {
        let name = table.name_of(*key).map_or("", |name| &**name);
        let what = format!("what `{name}` sends is neither queued, marked nor held to a rate");
        said.insert(cannot(&what, plane));
    }
    for name in table.protections.keys() {
        said.insert(cannot(&format!("the host protection policy `{name}` protects nobody"), plane));
    }
    said.into_iter().collect()
}

fn cannot(what: &str, plane: &str) -> String {
    format!("{what}: the data plane `{plane}` cannot do that")
}

/// The verdict of a data plane that cannot send packets through services.
pub fn without_services(verdict: Verdict) -> Verdict {
    if verdict.action != Action::Redirect {
        return verdict;
    }
    let reason = Reason::RedirectUnsupported;
    Verdict { action: Action::Deny, reason, stateful: false, ..verdict }
}

fn of_rule(table: &Table, plane: &str, rule: &Rule) -> Vec<String> {
    let service = || {
        let service = rule.treatment.service.and_then(|id| table.services.get(&id));
        service.map_or("", |service| &*service.name)
    };
    let cannot = |what: &str| cannot(what, plane);
    if rule.action == Action::Redirect {
        return vec![cannot(&format!("what is to go through `{}` is dropped", service()))];
    }
    if rule.action != Action::Permit {
        return Vec::new();
    }
    let copies = rule
        .treatment
        .service
        .map(|_| cannot(&format!("what is to be copied to `{}` passes without a copy", service())));
    let queues = rule.treatment.class.map(|class| {
        cannot(&format!("what is of class `level{class}` passes like everything else"))
    });
    let marks = rule
        .treatment
        .dscp
        .map(|dscp| cannot(&format!("what is to be marked with dscp {dscp} passes as it is")));
    [copies, queues, marks].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use selvage_rules::{
        ClassId, GroupKey, Match, PairKey, Protection, Quality, RuleId, RuleSet, RuleSetId,
        ScopeId, Service, ServiceId, Treatment,
    };

    use super::*;

    fn rule(id: u32, action: Action, treatment: Treatment) -> Rule {
        let (matches, reason) = (Match::EVERYTHING, Reason::Contract);
        let (stateful, log) = (false, false);
        Rule { id: RuleId(id), priority: 1, matches, action, reason, stateful, log, treatment }
    }

    #[test]
    fn what_is_not_done_is_said_once() {
        let mut table = Table::default();
        let service = Some(ServiceId(1));
        let named = Service { name: "firewall".into(), ..Service::default() };
        table.services.insert(ServiceId(1), named);
        let through = Treatment { service, ..Treatment::default() };
        let all = Treatment { service, class: Some(3), dscp: Some(46) };
        let rules = vec![
            rule(1, Action::Redirect, through),
            rule(2, Action::Redirect, through),
            rule(3, Action::Permit, all),
            rule(4, Action::Deny, Treatment::default()),
        ];
        let id = RuleSetId(1);
        table.rule_sets.insert(id, Arc::new(RuleSet::new(id, rules)));
        assert!(untreated(&table, "ebpf").is_empty(), "nobody is under those rules");
        table.protections.insert("uni/tn-t/hpp".into(), Protection::default());
        table
            .qualities
            .insert(GroupKey { scope: ScopeId(1), class: ClassId(16) }, Quality::default());
        let key = PairKey { scope: ScopeId(1), src: ClassId(16), dst: ClassId(17) };
        table.pairs.insert(key, id);
        let said = untreated(&table, "ebpf");
        assert_eq!(said.len(), 6, "{said:?}");
        for part in [
            "through `firewall` is dropped",
            "copied to `firewall`",
            "level3",
            "dscp 46",
            "a rate",
            "`uni/tn-t/hpp`",
        ] {
            assert!(said.iter().any(|text| text.contains(part)), "{part}: {said:?}");
        }
    }
}
