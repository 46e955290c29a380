//! Maps with types, and the object that is loaded from `bpf/selvage.bpf.c`.

use std::collections::BTreeMap;
use std::fs;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use selvage_agent::datapath::PlaneError;

use crate::config::{Config, Sizes};
use crate::error::{Doing, Result, refused};
use crate::layout::{Bytes, Raw, SelvageSkelBuilder, address_of, types};
use crate::program::Program;

/// A map whose keys and values are known.
#[derive(Debug)]
pub struct Map<K, V> {
    handle: MapHandle,
    name: &'static str,
    of: PhantomData<(K, V)>,
}

impl<K: Raw, V: Raw> Map<K, V> {
    /// How many entries it holds at most.
    pub fn limit(&self) -> u32 {
        self.handle.max_entries()
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The value at `key`.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let found = self.handle.lookup(key.bytes(), MapFlags::ANY);
        let found = found.doing(|| format!("read map `{}`", self.name))?;
        Ok(found.and_then(|bytes| V::from_bytes(&bytes)))
    }

    /// Writes one entry.
    pub fn put(&self, key: &K, value: &V) -> Result<()> {
        self.write(key, value, MapFlags::ANY)
    }

    /// Writes one entry, unless there is one.
    pub fn put_new(&self, key: &K, value: &V) -> Result<()> {
        match self.handle.update(key.bytes(), value.bytes(), MapFlags::NO_EXIST) {
            Err(error) if error.kind() == libbpf_rs::ErrorKind::AlreadyExists => Ok(()),
            other => other.doing(|| format!("write map `{}`", self.name)),
        }
    }

    fn write(&self, key: &K, value: &V, flags: MapFlags) -> Result<()> {
        let written = self.handle.update(key.bytes(), value.bytes(), flags);
        written.doing(|| format!("write map `{}`", self.name))
    }

    /// Removes one entry; none is as good.
    pub fn remove(&self, key: &K) -> Result<()> {
        match self.handle.delete(key.bytes()) {
            Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => Ok(()),
            other => other.doing(|| format!("remove from map `{}`", self.name)),
        }
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<()> {
        let keys: Vec<K> = self.handle.keys().filter_map(|key| K::from_bytes(&key)).collect();
        keys.iter().try_for_each(|key| self.remove(key))
    }

    /// All entries, in order. Meant for maps that only this process writes.
    pub fn entries(&self) -> Result<BTreeMap<Bytes<K>, Bytes<V>>> {
        let mut entries = BTreeMap::new();
        for key in self.handle.keys() {
            let Some(key) = K::from_bytes(&key) else { continue };
            if let Some(value) = self.get(&key)? {
                entries.insert(Bytes(key), Bytes(value));
            }
        }
        Ok(entries)
    }

    /// The values at `key` of all CPUs.
    pub fn per_cpu(&self, key: &K) -> Result<Vec<V>> {
        let found = self.handle.lookup_percpu(key.bytes(), MapFlags::ANY);
        let found = found.doing(|| format!("read map `{}`", self.name))?;
        Ok(found.into_iter().flatten().filter_map(|bytes| V::from_bytes(&bytes)).collect())
    }

    /// Sets the value at `key` on all CPUs.
    pub fn put_per_cpu(&self, key: &K, value: &V, cpus: usize) -> Result<()> {
        let values = vec![value.bytes().to_vec(); cpus];
        let written = self.handle.update_percpu(key.bytes(), &values, MapFlags::ANY);
        written.doing(|| format!("write map `{}`", self.name))
    }

    /// The same map, by a descriptor of its own.
    pub fn another(&self) -> Result<Map<K, V>> {
        let handle = MapHandle::try_from(&self.handle);
        let handle = handle.doing(|| format!("hold map `{}`", self.name))?;
        Ok(Map { handle, name: self.name, of: PhantomData })
    }

    /// The map itself.
    pub fn handle(&self) -> &MapHandle {
        &self.handle
    }
}

/// Every map that user space touches.
#[derive(Debug)]
pub struct Maps {
    /// Ports with an endpoint.
    pub ports: Map<u32, types::port>,
    /// Endpoints and gateways by address.
    pub endpoints_by_ip: Map<types::ip_key, types::endpoint>,
    /// Endpoints by MAC.
    pub endpoints_by_mac: Map<types::mac_key, types::endpoint>,
    /// VNIs of packets with a group policy header.
    pub networks: Map<u32, types::network>,
    /// VNIs of packets without: the sender's group.
    pub sources: Map<u32, types::source>,
    /// The way back of `sources`.
    pub group_vnis: Map<types::group_key, u32>,
    /// Tunnel addresses of the fabric's hosts, and how each speaks.
    pub tunnels: Map<types::address, u32>,
    /// Prefixes outside.
    pub outside: Map<types::prefix_key, types::external>,
    /// Links to the host's stack.
    pub exits: Map<u32, u32>,
    /// Class pairs.
    pub pairs: Map<types::pair_key, types::pair>,
    /// Runs of rules.
    pub rules: Map<u32, types::rule>,
    /// One entry: generation, revision, tunnel device.
    pub state: Map<u32, types::state>,
    /// Connections of stateful rules.
    pub connections: Map<types::connection_key, types::connection>,
    /// Connections by the port they are charged to.
    pub connection_counts: Map<u32, u32>,
    /// Counters by slot, per CPU.
    pub rule_counters: Map<u32, types::counter>,
    /// Counters by reason, per CPU.
    pub reason_counters: Map<u32, types::counter>,
    /// Events by reason, per CPU.
    pub event_budgets: Map<u32, types::event_budget>,
    /// The ring buffer.
    pub events: MapHandle,
}

/// Every program.
#[derive(Debug)]
pub struct Programs {
    /// Ingress of the host's end of a link.
    pub from_endpoint: Program,
    /// Egress of the host's end of a link.
    pub to_endpoint: Program,
    /// Ingress of the tunnel device.
    pub from_overlay: Program,
    /// Ingress of our end of a link to the host's stack.
    pub from_exit: Program,
    /// Run by user space.
    pub sweep: Program,
}

/// What programs are loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be attached.
    Attach,
    /// To be run on made-up packets: they read what the attached ones read, and write only to maps
    /// of their own.
    Rehearse,
}

/// Loads the programs over the maps that are pinned in `config.pin_dir`, and makes and pins those
/// that are not. Sizes count for new maps only: a map that is there keeps its size.
pub(crate) fn load(config: &Config, purpose: Use) -> Result<(Maps, Programs)> {
    let directory = config.pin_dir.join("maps");
    fs::create_dir_all(&directory)
        .doing(|| format!("make `{}` (is bpffs mounted at /sys/fs/bpf?)", directory.display()))?;
    let mut memory = MaybeUninit::uninit();
    let doing = || "load the BPF programs".to_owned();
    let mut open = SelvageSkelBuilder::default().open(&mut memory).doing(doing)?;
    if let Some(constants) = open.maps.rodata_data.as_deref_mut() {
        set_constants(constants, config);
        constants.rehearsal = (purpose == Use::Rehearse).into();
    }
    for mut map in open.open_object_mut().maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        let own = purpose == Use::Rehearse && WRITTEN_BY_PACKETS.contains(&name.as_str());
        let size = if own { Sizes::REHEARSAL.of(&name) } else { config.sizes.of(&name) };
        if let Some(size) = size {
            map.set_max_entries(size).doing(|| format!("size map `{name}`"))?;
        }
        let Some(pin) = pin_of(&directory, &name) else { continue };
        if !own && pin.exists() {
            let layout = (map.key_size(), map.value_size());
            map.reuse_pinned_map(&pin).doing(|| format!("open `{}`", pin.display()))?;
            if (map.key_size(), map.value_size()) != layout {
                return Err(PlaneError::Incompatible { what: format!("map `{name}`") });
            }
        }
    }
    let skeleton = open.load().doing(doing)?;
    let pins = (purpose == Use::Attach).then_some(directory.as_path());
    let maps = take_maps(skeleton.object(), pins)?;
    let programs = take_programs(skeleton.object())?;
    Ok((maps, programs))
}

/// Maps that a packet changes. A rehearsal has its own.
const WRITTEN_BY_PACKETS: [&str; 6] = [
    "connections",
    "connection_counts",
    "rule_counters",
    "reason_counters",
    "event_budgets",
    "events",
];

fn set_constants(constants: &mut types::rodata, config: &Config) {
    constants.connections_per_endpoint = config.connections_per_endpoint;
    constants.events_per_second = config.events_per_second;
    constants.tunnel_is_v6 = matches!(config.tunnel, IpAddr::V6(_)).into();
    constants.tunnel_local = address_of(config.tunnel);
}

/// Where a map is pinned. Constants belong to a program, and event budgets to a process.
fn pin_of(directory: &Path, name: &str) -> Option<PathBuf> {
    let transient = name.contains('.') || name == "event_budgets";
    (!transient).then(|| directory.join(name))
}

/// Takes the maps of a loaded object, and pins those that are not in the directory of pins.
fn take_maps(object: &libbpf_rs::Object, pins: Option<&Path>) -> Result<Maps> {
    let mut handles = BTreeMap::new();
    for map in object.maps() {
        let name = map.name().to_string_lossy().into_owned();
        let mut handle = MapHandle::try_from(&map).doing(|| format!("hold map `{name}`"))?;
        if let Some(pin) = pins.and_then(|directory| pin_of(directory, &name))
            && !pin.exists()
        {
            handle.pin(&pin).doing(|| format!("pin map `{name}` at `{}`", pin.display()))?;
        }
        handles.insert(name, handle);
    }
    let mut take = |name: &'static str| {
        handles.remove(name).ok_or_else(|| refused(format!("find map `{name}`"), "not in object"))
    };
    fn typed<K, V>(handle: Result<MapHandle>, name: &'static str) -> Result<Map<K, V>> {
        Ok(Map { handle: handle?, name, of: PhantomData })
    }
    Ok(Maps {
        ports: typed(take("ports"), "ports")?,
        endpoints_by_ip: typed(take("endpoints_by_ip"), "endpoints_by_ip")?,
        endpoints_by_mac: typed(take("endpoints_by_mac"), "endpoints_by_mac")?,
        networks: typed(take("networks"), "networks")?,
        sources: typed(take("sources"), "sources")?,
        group_vnis: typed(take("group_vnis"), "group_vnis")?,
        tunnels: typed(take("tunnels"), "tunnels")?,
        outside: typed(take("outside"), "outside")?,
        exits: typed(take("exits"), "exits")?,
        pairs: typed(take("pairs"), "pairs")?,
        rules: typed(take("rules"), "rules")?,
        state: typed(take("state"), "state")?,
        connections: typed(take("connections"), "connections")?,
        connection_counts: typed(take("connection_counts"), "connection_counts")?,
        rule_counters: typed(take("rule_counters"), "rule_counters")?,
        reason_counters: typed(take("reason_counters"), "reason_counters")?,
        event_budgets: typed(take("event_budgets"), "event_budgets")?,
        events: take("events")?,
    })
}

fn take_programs(object: &libbpf_rs::Object) -> Result<Programs> {
    let take = |name: &str| {
        let program = object.progs().find(|program| program.name() == name);
        let program = program.ok_or_else(|| refused(format!("find program `{name}`"), "none"))?;
        let fd = program.as_fd().try_clone_to_owned();
        Ok(Program::new(fd.doing(|| format!("hold program `{name}`"))?))
    };
    Ok(Programs {
        from_endpoint: take("from_endpoint")?,
        to_endpoint: take("to_endpoint")?,
        from_overlay: take("from_overlay")?,
        from_exit: take("from_exit")?,
        sweep: take("sweep_connections")?,
    })
}
