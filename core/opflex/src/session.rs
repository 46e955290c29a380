//! One connection, from its first byte to the reason it ended.
//!
//! ```text
//!            start: echo (and an agent's send_identity) go out
//!               |
//!         +-----v-----+  identity exchanged   +-------+
//!         | Handshake |---------------------->| Ready |
//!         +-----+-----+                       +---+---+
//!               | 45 s, or any other request      | 120 s of silence
//!               |                                 | a frame that is no message
//!               +---------------+-----------------+
//!                               v
//!                            Closed
//! ```
//!
//! The same machine plays both roles; only who introduces itself first, and which requests are
//! served, differ. Echo, unknown methods and requests for the other role never reach the caller.

use std::time::Duration;

use serde_json::Value as Json;

use crate::Time;
use crate::frame::{
    AGENT_FRAME_LIMIT, FrameTooLong, Framer, SERVER_FRAME_LIMIT, STRANGER_FRAME_LIMIT,
};
use crate::message::{
    BadCall, Call, Code, Id, Identity, IdentityReply, Message, NotAMessage, Outcome, Refusal,
    Reply, decode, encode_outcome,
};

/// What a session grants its peer. The defaults are those of the reference implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the connection to the end of the identity exchange.
    pub handshake: Duration,
    /// From the connection to the second echo.
    pub first_echo: Duration,
    /// Between echoes after that.
    pub echo: Duration,
    /// Without a byte from the peer.
    pub silence: Duration,
    /// The longest frame, in bytes, after the identity exchange. Before it,
    /// [`STRANGER_FRAME_LIMIT`] holds.
    pub frame: usize,
}

impl Limits {
    /// For the agent's end of a connection.
    pub const AGENT: Limits = Limits {
        handshake: Duration::from_secs(45),
        first_echo: Duration::from_secs(10),
        echo: Duration::from_secs(15),
        silence: Duration::from_secs(120),
        frame: SERVER_FRAME_LIMIT,
    };
    /// For the controller's end.
    pub const SERVER: Limits = Limits { frame: AGENT_FRAME_LIMIT, ..Limits::AGENT };
}

/// Who this end is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The agent, which introduces itself at once.
    Agent(Identity),
    /// The controller, which answers with this.
    Server(IdentityReply),
}

/// Who the other end turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// An agent.
    Agent(Identity),
    /// A controller.
    Server(IdentityReply),
}

/// What the caller has to act upon.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// The identity exchange is over.
    Ready(Peer),
    /// A request of the kind this role serves. It is answered with [`Session::respond`].
    Request {
        /// For the answer.
        id: Id,
        /// What is asked.
        call: Call,
    },
    /// An answer to a request of ours, or to none.
    Response {
        /// The id of the request.
        id: Id,
        /// The answer.
        outcome: Outcome,
    },
    /// The connection is to be closed, after what [`Session::take_output`] still holds is sent.
    Closed(CloseReason),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// A frame beyond the limit.
    #[error(transparent)]
    Frame(#[from] FrameTooLong),
    /// A frame that is no message.
    #[error(transparent)]
    Message(#[from] NotAMessage),
    /// The identity exchange took too long.
    #[error("the peer did not finish the identity exchange in {} s", .0.as_secs())]
    Handshake(Duration),
    /// Nothing came from the peer.
    #[error("the peer was silent for {} s", .0.as_secs())]
    Silence(Duration),
    /// The server refused our identity.
    #[error("the server refused the identity: {0}")]
    Refused(Refusal),
    /// A request that only follows the identity exchange, or a second exchange.
    #[error("`{0}` came out of turn")]
    OutOfTurn(&'static str),
    /// Another connection of the same agent took over.
    #[error("the agent connected again")]
    Superseded,
    /// The stream ended or broke; the text is the caller's.
    #[error("the connection broke: {0}")]
    Stream(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Handshake,
    Ready,
    Closed,
}

/// The state machine of one connection.
#[derive(Debug)]
pub struct Session {
    side: Side,
    limits: Limits,
    state: State,
    framer: Framer,
    output: Vec<u8>,
    opened: Time,
    heard: Time,
    next_echo: Time,
    echoes: u64,
}

impl Session {
    /// A connection that was just made. The first frames wait in [`Session::take_output`].
    ///
    /// `identity_number` becomes part of the id of `send_identity`: how many connections an agent
    /// has made to this peer, from 1. Servers ignore it.
    pub fn start(side: Side, limits: Limits, identity_number: u64, now: Time) -> Session {
        let mut session = Session {
            side,
            limits,
            state: State::Handshake,
            framer: Framer::new(STRANGER_FRAME_LIMIT),
            output: Vec::new(),
            opened: now,
            heard: now,
            next_echo: now + limits.first_echo,
            echoes: 0,
        };
        session.echo(now);
        if let Side::Agent(identity) = &session.side {
            let call = Call::SendIdentity(identity.clone());
            session.request(&Id::new(call.method(), identity_number), &call);
        }
        session
    }

    /// Takes bytes of the stream, however they are cut.
    pub fn receive(&mut self, bytes: &[u8], now: Time) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        if self.state == State::Closed {
            return events;
        }
        self.heard = now;
        self.framer.push(bytes);
        while self.state != State::Closed {
            let message = match self.framer.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => decode(frame).map_err(CloseReason::from),
                Err(too_long) => Err(too_long.into()),
            };
            match message {
                Ok(message) => events.extend(self.take(message)),
                Err(reason) => events.push(self.close(reason)),
            }
        }
        events
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) -> Option<SessionEvent> {
        if self.state == State::Closed {
            return None;
        }
        if self.state == State::Handshake && now >= self.opened + self.limits.handshake {
            return Some(self.close(CloseReason::Handshake(self.limits.handshake)));
        }
        if now >= self.heard + self.limits.silence {
            return Some(self.close(CloseReason::Silence(self.limits.silence)));
        }
        if now >= self.next_echo {
            self.next_echo = now + self.limits.echo;
            self.echo(now);
        }
        None
    }

    /// When [`Session::handle_timeout`] is to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        if self.state == State::Closed {
            return None;
        }
        let mut next = (self.next_echo, "keepalive echo");
        let mut earlier = |time: Time, why| {
            if time < next.0 {
                next = (time, why);
            }
        };
        earlier(self.heard + self.limits.silence, "silence of the peer");
        if self.state == State::Handshake {
            earlier(self.opened + self.limits.handshake, "handshake");
        }
        Some(next)
    }

    /// Sends a request.
    pub fn request(&mut self, id: &Id, call: &Call) {
        if self.state != State::Closed {
            self.output.extend(call.encode(id));
        }
    }

    /// Answers a request.
    pub fn respond(&mut self, id: &Id, outcome: &Outcome) {
        if self.state != State::Closed {
            self.output.extend(encode_outcome(id, outcome));
        }
    }

    /// The bytes to send, in order.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether the identity exchange is over and the connection still good.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Ends the connection from this side.
    pub fn close(&mut self, reason: CloseReason) -> SessionEvent {
        self.state = State::Closed;
        self.framer = Framer::new(0);
        SessionEvent::Closed(reason)
    }

    fn take(&mut self, message: Message) -> Option<SessionEvent> {
        match message {
            Message::Request { id, call } => match call {
                Ok(call) => self.take_call(id, call),
                Err(BadCall::UnknownMethod(_)) => None,
                Err(BadCall::Refused(refusal)) => {
                    self.respond(&id, &Err(refusal));
                    None
                }
            },
            Message::Response { id, outcome } => self.take_response(id, outcome),
        }
    }

    fn take_call(&mut self, id: Id, call: Call) -> Option<SessionEvent> {
        match (&self.side, &self.state, call) {
            (_, _, Call::Echo(params)) => {
                self.respond(&id, &Ok(Reply::Echo(Json::Array(params))));
                None
            }
            (Side::Server(reply), State::Handshake, Call::SendIdentity(identity)) => {
                let reply = Ok(Reply::Identity(reply.clone()));
                self.respond(&id, &reply);
                Some(self.ready(Peer::Agent(identity)))
            }
            (side, State::Ready, call) if side.serves(&call) => {
                Some(SessionEvent::Request { id, call })
            }
            (Side::Agent(_), State::Ready, _) => {
                self.respond(&id, &Err(Refusal::unsupported()));
                None
            }
            (Side::Server(_), State::Ready, call) if !matches!(call, Call::SendIdentity(_)) => {
                self.respond(&id, &Err(Refusal::unsupported()));
                None
            }
            (_, _, call) => {
                let message = format!("{} came out of turn", call.method());
                self.respond(&id, &Err(Refusal { code: Code::State, message }));
                Some(self.close(CloseReason::OutOfTurn(call.method())))
            }
        }
    }

    fn take_response(&mut self, id: Id, outcome: Outcome) -> Option<SessionEvent> {
        match (&self.side, &self.state, outcome) {
            (_, _, Ok(Reply::Echo(_))) => None,
            (Side::Agent(_), State::Handshake, Ok(Reply::Identity(reply))) => {
                Some(self.ready(Peer::Server(reply)))
            }
            (Side::Agent(_), State::Handshake, Err(refusal))
                if id.method() == Some("send_identity") =>
            {
                Some(self.close(CloseReason::Refused(refusal)))
            }
            (_, State::Ready, outcome) => Some(SessionEvent::Response { id, outcome }),
            _ => None,
        }
    }

    fn ready(&mut self, peer: Peer) -> SessionEvent {
        self.state = State::Ready;
        self.framer.set_limit(self.limits.frame);
        SessionEvent::Ready(peer)
    }

    fn echo(&mut self, now: Time) {
        let call = Call::Echo(vec![now.0.into()]);
        let id = Id::new(call.method(), self.echoes);
        self.echoes += 1;
        self.request(&id, &call);
    }
}

impl Side {
    /// Whether this role serves `call`, once identities are exchanged.
    fn serves(&self, call: &Call) -> bool {
        match (self, call) {
            (_, Call::SendIdentity(_) | Call::Echo(_)) => false,
            (Side::Agent(_), call) => {
                matches!(call, Call::PolicyUpdate(_) | Call::EndpointUpdate(_))
            }
            (Side::Server(_), call) => {
                !matches!(call, Call::PolicyUpdate(_) | Call::EndpointUpdate(_))
            }
        }
    }
}
