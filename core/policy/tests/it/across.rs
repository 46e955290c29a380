//! Contracts between groups of two VRFs.
//!
//! Cited: Cisco ACI Contract Guide, *Inter-VRF contracts*: rules in the VRF of the consumer, the
//! provider's class unique in the fabric, subnets leaked by scope `shared`.

use selvage_model::Dn;
use selvage_policy::{Numbers, compile};
use selvage_rules::ClassId;

use super::world::{check, compiled, problems, tree, with_groups};

/// `dns` in VRF `s` offers contract `c` to `web` and `db` of VRF `v`, of which only `web` uses it.
const SHARED: &str = "
    ctx-s
    BD-s/rsctx tnFvCtxName=s
    ap-s/epg-dns/rsbd tnFvBDName=s
    ap-s/epg-dns/subnet-[10.9.0.1/24] scope=private,shared ctrl=no-default-gateway
    ap-s/epg-ntp/rsbd tnFvBDName=s
    BD-b/subnet-[10.1.0.1/24] scope=private,shared
    BD-c/subnet-[10.2.0.1/24] scope=private,shared
    flt-f/e-f etherT=ip prot=udp dFromPort=dns dToPort=dns
    brc-c scope=global
    brc-c/subj-s/rssubjFiltAtt-f
    ap-s/epg-dns/rsprov-c
    ap-a/epg-web/rscons-c
";

fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

#[test]
fn a_global_contract_lets_a_group_ask_one_of_another_vrf() {
    check(
        &with_groups(SHARED),
        "web dns udp/53: contract f
         dns web udp/49152@53: contract f
         web dns udp/54: denied
         dns web udp/53: denied
         db dns udp/53: unknown-destination
         dns db udp/49152@53: unknown-destination
         web ntp udp/53: unknown-destination
         web dns udp/53 -6: unknown-destination
         web dns arp: unknown-destination",
    );
}

#[test]
fn its_scope_must_reach_that_far() {
    for (scope, verdict) in [
        ("global", "contract f"),
        ("tenant", "contract f"),
        ("context", "unknown-destination"),
        ("application-profile", "unknown-destination"),
    ] {
        let policy = with_groups(&SHARED.replace("scope=global", &format!("scope={scope}")));
        check(&policy, &format!("web dns udp/53: {verdict}"));
    }
    // Of another tenant, a contract that only tenants share is not the consumer's.
    let far = |scope| {
        with_groups(&format!(
            "{SHARED}
             uni/tn-common/flt-f/e-f etherT=ip prot=udp dFromPort=dns dToPort=dns
             uni/tn-common/brc-far scope={scope}
             uni/tn-common/brc-far/subj-s/rssubjFiltAtt-f
             uni/tn-u/ctx-u
             uni/tn-u/BD-u/rsctx tnFvCtxName=u
             uni/tn-u/BD-u/subnet-[10.3.0.1/24] scope=shared
             uni/tn-u/ap-u/epg-far/rsbd tnFvBDName=u
             uni/tn-u/ap-u/epg-far/rscons-far
             ap-s/epg-dns/rsprov-far"
        ))
    };
    check(&far("global"), "far dns udp/53: contract f");
    check(&far("tenant"), "far dns udp/53: unknown-destination");
}

#[test]
fn both_must_be_known_in_the_other_vrf() {
    let closed = "web dns udp/53: unknown-destination\ndns web udp/49152@53: unknown-destination";
    for (from, to) in [
        // The provider's subnet must be under the provider.
        ("ap-s/epg-dns/subnet-", "BD-s/subnet-"),
        ("scope=private,shared ctrl", "scope=private ctrl"),
        ("BD-b/subnet-[10.1.0.1/24] scope=private,shared", "BD-b/subnet-[10.1.0.1/24]"),
    ] {
        let policy = with_groups(&SHARED.replace(from, to));
        check(&policy, closed);
        let found = problems(&policy);
        assert!(found.iter().any(|p| p.ends_with("not-leaked")), "{found:?}");
    }
    // The consumer's may be under either.
    let own = SHARED.replace("BD-b/subnet-", "ap-a/epg-web/subnet-");
    check(&with_groups(&own), "web dns udp/53: contract f");
    let policy = with_groups(&format!("{SHARED}\nBD-s unicastRoute=no"));
    check(&policy, "web dns udp/53: not-routed");
}

#[test]
fn overlapping_subnets_cannot_be_shared() {
    let policy = with_groups(&format!("{SHARED}\nBD-c/subnet-[10.9.0.129/25]"));
    check(&policy, "web dns udp/53: unknown-destination");
    let found = problems(&policy);
    assert!(found.contains(&"ap-s/epg-dns overlapping-subnets".to_owned()), "{found:?}");
}

#[test]
fn hosts_that_cannot_carry_it_are_a_warning() {
    assert_eq!(problems(&with_groups(SHARED)), ["ap-a/epg-web/rscons-c not-carried"]);
}

#[test]
fn the_provider_has_a_class_of_the_fabric_and_keeps_it() {
    let mut numbers = Numbers::default();
    let class = |numbers: &mut Numbers, policy: &str, name: &str| {
        let compiled = compile(&tree(&with_groups(policy)), numbers);
        compiled.groups[&dn(&format!("uni/tn-t/ap-{name}"))].class
    };
    let dns = class(&mut numbers, SHARED, "s/epg-dns");
    assert_eq!(dns, ClassId::FIRST_GLOBAL);
    assert!(class(&mut numbers, SHARED, "a/epg-web") >= ClassId::FIRST_LOCAL);
    let within = SHARED.replace("scope=global", "scope=context");
    assert!(class(&mut numbers, &within, "s/epg-dns") >= ClassId::FIRST_LOCAL);
    assert_eq!(class(&mut numbers, SHARED, "s/epg-dns"), dns);
}

#[test]
fn what_is_open_in_the_consumers_vrf_is_not_open_to_a_provider_of_another() {
    // ACI denies from the provider to any (shsrc_any_any_deny 12), here also the other way.
    check(
        &with_groups(&format!(
            "{SHARED}
             flt-all/e-all
             brc-all/subj-s/rssubjFiltAtt-all
             ctx-v/any prefGrMemb=enabled
             ctx-v/any/rsanyToProv-all
             ctx-v/any/rsanyToCons-all
             ap-a/epg-web prefGrMemb=include"
        )),
        "web dns udp/53: contract f
         web dns tcp/80: denied
         dns web tcp/80: denied
         web app tcp/80: denied",
    );
    check(
        &with_groups(&format!("{SHARED}\nctx-v pcEnfPref=unenforced")),
        "web dns udp/53: contract f
         web dns tcp/80: denied
         web app tcp/80: unenforced",
    );
}

#[test]
fn any_may_use_what_another_vrf_offers_and_may_not_offer() {
    let any = SHARED.replace("ap-a/epg-web/rscons-c", "ctx-v/any/rsanyToCons-c");
    let policy = with_groups(&any);
    check(
        &policy,
        "web dns udp/53: contract f
         app dns udp/53: contract f
         dns app udp/49152@53: contract f
         app dns udp/54: denied
         dns dns udp/53: intra-group
         web db udp/53: no-contract",
    );
    assert_eq!(problems(&policy), ["ctx-v/any/rsanyToCons-c not-carried"]);
    let offers = SHARED.replace("ap-s/epg-dns/rsprov-c", "ctx-s/any/rsanyToProv-c");
    let policy = with_groups(&offers);
    check(&policy, "web dns udp/53: unknown-destination");
    assert_eq!(problems(&policy), ["ctx-s/any/rsanyToProv-c not-supported"]);
}

#[test]
fn two_vrfs_may_share_with_each_other() {
    let policy = with_groups(&format!(
        "{SHARED}
         ap-a/epg-web/subnet-[10.1.0.1/24] scope=shared
         flt-g/e-g etherT=ip prot=tcp dFromPort=http dToPort=http
         brc-d scope=tenant
         brc-d/subj-s/rssubjFiltAtt-g
         ap-a/epg-web/rsprov-d
         ap-s/epg-dns/rscons-d"
    ));
    check(
        &policy,
        "web dns udp/53: contract f
         dns web udp/49152@53: contract f
         dns web tcp/80: contract g
         web dns tcp/49152@80: contract g
         web dns tcp/80: denied",
    );
}

#[test]
fn a_taboo_protects_against_other_vrfs_too() {
    check(
        &with_groups(&format!(
            "{SHARED}
             taboo-t/tsubj-s/rsdenyRule-f
             ap-s/epg-dns/rsprotBy-t"
        )),
        "web dns udp/53: denied f
         dns web udp/49152@53: contract f",
    );
}

#[test]
fn an_external_group_is_known_by_prefixes_that_are_shared_in_both_senses() {
    let policy = |scope: &str| {
        format!(
            "{SHARED}
             out-o/rsectx tnFvCtxName=s
             out-o/instP-net/extsubnet-[192.0.2.0/24] scope={scope}
             out-o/instP-net/rsprov-c
             ap-a/epg-app/rscons-c"
        )
    };
    let open = with_groups(&policy("import-security,shared-security,shared-rtctrl"));
    check(
        &open,
        "app net udp/53: contract f
         net app udp/49152@53: contract f
         app net udp/54: denied",
    );
    for scope in
        ["import-security", "import-security,shared-security", "import-security,shared-rtctrl"]
    {
        check(&with_groups(&policy(scope)), "app net udp/53: unknown-destination");
    }
}

#[test]
fn a_default_prefix_is_known_in_other_vrfs_if_it_says_so() {
    // The L3Out guide's own example of a shared L3Out.
    let policy = |scope: &str| {
        with_groups(&format!(
            "{SHARED}
             out-o/rsectx tnFvCtxName=s
             out-o/instP-world/extsubnet-[0.0.0.0/0] scope={scope}
             out-o/instP-world/rsprov-c
             ap-a/epg-app/rscons-c"
        ))
    };
    check(
        &policy("import-security,shared-security,shared-rtctrl"),
        "app world udp/53: contract f
         world app udp/49152@53: contract f
         app world udp/54: denied
         db world udp/53: unknown-destination",
    );
    check(&policy("import-security"), "app world udp/53: unknown-destination");
    let consumer = with_groups(&format!(
        "{SHARED}
         out-o/rsectx tnFvCtxName=v
         out-o/instP-world/extsubnet-[0.0.0.0/0] scope=import-security,shared-security,shared-rtctrl
         out-o/instP-world/rscons-c"
    ));
    check(
        &consumer,
        "world dns udp/53: contract f
         dns world udp/49152@53: contract f",
    );
}

#[test]
fn a_group_of_another_vrf_has_its_name_where_it_offers() {
    let compiled = compiled(&with_groups(SHARED));
    let dns = compiled.groups[&dn("uni/tn-t/ap-s/epg-dns")];
    let web = compiled.groups[&dn("uni/tn-t/ap-a/epg-web")];
    let seen = selvage_rules::GroupKey { scope: web.scope, class: dns.class };
    assert_eq!(&**compiled.table.name_of(seen).unwrap(), "uni/tn-t/ap-s/epg-dns");
}
