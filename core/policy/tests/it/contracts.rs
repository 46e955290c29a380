//! What contracts, subjects, filters and entries mean.

use super::world::{check, compiled, with_groups};

const SQL: &str = "
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
    brc-sql/subj-s/rssubjFiltAtt-sql
    ap-a/epg-web/rscons-sql
    ap-a/epg-db/rsprov-sql
";

#[test]
fn a_contract_opens_its_ports_to_the_provider_and_the_answers_back() {
    check(
        &with_groups(SQL),
        "web db tcp/5432: contract sql
         web db tcp/5432 -6: contract sql
         web db tcp/22: no-contract
         web db udp/5432: no-contract
         db web tcp/5432: no-contract
         db web tcp/49152@5432: contract sql
         web app tcp/5432: no-contract
         app db tcp/5432: no-contract",
    );
}

#[test]
fn without_a_contract_only_a_group_talks_to_itself() {
    check(
        &with_groups(""),
        "web web tcp/80: intra-group
         web db tcp/80: no-contract
         web db icmp: no-contract
         web db arp: no-contract",
    );
}

#[test]
fn an_isolated_group_does_not_even_talk_to_itself() {
    check(
        &with_groups(
            "ap-a/epg-web pcEnfPref=enforced
             flt-all/e-all
             brc-all/subj-s/rssubjFiltAtt-all
             ap-a/epg-web/rscons-all
             ap-a/epg-web/rsprov-all
             ap-a/epg-db/rsprov-all",
        ),
        "web web tcp/80: denied
         web db tcp/80: contract all
         db db tcp/80: intra-group",
    );
}

#[test]
fn a_vrf_that_enforces_nothing_lets_everything_pass() {
    check(
        &with_groups(&format!(
            "{SQL}
             ctx-v pcEnfPref=unenforced
             ap-a/epg-app pcEnfPref=enforced"
        )),
        "web db tcp/22: unenforced
         web db tcp/5432: unenforced
         web web tcp/22: unenforced
         app app tcp/22: unenforced",
    );
}

#[test]
fn a_subject_may_count_one_way_only_in_its_ports() {
    let policy = with_groups(&format!("{SQL}\nbrc-sql/subj-s revFltPorts=no"));
    check(
        &policy,
        "web db tcp/5432: contract sql
         db web tcp/5432: contract sql
         db web tcp/49152@5432: no-contract",
    );
}

#[test]
fn a_stateful_entry_has_no_rule_for_the_way_back() {
    let policy = with_groups(&format!(
        "{SQL}\nflt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432 stateful=yes"
    ));
    check(
        &policy,
        "web db tcp/5432: contract sql stateful
         db web tcp/49152@5432: no-contract",
    );
}

#[test]
fn a_stateful_entry_lets_the_provider_open_nothing() {
    check(
        &with_groups(
            "flt-f/e-in etherT=ip prot=tcp dFromPort=22 dToPort=22 stateful=yes
             brc-c/subj-s revFltPorts=no
             brc-c/subj-s/rssubjFiltAtt-f
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c",
        ),
        "web db tcp/22: contract in stateful
         db web tcp/22: no-contract
         db web tcp/49152@22: no-contract",
    );
}

#[test]
fn a_stateful_entry_wins_over_a_stateless_one_that_matches_too() {
    for stateful in ["a", "z"] {
        check(
            &with_groups(&format!(
                "flt-m/e-m etherT=ip prot=tcp dFromPort=22 dToPort=22
                 flt-{stateful}/e-{stateful} etherT=ip prot=tcp stateful=yes
                 brc-c/subj-s/rssubjFiltAtt-m
                 brc-c/subj-s/rssubjFiltAtt-{stateful}
                 ap-a/epg-web/rscons-c
                 ap-a/epg-db/rsprov-c"
            )),
            &format!("web db tcp/22: contract {stateful} stateful"),
        );
    }
}

#[test]
fn a_stateful_deny_denies_both_ways() {
    check(
        &with_groups(
            "flt-all/e-all etherT=ip
             flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22 stateful=yes
             brc-c/subj-s/rssubjFiltAtt-all
             brc-c/subj-s/rssubjFiltAtt-ssh action=deny
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c",
        ),
        "web db tcp/22: denied ssh
         db web tcp/49152@22: denied ssh
         db web tcp/22: contract all",
    );
}

#[test]
fn icmp_and_arp_have_no_ports_to_exchange() {
    check(
        &with_groups(
            "flt-f/e-icmp etherT=ip prot=icmp
             flt-f/e-echo6 etherT=ipv6 prot=icmpv6 icmpv6T=echo-req
             flt-f/e-arp etherT=arp arpOpc=req
             brc-c/subj-s/rssubjFiltAtt-f
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c",
        ),
        "web db icmp: contract icmp
         db web icmp: contract icmp
         web db icmp6 -6: contract echo6
         db web icmp6 -6: contract echo6
         web db arp: contract arp
         web db ip/1: contract icmp
         web db ip/58 -6: no-contract",
    );
}

#[test]
fn ether_types_protocols_flags_and_source_ports_narrow_an_entry() {
    check(
        &with_groups(
            "flt-f/e-v4 etherT=ipv4 prot=udp dFromPort=dns dToPort=dns
             flt-f/e-range etherT=ip prot=tcp dFromPort=8000 dToPort=8010
             flt-f/e-from etherT=ip prot=tcp sFromPort=1000 sToPort=1001
             flt-f/e-est etherT=ip prot=tcp dFromPort=9 dToPort=9 tcpRules=est
             flt-f/e-gre etherT=ip prot=47
             brc-c/subj-s/rssubjFiltAtt-f
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c",
        ),
        "web db udp/53: contract v4
         web db udp/53 -6: no-contract
         web db tcp/7999: no-contract
         web db tcp/8000: contract range
         web db tcp/8010: contract range
         web db tcp/8011: no-contract
         web db tcp/22@1000: contract from
         db web tcp/1001@22: contract from
         web db tcp/9: no-contract
         web db ip/47: contract gre",
    );
}

#[test]
fn deny_wins_among_equals_and_loses_with_a_lower_rank() {
    let policy = |action: &str| {
        with_groups(&format!(
            "flt-all/e-all etherT=ip
             flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
             brc-c/subj-s/rssubjFiltAtt-all
             brc-c/subj-s/rssubjFiltAtt-ssh {action}
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c"
        ))
    };
    check(
        &policy("action=deny"),
        "web db tcp/22: denied ssh
         web db tcp/23: contract all
         db web tcp/49152@22: denied ssh",
    );
    check(&policy("action=deny priorityOverride=level3"), "web db tcp/22: denied ssh");
    check(&policy("action=deny priorityOverride=level1"), "web db tcp/22: contract all");
    check(&policy("action=deny priorityOverride=level2"), "web db tcp/22: contract all");
    check(&policy("action=permit"), "web db tcp/22: contract all");
}

#[test]
fn a_deny_of_everything_loses_to_a_filter_that_looks_at_something() {
    check(
        &with_groups(
            "flt-all/e-all
             flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
             brc-c/subj-s/rssubjFiltAtt-all action=deny
             brc-c/subj-s/rssubjFiltAtt-ssh
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c",
        ),
        "web db tcp/22: contract ssh
         web db tcp/23: denied all",
    );
}

#[test]
fn a_filter_can_ask_to_log() {
    let policy = with_groups(&format!("{SQL}\nbrc-sql/subj-s/rssubjFiltAtt-sql directives=log"));
    let table = compiled(&policy).table;
    let rules = table.rule_sets.values().flat_map(|set| &set.rules);
    assert_eq!(rules.filter(|rule| rule.log).count(), 2);
}

#[test]
fn the_own_tenant_hides_common() {
    let policy = with_groups(&format!(
        "{SQL}
         uni/tn-common/flt-web/e-web etherT=ip prot=tcp dFromPort=http dToPort=http
         uni/tn-common/flt-sql/e-wrong
         uni/tn-common/brc-sql/subj-s/rssubjFiltAtt-web
         uni/tn-common/brc-web/subj-s/rssubjFiltAtt-web
         ap-a/epg-db/rscons-web
         ap-a/epg-app/rsprov-web"
    ));
    check(
        &policy,
        "web db tcp/5432: contract sql
         web db tcp/80: no-contract
         db app tcp/80: contract web",
    );
}

#[test]
fn a_contract_counts_within_its_scope() {
    let policy = |scope: &str| {
        with_groups(&format!(
            "ap-b/epg-other/rsbd tnFvBDName=b
             uni/tn-u/ap-a/epg-far/rsbd tnFvBDName=shared
             uni/tn-common/ctx-v
             uni/tn-common/BD-shared/rsctx tnFvCtxName=v
             uni/tn-t/ap-a/epg-near/rsbd tnFvBDName=shared
             uni/tn-common/flt-f/e-f etherT=ip prot=tcp dFromPort=http dToPort=http
             uni/tn-common/brc-c scope={scope}
             uni/tn-common/brc-c/subj-s/rssubjFiltAtt-f
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c
             ap-b/epg-other/rscons-c
             uni/tn-u/ap-a/epg-far/rscons-c
             uni/tn-t/ap-a/epg-near/rsprov-c"
        ))
    };
    for (scope, other, far) in [
        ("application-profile", "no-contract", "no-contract"),
        ("context", "contract f", "contract f"),
        ("tenant", "contract f", "no-contract"),
        ("global", "contract f", "contract f"),
    ] {
        check(
            &policy(scope),
            &format!(
                "web db tcp/80: contract f
                 other db tcp/80: {other}
                 far near tcp/80: {far}
                 far db tcp/80: unknown-destination"
            ),
        );
    }
}

#[test]
fn bridge_domains_that_do_not_route_keep_their_groups() {
    let policy = with_groups(&format!(
        "{SQL}
         BD-c unicastRoute=no
         ap-a/epg-app/rscons-sql"
    ));
    check(
        &policy,
        "app db tcp/5432: not-routed
         web db tcp/5432: contract sql",
    );
}

#[test]
fn pairs_on_one_contract_share_one_rule_set() {
    let mut policy = with_groups(SQL);
    for i in 0..20 {
        policy += &format!("ap-a/epg-c{i}/rsbd tnFvBDName=b\nap-a/epg-c{i}/rscons-sql\n");
    }
    let compiled = compiled(&policy);
    let of_group = compiled.table.groups.len();
    assert_eq!(compiled.table.pairs.len(), 2 * 21 + of_group);
    assert_eq!(compiled.table.rule_sets.len(), 2 + of_group);
    assert_eq!(compiled.problems, []);
}

#[test]
fn gateways_are_read_with_their_family() {
    let policy = with_groups(
        "BD-b mac=00:11:22:33:44:55
         BD-b/subnet-[10.0.0.1/24]
         BD-b/subnet-[2001:db8::1/64]
         BD-c/subnet-[10.0.1.1/24] ctrl=no-default-gateway",
    );
    let table = compiled(&policy).table;
    let bds: Vec<_> = table.bridge_domains.values().collect();
    assert_eq!(bds[0].gateways.len(), 2);
    assert_eq!(bds[0].mac.to_string(), "00:11:22:33:44:55");
    assert_eq!(bds[1].mac.to_string(), "00:22:bd:f8:19:ff");
    assert_eq!(bds[1].gateways, []);
}

#[test]
fn a_subject_may_say_each_direction_apart() {
    check(
        &with_groups(
            "flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
             flt-back/e-back etherT=ip prot=tcp sFromPort=5432 sToPort=5432
             brc-c/subj-s/intmnl/rsfiltAtt-sql
             brc-c/subj-s/outtmnl/rsfiltAtt-back
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c",
        ),
        "web db tcp/5432: contract sql
         db web tcp/49152@5432: contract back
         db web tcp/5432: no-contract
         web db tcp/49152@5432: no-contract",
    );
}

#[test]
fn what_a_direction_says_stands_beside_what_the_subject_says() {
    check(
        &with_groups(
            "flt-f/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22
             brc-c/subj-s/rssubjFiltAtt-f
             brc-c/subj-s/intmnl/rsfiltAtt-f action=deny
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c",
        ),
        "web db tcp/22: denied ssh
         db web tcp/49152@22: contract ssh",
    );
}
