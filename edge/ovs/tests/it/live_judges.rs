//! The plane's two judges against the rule table: its flows in Rust, and the switch's own trace.

use selvage_agent::judge::{At, Case, Opinion, Party, answers};
use selvage_rules::{Encapsulation, EtherType, Packet, Reason, Table, TcpFlags, Verdict, proto};
use selvage_testkit::fabric::{group_of, matrix::six_workloads};

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
    let host = &mut rig.hosts[host];
    let opinions = host.space.ns.run(|| host.plane.judge(case)).unwrap();
    match opinions {
        Ok(opinions) if opinions.lowered == expected && opinions.live == expected => {}
        other => wrong.push(format!("{case:?}\n  expected {expected:?}\n  got {other:?}\n")),
    }
}
