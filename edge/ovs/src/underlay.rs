//! The way of tunnel packets between the switch and the host's own link.
//!
//! Open vSwitch's own datapath looks for a port whose link the kernel's routes lead to, and ends a
//! tunnel where a packet is sent to a port that has the tunnel address. So a bridge of ours shares the
//! host's link with the kernel (which goes on to own it, its address and its routes), and the bridge's
//! own port, which stays down, has the tunnel address a second time:
//!
//! ```text
//!   kernel ---- eth0 ---- wire          received: both get it; UDP 4789 goes to the bridge's own
//!                 |                     port, where the tunnel ends
//!     bridge -u --+                     sent: as if received by eth0, back out of it
//! ```
//!
//! The switch has a neighbour table of its own, filled by the answers it sees. A packet to a neighbour
//! that it does not know is lost, so neighbours are asked for before there is one.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use selvage_agent::datapath::PlaneError;
use selvage_agent::frame;
use selvage_host::Netlink;
use selvage_rules::{EtherType, Mac, Prefix, proto};

use crate::config::Config;
use crate::difference::{Flows, difference};
use crate::failure::{Doing, refused};
use crate::lower::Key;
use crate::openflow::{Action, Change, Connection, Field, Flow, FlowFilter, Match, port};
use crate::ovsdb::{BridgeSpec, Client, PortSpec};
use crate::tables::{cookie, mac_value};

/// VXLAN's UDP port (IANA).
pub const VXLAN_PORT: u16 = 4789;

/// RFC 4861, 4.3.
const SOLICITATION: u8 = 135;
/// RFC 4861, 4.4.
const ADVERTISEMENT: u8 = 136;

/// The bridge that has the host's link.
#[derive(Debug)]
pub struct Underlay {
    bridge: Connection,
    link: String,
    number: u32,
    mac: [u8; 6],
    tunnel: IpAddr,
    /// Takes what the kernel makes of the tunnel's packets, which it would answer with an ICMP error
    /// otherwise. Nobody reads it.
    _sink: Option<UdpSocket>,
}

impl Underlay {
    /// Makes the bridge, or takes over what is there.
    pub fn open(
        config: &Config,
        link: &str,
        tunnel: IpAddr,
        database: &mut Client,
        timeout: std::time::Duration,
    ) -> Result<Underlay, PlaneError> {
        let name = config.underlay_bridge();
        let (owner, datapath) = (config.owner.clone(), config.datapath.clone());
        let spec = BridgeSpec { name: name.clone(), owner, datapath };
        let doing = format!("share link `{link}` with the kernel");
        database.ensure_bridge(&spec).doing(&doing)?;
        let number = database.ensure_port(&name, &PortSpec::system(link)).doing(&doing)?;
        let mut netlink = Netlink::open().doing(&doing)?;
        let index = netlink.index_of(&name).doing(&doing)?;
        let held = netlink.addresses(index).doing(&doing)?;
        if !held.iter().any(|(ip, _)| *ip == tunnel) {
            let whole = if tunnel.is_ipv4() { 32 } else { 128 };
            netlink.add_address(index, tunnel, whole).doing(&doing)?;
        }
        let mut bridge = Connection::open(&config.socket(&name), timeout).doing(&doing)?;
        let ports = bridge.ports().doing(&doing)?;
        let own = ports.iter().find(|port| port.number == number);
        let mac = own.ok_or_else(|| refused(&doing, "its port is gone"))?.mac;
        let sink = UdpSocket::bind((tunnel, VXLAN_PORT)).ok();
        let link = link.to_owned();
        let mut underlay = Underlay { bridge, link, number, mac, tunnel, _sink: sink };
        underlay.install().doing(&doing)?;
        Ok(underlay)
    }

    /// Whether the switch is still there.
    pub fn is_open(&self) -> bool {
        self.bridge.is_open()
    }

    /// Makes the switch learn the neighbours by which `peers` are reached.
    pub fn meet(&mut self, peers: impl Iterator<Item = IpAddr>) -> Result<(), PlaneError> {
        let table = |name: &str| {
            fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
        };
        let (v4, v6) = (table("route"), table("ipv6_route"));
        let (v4, v6) = (routes_v4(&v4), routes_v6(&v6));
        let hop = |peer: IpAddr| {
            let routes = if peer.is_ipv4() { &v4 } else { &v6 };
            next_hop(routes, &self.link, peer)
        };
        let hops: BTreeSet<IpAddr> = peers.filter_map(hop).collect();
        for hop in hops {
            let Some(question) = question(Mac(self.mac), self.tunnel, hop) else { continue };
            let out = [Action::Output(self.number)];
            self.bridge
                .packet_out(port::CONTROLLER, &out, &question)
                .doing("ask for a neighbour")?;
        }
        Ok(())
    }

    fn install(&mut self) -> Result<(), crate::openflow::OpenFlowError> {
        let stats = self.bridge.flows(&FlowFilter::default())?;
        let held = stats.into_iter().map(|stats| (Key::of(&stats.flow), stats.flow)).collect();
        let changes: Vec<Change> = difference(&held, &self.flows());
        self.bridge.apply(&changes)
    }

    /// What the switch itself sends comes as if received by the link, with the link's own MAC.
    fn flows(&self) -> Flows {
        let from = Match::any().with(Field::InPort, self.number);
        let mac = mac_value(Mac(self.mac));
        let v6 = self.tunnel.is_ipv6();
        let ip = from.clone().with(Field::EthType, if v6 { 0x86dd_u16 } else { 0x0800 });
        let vxlan = ip.clone().with(Field::IpProto, 17_u8).with(Field::UdpDst, VXLAN_PORT);
        let whole = if v6 { 128 } else { 32 };
        let own = |matches: Match| matches.with(Field::EthSrc, mac);
        // What is asked of neighbours, and what they answer.
        let (asks, answers) = if v6 {
            let icmp =
                |kind: u8| ip.clone().with(Field::IpProto, 58_u8).with(Field::Icmpv6Type, kind);
            (icmp(SOLICITATION).source(self.tunnel, whole), icmp(ADVERTISEMENT))
        } else {
            let arp = from.with(Field::EthType, 0x0806_u16);
            (arp.clone().prefix(Field::ArpSpa, Field::ArpSpa, self.tunnel, whole), arp)
        };
        let out = || vec![Action::Output(port::IN_PORT)];
        let end = || vec![Action::Output(port::LOCAL)];
        [
            (30, own(vxlan.clone()).source(self.tunnel, whole), out()),
            (30, own(asks), out()),
            (20, vxlan.destination(self.tunnel, whole), end()),
            (20, answers, end()),
        ]
        .into_iter()
        .map(|(priority, matches, actions)| Flow {
            priority,
            cookie: cookie::PLAIN,
            matches,
            actions,
            ..Flow::default()
        })
        .map(|flow| (Key::of(&flow), flow))
        .collect()
    }
}

/// A route of the kernel's: the link, the prefix, and the router; unspecified where there is none.
type Route<'t> = (&'t str, Prefix, IpAddr);

/// `/proc/net/route` (proc(5)): numbers as they lie in memory.
fn routes_v4(table: &str) -> Vec<Route<'_>> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let route = |line| {
        let words: Vec<&str> = str::split_whitespace(line).collect();
        let [link, to, via, _, _, _, _, mask, ..] = words.as_slice() else { return None };
        let len = u8::try_from(number(mask)?.count_ones()).ok()?;
        let prefix = Prefix::new(Ipv4Addr::from(number(to)?).into(), len)?;
        Some((*link, prefix, Ipv4Addr::from(number(via)?).into()))
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// `/proc/net/ipv6_route`: numbers as they are written.
fn routes_v6(table: &str) -> Vec<Route<'_>> {
    let address = |text: &str| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from);
    let route = |line| {
        let words: Vec<&str> = str::split_whitespace(line).collect();
        let [to, len, _, _, via, _, _, _, _, link] = words.as_slice() else { return None };
        let prefix = Prefix::new(address(to)?.into(), u8::from_str_radix(len, 16).ok()?)?;
        Some((*link, prefix, address(via)?.into()))
    };
    table.lines().filter_map(route).collect()
}

/// The neighbour on `link` by which `peer` is reached: the longest prefix wins.
fn next_hop(routes: &[Route<'_>], link: &str, peer: IpAddr) -> Option<IpAddr> {
    // Every host has an unreachable default route of IPv6, by the loopback link.
    let leads = routes.iter().filter(|(by, to, _)| to.contains(peer) && *by != "lo");
    let (by, _, via) = leads.max_by_key(|(_, to, _)| to.length())?;
    let hop = if via.is_unspecified() { peer } else { *via };
    (*by == link).then_some(hop)
}

/// Asks who has `to`: RFC 826, or RFC 4861, 4.3. `None` if the two are not of one family.
fn question(mac: Mac, from: IpAddr, to: IpAddr) -> Option<Vec<u8>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let arp = frame::arp(1, (mac, from), to);
            Some(frame::ethernet(Mac([0xff; 6]), mac, EtherType::ARP, &arp))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [.., a, b, c] = to.octets();
            // RFC 4291, 2.7.1: the solicited-node address.
            let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), {
                u16::from_be_bytes([b, c])
            });
            let head = |sum: u16| {
                let [x, y] = sum.to_be_bytes();
                [&[SOLICITATION, 0, x, y, 0, 0, 0, 0][..], &to.octets(), &[1, 1], &mac.0].concat()
            };
            let sum = frame::transport_sum(from.into(), group.into(), proto::ICMPV6, &head(0));
            let packet = frame::ipv6((from, group), 0, proto::ICMPV6, 255, &head(sum));
            let all = Mac([0x33, 0x33, 0xff, a, b, c]);
            Some(frame::ethernet(all, mac, EtherType::IPV6, &packet))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_says_who_is_asked() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     eth1\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes = routes_v4(table);
        let hop = |ip: [u8; 4]| next_hop(&routes, "eth0", ip.into());
        assert_eq!(hop([192, 168, 1, 7]), Some([192, 168, 1, 7].into()));
        assert_eq!(hop([10, 0, 0, 1]), Some([192, 168, 1, 1].into()));
        assert_eq!(hop([192, 168, 2, 7]), None);
    }

    #[test]
    fn ipv6_has_a_table_of_its_own() {
        let none = "0".repeat(32);
        let line = |to: &str, len: &str, via: &str, link: &str| {
            format!("{to} {len} {none} 00 {via} 00000100 00000001 00000000 00000001 {link}\n")
        };
        let table = [
            line("fd000000000000000000000000000000", "40", &none, "eth0"),
            line(&none, "00", "fe800000000000000000000000000001", "eth0"),
            line(&none, "00", &none, "lo"),
        ];
        let table = table.concat();
        let routes = routes_v6(&table);
        let hop = |ip: &str| next_hop(&routes, "eth0", ip.parse().unwrap());
        assert_eq!(hop("fd00::2"), Some("fd00::2".parse().unwrap()));
        assert_eq!(hop("2001:db8::1"), Some("fe80::1".parse().unwrap()));
    }
}
