//! The answer to a change that asks for `rsp-subtree=modified`: what differs now, as a tree.

use std::collections::BTreeMap;

use super::{Answer, Node, Show};
use crate::{Changes, Dn, MadeBy, Mo};

/// What a transaction changed of what users make, each object below its nearest changed ancestor.
pub fn modified(changes: &Changes) -> Answer<'_> {
    let created = changes.created.iter().map(|mo| (&**mo, "created"));
    let by_users = changes.modified.iter().filter(|m| differs(&m.old, &m.new));
    let changed = by_users.map(|m| (&*m.new, "modified"));
    let deleted = changes.deleted.iter().map(|mo| (&**mo, "deleted"));
    let all: BTreeMap<&Dn, (&Mo, &'static str)> = created
        .chain(changed)
        .chain(deleted)
        .filter(|(mo, _)| mo.class().made_by != MadeBy::System)
        .map(|(mo, status)| (mo.dn(), (mo, status)))
        .collect();
    let mut below: BTreeMap<Option<&Dn>, Vec<&Dn>> = BTreeMap::new();
    for dn in all.keys() {
        let mut above = dn.parent();
        while let Some(dn) = above.as_ref().filter(|dn| !all.contains_key(dn)) {
            above = dn.parent();
        }
        let parent = above.and_then(|dn| all.get_key_value(&dn).map(|(dn, _)| *dn));
        below.entry(parent).or_default().push(dn);
    }
    let nodes = nodes(None, &all, &below);
    Answer { total: nodes.len(), nodes }
}

fn nodes<'c>(
    parent: Option<&'c Dn>,
    all: &BTreeMap<&'c Dn, (&'c Mo, &'static str)>,
    below: &BTreeMap<Option<&'c Dn>, Vec<&'c Dn>>,
) -> Vec<Node<'c>> {
    let dns = below.get(&parent).into_iter().flatten();
    let mut nodes: Vec<Node> = dns
        .filter_map(|dn| {
            let (mo, status) = *all.get(dn)?;
            let children = nodes(Some(dn), all, below);
            Some(Node { mo, children, show: Show::All, inner: parent.is_some(), status })
        })
        .collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(node.mo.class().order));
    nodes
}

/// Whether something differs that users configure, rather than what the system computed from it.
fn differs(old: &Mo, new: &Mo) -> bool {
    new.props().any(|(def, value)| def.configurable && old.get(def.name) != value)
}
