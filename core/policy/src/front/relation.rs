//! Which contracts a group uses, directly or by the name a contract was imported under, and by
//! which labels.

use std::collections::BTreeSet;

use selvage_model::{Dn, Mo};

use super::Reader;
use crate::ir::{Choice, Label, MatchType, Relation};
use crate::problem::Cause;

/// One kind of relation, and the one that does the same with imported contracts.
const BY_IMPORT: &[(&str, &str)] =
    &[("fvRsCons", "fvRsConsIf"), ("vzRsAnyToCons", "vzRsAnyToConsIf")];

/// The contracts that `group` names by relations of `class`. One that does not exist is the
/// relation's own fault, which the tree raises; an estimate to add one adds nothing yet.
pub(super) fn relations(reader: &mut Reader<'_>, group: &Dn, class: &str) -> Vec<Relation> {
    let mut found = Vec::new();
    for mo in reader.objects.under(group, class).into_iter().filter(|mo| is_installed(mo)) {
        if let Some(contract) = reader.target(mo) {
            found.push(relation(reader, group, &[mo], contract));
        }
    }
    let imported = BY_IMPORT.iter().find(|(own, _)| *own == class).map(|(_, by)| *by);
    for mo in imported.map(|by| reader.objects.under(group, by)).unwrap_or_default() {
        let Some(import) = reader.target(mo) else { continue };
        let Some(target) = reader.objects.under(&import, "vzRsIf").first().copied() else {
            let text = format!("`{import}` imports no contract: nothing is consumed by it");
            reader.problem(mo.dn(), Cause::EmptyImport, text);
            continue;
        };
        if let Some(contract) = reader.target(target).filter(|_| is_installed(target)) {
            found.push(relation(reader, group, &[mo, target], contract));
        }
    }
    found
}

fn is_installed(mo: &Mo) -> bool {
    mo.get("intent") != "estimate_add"
}

/// The group's use of `contract` by `by`: its relation, and what that leads through.
fn relation(reader: &Reader<'_>, group: &Dn, by: &[&Mo], contract: Dn) -> Relation {
    let first = by.first();
    let provides = first.is_some_and(|mo| mo.class().name.ends_with("Prov"));
    let class = by.iter().find_map(|mo| level(mo.get("prio")));
    let dn = first.map_or_else(|| group.clone(), |mo| mo.dn().clone());
    Relation { dn, contract, choice: choice(reader, group, by, provides), class }
}

/// Labels of the group count for each of its contracts, those of a relation for that one.
fn choice(reader: &Reader<'_>, group: &Dn, by: &[&Mo], provides: bool) -> Choice {
    let (whom, which) =
        if provides { ("vzProvLbl", "vzProvSubjLbl") } else { ("vzConsLbl", "vzConsSubjLbl") };
    let all = |class| {
        let own = by.iter().flat_map(|mo| labels(reader, mo.dn(), class));
        own.chain(labels(reader, group, class)).collect::<BTreeSet<Label>>()
    };
    let mut choice =
        Choice { labels: all(whom), subject_labels: all(which), match_type: MatchType::default() };
    // Without labels of the provider's every type has the same outcome.
    if provides && !choice.labels.is_empty() {
        choice.match_type = provider_match(reader, group, by, whom);
    }
    choice
}

/// The relation's own match type where it says something, else that of the group.
fn provider_match(reader: &Reader<'_>, group: &Dn, by: &[&Mo], whom: &str) -> MatchType {
    let relation = by.first().copied();
    let own = relation.map_or(MatchType::default(), |mo| match_type(mo.get("matchT")));
    let labelled = relation.is_some_and(|mo| !reader.objects.under(mo.dn(), whom).is_empty());
    if labelled || own != MatchType::default() {
        return own;
    }
    reader.tree.get(group.as_str()).map_or(own, |mo| match_type(mo.get("matchT")))
}

/// The labels of one class that `dn` contains.
pub(super) fn labels(
    reader: &Reader<'_>,
    dn: &Dn,
    class: &str,
) -> impl Iterator<Item = Label> + use<> {
    let found = reader.objects.under(dn, class);
    let label = |mo: &Mo| Label {
        name: mo.get("name").into(),
        complement: mo.get("isComplement") == "yes",
    };
    found.into_iter().map(label).collect::<Vec<_>>().into_iter()
}

/// What a `matchT` says.
pub(super) fn match_type(word: &str) -> MatchType {
    match word {
        "All" => MatchType::All,
        "AtmostOne" => MatchType::AtmostOne,
        "None" => MatchType::None,
        _ => MatchType::AtleastOne,
    }
}

/// The class of service that a `prio` asks for.
pub(super) fn level(word: &str) -> Option<u8> {
    word.strip_prefix("level")?.parse().ok().filter(|level| (1..=6).contains(level))
}
