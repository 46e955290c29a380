//! What Docker offers: its bridge on one host, its overlay network between two. Engines of our own, in
//! namespaces of our own; nothing is fetched.

use std::path::{Path as File, PathBuf};

use anyhow::{Context, Result};
use selvage_testkit::docker::{Engine, Plan};

use super::bridge::underlay;
use super::{CLIENT, MTU, Path, SERVER, Space};

/// Where engines keep their data: not below `/run`, which is empty for them.
const DIR: &str = "/var/tmp/selvage-bench-docker";

/// The image, and the one program in it.
const IMAGE: &str = "bench";
const PROGRAM: &str = "/bin/busybox";

/// The subnet of [`CLIENT`] and [`SERVER`].
const SUBNET: &str = "10.1.0.0/24";

/// An engine, and its host's namespace, which must outlive it.
struct Site {
    engine: Engine,
    space: Space,
}

impl Site {
    fn start(name: &str) -> Result<Site> {
        let space = Space::new(name)?;
        let dir = PathBuf::from(DIR).join(&space.name);
        let plan = Plan {
            netns: File::new("/run/netns").join(&space.name),
            plugins: dir.join("plugins"),
            dir,
            bound: true,
            live_restore: false,
        };
        let engine = Engine::start(plan)?;
        engine.make_image(IMAGE, &[File::new(PROGRAM)])?;
        Ok(Site { engine, space })
    }

    /// A network of `driver` that has the usual addresses.
    fn network(&self, driver: &[&str]) -> Result<()> {
        let mtu = format!("com.docker.network.driver.mtu={MTU}");
        let mut words = vec!["network", "create", "--subnet", SUBNET, "--opt", &mtu, "--driver"];
        words.extend(driver);
        words.push("net");
        self.engine.docker(&words).map(drop)
    }

    /// A container with this address, as the namespace that it is.
    fn container(&self, name: &str, address: std::net::Ipv4Addr) -> Result<Space> {
        let (address, forever) = (address.to_string(), "1000000");
        let words = ["run", "--detach", "--name", name, "--network", "net", "--ip", &address];
        let program = ["/busybox", "sleep", forever];
        self.engine.docker(&[&words[..], &[IMAGE], &program].concat())?;
        Space::of(&self.engine.netns_of(name)?)
    }
}

/// Two containers on a bridge network of one engine.
pub fn docker_bridge() -> Result<Path> {
    let site = Site::start("d")?;
    site.network(&["bridge"])?;
    let client = site.container("client", CLIENT)?;
    let server = site.container("server", SERVER)?;
    Ok(Path::new("Docker bridge", client, server, vec![site]))
}

/// Two containers on an overlay network of two engines.
pub fn docker_overlay() -> Result<Path> {
    let (near, far) = (Site::start("da")?, Site::start("db")?);
    underlay(&near.space, &far.space)?;
    near.engine.docker(&["swarm", "init", "--advertise-addr", "192.0.2.1"])?;
    let token = near.engine.docker(&["swarm", "join-token", "--quiet", "worker"])?;
    let join =
        ["swarm", "join", "--advertise-addr", "192.0.2.2", "--token", &token, "192.0.2.1:2377"];
    far.engine.docker(&join).context("joining the swarm")?;
    near.network(&["overlay", "--attachable"])?;
    let client = near.container("client", CLIENT)?;
    let server = far.container("server", SERVER)?;
    Ok(Path::new("Docker overlay", client, server, vec![near, far]))
}
