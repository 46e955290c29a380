//! External groups: their classes, and which prefix leads to which.
//!
//! A prefix puts an address into one class. The default prefixes (`0.0.0.0/0`, `::/0`) are special
//! in ACI (contract guide, *L3Out EPG with 0.0.0.0/0 subnet*): what comes from an address that only
//! they cover has the class of the VRF, what goes to one has class 15, whichever external groups
//! name them. So a contract of one such group holds for all of them, and their addresses are not in
//! one group with each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{ClassId, External, GroupKey, Outside, Prefix};

use super::{Builder, Kind, Member};
use crate::ir::Intent;

/// The classes of a group: one for those inside, up to two each way for those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Its VRF and its own class.
    pub key: GroupKey,
    /// It has a default prefix: the class of what comes from there. What goes there has
    /// [`ClassId::DEFAULT_OUTSIDE`].
    pub default_source: Option<ClassId>,
}

impl Ends {
    /// Classes of packets from it.
    pub fn sources(self) -> impl Iterator<Item = ClassId> {
        std::iter::once(self.key.class).chain(self.default_source)
    }

    /// Classes of packets to it.
    pub fn destinations(self) -> impl Iterator<Item = ClassId> {
        let default = self.default_source.map(|_| ClassId::DEFAULT_OUTSIDE);
        std::iter::once(self.key.class).chain(default)
    }
}

/// The VRFs that need a class of their own, since a default prefix leads out of them.
pub(super) fn default_vrfs(intent: &Intent) -> impl Iterator<Item = &Dn> {
    let with_default =
        intent.externals.values().filter(|e| e.prefixes.iter().any(|p| p.is_default()));
    with_default.map(|external| &external.vrf).collect::<BTreeSet<_>>().into_iter()
}

/// Numbers the external groups.
pub(super) fn externals<'i>(builder: &mut Builder<'_>, intent: &'i Intent) -> Vec<Member<'i>> {
    let mut members = Vec::with_capacity(intent.externals.len());
    for (dn, external) in &intent.externals {
        let vrf = external.vrf.shared();
        let Some(scope) = builder.numbers.scope_of(&vrf) else { continue };
        let has_default = external.prefixes.iter().any(|prefix| prefix.is_default());
        let numbers = builder.class(dn, &vrf).and_then(|class| {
            builder.numbers.group(&dn.shared())?;
            let default = if has_default {
                builder.numbers.group(&vrf)?;
                Some(builder.class(&external.vrf, &vrf)?)
            } else {
                None
            };
            Ok((class, default))
        });
        let Some((class, default_source)) = builder.or_problem(dn, numbers) else { continue };
        let leaked = intent.leaks.get(dn).into_iter().flatten();
        if leaked.filter(|p| external.prefixes.contains(p)).any(|prefix| prefix.is_default()) {
            let key = GroupKey { scope, class };
            builder.defaults_across.extend(default_source.map(|default| (key, default)));
        }
        members.push(Member {
            dn,
            tenant: &external.tenant,
            profile: &external.out,
            vrf: &external.vrf,
            kind: Kind::Outside,
            stance: Some(&external.stance),
            provides: &external.provides,
            consumes: &external.consumes,
            ends: Ends { key: GroupKey { scope, class }, default_source },
        });
    }
    members
}

/// Puts prefixes, routes and subnets into the table, for VRFs with an L3Out.
pub(super) fn fill(builder: &mut Builder<'_>, intent: &Intent, members: &[Member<'_>]) {
    for (vrf, asked) in &intent.outside {
        let Some(scope) = builder.numbers.scope_of(&vrf.shared()) else { continue };
        let mut outside = Outside { routes: asked.routes.clone(), ..Outside::default() };
        for member in
            members.iter().filter(|m| m.kind == Kind::Outside && m.ends.key.scope == scope)
        {
            let Some(external) = intent.externals.get(member.dn) else { continue };
            for prefix in &external.prefixes {
                let Some(group) = seen_by(builder, member, *prefix) else { continue };
                // Of several groups with a default prefix the first one's name is shown.
                outside.groups.entry(*prefix).or_insert(group);
            }
        }
        for member in members.iter().filter(|m| m.kind == Kind::Inside && m.vrf == vrf) {
            let Some(group) = intent.groups.get(member.dn) else { continue };
            for prefix in &group.outside {
                let Some(external) = seen_by(builder, member, *prefix) else { continue };
                outside.groups.entry(*prefix).or_insert(external);
            }
        }
        if outside != Outside::default() {
            outside.inside.clone_from(&asked.inside);
            builder.table.outside.insert(scope, outside);
        }
    }
}

fn seen_by(builder: &mut Builder<'_>, member: &Member<'_>, prefix: Prefix) -> Option<External> {
    let name = member.dn.shared();
    let class = member.ends.key.class;
    let default = member.ends.default_source.filter(|_| prefix.is_default());
    let (source, destination, holder) = match default {
        Some(source) => (source, ClassId::DEFAULT_OUTSIDE, member.vrf.shared()),
        None => (class, class, Arc::clone(&name)),
    };
    let number = builder.numbers.group(&holder);
    let encap = builder.or_problem(member.dn, number)?;
    Some(External { name, source, destination, encap })
}
