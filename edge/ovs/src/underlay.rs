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
use std::net::{Ipv4Addr, UdpSocket};

use selvage_agent::datapath::PlaneError;
use selvage_host::Netlink;

use crate::config::Config;
use crate::difference::{Flows, difference};
use crate::failure::{Doing, refused};
use crate::lower::Key;
use crate::openflow::{Action, Change, Connection, Field, Flow, FlowFilter, Match, port};
use crate::ovsdb::{BridgeSpec, Client, PortSpec};
use crate::tables::{cookie, mac_value};

/// VXLAN's UDP port (IANA).
pub const VXLAN_PORT: u16 = 4789;

/// The bridge that has the host's link.
#[derive(Debug)]
pub struct Underlay {
    bridge: Connection,
    link: String,
    number: u32,
    mac: [u8; 6],
    tunnel: Ipv4Addr,
    /// Takes what the kernel makes of the tunnel's packets, which it would answer with an ICMP error
    /// otherwise. Nobody reads it.
    _sink: Option<UdpSocket>,
}

impl Underlay {
    /// Makes the bridge, or takes over what is there.
    pub fn open(
        config: &Config,
        link: &str,
        tunnel: Ipv4Addr,
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
            netlink.add_address(index, tunnel.into(), 32).doing(&doing)?;
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
    pub fn meet(&mut self, peers: impl Iterator<Item = Ipv4Addr>) -> Result<(), PlaneError> {
        let table = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
        let hops: BTreeSet<Ipv4Addr> =
            peers.filter_map(|peer| next_hop(&table, &self.link, peer)).collect();
        for hop in hops {
            let request = arp_request(self.mac, self.tunnel, hop);
            let out = [Action::Output(self.number)];
            self.bridge
                .packet_out(port::CONTROLLER, &out, &request)
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
        let mac = mac_value(selvage_rules::Mac(self.mac));
        let tunnel = u32::from(self.tunnel);
        let vxlan = from
            .clone()
            .with(Field::EthType, 0x0800_u16)
            .with(Field::IpProto, 17_u8)
            .with(Field::UdpDst, VXLAN_PORT);
        let arp = from.with(Field::EthType, 0x0806_u16);
        let own = |matches: Match| matches.with(Field::EthSrc, mac);
        let out = || vec![Action::Output(port::IN_PORT)];
        let end = || vec![Action::Output(port::LOCAL)];
        [
            (30, own(vxlan.clone()).with(Field::Ipv4Src, tunnel), out()),
            (30, own(arp.clone()).with(Field::ArpSpa, tunnel), out()),
            (20, vxlan.with(Field::Ipv4Dst, tunnel), end()),
            (20, arp, end()),
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

/// The neighbour on `link` by which `peer` is reached, from the kernel's table (`proc(5)`,
/// `/proc/net/route`): the longest prefix wins.
fn next_hop(table: &str, link: &str, peer: Ipv4Addr) -> Option<Ipv4Addr> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let routes = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, to, via, _, _, _, _, mask, ..] = words.as_slice() else { return None };
        Some((*name, number(to)?, number(via)?, number(mask)?))
    });
    let peer_bits = u32::from(peer);
    let best = routes
        .filter(|(_, to, _, mask)| peer_bits & mask == *to)
        .max_by_key(|(_, _, _, mask)| *mask)
        .filter(|(name, ..)| *name == link);
    best.map(|(_, _, via, _)| if via == 0 { peer } else { Ipv4Addr::from(via) })
}

/// RFC 826.
fn arp_request(mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(from.octets());
    frame.extend([0; 6]);
    frame.extend(to.octets());
    frame
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
        let hop = |ip: [u8; 4]| next_hop(table, "eth0", ip.into());
        assert_eq!(hop([192, 168, 1, 7]), Some([192, 168, 1, 7].into()));
        assert_eq!(hop([10, 0, 0, 1]), Some([192, 168, 1, 1].into()));
        assert_eq!(hop([192, 168, 2, 7]), None);
    }
}
