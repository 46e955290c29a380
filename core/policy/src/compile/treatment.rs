//! What becomes of the packets that a contract permits: marked, copied, sent through services.

use std::sync::Arc;

use selvage_model::Dn;
use selvage_rules::{Action, Reason, Service, ServiceId, Treatment};

use super::Builder;
use crate::ir::{Contract, Intent, Path, Term};

/// What happens to packets one way.
pub(super) struct Outcome {
    pub action: Action,
    pub reason: Reason,
    pub treatment: Treatment,
}

impl Outcome {
    /// They are dropped.
    pub const DENY: Outcome = Outcome {
        action: Action::Deny,
        reason: Reason::Contract,
        treatment: Treatment { service: None, class: None, dscp: None },
    };
}

/// What a contract does with what it permits one way. `class` is what the groups ask for; the
/// narrower part of a contract that asks for marks has its way.
///
/// `None` if nothing is permitted.
pub(super) fn of_permit(
    builder: &mut Builder<'_>,
    intent: &Intent,
    contract: &Contract,
    term: &Term,
    class: Option<u8>,
    reverse: bool,
) -> Option<Outcome> {
    let through = &term.through;
    let mut treatment = Treatment {
        service: None,
        class: term.marking.class.or(class).or(contract.marking.class),
        dscp: term.marking.dscp.or(contract.marking.dscp),
    };
    let action = match if reverse { &through.to_consumer } else { &through.to_provider } {
        Path::Unknown => return None,
        Path::Dropped => return Some(Outcome::DENY),
        Path::Services(policies) => {
            treatment.service = Some(chain(builder, intent, policies)?);
            Action::Redirect
        }
        Path::Straight => {
            if let Some(device) = &through.copy {
                treatment.service = Some(chain(builder, intent, std::slice::from_ref(device))?);
            }
            Action::Permit
        }
    };
    let reason = if action == Action::Redirect { Reason::Service } else { Reason::Contract };
    Some(Outcome { action, reason, treatment })
}

/// The first of services that follow one another, all of them in the table. `None` if there is none
/// or the numbers have run dry.
fn chain(builder: &mut Builder<'_>, intent: &Intent, names: &[Dn]) -> Option<ServiceId> {
    let mut next = None;
    for name in names.iter().rev() {
        let found = intent.services.get(name)?;
        let service = Arc::new(Service {
            name: name.shared(),
            hops: found.hops.clone(),
            balance: found.balance,
            threshold: found.threshold,
            next,
        });
        let number = builder.numbers.service(&service);
        let id = builder.or_problem(name, number)?;
        builder.table.services.entry(id).or_insert_with(|| Service::clone(&service));
        next = Some(id);
    }
    next
}
