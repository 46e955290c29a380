//! Which group an endpoint is in, and why: one function of the compiled policy and what is known of the
//! endpoint.
//!
//! Whoever asks (a trace, a batch of flows, a list of endpoints) gets the answer that hosts act by: the
//! first of the compiled arms that holds, in [`selvage_rules::Table::arms`].

mod facts;

use selvage_model::Dn;
use selvage_rules::{Attachment, Facts};
use serde::Serialize;

use crate::compile::Compiled;
use crate::problem::dn_as_text;

pub use facts::facts;

/// The group of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// DN of the EPG it is attached to, whose bridge domain it has.
    #[serde(serialize_with = "dn_as_text")]
    pub attached: Dn,
    /// DN of the group whose contracts count for it; `None` is quarantine.
    #[serde(serialize_with = "maybe_dn")]
    pub group: Option<Dn>,
    /// DN of the object that chose that group; `None` if it is the one it is attached to.
    #[serde(serialize_with = "maybe_dn")]
    pub cause: Option<Dn>,
}

/// The group of an endpoint that is attached to `attached`.
pub fn of(compiled: &Compiled, attached: &Dn, facts: &Facts) -> Membership {
    let plain = |group| Membership { attached: attached.clone(), group, cause: None };
    // Nobody is attached to a group without a bridge domain.
    let epg = compiled.intent.groups.get(attached);
    let Some(bd) = epg.and_then(|group| group.bd.as_ref()) else { return plain(None) };
    let at = Attachment { group: attached.as_str(), bridge_domain: bd.as_str() };
    let Some(arm) = compiled.table.chosen(at, facts) else { return plain(Some(attached.clone())) };
    let group = arm.group.as_ref().and_then(|group| group.parse().ok());
    Membership { attached: attached.clone(), group, cause: arm.cause.parse().ok() }
}

fn maybe_dn<S: serde::Serializer>(dn: &Option<Dn>, serializer: S) -> Result<S::Ok, S::Error> {
    match dn {
        Some(dn) => serializer.serialize_some(dn.as_str()),
        None => serializer.serialize_none(),
    }
}
