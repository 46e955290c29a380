//! Which groups an exception of a contract is about.
//!
//! An expression has to match all of the text (the configuration guide writes `EPgPa.*` for names
//! that begin so).

use regex_lite::Regex;
use selvage_model::Dn;

use crate::ir::{Exception, Field, Intent, Pattern};

/// An exception whose expressions are made ready.
pub(super) struct Ready<'a> {
    field: Field,
    provider: Option<Regex>,
    consumer: Option<Regex>,
    intent: &'a Intent,
}

/// What an exception may look at of a group.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub group: &'a Dn,
    pub tenant: &'a Dn,
    pub vrf: &'a Dn,
}

/// The expression `text` as it is applied: to the whole of what it looks at. `None` if it is none.
pub(crate) fn expression(text: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{text})$")).ok()
}

impl<'a> Ready<'a> {
    pub fn new(exception: &Exception, intent: &'a Intent) -> Ready<'a> {
        let ready = |pattern: &Pattern| match pattern {
            Pattern::Any => None,
            Pattern::Expression(text) => expression(text),
        };
        Ready {
            field: exception.field,
            provider: ready(&exception.provider),
            consumer: ready(&exception.consumer),
            intent,
        }
    }

    /// Whether it is about this provider, or this consumer.
    pub fn is_about(&self, names: Names<'_>, provides: bool) -> bool {
        let pattern = if provides { &self.provider } else { &self.consumer };
        // Without an expression it is about everybody, so that the contract is closed, not open.
        let Some(pattern) = pattern else { return true };
        match self.field {
            Field::Tenant => pattern.is_match(name(names.tenant)),
            Field::Vrf => pattern.is_match(name(names.vrf)),
            Field::Group => pattern.is_match(name(names.group)),
            Field::Dn => pattern.is_match(names.group.as_str()),
            Field::Tag => {
                let tags = self.intent.tags.get(names.group).into_iter().flatten();
                tags.into_iter().any(|tag| pattern.is_match(tag))
            }
        }
    }
}

/// The name in the last part of a DN.
fn name(dn: &Dn) -> &str {
    dn.rn().split_once('-').map_or(dn.rn(), |(_, name)| name)
}
