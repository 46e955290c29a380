//! Single packets through `from_endpoint`, by BPF_PROG_TEST_RUN: what it answers, what it refuses
//! and why.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use selvage_agent::datapath::Datapath;
use selvage_ebpf::Run;
use selvage_rules::{ClassId, EtherType, Mac, Match, Packet, Reason, RuleId, TcpFlags, proto};

use crate::frame::{self, ETH, V4, V6};
use crate::policy::{
    APP, DB, FRONT, GATEWAY_MAC, WEB, empty_table, ip, permit, set_pair, stateful, tcp, three_tier,
    udp,
};
use crate::rig::{Maps, Rig, SILENT, Wanted, one};
use selvage_testkit::fabric::matrix::six_workloads;

pub const SHOT: u32 = 2;
pub const REDIRECT: u32 = 7;
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

/// One host, six workloads, whose links are down: no stack sends anything.
fn rig() -> Rig {
    Rig::with(one(), &local(), three_tier(), SILENT)
}

pub fn local() -> Vec<Wanted> {
    six_workloads().into_iter().map(|wanted| Wanted { host: 0, ..wanted }).collect()
}

/// Runs `frame` as if `from` had sent it.
fn send(rig: &Rig, from: &str, frame: &[u8]) -> Run {
    let host = &rig.hosts[0];
    let ifindex = rig.of(from).port.ifindex;
    let run = || host.plane.programs().from_endpoint.run_on_packet(frame, ifindex, 1);
    host.space.ns.run(run).unwrap().unwrap()
}

/// Sends, and gives the reason that was counted.
fn reason(rig: &mut Rig, from: &str, frame: &[u8]) -> Reason {
    let before = rig.hosts[0].plane.counters().unwrap().reasons;
    let run = send(rig, from, frame);
    let after = rig.hosts[0].plane.counters().unwrap().reasons;
    let counted = |reason: &Reason| {
        after.get(reason).map(|count| count.packets) != before.get(reason).map(|c| c.packets)
    };
    let reasons: Vec<Reason> = Reason::ALL.iter().copied().filter(counted).collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let passed = run.returned == REDIRECT;
    assert!(passed || run.returned == SHOT);
    if reasons[0] != Reason::Fabric {
        assert_eq!(passed, reasons[0].is_allow(), "{:?}", reasons[0]);
    }
    reasons[0]
}

/// A frame from one workload to another: bridged within a bridge domain, else to the gateway.
pub fn between(rig: &Rig, from: &str, to: &str, packet: &Packet) -> Vec<u8> {
    let (from, to) = (rig.of(from), rig.of(to));
    let v6 = packet.ether == EtherType::IPV6;
    let bridged = from.endpoint.bd == to.endpoint.bd;
    let mac = if bridged { to.endpoint.mac } else { GATEWAY_MAC };
    frame::frame(mac, from.endpoint.mac, from.ip(v6), to.ip(v6), packet)
}

fn syn(port: u16) -> Packet {
    Packet::tcp_syn(EtherType::IPV4, 40000, port)
}

#[test]
fn nobody_speaks_for_another() {
    let mut rig = rig();
    let web = rig.of("web-a").endpoint.clone();
    let app = rig.of("app-a").endpoint.clone();
    let good = between(&rig, "web-a", "app-a", &syn(8080));
    assert_eq!(reason(&mut rig, "web-a", &good), Reason::Contract);
    assert_eq!(reason(&mut rig, "web-b", &good), Reason::SpoofedMac);
    let frame = frame::frame(app.mac, web.mac, ip("10.1.0.11"), ip("10.1.0.20"), &syn(8080));
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::SpoofedIp);
    let packet = Packet::tcp_syn(EtherType::IPV6, 1, 8080);
    let (src, dst) = (ip("2001:db8:1::11"), ip("2001:db8:1::20"));
    let frame = frame::frame(app.mac, web.mac, src, dst, &packet);
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::SpoofedIp);
    let frame = frame::frame(app.mac, web.mac, ip("fe80::1"), dst, &packet);
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::SpoofedIp);
    // The gateway's address is nobody's to use.
    let frame = frame::frame(app.mac, web.mac, ip("10.1.0.1"), ip("10.1.0.20"), &syn(8080));
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::SpoofedIp);
    // Not even by an endpoint that was given it.
    let ips = rig.of("web-b").endpoint.ips.clone();
    rig.workloads.get_mut("web-b").unwrap().endpoint.ips = vec![ip("10.1.0.1"), ips[0], ips[1]];
    rig.apply();
    let frame = frame::frame(
        app.mac,
        rig.of("web-b").endpoint.mac,
        ip("10.1.0.1"),
        ip("10.1.0.20"),
        &syn(8080),
    );
    assert_eq!(reason(&mut rig, "web-b", &frame), Reason::SpoofedIp);
    let second = between(&rig, "web-b", "app-a", &Packet::tcp_syn(EtherType::IPV6, 1, 8080));
    assert_eq!(reason(&mut rig, "web-b", &second), Reason::Contract);

    let broadcast = Mac([0xff; 6]);
    for (mac, sender) in [(web.mac, [10, 1, 0, 11]), (web.mac, [10, 1, 0, 1])] {
        let frame = frame::arp(broadcast, web.mac, 1, (mac, sender), [10, 1, 0, 20]);
        assert_eq!(reason(&mut rig, "web-a", &frame), Reason::SpoofedArp);
    }
    let frame = frame::arp(broadcast, web.mac, 2, (app.mac, [10, 1, 0, 10]), [10, 1, 0, 20]);
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::SpoofedArp);
    let other: Ipv6Addr = "2001:db8:1::11".parse().unwrap();
    let frame = frame::solicitation(web.mac, other, "2001:db8:1::20".parse().unwrap());
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::SpoofedArp);
}

#[test]
fn arp_is_answered_for_gateway_and_neighbours() {
    let mut rig = rig();
    let web = rig.of("web-a").endpoint.clone();
    let neighbour = rig.of("app-a").endpoint.mac;
    let broadcast = Mac([0xff; 6]);
    let sender = (web.mac, [10, 1, 0, 10]);
    for (target, mac) in [([10, 1, 0, 1], GATEWAY_MAC), ([10, 1, 0, 20], neighbour)] {
        let run = send(&rig, "web-a", &frame::arp(broadcast, web.mac, 1, sender, target));
        assert_eq!(run.returned, REDIRECT);
        let mut answer = frame::arp(web.mac, mac, 2, (mac, target), [10, 1, 0, 10]);
        answer[ETH + 18..ETH + 24].copy_from_slice(&web.mac.0);
        assert_eq!(run.packet, answer);
    }
    // Of another bridge domain, and of nobody.
    for target in [[10, 2, 0, 30], [10, 2, 0, 1], [10, 1, 0, 99]] {
        let frame = frame::arp(broadcast, web.mac, 1, sender, target);
        assert_eq!(reason(&mut rig, "web-a", &frame), Reason::UnknownDestination);
    }
    // A probe, and an announcement.
    for (sender, target) in [([0; 4], [10, 1, 0, 20]), ([10, 1, 0, 10], [10, 1, 0, 10])] {
        let frame = frame::arp(broadcast, web.mac, 1, (web.mac, sender), target);
        assert_eq!(send(&rig, "web-a", &frame).returned, SHOT);
        assert_eq!(reason(&mut rig, "web-a", &frame), Reason::Fabric);
    }
}

#[test]
fn neighbour_discovery_is_answered_for_gateway_and_neighbours() {
    let mut rig = rig();
    let web = rig.of("web-a").endpoint.clone();
    let own: Ipv6Addr = "2001:db8:1::a".parse().unwrap();
    let neighbour = rig.of("app-a").endpoint.mac;
    let link_local: Ipv6Addr = "fe80::5".parse().unwrap();
    for (target, mac, router) in
        [("2001:db8:1::1", GATEWAY_MAC, 0x80), ("2001:db8:1::14", neighbour, 0)]
    {
        for src in [own, link_local] {
            let target: Ipv6Addr = target.parse().unwrap();
            let run = send(&rig, "web-a", &frame::solicitation(web.mac, src, target));
            assert_eq!(run.returned, REDIRECT);
            let mut nd = vec![136, 0, 0, 0, 0x60 | router, 0, 0, 0];
            nd.extend(target.octets());
            nd.extend([2, 1]);
            nd.extend(mac.0);
            let sum = frame::transport_sum(target.into(), src.into(), proto::ICMPV6, &nd);
            nd[2..4].copy_from_slice(&sum.to_be_bytes());
            let answer = frame::ipv6(target, src, proto::ICMPV6, 255, &nd);
            assert_eq!(run.packet, frame::ethernet(web.mac, mac, EtherType::IPV6, &answer));
        }
    }
    // Duplicate address detection expects silence.
    let probe = frame::solicitation(web.mac, Ipv6Addr::UNSPECIFIED, own);
    assert_eq!(send(&rig, "web-a", &probe).returned, SHOT);
    assert_eq!(reason(&mut rig, "web-a", &probe), Reason::Fabric);
    // One that was forwarded is none: RFC 4861, 7.1.1.
    let mut far = frame::solicitation(web.mac, own, "2001:db8:1::1".parse().unwrap());
    far[ETH + 7] = 254;
    assert_eq!(reason(&mut rig, "web-a", &far), Reason::Malformed);
}

#[test]
fn the_gateway_answers_echo_and_nothing_else() {
    let mut rig = rig();
    let web = rig.of("web-a").endpoint.clone();
    for (src, gateway) in [
        ("10.1.0.10", "10.1.0.1"),
        ("10.1.0.10", "10.2.0.1"),
        ("2001:db8:1::a", "2001:db8:1::1"),
        ("2001:db8:1::a", "2001:db8:2::1"),
    ] {
        let (src, gateway) = (ip(src), ip(gateway));
        let ether = if src.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let l4_at = if src.is_ipv4() { ETH + V4 } else { ETH + V6 };
        let mut request =
            frame::frame(GATEWAY_MAC, web.mac, src, gateway, &Packet::echo_request(ether));
        let l4 = &request[l4_at..];
        let sum = if src.is_ipv4() {
            frame::checksum(l4)
        } else {
            frame::transport_sum(src, gateway, proto::ICMPV6, l4)
        };
        request[l4_at + 2..l4_at + 4].copy_from_slice(&sum.to_be_bytes());
        let run = send(&rig, "web-a", &request);
        assert_eq!(run.returned, REDIRECT, "{src} -> {gateway}");
        let reply = &run.packet[l4_at..];
        assert_eq!(reply[0], if src.is_ipv4() { 0 } else { 129 });
        let sum = if src.is_ipv4() {
            assert_eq!(frame::checksum(&run.packet[ETH..l4_at]), 0, "IPv4 header");
            frame::checksum(reply)
        } else {
            frame::transport_sum(gateway, src, proto::ICMPV6, reply)
        };
        assert_eq!(sum, 0, "{src} -> {gateway}");
        assert_eq!(run.packet[..6], web.mac.0);
    }
    let frame = frame::frame(GATEWAY_MAC, web.mac, ip("10.1.0.10"), ip("10.1.0.1"), &syn(22));
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::Gateway);
}

#[test]
fn routing_takes_a_hop_and_writes_the_macs() {
    let mut rig = rig();
    let (app, db) = (rig.of("app-a").endpoint.clone(), rig.of("db-a").endpoint.clone());
    for ether in [EtherType::IPV4, EtherType::IPV6] {
        let packet = Packet::tcp_syn(ether, 40000, 5432);
        let mut frame = between(&rig, "app-a", "db-a", &packet);
        let run = send(&rig, "app-a", &frame);
        assert_eq!(run.returned, REDIRECT);
        assert_eq!((&run.packet[..6], &run.packet[6..12]), (&db.mac.0[..], &GATEWAY_MAC.0[..]));
        let hops_at = if ether == EtherType::IPV4 { ETH + 8 } else { ETH + 7 };
        assert_eq!(run.packet[hops_at], 63);
        if ether == EtherType::IPV4 {
            assert_eq!(frame::checksum(&run.packet[ETH..ETH + V4]), 0);
        }
        frame[hops_at] = 1;
        assert_eq!(reason(&mut rig, "app-a", &frame), Reason::TtlExpired);
    }
    // Bridged packets keep theirs.
    let bridged = between(&rig, "web-a", "app-a", &syn(8080));
    assert_eq!(send(&rig, "web-a", &bridged).packet, bridged);
    // Not by another bridge domain's MAC, nor to nobody.
    let direct = frame::frame(db.mac, app.mac, ip("10.1.0.20"), ip("10.2.0.30"), &syn(5432));
    assert_eq!(reason(&mut rig, "app-a", &direct), Reason::UnknownDestination);
    let nobody = frame::frame(NOBODY, app.mac, ip("10.1.0.20"), ip("10.1.0.10"), &syn(80));
    assert_eq!(reason(&mut rig, "app-a", &nobody), Reason::UnknownDestination);

    rig.table.bridge_domains.get_mut(&FRONT).unwrap().routed = false;
    rig.apply();
    let routed = between(&rig, "app-a", "db-a", &syn(5432));
    assert_eq!(reason(&mut rig, "app-a", &routed), Reason::NotRouted);
    let home = between(&rig, "db-a", "app-a", &syn(1));
    assert_eq!(reason(&mut rig, "db-a", &home), Reason::NotRouted);
}

#[test]
fn what_is_malformed_is_dropped_as_that() {
    let mut rig = rig();
    let (web, app) = (rig.of("web-a").endpoint.clone(), rig.of("app-a").endpoint.clone());
    let good = between(&rig, "web-a", "app-a", &syn(8080));
    // Test runs refuse to make a packet shorter than its IP header.
    let mut bad = vec![good[..ETH + V4].to_vec(), good[..ETH + V4 + 13].to_vec()];
    for (at, byte) in [(ETH, 0x55), (ETH, 0x44), (ETH, 0x65), (ETH + 3, 255), (ETH + 3, 19)] {
        let mut frame = good.clone();
        frame[at] = byte;
        bad.push(frame);
    }
    for frame in &bad {
        let reason = reason(&mut rig, "web-a", frame);
        assert_eq!(reason, Reason::Malformed, "{frame:x?}");
    }
    let lldp = frame::ethernet(app.mac, web.mac, EtherType(0x88cc), &[0; 50]);
    assert_eq!(reason(&mut rig, "web-a", &lldp), Reason::UnsupportedEthertype);

    // Destination options, as many as are followed and one more.
    let (src, dst) = ("2001:db8:1::a".parse().unwrap(), "2001:db8:1::14".parse().unwrap());
    let packet = Packet::tcp_syn(EtherType::IPV6, 40000, 8080);
    for (headers, expected) in [(6, Reason::Contract), (7, Reason::ExtensionHeader)] {
        let mut payload = Vec::new();
        for left in (0..headers).rev() {
            payload.extend([if left == 0 { proto::TCP } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        payload.extend(frame::transport(&packet));
        let packet = frame::ipv6(src, dst, 60, 64, &payload);
        let frame = frame::ethernet(app.mac, web.mac, EtherType::IPV6, &packet);
        assert_eq!(reason(&mut rig, "web-a", &frame), expected, "{headers} headers");
    }
}

#[test]
fn fragments_pass_by_rules_without_ports_only() {
    let mut rig = rig();
    for ether in [EtherType::IPV4, EtherType::IPV6] {
        let later = Packet { later_fragment: true, ..Packet::udp(ether, 1, 5353) };
        let frame = between(&rig, "app-a", "db-a", &later);
        assert_eq!(reason(&mut rig, "app-a", &frame), Reason::Fragment);
        let frame = between(&rig, "app-a", "app-b", &later);
        assert_eq!(reason(&mut rig, "app-a", &frame), Reason::IntraGroup);
    }
}

#[test]
fn an_answer_needs_a_question_that_is_still_allowed() {
    let mut rig = rig();
    let (app, db) = (ip("10.1.0.20"), ip("10.2.0.30"));
    let (app_mac, db_mac) = (rig.of("app-a").endpoint.mac, rig.of("db-a").endpoint.mac);
    let ack = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
    let there =
        |sport, port| frame::frame(GATEWAY_MAC, app_mac, app, db, &Packet { sport, ..syn(port) });
    let home = |flags, sport: u16, port: u16| {
        let packet = Packet { sport: port, dport: sport, tcp_flags: flags, ..syn(port) };
        frame::frame(GATEWAY_MAC, db_mac, db, app, &packet)
    };
    // Nobody asked.
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 1, 5432)), Reason::NoContract);
    assert_eq!(reason(&mut rig, "app-a", &there(1, 5432)), Reason::Contract);
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 1, 5432)), Reason::Established);
    // Another port of the asker, and a question in place of an answer.
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 2, 5432)), Reason::NoContract);
    assert_eq!(reason(&mut rig, "db-a", &home(TcpFlags::SYN, 1, 5432)), Reason::NoContract);
    // The rule is gone; then there again.
    let rules = rig.table.clone();
    set_pair(&mut rig.table, APP, DB, 90, vec![stateful(91, tcp(1))]);
    rig.apply();
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 1, 5432)), Reason::NoContract);
    rig.table = rules;
    rig.apply();
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 1, 5432)), Reason::Established);
    // The endpoint moves to a group that may not ask.
    rig.workloads.get_mut("app-a").unwrap().endpoint.class = WEB;
    rig.apply();
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 1, 5432)), Reason::NoContract);
    rig.workloads.get_mut("app-a").unwrap().endpoint.class = APP;
    rig.apply();

    // Idle for three minutes it is over, unless both sides have spoken: then it takes two hours.
    let later = |seconds| {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
        Duration::from(now) + Duration::from_secs(seconds)
    };
    assert_eq!(reason(&mut rig, "app-a", &there(3, 5432)), Reason::Contract);
    let swept = rig.hosts[0].plane.sweep(later(180)).unwrap();
    assert_eq!((swept.forgotten, swept.kept), (1, 1));
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 3, 5432)), Reason::NoContract);
    assert_eq!(reason(&mut rig, "db-a", &home(ack, 1, 5432)), Reason::Established);
    let swept = rig.hosts[0].plane.sweep(later(7300)).unwrap();
    assert_eq!((swept.forgotten, swept.kept), (1, 0));
}

#[test]
fn connections_have_an_end_for_each_endpoint_and_for_all() {
    let capped = Maps {
        configure: Some(|config| {
            config.connections_per_endpoint = 10;
            config.sizes.connections = 64;
        }),
        config: None,
    };
    let mut rig = Rig::with([capped], &local(), three_tier(), SILENT);
    let open = |rig: &mut Rig, from: &str, sport| {
        let frame = between(rig, from, "web-a", &Packet { sport, ..syn(80) });
        reason(rig, from, &frame)
    };
    for sport in 1..=10 {
        assert_eq!(open(&mut rig, "db-a", sport), Reason::Contract);
    }
    assert_eq!(open(&mut rig, "db-a", 11), Reason::ConntrackCap);
    assert_eq!(open(&mut rig, "db-a", 5), Reason::Contract, "an open one is not in the way");
    assert_eq!(open(&mut rig, "db-b", 11), Reason::Contract, "another has its own allowance");
    // What a port that goes had open is free again.
    let port = rig.of("db-a").port.clone();
    let host = &mut rig.hosts[0];
    host.space.ns.run(|| host.plane.detach_port(&port)).unwrap().unwrap();
    let swept = rig.hosts[0].plane.sweep(Duration::ZERO).unwrap();
    assert_eq!((swept.forgotten, swept.kept), (0, 1));

    let few = Maps { configure: Some(|config| config.sizes.connections = 4), config: None };
    let mut rig = Rig::with([few], &local(), three_tier(), SILENT);
    let results: BTreeSet<Reason> = (1..300).map(|sport| open(&mut rig, "db-a", sport)).collect();
    assert_eq!(results, BTreeSet::from([Reason::Contract, Reason::ConntrackFull]));
    assert_eq!(open(&mut rig, "db-a", 1), Reason::Contract, "a live one stays");
}

#[test]
fn a_large_set_is_searched_to_its_end() {
    let mut rig = rig();
    let mut rules: Vec<_> = (1..4096).map(|n| permit(1000 + u32::from(n), udp(n))).collect();
    rules.push(permit(9000, tcp(7777)));
    set_pair(&mut rig.table, WEB, APP, 50, rules);
    rig.apply();
    let frame = between(&rig, "web-a", "app-a", &syn(7777));
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::Contract);
    let frame = between(&rig, "web-a", "app-a", &syn(7778));
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::NoContract);
    let counters = rig.hosts[0].plane.counters().unwrap();
    assert_eq!(counters.rules[&RuleId(9000)].packets, 1);

    // Twice as many do not fit beside them: refused, and nothing has changed.
    let more = (1..8000).map(|n| permit(20_000 + u32::from(n), udp(n))).collect();
    set_pair(&mut rig.table, WEB, APP, 51, more);
    let desired = rig.desired(0);
    let error = rig.hosts[0].plane.apply(&desired).unwrap_err();
    assert!(error.to_string().contains("table `rules`"), "{error}");
    let frame = between(&rig, "web-a", "app-a", &syn(7777));
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::Contract);
}

#[test]
fn a_vrf_without_enforcement_is_one_pair() {
    let mut table = empty_table();
    let all = selvage_rules::Rule { reason: Reason::Unenforced, ..permit(1, Match::EVERYTHING) };
    set_pair(&mut table, ClassId::ANY, ClassId::ANY, 1, vec![all]);
    let mut rig = Rig::with(one(), &local(), table, SILENT);
    let frame = between(&rig, "web-a", "db-a", &syn(22));
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::Unenforced);
    rig.table = empty_table();
    rig.apply();
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::NoContract);
}

#[test]
fn multicast_is_counted_quietly() {
    let mut rig = rig();
    let web = rig.of("web-a").endpoint.mac;
    let mdns = Packet::udp(EtherType::IPV4, 5353, 5353);
    let (src, dst): (IpAddr, IpAddr) = (ip("10.1.0.10"), Ipv4Addr::new(224, 0, 0, 251).into());
    let frame = frame::frame(Mac([1, 0, 0x5e, 0, 0, 251]), web, src, dst, &mdns);
    assert_eq!(reason(&mut rig, "web-a", &frame), Reason::Multicast);
}
