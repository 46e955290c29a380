//! Lint, against asking every pair about every packet.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use selvage_model::Dn;
use selvage_policy::compile::Compiled;
use selvage_policy::lint::{Code, Finding, lint};
use selvage_policy::{Numbers, compile, trace};
use selvage_rules::{Action, Packet, RuleId, RuleSet, Verdict};

use super::generated::policy;
use super::planning::atoms;
use super::world::{tree, with_groups};

/// Subject and entry.
type Clause = (String, String);

fn silent(found: &[Finding], codes: &[Code]) -> BTreeSet<Clause> {
    let about = found.iter().filter(|finding| codes.contains(&finding.code));
    about.map(|f| (f.subject.clone().unwrap(), f.dn.to_string())).collect()
}

fn clause(compiled: &Compiled, rule: RuleId) -> Option<Clause> {
    let origin = &compiled.table.origins[&rule];
    (!origin.entry.is_empty()).then(|| (origin.dn.to_string(), origin.entry.to_string()))
}

fn without(compiled: &Compiled, gone: &BTreeSet<Clause>) -> Compiled {
    let mut less = compiled.clone();
    for set in less.table.rule_sets.values_mut() {
        let stays = |rule: &&selvage_rules::Rule| {
            !clause(compiled, rule.id).is_some_and(|clause| gone.contains(&clause))
        };
        let rules = set.rules.iter().filter(stays).cloned().collect();
        *set = Arc::new(RuleSet { id: set.id, rules });
    }
    less
}

fn every_verdict(compiled: &Compiled, groups: &[Dn], atoms: &[Packet]) -> Vec<Verdict> {
    let pairs = groups.iter().flat_map(|from| groups.iter().map(move |to| (from, to)));
    let ask = |(from, to)| atoms.iter().map(move |p| trace::verdict(compiled, from, to, p));
    pairs.flat_map(ask).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_lint_calls_silent_decides_nothing_and_what_it_calls_redundant_is_not_missed(
        lines in policy(),
    ) {
        let tree = tree(&lines.join("\n"));
        let compiled = compile(&tree, &mut Numbers::default());
        let found = lint(&tree, &compiled);
        let groups: Vec<Dn> = compiled.groups.keys().cloned().collect();
        let atoms = atoms();
        let verdicts = every_verdict(&compiled, &groups, &atoms);
        let deciding: BTreeSet<Clause> =
            verdicts.iter().filter_map(|v| clause(&compiled, v.rule?)).collect();
        let silent_ones = silent(&found, &[Code::Shadowed, Code::NeverMatches]);
        prop_assert_eq!(deciding.intersection(&silent_ones).next(), None);

        let redundant = silent(&found, &[Code::NeverMatches, Code::Redundant]);
        let effect = |v: &Verdict| (v.action, v.stateful && v.action == Action::Permit, v.log);
        let effects = |compiled: &Compiled| -> Vec<_> {
            every_verdict(compiled, &groups, &atoms).iter().map(effect).collect()
        };
        let less = without(&compiled, &redundant);
        let rest = effects(&less);
        let whole: Vec<_> = verdicts.iter().map(effect).collect();
        prop_assert!(whole == rest, "{:#?}", found);

        // Of what is left nothing could go as well.
        let table = &compiled.table;
        let is_live = |scope| table.groups.keys().any(|key| key.scope == scope);
        let live = table.pairs.iter().filter(|(key, _)| is_live(key.scope));
        let used: BTreeSet<Clause> = live
            .flat_map(|(_, id)| &table.rule_sets[id].rules)
            .filter_map(|rule| clause(&compiled, rule.id))
            .collect();
        for one in used.difference(&redundant).filter(|one| !silent_ones.contains(one)) {
            let gone = BTreeSet::from([one.clone()]);
            prop_assert!(effects(&without(&less, &gone)) != rest, "{:?} could go", one);
        }
    }
}

/// What lint finds in a policy: lines `CODE DN`, with `uni/tn-t/` left out.
#[track_caller]
fn check(policy: &str, expected: &[&str]) -> Vec<Finding> {
    let tree = tree(&with_groups(policy));
    let compiled = compile(&tree, &mut Numbers::default());
    let found = lint(&tree, &compiled);
    let line = |f: &Finding| {
        format!("{} {}", f.code.name(), f.dn.as_str().trim_start_matches("uni/tn-t/"))
    };
    assert_eq!(found.iter().map(line).collect::<Vec<_>>(), expected, "{found:#?}");
    found
}

const SQL: &str = "
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432 stateful=yes
    brc-sql/subj-sql/rssubjFiltAtt-sql
    ap-a/epg-db/rsprov-sql
    ap-a/epg-web/rscons-sql
";

#[test]
fn a_tidy_policy_is_left_alone() {
    check(SQL, &[]);
}

#[test]
fn a_permit_behind_a_deny_is_shadowed_and_a_second_permit_redundant() {
    let deny = format!("{SQL}\nbrc-sql/subj-no/rssubjFiltAtt-sql action=deny");
    let found = check(&deny, &["shadowed flt-sql/e-sql"]);
    assert_eq!(found[0].subject.as_deref(), Some("uni/tn-t/brc-sql/subj-sql"));
    let twice = format!(
        "{SQL}\nflt-wide/e-wide etherT=ip prot=tcp dFromPort=5430 dToPort=5440 stateful=yes\n\
         brc-sql/subj-sql/rssubjFiltAtt-wide"
    );
    let found = check(&twice, &["redundant flt-sql/e-sql"]);
    assert_eq!(
        found[0].text,
        "everything would fare the same without entry `sql` in subject `sql/sql`, by entry `wide` in \
         subject `sql/sql`",
    );
    let vain = format!(
        "{SQL}\nflt-no/e-no etherT=ip prot=udp\nbrc-sql/subj-sql/rssubjFiltAtt-no action=deny"
    );
    let found = check(&vain, &["redundant flt-no/e-no"]);
    assert_eq!(found[0].text, "what entry `no` in subject `sql/sql` denies, nothing allows anyway");
}

#[test]
fn arp_between_bridge_domains_never_matches() {
    let arp = "
        flt-arp/e-arp etherT=arp
        brc-arp/subj-arp/rssubjFiltAtt-arp
        ap-a/epg-web/rsprov-arp
        ap-a/epg-app/rscons-arp
    ";
    check(arp, &["never-matches flt-arp/e-arp"]);
}

#[test]
fn what_nobody_uses_is_named() {
    let more = format!(
        "{SQL}
        brc-a/subj-s
        brc-b
        ap-a/epg-db/rsprov-a
        ap-a/epg-web/rscons-b
        brc-c/subj-s/rssubjFiltAtt-sql
        flt-f/e-e"
    );
    let expected = [
        "not-provided brc-b",
        "not-consumed brc-a",
        "no-subject brc-b",
        "no-filter brc-a/subj-s",
        "unused-contract brc-c",
        "unused-filter flt-f",
    ];
    check(&more, &expected);
}

#[test]
fn wide_entries_and_those_that_open_back_are_noted() {
    let wide = SQL.replace("dFromPort=5432 dToPort=5432", "dFromPort=1000 dToPort=5000");
    let found = check(&wide, &["wide flt-sql/e-sql"]);
    assert_eq!(found[0].text, "entry `sql` permits tcp/1000-5000: 4001 ports");
    check(&SQL.replace("prot=tcp dFromPort=5432 dToPort=5432", ""), &["wide flt-sql/e-sql"]);
    let stateless = SQL.replace("stateful=yes", "");
    let found = check(&stateless, &["opens-back flt-sql/e-sql"]);
    assert_eq!(
        found[0].text,
        "entry `sql` is not stateful, so a provider may open connections to its consumers with tcp \
         from port 5432, for one db to web",
    );
    // Nothing opens a connection with ACK set.
    check(&stateless.replace("e-sql etherT=ip", "e-sql tcpRules=est etherT=ip"), &[]);
}
