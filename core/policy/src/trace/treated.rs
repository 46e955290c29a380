//! What else happens to packets that pass: services on their way, classes, marks, rates.

use std::sync::Arc;

use selvage_rules::{Action, GroupKey, MarkField, Packet, Quality, Rule, Table};
use serde::{Deserialize, Serialize};

/// How a packet that passes is treated. What nobody asks for is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Treated {
    /// DNs of the redirect policies it is sent through, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Arc<str>>,
    /// DN of the device that gets a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<Arc<str>>,
    /// Its class of service, 1 to 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<u8>,
    /// The code point it is marked with, 0 to 63.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u8>,
    /// DN of the policy that limits its rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policing: Option<Arc<str>>,
}

impl Treated {
    /// Whether nobody asks for anything.
    pub fn is_nothing(&self) -> bool {
        *self == Treated::default()
    }
}

/// What happens to a packet from the group `from` that `rule` lets through. What the rule asks for
/// comes before what the sender's group does.
pub(crate) fn treated(table: &Table, from: GroupKey, rule: &Rule, packet: &Packet) -> Treated {
    if rule.action == Action::Deny {
        return Treated::default();
    }
    let mut services = Vec::new();
    let mut at = rule.treatment.service.and_then(|id| table.services.get(&id));
    while let Some(service) = at {
        services.push(service.name.clone());
        at = service.next.and_then(|id| table.services.get(&id));
    }
    let copy = if rule.action == Action::Permit { services.pop() } else { None };
    let quality = table.qualities.get(&from);
    let (class, dscp) = quality.map(|quality| asked(quality, packet)).unwrap_or_default();
    Treated {
        services,
        copy,
        class: rule.treatment.class.or(class),
        dscp: rule.treatment.dscp.or(dscp),
        policing: quality.and_then(|q| q.policing.as_ref()).map(|rate| rate.name.clone()),
    }
}

/// The class and the code point that a group's own policy gives a packet of it.
fn asked(quality: &Quality, packet: &Packet) -> (Option<u8>, Option<u8>) {
    let fits = |mark: &&selvage_rules::Mark| {
        mark.field == MarkField::Dscp
            && packet.ether.is_ip()
            && (mark.first..=mark.last).contains(&packet.dscp)
    };
    let mark = quality.marks.iter().find(fits);
    (mark.and_then(|mark| mark.class).or(quality.class), mark.and_then(|mark| mark.dscp))
}

/// The same in words, as the end of a sentence; empty if there is nothing to say.
pub(crate) fn words(treated: &Treated) -> String {
    let mut words = String::new();
    let name = |dn: &Arc<str>| {
        let rn = dn.rsplit_once('/').map_or("", |(_, rn)| rn);
        rn.split_once('-').map_or(rn, |(_, name)| name).to_owned()
    };
    if !treated.services.is_empty() {
        let names: Vec<String> = treated.services.iter().map(name).collect();
        words += &format!(", through {}", names.join(" and "));
    }
    if let Some(copy) = &treated.copy {
        words += &format!(", copied to {}", name(copy));
    }
    if let Some(class) = treated.class {
        words += &format!(", class level{class}");
    }
    if let Some(dscp) = treated.dscp {
        words += &format!(", marked with DSCP {dscp}");
    }
    if let Some(policing) = &treated.policing {
        words += &format!(", at most at the rate of {}", name(policing));
    }
    words
}
