//! Faults as objects: what is wrong with the object above them.

use crate::{Dn, Edit, MadeBy, Mo, RelationDef, Support, blank};

/// Code of the fault that says that an object asks for something that packets do not obey yet. Ours
/// alone, and far above the codes seen on APIC.
pub const NOT_ENFORCED: &str = "F900001";

/// How bad a fault is (APIC's words), from least to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something is not as it was asked for, and nothing is cut off by it.
    Warning,
    /// Traffic may pass or be dropped against what was asked for.
    Minor,
    /// Part of the fabric does not do its work.
    Major,
    /// The fabric does not do its work.
    Critical,
}

impl Severity {
    /// APIC's word.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Minor => "minor",
            Severity::Major => "major",
            Severity::Critical => "critical",
        }
    }
}

/// A fault to be raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The object it is about.
    pub dn: Dn,
    /// What is wrong, as a number: `F0952`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Why, in one word: `resolution-failed`.
    pub cause: &'static str,
    /// What raised it: `fv-rs-ctx-resolve-fail`.
    pub rule: String,
    /// Which part of the object it is about: `relation-resolution`.
    pub subject: &'static str,
    /// What is wrong and what to do about it, for people.
    pub descr: String,
}

/// Raises a fault, or brings the one that is there up to date.
pub fn raise(edit: &mut Edit, fault: Fault) {
    let Some(mut mo) = blank(&fault.dn.child(&format!("fault-{}", fault.code))) else { return };
    let severity = fault.severity.name();
    let old = edit.tree().shared(mo.dn().as_str());
    let now = edit.stamp().mod_ts.to_string();
    let created = old.as_ref().map_or(now.as_str(), |old| old.get("created"));
    let texts = [
        ("cause", fault.cause),
        ("rule", &fault.rule),
        ("subject", fault.subject),
        ("descr", &fault.descr),
        ("severity", severity),
        ("highestSeverity", severity),
        ("origSeverity", severity),
        ("prevSeverity", severity),
        ("created", created),
        ("lastTransition", &now),
    ];
    for (name, value) in texts {
        mo.set(name, value);
    }
    edit.put(mo);
}

/// Clears the fault with this code about an object, if there is one.
pub fn clear(edit: &mut Edit, dn: &Dn, code: &str) {
    let fault = format!("{dn}/fault-{code}");
    if let Some(dn) = edit.tree().get(&fault).map(|mo| mo.dn().clone()) {
        edit.remove(&dn);
    }
}

/// The fault of a relation whose name leads nowhere.
pub(crate) fn unresolved(relation: &Mo, def: &RelationDef, rn: &str) -> Fault {
    Fault {
        dn: relation.dn().clone(),
        code: def.fault,
        severity: Severity::Warning,
        cause: "resolution-failed",
        rule: format!("{}-resolve-fail", kebab(relation.class().name)),
        subject: "relation-resolution",
        descr: match def.is_by_dn() {
            true => format!("Failed to form relation to MO {rn} of class {}", def.target),
            false => {
                format!("Failed to form relation to MO {rn} of class {} in context", def.target)
            }
        },
    }
}

/// Raises or clears the fault that names the values of an object which packets do not obey.
pub(crate) fn settle_support(edit: &mut Edit, dn: &Dn) {
    match edit.tree().get(dn.as_str()).and_then(not_enforced) {
        Some(fault) => raise(edit, fault),
        None => clear(edit, dn, NOT_ENFORCED),
    }
}

fn not_enforced(mo: &Mo) -> Option<Fault> {
    let class = mo.class();
    let mut severity = Severity::Info;
    let mut ignored = Vec::new();
    for (name, value) in mo.set_props() {
        let Some(def) = class.prop(name).filter(|def| def.configurable) else { continue };
        match def.support {
            Support::Only(values) if !value.split(',').all(|v| values.contains(&v)) => {
                severity = Severity::Minor;
                ignored.push(format!("{name}={value}"));
            }
            Support::Stored => ignored.push(format!("{name}={value}")),
            Support::Only(_) | Support::Enforced | Support::Label => {}
        }
    }
    // What exists by itself asks for something only once someone sets something.
    let by_itself = class.made_by == MadeBy::Parent || crate::schema::is_initial(mo.dn());
    if class.support == Support::Stored && !(by_itself && ignored.is_empty()) {
        severity = severity.max(Severity::Warning);
        ignored.insert(0, format!("class {}", class.name));
    }
    (!ignored.is_empty()).then(|| Fault {
        dn: mo.dn().clone(),
        code: NOT_ENFORCED,
        severity,
        cause: "not-enforced",
        rule: format!("{}-not-enforced", kebab(class.name)),
        subject: "enforcement",
        descr: format!("Accepted but not enforced: {}", ignored.join(", ")),
    })
}

/// APIC's spelling of a class in the names of rules: `fvRsCtx` is `fv-rs-ctx`.
fn kebab(class: &str) -> String {
    let mut out = String::new();
    let mut after_lower = false;
    for c in class.chars() {
        if c.is_ascii_uppercase() && after_lower {
            out.push('-');
        }
        after_lower = !c.is_ascii_uppercase();
        out.extend(c.to_lowercase());
    }
    out
}
