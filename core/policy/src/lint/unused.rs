//! Objects that nothing leads to, and those that lead nowhere.

use std::collections::BTreeSet;

use selvage_model::{Dn, Tree, initial_tree, target};

use super::{Code, Finding, finding};
use crate::trace::name;

/// Classes by which a contract is offered.
const PROVIDES: &[&str] = &["fvRsProv", "vzRsAnyToProv", "fvRsIntraEpg"];
/// Classes by which it is used.
const CONSUMES: &[&str] = &["fvRsCons", "vzRsAnyToCons", "vzRsIf", "fvRsIntraEpg"];
/// Classes by which a filter is named.
const NAMES: &[&str] = &["vzRsSubjFiltAtt", "vzRsFiltAtt", "vzRsDenyRule"];

pub(super) fn findings(tree: &Tree) -> Vec<Finding> {
    let given = initial_tree();
    let is_ours = |dn: &Dn| given.get(dn.as_str()).is_none();
    let [provided, consumed, named] = [PROVIDES, CONSUMES, NAMES].map(|all| targets(tree, all));
    let mut found = Vec::new();
    for contract in tree.of_class("vzBrCP").map(|mo| mo.dn()).filter(|dn| is_ours(dn)) {
        found.extend(contract_use(
            contract,
            provided.contains(contract),
            consumed.contains(contract),
        ));
        let mut subjects = tree.children_of_class(contract, "vzSubj").peekable();
        if subjects.peek().is_none() {
            let text =
                format!("contract `{}` has no subject, so it permits nothing", name(contract));
            let mend = "give it a subject with a filter, or delete it".to_owned();
            found.push(finding(Code::NoSubject, contract, None, text, mend));
        }
        for subject in subjects.map(|mo| mo.dn()) {
            let holds = tree.descendants(subject).any(|mo| NAMES.contains(&mo.class().name));
            if !holds {
                let text =
                    format!("subject `{}` names no filter, so it permits nothing", name(subject));
                let mend = "name a filter, or delete it".to_owned();
                found.push(finding(Code::NoFilter, subject, None, text, mend));
            }
        }
    }
    for filter in tree.of_class("vzFilter").map(|mo| mo.dn()).filter(|dn| is_ours(dn)) {
        if !named.contains(filter) {
            let text = format!("no subject names filter `{}`", name(filter));
            let mend = "name it in a subject, or delete it".to_owned();
            found.push(finding(Code::UnusedFilter, filter, None, text, mend));
        }
    }
    found
}

fn contract_use(contract: &Dn, provided: bool, consumed: bool) -> Option<Finding> {
    let (code, what, mend) = match (provided, consumed) {
        (true, true) => return None,
        (true, false) => (Code::NotConsumed, "no group consumes", "let a group consume it"),
        (false, true) => (Code::NotProvided, "no group provides", "let a group provide it"),
        (false, false) => (Code::UnusedContract, "no group provides or consumes", "use it"),
    };
    let text = format!("{what} contract `{}`, so it permits nothing", name(contract));
    Some(finding(code, contract, None, text, format!("{mend}, or delete it")))
}

/// What relations of these classes lead to.
fn targets(tree: &Tree, classes: &'static [&'static str]) -> BTreeSet<Dn> {
    let all = classes.iter().flat_map(|class| tree.of_class(class));
    all.filter_map(|mo| target(tree, mo)).map(|mo| mo.dn().clone()).collect()
}
