//! Numbers stay what they are while names do.

use selvage_policy::front::computed;
use selvage_policy::number::{Change, Row};
use selvage_policy::{Numbers, compile};

use super::world::{tree, with_groups};

const SQL: &str = "
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
    brc-sql/subj-s/rssubjFiltAtt-sql
    ap-a/epg-web/rscons-sql
    ap-a/epg-db/rsprov-sql
";

#[test]
fn an_unrelated_edit_changes_no_number() {
    let mut numbers = Numbers::default();
    let before = compile(&tree(&with_groups(SQL)), &mut numbers).table;
    let more = with_groups(&format!(
        "{SQL}
         BD-a/rsctx tnFvCtxName=v
         ap-a/epg-aaa/rsbd tnFvBDName=a
         flt-aaa/e-aaa
         brc-aaa/subj-s/rssubjFiltAtt-aaa
         ap-a/epg-aaa/rscons-aaa
         ap-a/epg-db/rsprov-aaa"
    ));
    let after = compile(&tree(&more), &mut numbers).table;
    for (key, group) in &before.groups {
        assert_eq!(after.groups.get(key), Some(group));
    }
    for (pair, set) in &before.pairs {
        assert_eq!(after.pairs.get(pair), Some(set));
        assert_eq!(after.rule_sets.get(set), before.rule_sets.get(set));
    }
    for (id, bd) in &before.bridge_domains {
        assert_eq!(after.bridge_domains.get(id), Some(bd));
    }
    assert_eq!(compile(&tree(&with_groups(SQL)), &mut numbers).table, before);
}

#[test]
fn a_changed_entry_keeps_its_rules_and_gets_new_rule_sets() {
    let mut numbers = Numbers::default();
    let before = compile(&tree(&with_groups(SQL)), &mut numbers).table;
    let after = compile(&tree(&with_groups(&SQL.replace("5432", "3306"))), &mut numbers).table;
    assert_eq!(before.origins, after.origins);
    let changed: Vec<_> = before.pairs.iter().filter(|(k, set)| after.pairs[*k] != **set).collect();
    assert_eq!(changed.len(), 2);
    for (_, set) in changed {
        assert!(!after.rule_sets.contains_key(set));
    }
}

#[test]
fn a_restart_changes_no_number() {
    let mut numbers = Numbers::default();
    let mut stored: Vec<Row> = Vec::new();
    for policy in [with_groups(SQL), with_groups(""), with_groups(&SQL.replace("5432", "1"))] {
        compile(&tree(&policy), &mut numbers);
        for change in numbers.drain_changes() {
            let slot = match &change {
                Change::Put(row) => &row.slot,
                Change::Delete(slot) => slot,
            };
            stored.retain(|row| row.slot != *slot);
            if let Change::Put(row) = change {
                stored.push(row);
            }
        }
    }
    let mut restored = Numbers::restore(stored).unwrap();
    let policy = tree(&with_groups(SQL));
    assert_eq!(compile(&policy, &mut restored), compile(&policy, &mut numbers));
    assert_eq!(restored.drain_changes(), numbers.drain_changes());
}

#[test]
fn the_tree_shows_the_numbers() {
    let compiled = compile(&tree(&with_groups("")), &mut Numbers::default());
    let shown = computed(&compiled.table);
    let value = |dn: &str, prop: &str| {
        shown.iter().find(|c| &*c.dn == dn && c.prop == prop).map(|c| c.value.as_str())
    };
    assert_eq!(value("uni/tn-t/ctx-v", "scope"), Some("1"));
    assert_eq!(value("uni/tn-t/BD-b", "seg"), Some("2"));
    assert_eq!(value("uni/tn-t/BD-b", "scope"), Some("1"));
    assert_eq!(value("uni/tn-t/ap-a/epg-app", "pcTag"), Some("16386"));
}
