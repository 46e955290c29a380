//! One endpoint of this host, from the request to its end.
//!
//! ```text
//!             group complete,        registry           its Desired       its link is
//!             address chosen         took it            is in force       up
//! Resolving ----------------> Declaring ----> Programming ------> Raising -----> Settled
//!     |                         ^ |  (no controller: straight on)     |             |
//!     |                attached | | only reserved                     |             |
//!     |                         | v                                   |             |
//!     |                       Reserved (too long: back)               |             |
//!     |                           |                                   |             |
//!     +---------------------------+-----------------+-----------------+-------------+
//!                                 | failed, too late, detached, link vanished
//!                                 v
//!                              Leaving --> (out of the Desired in force) --> Removing --> gone
//! ```
//!
//! The link is made meanwhile, in quarantine; `Programming` waits for it. Whether a settled endpoint
//! is ready or in quarantine is no state of its own: it follows from the policy at hand
//! ([`Endpoint::identity`]) and from what is in force.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use selvage_rules::{Endpoint as Identity, EndpointId, Facts, Mac, Prefix};

use selvage_opflex::ext;

use crate::address;
use crate::local::{Address, Attach, Code, Refusal, Timings};
use crate::record::EndpointRecord;
use crate::slice::Slice;
use crate::{Config, Now, Ticket};

/// Where an endpoint is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for its group.
    Resolving,
    /// Waits for the registry.
    Declaring,
    /// Has its addresses, and waits for an attach to give it a link.
    Reserved,
    /// Waits for its link and for the data plane.
    Programming,
    /// Waits for its link to come up with its addresses.
    Raising,
    /// Attached.
    Settled,
    /// Waits for the data plane to forget it.
    Leaving,
    /// Waits for its link to go.
    Removing,
}

/// The host's end of its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Being made.
    Making,
    /// There, with this interface index.
    Made(u32),
    /// Not there.
    Gone,
}

/// A request that waits for this endpoint to be ready.
#[derive(Debug, Clone)]
pub(crate) struct Attaching {
    pub ticket: Ticket,
    pub started: Now,
    pub deadline: Now,
    pub timings: Timings,
    /// It is only to have its addresses, and for so long without a link.
    pub hold: Option<Duration>,
}

/// A request that could not be fulfilled, and is answered when nothing is left of it.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    pub ticket: Ticket,
    pub refusal: Refusal,
    /// When it is answered whatever is left.
    pub answer_by: Now,
}

/// One endpoint of this host.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub id: EndpointId,
    /// DN of its group.
    pub group: Arc<str>,
    pub netns: PathBuf,
    pub ifname: String,
    pub host_ifname: String,
    pub mac: Mac,
    /// The MAC was asked for, so no other will do.
    pub mac_fixed: bool,
    pub mac_attempt: u32,
    /// Whoever asked takes the endpoint's end of the link to its namespace.
    pub handover: bool,
    /// Addresses it asked for.
    pub wish: Vec<IpAddr>,
    /// Where its other addresses are to come from.
    pub from: Vec<Prefix>,
    /// Addresses it has; empty until they are chosen.
    pub addresses: Vec<Address>,
    /// Addresses the registry refused it.
    pub refused: BTreeSet<IpAddr>,
    /// How often it did.
    pub refusals: u32,
    pub phase: Phase,
    pub link: Link,
    /// What the registry was last told of it.
    pub declared: Option<ext::Location>,
    /// The registry took that.
    pub confirmed: bool,
    /// The registry refused it when it was settled already.
    pub conflict: Option<Refusal>,
    /// Until when it is kept without a link.
    pub held_until: Option<Now>,
    pub attaching: Option<Attaching>,
    pub failing: Option<Failing>,
    /// Requests that wait for it to be gone.
    pub detaching: Vec<Ticket>,
    pub timings: Option<Timings>,
}

impl Endpoint {
    /// One that was just asked for.
    pub fn asked(host: &str, request: Attach, group: Arc<str>, attaching: Attaching) -> Endpoint {
        let mac = request.mac.unwrap_or_else(|| address::choose_mac(host, &request.id, 0));
        Endpoint {
            host_ifname: address::host_ifname(host, &request.id),
            id: request.id,
            group,
            netns: request.netns,
            ifname: request.ifname,
            mac,
            mac_fixed: request.mac.is_some(),
            mac_attempt: 0,
            handover: request.handover,
            wish: request.ip,
            from: request.from,
            addresses: Vec::new(),
            refused: BTreeSet::new(),
            refusals: 0,
            phase: Phase::Resolving,
            link: if attaching.hold.is_some() { Link::Gone } else { Link::Making },
            declared: None,
            confirmed: false,
            conflict: None,
            held_until: None,
            attaching: Some(attaching),
            failing: None,
            detaching: Vec::new(),
            timings: None,
        }
    }

    /// One that an earlier run left behind. `ifindex` is that of its link, if it still exists.
    pub fn restored(record: EndpointRecord, ifindex: Option<u32>) -> Endpoint {
        Endpoint {
            id: record.id,
            group: record.group,
            netns: record.netns,
            ifname: record.ifname,
            host_ifname: record.host_ifname,
            mac: record.mac,
            mac_fixed: true,
            mac_attempt: 0,
            handover: false,
            wish: record.wish,
            from: Vec::new(),
            addresses: record.addresses,
            refused: BTreeSet::new(),
            refusals: 0,
            phase: if ifindex.is_some() { Phase::Settled } else { Phase::Leaving },
            link: ifindex.map_or(Link::Gone, Link::Made),
            declared: None,
            confirmed: false,
            conflict: None,
            held_until: None,
            attaching: None,
            failing: None,
            detaching: Vec::new(),
            timings: None,
        }
    }

    /// The attach that a reserved one waited for. What was declared stays declared.
    pub fn take_link(&mut self, request: Attach, attaching: Attaching) {
        self.netns = request.netns;
        self.ifname = request.ifname;
        self.handover = request.handover;
        self.phase = Phase::Declaring;
        self.link = Link::Making;
        self.held_until = None;
        self.attaching = Some(attaching);
    }

    /// What is kept of it across restarts.
    pub fn record(&self) -> EndpointRecord {
        EndpointRecord {
            id: self.id.clone(),
            group: self.group.clone(),
            netns: self.netns.clone(),
            ifname: self.ifname.clone(),
            host_ifname: self.host_ifname.clone(),
            mac: self.mac,
            wish: self.wish.clone(),
            addresses: self.addresses.clone(),
        }
    }

    /// Whether it is on its way out.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving | Phase::Removing)
    }

    /// Whether the data plane is to know what it is.
    pub fn is_programmed(&self) -> bool {
        matches!(self.phase, Phase::Programming | Phase::Raising | Phase::Settled)
    }

    /// What it is by the policy at hand, or why it is in quarantine.
    pub fn identity(&self, slice: &Slice) -> Result<Identity, Refusal> {
        if let Some(conflict) = &self.conflict {
            return Err(conflict.clone());
        }
        let Some((resolved, bd)) = slice.group(&self.group) else {
            return Err(Refusal::new(
                Code::NoSuchEpg,
                format!("its group `{}` is gone, so nothing passes until it is back", self.group),
            )
            .hint("restore the group, or detach the endpoint"));
        };
        let mut ips: Vec<IpAddr> = self.addresses.iter().map(|a| a.ip).collect();
        ips.retain(|ip| address::place(*ip, bd).is_some());
        ips.sort();
        if ips.is_empty() && !self.addresses.is_empty() {
            let message =
                format!("none of its addresses is in a subnet of bridge domain `{}` now", bd.name);
            return Err(Refusal::new(Code::BadAddress, message)
                .hint("restore the subnet, or detach the endpoint and attach it again"));
        }
        let seat = slice.seat(&self.group, &self.facts());
        let Some((class, _)) = seat.as_ref().and_then(|seat| seat.found) else {
            let group = seat.and_then(|seat| seat.name);
            let why = match &group {
                Some(group) => format!("it is in `{group}`, which is not enforced"),
                None => "no criterion puts it into any group".to_owned(),
            };
            return Err(Refusal::new(Code::NoSuchEpg, format!("{why}, so nothing passes"))
                .hint("mend the group, or the selector that chose it"));
        };
        Ok(Identity { bd: resolved.bd, class, mac: self.mac, ips })
    }

    /// What is known of it, by which selectors may choose its group.
    pub fn facts(&self) -> Facts {
        let ips = self.addresses.iter().map(|address| address.ip).collect();
        let labels = vec![("vm-name".into(), Arc::clone(&self.id.0))];
        Facts { mac: Some(self.mac), ips, labels }
    }

    /// The group that selectors put it into, by DN, once it has its addresses.
    pub fn chosen(&self, slice: &Slice) -> Option<Arc<str>> {
        if self.phase == Phase::Resolving || self.is_leaving() {
            return None;
        }
        slice.seat(&self.group, &self.facts())?.name
    }

    /// What the registry is to know of it by the policy at hand: who it is and where.
    pub fn declaration(&self, slice: &Slice, config: &Config) -> Option<ext::Location> {
        let identity = self.identity(slice).ok()?;
        let (resolved, bd) = slice.group(&self.group)?;
        let vrf = slice.table.vrfs.get(&resolved.key.scope)?;
        let (class, encap) = slice.seat(&self.group, &self.facts())?.found?;
        Some(ext::Location {
            agent: config.host.as_str().into(),
            endpoint: self.id.clone(),
            group: self.group.clone(),
            class,
            encap,
            bridge_domain: bd.name.clone(),
            bd: resolved.bd,
            vrf: vrf.name.clone(),
            mac: identity.mac,
            ips: identity.ips,
            tunnel: config.tunnel,
        })
    }

    /// What is less than right with it though it is not in quarantine.
    pub fn remark(&self, slice: &Slice) -> Option<Refusal> {
        let (_, bd) = slice.group(&self.group)?;
        let lost = self.addresses.iter().find(|a| address::place(a.ip, bd).is_none());
        if let Some(lost) = lost {
            let message =
                format!("address `{}` is in no subnet of bridge domain `{}` now", lost.ip, bd.name);
            return Some(
                Refusal::new(Code::BadAddress, message)
                    .hint("restore the subnet, or detach the endpoint and attach it again"),
            );
        }
        (!self.confirmed).then(|| {
            Refusal::new(Code::Unconfirmed, "its addresses are not confirmed by the registry yet")
                .hint("they will be when the controller is back")
        })
    }
}
