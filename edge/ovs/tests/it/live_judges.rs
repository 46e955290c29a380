//! The plane's two judges against the rule table: its flows in Rust, and the switch's own trace.

use selvage_agent::datapath::ExitLink;
use selvage_agent::judge::{At, Case, Opinion, Party, answers};
use selvage_host::Netlink;
use selvage_rules::{
    BdId, ClassId, Encapsulation, Endpoint, EtherType, GroupId, Packet, Reason, Table, TcpFlags,
    Verdict, proto,
};
use selvage_testkit::fabric::matrix::six_workloads;
use selvage_testkit::fabric::{group_of, outside};

use crate::fabric::{OVS, Rig, Workload};
use crate::policy::{GATEWAY_MAC, SCOPE, three_tier};

fn party(rig: &Rig, workload: &Workload, host: usize) -> Party {
    let at = if workload.wanted.host == host {
        At::Port(workload.port.ifindex)
    } else {
        let tunnel = rig.hosts[workload.wanted.host].tunnel;
        At::Host { tunnel, speaks: Encapsulation::EpgVni }
    };
    Party {
        endpoint: workload.endpoint.clone(),
        gateway: GATEWAY_MAC,
        group: Some(group_of(workload.wanted.class)),
        at,
    }
}

/// Packets, each with what it answers.
fn packets(ether: EtherType) -> Vec<(Packet, Option<Packet>)> {
    let flags = |flags: u8, packet: Packet| Packet { tcp_flags: TcpFlags(flags), ..packet };
    let mut packets = Vec::new();
    for port in [80, 5432, 8080] {
        let syn = Packet::tcp_syn(ether, 40000, port);
        let answer = flags(0x12, Packet::tcp_syn(ether, port, 40000));
        packets.extend([(syn, None), (answer, None), (answer, Some(syn))]);
        packets.push((flags(0x10, syn), None));
    }
    let (there, back) = (Packet::udp(ether, 40000, 5353), Packet::udp(ether, 5353, 40000));
    packets.extend([(there, None), (back, Some(there))]);
    let request = Packet::echo_request(ether);
    let kind = if request.proto == proto::ICMP { 0 } else { 129 };
    let reply = Packet { icmp_type: kind, ..request };
    packets.extend([(request, None), (reply, Some(request))]);
    packets.push((Packet { later_fragment: true, ..Packet::ip(ether, proto::TCP) }, None));
    packets.push((Packet::ip(ether, 47), None));
    packets
}

/// What the table says, as a plane has to say it.
fn expected(table: &Table, case: &Case) -> Opinion {
    let (src, dst) = (case.from.endpoint.class, case.to.endpoint.class);
    let opening = case.answers.filter(|opening| answers(&case.packet, opening));
    let opened = opening.map(|opening| table.judge(SCOPE, dst, src, &opening));
    let verdict = match opened.filter(|verdict| verdict.stateful) {
        Some(opened) => Verdict { reason: Reason::Established, ..opened },
        None => table.judge(SCOPE, src, dst, &case.packet),
    };
    case.as_a_plane_says(verdict.into())
}

/// Every packet between every two endpoints, at every host that meets it.
#[test]
fn the_judges_of_the_plane_say_what_the_table_says() {
    let mut rig = Rig::new([OVS, OVS], &six_workloads(), three_tier());
    let names = ["web-a", "web-b", "app-a", "db-b"];
    let (mut asked, mut wrong) = (0, Vec::new());
    for from in names {
        for to in names.iter().filter(|to| **to != from) {
            for host in 0..2 {
                let (sender, receiver) = (rig.of(from), rig.of(to));
                // A host meets what comes from or goes to an endpoint of its own.
                if sender.wanted.host != host && receiver.wanted.host != host {
                    continue;
                }
                let (sender, receiver) = (party(&rig, sender, host), party(&rig, receiver, host));
                let arp = Packet { arp_op: 1, ..Packet::ip(EtherType::ARP, 0) };
                let strange = Packet::ip(EtherType(0x88cc), 0);
                let all = [packets(EtherType::IPV4), packets(EtherType::IPV6)].concat();
                for (packet, answers) in all.into_iter().chain([(arp, None), (strange, None)]) {
                    let (from, to) = (sender.clone(), receiver.clone());
                    let case = Case { scope: SCOPE, from, to, packet, answers };
                    let Case { from: Party { at: At::Port(_), .. }, .. } = case else {
                        // Address resolution and what is no IP never leaves a host.
                        if !packet.ether.is_ip() {
                            continue;
                        }
                        check(&mut rig, host, &case, &mut wrong);
                        asked += 1;
                        continue;
                    };
                    check(&mut rig, host, &case, &mut wrong);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 500, "{asked}");
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(8)].join("\n")
    );
}

fn check(rig: &mut Rig, host: usize, case: &Case, wrong: &mut Vec<String>) {
    let expected = expected(&rig.table, case);
    hold(rig, host, case, expected, wrong);
}

fn hold(rig: &mut Rig, host: usize, case: &Case, expected: Opinion, wrong: &mut Vec<String>) {
    let host = &mut rig.hosts[host];
    let opinions = host.space.ns.run(|| host.plane.judge(case)).unwrap();
    match opinions {
        Ok(opinions) if opinions.lowered == expected && opinions.live == expected => {}
        other => wrong.push(format!("{case:?}\n  expected {expected:?}\n  got {other:?}\n")),
    }
}

/// Somebody outside, seen from `host`: the border, which is the first, has a port that leads there.
fn outsider(rig: &Rig, host: usize, ip: &str, class: ClassId) -> Party {
    let border = &rig.hosts[0];
    let link = ExitLink::of(SCOPE);
    let at = if host == 0 {
        At::Port(Netlink::open_in(&border.space.ns).unwrap().index_of(&link.plane).unwrap())
    } else {
        At::Host { tunnel: border.tunnel, speaks: Encapsulation::EpgVni }
    };
    let ips = vec![ip.parse().unwrap()];
    Party {
        endpoint: Endpoint { bd: BdId(0), class, mac: link.mac, ips },
        gateway: link.mac,
        group: Some(GroupId(u32::from(class.0))),
        at,
    }
}

/// Between endpoints and addresses outside, at the border and at another host.
#[test]
fn the_judges_say_what_the_table_says_of_the_world_outside() {
    let (mut rig, _world, _exits) = outside::fabric([OVS, OVS], outside::table());
    let (mut asked, mut wrong) = (0, Vec::new());
    let v6 = |ip: &str| ip.contains(':');
    let everybody = outside::INTERNET
        .map(|ip| (ip, outside::VRF, ClassId::DEFAULT_OUTSIDE))
        .into_iter()
        .chain(outside::PARTNERS.map(|ip| (ip, outside::PARTNER, outside::PARTNER)));
    for (ip, sends, receives) in everybody {
        for name in ["web-a", "web-b", "db-a", "db-b", "app-a", "app-b"] {
            let host = rig.of(name).wanted.host;
            let inside = party(&rig, rig.of(name), host);
            let beyond = outsider(&rig, host, ip, sends);
            let class = inside.endpoint.class;
            let ether = if v6(ip) { EtherType::IPV6 } else { EtherType::IPV4 };
            for (packet, opening) in packets(ether) {
                // The switch sees no protocol in the later fragments of IPv6, and denies them.
                if packet.later_fragment && ether == EtherType::IPV6 {
                    continue;
                }
                for outward in [true, false] {
                    let (from, to) = if outward { (&inside, &beyond) } else { (&beyond, &inside) };
                    let (from, to) = (from.clone(), to.clone());
                    let case = Case { scope: SCOPE, from, to, packet, answers: opening };
                    let there = |out: bool, packet: &Packet| match out {
                        true => rig.table.judge(SCOPE, class, receives, packet),
                        false => rig.table.judge(SCOPE, sends, class, packet),
                    };
                    let opened = case.answers.filter(|opening| answers(&case.packet, opening));
                    let opened = opened.map(|opening| there(!outward, &opening));
                    let verdict = match opened.filter(|verdict| verdict.stateful) {
                        Some(opened) => Verdict { reason: Reason::Established, ..opened },
                        None => there(outward, &packet),
                    };
                    let expected = case.as_a_plane_says(verdict.into());
                    hold(&mut rig, host, &case, expected, &mut wrong);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 500, "{asked}");
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(4)].join("\n")
    );
}
