//! External groups: who is in which, and what contracts say about them.

use selvage_rules::{ClassId, NodeId, Prefix};

use super::world::{check, compiled, problems, with_groups};

/// `web` offers http to `net`, and uses any of it; `partner` may reach `db`.
const OUTSIDE: &str = "
    out-wan/rsectx tnFvCtxName=v
    out-wan/instP-net/extsubnet-[0.0.0.0/0]
    out-wan/instP-net/extsubnet-[::/0]
    out-wan/instP-partner/extsubnet-[203.0.113.0/25]
    out-wan/instP-partner/extsubnet-[198.51.100.0/24] scope=export-rtctrl
    out-wan/lnodep-n/rsnodeL3OutAtt-[topology/pod-1/node-101]/rt-[0.0.0.0/0]/nh-[192.0.2.254]
    out-wan/lnodep-n/lifp-i/rspathL3OutAtt-[topology/pod-1/paths-101/pathep-[out0]] addr=192.0.2.1/24
    flt-http/e-http etherT=ip prot=tcp dFromPort=80 dToPort=80 stateful=yes
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
    brc-http/subj-s/rssubjFiltAtt-http
    brc-sql/subj-s/rssubjFiltAtt-sql
    ap-a/epg-web/rsprov-http
    out-wan/instP-net/rscons-http
    ap-a/epg-db/rsprov-sql
    out-wan/instP-partner/rscons-sql
    BD-b/subnet-[10.0.0.1/24] scope=public
    BD-c/subnet-[10.0.1.1/24]
";

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn contracts_count_for_external_groups_as_for_any() {
    check(
        &with_groups(OUTSIDE),
        "net web tcp/80: contract http stateful
         net web tcp/81: no-contract
         net web tcp/80 -6: contract http stateful
         partner web tcp/80: no-contract
         partner db tcp/5432: contract sql
         db partner tcp/7@5432: contract sql
         net db tcp/5432: no-contract
         web net tcp/80: no-contract
         net partner tcp/5432: unknown-destination
         web web tcp/80: intra-group",
    );
}

#[test]
fn the_default_prefix_has_the_class_of_the_vrf_as_source_and_15_as_destination() {
    let policy = with_groups(OUTSIDE);
    assert_eq!(problems(&policy), [""; 0]);
    let compiled = compiled(&policy);
    let (scope, outside) = compiled.table.outside.first_key_value().unwrap();
    let at = |ip: &str| compiled.table.external(*scope, ip.parse().unwrap()).unwrap();
    let net = at("192.0.2.7");
    assert_eq!(net.destination, ClassId::DEFAULT_OUTSIDE);
    assert!(net.source >= ClassId::FIRST_LOCAL);
    assert_eq!((at("2001:db8::1").source, at("198.51.100.1").source), (net.source, net.source));
    let partner = at("203.0.113.1");
    assert_eq!(partner.source, partner.destination);
    assert_ne!(partner.source, net.source);
    assert_eq!(&*partner.name, "uni/tn-t/out-wan/instP-partner");
    assert_eq!(at("203.0.113.200").name, net.name);

    let routes: Vec<Prefix> = outside.routes.keys().copied().collect();
    assert_eq!(routes, [prefix("0.0.0.0/0"), prefix("192.0.2.0/24")]);
    let hop = outside.routes[&prefix("0.0.0.0/0")].first().unwrap();
    assert_eq!((hop.node, &*hop.link), (NodeId(101), "out0"));
    assert!(outside.inside[&prefix("10.0.0.0/24")].public);
    assert!(!outside.inside[&prefix("10.0.1.0/24")].public);
}

#[test]
fn groups_that_share_the_default_prefix_are_one() {
    let policy = with_groups(&format!(
        "{OUTSIDE}
         out-lan/rsectx tnFvCtxName=v
         out-lan/instP-all/extsubnet-[0.0.0.0/0]
         out-lan/instP-all/rscons-sql"
    ));
    assert_eq!(problems(&policy), [""; 0]);
    // What `all` may, `net` may too: their addresses cannot be told apart.
    check(
        &policy,
        "net db tcp/5432: contract sql
         all db tcp/5432: contract sql
         all web tcp/80: contract http stateful",
    );
}

#[test]
fn a_prefix_is_in_one_group() {
    let policy = with_groups(&format!(
        "{OUTSIDE}
         out-wan/instP-zone/extsubnet-[203.0.113.9/25]
         out-wan/instP-zone/rscons-http"
    ));
    assert_eq!(problems(&policy), ["out-wan/instP-zone/extsubnet-[203.0.113.9/25] prefix-in-use"]);
    let compiled = compiled(&policy);
    let scope = *compiled.table.outside.keys().next().unwrap();
    let holder = compiled.table.external(scope, [203, 0, 113, 1].into()).unwrap();
    assert_eq!(&*holder.name, "uni/tn-t/out-wan/instP-partner");
}

#[test]
fn an_l3out_without_a_vrf_leads_nowhere() {
    let policy = with_groups(&OUTSIDE.replace("rsectx tnFvCtxName=v", "rsectx tnFvCtxName=w"));
    assert!(problems(&policy).contains(&"out-wan no-vrf".to_owned()));
    assert!(compiled(&policy).table.outside.is_empty());
    check(&policy, "net web tcp/80: quarantine");
}

#[test]
fn what_leads_nowhere_is_said_where_it_is_written() {
    let node = "out-wan/lnodep-m/rsnodeL3OutAtt-[topology/pod-1";
    let policy = with_groups(&format!(
        "{OUTSIDE}
         {node}/leaf-101]
         {node}/node-102]/rt-[10.9.0.0/16]/nh-[192.0.2.254]
         {node}/node-101]/rt-[10.8.0.0/16]
         {node}/node-101]/rt-[2001:db8::/32]/nh-[192.0.2.254]
         out-wan/lnodep-m/lifp-i/rspathL3OutAtt-[topology/pod-1/paths-101/pathep-[eth1/1]]"
    ));
    let at = "out-wan/lnodep-m";
    let node = format!("{at}/rsnodeL3OutAtt-[topology/pod-1");
    assert_eq!(
        problems(&policy),
        [
            format!(
                "{at}/lifp-i/rspathL3OutAtt-[topology/pod-1/paths-101/pathep-[eth1/1]] bad-exit"
            ),
            format!("{node}/leaf-101] bad-exit"),
            format!("{node}/node-101]/rt-[10.8.0.0/16] bad-exit"),
            format!("{node}/node-101]/rt-[2001:db8::/32]/nh-[192.0.2.254] bad-exit"),
            format!("{node}/node-102]/rt-[10.9.0.0/16]/nh-[192.0.2.254] bad-exit"),
        ]
    );
}
