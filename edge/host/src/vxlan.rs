//! The tunnel device: one per host, its peers and numbers chosen per packet.

use nix::errno::Errno;
use nix::libc;

use crate::error::{Error, Result};
use crate::link::{IFINFO_BYTES, check_name, new_link};
use crate::netlink::{Attrs, Netlink};

/// A VXLAN device whose VNI, peer and group policy id come with each packet's tunnel metadata
/// (`ip link add ... type vxlan external gbp nolearning`, ip-link(8)).
#[derive(Debug, Clone, Copy)]
pub struct Vxlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// UDP port it listens on and sends to; IANA's is 4789.
    pub port: u16,
    /// MTU in bytes. The outer headers come on top: 50 bytes over IPv4, 70 over IPv6.
    pub mtu: u32,
}

/// What makes a device fit or not.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    kind: String,
    external: bool,
    gbp: bool,
    learning: bool,
    port: u16,
}

impl Netlink {
    /// Makes the device, or takes the one that is there if it is the same, and gives its index.
    pub fn ensure_vxlan(&mut self, vxlan: &Vxlan<'_>) -> Result<u32> {
        check_name(vxlan.name)?;
        let mut request = new_link(vxlan.name, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        request.attr(libc::IFLA_MTU, &vxlan.mtu.to_ne_bytes()).nest(libc::IFLA_LINKINFO, |r| {
            r.text(libc::IFLA_INFO_KIND, "vxlan").nest(libc::IFLA_INFO_DATA, |r| {
                r.attr(attr::COLLECT_METADATA, &[1])
                    .attr(attr::GBP, &[])
                    .attr(attr::LEARNING, &[0])
                    .attr(attr::PORT, &vxlan.port.to_be_bytes());
            });
        });
        match self.call(request, || format!("creating the tunnel device `{}`", vxlan.name)) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => self.check_vxlan(vxlan)?,
            done => drop(done?),
        }
        self.index_of(vxlan.name)
    }

    /// EEXIST also means that another device holds the port; then there is none of this name.
    fn check_vxlan(&mut self, vxlan: &Vxlan<'_>) -> Result<()> {
        let wanted = Shape {
            kind: "vxlan".to_owned(),
            external: true,
            gbp: true,
            learning: false,
            port: vxlan.port,
        };
        let Some(message) = self.raw_link(vxlan.name)? else {
            return Err(self.port_taken(vxlan)?);
        };
        let found = Shape::read(message.attrs(IFINFO_BYTES).nested(libc::IFLA_LINKINFO));
        if found == wanted {
            return Ok(());
        }
        Err(Error::Mismatch {
            name: vxlan.name.to_owned(),
            found: found.words(),
            wanted: wanted.words(),
        })
    }

    fn port_taken(&mut self, vxlan: &Vxlan<'_>) -> Result<Error> {
        for link in self.links("")? {
            let Some(message) = self.raw_link(&link.name)? else { continue };
            let found = Shape::read(message.attrs(IFINFO_BYTES).nested(libc::IFLA_LINKINFO));
            if found.kind == "vxlan" && found.port == vxlan.port {
                return Ok(Error::Mismatch {
                    name: link.name,
                    found: found.words(),
                    wanted: format!("its UDP port for `{}`", vxlan.name),
                });
            }
        }
        Ok(Error::NoLink { name: vxlan.name.to_owned() })
    }
}

impl Shape {
    fn read(info: Attrs<'_>) -> Shape {
        let data = info.nested(libc::IFLA_INFO_DATA);
        let flag = |kind| data.get(kind).is_some_and(|v| v.first() == Some(&1));
        let port = data.get(attr::PORT).and_then(|v| v.first_chunk());
        Shape {
            kind: info.get(libc::IFLA_INFO_KIND).map(crate::netlink::c_string).unwrap_or_default(),
            external: flag(attr::COLLECT_METADATA),
            gbp: data.get(attr::GBP).is_some(),
            learning: flag(attr::LEARNING),
            port: port.map_or(0, |bytes| u16::from_be_bytes(*bytes)),
        }
    }

    fn words(&self) -> String {
        if self.kind != "vxlan" {
            let kind = if self.kind.is_empty() { "none" } else { &self.kind };
            return format!("kind {kind}");
        }
        let with = |on, yes, no| if on { yes } else { no };
        format!(
            "kind vxlan, {}, {}, {}, port {}",
            with(self.external, "external", "a fixed vni"),
            with(self.gbp, "gbp", "no gbp"),
            with(self.learning, "learning", "nolearning"),
            self.port
        )
    }
}

/// `IFLA_VXLAN_*` of linux/if_link.h; not in the libc crate.
mod attr {
    pub const LEARNING: u16 = 7;
    pub const PORT: u16 = 15;
    pub const GBP: u16 = 23;
    pub const COLLECT_METADATA: u16 = 25;
}
