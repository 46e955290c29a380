//! Verdicts in one sentence.

use selvage_model::Dn;
use selvage_rules::{Action, EtherType, Packet, Reason, TcpFlags, proto};

use super::{End, Flow, Leg, treated};

/// The name an object has in its DN, without what its class puts before it.
pub(crate) fn name(dn: &Dn) -> &str {
    dn.rn().split_once('-').map_or(dn.rn(), |(_, name)| name)
}

fn who(end: &End) -> String {
    match &end.endpoint {
        Some(endpoint) if !endpoint.name.is_empty() => {
            format!("{} ({})", endpoint.name, name(&end.group))
        }
        _ => name(&end.group).to_owned(),
    }
}

/// What happens to the packet of `leg`, and why.
pub(super) fn sentence(from: &End, to: &End, leg: &Leg, is_answer: bool) -> String {
    let Leg { packet, verdict, chain, misses, .. } = leg;
    let flow = match Flow::of(packet) {
        // An answer goes to a port that means nothing; where it comes from does.
        Flow::Port { proto, .. } if is_answer => {
            format!("the answer from {}", Flow::Port { proto, port: packet.sport })
        }
        flow if is_answer => format!("the answer to {flow}"),
        flow => flow.to_string(),
    };
    let (a, b) = (who(from), who(to));
    let chain = chain.as_ref();
    let by = chain.and_then(|c| c.contract.as_ref()).map(name);
    if verdict.action != Action::Deny {
        let why = match (by, chain.and_then(|c| c.entry.as_ref())) {
            (Some(contract), Some(entry)) => {
                format!("contract {contract} allows it (entry {})", name(entry))
            }
            _ => verdict.reason.text().to_owned(),
        };
        let also = treated::words(&leg.treated);
        return format!("{flow} from {a} reaches {b}: {why}{also}");
    }
    let why = match verdict.reason {
        Reason::Denied => match by {
            Some(contract) => format!("contract {contract} denies it"),
            None if from.group == to.group => format!("{a} keeps its endpoints apart"),
            None => "one of the two is not in the preferred group".to_owned(),
        },
        Reason::Quarantine => {
            let first = from.problems.first().or(to.problems.first());
            first.map_or_else(|| verdict.reason.text().to_owned(), |p| p.text.clone())
        }
        Reason::UnknownDestination => "the two are in different VRFs".to_owned(),
        reason => reason.text().to_owned(),
    };
    let nearest = misses.first().map(|m| format!("; nearest: {}", m.text)).unwrap_or_default();
    format!("{flow} from {a} does not reach {b}: {why}{nearest}")
}

/// What happens to a flow: to its first packet, and whether an answer comes back.
pub(super) fn summary(forward: &Leg, back: &Leg) -> String {
    let answered = match (forward.verdict.action, back.verdict.action) {
        (Action::Permit | Action::Redirect, Action::Deny) => ", but the answer does not come back",
        _ => "",
    };
    format!("{}{answered}", forward.text)
}

/// One packet in words: `tcp 49152 to 443 over IPv4`.
pub fn packet(packet: &Packet) -> String {
    let family = match packet.ether {
        EtherType::IPV4 => " over IPv4",
        EtherType::IPV6 => " over IPv6",
        EtherType::ARP => return format!("arp operation {}", packet.arp_op),
        other => return format!("a frame of ethertype {:#06x}", other.0),
    };
    let name = super::protocol_name(packet.proto);
    if packet.later_fragment {
        return format!("a later fragment of {name}{family}");
    }
    match packet.proto {
        proto::TCP if packet.tcp_flags == TcpFlags::SYN => {
            format!("{name} {} to {}{family}", packet.sport, packet.dport)
        }
        proto::TCP => {
            let (sport, dport) = (packet.sport, packet.dport);
            format!("{name} {sport} to {dport} with flags {:#04x}{family}", packet.tcp_flags.0)
        }
        proto::UDP | proto::SCTP => format!("{name} {} to {}{family}", packet.sport, packet.dport),
        proto::ICMP | proto::ICMPV6 => {
            format!("{name} type {} code {}{family}", packet.icmp_type, packet.icmp_code)
        }
        _ => format!("{name}{family}"),
    }
}
