//! All groups of a VRF at once: vzAny, and the preferred group.
//!
//! Cited: Cisco ACI Contract Guide, *vzAny*, *Preferred group* and *Contract priorities*.

use super::world::{check, compiled, problems, with_groups};

const HTTP: &str = "
    flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http
    brc-http/subj-s/rssubjFiltAtt-http
";

/// External groups: `net` of a prefix, `world` of the rest.
const OUTSIDE: &str = "
    out-o/rsectx tnFvCtxName=v
    out-o/instP-net/extsubnet-[192.0.2.0/24]
    out-o/instP-world/extsubnet-[0.0.0.0/0]
";

#[test]
fn any_as_consumer_lets_every_group_ask_the_provider_and_hear_it() {
    check(
        &with_groups(&format!(
            "{HTTP}{OUTSIDE}
             ctx-v/any/rsanyToCons-http
             ap-a/epg-db/rsprov-http"
        )),
        "web db tcp/80: contract http
         web db tcp/80 -6: contract http
         app db tcp/80: contract http
         db app tcp/49152@80: contract http
         net db tcp/80: contract http
         world db tcp/80: contract http
         db world tcp/49152@80: contract http
         web app tcp/80: no-contract
         web db tcp/22: no-contract
         db web tcp/80: no-contract
         db db tcp/80: intra-group",
    );
}

#[test]
fn any_as_provider_lets_the_consumer_ask_every_group() {
    check(
        &with_groups(&format!(
            "{HTTP}{OUTSIDE}
             ctx-v/any/rsanyToProv-http
             ap-a/epg-web/rscons-http"
        )),
        "web db tcp/80: contract http
         web app tcp/80: contract http
         web world tcp/80: contract http
         world web tcp/49152@80: contract http
         db web tcp/80: no-contract
         app db tcp/80: no-contract",
    );
}

#[test]
fn any_on_both_sides_is_everybody_with_everybody_but_not_two_outside() {
    check(
        &with_groups(&format!(
            "{HTTP}{OUTSIDE}
             ctx-v/any/rsanyToProv-http
             ctx-v/any/rsanyToCons-http"
        )),
        "web db tcp/80: contract http
         db web tcp/80: contract http
         net app tcp/80: contract http
         web db tcp/22: no-contract
         net world tcp/80: unknown-destination",
    );
}

#[test]
fn any_is_never_expanded() {
    let mut policy = with_groups(&format!("{HTTP}\nctx-v/any/rsanyToProv-http"));
    policy += "\nctx-v/any/rsanyToCons-http";
    for i in 0..20 {
        policy += &format!("\nap-a/epg-c{i}/rsbd tnFvBDName=b");
    }
    let table = compiled(&policy).table;
    assert_eq!(table.groups.len(), 23);
    // Each group with itself, and any with any.
    assert_eq!(table.pairs.len(), 24);
}

#[test]
fn any_covers_only_its_own_vrf() {
    check(
        &with_groups(&format!(
            "{HTTP}
             ctx-other
             BD-o/rsctx tnFvCtxName=other
             ap-a/epg-far/rsbd tnFvBDName=o
             ap-a/epg-farther/rsbd tnFvBDName=o
             ctx-v/any/rsanyToProv-http
             ctx-v/any/rsanyToCons-http"
        )),
        "far farther tcp/80: no-contract
         web far tcp/80: unknown-destination",
    );
}

#[test]
fn the_more_specific_pair_ranks_before_any_and_the_sender_before_the_receiver() {
    // Each of four contracts says something about ssh; the deny of the more general pair loses.
    let deny = |more: &str| {
        with_groups(&format!(
            "flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
             brc-no/subj-s/rssubjFiltAtt-ssh action=deny
             brc-yes/subj-s/rssubjFiltAtt-ssh
             {more}"
        ))
    };
    // fully_qual 7 before any_dest_filter 14.
    let pair = "ctx-v/any/rsanyToCons-no
         ap-a/epg-db/rsprov-no
         ap-a/epg-db/rsprov-yes
         ap-a/epg-web/rscons-yes";
    check(&deny(pair), "web db tcp/22: contract ssh\napp db tcp/22: denied ssh");
    // src_any_filter 13 before any_dest_filter 14: the naive reading takes them for equals, and
    // lets the deny win.
    let ends = "ctx-v/any/rsanyToCons-no
         ap-a/epg-db/rsprov-no
         ctx-v/any/rsanyToProv-yes
         ap-a/epg-web/rscons-yes";
    check(&deny(ends), "web db tcp/22: contract ssh\napp db tcp/22: denied ssh");
    // any_dest_filter 14 before any_any_filter 17.
    let all = "ctx-v/any/rsanyToCons-no
         ctx-v/any/rsanyToProv-no
         ctx-v/any/rsanyToCons-yes
         ap-a/epg-db/rsprov-yes";
    check(&deny(all), "web db tcp/22: contract ssh\nweb app tcp/22: denied ssh");
}

#[test]
fn a_deny_wins_among_equals_whichever_pair_it_is_of() {
    // priorityOverride level3 is 7, level2 13, level1 17: among equals deny wins, though the naive
    // lookup finds the more specific pair's permit first.
    let policy = |level: &str| {
        with_groups(&format!(
            "flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
             brc-no/subj-s/rssubjFiltAtt-ssh action=deny priorityOverride={level}
             brc-yes/subj-s/rssubjFiltAtt-ssh
             ctx-v/any/rsanyToCons-no
             ap-a/epg-db/rsprov-no
             ap-a/epg-db/rsprov-yes
             ap-a/epg-web/rscons-yes
             brc-all/subj-s/rssubjFiltAtt-ssh
             ctx-v/any/rsanyToProv-all
             ap-a/epg-app/rscons-all"
        ))
    };
    check(&policy("level3"), "web db tcp/22: denied ssh\napp db tcp/22: denied ssh");
    check(&policy("level2"), "web db tcp/22: contract ssh\napp db tcp/22: denied ssh");
    check(&policy("level1"), "web db tcp/22: contract ssh\napp db tcp/22: contract ssh");
}

#[test]
fn a_filter_that_looks_at_something_ranks_before_one_that_does_not_even_between_general_pairs() {
    // src_any_any 15 loses to any_dest_filter 14.
    check(
        &with_groups(
            "flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
             flt-all/e-all
             brc-no/subj-s/rssubjFiltAtt-ssh action=deny
             brc-yes/subj-s/rssubjFiltAtt-all
             ctx-v/any/rsanyToCons-no
             ap-a/epg-db/rsprov-no
             ctx-v/any/rsanyToProv-yes
             ap-a/epg-web/rscons-yes",
        ),
        "web db tcp/22: denied ssh
         web db tcp/23: contract all
         web app tcp/22: contract all",
    );
}

#[test]
fn a_contract_of_profiles_counts_for_any_within_each_profile() {
    check(
        &with_groups(&format!(
            "{HTTP}
             brc-http scope=application-profile
             ap-b/epg-other/rsbd tnFvBDName=b
             ctx-v/any/rsanyToCons-http
             ap-a/epg-db/rsprov-http"
        )),
        "web db tcp/80: contract http
         other db tcp/80: no-contract",
    );
}

#[test]
fn nobody_offers_what_any_uses_is_said() {
    let policy = with_groups(&format!("{HTTP}\nctx-v/any/rsanyToCons-http"));
    assert_eq!(problems(&policy), ["ctx-v/any/rsanyToCons-http no-provider"]);
}

#[test]
fn an_unenforced_vrf_needs_no_any() {
    check(
        &with_groups(&format!(
            "{HTTP}
             ctx-v pcEnfPref=unenforced
             brc-http/subj-s/rssubjFiltAtt-http action=deny
             ctx-v/any/rsanyToCons-http
             ctx-v/any/rsanyToProv-http"
        )),
        "web db tcp/80: unenforced",
    );
}

const PREFERRED: &str = "
    ctx-v/any prefGrMemb=enabled
    ap-a/epg-web prefGrMemb=include
    ap-a/epg-db prefGrMemb=include
";

#[test]
fn the_preferred_group_talks_freely_and_nobody_else_does() {
    check(
        &with_groups(&format!("{HTTP}{PREFERRED}\n{OUTSIDE}\nout-o/instP-net prefGrMemb=include")),
        "web db tcp/22: preferred-group
         db web icmp6 -6: preferred-group
         web db arp: preferred-group
         web net udp/53: preferred-group
         net web udp/53: preferred-group
         web app tcp/22: denied
         app web tcp/22: denied
         app app tcp/22: intra-group
         world web tcp/80: denied
         web world tcp/80: denied",
    );
}

#[test]
fn a_preferred_group_that_is_off_or_unenforced_is_none() {
    let include = "ap-a/epg-web prefGrMemb=include\nap-a/epg-db prefGrMemb=include";
    check(&with_groups(include), "web db tcp/22: no-contract");
    check(
        &with_groups(&format!("{PREFERRED}\nctx-v pcEnfPref=unenforced")),
        "web app tcp/22: unenforced",
    );
}

#[test]
fn contracts_rank_before_the_preferred_group_on_either_side_of_its_fence() {
    check(
        &with_groups(&format!(
            "{HTTP}{PREFERRED}
             flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
             brc-no/subj-s/rssubjFiltAtt-ssh action=deny
             ap-a/epg-db/rsprov-no
             ap-a/epg-web/rscons-no
             ap-a/epg-db/rsprov-http
             ap-a/epg-app/rscons-http"
        )),
        "web db tcp/22: denied ssh
         web db tcp/23: preferred-group
         app db tcp/80: contract http
         app db tcp/81: denied",
    );
}

#[test]
fn everything_for_any_does_not_reach_those_that_are_not_preferred() {
    // any_any_any 21 ranks behind grp_src_any_any_deny 18, where one entry that looks at something
    // would not (any_any_filter 17).
    let policy = |entry: &str| {
        with_groups(&format!(
            "{PREFERRED}
             flt-f/e-f {entry}
             brc-c/subj-s/rssubjFiltAtt-f
             ctx-v/any/rsanyToProv-c
             ctx-v/any/rsanyToCons-c"
        ))
    };
    check(&policy(""), "web app tcp/22: denied\nweb db tcp/22: preferred-group");
    check(&policy("etherT=ip prot=tcp"), "web app tcp/22: contract f\nweb app udp/22: denied");
}

#[test]
fn a_default_prefix_cannot_be_preferred() {
    let policy = with_groups(&format!(
        "{PREFERRED}{OUTSIDE}
         out-o/instP-world prefGrMemb=include
         out-o/instP-world/extsubnet-[198.51.100.0/24]"
    ));
    assert_eq!(problems(&policy), ["out-o/instP-world not-preferred"]);
    // Its other prefixes are.
    check(&policy, "web world tcp/80: preferred-group");
}
