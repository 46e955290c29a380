//! Finding what somebody means by a name: a group or an endpoint.

use std::net::IpAddr;

use selvage_model::{Dn, Tree};
use selvage_rules::Mac;

use crate::front::{self, Endpoint};

/// How many candidates an error lists.
const SHOWN: usize = 5;

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Any endpoint of a group.
    Group(Dn),
    /// One endpoint.
    Endpoint(Endpoint),
}

impl Place {
    /// DN of the group.
    pub fn group(&self) -> &Dn {
        match self {
            Place::Group(dn) => dn,
            Place::Endpoint(endpoint) => &endpoint.group,
        }
    }
}

/// Text that names no end of a flow, or several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing has that name.
    #[error(
        "no group or endpoint is called `{text}`; write TENANT/APP/EPG, a DN, or an endpoint's \
         name, MAC or IP address"
    )]
    Unknown {
        /// The text.
        text: String,
    },
    /// Several have it.
    #[error("`{text}` may be {}; write one of these in full", list(candidates))]
    Ambiguous {
        /// The text.
        text: String,
        /// DNs of all it may be.
        candidates: Vec<Dn>,
    },
}

/// What `text` names: a group by DN, by `TENANT/APP/EPG` or by its own name if no other group has
/// it; an endpoint by DN, name, MAC or IP address. A group is preferred to an endpoint of the same
/// name.
///
/// # Errors
/// When nothing has that name, or several things have.
pub fn find(tree: &Tree, text: &str) -> Result<Place, FindError> {
    let groups = front::groups_called(tree, text);
    if !groups.is_empty() {
        return only(text, groups, |dn| dn.clone()).map(Place::Group);
    }
    let (ip, mac) = (text.parse::<IpAddr>().ok(), text.parse::<Mac>().ok());
    let meant: Vec<Endpoint> = front::endpoints(tree)
        .filter(|e| {
            e.dn.as_str() == text
                || e.name == text
                || mac.is_some() && e.mac == mac
                || ip.is_some_and(|ip| e.ips.contains(&ip))
        })
        .collect();
    only(text, meant, |endpoint| endpoint.dn.clone()).map(Place::Endpoint)
}

fn only<T>(text: &str, mut found: Vec<T>, dn: impl Fn(&T) -> Dn) -> Result<T, FindError> {
    if found.len() > 1 {
        let candidates = found.iter().map(dn).collect();
        return Err(FindError::Ambiguous { text: text.to_owned(), candidates });
    }
    found.pop().ok_or_else(|| FindError::Unknown { text: text.to_owned() })
}

fn list(candidates: &[Dn]) -> String {
    let shown: Vec<String> = candidates.iter().take(SHOWN).map(|dn| format!("`{dn}`")).collect();
    let more = candidates.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" or {more} others") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
