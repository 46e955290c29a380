//! Open vSwitch itself, asked what it would do: its flows read back, and traces.

use std::collections::BTreeSet;

use nix::net::if_::if_indextoname;
use selvage_agent::datapath::{Datapath, Port};
use selvage_agent::judge::{At, Case, Opinion, Party};
use selvage_host::NetNs;
use selvage_ovs::{Config, Ovs};
use selvage_rules::{Desired, Encapsulation};
use selvage_testkit::ovs::Ovs as Switch;

use super::{LoweredOvs, Plane};
use crate::seats::HERE;

/// A switch started privately, with flows that a real [`Datapath::apply`] has put there. Its peers
/// speak `epg-vni` all. Needs root; lives where the thread is that opens it.
pub struct LiveOvs {
    plane: Ovs,
    held: BTreeSet<u32>,
    // Ends after the plane that speaks to it.
    _switch: Switch,
}

impl LiveOvs {
    /// Starts it. Called inside a [`super::Cell`].
    ///
    /// # Errors
    /// Where Open vSwitch is not installed, or what it refuses, in words.
    pub fn open(tag: &str) -> Result<LiveOvs, String> {
        let here = NetNs::current().map_err(|error| error.to_string())?;
        let switch = Switch::start(&here).map_err(|error| error.to_string())?;
        let config = Config {
            database: switch.database(),
            bridge: "svjudge".to_owned(),
            owner: tag.to_owned(),
            datapath: "netdev".to_owned(),
            tunnel: HERE,
            underlay: None,
        };
        let plane = Ovs::open(config).map_err(|error| error.to_string())?;
        Ok(LiveOvs { plane, held: BTreeSet::new(), _switch: switch })
    }

    fn hold(&mut self, ifindex: u32) -> Result<(), String> {
        if ifindex == 0 || !self.held.insert(ifindex) {
            return Ok(());
        }
        let name = if_indextoname(ifindex).map_err(|error| error.to_string())?;
        let name = name.to_string_lossy().into_owned();
        let port = Port { ifindex, name };
        self.plane.attach_port(&port).map_err(|error| error.to_string())
    }
}

impl Plane for LiveOvs {
    fn name(&self) -> &'static str {
        "ovs live"
    }

    fn install(&mut self, desired: &Desired) -> Result<(), String> {
        for local in desired.locals.values() {
            self.hold(local.ifindex)?;
        }
        let tunnels = desired.tunnels.keys().map(|peer| (*peer, Encapsulation::EpgVni)).collect();
        let desired = Desired { tunnels, ..desired.clone() };
        // What is unsupported has a name, and denies.
        self.plane.apply(&desired).map(drop).map_err(|error| error.to_string())
    }

    /// Both judges of the plane have to say the same.
    fn judge(&mut self, case: &Case) -> Result<Opinion, String> {
        let case = Case { from: by_vni(&case.from), to: by_vni(&case.to), ..case.clone() };
        let opinions = self.plane.judge(&case).map_err(|error| error.to_string())?;
        if opinions.lowered == opinions.live {
            Ok(opinions.live)
        } else {
            Err(format!("its flows and its switch differ about {case:?}: {opinions:?}"))
        }
    }

    fn forget(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn carries(&self, case: &Case) -> bool {
        LoweredOvs::default().carries(case)
    }
}

fn by_vni(party: &Party) -> Party {
    let at = match party.at {
        At::Host { tunnel, .. } => At::Host { tunnel, speaks: Encapsulation::EpgVni },
        at @ At::Port(_) => at,
    };
    Party { at, ..party.clone() }
}
