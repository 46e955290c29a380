//! The OpFlex side, spoken by hand: frames as an agent writes them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::{Controller, eventually};

const WEB: &str = "uni/tn-acme/ap-shop/epg-web";
const POLICY: &str = r#"{"fvTenant":{"attributes":{"name":"acme"},"children":[
    {"fvCtx":{"attributes":{"name":"main"}}},
    {"fvBD":{"attributes":{"name":"net"},"children":[
        {"fvRsCtx":{"attributes":{"tnFvCtxName":"main"}}}]}},
    {"fvAp":{"attributes":{"name":"shop"},"children":[
        {"fvAEPg":{"attributes":{"name":"web"},"children":[
            {"fvRsBd":{"attributes":{"tnFvBDName":"net"}}}]}}]}}]}}"#;

/// An agent that says what the test says.
struct Agent {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Agent {
    fn connect(controller: &Controller) -> Agent {
        let stream = TcpStream::connect(controller.opflex()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Agent { stream, buffer: Vec::new() }
    }

    fn introduce(&mut self, name: &str) -> Value {
        let identity = json!({"proto_version": "1.0", "name": name, "domain": "selvage",
            "my_role": ["policy_element"], "data": {"features": ["selvage"]}});
        self.ask("send_identity", identity)
    }

    /// Sends a request, and returns the answer to it; what else comes is passed over.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = json!([method, 9_223_372_036_854_775_808_u64]);
        self.say(&json!({"id": id, "method": method, "params": [params]}));
        loop {
            let frame = self.hear().expect("the controller closed the connection");
            if frame["id"] == id && frame.get("method").is_none() {
                return frame;
            }
        }
    }

    fn say(&mut self, frame: &Value) {
        let mut bytes = frame.to_string().into_bytes();
        bytes.push(0);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next frame; `None` at the end.
    fn hear(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == 0) {
                let frame = serde_json::from_slice(&self.buffer[..end]).unwrap();
                self.buffer.drain(..=end);
                return Some(frame);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// The revision in the next update.
    fn next_update(&mut self) -> u64 {
        loop {
            let frame = self.hear().expect("the controller closed the connection");
            if frame["method"] == "policy_update" {
                return revision(&frame["params"][0]["replace"]);
            }
        }
    }

    fn acknowledge(&mut self, name: &str, revision: u64) {
        let uri = format!("/SelvageUniverse/SelvageApplied/{name}/");
        let properties =
            json!([{"name": "name", "data": name}, {"name": "revision", "data": revision}]);
        let object = json!({"subject": "SelvageApplied", "uri": uri, "properties": properties,
            "children": []});
        self.ask("state_report", json!({"observable": [object]}));
    }
}

/// The revision among objects.
fn revision(objects: &Value) -> u64 {
    let list = objects.as_array().unwrap();
    let found = list.iter().find(|object| object["subject"] == "SelvageRevision");
    let properties =
        found.unwrap_or_else(|| panic!("no revision in {objects}"))["properties"].clone();
    let property = properties.as_array().unwrap().iter().find(|p| p["name"] == "revision");
    property.unwrap()["data"].as_u64().unwrap()
}

fn resolve(group: &str) -> Value {
    let uri = format!("/SelvageUniverse/SelvageGroup/{}/", group.replace('/', "%2f"));
    json!({"subject": "SelvageGroup", "policy_uri": uri, "prr": 3600})
}

#[test]
fn a_commit_is_enforced_when_the_agent_says_so() {
    let controller = Controller::start();
    let client = controller.admin();
    client.post("/api/mo/uni.json", POLICY);
    let mut agent = Agent::connect(&controller);
    let identity = agent.introduce("host-1");
    let peers = &identity["result"]["peers"];
    assert_eq!(peers[0]["connectivity_info"], controller.opflex().to_string(), "{peers}");
    let policy = agent.ask("policy_resolve", resolve(WEB));
    assert_eq!(revision(&policy["result"]["policy"]), 1);
    agent.acknowledge("host-1", 1);

    let change = r#"{"fvAEPg":{"attributes":{"pcEnfPref":"enforced"}}}"#;
    let made = client.post(&format!("/api/mo/{WEB}.json"), change);
    assert_eq!(made.header("selvage-revision"), Some("2"));
    assert_eq!(agent.next_update(), 2);
    let progress = |query: &str| client.get(&format!("/selvage/v1/revision{query}")).json();
    assert_eq!(progress("")["pending"], json!(["host-1"]));
    assert_eq!(progress("?wait=2&timeout=0")["enforcing"], 0);
    let waiting = {
        let client = client.clone();
        std::thread::spawn(move || client.get("/selvage/v1/revision?wait=2&timeout=30").json())
    };
    agent.acknowledge("host-1", 2);
    let reached = waiting.join().unwrap();
    assert_eq!((&reached["enforcing"], &reached["hosts"]), (&json!(1), &json!(1)), "{reached}");
    assert!(reached["took_ms"].is_u64(), "{reached}");

    let status = client.get("/selvage/v1/status").json();
    let host = &status["hosts"][0];
    assert_eq!((&host["name"], &host["enforces"]), (&json!("host-1"), &json!(2)), "{status}");
    let node =
        client.get("/api/class/fabricNode.json?query-target-filter=eq(fabricNode.role,\"leaf\")");
    assert_eq!(node.first("fabricNode")["fabricSt"], "active");
    drop(agent);
    let offline = || {
        let status = client.get("/selvage/v1/status").json();
        (status["hosts"][0]["online"] == false).then_some(())
    };
    assert!(eventually(offline).is_some(), "a host that is gone is shown online");
}

#[test]
fn hostile_peers_lose_their_connection_and_nobody_else_notices() {
    let controller = Controller::start();
    let client = controller.admin();
    client.post("/api/mo/uni.json", POLICY);
    let mut good = Agent::connect(&controller);
    good.introduce("host-1");
    let endings: [(&str, Vec<u8>); 4] = [
        ("garbage", b"\xff\xfe no json\0".to_vec()),
        ("two objects in a frame", b"{}{}\0".to_vec()),
        ("an endless frame", vec![b'x'; 1 << 20]),
        ("a request before the identity", resolve_frame()),
    ];
    for (what, bytes) in endings {
        let mut hostile = Agent::connect(&controller);
        // It may be cut while it still talks.
        let _ = hostile.stream.write_all(&bytes);
        while hostile.hear().is_some() {}
        let policy = good.ask("policy_resolve", resolve(WEB));
        assert_eq!(revision(&policy["result"]["policy"]), 1, "after {what}");
    }
    let status = client.get("/selvage/v1/status").json();
    assert_eq!(status["progress"]["hosts"], 1);
}

fn resolve_frame() -> Vec<u8> {
    let frame = json!({"id": ["policy_resolve", 1], "method": "policy_resolve",
        "params": [resolve(WEB)]});
    let mut bytes = frame.to_string().into_bytes();
    bytes.push(0);
    bytes
}

#[test]
fn a_peer_that_does_not_read_is_cut_and_does_not_hold_up_others() {
    let controller = Controller::start();
    let client = controller.admin();
    client.post("/api/mo/uni.json", POLICY);
    let mut deaf = Agent::connect(&controller);
    deaf.introduce("deaf");
    let echo = json!({"id": ["echo", 1], "method": "echo", "params": ["x".repeat(60_000)]});
    let mut bytes = echo.to_string().into_bytes();
    bytes.push(0);
    deaf.stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    // Far more answers than it may have waiting; it never reads one.
    let cut = (0..3_000).any(|_| deaf.stream.write_all(&bytes).is_err());
    assert!(cut, "the peer was never cut");
    let mut good = Agent::connect(&controller);
    good.introduce("host-1");
    assert_eq!(revision(&good.ask("policy_resolve", resolve(WEB))["result"]["policy"]), 1);
    assert!(controller.log().contains("cut"), "{}", controller.log());
}
