//! The ends of an assertion, in words: `shop/store/web`, `tenant shop`, `outside 10.0.0.0/8`.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvage_model::{Dn, Tree};
use selvage_rules::{ClassId, Prefix, ScopeId};

use crate::front;
use crate::reach::{Place, Reach, Seat};

/// What one word of the list means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everybody, inside and outside.
    Any,
    /// Groups, by DN. Never none; one may be in quarantine.
    Groups(Vec<Dn>),
    /// Addresses outside of the VRFs of the other end.
    Outside(Prefix),
}

/// Who is among some ends.
#[derive(Debug, Default)]
pub struct Members {
    anybody: bool,
    groups: BTreeSet<Arc<str>>,
    /// Classes of the groups outside among them: those with a default prefix share it with others.
    classes: BTreeSet<(ScopeId, ClassId, ClassId)>,
    prefixes: Vec<Prefix>,
}

impl Members {
    /// The members of `ends`.
    pub fn new(reach: &Reach<'_>, ends: &[End]) -> Members {
        let mut members = Members::default();
        for end in ends {
            match end {
                End::Any => members.anybody = true,
                End::Outside(prefix) => members.prefixes.push(*prefix),
                End::Groups(groups) => {
                    members.groups.extend(groups.iter().map(Dn::shared));
                    let seats = groups.iter().flat_map(|dn| reach.seats_of(dn));
                    members.classes.extend(seats.filter_map(|seat| outside_classes(&seat)));
                }
            }
        }
        members
    }

    /// Whether `seat` is one of them.
    pub fn has(&self, seat: &Seat) -> bool {
        self.anybody
            || seat.group.as_ref().is_some_and(|dn| self.groups.contains(dn))
            || outside_classes(seat).is_some_and(|classes| self.classes.contains(&classes))
            || seat.address().is_some_and(|ip| self.prefixes.iter().any(|p| p.contains(ip)))
    }

    /// The prefixes they are named by.
    pub fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }
}

fn outside_classes(seat: &Seat) -> Option<(ScopeId, ClassId, ClassId)> {
    match seat.place {
        Place::Outside { source, destination, .. } => Some((seat.scope, source, destination)),
        _ => None,
    }
}

/// Reads a list, by comma.
/// Reads a list, by comma.
///
/// # Errors
/// What is wrong with it, in one sentence. A name that nothing has is wrong: an assertion about
/// nothing would always hold.
pub fn parse(tree: &Tree, reach: &Reach<'_>, what: &str, text: &str) -> Result<Vec<End>, String> {
    if text.trim().is_empty() {
        return Err(format!("`{what}` is missing"));
    }
    let mut ends = Vec::new();
    for one in text.split(',').map(str::trim) {
        match one {
            "outside" => ends.extend([Prefix::ALL_V4, Prefix::ALL_V6].map(End::Outside)),
            one => ends.push(end(tree, reach, one)?),
        }
    }
    Ok(ends)
}

fn end(tree: &Tree, reach: &Reach<'_>, text: &str) -> Result<End, String> {
    match text.split_once(char::is_whitespace).map(|(kind, rest)| (kind, rest.trim())) {
        None if text == "any" => Ok(End::Any),
        Some(("outside", prefix)) => prefix.parse().map(End::Outside).map_err(|_| {
            format!("`{prefix}` is no prefix; write for example `outside 10.0.0.0/8`")
        }),
        Some(("tenant", name)) => below(reach, tree, &format!("uni/tn-{name}"), text),
        Some(("vrf", name)) => {
            let dn = name.split_once('/').map(|(tenant, vrf)| format!("uni/tn-{tenant}/ctx-{vrf}"));
            let dn = dn.ok_or_else(|| format!("`{text}`: write `vrf TENANT/VRF`"))?;
            below(reach, tree, &dn, text)
        }
        _ if text.starts_with("uni/") => below(reach, tree, text, text),
        _ => group(tree, text),
    }
}

fn group(tree: &Tree, text: &str) -> Result<End, String> {
    let found = front::groups_called(tree, text);
    match found.len() {
        0 => Err(format!(
            "no group is called `{text}`; write TENANT/PROFILE/GROUP, a DN, `tenant NAME`, \
             `vrf TENANT/NAME`, `outside PREFIX` or `any`",
        )),
        1 => Ok(End::Groups(found)),
        _ => {
            let names: Vec<String> = found.iter().map(|dn| format!("`{dn}`")).collect();
            Err(format!("`{text}` may be {}; write one of these in full", names.join(" or ")))
        }
    }
}

/// The groups at or below an object, or of a VRF.
fn below(reach: &Reach<'_>, tree: &Tree, dn: &str, text: &str) -> Result<End, String> {
    let exists = tree.get(dn).map(|mo| mo.dn().clone());
    let top = exists.ok_or_else(|| format!("`{text}`: there is no `{dn}`"))?;
    let intent = &reach.compiled.intent;
    let all: BTreeSet<&Dn> = reach.compiled.groups.keys().chain(intent.externals.keys()).collect();
    let mut groups: Vec<Dn> = all
        .into_iter()
        .filter(|group| top.contains(group) || intent.vrf_of(group) == Some(&top))
        .cloned()
        .collect();
    if groups.is_empty() {
        // A group in quarantine is there, too, and reaches nobody.
        groups.extend(front::groups_called(tree, dn));
    }
    if groups.is_empty() {
        return Err(format!("`{text}`: there is no group in `{dn}`"));
    }
    Ok(End::Groups(groups))
}

/// The seats of these ends; `scopes` are the VRFs in which outside counts.
pub fn seats(reach: &Reach<'_>, ends: &[End], scopes: &BTreeSet<ScopeId>) -> Vec<Seat> {
    let of = |end: &End| match end {
        End::Any => reach.seats(),
        End::Groups(groups) => groups.iter().flat_map(|dn| reach.seats_of(dn)).collect(),
        End::Outside(prefix) => {
            scopes.iter().flat_map(|scope| reach.seats_outside(*scope, *prefix)).collect()
        }
    };
    let mut seats: Vec<Seat> = ends.iter().flat_map(of).collect();
    seats.sort();
    seats.dedup();
    seats
}

/// The VRFs in which outside counts for these ends: those of the groups among them, or if none of
/// these leads outside those that they share with; all of them if no group is named.
pub fn scopes(reach: &Reach<'_>, ends: &[End]) -> BTreeSet<ScopeId> {
    let groups = ends.iter().filter_map(|end| match end {
        End::Groups(groups) => Some(groups),
        _ => None,
    });
    let table = &reach.compiled.table;
    let vrfs = groups.flatten().filter_map(|dn| reach.compiled.intent.vrf_of(dn));
    let named: BTreeSet<ScopeId> = vrfs.filter_map(|vrf| reach.scope_of(vrf)).collect();
    if named.is_empty() {
        return table.vrfs.keys().copied().collect();
    }
    if named.iter().any(|scope| table.outside.contains_key(scope)) {
        return named;
    }
    // They have no way out of their own: what other VRFs share with them counts.
    let shared = table.shared.iter().filter(|(key, _)| named.contains(&key.scope));
    let others = shared.flat_map(|(_, shared)| shared.offers_in.iter().chain(&shared.uses_of));
    let others: BTreeSet<ScopeId> =
        others.copied().filter(|scope| table.outside.contains_key(scope)).collect();
    if others.is_empty() { named } else { others }
}

/// Groups of these ends that have no seat: their endpoints are in quarantine.
pub fn quarantined(reach: &Reach<'_>, ends: &[End]) -> Option<Dn> {
    let groups = ends.iter().filter_map(|end| match end {
        End::Groups(groups) => Some(groups),
        _ => None,
    });
    groups.flatten().find(|dn| reach.seats_of(dn).is_empty()).cloned()
}
