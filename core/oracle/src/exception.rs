//! Exceptions: pairs of groups that a contract or a subject does not hold between.
//!
//! *Basic Configuration Guide*, "Contract and subject exceptions": an exception (`vzException`) of a
//! contract or of a subject has a regular expression for the consumer and one for the provider, and
//! the field of the groups that they are about. Where both match, the contract or the subject is not
//! applied between these two. It denies nothing that another contract permits.

use selvage_model::{Mo, Tree};

use crate::pattern::matches_whole;
use crate::place::tenant;
use crate::relation::Party;

/// Whether `of`, a contract or subject, takes this pair out.
pub(crate) fn takes_out(tree: &Tree, of: &Mo, consumer: &Party<'_>, provider: &Party<'_>) -> bool {
    tree.children_of_class(of.dn(), "vzException").any(|exception| {
        let field = exception.get("field");
        asks_for(exception.get("consRegex"), field, consumer)
            && asks_for(exception.get("provRegex"), field, provider)
    })
}

/// Whether the expression is about this party. No expression, or one that cannot be read, is about
/// everybody: what was to be kept apart is not known, so nobody is joined.
fn asks_for(expression: &str, field: &str, party: &Party<'_>) -> bool {
    let value = match field {
        "EPg" => party.group.get("name").to_owned(),
        "Dn" => party.group.dn().to_string(),
        "Tag" => party.group.get("exceptionTag").to_owned(),
        "Ctx" => party.vrf.get("name").to_owned(),
        "Tenant" => {
            let tenant = tenant(party.group.dn());
            tenant
                .map(|tenant| tenant.rn().trim_start_matches("tn-").to_owned())
                .unwrap_or_default()
        }
        _ => return true,
    };
    // A group without a tag is not one with an empty tag.
    let has = field != "Tag" || !value.is_empty();
    expression.is_empty() || matches_whole(expression, &value).is_none_or(|matches| matches && has)
}
