//! Whatever a client says, it gets an answer in the APIC's shape, and nothing changes.

use std::io::Write;

use super::client::{Client, answer};
use super::fixture::Controller;

/// What is wrong, the path, the body, and the status and code of the answer.
type Case = (&'static str, &'static str, &'static str, (u16, &'static str));

const POSTS: &[Case] = &[
    ("nothing at all", "/api/mo/uni.json", "", (400, "400")),
    ("truncated", "/api/mo/uni.json", r#"{"fvTenant":{"attributes":{"name":"a""#, (400, "400")),
    ("no JSON", "/api/mo/uni.json", "tenant: a", (400, "400")),
    ("no UTF-8 escape", "/api/mo/uni/%ff.json", r#"{"fvTenant":{}}"#, (400, "400")),
    ("a list", "/api/mo/uni.json", "[]", (400, "400")),
    (
        "a number as a value",
        "/api/mo/uni.json",
        r#"{"fvTenant":{"attributes":{"name":1}}}"#,
        (400, "400"),
    ),
    (
        "an unknown class",
        "/api/mo/uni.json",
        r#"{"fvTenat":{"attributes":{"name":"a"}}}"#,
        (400, "122"),
    ),
    (
        "an unknown property",
        "/api/mo/uni.json",
        r#"{"fvTenant":{"attributes":{"name":"a","colour":"red"}}}"#,
        (400, "400"),
    ),
    (
        "a word that is none",
        "/api/mo/uni.json",
        r#"{"fvTenant":{"attributes":{"name":"a"},"children":[
            {"fvBD":{"attributes":{"name":"b","type":"round"}}}]}}"#,
        (400, "120"),
    ),
    (
        "a name with spaces",
        "/api/mo/uni.json",
        r#"{"fvTenant":{"attributes":{"name":"a b"}}}"#,
        (400, "801"),
    ),
    (
        "a missing parent",
        "/api/mo/uni/tn-none/BD-b.json",
        r#"{"fvBD":{"attributes":{"name":"b"}}}"#,
        (400, "102"),
    ),
    ("a path that is no DN", "/api/mo/uni/tn-[a.json", r#"{"fvTenant":{}}"#, (400, "400")),
    (
        "no DN anywhere",
        "/api/node/mo.json",
        r#"{"fvTenant":{"attributes":{"name":"a"}}}"#,
        (400, "400"),
    ),
];

const GETS: &[(&str, &str, (u16, &str))] = &[
    ("an unknown class", "/api/class/fvTenat.json", (400, "122")),
    ("an unknown class in a parameter", "/api/mo/uni.json?target-subtree-class=nope", (400, "122")),
    ("a broken filter", "/api/class/fvTenant.json?query-target-filter=eq(", (400, "400")),
    (
        "an unknown property in a filter",
        "/api/class/fvTenant.json?query-target-filter=eq(fvTenant.colour,%22red%22)",
        (400, "121"),
    ),
    ("an unknown word in a parameter", "/api/mo/uni.json?query-target=all", (400, "400")),
    ("an unknown path", "/api/nothing.json", (404, "404")),
    ("an unknown path outside", "/", (404, "404")),
    ("an own path that is none", "/selvage/v1/nothing", (404, "404")),
    ("XML", "/api/mo/uni.xml", (400, "400")),
    ("a number that is none", "/selvage/v1/revision?wait=soon", (400, "400")),
];

fn tenants(client: &Client) -> usize {
    client.get("/api/class/fvTenant.json").total()
}

#[test]
fn bad_requests_are_answered_and_change_nothing() {
    let controller = Controller::start();
    let client = controller.admin();
    let expected = |(status, code): (u16, &str)| (status, code.to_owned());
    for (what, path, body, error) in POSTS {
        assert_eq!(client.post(path, body).error(), expected(*error), "{what}");
    }
    for (what, path, error) in GETS {
        assert_eq!(client.get(path).error(), expected(*error), "{what}");
    }
    let wrong_method = client.send("PUT", "/api/mo/uni.json", "{}");
    assert_eq!(wrong_method.error(), (405, "405".into()));
    assert_eq!(wrong_method.header("allow"), Some("GET, POST, DELETE"));
    let status = client.get("/selvage/v1/status").json();
    assert_eq!((tenants(&client), &status["progress"]["revision"]), (3, &0.into()));
}

#[test]
fn every_error_of_a_post_comes_at_once_with_a_hint() {
    let controller = Controller::start();
    let client = controller.admin();
    let body = r#"{"fvTenant":{"attributes":{"name":"a","desc":"x"},"children":[
        {"fvBD":{"attributes":{"name":"b","arpFlood":"perhaps"}}},{"fvBd":{"attributes":{}}}]}}"#;
    let answer = client.post("/api/mo/uni.json", body);
    assert_eq!((answer.status, answer.total()), (400, 3), "{answer:?}");
    assert!(answer.body.contains("did you mean `descr`?"), "{answer:?}");
    assert_eq!(tenants(&client), 3);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let controller = Controller::start();
    let client = controller.admin();
    let announced = client.raw("POST", "/api/mo/uni.json", "Content-Length: 99999999999\r\n", b"{");
    assert_eq!(announced.error(), (413, "413".into()));
    let mut stranger = controller.stranger();
    let long = "x".repeat(100_000);
    assert_eq!(stranger.login("admin", &long).error(), (413, "413".into()));
    assert_eq!(tenants(&client), 3);
}

#[test]
fn a_body_that_is_too_deep_is_refused() {
    let controller = Controller::start();
    let client = controller.admin();
    let deep = |levels: usize| {
        let open = r#"{"fvTenant":{"attributes":{"name":"a"},"children":["#;
        format!("{}{}", open.repeat(levels), "]}}".repeat(levels))
    };
    for levels in [40, 5_000] {
        assert_eq!(client.post("/api/mo/uni.json", &deep(levels)).error().0, 400);
    }
    assert_eq!(client.post("/api/mo/uni.json", &"[".repeat(1 << 20)).error().0, 400);
    assert_eq!(tenants(&client), 3);
}

#[test]
fn connections_that_speak_nonsense_hurt_nobody() {
    let controller = Controller::start();
    let client = controller.admin();
    let idle: Vec<_> = (0..50).map(|_| client.stream()).collect();
    let mut plain = std::net::TcpStream::connect(idle[0].sock.peer_addr().unwrap()).unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut garbled = client.stream();
    garbled.write_all(b"\0\xff\xfe garbage\r\n\r\n").unwrap();
    assert_eq!(answer(&mut garbled).status, 400);
    let mut endless = client.stream();
    // It is cut somewhere in the middle.
    let _ = endless.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20)).as_bytes());
    assert_eq!(tenants(&client), 3);
}
