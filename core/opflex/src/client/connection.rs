//! One configured peer: waiting, connecting, or up.

use std::time::Duration;

use crate::Time;
use crate::message::{Call, Id, Identity, IdentityReply, Role};
use crate::session::{CloseReason, Limits, Session, SessionEvent, Side};

/// A peer and the connection to it.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    state: State,
    /// Connections that failed or ended since the last one that became ready.
    failures: u32,
    /// Connections made, which number the identity exchanges (observed).
    made: u64,
    /// What the server said of us; goes into later exchanges.
    location: Option<String>,
    server: Option<IdentityReply>,
    /// Numbers of the resolves that a resync still waits for.
    pub(super) resync: Vec<u64>,
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Time,
    },
    Connecting,
    Open(Box<Session>),
    /// Closed from this side; the shell has not said so yet.
    Closing(CloseReason),
}

impl Connection {
    pub(super) fn new(address: &str, now: Time) -> Connection {
        Connection {
            address: address.to_owned(),
            state: State::Waiting { until: now },
            failures: 0,
            made: 0,
            location: None,
            server: None,
            resync: Vec::new(),
        }
    }

    pub(super) fn location(&self) -> Option<&String> {
        self.location.as_ref()
    }

    /// The address, if it is time to connect.
    pub(super) fn connect_due(&mut self, now: Time) -> Option<String> {
        match self.state {
            State::Waiting { until } if now >= until => {
                self.state = State::Connecting;
                Some(self.address.clone())
            }
            _ => None,
        }
    }

    pub(super) fn open(&mut self, identity: Identity, limits: Limits, now: Time) {
        self.made += 1;
        let session = Session::start(Side::Agent(identity), limits, self.made, now);
        self.state = State::Open(Box::new(session));
    }

    pub(super) fn ready(&mut self, server: IdentityReply) {
        self.failures = 0;
        self.location = server.your_location.clone().or(self.location.take());
        self.server = Some(server);
    }

    pub(super) fn receive(&mut self, bytes: &[u8], now: Time) -> Vec<SessionEvent> {
        let State::Open(session) = &mut self.state else { return Vec::new() };
        session.receive(bytes, now)
    }

    /// Does what is due. Says why, if the connection is to be closed.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Option<CloseReason> {
        let State::Open(session) = &mut self.state else { return None };
        match session.handle_timeout(now) {
            Some(SessionEvent::Closed(reason)) => Some(reason),
            _ => None,
        }
    }

    /// Remembers why it ends until the shell says that it ended.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.state = State::Closing(reason);
        self.server = None;
        self.resync.clear();
    }

    pub(super) fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        match &self.state {
            State::Waiting { until } => Some((*until, "reconnection")),
            State::Open(session) => session.poll_timeout(),
            State::Connecting | State::Closing(_) => None,
        }
    }

    /// The stream is gone. Returns why; the next attempt comes after a wait that doubles with each
    /// failure, of which `jitter` takes away up to a half.
    pub(super) fn down(
        &mut self,
        why: &str,
        first: Duration,
        max: Duration,
        jitter: u32,
        now: Time,
    ) -> CloseReason {
        let doubled = first.saturating_mul(1 << self.failures.min(16)).min(max);
        let wait = doubled.mul_f64(1.0 - f64::from(jitter) / f64::from(u32::MAX) / 2.0);
        self.failures = self.failures.saturating_add(1);
        self.server = None;
        self.resync.clear();
        match std::mem::replace(&mut self.state, State::Waiting { until: now + wait }) {
            State::Closing(reason) => reason,
            _ => CloseReason::Stream(why.to_owned()),
        }
    }

    pub(super) fn request(&mut self, id: &Id, call: &Call) {
        if let State::Open(session) = &mut self.state {
            session.request(id, call);
        }
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        match &mut self.state {
            State::Open(session) => session.take_output(),
            _ => Vec::new(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.server.is_some()
    }

    /// Whether the peer is ready, and plays `role`.
    pub(super) fn offers(&self, role: Role) -> bool {
        self.server.as_ref().is_some_and(|server| server.my_role.contains(&role))
    }

    /// Whether the peer is ready, and one of ours.
    pub(super) fn is_selvage(&self) -> bool {
        self.server.as_ref().is_some_and(IdentityReply::is_selvage)
    }
}
