//! Taboo contracts: what never comes to a group, whatever its contracts permit.

use selvage_model::{Mo, Tree};

use crate::contract::Rule;
use crate::place::named;
use crate::ruling;

/// The rules of the taboos that protect the groups of the receiver.
///
/// *ACI Fundamentals*, "Taboos"; *Cisco ACI Contract Guide*, table of contract options: a taboo
/// denies, at the place of `black_list` (5), from any source to the group that it protects
/// (`fvRsProtBy`), as its filters are written. It is about one direction, and endpoints within the
/// group, whose rules come before it, do not meet it. A group does not inherit those of its master.
///
/// A taboo, or a filter of one, that does not exist was to deny something that nobody knows: then
/// nothing comes to the group.
pub(crate) fn rules<'a>(tree: &'a Tree, receiver: &[&Mo]) -> Vec<Rule<'a>> {
    let mut rules = Vec::new();
    for group in receiver {
        for relation in tree.children_of_class(group.dn(), "fvRsProtBy") {
            let name = relation.get("tnVzTabooName");
            match named(tree, relation.dn(), "taboo", name) {
                None => rules.push(Rule::deny(ruling::BLACK_LIST, &[group, relation])),
                Some(taboo) => rules.extend(of_taboo(tree, group, taboo)),
            }
        }
    }
    rules
}

fn of_taboo<'a>(tree: &'a Tree, group: &Mo, taboo: &Mo) -> Vec<Rule<'a>> {
    let mut rules = Vec::new();
    for subject in tree.children_of_class(taboo.dn(), "vzTSubj") {
        for rule in tree.children_of_class(subject.dn(), "vzRsDenyRule") {
            let log = rule.get("directives").split(',').any(|word| word == "log");
            let Some(filter) = named(tree, rule.dn(), "flt", rule.get("tnVzFilterName")) else {
                rules.push(Rule::deny(ruling::BLACK_LIST, &[group, subject]));
                continue;
            };
            for entry in tree.children_of_class(filter.dn(), "vzEntry") {
                let deny = Rule::deny(ruling::BLACK_LIST, &[subject, entry]);
                rules.push(Rule { log, ..deny }.about(entry, false));
            }
        }
    }
    rules
}
