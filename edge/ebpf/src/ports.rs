//! Which devices the programs are attached to: pinned links, named after what they hold.
//!
//! ```text
//! PIN_DIR/links/from-7   from_endpoint at the ingress of device 7
//! PIN_DIR/links/to-7     to_endpoint at its egress
//! PIN_DIR/links/overlay  from_overlay at the ingress of the tunnel device
//! PIN_DIR/links/exit-7   from_exit at the ingress of device 7, which leads to the host's stack
//! ```
//!
//! No dots: bpffs keeps names with dots for itself, and answers EPERM.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::net::if_::if_indextoname;
use selvage_agent::datapath::Port;

use crate::error::{Doing, Result};
use crate::maps::Programs;
use crate::program::{Hook, Link, Program, remove_pin};

/// The directory of pinned links.
#[derive(Debug)]
pub(crate) struct Links {
    directory: PathBuf,
}

impl Links {
    /// Opens the directory. Every program found attached is replaced by the one of `programs`, and
    /// what is left of devices that are gone is removed.
    pub(crate) fn open(pin_dir: &Path, programs: &Programs) -> Result<Links> {
        let links = Links { directory: pin_dir.join("links") };
        let doing = || format!("make `{}`", links.directory.display());
        fs::create_dir_all(&links.directory).doing(doing)?;
        for name in links.names()? {
            let program = match name.split('-').next() {
                Some("from") => &programs.from_endpoint,
                Some("to") => &programs.to_endpoint,
                Some("overlay") => &programs.from_overlay,
                Some("exit") => &programs.from_exit,
                _ => continue,
            };
            let path = links.directory.join(&name);
            let Some(link) = Link::open(&path)? else { continue };
            if link.ifindex()? == 0 {
                remove_pin(&path)?;
            } else {
                link.update(program)?;
            }
        }
        Ok(links)
    }

    fn names(&self) -> Result<Vec<String>> {
        let doing = || format!("list `{}`", self.directory.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).doing(doing)? {
            names.extend(entry.doing(doing)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Holds both directions of a port.
    pub(crate) fn attach_port(&self, ifindex: u32, programs: &Programs) -> Result<()> {
        self.hold(&format!("to-{ifindex}"), ifindex, Hook::Egress, &programs.to_endpoint)?;
        self.hold(&format!("from-{ifindex}"), ifindex, Hook::Ingress, &programs.from_endpoint)
    }

    /// Lets go of a port.
    pub(crate) fn detach_port(&self, ifindex: u32) -> Result<()> {
        self.release(&format!("from-{ifindex}"))?;
        self.release(&format!("to-{ifindex}"))
    }

    /// Holds the tunnel device.
    pub(crate) fn attach_overlay(&self, ifindex: u32, programs: &Programs) -> Result<()> {
        self.hold("overlay", ifindex, Hook::Ingress, &programs.from_overlay)
    }

    /// Holds a link to the host's stack.
    pub(crate) fn attach_exit(&self, ifindex: u32, programs: &Programs) -> Result<()> {
        self.hold(&format!("exit-{ifindex}"), ifindex, Hook::Ingress, &programs.from_exit)
    }

    /// Lets go of the links to the host's stack that are not among `kept`.
    pub(crate) fn release_exits(&self, kept: impl Fn(u32) -> bool) -> Result<()> {
        for name in self.names()? {
            let ifindex = name.strip_prefix("exit-").and_then(|n| n.parse::<u32>().ok());
            if ifindex.is_some_and(|ifindex| !kept(ifindex)) {
                self.release(&name)?;
            }
        }
        Ok(())
    }

    fn hold(&self, name: &str, ifindex: u32, hook: Hook, program: &Program) -> Result<()> {
        let path = self.directory.join(name);
        if let Some(link) = Link::open(&path)? {
            if link.ifindex()? == ifindex {
                return link.update(program);
            }
            if link.ifindex()? != 0 {
                link.detach()?;
            }
        }
        Link::attach(program, ifindex, hook)?.pin(&path)
    }

    fn release(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        if let Some(link) = Link::open(&path)?
            && link.ifindex()? != 0
        {
            link.detach()?;
        }
        remove_pin(&path)
    }

    /// Ports that are held, and are still there.
    pub(crate) fn ports(&self) -> Result<BTreeSet<Port>> {
        let mut ports = BTreeSet::new();
        for name in self.names()? {
            let Some(ifindex) = name.strip_prefix("from-").and_then(|n| n.parse::<u32>().ok())
            else {
                continue;
            };
            let path = self.directory.join(&name);
            let alive = Link::open(&path)?.map(|link| link.ifindex()).transpose()?;
            if alive != Some(ifindex) {
                continue;
            }
            let name = if_indextoname(ifindex)
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            ports.insert(Port { ifindex, name });
        }
        Ok(ports)
    }

    /// Lets go of everything.
    pub(crate) fn release_all(&self) -> Result<()> {
        self.names()?.iter().try_for_each(|name| self.release(name))
    }
}
