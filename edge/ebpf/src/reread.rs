//! What is installed, read back from the maps.

use std::collections::{BTreeMap, BTreeSet};

use selvage_agent::judge::{At, Case};
use selvage_rules::{ClassId, GroupKey, PairKey};

use crate::error::Result;
use crate::eval::{Lowered, Tables, current};
use crate::layout::{Bytes, Raw, address_of};
use crate::lower::{Places, group_key, ip_key, mac_key, pair_key};
use crate::maps::{Map, Maps};
use crate::outside::Outside;
use crate::state::State;
use crate::swap::{Limits, Policy};

/// All of it, as far as the next swap has to know.
pub(crate) fn everything(maps: &Maps, state: &State) -> Result<(Policy, Places, Outside)> {
    let limits = Limits {
        pairs: maps.pairs.limit(),
        rules: maps.rules.limit(),
        counters: maps.rule_counters.limit(),
    };
    let policy = Policy::recover(limits, &tables(maps, state)?);
    let places = Places {
        ports: maps.ports.entries()?,
        by_ip: maps.endpoints_by_ip.entries()?,
        by_mac: maps.endpoints_by_mac.entries()?,
        networks: maps.networks.entries()?,
        sources: maps.sources.entries()?,
        group_vnis: maps.group_vnis.entries()?,
        tunnels: maps.tunnels.entries()?,
        classes: BTreeSet::new(),
        unsupported: Vec::new(),
    };
    let outside = Outside {
        prefixes: maps.outside.entries()?,
        exits: maps.exits.entries()?,
        ..Outside::default()
    };
    Ok((policy, places, outside))
}

/// The policy.
pub(crate) fn tables(maps: &Maps, state: &State) -> Result<Tables> {
    let pairs = maps.pairs.entries()?;
    with_rules(maps, Tables { word: state.word(), pairs, rules: BTreeMap::new() })
}

/// What decides about one packet: the entries that the programs would ask for, and no others.
pub(crate) fn installed_about(maps: &Maps, state: &State, case: &Case) -> Result<Lowered> {
    let mut found = Lowered::default();
    let (from, to) = (&case.from.endpoint, &case.to.endpoint);
    let Places { ports, by_ip, by_mac, networks, sources, group_vnis, tunnels, .. } =
        &mut found.places;
    match (case.from.at, case.outer()) {
        (At::Port(ifindex), _) => copy(&maps.ports, Bytes(ifindex), ports)?,
        (At::Host { tunnel, .. }, outer) => {
            copy(&maps.tunnels, Bytes(address_of(tunnel)), tunnels)?;
            let vni = outer.map_or(0, |outer| outer.vni);
            copy(&maps.networks, Bytes(vni), networks)?;
            copy(&maps.sources, Bytes(vni), sources)?;
        }
    }
    let sender = GroupKey { scope: case.scope, class: from.class };
    copy(&maps.group_vnis, group_key(sender), group_vnis)?;
    copy(&maps.endpoints_by_mac, mac_key(to.bd, to.mac), by_mac)?;
    for ip in &to.ips {
        copy(&maps.endpoints_by_ip, ip_key(case.scope, *ip), by_ip)?;
    }
    let mut pairs = BTreeMap::new();
    let src = ports.values().next().map_or(from.class, |port| ClassId(port.0.class));
    let places = by_mac.values().chain(by_ip.values());
    for dst in places.map(|place| ClassId(place.0.class)) {
        let ways = [(src, dst), (dst, src)].map(|(a, b)| PairKey::lookups(case.scope, a, b));
        for key in ways.iter().flatten() {
            copy(&maps.pairs, Bytes(pair_key(*key)), &mut pairs)?;
        }
    }
    let tables = Tables { word: state.word(), pairs, rules: BTreeMap::new() };
    found.tables = with_rules(maps, tables)?;
    Ok(found)
}

fn copy<K: Raw, V: Raw>(
    map: &Map<K, V>,
    key: Bytes<K>,
    to: &mut BTreeMap<Bytes<K>, Bytes<V>>,
) -> Result<()> {
    to.extend(map.get(&key.0)?.map(|value| (key, Bytes(value))));
    Ok(())
}

/// Adds the rules that the pairs refer to.
fn with_rules(maps: &Maps, mut tables: Tables) -> Result<Tables> {
    for pair in tables.pairs.values() {
        let run = current(&pair.0, tables.word);
        for slot in run.start..run.start.saturating_add(run.count) {
            if tables.rules.contains_key(&slot) {
                continue;
            }
            let Some(rule) = maps.rules.get(&slot)? else { continue };
            tables.rules.insert(slot, Bytes(rule));
        }
    }
    Ok(tables)
}
