//! Routes in a table of choice, and the rules that lead to it (rtnetlink(7), ip-rule(8)).

use std::net::IpAddr;

use nix::errno::Errno;
use nix::libc;
use selvage_rules::Prefix;

use crate::error::Result;
use crate::link::ifinfo;
use crate::netlink::{Attrs, Message, Netlink, Request, u32_of};
use crate::route::{address, family, octets};

/// Marks our routes and rules (`RTPROT_*`; those from 128 up are for anybody).
const PROTOCOL: u8 = 0x5e;

/// Where our rules stand among the host's: after `local`, before `main`.
const PREFERENCE: u32 = 21_094;

/// The metric of the route that ends a table, so that any other comes before it.
const LAST: u32 = u32::MAX;

/// linux/rtnetlink.h; not in the libc crate.
const RTNH_F_ONLINK: u32 = 4;

/// linux/fib_rules.h; not in the libc crate.
mod fra {
    pub const IIFNAME: u16 = 3;
    pub const PRIORITY: u16 = 6;
    pub const TABLE: u16 = 15;
    pub const PROTOCOL: u16 = 21;
    /// `FR_ACT_TO_TBL`
    pub const TO_TABLE: u8 = 1;
}

/// One of our routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    /// Its table.
    pub table: u32,
    /// What it leads to.
    pub to: Prefix,
    /// Index of its link; 0 is unreachable.
    pub link: u32,
    /// The next hop.
    pub via: Option<IpAddr>,
}

impl Held {
    /// A prefix that is on the link.
    pub fn on_link(table: u32, to: Prefix, link: u32) -> Held {
        Held { table, to, link, via: None }
    }

    /// What ends a table: everything that it does not know is unreachable.
    pub fn end(table: u32, v6: bool) -> Held {
        Held { table, to: if v6 { Prefix::ALL_V6 } else { Prefix::ALL_V4 }, link: 0, via: None }
    }

    fn request(&self, kind: u16, flags: i32) -> Request {
        let to = self.to.address();
        let (scope, what) = match (self.link, self.via) {
            (0, _) => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE),
            (_, None) if to.is_ipv4() => (libc::RT_SCOPE_LINK, libc::RTN_UNICAST),
            _ => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST),
        };
        let flag = if self.via.is_some() { RTNH_F_ONLINK } else { 0 };
        let mut body = vec![family(to), self.to.length(), 0, 0, libc::RT_TABLE_UNSPEC];
        body.extend([PROTOCOL, scope, what]);
        body.extend(flag.to_ne_bytes());
        let mut request = Request::new(kind, flags, &body);
        request.attr(libc::RTA_TABLE, &self.table.to_ne_bytes());
        if self.to.length() > 0 {
            request.attr(libc::RTA_DST, &octets(to));
        }
        if self.link == 0 {
            request.attr(libc::RTA_PRIORITY, &LAST.to_ne_bytes());
        } else {
            request.attr(libc::RTA_OIF, &self.link.to_ne_bytes());
        }
        if let Some(via) = self.via {
            request.attr(libc::RTA_GATEWAY, &octets(via));
        }
        request
    }

    fn read(message: &Message) -> Option<Held> {
        let [family, len, ..] = *message.payload.first_chunk::<ROUTE_BYTES>()?;
        let attrs: Attrs<'_> = message.attrs(ROUTE_BYTES);
        let number = |kind| attrs.get(kind).and_then(u32_of);
        let any = if i32::from(family) == libc::AF_INET { &[0; 4][..] } else { &[0; 16][..] };
        Some(Held {
            table: number(libc::RTA_TABLE)?,
            to: Prefix::new(address(attrs.get(libc::RTA_DST).unwrap_or(any))?, len)?,
            // An unreachable IPv6 route is on the loopback link.
            link: if number(libc::RTA_PRIORITY) == Some(LAST) {
                0
            } else {
                number(libc::RTA_OIF).unwrap_or(0)
            },
            via: attrs.get(libc::RTA_GATEWAY).and_then(address),
        })
    }
}

impl Netlink {
    /// Our routes in a table.
    pub(crate) fn our_routes(&mut self, table: u32) -> Result<Vec<Held>> {
        let mut held = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut body = [0; ROUTE_BYTES];
            if let Some(first) = body.first_mut() {
                *first = family as u8;
            }
            let request = Request::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &body);
            let answers = self.call(request, || "listing routes".to_owned())?;
            let ours = answers.iter().filter(|m| m.payload.get(5) == Some(&PROTOCOL));
            held.extend(ours.filter_map(Held::read).filter(|route| route.table == table));
        }
        Ok(held)
    }

    /// Adds a route; in a table of our own it takes the place of one to the same prefix.
    pub(crate) fn put_route(&mut self, route: &Held) -> Result<()> {
        let main = route.table == u32::from(libc::RT_TABLE_MAIN);
        let how = if main { libc::NLM_F_EXCL } else { libc::NLM_F_REPLACE };
        let request = route.request(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | how);
        self.call(request, || format!("adding the route to {}", route.to)).map(drop)
    }

    /// Removes a route; none is as good.
    pub(crate) fn remove_route(&mut self, route: &Held) -> Result<()> {
        let request = route.request(libc::RTM_DELROUTE, 0);
        absent_is_fine(self.call(request, || format!("removing the route to {}", route.to)))
    }

    /// What comes in by the link `from` is routed by `table`. A rule that is there stays.
    pub(crate) fn ensure_rule(&mut self, from: &str, table: u32, v6: bool) -> Result<()> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = rule(libc::RTM_NEWRULE, flags, from, table, v6);
        match self.call(request, || format!("adding a routing rule for `{from}`")) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Takes that back; none is as good.
    pub(crate) fn remove_rule(&mut self, from: &str, table: u32, v6: bool) -> Result<()> {
        let request = rule(libc::RTM_DELRULE, 0, from, table, v6);
        absent_is_fine(self.call(request, || format!("removing the routing rule for `{from}`")))
    }

    /// The link neither asks nor answers who has an address: what is sent by it has its own Ethernet
    /// address as destination.
    pub(crate) fn silence_arp(&mut self, index: u32) -> Result<()> {
        let bit = libc::IFF_NOARP as u32;
        let request = Request::new(libc::RTM_NEWLINK, 0, &ifinfo(index, bit, bit));
        self.call(request, || format!("silencing ARP on the link number {index}")).map(drop)
    }
}

/// `struct rtmsg` and `struct fib_rule_hdr` are as long as each other.
const ROUTE_BYTES: usize = 12;

fn rule(kind: u16, flags: i32, from: &str, table: u32, v6: bool) -> Request {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    let body = [family as u8, 0, 0, 0, 0, 0, 0, fra::TO_TABLE, 0, 0, 0, 0];
    let mut request = Request::new(kind, flags, &body);
    request
        .text(fra::IIFNAME, from)
        .attr(fra::PRIORITY, &PREFERENCE.to_ne_bytes())
        .attr(fra::TABLE, &table.to_ne_bytes())
        .attr(fra::PROTOCOL, &[PROTOCOL]);
    request
}

/// `ESRCH` is the kernel's word for a route that is not there, `ENOENT` for a rule; a host without
/// IPv6 knows no such family.
fn absent_is_fine<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error)
            if matches!(
                error.errno(),
                Some(Errno::ESRCH | Errno::ENOENT | Errno::ENODEV | Errno::EAFNOSUPPORT)
            ) =>
        {
            Ok(())
        }
        done => done.map(drop),
    }
}
