//! What passes inside a group, and what must never reach it: isolation, contracts inside a group,
//! taboo contracts.
//!
//! Cited: Cisco ACI Contract Guide, *Intra EPG isolation*, *Intra EPG contract*, *Taboo contracts*.

use super::world::{check, compiled, problems, with_groups};

const HTTP: &str = "
    flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http
    brc-http/subj-s/rssubjFiltAtt-http
";

#[test]
fn a_contract_inside_a_group_is_all_that_passes_there_both_ways() {
    check(
        &with_groups(&format!(
            "{HTTP}
             ap-a/epg-web/rsintraEpg-http"
        )),
        "web web tcp/80: contract http
         web web tcp/80 -6: contract http
         web web tcp/49152@80: contract http
         web web tcp/22: denied
         web web arp: denied
         db db tcp/22: intra-group
         web db tcp/80: no-contract",
    );
}

#[test]
fn an_isolated_group_with_a_contract_inside_has_what_the_contract_says() {
    // class-eq-filter 1 ranks before class-eq-deny 2, which is all that isolation is.
    for more in ["pcEnfPref=enforced", "pcEnfPref=enforced fwdCtrl=proxy-arp"] {
        check(
            &with_groups(&format!(
                "{HTTP}
                 ap-a/epg-web {more}
                 ap-a/epg-web/rsintraEpg-http"
            )),
            "web web tcp/80: contract http
             web web tcp/22: denied",
        );
    }
}

#[test]
fn proxy_arp_opens_nothing_in_an_isolated_group() {
    let policy = with_groups("ap-a/epg-web pcEnfPref=enforced fwdCtrl=proxy-arp");
    check(&policy, "web web tcp/80: denied\nweb web arp: denied");
}

#[test]
fn a_deny_inside_a_group_is_a_deny_whatever_its_rank() {
    for more in ["", "priorityOverride=level1"] {
        check(
            &with_groups(&format!(
                "flt-all/e-all
                 flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
                 brc-c/subj-s/rssubjFiltAtt-all
                 brc-c/subj-s/rssubjFiltAtt-ssh action=deny {more}
                 ap-a/epg-web/rsintraEpg-c"
            )),
            "web web tcp/22: denied ssh
             web web tcp/23: contract all",
        );
    }
}

#[test]
fn a_contract_inside_a_group_that_does_not_exist_closes_it() {
    let policy = with_groups("ap-a/epg-web/rsintraEpg-none");
    check(&policy, "web web tcp/80: denied\ndb db tcp/80: intra-group");
    let planned = with_groups("ap-a/epg-web/rsintraEpg-none intent=estimate_add");
    check(&planned, "web web tcp/80: intra-group");
}

#[test]
fn a_contract_between_groups_says_nothing_inside_one() {
    check(
        &with_groups(&format!(
            "{HTTP}
             brc-http/subj-s/rssubjFiltAtt-http action=deny
             ap-a/epg-web/rsprov-http
             ap-a/epg-web/rscons-http
             ctx-v/any/rsanyToCons-http"
        )),
        "web web tcp/80: intra-group
         db web tcp/80: denied http",
    );
}

#[test]
fn external_groups_have_an_inside_too() {
    let policy = with_groups(&format!(
        "{HTTP}
         out-o/rsectx tnFvCtxName=v
         out-o/instP-net/extsubnet-[192.0.2.0/24]
         out-o/instP-net/rsintraEpg-http"
    ));
    // But no packet between two addresses outside comes by here.
    check(&policy, "net net tcp/80: unknown-destination");
    assert_eq!(problems(&policy), [""; 0]);
}

const TABOO: &str = "
    flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
    taboo-t/tsubj-s/rsdenyRule-ssh
    ap-a/epg-db/rsprotBy-t
    flt-ip/e-ip etherT=ip
    brc-c/subj-s/rssubjFiltAtt-ip
    ap-a/epg-db/rsprov-c
    ap-a/epg-web/rscons-c
";

#[test]
fn a_taboo_denies_what_contracts_permit_toward_the_group_and_only_that_way() {
    check(
        &with_groups(TABOO),
        "web db tcp/22: denied ssh
         web db tcp/22 -6: denied ssh
         web db tcp/23: contract ip
         db web tcp/22: contract ip
         db web tcp/49152@22: contract ip
         app db tcp/22: denied ssh
         app db tcp/23: no-contract
         db db tcp/22: intra-group",
    );
}

#[test]
fn no_permit_ranks_before_a_taboo() {
    check(
        &with_groups(&format!(
            "{TABOO}
             ctx-v/any prefGrMemb=enabled
             ap-a/epg-db prefGrMemb=include
             ap-a/epg-app prefGrMemb=include
             brc-s/subj-s/rssubjFiltAtt-ssh
             ap-a/epg-db/rsprov-s
             ap-a/epg-web/rscons-s"
        )),
        "web db tcp/22: denied ssh
         app db tcp/22: denied ssh
         app db tcp/23: preferred-group",
    );
}

#[test]
fn a_taboo_logs_if_it_says_so() {
    let policy = with_groups(&format!("{TABOO}\ntaboo-t/tsubj-s/rsdenyRule-ssh directives=log"));
    let table = compiled(&policy).table;
    let logged = table.rule_sets.values().flat_map(|set| &set.rules).filter(|rule| rule.log);
    assert_eq!(logged.map(|rule| rule.priority).collect::<Vec<_>>(), [5]);
}

#[test]
fn a_taboo_of_which_something_is_missing_closes_the_group_to_others() {
    for more in [
        "ap-a/epg-db/rsprotBy-none",
        "taboo-t/tsubj-s/rsdenyRule-none",
        "flt-ssh/e-broken prot=tcp dFromPort=1",
    ] {
        let policy = with_groups(&format!("{TABOO}\n{more}"));
        check(
            &policy,
            "web db tcp/23: denied
             db web tcp/23: contract ip
             db db tcp/23: intra-group",
        );
        let found = problems(&policy);
        assert!(found.iter().any(|p| p.ends_with("broken-deny")), "{found:?}");
    }
}

#[test]
fn a_vrf_that_enforces_nothing_has_no_taboos_and_no_insides() {
    let policy = with_groups(&format!(
        "{TABOO}
         ctx-v pcEnfPref=unenforced
         ap-a/epg-web/rsintraEpg-c"
    ));
    check(&policy, "web db tcp/22: unenforced\nweb web arp: unenforced");
    assert_eq!(problems(&policy), ["ap-a/epg-web not-isolated"]);
}
