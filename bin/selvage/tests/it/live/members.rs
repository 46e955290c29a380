//! Endpoints that selectors move from group to group, with real packets.

use super::lab::{Lab, Workload};
use super::{LONG, SHORT};
use selvage_testkit::server::Server;

const SQL: u16 = 5432;

/// `trusted` consumes what `db` provides; `web`, where the workload is attached, consumes nothing.
const BASE: &str = r#"[
{"fvTenant": {"attributes": {"dn": "uni/tn-seg"}, "children": [
  {"fvCtx": {"attributes": {"name": "main"}}},
  {"fvBD": {"attributes": {"name": "front"}, "children": [
    {"fvRsCtx": {"attributes": {"tnFvCtxName": "main"}}},
    {"fvSubnet": {"attributes": {"ip": "10.8.1.1/24"}}}]}},
  {"fvBD": {"attributes": {"name": "back"}, "children": [
    {"fvRsCtx": {"attributes": {"tnFvCtxName": "main"}}},
    {"fvSubnet": {"attributes": {"ip": "10.8.2.1/24"}}}]}},
  {"vzFilter": {"attributes": {"name": "sql"}, "children": [{"vzEntry": {"attributes": {
    "name": "e", "etherT": "ip", "prot": "tcp", "dFromPort": "5432", "stateful": "yes"}}}]}},
  {"vzBrCP": {"attributes": {"name": "sql"}, "children": [{"vzSubj": {"attributes": {"name": "s"},
    "children": [{"vzRsSubjFiltAtt": {"attributes": {"tnVzFilterName": "sql"}}}]}}]}},
  {"fvAp": {"attributes": {"name": "a"}, "children": [
    {"fvAEPg": {"attributes": {"name": "web"}, "children": [
      {"fvRsBd": {"attributes": {"tnFvBDName": "front"}}}]}},
    {"fvAEPg": {"attributes": {"name": "db"}, "children": [
      {"fvRsBd": {"attributes": {"tnFvBDName": "back"}}},
      {"fvRsProv": {"attributes": {"tnVzBrCPName": "sql"}}}]}},
    {"fvAEPg": {"attributes": {"name": "trusted", "isAttrBasedEPg": "yes"}, "children": [
      {"fvRsBd": {"attributes": {"tnFvBDName": "front"}}},
      {"fvRsCons": {"attributes": {"tnVzBrCPName": "sql"}}},
      {"fvCrtrn": {"attributes": {}, "children": [
        {"fvMacAttr": {"attributes": {"name": "nobody", "mac": "02:00:00:00:00:99"}}}]}}]}},
    {"fvESg": {"attributes": {"name": "safe"}, "children": [
      {"fvRsScope": {"attributes": {"tnFvCtxName": "main"}}},
      {"fvRsCons": {"attributes": {"tnVzBrCPName": "sql"}}}]}}]}}]}}]"#;

/// The criterion or selector that chooses `web`, and what takes it away.
fn choices(web: &Workload) -> [(String, String); 2] {
    let ip = web.v4;
    let criterion = "uni/tn-seg/ap-a/epg-trusted/crtrn/ipattr-one";
    let selector = format!("uni/tn-seg/ap-a/esg-safe/epselector-[ip=='{ip}']");
    let gone = |class: &str, dn: &str| {
        format!(r#"{{"{class}": {{"attributes": {{"dn": "{dn}", "status": "deleted"}}}}}}"#)
    };
    [
        (
            format!(r#"{{"fvIpAttr": {{"attributes": {{"dn": "{criterion}", "ip": "{ip}"}}}}}}"#),
            gone("fvIpAttr", criterion),
        ),
        (
            format!(r#"{{"fvEPSelector": {{"attributes": {{"dn": "{selector}"}}}}}}"#),
            gone("fvEPSelector", &selector),
        ),
    ]
}

fn moves_there_and_back(dataplane: &str) {
    let lab = Lab::with(&["--dataplane", dataplane]);
    lab.run(&["apply", "-f", &lab.file("base.json", BASE)]).ok();
    let web = lab.start("h1", "seg/a/web");
    let (near, far) = (lab.start("h1", "seg/a/db"), lab.start("h2", "seg/a/db"));
    let serve = |workload: &Workload| Server::start(&workload.ns, "db", &[SQL], &[]).unwrap();
    let servers = [serve(&near), serve(&far)];
    for (at, (choose, release)) in choices(&web).iter().enumerate() {
        assert!(!web.reaches(&near, SQL, SHORT), "{dataplane} {at}: nothing lets it");
        lab.run(&["apply", "-f", &lab.file("choose.json", choose)]).ok();
        assert!(web.reaches(&near, SQL, LONG), "{dataplane} {at}: on one host");
        assert!(web.reaches(&far, SQL, LONG), "{dataplane} {at}: across hosts");
        lab.run(&["apply", "-f", &lab.file("release.json", release)]).ok();
        assert!(!web.reaches(&far, SQL, SHORT), "{dataplane} {at}: it is back");
    }
    drop(servers);
}

#[test]
fn an_endpoint_has_the_contracts_of_the_group_that_chooses_it_by_ebpf() {
    moves_there_and_back("ebpf");
}

#[test]
fn an_endpoint_has_the_contracts_of_the_group_that_chooses_it_by_open_vswitch() {
    moves_there_and_back("ovs");
}
