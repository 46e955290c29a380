//! Addresses and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use nix::libc;

use crate::error::Result;
use crate::netlink::{Netlink, Request, u32_of};

/// linux/rtnetlink.h; not in the libc crate.
const RTNH_F_ONLINK: u32 = 4;

/// A route to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// What it leads to: a prefix and its length in bits.
    pub to: (IpAddr, u8),
    /// The gateway; `None` means the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// The gateway counts as reachable on the link even where no address says so.
    pub onlink: bool,
}

impl Route {
    /// The default route via `gateway`.
    pub fn default_via(gateway: IpAddr) -> Route {
        let any: IpAddr = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Route { to: (any, 0), via: Some(gateway), onlink: false }
    }

    /// A prefix that is on the link.
    pub fn on_link(ip: IpAddr, prefix_len: u8) -> Route {
        Route { to: (ip, prefix_len), via: None, onlink: false }
    }
}

impl Netlink {
    /// Adds an address to a link; one that is there already is no error.
    ///
    /// An IPv6 address is used at once, without duplicate address detection (`nodad`): the fabric
    /// gives out addresses, and a tentative one would refuse connections for a second.
    pub fn add_address(&mut self, index: u32, ip: IpAddr, prefix_len: u8) -> Result<()> {
        let bytes = octets(ip);
        let mut body = vec![family(ip), prefix_len, libc::IFA_F_NODAD as u8, 0];
        body.extend(index.to_ne_bytes());
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWADDR, flags, &body);
        request.attr(libc::IFA_LOCAL, &bytes).attr(libc::IFA_ADDRESS, &bytes);
        ignore_existing(self.call(request, || format!("adding the address {ip}/{prefix_len}")))
    }

    /// The addresses of a link with their prefix lengths, ascending.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<(IpAddr, u8)>> {
        let request = Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; 8]);
        let answers = self.call(request, || "listing addresses".to_owned())?;
        let mut found: Vec<(IpAddr, u8)> = answers
            .iter()
            .filter(|m| m.payload.get(4..).and_then(u32_of) == Some(index))
            .filter_map(|m| {
                let attrs = m.attrs(8);
                let bytes = attrs.get(libc::IFA_LOCAL).or(attrs.get(libc::IFA_ADDRESS))?;
                Some((address(bytes)?, *m.payload.get(1)?))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// Adds a route through a link that is up; one that is there already is no error.
    pub fn add_route(&mut self, index: u32, route: Route) -> Result<()> {
        let (to, prefix_len) = route.to;
        let scope = if route.via.is_none() && to.is_ipv4() {
            libc::RT_SCOPE_LINK
        } else {
            libc::RT_SCOPE_UNIVERSE
        };
        let mut body = vec![family(to), prefix_len, 0, 0, libc::RT_TABLE_MAIN];
        body.extend([libc::RTPROT_STATIC, scope, libc::RTN_UNICAST]);
        let flags = if route.onlink { RTNH_F_ONLINK } else { 0 };
        body.extend(flags.to_ne_bytes());
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWROUTE, flags, &body);
        if prefix_len > 0 {
            request.attr(libc::RTA_DST, &octets(to));
        }
        if let Some(via) = route.via {
            request.attr(libc::RTA_GATEWAY, &octets(via));
        }
        request.attr(libc::RTA_OIF, &index.to_ne_bytes());
        let doing = || match route.via {
            Some(via) => format!("adding the route to {to}/{prefix_len} via {via}"),
            None => format!("adding the route to {to}/{prefix_len}"),
        };
        ignore_existing(self.call(request, doing))
    }
}

fn ignore_existing<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
        done => done.map(drop),
    }
}

pub(crate) fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
}
