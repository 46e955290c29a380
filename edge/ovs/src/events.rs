//! Drop events: packets that the stage Drop sends to us, with what their registers say.
//!
//! A meter for each reason bounds how many come, in the datapath: a flood costs the switch its
//! dropping and us nothing, and one reason's flood hides no other's. What a meter holds back counts
//! as lost.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::time::{ClockId, clock_gettime};
use selvage_agent::datapath::{Direction, Drop as Dropped, DropSource, PlaneError};
use selvage_rules::{BdId, ClassId, Reason, RuleId, ScopeId};

use crate::headers::Headers;
use crate::openflow::{
    Action, Connection, Controller, Field, OpenFlowError, PacketIn, PacketIns, PacketReason, port,
};
use crate::tables::{flag, reg, told};

/// Events a second for each reason; as many may come at once.
pub const RATE: u32 = 100;
/// How old what we know of ports and meters may be.
const FRESH: Duration = Duration::from_secs(1);
/// How long the switch may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Tells us of a packet that is dropped for `reason`, or passes for it where a rule wants that told.
/// Needs the meters, see [`set_meters`].
pub fn tell(reason: Reason) -> Action {
    Action::Controller(Controller {
        max_len: 256,
        userdata: vec![told::DROP],
        meter: Some(meter_of(reason)),
    })
}

/// Makes the meters that [`tell`] names. Needed once after each start of the switch, before flows
/// that name them.
pub fn set_meters(bridge: &mut Connection) -> Result<(), OpenFlowError> {
    let there = bridge.held_back()?;
    for reason in Reason::ALL {
        let meter = meter_of(*reason);
        if !there.contains_key(&meter) {
            bridge.set_meter(meter, RATE, RATE)?;
        }
    }
    Ok(())
}

fn meter_of(reason: Reason) -> u32 {
    u32::from(reason as u8)
}

/// The one reader of a bridge's drop events. When the switch ends it waits for the next.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    live: Option<Live>,
}

/// What it holds while the switch is there.
#[derive(Debug)]
struct Live {
    bridge: Connection,
    packets: PacketIns,
    /// Links by port number.
    links: BTreeMap<u32, u32>,
    held_back: BTreeMap<u32, u64>,
    looked: Instant,
}

impl Events {
    /// Reads the drop events of the bridge that listens at `path`. Call it in the switch's network
    /// namespace, and read in a thread that is there too.
    pub fn open(path: &Path) -> Result<Events, OpenFlowError> {
        Ok(Events { path: path.to_owned(), live: Some(Live::open(path)?) })
    }
}

impl DropSource for Events {
    fn wait(&mut self, timeout: Duration, out: &mut Vec<Dropped>) -> Result<u64, PlaneError> {
        if self.live.is_none() {
            self.live = Live::open(&self.path).ok();
        }
        let Some(live) = &mut self.live else {
            // There is nothing to wait for: the socket comes back with the switch.
            thread::sleep(timeout);
            return Ok(0);
        };
        match live.wait(timeout, out) {
            Ok(lost) => Ok(lost),
            Err(_) => {
                self.live = None;
                Ok(0)
            }
        }
    }
}

impl Live {
    fn open(path: &Path) -> Result<Live, OpenFlowError> {
        let mut bridge = Connection::open(path, TIMEOUT)?;
        let packets = bridge.packets()?.ok_or_else(|| OpenFlowError::Closed {
            action: "asking for packets".to_owned(),
            cause: "somebody else takes them".to_owned(),
        })?;
        let looked = Instant::now();
        let (links, held_back) = (links(&mut bridge)?, bridge.held_back()?);
        Ok(Live { bridge, packets, links, held_back, looked })
    }

    fn wait(&mut self, timeout: Duration, out: &mut Vec<Dropped>) -> Result<u64, OpenFlowError> {
        let mut packets = Vec::new();
        let mut lost = self.packets.wait(timeout, &mut packets)?;
        if self.looked.elapsed() >= FRESH {
            self.looked = Instant::now();
            self.links = links(&mut self.bridge)?;
            let held_back = self.bridge.held_back()?;
            let before = |meter| self.held_back.get(meter).copied().unwrap_or(0);
            lost += held_back.iter().map(|(m, count)| count.saturating_sub(before(m))).sum::<u64>();
            self.held_back = held_back;
        }
        let now = now_ns();
        let link = |number: u32| self.links.get(&number).copied().unwrap_or(0);
        out.extend(packets.iter().filter_map(|packet| dropped(packet, now, &link)));
        Ok(lost)
    }
}

/// What a packet says that was sent to us; `None` if it was sent for something else. Pure.
pub fn dropped(packet: &PacketIn, at_ns: u64, link: &dyn Fn(u32) -> u32) -> Option<Dropped> {
    if packet.reason != PacketReason::Action || packet.userdata.first() != Some(&told::DROP) {
        return None;
    }
    let value = |field| packet.metadata.get(field).map_or(0, |masked| masked.value);
    let number = |field| u32::try_from(value(field)).ok();
    let class = |field| u16::try_from(value(field)).ok().filter(|class| *class != 0).map(ClassId);
    let reason = u8::try_from(value(reg::REASON)).ok().and_then(Reason::from_code)?;
    let headers = Headers::of(&packet.packet)?;
    let is = |bit: u32| value(reg::FLAGS) & u128::from(bit) != 0;
    let direction = match (is(flag::FROM_TUNNEL), is(flag::FROM_OUTSIDE)) {
        (true, _) => Direction::FromTunnel,
        (_, true) => Direction::FromOutside,
        _ => Direction::FromEndpoint,
    };
    let outer4 = number(Field::TunSrc).filter(|outer| *outer != 0);
    let outer6 = Some(value(Field::TunIpv6Src)).filter(|outer| *outer != 0);
    Some(Dropped {
        at_ns,
        reason,
        rule: number(reg::RULE).filter(|rule| *rule != 0).map(RuleId),
        direction,
        ifindex: number(Field::InPort).map_or(0, link),
        scope: number(reg::SCOPE).filter(|scope| *scope != 0).map(ScopeId),
        bd: number(reg::BD).filter(|bd| *bd != 0).map(BdId),
        src_class: class(reg::SRC),
        dst_class: class(reg::DST),
        src_mac: headers.src_mac,
        dst_mac: headers.dst_mac,
        src: headers.src,
        dst: headers.dst,
        packet: headers.packet,
        tunnel: match (outer4, outer6) {
            (Some(outer), _) => Some(IpAddr::V4(Ipv4Addr::from_bits(outer))),
            (None, outer) => outer.map(Ipv6Addr::from_bits).map(IpAddr::V6),
        },
        length: packet.length,
    })
}

/// Links by port number; a port without a link, such as a tunnel, has none.
fn links(bridge: &mut Connection) -> Result<BTreeMap<u32, u32>, OpenFlowError> {
    let ports = bridge.ports()?;
    let links = ports.iter().filter(|port| port.number != port::LOCAL);
    let link = |name: &str| if_nametoindex(name).ok();
    Ok(links.filter_map(|port| Some((port.number, link(&port.name)?))).collect())
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
