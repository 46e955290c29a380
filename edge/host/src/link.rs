//! Links: veth pairs, and what every link has.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use selvage_rules::Mac;

use crate::error::{Error, Result};
use crate::netlink::{Attrs, Message, Netlink, Request, c_string, u32_of};
use crate::netns::NetNs;

/// `struct ifinfomsg`, rtnetlink(7).
pub(crate) const IFINFO_BYTES: usize = 16;
/// if_link.h; not in the libc crate.
pub(crate) const VETH_INFO_PEER: u16 = 1;

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace, never 0.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is (`veth`, `vxlan`, ...); empty for hardware and loopback.
    pub kind: String,
    /// Its Ethernet address, where it has one.
    pub mac: Option<Mac>,
    /// Largest packet it carries, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// It is set up. Whether anything is at the other end is [`Link::carrier`].
    pub up: bool,
    /// Its other end is up too.
    pub carrier: bool,
    /// The group its maker put it in (ip-link(8) `group`); 0 where nobody did.
    pub group: u32,
}

/// A veth pair to be made, with the far end born in its namespace.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// Name of the end in the socket's namespace.
    pub name: &'a str,
    /// Ethernet address of that end; `None` lets the kernel choose.
    pub mac: Option<Mac>,
    /// Name of the far end.
    pub peer: &'a str,
    /// Ethernet address of the far end; `None` lets the kernel choose.
    pub peer_mac: Option<Mac>,
    /// The namespace the far end is made in; `None` is the socket's own.
    pub peer_namespace: Option<&'a NetNs>,
    /// MTU of both ends, in bytes.
    pub mtu: u32,
    /// The group of the near end, from its first moment (an alias can only be given later), so that
    /// whoever made it can tell it from what others made; 0 is the kernel's default.
    pub group: u32,
}

/// What is to be different about a link. `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// Up or down.
    pub up: Option<bool>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Ethernet address.
    pub mac: Option<Mac>,
}

impl Netlink {
    /// Makes a veth pair, both ends down, and gives the index of the near end.
    ///
    /// The far end is created in its namespace by the same request. Made here and moved there it
    /// would cost an RCU grace period, several times the price of making it.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<u32> {
        check_name(veth.name)?;
        check_name(veth.peer)?;
        let mut request = new_link(veth.name, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        describe(&mut request, veth.mac, veth.mtu);
        request.attr(libc::IFLA_GROUP, &veth.group.to_ne_bytes());
        request.nest(libc::IFLA_LINKINFO, |r| {
            r.text(libc::IFLA_INFO_KIND, "veth").nest(libc::IFLA_INFO_DATA, |r| {
                r.nest_after(VETH_INFO_PEER, &[0; IFINFO_BYTES], |r| {
                    r.text(libc::IFLA_IFNAME, veth.peer);
                    describe(r, veth.peer_mac, veth.mtu);
                    if let Some(namespace) = veth.peer_namespace {
                        let fd = std::os::fd::AsFd::as_fd(namespace).as_raw_fd();
                        r.attr(libc::IFLA_NET_NS_FD, &fd.to_ne_bytes());
                    }
                });
            });
        });
        self.call(request, || format!("creating the link `{}`", veth.name))?;
        self.index_of(veth.name)
    }

    /// Changes a link.
    pub fn change(&mut self, index: u32, change: Change) -> Result<()> {
        let bit = libc::IFF_UP as u32;
        let (flags, mask) = match change.up {
            Some(true) => (bit, bit),
            Some(false) => (0, bit),
            None => (0, 0),
        };
        let mut request = Request::new(libc::RTM_NEWLINK, 0, &ifinfo(index, flags, mask));
        if let Some(mtu) = change.mtu {
            request.attr(libc::IFLA_MTU, &mtu.to_ne_bytes());
        }
        if let Some(mac) = change.mac {
            request.attr(libc::IFLA_ADDRESS, &mac.0);
        }
        self.call(request, || format!("changing the link number {index}")).map(drop)
    }

    /// Sets the link `name` up.
    pub fn set_up(&mut self, name: &str) -> Result<()> {
        let index = self.index_of(name)?;
        self.change(index, Change { up: Some(true), ..Change::default() })
    }

    /// Deletes the link `name`, and with it the other end of a pair. Gives whether it existed.
    pub fn delete_link(&mut self, name: &str) -> Result<bool> {
        check_name(name)?;
        let mut request = Request::new(libc::RTM_DELLINK, 0, &ifinfo(0, 0, 0));
        request.text(libc::IFLA_IFNAME, name);
        match self.call(request, || format!("deleting the link `{name}`")) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(false),
            done => done.map(|_| true),
        }
    }

    /// The link `name`, if there is one.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        check_name(name)?;
        let found = self.raw_link(name)?;
        Ok(found.as_ref().and_then(Link::read))
    }

    /// The index of the link `name`.
    pub fn index_of(&mut self, name: &str) -> Result<u32> {
        match self.link(name)? {
            Some(link) => Ok(link.index),
            None => Err(Error::NoLink { name: name.to_owned() }),
        }
    }

    /// The links whose names begin with `prefix`, by index.
    pub fn links(&mut self, prefix: &str) -> Result<Vec<Link>> {
        let request = Request::new(libc::RTM_GETLINK, libc::NLM_F_DUMP, &ifinfo(0, 0, 0));
        let answers = self.call(request, || "listing links".to_owned())?;
        let mut links: Vec<Link> = answers.iter().filter_map(Link::read).collect();
        links.retain(|link| link.name.starts_with(prefix));
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    pub(crate) fn raw_link(&mut self, name: &str) -> Result<Option<Message>> {
        let mut request = Request::new(libc::RTM_GETLINK, 0, &ifinfo(0, 0, 0));
        request.text(libc::IFLA_IFNAME, name);
        match self.call(request, || format!("reading the link `{name}`")) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
            answers => Ok(answers?.into_iter().next()),
        }
    }
}

impl Link {
    /// Reads an `RTM_NEWLINK` or `RTM_DELLINK`.
    pub(crate) fn read(message: &Message) -> Option<Link> {
        let index = message.payload.get(4..).and_then(u32_of)?;
        let flags = message.payload.get(8..).and_then(u32_of)?;
        let attrs: Attrs<'_> = message.attrs(IFINFO_BYTES);
        let mac = attrs.get(libc::IFLA_ADDRESS).and_then(|a| Some(Mac(a.try_into().ok()?)));
        let kind = attrs.nested(libc::IFLA_LINKINFO).get(libc::IFLA_INFO_KIND);
        Some(Link {
            index,
            name: c_string(attrs.get(libc::IFLA_IFNAME)?),
            kind: kind.map(c_string).unwrap_or_default(),
            mac,
            mtu: attrs.get(libc::IFLA_MTU).and_then(u32_of).unwrap_or(0),
            up: flags & libc::IFF_UP as u32 != 0,
            carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
            group: attrs.get(libc::IFLA_GROUP).and_then(u32_of).unwrap_or(0),
        })
    }
}

/// A request for a new link of this name.
pub(crate) fn new_link(name: &str, flags: i32) -> Request {
    let mut request = Request::new(libc::RTM_NEWLINK, flags, &ifinfo(0, 0, 0));
    request.text(libc::IFLA_IFNAME, name);
    request
}

/// A link's name goes to the kernel as it is, and into sysctl paths (dev_valid_name in the kernel).
pub(crate) fn check_name(name: &str) -> Result<()> {
    let why = if name.is_empty() || name == "." || name == ".." {
        "it is no name"
    } else if name.len() > 15 {
        "it is longer than 15 bytes"
    } else if name.bytes().any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace()) {
        "it has a slash, a colon, a space or a NUL"
    } else {
        return Ok(());
    };
    Err(Error::BadName { name: name.to_owned(), what: "a link", why })
}

fn describe(request: &mut Request, mac: Option<Mac>, mtu: u32) {
    if let Some(mac) = mac {
        request.attr(libc::IFLA_ADDRESS, &mac.0);
    }
    request.attr(libc::IFLA_MTU, &mtu.to_ne_bytes());
}

pub(crate) fn ifinfo(index: u32, flags: u32, mask: u32) -> [u8; IFINFO_BYTES] {
    let mut body = [0; IFINFO_BYTES];
    for (place, value) in body.as_chunks_mut::<4>().0.iter_mut().zip([0, index, flags, mask]) {
        *place = value.to_ne_bytes();
    }
    body
}
