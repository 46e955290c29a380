//! Two hosts, each with an agent and a Docker engine.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use selvage_testkit::docker::{Engine, Plan};

use super::ip;
use crate::agent::controller::Controller;
use crate::agent::host::{Host, eventually, two_hosts};
use crate::agent::shop;

/// Debian's busybox-static: a web server, a web client and ping in one file without libraries.
const BUSYBOX: &str = "/bin/busybox";

/// The hosts and their controller. Engines end before agents.
pub struct Fabric {
    pub one: Site,
    pub two: Site,
    pub controller: Option<Controller>,
}

/// A host with an engine.
pub struct Site {
    pub engine: Engine,
    pub host: Host,
}

impl Fabric {
    pub fn start() -> Fabric {
        let (one, two) = two_hosts();
        let address = SocketAddr::new(one.tunnel, 8009);
        let controller = Controller::start(&one.space.ns, address, shop());
        let (one, two) = (Site::start(one, address), Site::start(two, address));
        Fabric { one, two, controller: Some(controller) }
    }
}

impl Site {
    /// An agent and an engine on `host`.
    fn start(mut host: Host, controller: SocketAddr) -> Site {
        host.start(controller);
        let plan = Plan {
            netns: host.space.ns.path().to_owned(),
            plugins: host.plugins(),
            dir: host.state_dir().with_file_name("docker"),
            bound: true,
            live_restore: false,
        };
        let engine = Engine::start(plan).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(Path::new(BUSYBOX).exists(), "{BUSYBOX} is missing: `make deps` installs it");
        engine.make_image("bb", &[Path::new(BUSYBOX)]).unwrap();
        Site { engine, host }
    }

    /// Runs `docker`; programs in a container are busybox's.
    pub fn docker(&self, words: &[&str]) -> Result<String, String> {
        let mut all = Vec::new();
        for word in words {
            let applet = ["ping", "nc", "ls", "cat", "sleep", "sh"].contains(word);
            all.extend(applet.then_some("/busybox"));
            all.push(*word);
        }
        self.engine.docker(&all).map_err(|error| error.to_string())
    }

    pub fn create_network(&self, name: &str, options: &[&str]) -> Result<String, String> {
        let mut words = vec!["network", "create", "-d", "selvage", "--ipam-driver", "selvage"];
        words.extend(options);
        words.push(name);
        self.docker(&words)
    }

    /// A container that answers on tcp/5432 and tcp/22 with its name; its IPv4 address.
    pub fn serve(&self, name: &str, network: &str) -> IpAddr {
        let answer = format!("-e /busybox echo {name}");
        let script = format!("/busybox nc -ll -p 22 {answer} & /busybox nc -ll -p 5432 {answer}");
        let words = ["run", "-d", "--name", name, "--network", network, "bb", "sh", "-c", &script];
        self.docker(&words).unwrap_or_else(|why| panic!("{why}\n{}", self.host.log()));
        let address = self.address(name);
        eventually("it serves", || self.docker(&["exec", name, "nc", "-w1", "127.0.0.1", "5432"]));
        address
    }

    /// Starts a container again and waits until it serves.
    pub fn start_again(&self, name: &str) -> IpAddr {
        self.docker(&["start", name]).unwrap_or_else(|why| panic!("{why}\n{}", self.host.log()));
        self.address(name)
    }

    /// Whether nothing is left on the host.
    pub fn is_clean(&self) -> Result<(), String> {
        let (list, links) = (self.host.list(), self.host.links());
        if list.is_empty() && links.is_empty() {
            Ok(())
        } else {
            Err(format!("{list:#?} {links:?}"))
        }
    }

    /// A container's IPv4 address, as Docker knows it.
    pub fn address(&self, name: &str) -> IpAddr {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        ip(&self.docker(&["inspect", "-f", format, name]).unwrap())
    }

    /// What a new container is answered on tcp/5432, to its first attempt.
    pub fn fetch(&self, network: &str, from: IpAddr) -> Result<String, String> {
        self.ask(network, from, "5432", "-w9")
    }

    /// Likewise, with this patience of `nc`'s.
    pub fn ask(
        &self,
        network: &str,
        from: IpAddr,
        port: &str,
        patience: &str,
    ) -> Result<String, String> {
        let from = from.to_string();
        self.docker(&["run", "--rm", "--network", network, "bb", "nc", patience, &from, port])
    }
}
