//! What a request would do, without doing it: to traffic, objects, endpoints and hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_model::{Changes, Dn, MadeBy, Mo, Modified, Post, Refusal, Tree, apply, initial_tree};
use selvage_opflex::Time;
use selvage_opflex::ext::class;
use selvage_opflex::mo::Reference;
use selvage_opflex::server::Change;
use selvage_policy::plan::{Change as Traffic, End, Kind, part, plan};
use selvage_policy::slice::{Index, slice};
use selvage_policy::{Compiled, Numbers, Problem, capacity, compile, verify};
use selvage_rules::{GroupKey, Table};
use serde::Serialize;

use crate::core::{Core, Write};
use crate::policy::Rendered;
use crate::stamp::stamp;
use crate::{check, render};

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The revision that this holds for: with another one in force it may do something else. Absent
    /// where two policies were compared without a controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Traffic that fares differently: what is lost, then what is gained, then what is altered.
    pub traffic: Vec<Traffic>,
    /// Objects that it changes.
    pub objects: Objects,
    /// Endpoints in the groups whose traffic changes, by group.
    pub endpoints: Vec<EndpointCount>,
    /// Hosts that would be sent something, by name.
    pub hosts: Vec<HostChange>,
    /// What would be newly wrong, or mended.
    pub faults: Faults,
}

/// Objects that a request changes, by DN; those that only the system makes left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Objects {
    /// New ones.
    pub created: Vec<ObjectChange>,
    /// Different ones.
    pub modified: Vec<ObjectChange>,
    /// Those that go.
    pub deleted: Vec<ObjectChange>,
}

/// One object that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectChange {
    /// Its name.
    pub dn: String,
    /// Its class.
    pub class: &'static str,
    /// For a modified one its properties that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub props: Vec<PropChange>,
}

/// One property that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PropChange {
    /// Its name.
    pub name: String,
    /// What it says.
    pub before: String,
    /// What it will say.
    pub after: String,
}

/// How many endpoints a group has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointCount {
    /// DN of the group.
    pub group: Arc<str>,
    /// How many are declared.
    pub endpoints: usize,
}

/// What changes on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostChange {
    /// Name of its agent.
    pub name: Arc<str>,
    /// Endpoints of its own in groups whose traffic changes.
    pub endpoints: usize,
    /// Pairs of classes, each with the rules between them.
    pub pairs: Entries,
    /// Rules, each counted once for each set it is in.
    pub rules: Entries,
}

/// How many entries of a table come, go, or point to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Entries {
    /// New.
    pub added: usize,
    /// Different.
    pub changed: usize,
    /// Gone.
    pub removed: usize,
}

/// What would be wrong, and what would not be any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Faults {
    /// New.
    pub raised: Vec<Problem>,
    /// Gone.
    pub cleared: Vec<Problem>,
}

impl Core {
    /// Works out what `write` would do. Refused for the same reasons as [`Core::prepare`], all at
    /// once.
    ///
    /// Where the tenants that it touches share no network and no contract with others, they are
    /// compiled by themselves; the answer is the same.
    pub fn plan(&self, write: &Write, now: Time, wall_ms: u64) -> Result<Planned, Vec<Refusal>> {
        let (tree, changes) = self.edited(write, wall_ms)?;
        let mut planned = Planned {
            revision: Some(self.revision().0),
            traffic: Vec::new(),
            objects: objects(&changes),
            endpoints: Vec::new(),
            hosts: Vec::new(),
            faults: Faults::default(),
        };
        if changes.is_empty() {
            return Ok(planned);
        }
        let created = changes.created.iter().chain(&changes.deleted);
        let touched = created.chain(changes.modified.iter().map(|change| &change.new));
        let trees = [&self.state.tree, &tree];
        // An assertion may be about groups of any tenant.
        let asserts = trees.iter().any(|tree| verify::asserts(tree));
        let part = part(trees, touched.map(|mo| &**mo)).filter(|_| !asserts);
        let step = part.map(|part| self.step_of_part(&part)).filter(|step| {
            let all = capacity::whole(&self.state.compiled.table);
            self.surely_fits(all, all.and(capacity::whole(&step.after.table)))
        });
        let step = step.unwrap_or_else(|| self.step(&tree));
        let Step { before, after, change } = &step;
        let mut broken = self.too_large(before, after);
        if asserts {
            broken.extend(check::broken((&self.state.tree, before), (&tree, after)));
        }
        if !broken.is_empty() {
            return Err(broken);
        }
        planned.traffic = traffic(before, after);
        planned.faults = faults(before, after);
        let affected = Affected::of(&planned.traffic);
        planned.endpoints = self.endpoints_of(&affected);
        let touched = self.server.would_touch(change, now);
        if !touched.is_empty() {
            let halves = [Half::new(before), Half::new(after)];
            let hosts = touched.into_iter();
            let host = |(name, has)| self.host(name, &has, &halves, &affected);
            planned.hosts = hosts.map(host).collect();
        }
        Ok(planned)
    }

    /// Compiles all of `tree`.
    fn step(&self, tree: &Tree) -> Step {
        let before = Arc::clone(&self.state.compiled);
        let after = Arc::new(compile(tree, &mut self.state.numbers.clone()));
        let rendered = Rendered::new(render::objects(&after.table));
        let change = groups_only(self.state.rendered.change_to(&rendered));
        Step { before, after, change }
    }

    /// Compiles a part of the fabric as it is and as it would be.
    fn step_of_part(&self, [old, new]: &[Tree; 2]) -> Step {
        // Once to see which names there are, so that they can be given the numbers they have.
        let mut names = Numbers::default();
        compile(old, &mut names);
        let mut numbers = self.state.numbers.of_part(&names);
        let [before, after] = [old, new].map(|tree| Arc::new(compile(tree, &mut numbers)));
        let rendered = |compiled: &Compiled| Rendered::new(render::objects(&compiled.table));
        let change = groups_only(rendered(&before).change_to(&rendered(&after)));
        Step { before, after, change }
    }

    fn endpoints_of(&self, affected: &Affected) -> Vec<EndpointCount> {
        let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for location in self.server.locations() {
            if affected.has(&location.group, &location.vrf) {
                *counts.entry(&location.group).or_default() += 1;
            }
        }
        let count = |(group, endpoints): (&Arc<str>, usize)| EndpointCount {
            group: group.clone(),
            endpoints,
        };
        counts.into_iter().map(count).collect()
    }

    fn host(
        &self,
        name: Arc<str>,
        groups: &BTreeSet<Arc<str>>,
        halves: &[Half<'_>; 2],
        affected: &Affected,
    ) -> HostChange {
        let here = self.server.locations().filter(|location| location.agent == name);
        let endpoints = here.filter(|l| affected.has(&l.group, &l.vrf)).count();
        let [before, after] = halves.each_ref().map(|half| half.slice(groups));
        let pairs = entries(&before.pairs, &after.pairs);
        let rules = |from: &Table, other: &Table| -> usize {
            let gone = from.rule_sets.iter().filter(|(id, _)| !other.rule_sets.contains_key(id));
            gone.map(|(_, set)| set.rules.len()).sum()
        };
        let (added, removed) = (rules(&after, &before), rules(&before, &after));
        HostChange { name, endpoints, pairs, rules: Entries { added, changed: 0, removed } }
    }
}

/// A policy, the one that would follow, and what agents would hear of it.
struct Step {
    before: Arc<Compiled>,
    after: Arc<Compiled>,
    change: Change,
}

/// Leaves out rule sets: a pair that points to another one differs itself, and a part of the fabric
/// numbers new sets by itself.
fn groups_only(mut change: Change) -> Change {
    let sets = |target: &Reference| *target.subject != *class::RULE_SET;
    change.changed.retain(sets);
    change.deleted.retain(sets);
    change
}

/// The changes of traffic. A rule that does not exist yet has no number.
fn traffic(before: &Compiled, after: &Compiled) -> Vec<Traffic> {
    let mut changes = plan(before, after).changes;
    for change in &mut changes {
        let rule = &mut change.after.verdict.rule;
        *rule = rule.filter(|rule| before.table.origins.contains_key(rule));
    }
    changes
}

/// Compares two policies, each as if it were all there is.
pub fn compare(before: &Post, after: &Post) -> Result<Planned, Vec<Refusal>> {
    let uni: Dn = "uni".parse().map_err(|_| Vec::new())?;
    let stamp = stamp(0);
    let mut trees = [initial_tree(), initial_tree()];
    let mut refusals = Vec::new();
    for (tree, post) in trees.iter_mut().zip([before, after]) {
        refusals.extend(apply(tree, stamp.clone(), Some(&uni), post).err().into_iter().flatten());
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut numbers = Numbers::default();
    let [old, new] = trees;
    let [was, will] = [&old, &new].map(|tree| compile(tree, &mut numbers));
    Ok(Planned {
        revision: None,
        traffic: traffic(&was, &will),
        objects: objects(&differences(&old, &new)),
        endpoints: Vec::new(),
        hosts: Vec::new(),
        faults: faults(&was, &will),
    })
}

fn differences(old: &Tree, new: &Tree) -> Changes {
    let shared = |tree: &Tree, mo: &Mo| tree.shared(mo.dn().as_str());
    let only = |tree: &Tree, other: &Tree| -> Vec<Arc<Mo>> {
        let missing = tree.iter().filter(|mo| other.get(mo.dn().as_str()).is_none());
        missing.filter_map(|mo| shared(tree, mo)).collect()
    };
    let modified = new.iter().filter_map(|mo| {
        let was = shared(old, mo).filter(|was| !was.says_the_same_as(mo))?;
        Some(Modified { old: was, new: shared(new, mo)? })
    });
    Changes { created: only(new, old), modified: modified.collect(), deleted: only(old, new) }
}

/// One of the two policies, to take slices of.
struct Half<'c> {
    compiled: &'c Compiled,
    index: Index,
    keys: BTreeMap<Arc<str>, GroupKey>,
}

impl<'c> Half<'c> {
    fn new(compiled: &'c Compiled) -> Half<'c> {
        let index = Index::new(&compiled.table);
        let groups = compiled.table.groups.iter();
        let keys = groups.map(|(key, group)| (group.name.clone(), *key)).collect();
        Half { compiled, index, keys }
    }

    fn slice(&self, groups: &BTreeSet<Arc<str>>) -> Table {
        let present = groups.iter().filter_map(|dn| self.keys.get(dn).copied()).collect();
        slice(&self.compiled.table, &self.index, &present)
    }
}

/// Groups whose traffic changes.
#[derive(Default)]
struct Affected {
    groups: BTreeSet<Arc<str>>,
    vrfs: BTreeSet<Arc<str>>,
}

impl Affected {
    fn of(changes: &[Traffic]) -> Affected {
        let mut affected = Affected::default();
        // What is only logged or tracked otherwise does not affect who can talk.
        let pairs = changes.iter().filter(|change| change.kind != Kind::Alters);
        for end in pairs.flat_map(|c| &c.pairs).flat_map(|pair| [&pair.from, &pair.to]) {
            match end {
                End::Group(dn) => drop(affected.groups.insert(dn.clone())),
                End::AnyOther { vrf, .. } => drop(affected.vrfs.insert(vrf.clone())),
            }
        }
        affected
    }

    fn has(&self, group: &Arc<str>, vrf: &Arc<str>) -> bool {
        self.groups.contains(group) || self.vrfs.contains(vrf)
    }
}

fn entries<K: Ord, V: PartialEq>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> Entries {
    let held = after.iter().filter_map(|(key, value)| Some((before.get(key)?, value)));
    let both = held.clone().count();
    Entries {
        added: after.len() - both,
        changed: held.filter(|(was, will)| was != will).count(),
        removed: before.len() - both,
    }
}

fn objects(changes: &Changes) -> Objects {
    let keeps = |mo: &Mo| mo.class().made_by != MadeBy::System;
    let named = |mo: &Arc<Mo>, props| ObjectChange {
        dn: mo.dn().to_string(),
        class: mo.class().name,
        props,
    };
    let all = |mos: &[Arc<Mo>]| -> Vec<ObjectChange> {
        mos.iter().filter(|mo| keeps(mo)).map(|mo| named(mo, Vec::new())).collect()
    };
    let modified = changes.modified.iter().filter(|change| keeps(&change.new));
    Objects {
        created: all(&changes.created),
        modified: modified.map(|c| named(&c.new, props(&c.old, &c.new))).collect(),
        deleted: all(&changes.deleted),
    }
}

/// Properties that differ, but for those that note when and by whom.
fn props(old: &Mo, new: &Mo) -> Vec<PropChange> {
    let names: BTreeSet<&str> =
        old.set_props().chain(new.set_props()).map(|(name, _)| name).collect();
    let differs = |name: &&str| old.get(name) != new.get(name) && *name != "modTs";
    let change = |name: &str| PropChange {
        name: name.to_owned(),
        before: old.get(name).to_owned(),
        after: new.get(name).to_owned(),
    };
    names.into_iter().filter(differs).map(change).collect()
}

fn faults(before: &Compiled, after: &Compiled) -> Faults {
    let only = |these: &Compiled, those: &Compiled| -> Vec<Problem> {
        let fresh = these.problems.iter().filter(|p| those.problems.binary_search(p).is_err());
        fresh.cloned().collect()
    };
    Faults { raised: only(after, before), cleared: only(before, after) }
}
