//! Moving every endpoint as far as it can go.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use selvage_rules::{BridgeDomain, EndpointId, Mac};

use crate::address::{self, Wish};
use crate::agent::{Agent, ControllerState, Output, plan};
use crate::datapath::Port;
use crate::endpoint::{Endpoint, Failing, Link, Phase};
use crate::fabric::{Event, GroupState};
use crate::local::{Code, Refusal};
use crate::slice::{Resolved, Slice};
use crate::{Now, words};

impl Agent {
    /// Brings everything in line with what is known now.
    pub(crate) fn settle(&mut self, now: Now) {
        self.hear(now);
        self.ask_for_policy(now);
        self.take_policy();
        let ids: Vec<EndpointId> = self.endpoints.keys().cloned().collect();
        for id in &ids {
            self.advance(id, now);
        }
        self.ask_for_policy(now);
        self.program(now);
        for id in &ids {
            self.remove(id);
        }
        self.answer_questions(now);
        self.report(now);
        while let Some(output) = self.fabric.poll_output() {
            self.output(output);
        }
    }

    /// What the controller said about the endpoints that were declared.
    fn hear(&mut self, now: Now) {
        while let Some(event) = self.fabric.poll_event() {
            match event {
                Event::Up => {
                    self.link_to_controller =
                        ControllerState { connected: true, since: now, error: None };
                    self.reported = None;
                }
                Event::Down(why) => {
                    if self.link_to_controller.connected && !self.fabric.is_up() {
                        self.link_to_controller =
                            ControllerState { connected: false, since: now, error: None };
                    }
                    self.link_to_controller.error = Some(why);
                }
                Event::Accepted(id) => {
                    if let Some(endpoint) = self.endpoints.get_mut(&id) {
                        endpoint.confirmed = true;
                        endpoint.conflict = None;
                    }
                }
                Event::Refused { id, message } => self.refused(&id, &message, now),
            }
        }
    }

    /// The registry would not take a declaration: something in it belongs to another endpoint. An
    /// OpFlex error has only words to say what, so all that was chosen here is chosen anew; what was
    /// asked for gets one more chance, unless the words name it.
    fn refused(&mut self, id: &EndpointId, message: &str, now: Now) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.confirmed = false;
        let taken = Refusal::new(Code::AddressTaken, message);
        if endpoint.phase != Phase::Declaring {
            endpoint.conflict =
                Some(taken.hint("detach one of the two endpoints, and attach it again"));
            return;
        }
        endpoint.refusals += 1;
        let asked = !endpoint.wish.is_empty() || endpoint.mac_fixed;
        let most = if asked { 1 } else { MOST_REFUSALS };
        if endpoint.refusals > most || names_a_wish(endpoint, message) {
            let hint = "ask for another address, or leave it out to get a free one";
            self.fail(id, taken.hint(hint), now);
            return;
        }
        let chosen = endpoint.addresses.iter().map(|a| a.ip);
        endpoint.refused.extend(chosen.filter(|ip| !endpoint.wish.contains(ip)));
        if !endpoint.mac_fixed {
            endpoint.mac_attempt += 1;
        }
        endpoint.declared = None;
        self.fabric.undeclare(id, now);
        endpoint.phase = Phase::Resolving;
    }

    /// Tells the client which groups are needed, and of which VRFs the other endpoints.
    pub(crate) fn ask_for_policy(&mut self, now: Now) {
        let staying = || self.endpoints.values().filter(|e| !e.is_leaving());
        let asked = self.questions.iter().map(|question| question.group.clone());
        let chosen = staying().filter_map(|e| e.chosen(&self.slice));
        let awaited = self.awaited.iter().cloned();
        let groups =
            staying().map(|e| e.group.clone()).chain(asked).chain(chosen).chain(awaited).collect();
        let vrfs = staying()
            .filter_map(|e| self.slice.group(&e.group))
            .filter_map(|(resolved, _)| self.slice.table.vrfs.get(&resolved.key.scope))
            .map(|vrf| vrf.name.clone());
        let borders = self.config.node.into_iter().flat_map(|node| self.slice.borders(node));
        let border_vrfs = borders.filter_map(|scope| self.slice.table.vrfs.get(&scope));
        let vrfs = vrfs.chain(border_vrfs.map(|vrf| vrf.name.clone())).collect();
        self.fabric.want(groups, vrfs, now);
    }

    /// Takes over the policy that has arrived, if all of it has. A group that was complete before and
    /// is not now holds everything back: half a policy is none. A group that is new waits for
    /// itself only.
    fn take_policy(&mut self) {
        if !self.fabric.take_changed() {
            return;
        }
        let held = |e: &Endpoint| {
            let known = self.slice.groups.contains_key(&e.group) || e.phase == Phase::Settled;
            let state = self.fabric.group(&e.group);
            known && matches!(state, GroupState::Unknown | GroupState::Partial(_))
        };
        let is_border = self.config.node.is_some_and(|n| self.slice.borders(n).next().is_some());
        let border_held = is_border
            && matches!(self.fabric.border(), GroupState::Unknown | GroupState::Partial(_));
        let staying = || self.endpoints.values().filter(|e| !e.is_leaving());
        if !staying().any(held)
            && !border_held
            && (self.link_to_controller.connected || self.slice_known)
            && let Some((slice, awaited)) = self.next_slice()
        {
            self.awaited = awaited;
            self.take_slice(slice);
        }
        let elsewhere = self.fabric.elsewhere(&self.slice, &self.restored);
        let moves = self.elsewhere.moves(&elsewhere);
        if !moves.is_empty() {
            self.elsewhere = Arc::new(elsewhere);
            self.note(moves);
        }
    }

    /// Makes this the policy to be in force, unless it puts an endpoint into a group that is still on
    /// its way: whoever is to be in another group stays where it is until that one is known.
    fn take_slice(&mut self, slice: Slice) {
        let is_coming = |dn: &Arc<str>| {
            matches!(self.fabric.group(dn), GroupState::Unknown | GroupState::Partial(_))
        };
        if self.awaited.iter().any(is_coming) {
            return;
        }
        self.slice_known = true;
        if slice != *self.slice {
            self.slice = Arc::new(slice);
            self.save_policy();
        }
    }

    /// The policy that has arrived for the groups that endpoints are attached to and for those that
    /// selectors put them into, and the latter.
    fn next_slice(&self) -> Option<(Slice, BTreeSet<Arc<str>>)> {
        let staying = || self.endpoints.values().filter(|e| !e.is_leaving());
        let attached: BTreeSet<Arc<str>> = staying().map(|e| e.group.clone()).collect();
        let slice = self.fabric.slice(&attached)?;
        let chosen: BTreeSet<Arc<str>> = staying().filter_map(|e| e.chosen(&slice)).collect();
        if chosen.is_subset(&attached) {
            return Some((slice, chosen));
        }
        let slice = self.fabric.slice(&attached.union(&chosen).cloned().collect())?;
        Some((slice, chosen))
    }

    fn advance(&mut self, id: &EndpointId, now: Now) {
        if let Some(endpoint) = self.endpoints.get(id)
            && endpoint.phase == Phase::Resolving
        {
            match self.resolve(endpoint) {
                Ok(Some((mac_attempt, addresses))) => {
                    self.resolved(id, mac_attempt, addresses, now)
                }
                Ok(None) => {}
                Err(refusal) => self.fail(id, refusal, now),
            }
        }
        self.declare(id, now);
        let connected = self.link_to_controller.connected;
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        if endpoint.phase == Phase::Declaring && (endpoint.confirmed || !connected) {
            if let Some(attaching) = &mut endpoint.attaching {
                attaching.timings.declared_us = now.since(attaching.started);
            }
            if endpoint.attaching.as_ref().is_some_and(|a| a.hold.is_some()) {
                return self.hold(id, now);
            }
            endpoint.phase = Phase::Programming;
        }
    }

    /// The addresses of an endpoint whose policy is complete, and which MAC of those it may choose.
    fn resolve(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<(u32, Vec<crate::local::Address>)>, Refusal> {
        let Some((resolved, bd)) = self.slice.group(&endpoint.group) else {
            return match self.fabric.group(&endpoint.group) {
                GroupState::Absent => Err(no_such_epg(&endpoint.group)),
                // A group that chooses its endpoints; none is attached to it.
                GroupState::Complete if self.slice.has_group(&endpoint.group) => {
                    Err(no_such_epg(&endpoint.group))
                }
                GroupState::Unknown | GroupState::Partial(_) | GroupState::Complete => Ok(None),
            };
        };
        let vrf = self.slice.table.vrfs.get(&resolved.key.scope);
        let located = vrf.is_some_and(|vrf| self.fabric.knows_locations(&vrf.name));
        if self.link_to_controller.connected && !located {
            return Ok(None);
        }
        let taken = self.taken(endpoint, resolved);
        let wish = Wish { ips: &endpoint.wish, from: &endpoint.from };
        let addresses = address::choose(&self.config.host, &endpoint.id, &wish, bd, &taken)
            .map_err(|refusal| self.name_holder(refusal, endpoint, resolved))?;
        let mac_attempt = self.free_mac(endpoint, resolved, bd)?;
        Ok(Some((mac_attempt, addresses)))
    }

    /// Addresses that other endpoints of the VRF have, here or elsewhere, and those that the registry
    /// refused this one.
    fn taken(&self, endpoint: &Endpoint, resolved: Resolved) -> BTreeSet<IpAddr> {
        let here = self.neighbours(endpoint, resolved).flat_map(|e| &e.addresses).map(|a| a.ip);
        let elsewhere = self.elsewhere.addresses(resolved.key.scope);
        here.chain(elsewhere).chain(endpoint.refused.iter().copied()).collect()
    }

    /// Who has the address that was asked for, in the words of the refusal.
    fn name_holder(&self, refusal: Refusal, endpoint: &Endpoint, resolved: Resolved) -> Refusal {
        if refusal.code != Code::AddressTaken {
            return refusal;
        }
        let here = self.neighbours(endpoint, resolved).flat_map(|other| {
            let holder = format!("{}/{}", self.config.host, other.id.0);
            other.addresses.iter().map(move |address| (address.ip, holder.clone()))
        });
        let places = self.elsewhere.locations.get(&resolved.key.scope);
        let elsewhere = places
            .into_iter()
            .flatten()
            .flat_map(|(id, location)| location.ips.iter().map(move |ip| (*ip, id.0.to_string())));
        match here.chain(elsewhere).find(|(ip, _)| endpoint.wish.contains(ip)) {
            Some((ip, holder)) => Refusal {
                message: format!("address `{ip}` belongs to endpoint `{holder}`"),
                ..refusal
            },
            None => refusal,
        }
    }

    /// The other endpoints of this host in the same VRF.
    fn neighbours<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        resolved: Resolved,
    ) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |other| {
            let group = self.slice.group(&other.group);
            other.id != endpoint.id && group.is_some_and(|(r, _)| r.key.scope == resolved.key.scope)
        })
    }

    fn free_mac(
        &self,
        endpoint: &Endpoint,
        resolved: Resolved,
        bd: &BridgeDomain,
    ) -> Result<u32, Refusal> {
        let held = |mac| {
            let here = self.neighbours(endpoint, resolved).any(|e| e.mac == mac);
            here || mac == bd.mac || self.elsewhere.has_mac(resolved.key.scope, resolved.bd, mac)
        };
        if endpoint.mac_fixed {
            if held(endpoint.mac) {
                let message = format!("MAC `{}` belongs to another endpoint", endpoint.mac);
                return Err(Refusal::new(Code::AddressTaken, message)
                    .hint("leave it out to get a free one"));
            }
            return Ok(endpoint.mac_attempt);
        }
        let mut attempts = endpoint.mac_attempt..;
        let free =
            attempts.find(|n| !held(address::choose_mac(&self.config.host, &endpoint.id, *n)));
        Ok(free.unwrap_or(endpoint.mac_attempt))
    }

    fn resolved(
        &mut self,
        id: &EndpointId,
        mac_attempt: u32,
        addresses: Vec<crate::local::Address>,
        now: Now,
    ) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.addresses = addresses;
        if !endpoint.mac_fixed {
            endpoint.mac_attempt = mac_attempt;
            endpoint.mac = address::choose_mac(&self.config.host, id, mac_attempt);
        }
        endpoint.phase = Phase::Declaring;
        if let Some(attaching) = &mut endpoint.attaching {
            attaching.timings.resolved_us = now.since(attaching.started);
        }
    }

    /// Tells the registry what it does not know yet.
    fn declare(&mut self, id: &EndpointId, now: Now) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let chosen = matches!(endpoint.phase, Phase::Declaring | Phase::Reserved);
        if !(chosen || endpoint.is_programmed()) {
            return;
        }
        // A conflict is settled by the registry alone: it is asked again when the address is free.
        if endpoint.conflict.is_some() {
            return;
        }
        let wanted = endpoint.declaration(&self.slice, &self.config);
        if endpoint.declared == wanted || (wanted.is_none() && !self.slice_known) {
            return;
        }
        endpoint.confirmed = false;
        match &wanted {
            Some(location) => self.fabric.declare(location, now),
            None => self.fabric.undeclare(id, now),
        }
        endpoint.declared = wanted;
    }

    /// The attach of this endpoint cannot succeed, or it is to go. Whoever waits for it is told when
    /// nothing is left of it, so that it can be tried again at once.
    pub(crate) fn fail(&mut self, id: &EndpointId, refusal: Refusal, now: Now) {
        let Some(endpoint) = self.endpoints.get_mut(id).filter(|e| !e.is_leaving()) else { return };
        endpoint.phase = Phase::Leaving;
        endpoint.declared = None;
        endpoint.held_until = None;
        if let Some(attaching) = endpoint.attaching.take() {
            let answer_by = now + CLEAN_UP;
            endpoint.failing = Some(Failing { ticket: attaching.ticket, refusal, answer_by });
        }
        self.fabric.undeclare(id, now);
    }

    /// Removes the link of an endpoint that the data plane has forgotten.
    fn remove(&mut self, id: &EndpointId) {
        let programmed = |desired: &selvage_rules::Desired| {
            desired.locals.get(id).is_some_and(|local| local.endpoint.is_some())
        };
        let busy = self.plane.asked.as_ref().is_some_and(|(asked, _)| programmed(asked))
            || self.plane.in_force.as_ref().is_some_and(|desired| programmed(desired));
        let Some(endpoint) = self.endpoints.get_mut(id).filter(|e| e.phase == Phase::Leaving)
        else {
            return;
        };
        let ifindex = match endpoint.link {
            Link::Making => return,
            Link::Made(ifindex) => ifindex,
            Link::Gone => 0,
        };
        if busy && endpoint.link != Link::Gone {
            return;
        }
        endpoint.phase = Phase::Removing;
        let port = Port { ifindex, name: endpoint.host_ifname.clone() };
        self.output(Output::RemoveLink(id.clone(), port));
    }

    pub(crate) fn not_ready(&self, group: &str) -> Refusal {
        let why = self.link_to_controller.error.as_deref().unwrap_or("no session yet");
        let message = format!(
            "group `{}` is not known on this host, and the controller {} cannot be asked: {why}",
            words::epg(group),
            self.config.controllers.join(", ")
        );
        Refusal::new(Code::NotReady, message)
            .hint("is the controller running and reachable? groups in use here still attach")
    }

    pub(crate) fn too_late(&self, endpoint: &Endpoint, now: Now) -> Refusal {
        let waited = endpoint.attaching.as_ref().map_or(0, |a| now.since(a.started) / 1000);
        let missing = match (endpoint.phase, endpoint.link) {
            (Phase::Resolving, _) => match self.fabric.group(&endpoint.group) {
                GroupState::Partial(missing) => missing,
                GroupState::Complete => "the places of other endpoints have not arrived".to_owned(),
                GroupState::Unknown | GroupState::Absent => "its policy has not arrived".to_owned(),
            },
            (Phase::Declaring, _) => "the registry has not answered".to_owned(),
            (Phase::Programming, Link::Making) => "its link is still being made".to_owned(),
            (Phase::Programming, _) => "the data plane has not taken its policy".to_owned(),
            _ => "its link is not up yet".to_owned(),
        };
        let message =
            format!("endpoint `{}` was not ready within {waited} ms: {missing}", endpoint.id.0);
        Refusal::new(Code::Deadline, message)
            .hint("`selvage status` shows what the agent waits for")
    }
}

/// A failed attach is answered after this long, even if what it left is not cleaned up by then.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// After so many refused declarations something else is wrong.
const MOST_REFUSALS: u32 = 64;

/// Whether `message` names an address or the MAC that the endpoint asked for.
fn names_a_wish(endpoint: &Endpoint, message: &str) -> bool {
    let part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    message.split(|c| !part(c)).map(|word| word.trim_end_matches(['.', ':'])).any(|word| {
        let is_mac =
            || word.parse().is_ok_and(|mac: Mac| endpoint.mac_fixed && mac == endpoint.mac);
        word.parse().map_or_else(|_| is_mac(), |ip: IpAddr| endpoint.wish.contains(&ip))
    })
}

pub(crate) fn no_such_epg(dn: &str) -> Refusal {
    let message = format!("no EPG `{}` with a bridge domain and a VRF", words::epg(dn));
    Refusal::new(Code::NoSuchEpg, message).hint("`selvage get fvAEPg` lists the EPGs there are")
}

/// What the endpoint's link is to become.
pub(crate) fn raise(endpoint: &Endpoint) -> Output {
    Output::RaiseLink(plan(endpoint), endpoint.mac, endpoint.addresses.clone())
}
