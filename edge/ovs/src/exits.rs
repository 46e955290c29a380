//! The ports of the bridge that lead to the host's own stack: one for each VRF that this host is the
//! border of ([`ExitLink`]). The links are made by whoever calls us; here they are taken and let go.

use std::collections::BTreeMap;

use nix::net::if_::if_nametoindex;
use selvage_agent::datapath::{ExitLink, PlaneError};
use selvage_host::{NetNs, fill_checksums};
use selvage_rules::{Desired, ScopeId};

use crate::failure::Doing;
use crate::ovsdb::{Client, PortRow, PortSpec};

/// Which links were taken, by their interface index. A link that was made anew under the same name
/// is another one, which the switch does not notice by itself.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    taken: BTreeMap<ScopeId, u32>,
}

impl Exits {
    /// Takes the links that `desired` needs and that are there, and lets go of those that are gone.
    /// `bytes`: the switch reads packets as bytes, so the stack has to finish them. True if the
    /// bridge's ports are others than `rows` says.
    pub fn take(
        &mut self,
        desired: &Desired,
        rows: &[PortRow],
        database: &mut Client,
        bridge: &str,
        bytes: bool,
    ) -> Result<bool, PlaneError> {
        let mut changed = false;
        for scope in desired.exits_here() {
            let link = ExitLink::of(scope);
            let row = rows.iter().find(|row| row.name == link.plane);
            let index = if_nametoindex(link.plane.as_str()).ok();
            let known = self.taken.get(&scope).copied().or(row.and_then(|row| row.ifindex));
            let held = row.is_some_and(|row| row.number.is_some());
            if held && index.is_some() && known == index {
                self.taken.extend(index.map(|index| (scope, index)));
                continue;
            }
            let doing = format!("take hold of link `{}`", link.plane);
            if row.is_some() {
                database.remove_port(bridge, &link.plane).doing(&doing)?;
                self.taken.remove(&scope);
                changed = true;
            }
            let Some(index) = index else { continue };
            crate::datapath::isolate(&link.plane)?;
            if bytes {
                let here = NetNs::current().doing(&doing)?;
                fill_checksums(&here, &link.stack).doing(&doing)?;
            }
            database.ensure_port(bridge, &PortSpec::system(&link.plane)).doing(&doing)?;
            self.taken.insert(scope, index);
            changed = true;
        }
        Ok(changed)
    }

    /// Lets go of the links that `desired` does not need.
    pub fn release(
        &mut self,
        desired: &Desired,
        rows: &[PortRow],
        database: &mut Client,
        bridge: &str,
    ) -> Result<(), PlaneError> {
        let needed = desired.exits_here();
        for (scope, row) in rows.iter().filter_map(|row| Some((scope_of(&row.name)?, row))) {
            if !needed.contains(&scope) {
                let doing = format!("let go of link `{}`", row.name);
                database.remove_port(bridge, &row.name).doing(&doing)?;
                self.taken.remove(&scope);
            }
        }
        Ok(())
    }
}

/// Numbers of the ports that lead to the host's stack.
pub(crate) fn numbers(rows: &[PortRow]) -> BTreeMap<ScopeId, u32> {
    rows.iter().filter_map(|row| Some((scope_of(&row.name)?, row.number?))).collect()
}

/// The VRF whose packets a port of this name leads to the host's stack; `None` for other ports.
pub(crate) fn scope_of(name: &str) -> Option<ScopeId> {
    let scope = ScopeId(u32::from_str_radix(name.get(3..)?, 16).ok()?);
    (ExitLink::of(scope).plane == name).then_some(scope)
}
