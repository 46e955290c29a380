//! The workloads as Docker's containers: an engine on each host of the lab, and on each engine a
//! network for each tier.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use selvage_testkit::docker::{Engine, Plan, remove_left_of};

use crate::fabric::{Fabric, HostPlan, RUN_DIR, Started};
use crate::interrupted;
use crate::workloads::TIERS;

/// The image that the containers are of: the probe and its libraries, nothing else.
const IMAGE: &str = "selvage-probe";

/// Where the engines keep everything.
const DIR: &str = "/var/tmp/selvage-quickstart-docker";

/// Where named network namespaces are (ip-netns(8)).
const NAMESPACES: &str = "/run/netns";

/// The engines, and by that their containers and networks. Dropping it removes all of them.
pub struct Containers(Vec<Site>);

/// A host with an engine.
struct Site {
    host: String,
    engine: Engine,
}

/// Removes what a run that was killed, or one that was to leave it, has left.
pub fn remove_left() -> Result<()> {
    for folder in std::fs::read_dir(DIR).into_iter().flatten().flatten() {
        remove_left_of(&folder.path())?;
    }
    // Where it is not there, or not empty, nothing is to be done.
    let _ = std::fs::remove_dir(DIR);
    Ok(())
}

impl Containers {
    /// Starts an engine on each host of the lab, and makes the networks.
    pub fn start(fabric: &Fabric, probe: &Path, keep: bool) -> Result<Containers> {
        let mut containers = Containers(Vec::new());
        for host in fabric.hosts()? {
            let engine = Engine::start(plan(&host, keep))?;
            engine.make_image(IMAGE, &[probe])?;
            for tier in TIERS {
                let epg = format!("epg=shop/store/{tier}");
                engine.docker(&[
                    "network",
                    "create",
                    "-d",
                    "selvage",
                    "--ipam-driver",
                    "selvage",
                    "--ipv6",
                    "-o",
                    &epg,
                    tier,
                ])?;
            }
            eprintln!("   {}: networks {}", host.name, TIERS.join(", "));
            containers.0.push(Site { host: host.name, engine });
            interrupted()?;
        }
        Ok(containers)
    }

    /// Starts a container on a host.
    pub fn start_one(
        &self,
        fabric: &Fabric,
        host: &str,
        tier: &str,
        name: &str,
        ports: &[String],
    ) -> Result<Started> {
        let site = self.0.iter().find(|site| site.host == host).context("no such host")?;
        let program = format!("/{IMAGE}");
        let mut words = vec!["run", "--detach", "--name", name, "--network", tier];
        words.extend(["--memory", "64M", "--pids-limit", "64", IMAGE]);
        words.extend([&program, "serve", "--name", name]);
        words.extend(ports.iter().map(String::as_str));
        site.engine.docker(&words)?;
        let format =
            "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}";
        let told = site.engine.docker(&["inspect", "-f", format, name])?;
        let told: Result<Vec<IpAddr>, _> = told.split_whitespace().map(str::parse).collect();
        let addresses = told.context("the addresses that Docker shows")?;
        let endpoints = fabric.endpoints(host)?;
        let own = endpoints.iter().find(|e| e.addresses.iter().any(|a| addresses.contains(&a.ip)));
        let own = own.with_context(|| format!("the agent of {host} does not know `{name}`"))?;
        Ok(Started {
            name: name.to_owned(),
            group: own.group.clone(),
            host: host.to_owned(),
            netns: site.engine.netns_of(name)?,
            attach_us: own.timings.map(|timings| timings.ready_us),
            addresses,
        })
    }

    /// Removes containers and networks as a user would, and then the engines. What is left on the
    /// hosts is an error.
    pub fn remove(self, fabric: &Fabric) -> Result<()> {
        for site in &self.0 {
            let all = site.engine.docker(&["ps", "--all", "--quiet"])?;
            let mut words = vec!["rm", "--force"];
            words.extend(all.split_whitespace());
            site.engine.docker(&words)?;
            let mut words = vec!["network", "rm"];
            words.extend(TIERS);
            site.engine.docker(&words)?;
            let left = fabric.endpoints(&site.host)?;
            ensure!(left.is_empty(), "{} endpoints are left on {}", left.len(), site.host);
        }
        drop(self);
        remove_left()
    }

    /// Leaves the engines running, and says how to look around. Returns a command that runs another
    /// in a container.
    pub fn keep(self) -> String {
        let mut inside = String::new();
        eprintln!("\nDocker on each host, and how to stop it:");
        for site in self.0 {
            let (host, keeper) = (&site.host, site.engine.keeper());
            let docker = format!("docker -H {}", site.engine.address());
            eprintln!("  {host}: {docker} ps; sudo kill -9 {keeper}");
            // The image holds one program, so a tool comes from outside; the first workload is on the
            // first host.
            if let Some(netns) = site.engine.netns_of("web-1").ok().filter(|_| inside.is_empty()) {
                inside = format!("sudo nsenter --net={} ping -c1 10.1.1.1", netns.display());
            }
            site.engine.leave();
        }
        inside
    }
}

fn plan(host: &HostPlan, keep: bool) -> Plan {
    Plan {
        netns: Path::new(NAMESPACES).join(&host.netns),
        plugins: PathBuf::from(format!("{RUN_DIR}/{}/docker-plugins", host.name)),
        dir: Path::new(DIR).join(&host.name),
        bound: !keep,
        live_restore: false,
    }
}
