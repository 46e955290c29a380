//! What narrows a contract to some of the pairs that use it: labels, exceptions, masters, imports.

use selvage_policy::trace::{self, Why};
use selvage_policy::{Numbers, compile};

use super::world::{check, problems, tree, with_groups};

/// `web` consumes and `db` and `app` provide contract `c`, with subjects `http` and `sql`.
fn with_contract(more: &str) -> String {
    with_groups(&format!(
        "flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http
         flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
         brc-c/subj-http/rssubjFiltAtt-http
         brc-c/subj-sql/rssubjFiltAtt-sql
         ap-a/epg-web/rscons-c
         ap-a/epg-db/rsprov-c
         ap-a/epg-app/rsprov-c
         {more}"
    ))
}

#[test]
fn labels_on_relations_choose_between_providers() {
    check(
        &with_contract(
            "ap-a/epg-db/rsprov-c/provlbl-gold
             ap-a/epg-web/rscons-c/conslbl-gold",
        ),
        "web db tcp/80: contract http
         db web tcp/49152@80: contract http
         web app tcp/80: no-contract
         app web tcp/49152@80: no-contract",
    );
}

#[test]
fn the_nearest_miss_says_that_labels_leave_a_pair_out() {
    let policy = with_contract("ap-a/epg-db/rsprov-c/provlbl-gold");
    let tree = tree(&policy);
    let compiled = compile(&tree, &mut Numbers::default());
    let place = |name: &str| trace::find(&tree, name).unwrap();
    let flow = trace::parse_flow("tcp/80").unwrap().0;
    let traced = trace::trace(&compiled, &place("web"), &place("db"), flow, None);
    assert_eq!(traced.forward.misses[0].why, Why::LeftOut);
    assert_eq!(
        traced.forward.misses[0].text,
        "contract c allows tcp/80, but its labels, exceptions, scope or service graph leave out web \
         and db",
    );
}

#[test]
fn a_consumer_without_labels_does_not_match_a_provider_that_has_some() {
    check(
        &with_contract("ap-a/epg-db/rsprov-c/provlbl-gold"),
        "web db tcp/80: no-contract
         web app tcp/80: contract http",
    );
}

#[test]
fn labels_of_a_group_count_for_each_of_its_contracts() {
    check(
        &with_contract(
            "ap-a/epg-db/provlbl-gold
             ap-a/epg-web/rscons-c/conslbl-gold",
        ),
        "web db tcp/80: contract http
         web app tcp/80: no-contract",
    );
}

#[test]
fn the_match_type_is_the_providers() {
    let policy = |more: &str| {
        with_contract(&format!(
            "ap-a/epg-db/rsprov-c/provlbl-gold
             ap-a/epg-db/rsprov-c/provlbl-silver
             ap-a/epg-web/rscons-c/conslbl-gold
             {more}"
        ))
    };
    check(&policy(""), "web db tcp/80: contract http");
    check(&policy("ap-a/epg-db/rsprov-c matchT=All"), "web db tcp/80: no-contract");
    check(&policy("ap-a/epg-db/rsprov-c matchT=None"), "web db tcp/80: no-contract");
    check(&policy("ap-a/epg-db/rsprov-c matchT=AtmostOne"), "web db tcp/80: contract http");
    let of_group = "ap-a/epg-db matchT=All
                    ap-a/epg-db/provlbl-gold
                    ap-a/epg-db/provlbl-silver
                    ap-a/epg-web/conslbl-gold";
    check(&with_contract(of_group), "web db tcp/80: no-contract");
}

#[test]
fn subject_labels_choose_among_the_subjects_of_a_contract() {
    check(
        &with_contract(
            "brc-c/subj-http/conssubjlbl-public
             brc-c/subj-sql/conssubjlbl-inner
             ap-a/epg-web/rscons-c/conssubjlbl-public",
        ),
        "web db tcp/80: contract http
         db web tcp/49152@80: contract http
         web db tcp/5432: no-contract
         db web tcp/49152@5432: no-contract",
    );
}

#[test]
fn a_provider_can_offer_some_subjects_only() {
    check(
        &with_contract(
            "brc-c/subj-sql/provsubjlbl-inner
             ap-a/epg-db/rsprov-c/provsubjlbl-inner",
        ),
        "web db tcp/80: no-contract
         web db tcp/5432: contract sql
         web app tcp/80: contract http
         web app tcp/5432: no-contract",
    );
}

#[test]
fn a_subject_without_labels_goes_by_its_name() {
    check(
        &with_contract("ap-a/epg-web/rscons-c/conssubjlbl-sql"),
        "web db tcp/5432: contract sql
         web db tcp/80: no-contract",
    );
}

#[test]
fn labels_of_groups_come_before_those_of_subjects() {
    check(
        &with_contract(
            "ap-a/epg-db/rsprov-c/provlbl-gold
             brc-c/subj-http/conssubjlbl-public
             ap-a/epg-web/rscons-c/conssubjlbl-public",
        ),
        "web db tcp/80: no-contract
         web app tcp/80: contract http",
    );
}

#[test]
fn a_deny_in_a_subject_that_is_not_chosen_denies_nothing() {
    let policy = |more: &str| {
        with_contract(&format!(
            "flt-all/e-all etherT=ip
             brc-c/subj-no/rssubjFiltAtt-http action=deny
             brc-c/subj-no/conssubjlbl-no
             brc-c/subj-all/rssubjFiltAtt-all
             brc-c/subj-all/conssubjlbl-yes
             ap-a/epg-web/rscons-c/conssubjlbl-yes
             {more}"
        ))
    };
    check(&policy(""), "web db tcp/80: contract all");
    check(&policy("ap-a/epg-web/rscons-c/conssubjlbl-no"), "web db tcp/80: denied http");
}

#[test]
fn an_exception_takes_pairs_out_of_a_contract() {
    check(
        &with_contract("brc-c/excp-x field=EPg consRegex=w.* provRegex=db"),
        "web db tcp/80: no-contract
         db web tcp/49152@80: no-contract
         web app tcp/80: contract http
         web app tcp/5432: contract sql",
    );
}

#[test]
fn an_exception_has_to_match_the_whole_name_on_both_sides() {
    check(
        &with_contract("brc-c/excp-x field=EPg consRegex=we provRegex=.*"),
        "web db tcp/80: contract http",
    );
    check(
        &with_contract("brc-c/excp-x field=EPg consRegex=web provRegex=none"),
        "web db tcp/80: contract http",
    );
}

#[test]
fn an_exception_of_a_subject_leaves_the_others() {
    check(
        &with_contract("brc-c/subj-sql/excp-x field=EPg consRegex=web provRegex=db"),
        "web db tcp/80: contract http
         web db tcp/5432: no-contract
         web app tcp/5432: contract sql",
    );
}

#[test]
fn an_exception_looks_at_tenant_vrf_dn_or_tag() {
    for (field, consumer, provider, holds) in [
        ("Tenant", "t", "t", false),
        ("Tenant", "common", "t", true),
        ("Ctx", "v", "v", false),
        ("Ctx", "v", "w", true),
        ("Dn", "uni/tn-t/ap-a/epg-web", "uni/tn-t/ap-a/epg-.*", false),
        ("Dn", "web", ".*", true),
        ("Tag", "red", "green", false),
        ("Tag", "green", "red", true),
    ] {
        let exception =
            format!("brc-c/excp-x field={field} consRegex={consumer} provRegex={provider}");
        let policy = with_contract(&format!(
            "ap-a/epg-web/tag-red
             ap-a/epg-db exceptionTag=green
             {exception}"
        ));
        let expected = if holds { "contract http" } else { "no-contract" };
        check(&policy, &format!("web db tcp/80: {expected}"));
    }
}

#[test]
fn an_expression_that_cannot_be_read_closes_its_side() {
    let policy = with_contract("brc-c/excp-x field=EPg consRegex=([ provRegex=db");
    check(
        &policy,
        "web db tcp/80: no-contract
         web app tcp/80: contract http",
    );
    assert_eq!(problems(&policy), ["brc-c/excp-x bad-exception"]);
    let empty = with_contract("brc-c/excp-x field=EPg provRegex=db");
    check(&empty, "web db tcp/80: no-contract");
    assert_eq!(problems(&empty), ["brc-c/excp-x bad-exception"]);
}

/// `heir` is a further group in the bridge domain of `web`.
fn with_heir(more: &str) -> String {
    with_contract(&format!("ap-a/epg-heir/rsbd tnFvBDName=b\n{more}"))
}

#[test]
fn a_group_has_the_contracts_of_its_masters() {
    check(
        &with_heir("ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-web]"),
        "heir db tcp/80: contract http
         db heir tcp/49152@80: contract http
         heir web tcp/80: no-contract",
    );
    check(
        &with_heir("ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-db]"),
        "web heir tcp/80: contract http
         heir db tcp/80: no-contract",
    );
}

#[test]
fn labels_of_a_masters_relations_are_inherited_too() {
    check(
        &with_heir(
            "ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-web]
             ap-a/epg-db/rsprov-c/provlbl-gold
             ap-a/epg-web/rscons-c/conslbl-gold",
        ),
        "heir db tcp/80: contract http
         heir app tcp/80: no-contract",
    );
}

#[test]
fn what_a_master_inherits_is_not_inherited_on() {
    let policy = with_heir(
        "ap-a/epg-last/rsbd tnFvBDName=b
         ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-web]
         ap-a/epg-last/rssecInherited-[uni/tn-t/ap-a/epg-heir]",
    );
    check(
        &policy,
        "heir db tcp/80: contract http
         last db tcp/80: no-contract",
    );
    let chain = "ap-a/epg-last/rssecInherited-[uni/tn-t/ap-a/epg-heir] bad-master";
    assert_eq!(problems(&policy), [chain]);
}

#[test]
fn masters_that_make_a_ring_hand_on_their_own_contracts_only() {
    let policy = with_heir(
        "ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-web]
         ap-a/epg-web/rssecInherited-[uni/tn-t/ap-a/epg-heir]",
    );
    check(&policy, "heir db tcp/80: contract http");
    assert_eq!(
        problems(&policy),
        [
            "ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-web] bad-master",
            "ap-a/epg-web/rssecInherited-[uni/tn-t/ap-a/epg-heir] bad-master",
        ],
    );
}

#[test]
fn a_master_is_of_the_same_tenant_and_kind() {
    let policy = with_heir(
        "uni/tn-common/ap-a/epg-far/rsbd tnFvBDName=default
         uni/tn-common/BD-default/rsctx
         uni/tn-common/ctx-default
         out-o/rsectx tnFvCtxName=v
         out-o/instP-net/rscons-c
         ap-a/epg-heir/rssecInherited-[uni/tn-common/ap-a/epg-far]
         ap-a/epg-heir/rssecInherited-[uni/tn-t/out-o/instP-net]
         ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-heir]",
    );
    check(&policy, "heir db tcp/80: no-contract");
    assert_eq!(
        problems(&policy),
        [
            "ap-a/epg-heir/rssecInherited-[uni/tn-common/ap-a/epg-far] bad-master",
            "ap-a/epg-heir/rssecInherited-[uni/tn-t/ap-a/epg-heir] bad-master",
            "ap-a/epg-heir/rssecInherited-[uni/tn-t/out-o/instP-net] bad-master",
        ],
    );
}

/// `near` provides a contract of tenant `u` in a VRF of tenant `common`; `far` of tenant `t` consumes
/// it by an import.
fn with_import(scope: &str, more: &str) -> String {
    format!(
        "uni/tn-common/ctx-v
         uni/tn-common/BD-b/rsctx tnFvCtxName=v
         uni/tn-u/flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http
         uni/tn-u/brc-c scope={scope}
         uni/tn-u/brc-c/subj-s/rssubjFiltAtt-http
         uni/tn-u/ap-a/epg-near/rsbd tnFvBDName=b
         uni/tn-u/ap-a/epg-near/rsprov-c
         ap-a/epg-far/rsbd tnFvBDName=b
         ap-a/epg-far/rsconsIf-i
         {more}"
    )
}

#[test]
fn an_imported_contract_is_consumed_under_the_name_it_has_there() {
    let import = "cif-i/rsif tDn=uni/tn-u/brc-c";
    check(
        &with_import("global", import),
        "far near tcp/80: contract http
         near far tcp/49152@80: contract http
         near far tcp/80: no-contract",
    );
    check(&with_import("context", import), "far near tcp/80: contract http");
    check(&with_import("tenant", import), "far near tcp/80: no-contract");
    check(&with_import("application-profile", import), "far near tcp/80: no-contract");
}

#[test]
fn an_import_that_leads_nowhere_consumes_nothing() {
    let nothing = with_import("global", "cif-i");
    check(&nothing, "far near tcp/80: no-contract");
    assert_eq!(problems(&nothing), ["ap-a/epg-far/rsconsIf-i empty-import"]);
    check(&with_import("global", ""), "far near tcp/80: no-contract");
    check(
        &with_import("global", "cif-i/rsif tDn=uni/tn-u/brc-none"),
        "far near tcp/80: no-contract",
    );
}

#[test]
fn a_security_group_has_the_contracts_of_its_master_and_labels_of_its_own() {
    let policy = |more: &str| {
        with_groups(&format!(
            "flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http
             brc-c/subj-http/rssubjFiltAtt-http
             ap-a/esg-one/rsscope tnFvCtxName=v
             ap-a/esg-two/rsscope tnFvCtxName=v
             ap-a/esg-far/rsscope tnFvCtxName=v
             ap-a/esg-one/rscons-c
             ap-a/esg-far/rsprov-c
             ap-a/esg-two/rssecInherited-[uni/tn-t/ap-a/esg-one]
             {more}"
        ))
    };
    check_members(
        &policy(""),
        &[("one", "far", true), ("two", "far", true), ("one", "two", false)],
    );
    let labelled = policy("ap-a/esg-far/provlbl-gold\nap-a/esg-one/conslbl-gold");
    check_members(&labelled, &[("one", "far", true), ("two", "far", true)]);
    let closed = policy("ap-a/esg-far/provlbl-gold");
    check_members(&closed, &[("one", "far", false), ("two", "far", false)]);
}

/// Whether `tcp/80` passes between security groups.
#[track_caller]
fn check_members(policy: &str, pairs: &[(&str, &str, bool)]) {
    let compiled = compile(&tree(policy), &mut Numbers::default());
    let group = |name: &str| format!("uni/tn-t/ap-a/esg-{name}").parse().unwrap();
    let packet = super::world::packet("tcp/80", false);
    for (from, to, expected) in pairs {
        let verdict = trace::verdict(&compiled, &group(from), &group(to), &packet);
        assert_eq!(verdict.reason.is_allow(), *expected, "{from} {to} {:?}", compiled.problems);
    }
}
