//! Who is in which group: microsegments and endpoint security groups.

use selvage_model::Dn;
use selvage_policy::compile::Compiled;
use selvage_policy::members;

use super::world::{compiled, problems, with_groups};

/// Where endpoints are, in lines `EPG MAC IPS ATTRIBUTES: GROUP CAUSE`, `-` for what is not said.
fn check(policy: &str, endpoints: &str) {
    let compiled = compiled(&with_groups(policy));
    for line in endpoints.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (endpoint, expected) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let got = group_of(&compiled, endpoint);
        assert_eq!(got, expected, "{line}\nproblems: {:#?}", compiled.problems);
    }
}

fn group_of(compiled: &Compiled, endpoint: &str) -> String {
    let words: Vec<&str> = endpoint.split_whitespace().collect();
    let [epg, mac, ips, attributes] = words[..] else { panic!("{endpoint}") };
    let list = |text: &str| -> Vec<String> {
        let some = text.split(',').filter(|word| *word != "-");
        some.map(str::to_owned).collect()
    };
    let ips: Vec<std::net::IpAddr> = list(ips).iter().map(|ip| ip.parse().unwrap()).collect();
    let attributes: Vec<(String, String)> = list(attributes)
        .iter()
        .map(|word| word.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let facts = members::facts("", mac.parse().ok(), &ips, &attributes);
    let attached: Dn = format!("uni/tn-t/ap-a/epg-{epg}").parse().unwrap();
    let found = members::of(compiled, &attached, &facts);
    let short = |dn: Option<Dn>| {
        let text = dn.map_or("nowhere".to_owned(), |dn| dn.to_string());
        text.trim_start_matches("uni/tn-t/ap-a/").trim_start_matches("uni/tn-t/").to_owned()
    };
    let cause = found.cause.map(|dn| format!(" by {}", short(Some(dn)))).unwrap_or_default();
    format!("{}{cause}", short(found.group))
}

/// A microsegment of bridge domain `b` with one part under its criteria.
fn micro(name: &str, parts: &str) -> String {
    let mut lines = format!(
        "ap-a/epg-{name} isAttrBasedEPg=yes\nap-a/epg-{name}/rsbd tnFvBDName=b\n\
         ap-a/epg-{name}/crtrn\n"
    );
    for part in parts.split(';').map(str::trim) {
        lines += &match part.strip_prefix("crtrn ") {
            Some(props) => format!("ap-a/epg-{name}/crtrn {props}\n"),
            None => format!("ap-a/epg-{name}/crtrn/{part}\n"),
        };
    }
    lines
}

#[test]
fn a_microsegment_takes_endpoints_of_its_bridge_domain() {
    let policy = micro("m", "ipattr-i ip=10.0.0.0/28");
    check(
        &policy,
        "web - 10.0.0.5 -: epg-m by epg-m/crtrn/ipattr-i
         web - 10.0.0.16 -: epg-web
         web - - -: epg-web
         app - 10.0.0.5 -: epg-app
         m - 10.0.0.5 -: epg-m by epg-m/crtrn/ipattr-i
         m - 10.0.0.99 -: nowhere by epg-m",
    );
    let wide = policy.replace("crtrn\n", "crtrn scope=scope-vrf\n");
    check(&wide, "app - 10.0.0.5 -: epg-m by epg-m/crtrn/ipattr-i");
}

#[test]
fn a_mac_comes_before_an_address_and_that_before_a_name() {
    let policy = [
        micro("name", "vmattr-v value=web; crtrn prec=9"),
        micro("ip", "ipattr-i ip=10.0.0.0/24"),
        micro("host", "ipattr-i ip=10.0.0.7"),
        micro("mac", "macattr-m mac=02:00:00:00:00:07"),
    ]
    .concat();
    check(
        &policy,
        "web 02:00:00:00:00:07 10.0.0.7 name=web: epg-mac by epg-mac/crtrn/macattr-m
         web 02:00:00:00:00:08 10.0.0.7 name=web: epg-host by epg-host/crtrn/ipattr-i
         web - 10.0.0.8 name=web: epg-ip by epg-ip/crtrn/ipattr-i
         web - 10.0.9.8 name=web: epg-name by epg-name/crtrn/vmattr-v
         web - 10.0.9.8 name=webs: epg-web",
    );
}

/// Naive: the attribute decides whatever the precedence asked for; or the order of names does.
#[test]
fn among_workloads_the_higher_precedence_then_the_attribute_then_the_operator_decides() {
    let policy = [
        micro("a", "vmattr-v type=tag category=env value=prod"),
        micro("b", "vmattr-v type=guest-os value=debian"),
        micro("c", "vmattr-v operator=startsWith value=we"),
        micro("d", "vmattr-v operator=contains value=e"),
    ]
    .concat();
    let all = "web - - name=web,os=debian,env=prod";
    check(
        &policy,
        &format!(
            "{all}: epg-d by epg-d/crtrn/vmattr-v
             web - - name=wxb,os=debian,tag:env=prod: epg-b by epg-b/crtrn/vmattr-v
             web - - name=x,env=prod: epg-a by epg-a/crtrn/vmattr-v
             web - - name=x,env=prods: epg-web"
        ),
    );
    let lifted = policy.replace("epg-a/crtrn\n", "epg-a/crtrn prec=5\n");
    check(&lifted, &format!("{all}: epg-a by epg-a/crtrn/vmattr-v"));
}

#[test]
fn any_needs_one_attribute_and_all_needs_all_blocks_included() {
    let parts = "vmattr-n value=web; crtrn-inner match=any; crtrn-inner/ipattr-i ip=10.0.0.5; \
                 crtrn-inner/macattr-m mac=02:00:00:00:00:01";
    check(
        &micro("m", &format!("crtrn match=all; {parts}")),
        "web - 10.0.0.5 name=web: epg-m by epg-m/crtrn
         web 02:00:00:00:00:01 - name=web: epg-m by epg-m/crtrn
         web - 10.0.0.5 name=db: epg-web
         web - 10.0.0.6 name=web: epg-web",
    );
    check(
        &micro("m", parts),
        "web - 10.0.0.5 name=db: epg-m by epg-m/crtrn/crtrn-inner
         web - 10.0.0.6 name=web: epg-m by epg-m/crtrn/vmattr-n
         web - 10.0.0.6 name=db: epg-web",
    );
}

#[test]
fn the_subnets_of_a_microsegment_may_stand_for_its_addresses() {
    let policy = micro("m", "ipattr-i usefvSubnet=yes") + "ap-a/epg-m/subnet-[10.0.0.33/28]";
    check(&policy, "web - 10.0.0.40 -: epg-m by epg-m/crtrn/ipattr-i\nweb - 10.0.0.50 -: epg-web");
}

#[test]
fn criteria_that_hold_of_nobody_are_said() {
    for (parts, at, cause) in [
        ("ipattr-i", "/ipattr-i", "bad-criterion"),
        ("ipattr-i usefvSubnet=yes", "/ipattr-i", "bad-criterion"),
        ("macattr-m", "/macattr-m", "bad-criterion"),
        ("vmattr-v", "/vmattr-v", "bad-criterion"),
        ("vmattr-v type=custom-label value=x", "/vmattr-v", "bad-criterion"),
        ("dnsattr-d filter=*.example.org", "/dnsattr-d", "not-supported"),
        ("crtrn-block", "/crtrn-block", "bad-criterion"),
    ] {
        let policy = with_groups(&micro("m", parts));
        let expected = format!("ap-a/epg-m/crtrn{at} {cause}");
        assert_eq!(problems(&policy), [expected], "{parts}");
        check(&micro("m", parts), "web 02:00:00:00:00:07 0.0.0.0 name=x: epg-web");
    }
    let bare = with_groups("ap-a/epg-m isAttrBasedEPg=yes\nap-a/epg-m/rsbd tnFvBDName=b");
    assert_eq!(problems(&bare), ["ap-a/epg-m bad-criterion"]);
    assert_eq!(problems(&with_groups("ap-a/epg-web/crtrn")), ["ap-a/epg-web/crtrn bad-criterion"]);
    let none = micro("m", "crtrn name=x");
    assert_eq!(problems(&with_groups(&none)), ["ap-a/epg-m/crtrn bad-criterion"]);
}

#[test]
fn whoever_is_in_a_microsegment_that_is_shut_down_is_in_quarantine() {
    let policy = micro("m", "ipattr-i ip=10.0.0.5") + "ap-a/epg-m shutdown=yes";
    let compiled = compiled(&with_groups(&policy));
    assert_eq!(group_of(&compiled, "web - 10.0.0.5 -"), "epg-m by epg-m/crtrn/ipattr-i");
    assert!(!compiled.groups.contains_key("uni/tn-t/ap-a/epg-m"));
}

/// An ESG of the VRF with these children.
fn esg(name: &str, children: &str) -> String {
    let children = children.split(';').map(|child| format!("ap-a/esg-{name}/{}\n", child.trim()));
    format!("ap-a/esg-{name}/rsscope tnFvCtxName=v\n{}", children.collect::<String>())
}

#[test]
fn an_esg_takes_addresses_of_its_vrf_whatever_the_bridge_domain() {
    let policy = esg("e", "epselector-[ip=='10.0.0.0/24']")
        + &esg("f", "epselector-[ip==\"10.0.0.128/25\"]; epselector-[ip=='10.1.0.9']");
    check(
        &policy,
        "web - 10.0.0.5 -: esg-e by esg-e/epselector-[ip=='10.0.0.0/24']
         app - 10.0.0.200 -: esg-f by esg-f/epselector-[ip==\"10.0.0.128/25\"]
         app - 10.1.0.9 -: esg-f by esg-f/epselector-[ip=='10.1.0.9']
         app - 10.1.0.8 -: epg-app",
    );
}

/// Naive: the EPG's selector wins since it is the more general; or microsegments come first.
#[test]
fn selectors_rank_by_address_mac_tag_and_epg_with_microsegments_before_the_epg() {
    let policy = [
        esg("ip", "epselector-[ip=='10.0.0.5']"),
        esg("mac", "tagselectorkey-[k]-value-[mac]"),
        esg("tag", "tagselectorkey-[env]-value-[prod]"),
        esg("epg", "epgselector-[uni/tn-t/ap-a/epg-web]"),
        micro("m", "macattr-m mac=02:00:00:00:00:01"),
        "eptags/epmactag-02:00:00:00:00:01-[b]/tagKey-k value=mac
         eptags/epmactag-02:00:00:00:00:02-[*] ctxName=v
         eptags/epmactag-02:00:00:00:00:02-[*]/tagKey-k value=mac"
            .to_owned(),
    ]
    .join("\n");
    let (tag, epg) = ("tagselectorkey-[env]-value-[prod]", "epgselector-[uni/tn-t/ap-a/epg-web]");
    check(
        &policy,
        &format!(
            "web 02:00:00:00:00:01 10.0.0.5 env=prod: esg-ip by esg-ip/epselector-[ip=='10.0.0.5']
             web 02:00:00:00:00:01 10.0.0.6 env=prod: esg-mac by esg-mac/tagselectorkey-[k]-value-[mac]
             app 02:00:00:00:00:01 10.0.0.6 -: epg-app
             app 02:00:00:00:00:02 10.0.0.6 -: esg-mac by esg-mac/tagselectorkey-[k]-value-[mac]
             web 02:00:00:00:00:03 10.0.0.6 env=prod: esg-tag by esg-tag/{tag}
             web 02:00:00:00:00:03 10.0.0.6 env=test: esg-epg by esg-epg/{epg}
             db 02:00:00:00:00:03 10.0.0.6 env=test: epg-db"
        ),
    );
    let without = policy.replace("eptags/epmactag-02:00:00:00:00:01-[b]/tagKey-k value=mac", "");
    check(&without, "web 02:00:00:00:00:01 10.0.0.6 -: epg-m by epg-m/crtrn/macattr-m");
}

#[test]
fn tags_choose_by_whatever_carries_them() {
    let policy = [
        esg("e", "tagselectorkey-[env]-value-[pro] valueOperator=contains"),
        esg("r", "tagselectorkey-[env]-value-[te.t] valueOperator=regex"),
        "eptags/epiptag-[10.0.0.9]-v/tagKey-env value=prod
         BD-b/subnet-[10.0.2.1/24]/tagKey-env value=prod
         ap-a/epg-db/tagKey-env value=production
         ap-a/epg-app/tagKey-env value=test"
            .to_owned(),
    ]
    .join("\n");
    let (e, r) =
        ("esg-e by esg-e/tagselectorkey-[env]-value-[pro]", "tagselectorkey-[env]-value-[te.t]");
    check(
        &policy,
        &format!(
            "web - 10.0.0.9 -: {e}
             web - 10.0.2.9 -: {e}
             db - 10.0.0.1 -: {e}
             app - 10.0.0.1 -: esg-r by esg-r/{r}
             web - 10.0.0.1 env=text: esg-r by esg-r/{r}
             web - 10.0.0.1 name=x: epg-web"
        ),
    );
    let vm = esg("v", "tagselectorkey-[__vmm::vmname]-value-[web]");
    check(&vm, "db - - name=web: esg-v by esg-v/tagselectorkey-[__vmm::vmname]-value-[web]");
}

#[test]
fn what_two_groups_claim_is_in_neither_and_what_chooses_nobody_is_said() {
    let selector = "epselector-[ip=='10.0.0.0/24']";
    let policy =
        esg("e", selector) + &esg("f", &format!("{selector}; epselector-[ip=='10.0.0.0/16']"));
    let at = |name: &str| format!("ap-a/esg-{name}/{selector} claimed-twice");
    assert_eq!(problems(&with_groups(&policy)), [at("e"), at("f")]);
    check(&policy, "web - 10.0.0.5 -: esg-f by esg-f/epselector-[ip=='10.0.0.0/16']");
    for (children, cause) in [
        ("epselector-[ip=10.0.0.1]", "bad-selector"),
        ("epselector-[name=='x']", "bad-selector"),
        ("epgselector-[uni/tn-t/ap-a/epg-nope]", "bad-selector"),
        ("tagselectorkey-[a]-value-[(] valueOperator=regex", "bad-selector"),
    ] {
        let name = children.split(' ').next().unwrap();
        let expected = format!("ap-a/esg-e/{name} {cause}");
        assert_eq!(problems(&with_groups(&esg("e", children))), [expected], "{children}");
    }
    let lost =
        with_groups("ap-a/esg-e/rsscope tnFvCtxName=none\nap-a/esg-e/epselector-[ip=='10.0.0.1']");
    assert_eq!(problems(&lost), ["ap-a/esg-e no-vrf"]);
    let other = with_groups(
        "ctx-w\nap-a/esg-e/rsscope tnFvCtxName=w\nap-a/esg-e/epgselector-[uni/tn-t/ap-a/epg-web]",
    );
    assert_eq!(problems(&other), ["ap-a/esg-e/epgselector-[uni/tn-t/ap-a/epg-web] bad-selector"]);
}

const SQL: &str = "
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
    brc-sql/subj-s/rssubjFiltAtt-sql
    ap-a/epg-db/rsprov-sql
    ap-a/epg-web/rscons-sql
";

/// Naive: an endpoint keeps the contracts of its EPG when an ESG takes it by its address.
#[test]
fn an_esg_has_the_contracts_of_the_epgs_it_takes_whole_and_only_of_those() {
    let whole = with_groups(&format!("{SQL}{}", esg("e", "epgselector-[uni/tn-t/ap-a/epg-web]")));
    super::world::check(
        &whole,
        "uni/tn-t/ap-a/esg-e db tcp/5432: contract sql
         db uni/tn-t/ap-a/esg-e tcp/7@5432: contract sql
         web db tcp/5432: no-contract
         uni/tn-t/ap-a/esg-e uni/tn-t/ap-a/esg-e tcp/1: intra-group",
    );
    let by_address = with_groups(&format!("{SQL}{}", esg("e", "epselector-[ip=='10.0.0.5']")));
    super::world::check(
        &by_address,
        "uni/tn-t/ap-a/esg-e db tcp/5432: no-contract
         web db tcp/5432: contract sql",
    );
    let own = format!("{by_address}\nap-a/esg-e/rscons-sql\nap-a/esg-e pcEnfPref=enforced");
    super::world::check(
        &own,
        "uni/tn-t/ap-a/esg-e db tcp/5432: contract sql
         uni/tn-t/ap-a/esg-e uni/tn-t/ap-a/esg-e tcp/1: denied",
    );
}

#[test]
fn a_prefix_outside_may_be_of_an_esg() {
    let outside = "
        out-wan/rsectx tnFvCtxName=v
        out-wan/instP-net/extsubnet-[0.0.0.0/0]
        out-wan/instP-net/extsubnet-[198.51.100.0/24]";
    let policy = with_groups(&format!(
        "{SQL}{outside}\n{}\nap-a/esg-e/rscons-sql",
        esg("e", "extsubselector-[203.0.113.0/24]; extsubselector-[198.51.100.0/24]")
    ));
    let taken = "ap-a/esg-e/extsubselector-[198.51.100.0/24] prefix-in-use";
    assert_eq!(problems(&policy), [taken]);
    let compiled = compiled(&policy);
    let (scope, _) = compiled.table.outside.first_key_value().unwrap();
    let at = |ip: &str| compiled.table.external(*scope, ip.parse().unwrap()).unwrap();
    assert_eq!(&*at("203.0.113.9").name, "uni/tn-t/ap-a/esg-e");
    assert_eq!(&*at("198.51.100.9").name, "uni/tn-t/out-wan/instP-net");
    let esg = compiled.groups["uni/tn-t/ap-a/esg-e"];
    assert_eq!((at("203.0.113.9").source, at("203.0.113.9").destination), (esg.class, esg.class));
}
