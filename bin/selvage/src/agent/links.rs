//! Links: an endpoint's pair, made and removed; and news of links that vanish.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use selvage_agent::LinkPlan;
use selvage_agent::datapath::Port;
use selvage_agent::local::{Address, Code, Refusal};
use selvage_host::watch::{self, Watcher};
use selvage_host::{Change, Error, NetNs, Netlink, Route, Veth, fill_checksums, sysctl};
use selvage_rules::Mac;
use tokio::sync::mpsc::UnboundedSender;

use super::exits;
use super::owner::Event;

/// The links of one agent.
pub struct Links {
    netlink: Netlink,
    here: NetNs,
    /// Marks the links that this agent made.
    group: u32,
    /// Endpoints fill in the checksums of what they send, see [`selvage_host::fill_checksums`].
    pub fill_checksums: bool,
}

impl Links {
    /// Links in the calling thread's namespace, marked as made by the agent `host`.
    pub fn open(host: &str) -> Result<Links, Error> {
        let (netlink, here) = (Netlink::open()?, NetNs::current()?);
        Ok(Links { netlink, here, group: mark(host), fill_checksums: false })
    }

    /// What marks the links that this agent makes.
    pub fn group(&self) -> u32 {
        self.group
    }

    /// The host's ends that this agent made, in whatever run.
    pub fn ours(&mut self) -> Result<Vec<Port>, Error> {
        let links = self.netlink.links("sv")?;
        // Ways out are not endpoints' links.
        let of_endpoint = |name: &str| !name.starts_with(exits::PREFIX);
        let ours = links.into_iter().filter(|link| {
            link.group == self.group && link.kind == "veth" && of_endpoint(&link.name)
        });
        Ok(ours.map(|link| Port { ifindex: link.index, name: link.name }).collect())
    }

    /// Makes a pair, both ends down, the far one in its namespace unless somebody else takes it there.
    pub fn make(&mut self, plan: &LinkPlan) -> Result<Port, Refusal> {
        let there = match plan.handover {
            true => None,
            false => Some(open_namespace(&plan.netns)?),
        };
        let veth = Veth {
            name: &plan.host_ifname,
            mac: None,
            peer: &plan.ifname,
            peer_mac: None,
            peer_namespace: there.as_ref(),
            mtu: plan.mtu,
            group: self.group,
        };
        let ifindex = self.netlink.create_veth(&veth).map_err(|error| made(&error, plan))?;
        let silence = || {
            if self.fill_checksums {
                fill_checksums(there.as_ref().unwrap_or(&self.here), &plan.ifname)?;
            }
            sysctl::silence_ipv6(&self.here, &plan.host_ifname)
        };
        if let Err(error) = silence() {
            drop(self.remove(&plan.host_ifname));
            return Err(Refusal::new(Code::Link, error.to_string()));
        }
        Ok(Port { ifindex, name: plan.host_ifname.clone() })
    }

    /// Gives the far end its MAC, addresses and routes, and brings both ends up; or the near end only,
    /// where somebody else does the rest.
    pub fn raise(
        &mut self,
        plan: &LinkPlan,
        mac: Mac,
        addresses: &[Address],
    ) -> Result<(), Refusal> {
        if plan.handover {
            let up = self.netlink.set_up(&plan.host_ifname);
            return up.map_err(|error| Refusal::new(Code::Link, error.to_string()));
        }
        let there = open_namespace(&plan.netns)?;
        let mut up = || -> Result<(), Error> {
            let mut far = Netlink::open_in(&there)?;
            let index = far.index_of(&plan.ifname)?;
            far.change(index, Change { mac: Some(mac), ..Change::default() })?;
            self.netlink.set_up(&plan.host_ifname)?;
            far.change(index, Change { up: Some(true), ..Change::default() })?;
            for address in addresses {
                far.add_address(index, address.ip, address.prefix_len)?;
            }
            for gateway in gateways(addresses) {
                far.add_route(index, Route::default_via(gateway))?;
            }
            Ok(())
        };
        up().map_err(|error| Refusal::new(Code::Link, error.to_string()))
    }

    /// Removes a pair. One that is not there is no error.
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        self.netlink.delete_link(name).map(drop)
    }
}

/// One default gateway of each family.
fn gateways(addresses: &[Address]) -> impl Iterator<Item = std::net::IpAddr> + '_ {
    let first = |v6: bool| addresses.iter().filter_map(|a| a.gateway).find(|g| g.is_ipv6() == v6);
    [first(false), first(true)].into_iter().flatten()
}

fn open_namespace(path: &Path) -> Result<NetNs, Refusal> {
    NetNs::open(path).map_err(|error| {
        Refusal::new(Code::NoSuchNamespace, error.to_string())
            .hint("is the process that owns the namespace still running?")
    })
}

fn made(error: &Error, plan: &LinkPlan) -> Refusal {
    if error.errno() == Some(Errno::EEXIST) {
        let message = format!(
            "a link `{}` exists in `{}` already, or `{}` on this host",
            plan.ifname,
            plan.netns.display(),
            plan.host_ifname
        );
        return Refusal::new(Code::Link, message)
            .hint("choose another ifname, or remove that link");
    }
    Refusal::new(Code::Link, error.to_string())
}

/// The number of an agent's link group: never 0, which is everybody's. FNV-1a, 32 bits.
fn mark(host: &str) -> u32 {
    let hash = host
        .bytes()
        .fold(0x811c_9dc5_u32, |state, byte| (state ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.max(1)
}

/// Tells of every link of this namespace that is gone, in a thread of its own, until the agent ends.
pub fn watch(mut watcher: Watcher, events: &UnboundedSender<Event>) {
    while !events.is_closed() {
        let news = match watcher.wait(Duration::from_millis(500)) {
            Ok(news) => news,
            Err(error) => {
                tracing::error!("links that vanish are not noticed any more: {error}");
                return;
            }
        };
        for event in news {
            // The owner is gone when the agent ends.
            let _ = match event {
                watch::Event::Gone { index, .. } => events.send(Event::LinkGone(index)),
                watch::Event::Missed => events.send(Event::LinksUnknown),
                watch::Event::Changed(_) => Ok(()),
            };
        }
    }
}
