//! The eBPF plane: its tables in Rust, and its programs in the kernel.

use std::path::PathBuf;

use selvage_agent::datapath::Datapath;
use selvage_agent::judge::{Case, Opinion};
use selvage_ebpf::eval::Lowered;
use selvage_ebpf::swap::{Limits, Policy, Swap};
use selvage_ebpf::{Config, Ebpf, Rehearsal, lower};
use selvage_host::{NetNs, Netlink, Veth, bpffs};
use selvage_rules::Desired;

use super::Plane;
use crate::seats::HERE;

/// What [`selvage_ebpf::lower`] and [`selvage_ebpf::swap`] make of it, evaluated in Rust. Each
/// fabric takes the place of the one before it, so that swaps are judged with it.
pub struct LoweredEbpf {
    /// What is installed.
    pub installed: Lowered,
    policy: Policy,
}

impl Default for LoweredEbpf {
    fn default() -> LoweredEbpf {
        let installed = Lowered::default();
        let limits = Limits { pairs: 4096, rules: 65536, counters: 65536 };
        let policy = Policy::recover(limits, &installed.tables);
        LoweredEbpf { installed, policy }
    }
}

impl Plane for LoweredEbpf {
    fn name(&self) -> &'static str {
        "ebpf lowered"
    }

    fn install(&mut self, desired: &Desired) -> Result<(), String> {
        let places = lower::places(desired, HERE);
        let swap = self.policy.swap(&desired.table, &places.classes);
        write(&mut self.installed, &swap.map_err(|full| format!("{full:?}"))?);
        self.installed.places = places;
        self.policy.reclaim();
        Ok(())
    }

    fn judge(&mut self, case: &Case) -> Result<Opinion, String> {
        Ok(self.installed.judge(case))
    }

    fn forget(&mut self) -> Result<(), String> {
        Ok(())
    }
}

fn write(installed: &mut Lowered, swap: &Swap) {
    let tables = &mut installed.tables;
    tables.rules.extend(swap.rules.iter().copied());
    tables.pairs.extend(swap.pairs.iter().copied());
    for key in &swap.gone {
        tables.pairs.remove(key);
    }
    tables.word = swap.last_word.or(swap.word).unwrap_or(tables.word);
}

/// The programs, run on made-up packets by BPF_PROG_TEST_RUN over the maps that a real
/// [`Datapath::apply`] has filled. Needs root; lives in a network namespace of its own, where the
/// calling thread must be while it is used.
pub struct LiveEbpf {
    plane: Ebpf,
    rehearsal: Rehearsal,
}

/// A network namespace with links that nothing is plugged into.
pub struct Cell {
    name: String,
    namespace: NetNs,
    /// Interface indices of its links.
    pub ports: Vec<u32>,
    /// Interface index of one more, for a tunnel device.
    pub overlay: u32,
}

impl Cell {
    /// With so many links.
    ///
    /// # Errors
    /// Where the kernel refuses: without root above all.
    pub fn new(tag: &str, links: usize) -> Result<Cell, selvage_host::Error> {
        let name = format!("svj{}{tag}", std::process::id());
        let namespace = NetNs::create(&name)?;
        let mut cell = Cell { name, namespace, ports: Vec::new(), overlay: 0 };
        let mut netlink = Netlink::open_in(&cell.namespace)?;
        for number in 0..=links {
            let (near, far) = (format!("sv{number}"), format!("far{number}"));
            let veth = Veth {
                name: &near,
                mac: None,
                peer: &far,
                peer_mac: None,
                peer_namespace: None,
                mtu: 1450,
                group: 0,
            };
            let ifindex = netlink.create_veth(&veth)?;
            if number < links { cell.ports.push(ifindex) } else { cell.overlay = ifindex }
        }
        Ok(cell)
    }

    /// Works inside it.
    ///
    /// # Errors
    /// When it cannot be entered.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, selvage_host::Error> {
        self.namespace.run(f)
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let _ = NetNs::delete(&self.name);
    }
}

impl LiveEbpf {
    /// Opens a plane whose pins are named after `tag` and this process, with this device as its
    /// tunnel's. Called inside a [`Cell`].
    ///
    /// # Errors
    /// What the kernel refuses, in words.
    pub fn open(tag: &str, overlay: u32) -> Result<LiveEbpf, String> {
        bpffs::ensure(bpffs::PATH).map_err(|error| error.to_string())?;
        let pins = PathBuf::from(bpffs::PATH);
        let pins = pins.join("selvage").join(format!("svj{}{tag}", std::process::id()));
        // Any device serves as the tunnel's: nothing is sent.
        let mut config = Config::new(pins, HERE, Some(overlay));
        config.sizes.connections = 64;
        config.sizes.rules = 65536;
        config.sizes.pairs = 4096;
        config.sizes.endpoints = 1024;
        let plane = Ebpf::open(config).map_err(|error| error.to_string())?;
        let rehearsal = plane.rehearsal().map_err(|error| error.to_string())?;
        Ok(LiveEbpf { plane, rehearsal })
    }

    /// The plane itself.
    pub fn plane(&mut self) -> &mut Ebpf {
        &mut self.plane
    }
}

impl Plane for LiveEbpf {
    fn name(&self) -> &'static str {
        "ebpf live"
    }

    fn install(&mut self, desired: &Desired) -> Result<(), String> {
        let applied = self.plane.apply(desired).map_err(|error| error.to_string())?;
        match applied.unsupported.first() {
            None => Ok(()),
            Some(what) => Err(format!("{what} is not supported")),
        }
    }

    fn judge(&mut self, case: &Case) -> Result<Opinion, String> {
        self.rehearsal.send(case).map_err(|error| error.to_string())
    }

    fn forget(&mut self) -> Result<(), String> {
        self.rehearsal.forget().map_err(|error| error.to_string())
    }
}

impl Drop for LiveEbpf {
    fn drop(&mut self) {
        let _ = self.plane.flush();
    }
}
