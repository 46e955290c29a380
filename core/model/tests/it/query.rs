//! Questions to the tree.

use selvage_model::query::{Query, QueryError, Scope};

use crate::{acme, dn, post};

fn object(at: &str) -> Scope {
    Scope::Object(dn(at))
}

fn of_class(class: &str, below: Option<&str>) -> Scope {
    Scope::Class { class: class.to_owned(), below: below.map(dn) }
}

/// The answer as `DN` for each object and `  rn` for each below it.
fn ask(scope: Scope, parameters: &[(&str, &str)]) -> Vec<String> {
    let tree = acme();
    let query = Query::parse(scope, parameters.iter().copied()).unwrap();
    let mut lines = Vec::new();
    for node in &query.run(&tree).nodes {
        lines.push(node.mo.dn().to_string());
        below(node, 1, &mut lines);
    }
    lines
}

fn below(node: &selvage_model::query::Node, depth: usize, lines: &mut Vec<String>) {
    for child in &node.children {
        lines.push(format!("{}{}", "  ".repeat(depth), child.mo.dn().rn()));
        below(child, depth + 1, lines);
    }
}

#[test]
fn objects_children_and_subtrees() {
    let bd = "uni/tn-acme/BD-b";
    let inverse = |epg: &str| format!("{bd}/rtbd-[uni/tn-acme/ap-shop/epg-{epg}]");
    assert_eq!(ask(object(bd), &[]), [bd]);
    assert_eq!(ask(object("uni/tn-none"), &[("query-target", "subtree")]), [""; 0]);
    let mut children = vec![
        format!("{bd}/rsctx"),
        inverse("db"),
        inverse("web"),
        format!("{bd}/subnet-[10.0.0.1/24]"),
    ];
    assert_eq!(ask(object(bd), &[("query-target", "children")]), children);
    children.insert(0, bd.to_owned());
    assert_eq!(ask(object(bd), &[("query-target", "subtree")]), children);
    let relations = [("query-target", "subtree"), ("target-subtree-class", "relnFrom, fvSubnet")];
    assert_eq!(ask(object(bd), &relations), children[2..]);
}

#[test]
fn classes_everywhere_and_below_an_object() {
    let epgs = ["uni/tn-acme/ap-shop/epg-db", "uni/tn-acme/ap-shop/epg-web"];
    assert_eq!(ask(of_class("fvAEPg", None), &[]), epgs);
    assert_eq!(ask(of_class("fvAEPg", Some("uni/tn-acme")), &[]), epgs);
    assert_eq!(ask(of_class("fvAEPg", Some("uni/tn-common")), &[]), [""; 0]);
    assert_eq!(ask(of_class("vzEntry", Some("uni/tn-acme")), &[]), ["uni/tn-acme/flt-sql/e-pg"]);
}

#[test]
fn subtrees_keep_the_ancestors_of_what_was_asked_for() {
    let at = "uni/tn-acme/ap-shop";
    let full = [("rsp-subtree", "full"), ("rsp-subtree-class", "fvRsProv")];
    assert_eq!(ask(object(at), &full), [at, "  epg-db", "    rsprov-sql"]);
    let none = [("rsp-subtree", "full"), ("rsp-subtree-class", "vzEntry")];
    assert_eq!(ask(object(at), &none), [at]);
    let filter = [("rsp-subtree", "children"), ("rsp-subtree-filter", "eq(fvAEPg.name,\"web\")")];
    assert_eq!(ask(object(at), &filter), [at, "  epg-web"]);
}

#[test]
fn filters_select() {
    let cases = [
        ("eq(vzEntry.dFromPort,\"5432\")", 1),
        ("eq(vzEntry.prot, \"6\")", 3),
        ("wcard(vzEntry.dn,\"tn-acme\")", 1),
        ("and(eq(vzEntry.prot,\"tcp\"))", 3),
        ("and(eq(vzEntry.prot,\"tcp\"),ne(vzEntry.tcpRules,\"est\"))", 2),
        ("or(eq(vzEntry.name,\"arp\"), eq(vzEntry.name,\"icmp\"))", 2),
        ("not(eq(vzEntry.prot,\"tcp\"))", 3),
        ("gt(vzEntry.dFromPort,\"999\")", 1),
        ("bw(vzEntry.dFromPort,\"5000\",\"6000\")", 1),
        ("anybit(vzEntry.tcpRules,\"est,syn\")", 1),
        ("eq(fvBD.name,\"b\")", 0),
    ];
    let mut tree = acme();
    let http = selvage_model::Post::new("vzEntry")
        .with("name", "http")
        .with("prot", "tcp")
        .with("dToPort", "80");
    post(&mut tree, "uni/tn-common/flt-default", http).unwrap();
    for (filter, count) in cases {
        let parameters = [("query-target-filter", filter)];
        let query = Query::parse(of_class("vzEntry", None), parameters).unwrap();
        let answer = query.run(&tree);
        let names: Vec<_> = answer.nodes.iter().map(|node| node.mo.get("name")).collect();
        assert_eq!(answer.total, count, "{filter}: {names:?}");
    }
}

#[test]
fn pages_and_orders() {
    let scope = || of_class("fvTenant", None);
    let order = ("order-by", "fvTenant.name|desc");
    let first = ["uni/tn-mgmt", "uni/tn-infra"];
    assert_eq!(ask(scope(), &[order, ("page", "0"), ("page-size", "2")]), first);
    assert_eq!(ask(scope(), &[order, ("page", "None"), ("page-size", "2")]), first);
    let second = ["uni/tn-common", "uni/tn-acme"];
    assert_eq!(ask(scope(), &[order, ("page", "1"), ("page-size", "2")]), second);
    assert_eq!(ask(scope(), &[("page", "99999999999999999999"), ("page-size", "9")]).len(), 4);
    let tree = acme();
    let query = Query::parse(scope(), [("page-size", "1")]).unwrap();
    assert_eq!(query.run(&tree).total, 4);
}

#[test]
fn faults_are_listed_when_asked_for() {
    let mut tree = acme();
    let bd = selvage_model::Post::new("fvRsBd").with("tnFvBDName", "nowhere");
    post(&mut tree, "uni/tn-acme/ap-shop/epg-web", bd).unwrap();
    let count = |parameters: &[(&str, &str)]| {
        let scope = object("uni/tn-acme/ap-shop/epg-web");
        let query = Query::parse(scope, parameters.iter().copied()).unwrap();
        let text = selvage_model::wire::json::answer(&query.run(&tree));
        text.matches("\"faultInst\"").count()
    };
    assert_eq!(count(&[("rsp-subtree", "full")]), 0);
    assert_eq!(count(&[("rsp-subtree", "full"), ("rsp-subtree-include", "faults")]), 1);
    assert_eq!(count(&[("rsp-subtree-include", "faults,no-scoped")]), 1);
    assert_eq!(count(&[("rsp-subtree", "full"), ("rsp-subtree-class", "faultInst")]), 1);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let error = |scope: Scope, parameters: &[(&str, &str)]| -> QueryError {
        Query::parse(scope, parameters.iter().copied()).unwrap_err()
    };
    let e = error(of_class("fvBDX", None), &[]);
    assert_eq!(
        (e.code(), e.to_string().as_str()),
        (122, "unknown managed object class fvBDX (did you mean `fvBD`?)")
    );
    assert_eq!(error(object("uni"), &[("query-target", "all")]).code(), 400);
    assert_eq!(error(object("uni"), &[("page-size", "0")]).code(), 400);
    assert_eq!(error(object("uni"), &[("target-subtree-class", "x")]).code(), 122);
    assert_eq!(error(object("uni"), &[("order-by", "fvBD.nonsense")]).code(), 121);
    assert!(Query::parse(object("uni"), [("subscription", "yes"), ("_dc", "1")]).is_ok());
}
