//! Labels: which consumers meet which providers, and which subjects hold between them.
//!
//! *ACI Fundamentals*, appendix "Label Matching". Labels of groups are matched first (`vzProvLbl`
//! against `vzConsLbl`, by the match type of the provider), then those of subjects
//! (`vzProvSubjLbl`, `vzConsSubjLbl`, by the match type of the subject). The appendix gives no
//! formula but a table; [`matches`] is that table, and its test repeats it line by line.

use std::collections::BTreeSet;

use selvage_model::{Mo, Tree};

use crate::relation::Tie;

type Labels = BTreeSet<String>;

/// Whether the labels of provider and consumer let them meet in this contract.
///
/// Labels stand below the relation, or below the group for all its relations; an inherited relation
/// brings the master's. The provider's match type is the relation's if that has labels of its own or
/// says another than the default, else the group's.
pub(crate) fn let_meet(tree: &Tree, provided: &Tie<'_>, consumed: &Tie<'_>) -> bool {
    let said = provided.relation.get("matchT");
    let labelled = tree.children_of_class(provided.relation.dn(), "vzProvLbl").next().is_some();
    let silent = matches!(said, "" | "AtleastOne") && !labelled;
    let matching = if silent { provided.said_by.get("matchT") } else { said };
    let of_provider = of_tie(tree, provided, "vzProvLbl");
    let of_consumer = of_tie(tree, consumed, "vzConsLbl");
    agree(matching, of_provider, of_consumer)
}

/// Whether a subject of the contract holds between the two.
///
/// A label of the group is to "match either the subject name or the label present under the subject"
/// (class reference of `vzProvSubjLbl`): a subject without labels is labelled by its name.
pub(crate) fn let_use(tree: &Tree, subject: &Mo, provided: &Tie<'_>, consumed: &Tie<'_>) -> bool {
    let side = |class, matching: &str, tie| {
        let (mut own, other) = (labels(tree, subject, class), of_tie(tree, tie, class));
        if let (Some(own), Some(other)) = (&mut own, &other)
            && own.is_empty()
            && !other.is_empty()
        {
            own.insert(subject.get("name").to_owned());
        }
        agree(subject.get(matching), own, other)
    };
    side("vzProvSubjLbl", "provMatchT", provided) && side("vzConsSubjLbl", "consMatchT", consumed)
}

/// What was asked to be matched, or `None` where a label is one that cannot be: a complement
/// (`isComplement`), whose meaning no document states, lets nobody through.
fn agree(matching: &str, of_matcher: Option<Labels>, of_other: Option<Labels>) -> bool {
    match (of_matcher, of_other) {
        (Some(of_matcher), Some(of_other)) => matches(matching, &of_matcher, &of_other),
        _ => false,
    }
}

/// Labels of a group for one contract. A contract within a group is chosen from no others, so that
/// relation has none; a subject that asks for labels then holds for nobody.
fn of_tie(tree: &Tree, tie: &Tie<'_>, class: &'static str) -> Option<Labels> {
    if tie.relation.class().name == "fvRsIntraEpg" {
        return Some(Labels::new());
    }
    let mut all = labels(tree, tie.relation, class)?;
    all.extend(labels(tree, tie.said_by, class)?);
    Some(all)
}

fn labels(tree: &Tree, of: &Mo, class: &'static str) -> Option<Labels> {
    let found = tree.children_of_class(of.dn(), class);
    found
        .map(|label| (label.get("isComplement") != "yes").then(|| label.get("name").to_owned()))
        .collect()
}

/// The appendix's table. `matcher` are the labels of whoever has the match type.
fn matches(matching: &str, matcher: &Labels, other: &Labels) -> bool {
    let both = matcher.intersection(other).count();
    match (matcher.is_empty(), other.is_empty()) {
        (true, true) => true,
        (true, false) => false,
        (false, true) => matches!(matching, "None" | "AtmostOne"),
        (false, false) => match matching {
            "All" => both == matcher.len(),
            "None" => both == 0,
            "AtmostOne" => both == 1,
            "AtleastOne" | "" => both > 0,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, matches};

    /// The table of the appendix. Naive: no labels mean "any", or `AtmostOne` permits none at all.
    #[test]
    fn the_appendix_line_by_line() {
        let labels = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Labels>();
        for (matching, provider, consumer, expected) in [
            ("All", "", "", true),
            ("All", "X Y", "X Y", true),
            ("All", "X Y", "X Z", false),
            ("All", "X Y", "X", false),
            ("All", "X", "X Y", true),
            ("All", "", "X", false),
            ("All", "X", "", false),
            ("AtleastOne", "X Y", "X", true),
            ("AtleastOne", "X Y", "Z", false),
            ("AtleastOne", "X", "", false),
            ("AtleastOne", "", "X", false),
            ("AtleastOne", "", "", true),
            ("None", "X", "Y", true),
            ("None", "X", "X", false),
            ("None", "X Y", "Y", false),
            ("None", "X", "X Y", false),
            ("None", "", "X", false),
            ("None", "X", "", true),
            ("None", "", "", true),
            ("AtmostOne", "X", "X", true),
            ("AtmostOne", "X Y", "X Y", false),
            ("AtmostOne", "X Z", "X Y", true),
            ("AtmostOne", "X", "Y", false),
            ("AtmostOne", "", "X", false),
            ("AtmostOne", "X", "", true),
            ("AtmostOne", "", "", true),
        ] {
            let found = matches(matching, &labels(provider), &labels(consumer));
            assert_eq!(found, expected, "{matching}: [{provider}] with [{consumer}]");
        }
    }
}
