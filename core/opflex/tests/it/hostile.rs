//! Peers that mean harm, or are broken. Their connection ends; nothing else does.

use proptest::prelude::*;
use selvage_opflex::Time;
use selvage_opflex::frame::{FrameTooLong, Framer, STRANGER_FRAME_LIMIT};
use selvage_opflex::message::{Identity, IdentityReply, NotAMessage, decode};
use selvage_opflex::session::{CloseReason, Limits, Session, SessionEvent, Side};

fn server_side() -> Session {
    let reply = IdentityReply {
        name: "controller".into(),
        domain: "selvage".into(),
        your_location: None,
        data: None,
        my_role: Vec::new(),
        peers: Vec::new(),
    };
    Session::start(Side::Server(reply), Limits::SERVER, 0, Time(0))
}

const IDENTITY: &str = r#"{"id":["send_identity",1],"method":"send_identity","params":[{"proto_version":"1.0","name":"a","domain":"d","my_role":["policy_element"]}]}"#;

/// The reason for which a session that has exchanged identities ends on `bytes`.
fn end_of(bytes: &[u8]) -> Option<CloseReason> {
    let mut session = server_side();
    session.receive(&[IDENTITY.as_bytes(), b"\0"].concat(), Time(0));
    session.take_output();
    let mut events = session.receive(bytes, Time(0));
    match events.pop() {
        Some(SessionEvent::Closed(reason)) => {
            session.take_output();
            assert!(
                session
                    .receive(b"{\"id\":1,\"method\":\"echo\",\"params\":[]}\0", Time(0))
                    .is_empty()
            );
            assert!(session.take_output().is_empty(), "a closed session says nothing");
            Some(reason)
        }
        _ => None,
    }
}

#[test]
fn a_frame_that_is_no_message_ends_the_connection_without_an_answer() {
    let deep = format!("{}1{}\0", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!("{}1{}\0", "{\"id\":".repeat(100_000), "}".repeat(100_000));
    let bad: &[&[u8]] = &[
        b"garbage\0",
        b"\x16\x03\x01\x02\x00\x01\x00\0",
        b"{\"id\":[\"echo\",1],\"method\":\"echo\",\"para\0",
        b"{\"id\":1,\"method\":\"echo\",\"params\":[]}{\"id\":2,\"method\":\"echo\",\"params\":[]}\0",
        b"[]\0",
        b"17\0",
        b"null\0",
        b"{}\0",
        b"{\"method\":\"echo\",\"params\":[]}\0",
        b"{\"id\":[\"echo\",1]}\0",
        b"{\"id\":1,\"result\":{}}\0",
        b"{\"id\":[\"echo\"],\"result\":{}}\0",
        b"{\"id\":[\"echo\",-1],\"result\":{}}\0",
        b"{\"id\":[\"echo\",1.5],\"result\":{}}\0",
        b"{\"id\":[1,1],\"result\":{}}\0",
        b"{\"id\":[\"echo\",1],\"error\":7}\0",
        b"{\"id\":[\"echo\",1],\"method\":7,\"params\":[]}\0",
        b"{\"id\":\"\xff\xfe\",\"method\":\"echo\",\"params\":[]}\0",
        deep.as_bytes(),
        deep_object.as_bytes(),
    ];
    for bytes in bad {
        let reason = end_of(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(matches!(reason, Some(CloseReason::Message(_))), "{shown}: {reason:?}");
    }
}

#[test]
fn what_the_reference_implementation_tolerates_is_tolerated() {
    let fine: &[&[u8]] = &[
        b"\0\0\0",
        b" \n\0",
        b"{ \"id\" : \"x\",\n \"method\": \"echo\",\n \"params\": [] }\n\0",
        b"{\"params\":[],\"method\":\"echo\",\"id\":null}\0",
        b"{\"id\":[\"echo\",18446744073709551615],\"result\":[]}\0",
        b"{\"id\":1,\"method\":\"no_such\"}\0",
        b"{\"id\":1,\"method\":\"policy_resolve\"}\0",
        b"{\"id\":1,\"method\":\"policy_resolve\",\"params\":[7]}\0",
        b"{\"id\":1,\"method\":\"endpoint_declare\",\"params\":[{\"endpoint\":[{\"subject\":\"X\",\"uri\":\"no uri\"}],\"prr\":1}]}\0",
    ];
    for bytes in fine {
        assert_eq!(end_of(bytes), None, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_stranger_gets_a_short_frame_and_no_service() {
    let mut session = server_side();
    let events = session.receive(&vec![b'x'; STRANGER_FRAME_LIMIT + 1], Time(0));
    let reason = FrameTooLong { limit: STRANGER_FRAME_LIMIT };
    assert_eq!(events, [SessionEvent::Closed(CloseReason::Frame(reason))]);

    let mut session = server_side();
    session.take_output();
    let resolve = br#"{"id":["policy_resolve",1],"method":"policy_resolve","params":[]}"#;
    let events = session.receive(&[resolve, b"\0".as_slice()].concat(), Time(0));
    assert_eq!(events, [SessionEvent::Closed(CloseReason::OutOfTurn("policy_resolve"))]);
    let answer = String::from_utf8(session.take_output()).unwrap();
    assert!(answer.contains(r#""code":"ESTATE""#), "{answer}");
}

#[test]
fn a_second_identity_ends_the_connection() {
    let bytes = [IDENTITY.as_bytes(), b"\0"].concat();
    assert_eq!(end_of(&bytes), Some(CloseReason::OutOfTurn("send_identity")));
}

#[test]
fn slow_and_silent_peers_are_given_up_in_time() {
    let mut session = server_side();
    for (at, byte) in (0..).zip(IDENTITY.as_bytes().iter().cycle().take(44)) {
        assert!(session.receive(&[*byte], Time(at * 1000)).is_empty());
        assert_eq!(session.handle_timeout(Time(at * 1000)), None);
    }
    let Some(SessionEvent::Closed(CloseReason::Handshake(_))) =
        session.handle_timeout(Time(45_000))
    else {
        panic!("a slow identity exchange was not given up")
    };

    let mut session = server_side();
    session.receive(&[IDENTITY.as_bytes(), b"\0"].concat(), Time(0));
    let mut echoes = Vec::new();
    loop {
        let (due, _) = session.poll_timeout().unwrap();
        session.take_output();
        if let Some(event) = session.handle_timeout(due) {
            assert!(matches!(event, SessionEvent::Closed(CloseReason::Silence(_))));
            assert_eq!(due, Time(120_000));
            break;
        }
        echoes.push(due.0);
    }
    assert_eq!(&echoes[..3], [10_000, 25_000, 40_000], "echoes at +10 s, then every 15 s");
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn an_agent_that_is_refused_says_why() {
    let identity = Identity::agent("a", "d");
    let mut session = Session::start(Side::Agent(identity), Limits::AGENT, 1, Time(0));
    let refusal = br#"{"id":["send_identity",1],"error":{"code":"ERROR","message":"no"}}"#;
    let events = session.receive(&[refusal, b"\0".as_slice()].concat(), Time(0));
    let [SessionEvent::Closed(reason)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(reason.to_string(), "the server refused the identity: ERROR: no");
}

#[test]
fn depth_is_refused_by_the_decoder_itself() {
    let frame = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    assert!(matches!(decode(frame.as_bytes()), Err(NotAMessage::Json(_))));
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_makes_no_difference(
        frames in proptest::collection::vec("[ -~]{0,40}", 0..12),
        cuts in proptest::collection::vec(1usize..30, 0..40),
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|f| [f.as_bytes(), b"\0"].concat()).collect();
        let whole: Vec<&String> = frames.iter().filter(|f| !f.trim().is_empty()).collect();
        let mut framer = Framer::new(100);
        let mut got = Vec::new();
        let mut rest = stream.as_slice();
        let mut cuts = cuts.into_iter();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
            rest = later;
            framer.push(now);
            while let Some(frame) = framer.next_frame().unwrap() {
                got.push(String::from_utf8(frame.to_vec()).unwrap());
            }
        }
        prop_assert_eq!(got.iter().collect::<Vec<_>>(), whole);
    }

    #[test]
    fn no_bytes_make_a_session_panic(chunks in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..64), 0..8)) {
        let mut session = server_side();
        for chunk in chunks {
            session.receive(&chunk, Time(0));
        }
    }

    #[test]
    fn no_json_makes_a_session_panic(frames in proptest::collection::vec(json(), 1..6)) {
        let mut session = server_side();
        session.receive(&[IDENTITY.as_bytes(), b"\0"].concat(), Time(0));
        for frame in frames {
            session.receive(format!("{frame}\0").as_bytes(), Time(0));
        }
    }
}

/// JSON that looks like OpFlex in places.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let word = prop::sample::select(vec![
        "id",
        "method",
        "params",
        "result",
        "error",
        "policy_resolve",
        "policy_update",
        "endpoint_declare",
        "state_report",
        "subject",
        "uri",
        "policy_uri",
        "prr",
        "replace",
        "properties",
        "name",
        "data",
        "children",
        "/a/",
        "/a/b/",
        "echo",
        "reference_uri",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            proptest::collection::vec((word.clone(), inner), 0..6).prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
                serde_json::Value::Object(members.collect())
            }),
        ]
    })
}
