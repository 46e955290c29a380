//! The Open vSwitch plane: its flows, evaluated in Rust.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use selvage_agent::judge::{At, Case, Opinion, is_neighbour_discovery};
use selvage_ovs::Flows;
use selvage_ovs::eval::{Carried, Outcome, Tables, Tracked};
use selvage_ovs::lower::{Bridge, lower};
use selvage_ovs::openflow::{Field, ct_state};
use selvage_ovs::tables::{Stage, reg};
use selvage_rules::{Desired, Encapsulation, EtherType, Mac, Packet, Reason, RuleId, proto};

use super::Plane;

/// This host's tunnel address, as a switch has it.
const TUNNEL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The number of the tunnel port; endpoints' ports have the numbers of their links and this.
const TUNNEL_PORT: u32 = 1;

/// What [`selvage_ovs::lower`] makes of it, evaluated in Rust. Its peers speak `epg-vni` all, since
/// that is all it speaks itself.
#[derive(Default)]
pub struct LoweredOvs {
    flows: Flows,
}

impl Plane for LoweredOvs {
    fn name(&self) -> &'static str {
        "ovs lowered"
    }

    fn install(&mut self, desired: &Desired) -> Result<(), String> {
        let ports: BTreeMap<u32, u32> =
            desired.locals.values().map(|local| (local.ifindex, number(local.ifindex))).collect();
        let exits = BTreeMap::new();
        let bridge = Bridge { ports, tunnel_port: TUNNEL_PORT, exits, tunnel: TUNNEL.into() };
        let tunnels = desired.tunnels.keys().map(|peer| (*peer, Encapsulation::EpgVni)).collect();
        let desired = Desired { tunnels, ..desired.clone() };
        let lowered = lower(&desired, &bridge).map_err(|error| error.to_string())?;
        // What is unsupported has a name, and denies.
        self.flows = lowered.flows;
        Ok(())
    }

    /// A connection is there where the flows keep that of the packet which opens it.
    fn judge(&mut self, case: &Case) -> Result<Opinion, String> {
        let tables = Tables::new(&self.flows);
        let run = |case: &Case, tracked| tables.run(carried(case), Stage::Port, tracked);
        let new = Tracked { state: ct_state::TRK | ct_state::NEW, ..Tracked::default() };
        let opening = case.opening().filter(|o| is_turned(&case.packet, &o.packet));
        let tracked = match opening.filter(|opening| run(opening, new).committed) {
            Some(opening) => belongs_to(&opening.packet),
            None => new,
        };
        Ok(opinion(&run(case, tracked)))
    }

    fn forget(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Where it knows less of a packet than the rules do: ICMP of the other family is malformed to
    /// it at a port, and has no type out of the tunnel; ARP with no operation is malformed. Its
    /// later fragments of IPv6 show it no protocol, and it denies where one matters. Its
    /// tracker follows no other protocols than TCP, UDP and ICMP, and does not remember by which
    /// flags a connection was opened: it is taken for a SYN.
    fn carries(&self, case: &Case) -> bool {
        let packet = &case.packet;
        let is_tracked = |opening: Packet| match opening.proto {
            proto::TCP => opening.tcp_flags.0 & 0x16 == 0x02,
            other => [proto::UDP, proto::ICMP, proto::ICMPV6].contains(&other),
        };
        let crossed = matches!(
            (packet.ether, packet.proto),
            (EtherType::IPV4, proto::ICMPV6) | (EtherType::IPV6, proto::ICMP)
        );
        let opened = case.answers.is_none_or(is_tracked);
        let hidden = packet.later_fragment && packet.ether == EtherType::IPV6;
        let no_operation = packet.ether == EtherType::ARP && packet.arp_op == 0;
        opened && !(crossed || hidden || no_operation)
    }
}

fn number(ifindex: u32) -> u32 {
    ifindex + TUNNEL_PORT
}

/// The same ports the other way round, and no later fragment: the tracker finds one by the other.
fn is_turned(packet: &Packet, opening: &Packet) -> bool {
    let is_icmp = matches!(packet.proto, proto::ICMP | proto::ICMPV6);
    let echo = matches!((opening.icmp_type, packet.icmp_type), (8, 0) | (128, 129));
    packet.ether == opening.ether
        && packet.proto == opening.proto
        && (packet.sport, packet.dport) == (opening.dport, opening.sport)
        && !packet.later_fragment
        && !opening.later_fragment
        && (!is_icmp || echo)
}

/// What the tracker says of an answer to `opening`.
fn belongs_to(opening: &Packet) -> Tracked {
    let is_icmp = matches!(opening.proto, proto::ICMP | proto::ICMPV6);
    let (from, to) = if is_icmp {
        (opening.icmp_type.into(), opening.icmp_code.into())
    } else {
        (opening.sport, opening.dport)
    };
    let state = ct_state::TRK | ct_state::EST | ct_state::RPL;
    Tracked { state, proto: opening.proto, from, to, dscp: opening.dscp }
}

/// The packet as it comes in.
fn carried(case: &Case) -> Carried {
    let packet = &case.packet;
    let mut carried = Carried::of(packet);
    let mut set = |field, value: u128| carried.set(field, value);
    match case.from.at {
        At::Port(ifindex) => set(Field::InPort, number(ifindex).into()),
        At::Host { tunnel, .. } => {
            set(Field::InPort, TUNNEL_PORT.into());
            if let IpAddr::V4(tunnel) = tunnel {
                set(Field::TunSrc, u32::from(tunnel).into());
            }
            set(Field::TunId, case.from.group.map_or(0, |group| group.0).into());
        }
    }
    let to = if case.is_bridged() { case.to.endpoint.mac } else { case.from.gateway };
    let to = if packet.ether == EtherType::ARP { Mac([0xff; 6]) } else { to };
    set(Field::EthSrc, mac(case.from.endpoint.mac));
    set(Field::EthDst, mac(to));
    let Some((src, dst)) = case.addresses() else { return carried };
    match (packet.ether, src, dst) {
        (EtherType::ARP, IpAddr::V4(src), IpAddr::V4(dst)) => {
            set(Field::ArpSha, mac(case.from.endpoint.mac));
            set(Field::ArpSpa, u32::from(src).into());
            set(Field::ArpTpa, u32::from(dst).into());
        }
        (EtherType::IPV4, IpAddr::V4(src), IpAddr::V4(dst)) => {
            set(Field::Ipv4Src, u32::from(src).into());
            set(Field::Ipv4Dst, u32::from(dst).into());
            set(Field::IpTtl, 64);
        }
        (EtherType::IPV6, IpAddr::V6(src), IpAddr::V6(dst)) => {
            set(Field::Ipv6Src, src.into());
            set(Field::Ipv6Dst, dst.into());
            let discovery = is_neighbour_discovery(packet);
            set(Field::IpTtl, if discovery { 255 } else { 64 });
            if discovery {
                let own = packet.icmp_type == 136;
                set(Field::NdTarget, if own { src.into() } else { dst.into() });
            }
        }
        _ => {}
    }
    carried
}

fn mac(mac: Mac) -> u128 {
    mac.0.iter().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

/// What the registers say at the end; what the fabric answers or takes in itself ends where it is
/// answered.
fn opinion(outcome: &Outcome) -> Opinion {
    const ANSWERED: [Stage; 4] = [Stage::ArpSource, Stage::Arp, Stage::Nd, Stage::NdReply];
    let last = outcome.path.last().copied();
    if ANSWERED.iter().any(|stage| Some(stage.table()) == last) {
        return Opinion { reason: Reason::Fabric, rule: None };
    }
    let code = u8::try_from(outcome.carried.get(reg::REASON)).ok();
    let reason = code.and_then(Reason::from_code).unwrap_or(Reason::Malformed);
    let rule = u32::try_from(outcome.carried.get(reg::RULE)).ok().filter(|rule| *rule != 0);
    Opinion { reason, rule: rule.map(RuleId) }
}
