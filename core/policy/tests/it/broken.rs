//! Broken configuration denies, and says why about the object it befalls.

use super::world::{check, problems, with_groups};

fn check_problems(policy: &str, expected: &[&str]) {
    assert_eq!(problems(policy), expected, "{policy}");
}

#[test]
fn a_group_without_a_bridge_domain_is_in_quarantine() {
    let policy = with_groups(
        "ap-a/epg-lost/rsbd tnFvBDName=nowhere
         ap-a/epg-half
         flt-all/e-all
         brc-all/subj-s/rssubjFiltAtt-all
         ap-a/epg-lost/rscons-all
         ap-a/epg-db/rsprov-all",
    );
    check_problems(&policy, &["ap-a/epg-half no-bridge-domain", "ap-a/epg-lost no-bridge-domain"]);
    check(
        &policy,
        "lost db tcp/80: quarantine
         lost lost tcp/80: quarantine
         db half tcp/80: quarantine
         db db tcp/80: intra-group",
    );
}

#[test]
fn a_bridge_domain_without_a_vrf_takes_its_groups_with_it() {
    let policy = with_groups(
        "BD-d/rsctx tnFvCtxName=nowhere
         ap-a/epg-x/rsbd tnFvBDName=d",
    );
    check_problems(&policy, &["BD-d no-vrf", "ap-a/epg-x no-bridge-domain"]);
    check(&policy, "x x tcp/80: quarantine");
}

#[test]
fn an_empty_name_means_default() {
    let policy = with_groups(
        "uni/tn-common/ctx-default
         uni/tn-common/BD-default/rsctx
         ap-a/epg-half/rsbd",
    );
    check_problems(&policy, &[]);
    check(&policy, "half half tcp/80: intra-group");
}

#[test]
fn a_contract_of_nothing_permits_nothing() {
    let policy = with_groups(
        "brc-empty
         brc-hollow/subj-s
         brc-dangling/subj-s/rssubjFiltAtt-nowhere
         brc-blank/subj-s/rssubjFiltAtt-blank
         flt-blank
         brc-unused
         ap-a/epg-web/rscons-empty
         ap-a/epg-db/rsprov-empty
         ap-a/epg-web/rscons-hollow
         ap-a/epg-db/rsprov-hollow
         ap-a/epg-web/rscons-dangling
         ap-a/epg-db/rsprov-dangling
         ap-a/epg-web/rscons-blank
         ap-a/epg-db/rsprov-blank
         ap-a/epg-web/rscons-gone
         ap-a/epg-db/rsprov-gone",
    );
    check_problems(
        &policy,
        &[
            "brc-blank/subj-s no-filter",
            "brc-dangling/subj-s no-filter",
            "brc-empty no-subject",
            "brc-hollow/subj-s no-filter",
        ],
    );
    check(&policy, "web db tcp/80: no-contract");
}

#[test]
fn a_consumer_without_a_provider_is_told() {
    let policy = with_groups(
        "flt-f/e-f
         brc-c/subj-s/rssubjFiltAtt-f
         ap-a/epg-web/rscons-c",
    );
    check_problems(&policy, &["ap-a/epg-web/rscons-c no-provider"]);
}

#[test]
fn contracts_across_vrfs_say_what_is_missing() {
    let policy = with_groups(
        "ctx-w
         BD-w/rsctx tnFvCtxName=w
         ap-a/epg-far/rsbd tnFvBDName=w
         flt-f/e-f
         brc-c scope=global
         brc-c/subj-s/rssubjFiltAtt-f
         ap-a/epg-far/rscons-c
         ap-a/epg-db/rsprov-c",
    );
    check_problems(
        &policy,
        &["ap-a/epg-db not-leaked", "ap-a/epg-far not-leaked", "ap-a/epg-far/rscons-c not-carried"],
    );
    check(&policy, "far db tcp/80: unknown-destination");
}

#[test]
fn an_entry_that_contradicts_itself_matches_nothing() {
    for (entry, says) in [
        ("prot=tcp", "protocol `tcp` needs Ethernet type `ip`, `ipv4` or `ipv6`"),
        ("etherT=arp prot=tcp", "protocol `tcp` needs"),
        ("etherT=ip dFromPort=80", "ports need protocol `tcp` or `udp`"),
        ("etherT=ip prot=icmp dFromPort=80", "ports need protocol"),
        ("etherT=ip prot=udp tcpRules=syn", "TCP flags need protocol `tcp`"),
        ("etherT=ip prot=tcp tcpRules=est,syn", "`est` cannot stand beside"),
        ("etherT=ip prot=tcp dFromPort=90 dToPort=80", "port range `90` to `80` is upside down"),
        ("etherT=ip prot=tcp dFromPort=99999", "`99999` is no port"),
        ("etherT=ip prot=tcp icmpv4T=echo", "an ICMP type needs protocol `icmp`"),
        ("etherT=ip prot=icmp icmpv6T=echo-req", "an ICMPv6 type needs protocol `icmpv6`"),
        ("etherT=ip arpOpc=req", "an ARP operation needs Ethernet type `arp`"),
        ("etherT=ip prot=tcp dFromPort=80 applyToFrag=yes", "`applyToFrag` matches only"),
        ("etherT=arp matchDscp=EF", "a DSCP needs Ethernet type"),
    ] {
        let policy = with_groups(&format!(
            "flt-f/e-bad {entry}
             flt-f/e-good etherT=ip prot=udp
             brc-c/subj-s/rssubjFiltAtt-f
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c"
        ));
        let compiled = super::world::compiled(&policy);
        let [problem] = &compiled.problems[..] else { panic!("{entry}: {:?}", compiled.problems) };
        assert_eq!(problem.dn.as_str(), "uni/tn-t/flt-f/e-bad");
        assert!(problem.text.starts_with(says), "{entry}: {}", problem.text);
        check(
            &policy,
            "web db tcp/80: no-contract
             web db icmp: no-contract
             web db udp/80: contract good",
        );
    }
}

#[test]
fn a_subject_that_denies_by_a_broken_filter_is_closed() {
    for deny in ["rssubjFiltAtt-nowhere", "rssubjFiltAtt-bad"] {
        let policy = with_groups(&format!(
            "flt-all/e-all
             flt-bad/e-bad prot=tcp
             brc-c/subj-s/rssubjFiltAtt-all
             brc-c/subj-s/{deny} action=deny
             brc-c/subj-other/rssubjFiltAtt-udp
             flt-udp/e-udp etherT=ip prot=udp
             ap-a/epg-web/rscons-c
             ap-a/epg-db/rsprov-c"
        ));
        assert!(problems(&policy).contains(&format!("brc-c/subj-s/{deny} broken-deny")));
        check(
            &policy,
            "web db tcp/80: no-contract
             web db udp/80: contract udp",
        );
    }
}

#[test]
fn what_is_not_supported_never_opens() {
    let policy = with_groups("ap-a/epg-web shutdown=yes");
    check_problems(&policy, &["ap-a/epg-web shut-down"]);
    check(&policy, "web web tcp/80: quarantine");

    let policy = with_groups(
        "flt-all/e-all
         brc-c/subj-s/rssubjFiltAtt-all
         ap-a/epg-web/rscons-c intent=estimate_add
         ap-a/epg-db/rsprov-c",
    );
    check(&policy, "web db tcp/80: no-contract");
}

#[test]
fn isolation_in_a_vrf_that_enforces_nothing_is_a_fault() {
    let policy = with_groups("ctx-v pcEnfPref=unenforced\nap-a/epg-web pcEnfPref=enforced");
    check_problems(&policy, &["ap-a/epg-web not-isolated"]);
    check(&policy, "web web tcp/80: unenforced");
}

#[test]
fn subnets_that_overlap_in_a_vrf_are_refused_but_the_first() {
    let policy = with_groups(
        "BD-b/subnet-[10.0.0.1/16]
         BD-b/subnet-[10.0.1.1/24]
         BD-c/subnet-[10.0.2.1/24]
         BD-c/subnet-[10.1.0.1/24]
         ctx-w
         BD-w/rsctx tnFvCtxName=w
         BD-w/subnet-[10.0.0.1/24]",
    );
    check_problems(&policy, &["BD-c/subnet-[10.0.2.1/24] overlapping-subnets"]);
    let table = super::world::compiled(&policy).table;
    let gateways: Vec<_> = table.bridge_domains.values().map(|bd| bd.gateways.len()).collect();
    assert_eq!(gateways, [2, 1, 1]);
}
