//! Exceptions of contracts and subjects, and the tags that they may look at: the tag a group has for
//! them (`exceptionTag`), and the tags of any object.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvage_model::Dn;

use super::Reader;
use crate::compile::expression;
use crate::ir::{Exception, Field, Intent, Pattern};
use crate::problem::Cause;

/// The exceptions of the contract or subject `of`. An expression that is missing or cannot be read
/// counts for everybody: an exception takes away, so what it was meant to take away is unknown, and
/// less passes this way, never more.
pub(super) fn of(reader: &mut Reader<'_>, of: &Dn) -> Vec<Exception> {
    let mut found = Vec::new();
    for mo in reader.objects.under(of, "vzException") {
        let mut pattern = |prop: &str| {
            let text = mo.get(prop);
            let why = match (text, expression(text)) {
                ("", _) => format!("`{prop}` is empty"),
                (_, None) => format!("`{prop}` `{text}` is no regular expression"),
                (text, Some(_)) => return Pattern::Expression(text.into()),
            };
            let whom = if prop == "provRegex" { "provider" } else { "consumer" };
            let text = format!("{why}: the exception counts for every {whom}");
            reader.problem(mo.dn(), Cause::BadException, text);
            Pattern::Any
        };
        let (provider, consumer) = (pattern("provRegex"), pattern("consRegex"));
        let field = match mo.get("field") {
            "Tenant" => Field::Tenant,
            "Ctx" => Field::Vrf,
            "EPg" => Field::Group,
            "Tag" => Field::Tag,
            _ => Field::Dn,
        };
        found.push(Exception { dn: mo.dn().clone(), field, provider, consumer });
    }
    found
}

/// Reads the tags of groups, if any exception looks at them.
pub(super) fn tags(reader: &Reader<'_>, intent: &mut Intent) {
    let looks = |exceptions: &[Exception]| exceptions.iter().any(|e| e.field == Field::Tag);
    let mut contracts = intent.contracts.values();
    if !contracts.any(|c| looks(&c.exceptions) || c.subjects.iter().any(|s| looks(&s.exceptions))) {
        return;
    }
    for dn in intent.groups.keys().chain(intent.externals.keys()) {
        let mut words: BTreeSet<Arc<str>> = BTreeSet::new();
        for mo in reader.objects.under(dn, "tagInst") {
            words.insert(mo.get("name").into());
        }
        let own = reader.tree.get(dn.as_str()).map(|mo| mo.get("exceptionTag"));
        words.extend(own.map(Arc::from));
        words.remove("");
        if !words.is_empty() {
            intent.tags.insert(dn.clone(), words);
        }
    }
}
