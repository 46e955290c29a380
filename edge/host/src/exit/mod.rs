//! The way between a data plane and the host's own network stack, by which a VRF reaches the world
//! outside: a pair of links, routes on either side of it, and masquerade for what is not known
//! outside.
//!
//! ```text
//!   data plane <--> [plane end]====[stack end] <--> routing <--> the link that leads outside
//!                                       |
//!                     table of its own  |  main table: the VRF's subnets lead here
//! ```
//!
//! What comes out of the stack end is routed by a table of its own, so that neither the host's
//! default route nor another VRF's leads it astray; a destination that is not in there is
//! unreachable. The stack end answers no ARP and asks for none (`NOARP`): whatever is sent by it
//! reaches the data plane, which knows who is behind.
//!
//! Everything is found again by its name or protocol number, so a program that begins anew takes
//! over what an earlier run made, and packets pass all the while.

mod nft;
mod routes;

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::errno::Errno;
use nix::libc;
use selvage_rules::{Mac, Prefix};

use crate::error::{Error, Result};
use crate::link::{Change, Veth, check_name};
use crate::netlink::Netlink;
use crate::netns::NetNs;
use crate::sysctl;

pub use nft::Nft;

/// A way out that is to be there.
#[derive(Debug, Clone)]
pub struct Exit<'a> {
    /// Name of the end that the stack routes to.
    pub stack: &'a str,
    /// Name of the data plane's end.
    pub plane: &'a str,
    /// Ethernet address of the stack's end: what the data plane sends to.
    pub mac: Mac,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Link group of the stack's end, which tells whose it is.
    pub group: u32,
    /// Number of the routing table; no other exit may have it.
    pub table: u32,
    /// Subnets behind the data plane.
    pub inside: BTreeSet<Prefix>,
    /// Those of them that leave by the host's own address.
    pub hidden: BTreeSet<Prefix>,
    /// Where the outside is.
    pub routes: BTreeSet<Outward>,
}

/// A prefix outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outward {
    /// The prefix.
    pub to: Prefix,
    /// Name of the link that leads there.
    pub link: String,
    /// The router behind the link; `None` where the prefix is on the link itself.
    pub via: Option<IpAddr>,
}

/// Exits of one network namespace.
#[derive(Debug)]
pub struct Exits {
    netlink: Netlink,
    nft: Nft,
    here: NetNs,
}

impl Exits {
    /// Of the calling thread's namespace.
    pub fn open() -> Result<Exits> {
        Ok(Exits { netlink: Netlink::open()?, nft: Nft::open()?, here: NetNs::current()? })
    }

    /// Makes `exit`, or brings the one that is there in line with it. Gives what of it cannot be: a
    /// link that is not there, a subnet that the host has another route to. The rest holds.
    pub fn ensure(&mut self, exit: &Exit<'_>) -> Result<Vec<Error>> {
        let index = self.ensure_link(exit)?;
        let mut lacking = Vec::new();
        self.nft.masquerade(exit.stack, &exit.hidden)?;
        for v6 in [false, true] {
            self.netlink.ensure_rule(exit.stack, exit.table, v6)?;
        }
        self.lead_in(index, exit, &mut lacking)?;
        self.lead_out(exit, &mut lacking)?;
        Ok(lacking)
    }

    /// Removes the exit whose stack end has this name, with its routing table. None is no error.
    pub fn remove(&mut self, stack: &str, table: u32) -> Result<()> {
        // First what would lead packets to where nobody is.
        for v6 in [false, true] {
            self.netlink.remove_rule(stack, table, v6)?;
        }
        for held in self.netlink.our_routes(table)? {
            self.netlink.remove_route(&held)?;
        }
        self.netlink.delete_link(stack)?;
        self.nft.remove(stack)
    }

    /// Stack ends in this link group, and those whose link is gone but not the rest.
    pub fn found(&mut self, prefix: &str, group: u32) -> Result<BTreeSet<String>> {
        let links = self.netlink.links(prefix)?;
        let foreign = |name: &str| links.iter().any(|l| l.name == name && l.group != group);
        let ours = links.iter().filter(|link| link.group == group).map(|link| link.name.clone());
        let mut names: BTreeSet<String> = ours.collect();
        names.extend(self.nft.tables(prefix)?.into_iter().filter(|name| !foreign(name)));
        Ok(names)
    }

    fn ensure_link(&mut self, exit: &Exit<'_>) -> Result<u32> {
        check_name(exit.stack)?;
        if let Some(link) = self.netlink.link(exit.stack)? {
            return Ok(link.index);
        }
        let veth = Veth {
            name: exit.stack,
            mac: Some(exit.mac),
            peer: exit.plane,
            peer_mac: None,
            peer_namespace: None,
            mtu: exit.mtu,
            group: exit.group,
        };
        let index = self.netlink.create_veth(&veth)?;
        self.netlink.silence_arp(index)?;
        sysctl::silence_ipv6(&self.here, exit.plane)?;
        self.quiet(exit.stack, "addr_gen_mode", "1")?;
        self.quiet(exit.stack, "accept_ra", "0")?;
        self.forward_from(exit.stack)?;
        let up = Change { up: Some(true), ..Change::default() };
        let plane = self.netlink.index_of(exit.plane)?;
        self.netlink.change(plane, up)?;
        self.netlink.change(index, up)?;
        Ok(index)
    }

    /// A host without IPv6 lacks the whole folder.
    fn quiet(&self, link: &str, key: &str, value: &str) -> Result<()> {
        absent_is_none(sysctl::set(&self.here, &format!("ipv6/conf/{link}/{key}"), value)).map(drop)
    }

    /// Lets packets that come in by `link` be forwarded. IPv4 has a switch for each link; IPv6 has
    /// one since Linux 6.17, and one for the whole host before.
    fn forward_from(&self, link: &str) -> Result<()> {
        sysctl::set(&self.here, &format!("ipv4/conf/{link}/forwarding"), "1")?;
        let own = format!("ipv6/conf/{link}/force_forwarding");
        if absent_is_none(sysctl::set(&self.here, &own, "1"))?.is_none() {
            absent_is_none(sysctl::set(&self.here, "ipv6/conf/all/forwarding", "1"))?;
        }
        Ok(())
    }

    /// The VRF's subnets lead to the exit, in the main table.
    fn lead_in(&mut self, index: u32, exit: &Exit<'_>, lacking: &mut Vec<Error>) -> Result<()> {
        let main = u32::from(libc::RT_TABLE_MAIN);
        let held = self.netlink.our_routes(main)?;
        let wanted = exit.inside.iter().map(|to| routes::Held::on_link(main, *to, index));
        let wanted: BTreeSet<routes::Held> = wanted.collect();
        for gone in held.iter().filter(|h| h.link == index && !wanted.contains(h)) {
            self.netlink.remove_route(gone)?;
        }
        for new in wanted.iter().filter(|w| !held.contains(w)) {
            if let Err(error) = self.netlink.put_route(new) {
                lacking.push(error);
            }
        }
        Ok(())
    }

    /// What comes from the exit is routed by the exit's table.
    fn lead_out(&mut self, exit: &Exit<'_>, lacking: &mut Vec<Error>) -> Result<()> {
        let mut wanted = BTreeSet::from([false, true].map(|v6| routes::Held::end(exit.table, v6)));
        let mut links = BTreeSet::new();
        for route in &exit.routes {
            match self.netlink.index_of(&route.link) {
                Ok(index) => {
                    links.insert(route.link.as_str());
                    let on_link = routes::Held::on_link(exit.table, route.to, index);
                    wanted.insert(routes::Held { via: route.via, ..on_link });
                }
                Err(error) => lacking.push(error),
            }
        }
        for link in links {
            self.forward_from(link)?;
        }
        let held = self.netlink.our_routes(exit.table)?;
        for new in wanted.iter().filter(|w| !held.contains(w)) {
            if let Err(error) = self.netlink.put_route(new) {
                lacking.push(error);
            }
        }
        for gone in held.iter().filter(|h| !wanted.contains(h)) {
            self.netlink.remove_route(gone)?;
        }
        Ok(())
    }
}

fn absent_is_none(result: Result<()>) -> Result<Option<()>> {
    match result {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        done => done.map(Some),
    }
}
