//! What a client of the APIC does in a day.

use super::fixture::Controller;

const TENANT: &str = r#"{"fvTenant":{"attributes":{"name":"acme","descr":"first"},"children":[
    {"fvCtx":{"attributes":{"name":"main"}}},
    {"fvBD":{"attributes":{"name":"net"},"children":[
        {"fvRsCtx":{"attributes":{"tnFvCtxName":"main"}}},
        {"fvSubnet":{"attributes":{"ip":"10.0.0.1/24"}}}]}},
    {"fvAp":{"attributes":{"name":"shop"},"children":[
        {"fvAEPg":{"attributes":{"name":"web"},"children":[
            {"fvRsBd":{"attributes":{"tnFvBDName":"net"}}}]}}]}}]}}"#;

#[test]
fn a_session_begins_is_refreshed_and_ends() {
    let controller = Controller::start();
    let mut client = controller.stranger();
    assert_eq!(client.get("/api/class/fvTenant.json").error(), (403, "403".into()));
    assert_eq!(client.login("admin", "wrong").error(), (401, "401".into()));
    assert_eq!(client.login("nobody", &controller.password()).error(), (401, "401".into()));
    let answer = client.login("admin", &controller.password());
    let session = answer.first("aaaLogin");
    assert_eq!(session["refreshTimeoutSeconds"], "600");
    assert!(session["creationTime"].as_str().unwrap().parse::<u64>().unwrap() > 1_600_000_000);
    let first = client.cookie.clone();
    let set = answer.header("set-cookie").unwrap().to_owned();
    assert!(set.starts_with(&first) && set.contains("HttpOnly"), "{set}");
    // As it is, whole as it was set, and with the other spelling of its name.
    for cookie in [first.clone(), set, first.replace("cookie", "Cookie")] {
        client.cookie = cookie;
        assert_eq!(client.get("/api/class/fvTenant.json").total(), 3);
    }
    let refreshed = client.get("/api/aaaRefresh.json");
    assert_ne!(refreshed.first("aaaLogin")["token"], session["token"]);
    assert_eq!(client.post("/api/aaaLogout.json", "").status, 200);
    assert_eq!(client.get("/api/class/fvTenant.json").error(), (403, "403".into()));
    client.cookie = "APIC-cookie=made-up".into();
    assert_eq!(client.get("/api/class/fvTenant.json").error(), (403, "403".into()));
}

#[test]
fn guessing_passwords_becomes_slow() {
    let controller = Controller::start();
    let mut client = controller.stranger();
    for _ in 0..5 {
        assert_eq!(client.login("admin", "guess").error(), (401, "401".into()));
    }
    let answer = client.login("admin", &controller.password());
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("try again in"), "{answer:?}");
}

#[test]
fn objects_are_created_read_changed_and_deleted() {
    let controller = Controller::start();
    let client = controller.admin();
    let made = client.post("/api/mo/uni.json", TENANT);
    assert_eq!((made.status, made.body.as_str()), (200, r#"{"totalCount":"0","imdata":[]}"#));
    assert_eq!(made.header("selvage-revision"), Some("1"));
    for path in ["/api/mo/uni/tn-acme.json", "/api/node/mo/uni/tn-acme.json"] {
        let tenant = client.get(path).first("fvTenant");
        assert_eq!((&tenant["dn"], &tenant["descr"]), (&"uni/tn-acme".into(), &"first".into()));
    }
    let subnet = "/api/mo/uni/tn-acme/BD-net/subnet-[10.0.0.1/24].json";
    assert_eq!(client.get(subnet).first("fvSubnet")["ip"], "10.0.0.1/24");
    assert_eq!(client.get("/api/mo/uni/tn-nobody.json").total(), 0);
    let epg = client.get("/api/node/class/uni/tn-acme/fvAEPg.json").first("fvAEPg");
    assert!(epg["pcTag"].as_str().unwrap().parse::<u16>().unwrap() >= 16386);
    let filter = "/api/class/fvTenant.json?&query-target-filter=eq(fvTenant.name,\"acme\")";
    assert_eq!(client.get(filter).total(), 1);
    assert_eq!(client.get(&filter.replace('"', "%22")).total(), 1);

    // By the DN in the body alone, with the odd status that terraform writes.
    let change = r#"{"fvTenant":{"attributes":{"dn":"uni/tn-acme","descr":"second",
        "status":"created, modified"}}}"#;
    let changed = client.post("/api/node/mo.json?rsp-subtree=modified", change);
    assert_eq!(changed.first("fvTenant")["status"], "modified");
    assert_eq!(changed.header("selvage-revision"), Some("2"));
    let again = client.post("/api/node/mo.json?rsp-subtree=modified", change);
    assert_eq!((again.total(), again.header("selvage-revision")), (0, Some("2")));

    let deleted = client.delete("/api/mo/uni/tn-acme.json?rsp-subtree=modified");
    assert_eq!(deleted.first("fvTenant")["status"], "deleted");
    assert_eq!(client.get("/api/mo/uni/tn-acme.json").total(), 0);
    assert_eq!(client.delete("/api/mo/uni/tn-acme.json").status, 200);
}

#[test]
fn pages_count_what_there_is_before_them() {
    let controller = Controller::start();
    let client = controller.admin();
    let page = client.get("/api/class/fvTenant.json?page=None&page-size=2");
    assert_eq!((page.total(), page.json()["imdata"].as_array().unwrap().len()), (3, 2));
}

#[test]
fn a_trace_names_the_groups_and_the_reason() {
    let controller = Controller::start();
    let client = controller.admin();
    client.post("/api/mo/uni.json", TENANT);
    let ask = |body: &str| client.post("/selvage/v1/trace", body);
    let inside = ask(r#"{"from":"acme/shop/web","to":"acme/shop/web","flow":"tcp/80"}"#).json();
    assert_eq!(inside["forward"]["verdict"]["reason"], "intra-group", "{inside}");
    assert_eq!(inside["revision"], 1);
    assert_eq!(ask(r#"{"from":"acme/shop/web","to":"who","flow":"tcp/80"}"#).error().0, 404);
    assert_eq!(ask(r#"{"from":"acme/shop/web","to":"web","flow":"tcp/x"}"#).error().0, 400);
    assert_eq!(ask(r#"{"from":"acme/shop/web"}"#).error().0, 400);
}

#[test]
fn the_log_tells_who_did_what() {
    let controller = Controller::start();
    let client = controller.admin();
    client.post("/api/mo/uni.json", TENANT);
    client.delete("/api/mo/uni/tn-acme.json");
    let log = client.get("/selvage/v1/log").json();
    let rows = log["log"].as_array().unwrap();
    assert_eq!(
        (rows.len(), &rows[0]["revision"], &rows[0]["user"]),
        (2, &2.into(), &"admin".into())
    );
    assert_eq!(rows[0]["counts"]["created"], 0);
    assert!(rows[0]["counts"]["deleted"].as_u64() >= Some(7), "{log}");
}

#[test]
fn a_client_with_nothing_newer_than_tls_1_2_and_rsa_is_served() {
    let controller = Controller::start();
    let certificate = controller.state_dir().join("tls.crt");
    let client = controller.admin().tls12(&certificate);
    assert_eq!(client.get("/api/class/fvTenant.json").total(), 3);
}
