//! The endpoint registry: who declared what, which address is whose, and whose host is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::MAX_LEASES;
use crate::ext::{self, Host, Location, class};
use crate::mo::{Object, Reference, Value};
use crate::{Time, Uri};

/// One declared root object with what is below it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The root first.
    pub(super) objects: Vec<Object>,
    /// The `SelvageLocation` among them.
    pub(super) location: Option<Location>,
    /// The agent that declared it.
    pub(super) owner: Arc<str>,
    /// The endpoint, by the name that no other has: its uuid.
    holder: Arc<str>,
    /// The owner is gone, and has not declared it again since it came back.
    stale: bool,
}

/// An address, of the kind of which only one endpoint may have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    /// An IP address in a VRF, by the VRF's URI.
    Ip(Arc<str>, IpAddr),
    /// The tunnel address of a host.
    Tunnel(IpAddr),
    /// Anything else is identified by its URI, as a MAC in its bridge domain is.
    Uri(Uri),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(_, ip) => write!(f, "address `{ip}`"),
            Address::Tunnel(ip) => write!(f, "tunnel address `{ip}`"),
            Address::Uri(uri) => write!(f, "`{}`", uri.segments().next_back().unwrap_or_default()),
        }
    }
}

/// What a change did to one root object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Changed {
    pub(super) root: Reference,
    pub(super) before: Option<Entry>,
    pub(super) after: Option<Entry>,
}

/// Everything declared.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: BTreeMap<Uri, Entry>,
    by_owner: BTreeMap<Arc<str>, BTreeSet<Uri>>,
    /// The URIs of the entries with a location in a VRF, by the URI of the VRF.
    by_vrf: BTreeMap<Uri, BTreeSet<Uri>>,
    /// The roots that claim an address: all of one holder.
    addresses: BTreeMap<Address, BTreeSet<Uri>>,
    /// When what a lost owner left behind is withdrawn.
    lost: BTreeMap<Arc<str>, Time>,
}

impl Registry {
    /// Stores what `owner` declares, all of it or nothing. The error names who holds an address
    /// that is asked for.
    pub(super) fn declare(
        &mut self,
        owner: &Arc<str>,
        objects: Vec<Object>,
    ) -> Result<Vec<Changed>, String> {
        let entries = entries(owner, objects)?;
        if self.by_owner.get(owner).map_or(0, BTreeSet::len) + entries.len() > MAX_LEASES {
            return Err(format!("`{owner}` declares more than {MAX_LEASES} objects"));
        }
        let mut displaced = BTreeSet::new();
        let mut claimed: BTreeMap<Address, &Arc<str>> = BTreeMap::new();
        for (root, entry) in &entries {
            displaced.extend(self.check(&root.uri, entry)?);
            for address in entry.addresses(&root.uri) {
                let text = address.to_string();
                let first = *claimed.entry(address).or_insert(&entry.holder);
                if *first != entry.holder {
                    return Err(format!("{text} is held by `{first}`"));
                }
            }
        }
        let mut changes = self.displace(owner, &displaced);
        changes.extend(entries.into_iter().filter_map(|(root, entry)| self.store(root, entry)));
        Ok(changes)
    }

    /// Takes back what `owner` declared at `root`. What another agent declared there stays: an
    /// endpoint may have moved.
    pub(super) fn undeclare(&mut self, owner: &str, root: &Reference) -> Option<Changed> {
        let held = self.entries.get(&root.uri)?;
        if &*held.owner == owner { self.remove(&root.uri) } else { None }
    }

    /// The agent's connection is gone: what it declared stays until `until`.
    pub(super) fn lose(&mut self, owner: &Arc<str>, until: Time) {
        let Some(uris) = self.by_owner.get(owner) else { return };
        for uri in uris {
            if let Some(entry) = self.entries.get_mut(uri) {
                entry.stale = true;
            }
        }
        self.lost.insert(owner.clone(), until);
    }

    /// When [`Registry::expire`] has something to do.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.lost.values().min().copied()
    }

    /// Withdraws what lost owners did not declare again in time.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Changed> {
        let due = |(owner, until): (&Arc<str>, &Time)| (*until <= now).then(|| owner.clone());
        let owners: Vec<Arc<str>> = self.lost.iter().filter_map(due).collect();
        let mut changes = Vec::new();
        for owner in owners {
            self.lost.remove(&owner);
            let uris: Vec<Uri> = self.by_owner.get(&owner).into_iter().flatten().cloned().collect();
            for uri in uris {
                if self.entries.get(&uri).is_some_and(|entry| entry.stale) {
                    changes.extend(self.remove(&uri));
                }
            }
        }
        changes
    }

    /// The entries at `uri` and below it; if it names something below an entry, that part.
    pub(super) fn find(&self, uri: &Uri) -> Vec<Object> {
        let below = self.entries.range(uri.clone()..);
        let mut found: Vec<Object> = below
            .take_while(|(root, _)| root.is_within(uri.as_str()))
            .flat_map(|(_, entry)| entry.objects.iter().cloned())
            .collect();
        if found.is_empty() {
            let entry = uri.ancestry().find_map(|at| self.entries.get(at));
            let objects = entry.map(|entry| entry.objects.as_slice()).unwrap_or_default();
            found.extend(objects.iter().filter(|o| o.uri.is_within(uri.as_str())).cloned());
        }
        found
    }

    /// The entries with a location in the VRF at this URI.
    pub(super) fn in_vrf(&self, vrf: &Uri) -> impl Iterator<Item = &Entry> {
        self.by_vrf.get(vrf).into_iter().flatten().filter_map(|root| self.entries.get(root))
    }

    /// Everything declared.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The error names another endpoint that holds an address. An endpoint that the same agent
    /// left behind when it was lost is no obstacle: the agent knows better, and it is displaced.
    fn check(&self, root: &Uri, entry: &Entry) -> Result<Vec<Uri>, String> {
        let mut displaced = Vec::new();
        for address in entry.addresses(root) {
            for at in self.addresses.get(&address).into_iter().flatten() {
                let Some(held) = self.entries.get(at).filter(|h| h.holder != entry.holder) else {
                    continue;
                };
                if !(held.stale && held.owner == entry.owner) {
                    return Err(format!("{address} is held by `{}`", held.holder));
                }
                displaced.push(at.clone());
            }
        }
        Ok(displaced)
    }

    /// Removes the endpoints that these entries are of, whole.
    fn displace(&mut self, owner: &Arc<str>, displaced: &BTreeSet<Uri>) -> Vec<Changed> {
        let holder = |root: &Uri| self.entries.get(root).map(|entry| entry.holder.clone());
        let holders: BTreeSet<Arc<str>> = displaced.iter().filter_map(holder).collect();
        let theirs = |root: &&Uri| {
            let entry = self.entries.get(*root);
            entry.is_some_and(|entry| entry.stale && holders.contains(&entry.holder))
        };
        let roots = self.by_owner.get(owner).into_iter().flatten();
        let roots: Vec<Uri> = roots.filter(theirs).cloned().collect();
        roots.iter().filter_map(|root| self.remove(root)).collect()
    }

    fn store(&mut self, root: Reference, entry: Entry) -> Option<Changed> {
        let before = self.remove(&root.uri).and_then(|change| change.before);
        for address in entry.addresses(&root.uri) {
            self.addresses.entry(address).or_default().insert(root.uri.clone());
        }
        self.by_owner.entry(entry.owner.clone()).or_default().insert(root.uri.clone());
        if let Some(location) = &entry.location {
            let vrf = ext::vrf_uri(&location.vrf);
            self.by_vrf.entry(vrf).or_default().insert(root.uri.clone());
        }
        self.entries.insert(root.uri.clone(), entry.clone());
        if before.as_ref().is_some_and(|before| before.says_the_same(&entry)) {
            return None;
        }
        Some(Changed { root, before, after: Some(entry) })
    }

    fn remove(&mut self, root: &Uri) -> Option<Changed> {
        let entry = self.entries.remove(root)?;
        for address in entry.addresses(root) {
            drop_member(&mut self.addresses, &address, root);
        }
        drop_member(&mut self.by_owner, &entry.owner, root);
        if let Some(location) = &entry.location {
            drop_member(&mut self.by_vrf, &ext::vrf_uri(&location.vrf), root);
        }
        let subject = entry.objects.first()?.subject.clone();
        let root = Reference { subject, uri: root.clone() };
        Some(Changed { root, before: Some(entry), after: None })
    }
}

impl Entry {
    fn says_the_same(&self, other: &Entry) -> bool {
        let mut pairs = self.objects.iter().zip(&other.objects);
        self.owner == other.owner
            && self.objects.len() == other.objects.len()
            && pairs.all(|(one, two)| one.uri == two.uri && one.says_the_same(two))
    }

    /// What only one endpoint may have.
    fn addresses(&self, root: &Uri) -> Vec<Address> {
        let mut addresses = Vec::new();
        let ip = |object: &Object| object.text("ip").and_then(|ip| ip.parse().ok());
        for object in &self.objects {
            if &*object.subject == "EprL3Ep"
                && let (Some(context), Some(ip)) = (object.text("context"), ip(object))
            {
                addresses.push(Address::Ip(context.clone(), ip));
            }
            if let Ok(host) = Host::from_object(object) {
                addresses.push(Address::Tunnel(host.tunnel));
            }
        }
        // Where an endpoint is said to be, others believe, whatever else of it was withdrawn.
        if let Some(location) = &self.location {
            let vrf: Arc<str> = ext::vrf_uri(&location.vrf).as_str().into();
            addresses.extend(location.ips.iter().map(|ip| Address::Ip(vrf.clone(), *ip)));
        }
        addresses.push(Address::Uri(root.clone()));
        addresses
    }
}

/// Takes a declared list apart into roots, each with what is below it.
fn entries(owner: &Arc<str>, objects: Vec<Object>) -> Result<Vec<(Reference, Entry)>, String> {
    let mut entries: Vec<(Reference, Entry)> = Vec::new();
    for object in objects {
        check_author(owner, &object)?;
        let location = Location::from_object(&object).ok();
        let last = entries.last_mut().filter(|(root, _)| object.uri.is_within(root.uri.as_str()));
        if let Some((_, entry)) = last {
            entry.location = entry.location.take().or(location);
            entry.objects.push(object);
            continue;
        }
        let holder = object.text("uuid").unwrap_or(owner).clone();
        let root = object.reference();
        let (owner, objects) = (owner.clone(), vec![object]);
        entries.push((root, Entry { objects, location, owner, holder, stale: false }));
    }
    Ok(entries)
}

/// An agent speaks for itself only.
fn check_author(owner: &str, object: &Object) -> Result<(), String> {
    let named = match &*object.subject {
        class::LOCATION => object.get("agent"),
        class::HOST => object.get("name"),
        _ => return Ok(()),
    };
    match named {
        Some(Value::Text(name)) if &**name == owner => Ok(()),
        _ => Err(format!("`{}` is not about `{owner}`, who declares it", object.uri)),
    }
}

fn drop_member<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Uri>>, key: &K, member: &Uri) {
    if let Some(members) = index.get_mut(key) {
        members.remove(member);
        if members.is_empty() {
            index.remove(key);
        }
    }
}
