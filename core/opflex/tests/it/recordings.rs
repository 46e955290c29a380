//! Sessions of the reference implementation, replayed.

use std::collections::{BTreeMap, VecDeque};

use selvage_opflex::client::{Client, ClientConfig, Event, Output, PeerId, Resolution};
use selvage_opflex::frame::Framer;
use selvage_opflex::message::{BadCall, Call, Message, Reply, decode, encode_outcome};
use selvage_opflex::mo::{Object, Reference};
use selvage_opflex::server::{self, ConnId, PolicySource, Server, ServerConfig};
use selvage_opflex::{Time, Uri};
use selvage_rules::Revision;
use serde_json::{Value as Json, json};

const AGENT: &str = include_str!("../data/reference-agent-session.jsonl");
const CLIENT: &str = include_str!("../data/client-against-reference-server.jsonl");
const FOREIGN: &str = include_str!("../data/reference-agent-against-foreign-server.jsonl");

struct Line {
    from_client: bool,
    message: Json,
}

fn lines(recording: &str) -> Vec<Line> {
    let line = |text: &str| {
        let mut json: Json = serde_json::from_str(text).unwrap();
        let from_client = json["dir"] == "c2s";
        Line { from_client, message: json["msg"].take() }
    };
    recording.lines().map(line).collect()
}

fn frame(message: &Json) -> Vec<u8> {
    let mut bytes = message.to_string().into_bytes();
    bytes.push(0);
    bytes
}

fn messages(bytes: &[u8]) -> Vec<Json> {
    let mut framer = Framer::new(usize::MAX);
    framer.push(bytes);
    let mut all = Vec::new();
    while let Some(frame) = framer.next_frame().unwrap() {
        all.push(serde_json::from_slice(frame).unwrap());
    }
    all
}

fn encode_again(message: &Message) -> Option<Vec<u8>> {
    match message {
        Message::Request { id, call } => Some(call.as_ref().ok()?.encode(id)),
        Message::Response { id, outcome } => Some(encode_outcome(id, outcome)),
    }
}

#[test]
fn every_recorded_frame_survives_decode_and_encode_member_by_member() {
    for recording in [AGENT, CLIENT] {
        for line in lines(recording) {
            if line.message["id"] == "weird-id" && !line.from_client {
                // The answer to a client that numbers its requests in its own way.
                continue;
            }
            let bytes = frame(&line.message);
            let message = decode(&bytes[..bytes.len() - 1]).unwrap();
            if let Some(again) = encode_again(&message) {
                assert_eq!(String::from_utf8(again), String::from_utf8(bytes));
            }
        }
    }
}

#[test]
fn frames_of_another_server_survive_but_for_the_order_of_members() {
    for line in lines(FOREIGN) {
        let mut recorded = line.message;
        let bytes = frame(&recorded);
        let again = encode_again(&decode(&bytes[..bytes.len() - 1]).unwrap()).unwrap();
        if recorded["method"] == "policy_update" {
            // Lists that an update leaves out are as good as empty.
            for name in ["replace", "merge_children", "delete"] {
                let list = recorded["params"][0][name].take();
                recorded["params"][0][name] = if list.is_null() { json!([]) } else { list };
            }
        }
        assert_eq!(messages(&again), [recorded]);
    }
}

#[test]
fn only_the_two_requests_recorded_as_errors_are_errors_here() {
    let mut bad = Vec::new();
    for line in lines(CLIENT).into_iter().chain(lines(AGENT)) {
        let bytes = frame(&line.message);
        if let Ok(Message::Request { call: Err(bad_call), .. }) = decode(&bytes[..bytes.len() - 1])
        {
            bad.push(bad_call.to_string());
        }
    }
    let expected = [
        "ERROR: Malformed message: no prr",
        "EUNSUPPORTED: Policy resolution by ident is not supported",
        "unknown method `no_such_method`",
    ];
    assert_eq!(bad, expected);
    assert!(matches!(
        decode(br#"{"id":["x",1],"method":"x","params":[]}"#),
        Ok(Message::Request { call: Err(BadCall::UnknownMethod(_)), .. })
    ));
}

/// The policy that the recorded server held, as far as it was asked for it.
#[derive(Default)]
struct Recorded(BTreeMap<Uri, Vec<Object>>);

impl Recorded {
    fn of(lines: &[Line]) -> Recorded {
        let mut policy = BTreeMap::new();
        for line in lines.iter().filter(|line| !line.from_client) {
            let mut message = line.message.clone();
            if !message["id"].is_array() {
                message["id"] = json!(["policy_resolve", 0]);
            }
            let bytes = frame(&message);
            if let Ok(Message::Response { outcome: Ok(Reply::Policy(objects)), .. }) =
                decode(&bytes[..bytes.len() - 1])
                && let Some(first) = objects.first()
            {
                policy.insert(first.uri.clone(), objects);
            }
        }
        Recorded(policy)
    }
}

impl PolicySource for Recorded {
    fn resolve(&self, _: &str, uri: &Uri) -> Vec<Object> {
        self.0.get(uri).cloned().unwrap_or_default()
    }

    fn knows(&self, subject: &str) -> bool {
        subject != "NoSuchClass"
    }
}

fn answers_of(outputs: &mut Server, conn: ConnId) -> Vec<Json> {
    let mut all = Vec::new();
    while let Some(output) = outputs.poll_output() {
        match output {
            server::Output::Send { bytes, .. } => all.extend(messages(&bytes)),
            server::Output::Close { .. } => panic!("{conn} was closed"),
            server::Output::Event(_) => {}
        }
    }
    all
}

/// Sends the server what the recorded client sent, and compares each answer with the recording.
fn replay(recording: &str) {
    let lines = lines(recording);
    let policy = Recorded::of(&lines);
    let mut server = Server::new(ServerConfig::new("controller"), Revision(1), Time(0));
    let conn = ConnId(1);
    server.connected(conn, "127.0.0.1:18010", Time(0));
    let greeting = answers_of(&mut server, conn);
    assert_eq!(greeting[0]["method"], "echo", "the first frame of a server is an echo");

    let is_answer = |line: &&Line| !line.from_client && line.message.get("method").is_none();
    let recorded: BTreeMap<String, &Json> = lines
        .iter()
        .filter(is_answer)
        .map(|line| (line.message["id"].to_string(), &line.message))
        .collect();
    for line in lines.iter().filter(|line| line.from_client) {
        server.receive(conn, &frame(&line.message), &policy, Time(0));
        let answers = answers_of(&mut server, conn);
        if line.message.get("method").is_none() {
            assert!(answers.is_empty(), "an answer is not answered: {answers:?}");
            continue;
        }
        let Some(expected) = recorded.get(&line.message["id"].to_string()) else {
            assert!(answers.is_empty(), "{} was not answered", line.message);
            continue;
        };
        assert_eq!(answers.len(), 1, "{}", line.message);
        if line.message["method"] == "send_identity" {
            let peers = &answers[0]["result"]["peers"];
            assert_eq!(*peers, expected["result"]["peers"], "it lists itself as it was reached");
            assert_eq!(answers[0]["result"]["my_role"], expected["result"]["my_role"]);
        } else {
            assert_eq!(&answers[0], *expected, "{}", line.message);
        }
    }
}

#[test]
fn the_server_answers_a_recorded_client_as_the_recorded_server_did() {
    replay(CLIENT);
}

#[test]
fn the_server_answers_a_recorded_agent_as_the_recorded_server_did() {
    replay(AGENT);
}

fn outputs(client: &mut Client) -> (Vec<Json>, Vec<Event>) {
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = client.poll_output() {
        match output {
            Output::Send { bytes, .. } => sent.extend(messages(&bytes)),
            Output::Event(event) => events.push(event),
            Output::Connect { .. } => {}
            Output::Close { .. } => panic!("the client closed the connection"),
        }
    }
    (sent, events)
}

/// Our agent against a recorded server that is none of ours: it follows references one by one.
#[test]
fn the_client_walks_the_recorded_policy_by_its_references() {
    let lines = lines(AGENT);
    let policy = Recorded::of(&lines);
    let group = Uri::parse("/PolicyUniverse/PolicySpace/test/GbpEpGroup/group1/").unwrap();
    let peer = PeerId(0);
    let mut client =
        Client::new(ClientConfig { prr: std::time::Duration::from_secs(30), ..config() }, Time(0));
    client.want(&Reference::new("GbpEpGroup", group.clone()), Time(0));
    client.handle_timeout(Time(0));
    client.connected(peer, Time(0));
    let mut queue: VecDeque<Json> = outputs(&mut client).0.into();
    let identity = lines.iter().find(|l| !l.from_client && l.message["id"][0] == "send_identity");
    let mut asked = Vec::new();
    while let Some(message) = queue.pop_front() {
        let answer = match message["method"].as_str() {
            Some("send_identity") => identity.unwrap().message.clone(),
            Some("policy_resolve") => {
                let params = message["params"].as_array().unwrap();
                assert_eq!(params.len(), 1, "other servers are asked one by one");
                let uri = params[0]["policy_uri"].as_str().unwrap();
                asked.push(uri.to_owned());
                let number = message["id"][1].as_u64().unwrap();
                assert!(number >= 1 << 63, "agent ids start at 2^63");
                let found = policy.resolve("", &Uri::parse(uri).unwrap());
                let outcome = Ok(Reply::Policy(found));
                let id = selvage_opflex::message::Id::new("policy_resolve", number);
                messages(&encode_outcome(&id, &outcome)).remove(0)
            }
            _ => continue,
        };
        client.receive(peer, &frame(&answer), Time(0));
        queue.extend(outputs(&mut client).0);
    }
    assert_eq!(client.resolution(&group), Resolution::Present);
    let needed = asked.iter().filter(|uri| uri.contains("GbpContract") || uri.contains("GbpFlood"));
    assert!(needed.count() >= 3, "{asked:?}");
    let mut unique = asked.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), asked.len(), "nothing is asked twice: {asked:?}");
}

fn config() -> ClientConfig {
    ClientConfig::new("agent", vec!["127.0.0.1:18010".into()])
}

#[test]
fn the_client_takes_recorded_updates_and_refuses_what_is_not_for_an_agent() {
    let recorded = lines(FOREIGN);
    let peer = PeerId(0);
    let mut client = Client::new(config(), Time(0));
    client.handle_timeout(Time(0));
    client.connected(peer, Time(0));
    let mut sent = Vec::new();
    for line in recorded.iter().filter(|line| !line.from_client) {
        client.receive(peer, &frame(&line.message), Time(0));
        sent.extend(outputs(&mut client).0);
    }
    let expected = recorded
        .iter()
        .find(|line| line.from_client && line.message["error"]["code"] == "EUNSUPPORTED");
    assert!(sent.contains(&expected.unwrap().message), "{sent:?}");
}

/// `policy_update` frames carry `Call`s that a server of ours would send as well.
#[test]
fn recorded_updates_are_updates() {
    let updates = lines(AGENT).into_iter().filter(|l| l.message["method"] == "policy_update");
    let mut counts = (0, 0, 0);
    for line in updates {
        let bytes = frame(&line.message);
        let Ok(Message::Request { call: Ok(Call::PolicyUpdate(update)), .. }) =
            decode(&bytes[..bytes.len() - 1])
        else {
            panic!("{} is no update", line.message)
        };
        counts.0 += update.replace.len();
        counts.1 += update.merge_children.len();
        counts.2 += update.delete.len();
    }
    assert!(counts.0 >= 2 && counts.1 >= 1 && counts.2 >= 2, "{counts:?}");
}
