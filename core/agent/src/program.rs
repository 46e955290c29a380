//! The data plane's side: asking for what is desired, and hearing what came of it.

use std::sync::Arc;

use selvage_rules::{Desired, EndpointId, GroupKey, Revision};

use crate::Now;
use crate::advance::raise;
use crate::agent::{Agent, Output, RETRY};
use crate::datapath::{Applied, PlaneError};
use crate::drops::Names;
use crate::endpoint::{Endpoint, Link, Phase};
use crate::local::{Code, Refusal};
use crate::slice::{self, Here};

impl Agent {
    /// Asks the data plane for what is desired, if it is not in force, not asked for already, and not
    /// what was refused a moment ago.
    pub(crate) fn program(&mut self, now: Now) {
        if self.plane.asked.is_some() || !self.slice_known {
            return;
        }
        let can = &self.config.encapsulations;
        let desired =
            slice::desired(&self.slice, &self.elsewhere, can, self.config.node, self.here());
        if self.plane.in_force.as_deref() == Some(&desired) {
            self.plane.refused = None;
            return;
        }
        let refused = self.plane.refused.as_ref();
        if refused.is_some_and(|(what, _, retry)| **what == desired && now < *retry) {
            return;
        }
        let desired = Arc::new(desired);
        self.plane.asked = Some((desired.clone(), now));
        self.output(Output::Apply(desired));
    }

    /// The endpoints of this host that have a link.
    fn here(&self) -> impl Iterator<Item = (EndpointId, Here)> + '_ {
        self.endpoints.values().filter(|e| !e.is_leaving()).filter_map(|endpoint| {
            let Link::Made(ifindex) = endpoint.link else { return None };
            let known = endpoint.is_programmed();
            let identity = known.then(|| endpoint.identity(&self.slice).ok()).flatten();
            Some((endpoint.id.clone(), Here { ifindex, endpoint: identity }))
        })
    }

    pub(crate) fn take_applied(&mut self, result: Result<Applied, PlaneError>, now: Now) {
        let Some((asked, since)) = self.plane.asked.take() else { return };
        match result {
            Ok(applied) => {
                self.plane.took = Some(now.since(since));
                self.plane.unsupported = applied.unsupported;
                self.plane.refused = None;
                self.plane.names = None;
                self.plane.in_force = Some(asked);
                self.raise_enforced(now);
            }
            Err(error) => self.take_refusal(asked, &error, now),
        }
    }

    /// What the data plane refused is asked for again later: without the endpoints that were being
    /// attached, since it may be they that do not fit.
    fn take_refusal(&mut self, asked: Arc<Desired>, error: &PlaneError, now: Now) {
        let mut refusal = Refusal::new(Code::DataPlane, error.to_string());
        if let PlaneError::Unsupported { hint, .. } = error {
            refusal = refusal.hint(hint.clone());
        }
        let attaching = |e: &&Endpoint| {
            e.phase == Phase::Programming
                && asked.locals.get(&e.id).is_some_and(|l| l.endpoint.is_some())
        };
        let ids: Vec<EndpointId> =
            self.endpoints.values().filter(attaching).map(|e| e.id.clone()).collect();
        for id in &ids {
            self.fail(id, refusal.clone(), now);
        }
        self.plane.refused = Some((asked, refusal, now + RETRY));
    }

    /// Brings up the links of the endpoints whose policy has come into force.
    fn raise_enforced(&mut self, now: Now) {
        let Some(in_force) = self.plane.in_force.clone() else { return };
        let mut raised = Vec::new();
        for endpoint in self.endpoints.values_mut().filter(|e| e.phase == Phase::Programming) {
            let local = in_force.locals.get(&endpoint.id);
            if local.is_none_or(|local| local.endpoint.is_none()) {
                continue;
            }
            endpoint.phase = Phase::Raising;
            if let Some(attaching) = &mut endpoint.attaching {
                attaching.timings.enforced_us = now.since(attaching.started);
            }
            raised.push(raise(endpoint));
        }
        for output in raised {
            self.output(output);
        }
    }

    /// Tells the controller which commit is in force, once for each and each session. Revision 0 is
    /// the empty tree, which nobody waits for.
    pub(crate) fn report(&mut self, now: Now) {
        let Some(in_force) = &self.plane.in_force else { return };
        let revision = in_force.revision;
        let current = self.plane.asked.is_none()
            && revision == self.slice.revision
            && revision != Revision::default();
        if self.link_to_controller.connected && current && self.reported != Some(revision) {
            self.reported = Some(revision);
            self.fabric.report(revision, now);
        }
    }

    /// The words for what the data plane drops now.
    pub fn names(&mut self) -> Arc<Names> {
        let desired = self.plane.in_force.clone().unwrap_or_default();
        let elsewhere = self.elsewhere.locations.iter().flat_map(|(scope, locations)| {
            locations.values().map(|location| {
                (GroupKey { scope: *scope, class: location.class }, location.group.clone())
            })
        });
        let (host, names) = (&self.config.host, &self.slice.names);
        let made = self.plane.names.get_or_insert_with(|| {
            Arc::new(Names::new(host, &desired, elsewhere.chain(names.iter().cloned())))
        });
        made.clone()
    }
}
