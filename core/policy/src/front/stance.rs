//! What a group asks for beside the contracts it offers and uses: isolation, contracts inside it,
//! taboo contracts, the preferred group.

use selvage_model::Mo;
use selvage_rules::Action;

use super::Reader;
use super::relation::relations;
use crate::ir::{
    Chosen, Contract, DenyRank, FilterUse, Intent, Marking, Scope, Stance, Subject, Term, Through,
    Way,
};
use crate::problem::Cause;

/// Reads the taboo contracts. One of which a part is missing or broken is absent: what it denies is
/// unknown.
pub(super) fn taboos(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("vzTaboo") {
        let subjects = reader.objects.under(mo.dn(), "vzTSubj");
        let subjects: Option<Vec<Subject>> =
            subjects.into_iter().map(|mo| subject(reader, intent, mo)).collect();
        // Whom it protects is not limited, so the scope says nothing.
        let taboo = subjects.map(|subjects| Contract {
            scope: Scope::Global,
            subjects,
            exceptions: Vec::new(),
            marking: Marking::default(),
        });
        intent.taboos.extend(taboo.map(|taboo| (mo.dn().clone(), taboo)));
    }
}

fn subject(reader: &Reader<'_>, intent: &Intent, mo: &Mo) -> Option<Subject> {
    let mut uses = Vec::new();
    for relation in reader.objects.under(mo.dn(), "vzRsDenyRule") {
        let filter = reader.target(relation)?;
        intent.filters.get(&filter).filter(|filter| !filter.incomplete)?;
        uses.push(FilterUse {
            relation: relation.dn().clone(),
            filter,
            action: Action::Deny,
            log: relation.get("directives").split(',').any(|word| word == "log"),
            rank: DenyRank::Default,
        });
    }
    let terms = vec![Term {
        dn: mo.dn().clone(),
        way: Way::ToProvider,
        uses,
        marking: Marking::default(),
        through: Through::default(),
    }];
    let (chosen, exceptions) = (Chosen::default(), Vec::new());
    Some(Subject { dn: mo.dn().clone(), terms, chosen, exceptions })
}

/// What the group `mo` asks for.
pub(super) fn of(reader: &mut Reader<'_>, intent: &Intent, mo: &Mo) -> Stance {
    let taboos = relations(reader, mo.dn(), "fvRsProtBy");
    let known = |relation: &Mo| {
        let taboo = taboos.iter().find(|taboo| &taboo.dn == relation.dn());
        taboo.is_some_and(|taboo| intent.taboos.contains_key(&taboo.contract))
    };
    let named = reader.objects.under(mo.dn(), "fvRsProtBy");
    let broken: Vec<&Mo> = named.into_iter().filter(|relation| !known(relation)).collect();
    for relation in &broken {
        let text = "what this taboo denies is unknown: nothing reaches the group from others";
        reader.problem(relation.dn(), Cause::BrokenDeny, text.to_owned());
    }
    // A contract that does not exist still says that the group is not open inside.
    let named = reader.objects.under(mo.dn(), "fvRsIntraEpg");
    let names_some = named.iter().any(|relation| relation.get("intent") != "estimate_add");
    let inside = names_some.then(|| relations(reader, mo.dn(), "fvRsIntraEpg"));
    Stance {
        isolated: mo.get("pcEnfPref") == "enforced",
        inside,
        taboos,
        sealed: !broken.is_empty(),
        preferred: mo.get("prefGrMemb") == "include",
    }
}
