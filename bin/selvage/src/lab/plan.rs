//! What a lab consists of: names, addresses, folders. Written down, so that `down` finds it again.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failed;
use crate::exit::{Failure, Kind};

/// A lab.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Process that keeps it.
    pub pid: u32,
    /// Where it keeps everything.
    pub run_dir: PathBuf,
    /// Address of the REST API.
    pub listen: String,
    /// Namespace that routes between the hosts.
    pub spine: String,
    /// The controller's OpFlex address, in the spine.
    pub opflex: Ipv4Addr,
    /// The hosts.
    pub hosts: Vec<Host>,
}

/// One host of a lab.
#[derive(Debug, Serialize, Deserialize)]
pub struct Host {
    /// Its name, `h1`; `LAB-h1` in a lab with a name of its own.
    pub name: String,
    /// Its network namespace.
    pub netns: String,
    /// Its link to the spine has this name on both ends.
    pub link: String,
    /// Its address, also its tunnel address.
    pub address: Ipv4Addr,
    /// The spine's address on its link.
    pub gateway: Ipv4Addr,
    /// What enforces on it.
    pub dataplane: Enforces,
    /// The number that policy knows it by.
    #[serde(default = "first_node")]
    pub node_id: u16,
}

/// The first host's number, as in ACI.
fn first_node() -> u16 {
    101
}

/// What enforces on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforces {
    /// Programs at the edge of every link.
    Ebpf,
    /// A switch of its own.
    Ovs,
}

/// What enforces in a lab.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataplanes {
    /// eBPF on every host.
    Ebpf,
    /// Open vSwitch on every host.
    Ovs,
    /// The two in turn: eBPF on the first host, Open vSwitch on the second.
    Mixed,
}

impl Dataplanes {
    fn of(self, host: u8) -> Enforces {
        match self {
            Dataplanes::Ebpf => Enforces::Ebpf,
            Dataplanes::Ovs => Enforces::Ovs,
            Dataplanes::Mixed if host % 2 == 1 => Enforces::Ebpf,
            Dataplanes::Mixed => Enforces::Ovs,
        }
    }
}

/// Length of the prefix of a host's underlay network.
pub const PREFIX_LEN: u8 = 24;

/// The lab whose hosts are simply `h1`, `h2`.
pub const DEFAULT_NAME: &str = "lab";

/// Checks the name of a lab.
pub fn parse_name(text: &str) -> Result<String, String> {
    let fits = (1..=8).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric());
    if fits { Ok(text.to_owned()) } else { Err("1-8 letters and digits".to_owned()) }
}

impl Plan {
    /// A lab with this many hosts. Addresses are of 198.18.0.0/15, which RFC 2544 sets aside for
    /// tests; they exist in the lab's own namespaces only.
    pub fn new(
        name: &str,
        run_dir: &Path,
        hosts: u8,
        listen: &str,
        dataplanes: Dataplanes,
    ) -> Plan {
        // Names of agents are pinned names too, so those of two labs must differ.
        let prefix = if name == DEFAULT_NAME { String::new() } else { format!("{name}-") };
        let host = |number: u8| Host {
            name: format!("{prefix}h{number}"),
            netns: format!("sv-{name}-h{number}"),
            link: format!("sv{name}{number}"),
            address: Ipv4Addr::new(198, 18, number, 2),
            gateway: Ipv4Addr::new(198, 18, number, 1),
            dataplane: dataplanes.of(number),
            node_id: first_node() - 1 + u16::from(number),
        };
        Plan {
            name: name.to_owned(),
            pid: std::process::id(),
            run_dir: run_dir.to_owned(),
            listen: listen.to_owned(),
            spine: format!("sv-{name}-spine"),
            opflex: Ipv4Addr::new(198, 18, 0, 1),
            hosts: (1..=hosts).map(host).collect(),
        }
    }

    /// The lab that runs or ran in this folder; where none is written down, the largest there can
    /// be, so that whatever is left of one is found.
    pub fn read(name: &str, run_dir: &Path) -> Result<Plan, Failure> {
        match fs::read_to_string(run_dir.join("lab.json")) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| failed("lab.json", error)),
            Err(_) => Ok(Plan { pid: 0, ..Plan::new(name, run_dir, 16, "", Dataplanes::Ebpf) }),
        }
    }

    /// Writes it down.
    pub fn write(&self) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| failed(&format!("making {}", self.run_dir.display()), error);
        fs::create_dir_all(self.logs()).map_err(failed)?;
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
        fs::write(self.file(), text).map_err(failed)
    }

    /// Refuses to make a second lab, or one in the folder of daemons that are no lab.
    pub fn refuse_if_running(&self) -> Result<(), Failure> {
        if let Ok(text) = fs::read_to_string(self.file()) {
            let other: Plan =
                serde_json::from_str(&text).map_err(|error| failed("lab.json", error))?;
            if super::daemons::is_selvage(other.pid) {
                let message =
                    format!("lab `{}` is running already (process {})", other.name, other.pid);
                return Err(Failure::new(Kind::Failed, message).hint("`selvage down` stops it"));
            }
        }
        let socket = self.run_dir.join("agent.sock");
        if socket.exists() {
            let message = format!("{} belongs to an agent of this machine", socket.display());
            return Err(Failure::new(Kind::Failed, message)
                .hint("give the lab a folder of its own with --run-dir"));
        }
        Ok(())
    }

    /// Removes the folders it made. A run directory that was there before stays, empty of ours.
    pub fn remove(&self) -> Result<(), Failure> {
        let ours = self.hosts.iter().map(|host| self.host_dir(host));
        for folder in ours.chain([self.state(), self.logs()]) {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(&format!("removing {}", folder.display()), error));
                }
                _ => {}
            }
        }
        for file in [self.run_dir.join("controller.json"), self.file()] {
            // Absent is what is wanted.
            let _ = fs::remove_file(file);
        }
        // Stays if somebody else keeps something there.
        let _ = fs::remove_dir(&self.run_dir);
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.run_dir.join("lab.json")
    }

    /// Where daemons write their logs.
    pub fn logs(&self) -> PathBuf {
        self.run_dir.join("log")
    }

    /// Where daemons keep their state.
    pub fn state(&self) -> PathBuf {
        self.run_dir.join("state")
    }

    /// Whether a switch is to be started on any host.
    pub fn has_switches(&self) -> bool {
        self.hosts.iter().any(|host| host.dataplane == Enforces::Ovs)
    }

    /// Where one host's switch keeps its sockets and its database.
    pub fn switch_dir(&self, host: &Host) -> PathBuf {
        self.host_dir(host).join("ovs")
    }

    /// The run directory of one host's agent.
    pub fn host_dir(&self, host: &Host) -> PathBuf {
        self.run_dir.join(&host.name)
    }

    /// Where a Docker engine on this host finds the agent, as its `/run/docker/plugins`.
    pub fn plugins(&self, host: &Host) -> PathBuf {
        self.host_dir(host).join("docker-plugins")
    }
}
