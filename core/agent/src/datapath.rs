//! What the agent asks of a data plane, whichever enforces: eBPF or Open vSwitch.
//!
//! Opening one is each plane's own affair, since it needs what only that plane knows (pin
//! directories, a bridge, the tunnel device). From then on the agent speaks through [`Datapath`],
//! from one thread. Drops come by a [`DropSource`], which lives in another thread.
//!
//! A plane is *fail static*: when the program that opened it ends, by whatever way, everything that
//! was applied stays in force, and opening the plane again finds it ([`Datapath::installed`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use selvage_rules::{
    BdId, ClassId, Desired, Encapsulation, Mac, Packet, Reason, Revision, Room, RuleId, ScopeId,
};
use serde::{Deserialize, Serialize};

use crate::judge::{Case, Opinions};

/// Enforces what a host must enforce.
pub trait Datapath: Send {
    /// Which plane this is, as users read it: `ebpf` or `ovs`.
    fn name(&self) -> &'static str;

    /// What it can send to other hosts and receive from them. Never empty.
    fn encapsulations(&self) -> BTreeSet<Encapsulation>;

    /// How much policy it holds.
    fn room(&self) -> Room {
        Room::default()
    }

    /// Whether it reads packets as bytes, so that endpoints have to hand them over as they would be
    /// on a wire: cut to size, checksums filled in.
    fn reads_bytes(&self) -> bool {
        false
    }

    /// Takes hold of a port. From the return of this call nothing passes through it in either
    /// direction (quarantine) until a [`Desired`] names it with an endpoint. Called while the link
    /// is down. A port that is already held stays as it is: no packet is lost by asking again.
    fn attach_port(&mut self, port: &Port) -> Result<(), PlaneError>;

    /// Lets go of a port, and of the connections of its endpoint. A port that is not held, or whose
    /// link has vanished, is no error.
    fn detach_port(&mut self, port: &Port) -> Result<(), PlaneError>;

    /// Makes `desired` what is enforced. Either all of it is in force on return, or the call failed
    /// and what was in force before still is; a packet in flight sees the one or the other. The cost
    /// follows what changed. Safe to call with what is already in force.
    fn apply(&mut self, desired: &Desired) -> Result<Applied, PlaneError>;

    /// What an earlier run left in force.
    fn installed(&mut self) -> Result<Installed, PlaneError>;

    /// Compares what is installed with `desired`, entry by entry, and changes nothing. Empty when
    /// they agree.
    fn audit(&mut self, desired: &Desired) -> Result<Vec<Drift>, PlaneError>;

    /// What was counted since the plane was first made.
    fn counters(&mut self) -> Result<Counters, PlaneError>;

    /// The stream of drop events, and of what passes by rules that log. There is one; asking a second
    /// time is an error.
    fn drops(&mut self) -> Result<Box<dyn DropSource>, PlaneError>;

    /// Forgets connections that ended or idled too long. Called every few seconds; `now` is
    /// `CLOCK_MONOTONIC`, the clock that the kernel stamps connections with.
    fn sweep(&mut self, now: Duration) -> Result<Swept, PlaneError>;

    /// What the plane's two judges say about one packet. Costs reading a few entries and running the
    /// packet; nothing that users see changes by it. A packet whose two ends are both elsewhere, or
    /// have no address of its family, is refused.
    fn judge(&mut self, case: &Case) -> Result<Opinions, PlaneError> {
        let _ = case;
        Err(PlaneError::Unsupported {
            feature: format!("judging single packets in the `{}` data plane", self.name()),
            hint: "ask the oracle and the rule table: `selvage trace` without --judges".to_owned(),
        })
    }

    /// Removes all of the plane from the host: nothing stays pinned, nothing is held.
    fn flush(&mut self) -> Result<(), PlaneError>;
}

/// A blocking stream of drop events.
pub trait DropSource: Send {
    /// Waits for events, at most `timeout`, and appends them to `out`. Returns how many events were
    /// lost since the last call because nobody took them in time.
    fn wait(&mut self, timeout: Duration, out: &mut Vec<Drop>) -> Result<u64, PlaneError>;
}

/// The host's end of an endpoint's link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Interface index in the agent's network namespace.
    pub ifindex: u32,
    /// Interface name, at most 15 bytes.
    pub name: String,
}

/// A [`Desired`] is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Its revision.
    pub revision: Revision,
    /// Entries written and removed to get there.
    pub changed: u64,
    /// What this plane cannot enforce of it, in words; such parts deny.
    pub unsupported: Vec<String>,
}

/// What an earlier run left in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// Ports that are held, by interface index.
    pub ports: BTreeSet<Port>,
    /// Revision of the last [`Desired`] that was applied; `None` on a fresh plane.
    pub revision: Option<Revision>,
}

/// A table of the plane whose entries are not the desired ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drift {
    /// Name of the table.
    pub table: String,
    /// Desired entries that are not there.
    pub missing: u64,
    /// Entries whose value is another one.
    pub different: u64,
    /// Entries that nobody desires.
    pub extra: u64,
}

impl Drift {
    /// Compares two tables. `None` when they agree.
    pub fn between<K: Ord, V: PartialEq>(
        table: &str,
        installed: &BTreeMap<K, V>,
        desired: &BTreeMap<K, V>,
    ) -> Option<Drift> {
        let mut drift = Drift { table: table.to_owned(), ..Drift::default() };
        for (key, value) in desired {
            match installed.get(key) {
                None => drift.missing += 1,
                Some(found) if found != value => drift.different += 1,
                Some(_) => {}
            }
        }
        drift.extra = installed.keys().filter(|key| !desired.contains_key(key)).count() as u64;
        (drift.missing + drift.different + drift.extra > 0).then_some(drift)
    }
}

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, Ethernet header included.
    pub bytes: u64,
}

/// How full a table of the plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Entries in it.
    pub used: u64,
    /// Entries it holds at most.
    pub limit: u64,
}

/// What a plane counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Packets each rule decided about.
    pub rules: BTreeMap<RuleId, Count>,
    /// Packets by the reason of their verdict.
    pub reasons: BTreeMap<Reason, Count>,
    /// How full each table is, by its name (`connections` among them).
    pub tables: BTreeMap<String, Usage>,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Connections forgotten.
    pub forgotten: u64,
    /// Connections kept.
    pub kept: u64,
}

/// Where a packet was when it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It came from an endpoint of this host.
    FromEndpoint,
    /// It was about to be handed to an endpoint of this host.
    ToEndpoint,
    /// It came out of the tunnel.
    FromTunnel,
    /// It came from the host's own network stack: from outside, or from the host itself.
    FromOutside,
}

/// The two ends of the link between a data plane and the host's own network stack, by which packets
/// of a VRF leave for the world outside and come from there. The agent's host part makes it before
/// it applies a [`Desired`] that needs it ([`Desired::exits_here`]), and removes it afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitLink {
    /// The end that routes lead to: the host's stack.
    pub stack: String,
    /// The data plane's end.
    pub plane: String,
    /// Ethernet address of the stack's end, the same on every host: where the data plane sends to.
    pub mac: Mac,
}

impl ExitLink {
    /// Of the VRF `scope`.
    pub fn of(scope: ScopeId) -> ExitLink {
        let [_, a, b, c] = scope.0.to_be_bytes();
        ExitLink {
            stack: format!("svx{:06x}", scope.0),
            plane: format!("svy{:06x}", scope.0),
            // Locally administered; the third byte keeps it apart from those of endpoints.
            mac: Mac([0x02, 0x5e, 0x78, a, b, c]),
        }
    }
}

/// A packet that was dropped, or that passed by a rule which logs ([`Reason::is_allow`] tells the
/// two apart): what the plane knows of it, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// When, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub at_ns: u64,
    /// Why.
    pub reason: Reason,
    /// The rule that decided; `None` where none did (the implicit deny included).
    pub rule: Option<RuleId>,
    /// Where.
    pub direction: Direction,
    /// Interface index of the port it came in by, or was about to leave by; of the tunnel device
    /// for [`Direction::FromTunnel`]. 0 when unknown.
    pub ifindex: u32,
    /// The VRF, once it is known.
    pub scope: Option<ScopeId>,
    /// The bridge domain, once it is known.
    pub bd: Option<BdId>,
    /// Class of the sender, once it is known.
    pub src_class: Option<ClassId>,
    /// Class of the receiver, once it is known.
    pub dst_class: Option<ClassId>,
    /// Source MAC.
    pub src_mac: Mac,
    /// Destination MAC.
    pub dst_mac: Mac,
    /// Source address: of the IP header, or the sender's protocol address of an ARP packet.
    pub src: Option<IpAddr>,
    /// Destination address, likewise.
    pub dst: Option<IpAddr>,
    /// The headers policy sees.
    pub packet: Packet,
    /// Outer source address, for a packet out of the tunnel.
    pub tunnel: Option<IpAddr>,
    /// Length of the packet in bytes, Ethernet header included.
    pub length: u32,
}

/// A data plane could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// A table cannot hold what it would have to. Nothing was changed.
    #[error("table `{table}` of the data plane holds {limit} entries and {need} are needed")]
    TableFull {
        /// Name of the table.
        table: String,
        /// How many entries it holds at most.
        limit: u64,
        /// How many it would have to hold.
        need: u64,
    },
    /// The port's link is not there.
    #[error("no link `{name}` (index {ifindex})")]
    NoSuchPort {
        /// Name of the link.
        name: String,
        /// Its index.
        ifindex: u32,
    },
    /// The kernel or the switch lacks something.
    #[error("{feature} is missing: {hint}")]
    Unsupported {
        /// What is missing.
        feature: String,
        /// What to do about it.
        hint: String,
    },
    /// What an earlier version left in force cannot be taken over.
    #[error("{what} was left by another version of selvage and cannot be taken over")]
    Incompatible {
        /// What it is: a map, a program, a bridge.
        what: String,
    },
    /// The kernel or the switch refused.
    #[error("cannot {action}: {cause}")]
    Refused {
        /// What was tried, as the rest of a sentence that starts with `cannot`.
        action: String,
        /// What it said.
        cause: String,
    },
}
