//! What this machine has of what each part needs.

use std::os::unix::net::UnixStream;
use std::path::Path;

use selvage_host::probe::Feature;
use serde::Serialize;

/// Something that this machine can do or not.
#[derive(Serialize)]
pub struct Ability {
    /// What: a data plane, or the sandbox.
    pub what: &'static str,
    /// What it takes.
    pub checks: Vec<Check>,
}

/// One thing that is there or not.
#[derive(Serialize)]
pub struct Check {
    /// Whether it is there.
    pub found: bool,
    /// What it is; when it is missing, what to do about it.
    pub words: String,
}

const EBPF: &str = "ebpf data plane";
const OVS: &str = "ovs data plane";
const SANDBOX: &str = "sandbox of `selvage run`";

impl Ability {
    /// Whether all it takes is there.
    pub fn able(&self) -> bool {
        self.checks.iter().all(|check| check.found)
    }

    /// Whether it is about a data plane.
    pub fn is_plane(&self) -> bool {
        self.what != SANDBOX
    }
}

/// Looks at this machine. Nothing is left of the looking.
pub fn look(ovs_db: &Path) -> Vec<Ability> {
    let features = |features: &[Feature]| features.iter().map(check).collect::<Vec<Check>>();
    let mut ovs = features(&[Feature::Root, Feature::Veth]);
    ovs.push(switch(ovs_db));
    vec![
        Ability { what: EBPF, checks: features(Feature::AGENT) },
        Ability { what: OVS, checks: ovs },
        Ability { what: SANDBOX, checks: features(Feature::SANDBOX) },
    ]
}

fn check(feature: &Feature) -> Check {
    let found = feature.present();
    let words = if found { feature.name().to_owned() } else { feature.lack().replace('\n', ";") };
    Check { found, words }
}

fn switch(ovs_db: &Path) -> Check {
    match UnixStream::connect(ovs_db) {
        Ok(_) => Check { found: true, words: format!("Open vSwitch at {}", ovs_db.display()) },
        Err(error) => Check {
            found: false,
            words: format!(
                "no Open vSwitch answers at {}: {error};  hint: install openvswitch-switch and \
                 start it, or name its socket with --ovs-db",
                ovs_db.display()
            ),
        },
    }
}
