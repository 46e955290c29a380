//! When the labels of two sides agree.
//!
//! The outcomes are those of ACI's table (Fundamentals guide, appendix *Label Matching*). Where the
//! classes' own descriptions say more would pass (a consumer without labels consumes of every
//! provider), the table holds. A complemented label is one that the other side must not have where
//! all must agree; where any may, it counts as if it were not there.

use std::collections::BTreeSet;

use crate::ir::{Choice, Label, MatchType, Subject};

/// Whether `first` and `second` agree. The match type is of the first side: the provider, or the
/// subject that a group chooses.
pub(super) fn agree(kind: MatchType, first: &BTreeSet<Label>, second: &BTreeSet<Label>) -> bool {
    let (ours, not_ours) = names(first);
    let (theirs, not_theirs) = names(second);
    let common = ours.intersection(&theirs).count();
    if kind == MatchType::All {
        let refused = !not_ours.is_disjoint(&theirs) || !not_theirs.is_disjoint(&ours);
        let lacks = first.is_empty() != second.is_empty() && (first.is_empty() || !ours.is_empty());
        return !refused && !lacks && common == ours.len();
    }
    let neither = ours.is_empty() && theirs.is_empty();
    match kind {
        MatchType::All | MatchType::AtleastOne => neither || common > 0,
        MatchType::AtmostOne => neither || common == 1,
        MatchType::None => neither || common == 0 && !ours.is_empty(),
    }
}

/// The words that are asked for, and those that are asked not to be there.
fn names(labels: &BTreeSet<Label>) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let of = |complement| {
        let fitting = labels.iter().filter(move |label| label.complement == complement);
        fitting.map(|label| &*label.name).collect()
    };
    (of(false), of(true))
}

/// Whether a provider and a consumer of a contract choose each other.
pub(super) fn pair(provider: &Choice, consumer: &Choice) -> bool {
    agree(provider.match_type, &provider.labels, &consumer.labels)
}

/// Whether both choose `subject`.
pub(super) fn subject(subject: &Subject, provider: &Choice, consumer: &Choice) -> bool {
    let name = subject.dn.rn().strip_prefix("subj-").unwrap_or_default();
    let chooses = |(labels, kind): &(BTreeSet<Label>, MatchType), chosen: &BTreeSet<Label>| {
        if labels.is_empty() && !chosen.is_empty() {
            // A subject without labels goes by its name.
            let own = BTreeSet::from([Label { name: name.into(), complement: false }]);
            return agree(*kind, &own, chosen);
        }
        agree(*kind, labels, chosen)
    };
    chooses(&subject.chosen.by_provider, &provider.subject_labels)
        && chooses(&subject.chosen.by_consumer, &consumer.subject_labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeSet<Label> {
        let label = |word: &str| Label {
            name: word.trim_start_matches('!').into(),
            complement: word.starts_with('!'),
        };
        text.split_whitespace().map(label).collect()
    }

    #[track_caller]
    fn check(kind: MatchType, cases: &[(&str, &str, bool)]) {
        for (first, second, expected) in cases {
            let got = agree(kind, &labels(first), &labels(second));
            assert_eq!(got, *expected, "{kind:?} of `{first}` and `{second}`");
        }
    }

    #[test]
    fn labels_agree_as_in_the_table_of_the_fundamentals_guide() {
        check(
            MatchType::All,
            &[
                ("", "", true),
                ("x y", "x y", true),
                ("x y", "x z", false),
                ("x y", "x", false),
                ("x", "x y", true),
                ("", "x", false),
                ("x", "", false),
            ],
        );
        check(
            MatchType::AtleastOne,
            &[
                ("x y", "x", true),
                ("x y", "z", false),
                ("x", "", false),
                ("", "x", false),
                ("", "", true),
            ],
        );
        check(
            MatchType::None,
            &[
                ("x", "y", true),
                ("x", "x", false),
                ("x y", "y", false),
                ("x", "x y", false),
                ("", "x", false),
                ("x", "", true),
                ("", "", true),
            ],
        );
        check(
            MatchType::AtmostOne,
            &[
                ("x", "x", true),
                ("x y", "x y", false),
                ("x z", "x y", true),
                ("x", "y", false),
                ("", "x", false),
                ("x", "", false),
                ("", "", true),
            ],
        );
    }

    #[test]
    fn a_complemented_label_asks_for_its_absence_where_all_must_agree() {
        check(
            MatchType::All,
            &[
                ("!x", "y", true),
                ("!x", "x", false),
                ("!x", "", true),
                ("y !x", "y", true),
                ("y !x", "x y", false),
                ("x", "x !y", true),
                ("x", "!x", false),
                ("", "!x", false),
            ],
        );
        check(
            MatchType::AtleastOne,
            &[("!x", "x", false), ("!x", "y", false), ("!x y", "y", true)],
        );
    }
}
