//! Contracts with their subjects, and filters with their entries.

use std::collections::BTreeSet;

use selvage_model::{Dn, Mo};
use selvage_rules::Action;

use super::qos::marking;
use super::relation::{labels, match_type};
use super::{Reader, entry, exception, service};
use crate::ir::{
    Chosen, Contract, DenyRank, Entry, Filter, FilterUse, Intent, Label, Marking, MatchType, Scope,
    Subject, Term, Way,
};
use crate::problem::Cause;

/// Parts of a subject that hold filters for one direction, and how each names its service graph.
const TERMS: &[(&str, &str, Way)] = &[
    ("vzInTerm", "vzRsInTermGraphAtt", Way::ToProvider),
    ("vzOutTerm", "vzRsOutTermGraphAtt", Way::ToConsumer),
];

pub(super) fn filters(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("vzFilter") {
        let mut filter = Filter { entries: Vec::new(), incomplete: false };
        for mo in reader.objects.under(mo.dn(), "vzEntry") {
            match entry::matches(mo) {
                Ok(matches) => filter.entries.push(Entry {
                    dn: mo.dn().clone(),
                    matches,
                    stateful: mo.get("stateful") == "yes",
                }),
                Err(why) => {
                    filter.incomplete = true;
                    let text = format!("{why}: the entry matches nothing");
                    reader.problem(mo.dn(), Cause::ContradictoryEntry, text);
                }
            }
        }
        intent.filters.insert(mo.dn().clone(), filter);
    }
}

pub(super) fn contracts(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("vzBrCP") {
        let subjects = reader.objects.under(mo.dn(), "vzSubj");
        let contract = mo;
        let subjects =
            subjects.into_iter().map(|mo| subject(reader, intent, contract, mo)).collect();
        let exceptions = exception::of(reader, mo.dn());
        let contract =
            Contract { scope: scope(mo.get("scope")), subjects, exceptions, marking: marking(mo) };
        intent.contracts.insert(mo.dn().clone(), contract);
    }
}

fn scope(word: &str) -> Scope {
    match word {
        "application-profile" => Scope::Profile,
        "tenant" => Scope::Tenant,
        "global" => Scope::Global,
        _ => Scope::Vrf,
    }
}

/// The subject `mo`. If a part of it denies and is broken, what it was to deny is unknown, so
/// nothing of it may permit; what else it denies, it still does, since another subject may permit
/// just that.
fn subject(reader: &mut Reader<'_>, intent: &mut Intent, contract: &Mo, mo: &Mo) -> Subject {
    let mut broken = Vec::new();
    let uses_here = uses(reader, intent, mo.dn(), "vzRsSubjFiltAtt", &mut broken);
    let whole = [(mo.dn(), "vzRsSubjGraphAtt"), (contract.dn(), "vzRsGraphAtt")];
    let mut terms = vec![Term {
        dn: mo.dn().clone(),
        way: way(mo),
        marking: marking(mo),
        through: service::through(reader, intent, contract, &whole),
        uses: uses_here,
    }];
    for (class, graph, way) in TERMS {
        for term in reader.objects.under(mo.dn(), class) {
            let uses = uses(reader, intent, term.dn(), "vzRsFiltAtt", &mut broken);
            let [subject, contract_wide] = whole;
            let graphs = [(term.dn(), *graph), subject, contract_wide];
            let (own, of_subject) = (marking(term), marking(mo));
            terms.push(Term {
                dn: term.dn().clone(),
                way: *way,
                uses,
                marking: Marking {
                    class: own.class.or(of_subject.class),
                    dscp: own.dscp.or(of_subject.dscp),
                },
                through: service::through(reader, intent, contract, &graphs),
            });
        }
    }
    if !broken.is_empty() {
        for relation in broken {
            let text = "what this denies is unknown: the whole subject permits nothing";
            reader.problem(&relation, Cause::BrokenDeny, text.to_owned());
        }
        for term in &mut terms {
            term.uses.retain(|used| used.action == Action::Deny);
        }
    }
    terms.retain(|term| !term.uses.is_empty());
    let chosen = Chosen {
        by_provider: choosers(reader, mo, "vzProvSubjLbl", "provMatchT"),
        by_consumer: choosers(reader, mo, "vzConsSubjLbl", "consMatchT"),
    };
    Subject { dn: mo.dn().clone(), terms, chosen, exceptions: exception::of(reader, mo.dn()) }
}

fn choosers(
    reader: &Reader<'_>,
    subject: &Mo,
    class: &str,
    kind: &str,
) -> (BTreeSet<Label>, MatchType) {
    (labels(reader, subject.dn(), class).collect(), match_type(subject.get(kind)))
}

fn way(mo: &Mo) -> Way {
    if mo.get("applyBothDirections") == "no" {
        Way::ToProvider
    } else if mo.get("revFltPorts") == "no" {
        Way::BothAsWritten
    } else {
        Way::BothReversed
    }
}

fn uses(
    reader: &mut Reader<'_>,
    intent: &Intent,
    of: &Dn,
    class: &str,
    broken: &mut Vec<Dn>,
) -> Vec<FilterUse> {
    let mut found = Vec::new();
    for mo in reader.objects.under(of, class) {
        let action = if mo.get("action") == "deny" { Action::Deny } else { Action::Permit };
        // A filter that does not exist is the relation's own fault, which the tree raises.
        let Some(filter) = reader.target(mo) else {
            if action == Action::Deny {
                broken.push(mo.dn().clone());
            }
            continue;
        };
        if action == Action::Deny && intent.filters.get(&filter).is_none_or(|f| f.incomplete) {
            broken.push(mo.dn().clone());
        }
        found.push(FilterUse {
            relation: mo.dn().clone(),
            filter,
            action,
            log: mo.get("directives").split(',').any(|word| word == "log"),
            rank: rank(mo.get("priorityOverride")),
        });
    }
    found
}

fn rank(word: &str) -> DenyRank {
    match word {
        "level1" => DenyRank::Lowest,
        "level2" => DenyRank::Medium,
        "level3" => DenyRank::Highest,
        _ => DenyRank::Default,
    }
}
