//! What is asked before there is anything to attach: what a group is, and addresses held for an
//! endpoint that is to come. The first steps are those of every attach.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use selvage_rules::{EndpointId, Prefix};

use crate::advance::no_such_epg;
use crate::agent::{ATTACH_DEADLINE, AWAY_PATIENCE, Agent, attaching};
use crate::endpoint::{Endpoint, Phase};
use crate::fabric::GroupState;
use crate::local::{
    Attach, Code, GroupQuestion, GroupView, Refusal, Reserve, Response, SubnetView,
};
use crate::slice::Slice;
use crate::{Now, Ticket, group_dn, words};

/// A question that waits for what a group is.
#[derive(Debug)]
pub(crate) struct Question {
    pub ticket: Ticket,
    /// DN of the group.
    pub group: Arc<str>,
    started: Now,
    deadline: Now,
}

impl Agent {
    /// A program on the host asks what a group is. The answer comes as [`crate::Output::Answer`].
    pub fn ask_group(&mut self, ticket: Ticket, question: &GroupQuestion, now: Now) {
        match group_dn(&question.epg) {
            Err(refusal) => self.answer(ticket, Response::Error(refusal)),
            Ok(group) => {
                let wait = question.timeout_ms.map_or(ATTACH_DEADLINE, Duration::from_millis);
                let deadline = now + wait;
                self.questions.push(Question { ticket, group, started: now, deadline });
            }
        }
        self.settle(now);
    }

    /// A program on the host asks for addresses ahead of an attach. The answer comes as
    /// [`crate::Output::Answer`].
    pub fn reserve(&mut self, ticket: Ticket, request: Reserve, now: Now) {
        let mut attaching = attaching(ticket, request.timeout_ms, now);
        attaching.hold = Some(Duration::from_millis(request.hold_ms));
        let request = Attach {
            id: request.id,
            epg: request.epg,
            netns: PathBuf::new(),
            ifname: "none".to_owned(),
            ip: request.ip,
            mac: request.mac,
            from: request.from,
            handover: false,
            timeout_ms: None,
        };
        match self.admit(&request) {
            Err(refusal) => self.answer(ticket, Response::Error(refusal)),
            Ok(group) => {
                let endpoint = Endpoint::asked(&self.config.host, request, group, attaching);
                self.endpoints.insert(endpoint.id.clone(), endpoint);
            }
        }
        self.settle(now);
    }

    /// The endpoint that was reserved for this attach, if one was; or why it cannot be attached.
    pub(crate) fn reserved(&mut self, request: &Attach) -> Option<Result<&mut Endpoint, Refusal>> {
        let endpoint = self.endpoints.get_mut(&request.id)?;
        if endpoint.phase != Phase::Reserved {
            return None;
        }
        if let Err(refusal) = crate::agent::check_ifname(&request.ifname) {
            return Some(Err(refusal));
        }
        if group_dn(&request.epg).is_ok_and(|dn| dn != endpoint.group) {
            let message = format!(
                "the addresses of endpoint `{}` are reserved in group `{}`",
                request.id.0,
                words::epg(&endpoint.group)
            );
            return Some(Err(Refusal::new(Code::Exists, message)
                .hint("attach it to that group, or detach it first")));
        }
        match endpoint.conflict.clone() {
            Some(conflict) => Some(Err(conflict)),
            None => Some(Ok(endpoint)),
        }
    }

    /// The registry took the addresses of an endpoint that is to have no link yet.
    pub(crate) fn hold(&mut self, id: &EndpointId, now: Now) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let Some(attaching) = endpoint.attaching.take() else { return };
        endpoint.phase = Phase::Reserved;
        endpoint.held_until = attaching.hold.map(|hold| now + hold);
        if let Some(view) = self.endpoints.get(id).map(|e| self.endpoint_view(e)) {
            self.answer(attaching.ticket, Response::Reserved(Box::new(view)));
        }
    }

    /// Answers the questions about groups that are known by now, or known not to be.
    pub(crate) fn answer_questions(&mut self, now: Now) {
        if self.questions.is_empty() {
            return;
        }
        let (mut answers, mut open) = (Vec::new(), Vec::new());
        for question in std::mem::take(&mut self.questions) {
            match self.group_response(&question.group) {
                Some(response) => answers.push((question.ticket, response)),
                None => open.push(question),
            }
        }
        self.questions = open;
        let settled = !answers.is_empty();
        for (ticket, response) in answers {
            self.answer(ticket, response);
        }
        if settled {
            self.ask_for_policy(now);
        }
    }

    fn group_response(&self, group: &Arc<str>) -> Option<Response> {
        match self.fabric.group(group) {
            GroupState::Absent => Some(Response::Error(no_such_epg(group))),
            GroupState::Complete => {
                let slice = self.fabric.slice(&BTreeSet::from([group.clone()]))?;
                group_view(&slice, group).map(|view| Response::Group(Box::new(view)))
            }
            // Without the controller, what is in use here is still known.
            GroupState::Unknown | GroupState::Partial(_) => {
                group_view(&self.slice, group).map(|view| Response::Group(Box::new(view)))
            }
        }
    }

    pub(crate) fn ahead_deadline(&self) -> Option<(Now, &'static str)> {
        let away = !self.link_to_controller.connected;
        let questions = self.questions.iter().map(|question| {
            let patience = away.then_some(question.started + AWAY_PATIENCE);
            (patience.map_or(question.deadline, |at| at.min(question.deadline)), "a question")
        });
        let held = self.endpoints.values().filter_map(|e| e.held_until);
        questions.chain(held.map(|at| (at, "a reservation ends"))).min()
    }

    /// Gives up questions and reservations that are due.
    pub(crate) fn tick_ahead(&mut self, now: Now) {
        let away = !self.link_to_controller.connected;
        let (mut open, mut late) = (Vec::new(), Vec::new());
        for question in std::mem::take(&mut self.questions) {
            if away && now >= question.started + AWAY_PATIENCE {
                late.push((question.ticket, self.not_ready(&question.group)));
            } else if now >= question.deadline {
                let message = format!(
                    "what group `{}` is was not known within {} ms",
                    words::epg(&question.group),
                    now.since(question.started) / 1000
                );
                late.push((question.ticket, Refusal::new(Code::Deadline, message)));
            } else {
                open.push(question);
            }
        }
        self.questions = open;
        for (ticket, refusal) in late {
            self.answer(ticket, Response::Error(refusal));
        }
        let over = |e: &&Endpoint| e.held_until.is_some_and(|at| now >= at) && !e.is_leaving();
        let ids: Vec<EndpointId> =
            self.endpoints.values().filter(over).map(|e| e.id.clone()).collect();
        for id in ids {
            let message = format!("no attach took over the addresses of endpoint `{}`", id.0);
            self.fail(&id, Refusal::new(Code::Deadline, message), now);
        }
    }
}

fn group_view(slice: &Slice, group: &str) -> Option<GroupView> {
    let (resolved, bd) = slice.group(group)?;
    let vrf = slice.table.vrfs.get(&resolved.key.scope)?;
    let subnets = bd.gateways.iter().filter_map(|gateway| {
        let prefix = Prefix::new(gateway.ip, gateway.prefix_len)?;
        Some(SubnetView { prefix, gateway: gateway.ip, routed: bd.routed })
    });
    Some(GroupView {
        dn: group.to_owned(),
        bridge_domain: bd.name.to_string(),
        vrf: vrf.name.to_string(),
        subnets: subnets.collect(),
    })
}
