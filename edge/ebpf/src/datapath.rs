//! The data plane as the agent sees it: applies [`Desired`] by the order that [`crate::swap`]
//! draws, and finds what an earlier process left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use selvage_agent::datapath::{
    Applied, Count, Counters, Datapath, Drift, DropSource, ExitLink, Installed, PlaneError, Port,
    Swept, Usage,
};
use selvage_agent::judge::{Case, Opinions};
use selvage_agent::untreated::untreated;

use selvage_rules::{Desired, Encapsulation, Reason, Revision, Room, ScopeId};

use crate::config::Config;
use crate::error::{Doing, Result, full, refused};
use crate::eval::Tables;
use crate::events::Events;
use crate::layout::{Bytes, Raw, types};
use crate::lower::{self, Places};
use crate::maps::{self, Map, Maps, Programs, Use};
use crate::outside::{self, Outside};
use crate::ports::Links;
use crate::rehearsal::Rehearsal;
use crate::reread;
use crate::state::State;
use crate::swap::{Full, Policy, Swap};

/// The eBPF data plane of one agent.
///
/// Everything it does to the kernel stays when it is dropped. Interface indices are those of the
/// network namespace of the calling thread.
#[derive(Debug)]
pub struct Ebpf {
    config: Config,
    maps: Maps,
    programs: Programs,
    links: Links,
    state: State,
    policy: Policy,
    places: Places,
    outside: Outside,
    cpus: usize,
    /// A write failed half-way: what is installed must be read again.
    uncertain: bool,
    streaming: bool,
    connections: u64,
}

impl Ebpf {
    /// Loads the programs; takes over what is pinned in `config.pin_dir`, in force all the while.
    pub fn open(config: Config) -> Result<Ebpf> {
        let (maps, programs) = maps::load(&config, Use::Attach)?;
        let links = Links::open(&config.pin_dir, &programs)?;
        let state = State::map(maps.state.handle())?;
        let cpus = libbpf_rs::num_possible_cpus().doing(|| "count the CPUs".to_owned())?;
        let (policy, places, outside) = reread::everything(&maps, &state)?;
        let mut plane = Ebpf {
            config,
            maps,
            programs,
            links,
            state,
            policy,
            places,
            outside,
            cpus,
            uncertain: false,
            streaming: false,
            connections: 0,
        };
        if let Some(ifindex) = plane.config.overlay {
            plane.attach_overlay(ifindex)?;
        }
        Ok(plane)
    }

    /// Takes hold of the tunnel device: packets of other hosts come in by it, and leave by it.
    pub fn attach_overlay(&mut self, ifindex: u32) -> Result<()> {
        self.links.attach_overlay(ifindex, &self.programs)?;
        self.state.set_overlay(ifindex);
        self.config.overlay = Some(ifindex);
        Ok(())
    }

    /// The programs, for those who run them on packets of their own.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The maps, for those who read them.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// The programs once more, for packets that nobody sent.
    pub fn rehearsal(&self) -> Result<Rehearsal> {
        Rehearsal::load(&self.config)
    }

    /// The policy maps as they are in the kernel.
    pub fn tables(&self) -> Result<Tables> {
        reread::tables(&self.maps, &self.state)
    }

    fn check_room(&self, wanted: &Places, outside: &Outside) -> Result<()> {
        let (held, maps) = (&self.places, &self.maps);
        room(&maps.outside, &self.outside.prefixes, &outside.prefixes)?;
        room(&maps.exits, &self.outside.exits, &outside.exits)?;
        room(&maps.ports, &held.ports, &wanted.ports)?;
        room(&maps.endpoints_by_ip, &held.by_ip, &wanted.by_ip)?;
        room(&maps.endpoints_by_mac, &held.by_mac, &wanted.by_mac)?;
        room(&maps.networks, &held.networks, &wanted.networks)?;
        room(&maps.sources, &held.sources, &wanted.sources)?;
        room(&maps.group_vnis, &held.group_vnis, &wanted.group_vnis)?;
        room(&maps.tunnels, &held.tunnels, &wanted.tunnels)
    }

    fn plan(&mut self, desired: &Desired, places: &Places) -> Result<Swap> {
        match self.policy.swap(&desired.table, &places.classes) {
            Err(_) if self.policy.has_retired() => {}
            other => return other.map_err(full),
        }
        self.reclaim();
        self.policy.swap(&desired.table, &places.classes).map_err(full)
    }

    /// The order is drawn in [`crate::swap`]. Gives how many entries were written and removed.
    fn write(&mut self, swap: &Swap, places: &Places, outside: &Outside) -> Result<u64> {
        let mut changed = 0;
        for slot in &swap.fresh_counters {
            let zero = types::counter::default();
            self.maps.rule_counters.put_per_cpu(slot, &zero, self.cpus)?;
        }
        for (slot, rule) in &swap.rules {
            self.maps.rules.put(slot, &rule.0)?;
        }
        for (key, pair) in &swap.pairs {
            self.maps.pairs.put(&key.0, &pair.0)?;
        }
        if let Some(word) = swap.word {
            self.state.set_word(word);
        }
        changed += (swap.rules.len() + swap.pairs.len() + swap.gone.len()) as u64;

        let (held, maps) = (&self.places, &self.maps);
        changed += put(&maps.networks, &held.networks, &places.networks)?;
        changed += put(&maps.sources, &held.sources, &places.sources)?;
        changed += put(&maps.group_vnis, &held.group_vnis, &places.group_vnis)?;
        changed += put(&maps.tunnels, &held.tunnels, &places.tunnels)?;
        changed += put(&maps.endpoints_by_mac, &held.by_mac, &places.by_mac)?;
        changed += put(&maps.endpoints_by_ip, &held.by_ip, &places.by_ip)?;
        changed += put(&maps.ports, &held.ports, &places.ports)?;
        changed += put(&maps.outside, &self.outside.prefixes, &outside.prefixes)?;
        changed += put(&maps.exits, &self.outside.exits, &outside.exits)?;
        for ifindex in outside.exits.keys().filter(|key| !self.outside.exits.contains_key(key)) {
            self.links.attach_exit(ifindex.0, &self.programs)?;
        }
        self.links.release_exits(|ifindex| outside.exits.contains_key(&Bytes(ifindex)))?;
        changed += remove(&maps.exits, &self.outside.exits, &outside.exits)?;
        changed += remove(&maps.outside, &self.outside.prefixes, &outside.prefixes)?;
        changed += remove(&maps.ports, &held.ports, &places.ports)?;
        changed += remove(&maps.endpoints_by_ip, &held.by_ip, &places.by_ip)?;
        changed += remove(&maps.endpoints_by_mac, &held.by_mac, &places.by_mac)?;
        changed += remove(&maps.tunnels, &held.tunnels, &places.tunnels)?;
        changed += remove(&maps.group_vnis, &held.group_vnis, &places.group_vnis)?;
        changed += remove(&maps.sources, &held.sources, &places.sources)?;
        changed += remove(&maps.networks, &held.networks, &places.networks)?;

        for key in &swap.gone {
            maps.pairs.remove(&key.0)?;
        }
        if let Some(word) = swap.last_word {
            self.state.set_word(word);
        }
        Ok(changed)
    }

    /// Waits until every packet that is under way is through, so that runs nobody refers to can be
    /// written again.
    fn reclaim(&mut self) {
        const MEMBARRIER_CMD_GLOBAL: i32 = 1;
        // SAFETY: membarrier(2) touches no memory of ours. The kernel's way of doing it is an RCU
        // grace period, and programs run within an RCU read-side section.
        let code =
            unsafe { nix::libc::syscall(nix::libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
        if code == 0 {
            self.policy.reclaim();
        }
    }

    fn run_sweep(&self, now: u64, detached: u32) -> Result<types::sweep> {
        let mut sweep = types::sweep { now, detached, ..types::sweep::default() };
        self.programs.sweep.run_with(&mut sweep)?;
        Ok(sweep)
    }

    fn tables_usage(&self) -> BTreeMap<String, Usage> {
        let (pairs, rules, counters) = self.policy.used();
        let (maps, places) = (&self.maps, &self.places);
        [
            ("ports", places.ports.len() as u64, maps.ports.limit()),
            ("endpoints_by_ip", places.by_ip.len() as u64, maps.endpoints_by_ip.limit()),
            ("endpoints_by_mac", places.by_mac.len() as u64, maps.endpoints_by_mac.limit()),
            ("networks", places.networks.len() as u64, maps.networks.limit()),
            ("tunnels", places.tunnels.len() as u64, maps.tunnels.limit()),
            ("sources", places.sources.len() as u64, maps.sources.limit()),
            ("outside", self.outside.prefixes.len() as u64, maps.outside.limit()),
            ("pairs", pairs.into(), maps.pairs.limit()),
            ("rules", rules.into(), maps.rules.limit()),
            ("rule_counters", counters.into(), maps.rule_counters.limit()),
            ("connections", self.connections, maps.connections.limit()),
        ]
        .into_iter()
        .map(|(name, used, limit)| (name.to_owned(), Usage { used, limit: limit.into() }))
        .collect()
    }
}

impl Datapath for Ebpf {
    fn name(&self) -> &'static str {
        "ebpf"
    }

    fn encapsulations(&self) -> BTreeSet<Encapsulation> {
        Encapsulation::ALL.into()
    }

    fn room(&self) -> Room {
        Room {
            pairs: Some(self.maps.pairs.limit().into()),
            rules: Some(self.maps.rules.limit().into()),
        }
    }

    fn attach_port(&mut self, port: &Port) -> Result<()> {
        self.maps.connection_counts.put_new(&port.ifindex, &0)?;
        self.links.attach_port(port.ifindex, &self.programs).map_err(|error| match error {
            PlaneError::NoSuchPort { ifindex, .. } => {
                PlaneError::NoSuchPort { name: port.name.clone(), ifindex }
            }
            other => other,
        })
    }

    fn detach_port(&mut self, port: &Port) -> Result<()> {
        self.maps.ports.remove(&port.ifindex)?;
        self.places.ports.remove(&Bytes(port.ifindex));
        self.links.detach_port(port.ifindex)?;
        self.run_sweep(0, port.ifindex)?;
        self.maps.connection_counts.remove(&port.ifindex)
    }

    fn apply(&mut self, desired: &Desired) -> Result<Applied> {
        if self.uncertain {
            (self.policy, self.places, self.outside) = reread::everything(&self.maps, &self.state)?;
            self.uncertain = false;
        }
        let mut places = lower::places(desired, self.config.tunnel);
        let outside = outside::lower(desired, &exit_links(desired), self.config.tunnel);
        places.classes.extend(&outside.classes);
        self.check_room(&places, &outside)?;
        let swap = self.plan(desired, &places)?;
        self.uncertain = true;
        let changed = self.write(&swap, &places, &outside)?;
        self.uncertain = false;
        self.state.set_revision(desired.revision.0);
        let untreated = untreated(&desired.table, self.name());
        let unsupported =
            [places.unsupported.clone(), outside.unsupported.clone(), untreated].concat();
        (self.places, self.outside) = (places, outside);
        Ok(Applied { revision: desired.revision, changed, unsupported })
    }

    fn installed(&mut self) -> Result<Installed> {
        Ok(Installed { ports: self.links.ports()?, revision: self.state.revision().map(Revision) })
    }

    fn audit(&mut self, desired: &Desired) -> Result<Vec<Drift>> {
        let mut wanted = lower::places(desired, self.config.tunnel);
        let outside = outside::lower(desired, &exit_links(desired), self.config.tunnel);
        wanted.classes.extend(&outside.classes);
        let tables = self.tables()?;
        let (mut policy, held, held_outside) = reread::everything(&self.maps, &self.state)?;
        let swap = policy.swap(&desired.table, &wanted.classes).map_err(full)?;
        let links: BTreeMap<_, _> =
            self.links.ports()?.into_iter().map(|port| (port.ifindex, ())).collect();
        let locals = desired.locals.values().map(|local| (local.ifindex, ())).collect();
        let drift = [
            Drift::between("links", &links, &locals),
            Drift::between("ports", &held.ports, &wanted.ports),
            Drift::between("endpoints_by_ip", &held.by_ip, &wanted.by_ip),
            Drift::between("endpoints_by_mac", &held.by_mac, &wanted.by_mac),
            Drift::between("networks", &held.networks, &wanted.networks),
            Drift::between("tunnels", &held.tunnels, &wanted.tunnels),
            Drift::between("outside", &held_outside.prefixes, &outside.prefixes),
            Drift::between("exits", &held_outside.exits, &outside.exits),
            swap.drift(&tables),
        ];
        Ok(drift.into_iter().flatten().collect())
    }

    fn counters(&mut self) -> Result<Counters> {
        let sum = |values: Vec<types::counter>| {
            values.iter().fold(Count::default(), |sum, value| Count {
                packets: sum.packets + value.packets,
                bytes: sum.bytes + value.bytes,
            })
        };
        let mut counters = Counters { tables: self.tables_usage(), ..Counters::default() };
        for (rule, slot) in self.policy.counters() {
            counters.rules.insert(rule, sum(self.maps.rule_counters.per_cpu(&slot)?));
        }
        for reason in Reason::ALL {
            let count = sum(self.maps.reason_counters.per_cpu(&u32::from(*reason as u8))?);
            if count.packets > 0 {
                counters.reasons.insert(*reason, count);
            }
        }
        Ok(counters)
    }

    fn drops(&mut self) -> Result<Box<dyn DropSource>> {
        if std::mem::replace(&mut self.streaming, true) {
            return Err(refused("read drop events".to_owned(), "somebody reads them already"));
        }
        let budgets = self.maps.event_budgets.another()?;
        Ok(Box::new(Events::open(&self.maps.events, budgets)?))
    }

    fn sweep(&mut self, now: Duration) -> Result<Swept> {
        if self.policy.has_retired() {
            self.reclaim();
        }
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let swept = self.run_sweep(now, 0)?;
        self.connections = swept.live.into();
        Ok(Swept { forgotten: swept.expired.into(), kept: swept.live.into() })
    }

    fn judge(&mut self, case: &Case) -> Result<Opinions> {
        let lowered = reread::installed_about(&self.maps, &self.state, case)?.judge(case);
        Ok(Opinions { lowered, live: self.rehearsal()?.judge(case)? })
    }

    fn flush(&mut self) -> Result<()> {
        self.links.release_all()?;
        let directory = &self.config.pin_dir;
        fs::remove_dir_all(directory).doing(|| format!("remove `{}`", directory.display()))
    }
}

/// Our ends of the links to the host's stack, as far as they are there.
fn exit_links(desired: &Desired) -> BTreeMap<ScopeId, u32> {
    let index = |scope: ScopeId| {
        let ifindex = if_nametoindex(ExitLink::of(scope).plane.as_str()).ok()?;
        Some((scope, ifindex))
    };
    desired.exits_here().into_iter().filter_map(index).collect()
}

/// The entries of one map, as they are or shall be.
type Entries<K, V> = BTreeMap<Bytes<K>, Bytes<V>>;

/// Whether `map` holds what is there and what is to come at once.
fn room<K: Raw, V: Raw>(
    map: &Map<K, V>,
    held: &Entries<K, V>,
    wanted: &Entries<K, V>,
) -> Result<()> {
    let new = wanted.keys().filter(|key| !held.contains_key(key)).count();
    let need = (held.len() + new) as u64;
    if need > map.limit().into() {
        return Err(full(Full { table: map.name(), limit: map.limit(), need }));
    }
    Ok(())
}

/// Writes the entries that are new or differ.
fn put<K: Raw, V: Raw>(
    map: &Map<K, V>,
    held: &Entries<K, V>,
    wanted: &Entries<K, V>,
) -> Result<u64> {
    let mut changed = 0;
    for (key, value) in wanted.iter().filter(|(key, value)| held.get(key) != Some(value)) {
        map.put(&key.0, &value.0)?;
        changed += 1;
    }
    Ok(changed)
}

/// Removes the entries that are no more.
fn remove<K: Raw, V: Raw>(
    map: &Map<K, V>,
    held: &Entries<K, V>,
    wanted: &Entries<K, V>,
) -> Result<u64> {
    let mut changed = 0;
    for key in held.keys().filter(|key| !wanted.contains_key(key)) {
        map.remove(&key.0)?;
        changed += 1;
    }
    Ok(changed)
}
