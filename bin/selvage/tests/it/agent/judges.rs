//! The judges of two real hosts about single packets.

use selvage_agent::local::{Code, End, EndpointView, Judge, Judged, Request, Response};
use selvage_rules::{EtherType, Packet, Reason, TcpFlags};

use super::{Fabric, Space, eventually};
use crate::agent::host::Host;

fn judge(host: &Host, question: Judge) -> Judged {
    match host.ask(&Request::Judge(question)) {
        Response::Judged(judged) => *judged,
        other => panic!("{other:?}"),
    }
}

fn question(from: &EndpointView, to: &EndpointView, packet: Packet) -> Judge {
    let end = |view: &EndpointView| End {
        bridge_domain: view.bridge_domain.clone().unwrap(),
        mac: view.mac,
    };
    Judge { from: end(from), to: end(to), packet, answers: None }
}

#[test]
fn the_judges_of_both_hosts_say_the_same_and_leave_no_trace() {
    let fabric = Fabric::start();
    let (web, db) = (Space::new("web"), Space::new("db"));
    let view_web = fabric.one.attach("web-1", "shop/store/web", &web).unwrap();
    let view_db = fabric.two.attach("db-1", "shop/store/db", &db).unwrap();
    let syn = |port| Packet::tcp_syn(EtherType::IPV4, 40000, port);
    let sql = question(&view_web, &view_db, syn(5432));
    eventually("each host knows the other's endpoint", || {
        let answers = [&fabric.one, &fabric.two].map(|h| h.ask(&Request::Judge(sql.clone())));
        let known = answers.iter().all(|answer| matches!(answer, Response::Judged(_)));
        if known { Ok(()) } else { Err(format!("{answers:?}")) }
    });
    let before = [&fabric.one, &fabric.two].map(|host| host.status());

    let back = Packet { sport: 5432, dport: 40000, tcp_flags: TcpFlags(0x12), ..syn(0) };
    let ping = Packet::echo_request(EtherType::IPV6);
    for (packet, expected, turned) in [
        (syn(5432), Reason::Contract, false),
        (syn(22), Reason::NoContract, false),
        (ping, Reason::Contract, false),
        (back, Reason::Contract, true),
        (syn(5432), Reason::NoContract, true),
    ] {
        let (from, to) = if turned { (&view_db, &view_web) } else { (&view_web, &view_db) };
        for host in [&fabric.one, &fabric.two] {
            let judged = judge(host, question(from, to, packet));
            assert_eq!(judged.dataplane, "ebpf");
            assert_eq!(judged.lowered, judged.live, "{packet:?}");
            assert_eq!(judged.live.opinion.reason, expected, "{packet:?}");
            let origin = judged.live.origin.as_deref();
            let named = expected == Reason::Contract;
            assert_eq!(origin, named.then_some("uni/tn-shop/brc-sql/subj-all"));
        }
    }

    let after = [&fabric.one, &fabric.two].map(|host| host.status());
    for (before, after) in before.iter().zip(&after) {
        for reason in [Reason::Contract, Reason::NoContract] {
            assert_eq!(before.reasons.get(&reason), after.reasons.get(&reason));
        }
        assert_eq!(before.rules, after.rules);
        assert_eq!(after.tables["connections"].used, 0);
    }
    assert!(fabric.one.drops().iter().chain(&fabric.two.drops()).all(|drop| drop.proto != Some(6)));
}

#[test]
fn a_packet_that_cannot_be_judged_is_refused_with_a_reason() {
    let fabric = Fabric::start();
    let web = Space::new("web");
    let view = fabric.one.attach("web-1", "shop/store/web", &web).unwrap();
    let nobody = EndpointView { mac: "02:00:00:00:00:09".parse().unwrap(), ..view.clone() };
    let packet = Packet::udp(EtherType::IPV4, 1, 2);
    for (host, from, to, says) in [
        (&fabric.one, &view, &nobody, "knows no endpoint 02:00:00:00:00:09 in"),
        (&fabric.two, &nobody, &nobody, "knows no endpoint 02:00:00:00:00:09 in"),
    ] {
        match host.ask(&Request::Judge(question(from, to, packet))) {
            Response::Error(refusal) => {
                assert_eq!(refusal.code, Code::NoSuchEndpoint);
                assert!(refusal.message.contains(says), "{}", refusal.message);
            }
            other => panic!("{other:?}"),
        }
    }
}
