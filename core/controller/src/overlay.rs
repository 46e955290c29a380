//! What the system itself writes into the tree after a commit: numbers and faults.

use std::collections::{BTreeMap, BTreeSet};

use selvage_model::fault::{self, Fault};
use selvage_model::{Dn, Edit, Mo, Tree};
use selvage_policy::{Compiled, Numbers, Problem, Severity};

/// A fault of ours: the object it is about, and its code.
pub type FaultKey = (Dn, &'static str);

/// Shows in each VRF, bridge domain and group the numbers it has. Nobody configured them, so the
/// objects keep the time of their last change.
pub fn show_numbers(tree: &mut Tree, compiled: &Compiled, numbers: &Numbers) {
    let mut differing = Vec::new();
    for mo in tree.of_class("fvCtx") {
        let scope = numbers.scope_of(&mo.dn().shared());
        let scope = shown(scope.filter(|_| compiled.intent.vrfs.contains_key(mo.dn())), "0");
        let default = compiled.externals.values().find_map(|ends| {
            let class = ends.default_source?;
            (Some(ends.key.scope) == numbers.scope_of(&mo.dn().shared())).then_some(class)
        });
        let tag = shown(default, "any");
        differing.extend(with(mo, &[("scope", &scope), ("seg", &scope), ("pcTag", &tag)]));
    }
    for mo in tree.of_class("fvBD") {
        let bd = compiled.intent.bridge_domains.get(mo.dn());
        let seg = bd.and_then(|_| numbers.bridge_domain_of(&mo.dn().shared()));
        let scope = bd.and_then(|bd| numbers.scope_of(&bd.vrf.shared()));
        differing.extend(with(mo, &[("seg", &shown(seg, "0")), ("scope", &shown(scope, "0"))]));
    }
    for mo in tree.of_class("fvAEPg").chain(tree.of_class("l3extInstP")) {
        let outside = || compiled.externals.get(mo.dn()).map(|ends| &ends.key);
        let key = compiled.groups.get(mo.dn()).or_else(outside);
        let tag = shown(key.map(|key| key.class), "any");
        let scope = shown(key.map(|key| key.scope), "0");
        let state = if key.is_some() { "applied" } else { "not-applied" };
        differing.extend(with(mo, &[("pcTag", &tag), ("scope", &scope), ("configSt", state)]));
    }
    for mo in differing {
        tree.insert(mo);
    }
}

fn shown(number: Option<impl ToString>, none: &str) -> String {
    number.map_or_else(|| none.to_owned(), |number| number.to_string())
}

/// The object with these properties; `None` if it has them already.
fn with(mo: &Mo, props: &[(&str, &str)]) -> Option<Mo> {
    if props.iter().all(|(name, value)| mo.get(name) == *value) {
        return None;
    }
    let mut mo = mo.clone();
    for (name, value) in props {
        mo.set(name, value);
    }
    Some(mo)
}

/// Raises a fault for each problem, and clears those in `before` that are problems no longer.
/// Returns the faults that stand.
pub fn show_problems(
    edit: &mut Edit,
    problems: &[Problem],
    before: &BTreeSet<FaultKey>,
) -> BTreeSet<FaultKey> {
    let mut faults: BTreeMap<FaultKey, (&Problem, Vec<&str>)> = BTreeMap::new();
    for problem in problems {
        if edit.tree().get(problem.dn.as_str()).is_some() {
            let key = (problem.dn.clone(), problem.code());
            faults.entry(key).or_insert_with(|| (problem, Vec::new())).1.push(&problem.text);
        }
    }
    for (dn, code) in before.iter().filter(|key| !faults.contains_key(key)) {
        fault::clear(edit, dn, code);
    }
    for ((dn, code), (problem, texts)) in &faults {
        let fault = Fault {
            dn: dn.clone(),
            code,
            severity: severity(problem.severity()),
            cause: problem.cause.name(),
            rule: format!("selvage-{}", problem.cause.name()),
            subject: "policy",
            descr: texts.join("; "),
        };
        fault::raise(edit, fault);
    }
    faults.into_keys().collect()
}

fn severity(severity: Severity) -> fault::Severity {
    match severity {
        Severity::Warning => fault::Severity::Warning,
        Severity::Minor => fault::Severity::Minor,
        Severity::Major => fault::Severity::Major,
    }
}
