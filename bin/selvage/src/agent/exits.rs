//! The ways out that a host needs: made before what is desired is applied, removed after.

use std::collections::BTreeSet;

use selvage_agent::MTU;
use selvage_agent::datapath::ExitLink;
use selvage_host::exit::{Exit, Exits, Outward};
use selvage_host::{Error, Result};
use selvage_rules::{Desired, Hop, Prefix, ScopeId};

/// What the names of the stack's ends begin with; a VRF's number follows.
pub const PREFIX: &str = "svx";

/// Routing tables are numbered by their VRF, far above those that people use.
const TABLES: u32 = 0x5e00_0000;

/// The ways out of one agent.
pub struct WaysOut {
    exits: Exits,
    group: u32,
    /// What could not be, the last time.
    lacking: Vec<String>,
}

impl WaysOut {
    /// In the calling thread's namespace; `group` marks the links that this agent made.
    pub fn open(group: u32) -> Result<WaysOut> {
        Ok(WaysOut { exits: Exits::open()?, group, lacking: Vec::new() })
    }

    /// Makes what `desired` needs. Gives what cannot be, in words.
    pub fn ensure(&mut self, desired: &Desired) -> Vec<String> {
        self.lacking.clear();
        for scope in desired.exits_here() {
            let vrf = desired.table.vrfs.get(&scope).map_or("", |vrf| &*vrf.name);
            let of_vrf = |error: &Error| format!("the way out of `{vrf}`: {error}");
            match self.ensure_one(desired, scope) {
                Ok(errors) => self.lacking.extend(errors.iter().map(of_vrf)),
                Err(error) => self.lacking.push(of_vrf(&error)),
            }
        }
        self.lacking.clone()
    }

    /// Whether something could not be, the last time.
    pub fn is_lacking(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// Removes what `desired` does not need.
    pub fn prune(&mut self, desired: &Desired) -> Result<()> {
        let needed = desired.exits_here();
        self.remove_but(&needed)
    }

    /// Removes everything.
    pub fn remove_all(&mut self) -> Result<()> {
        self.remove_but(&BTreeSet::new())
    }

    fn ensure_one(&mut self, desired: &Desired, scope: ScopeId) -> Result<Vec<Error>> {
        let Some(outside) = desired.table.outside.get(&scope) else { return Ok(Vec::new()) };
        let link = ExitLink::of(scope);
        let outward = |(to, hops): (&Prefix, &BTreeSet<Hop>)| {
            let hop = hops.iter().find(|hop| Some(hop.node) == desired.node)?;
            Some(Outward { to: *to, link: hop.link.to_string(), via: hop.via })
        };
        let hidden = outside.inside.iter().filter(|(_, inside)| !inside.public);
        self.exits.ensure(&Exit {
            stack: &link.stack,
            plane: &link.plane,
            mac: link.mac,
            mtu: MTU,
            group: self.group,
            table: table_of(scope),
            inside: outside.inside.keys().copied().collect(),
            hidden: hidden.map(|(prefix, _)| *prefix).collect(),
            routes: outside.routes.iter().filter_map(outward).collect(),
        })
    }

    fn remove_but(&mut self, needed: &BTreeSet<ScopeId>) -> Result<()> {
        for stack in self.exits.found(PREFIX, self.group)? {
            let Some(scope) = scope_of(&stack) else { continue };
            if !needed.contains(&scope) {
                self.exits.remove(&stack, table_of(scope))?;
            }
        }
        Ok(())
    }
}

fn table_of(scope: ScopeId) -> u32 {
    TABLES | scope.0
}

fn scope_of(stack: &str) -> Option<ScopeId> {
    u32::from_str_radix(stack.strip_prefix(PREFIX)?, 16).ok().map(ScopeId)
}
