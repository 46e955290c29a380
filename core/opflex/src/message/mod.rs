//! Requests, results and errors, typed at the border.
//!
//! ```text
//! request  {"id":["policy_resolve",9223372036854775808],"method":"policy_resolve","params":[..]}
//! result   {"id":<as in the request>,"result":..}
//! error    {"id":<as in the request>,"error":{"code":"ERROR","message":".."}}
//! ```
//!
//! There is no `jsonrpc` member. Facts about the wire were observed on the public C++
//! implementation; where it is lenient, so is this.

mod decode;
mod encode;
mod identity;

use std::fmt;

use serde_json::Value as Json;

pub use decode::{NotAMessage, decode};
pub use encode::encode_outcome;
pub(crate) use identity::feature_data;
pub use identity::{FEATURE, Identity, IdentityReply, Listed, Role};

use crate::mo::{Object, Reference};

/// What a request and its answer have in common.
///
/// OpFlex peers use `[method, number]`, with numbers up to 2^64-1 (an agent starts at 2^63). Any
/// JSON value that a peer's request carries comes back verbatim in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(pub(crate) Json);

impl Id {
    /// `[method, number]`.
    pub fn new(method: &str, number: u64) -> Id {
        Id(Json::Array(vec![method.into(), number.into()]))
    }

    /// The method, if the id is of the OpFlex form.
    pub fn method(&self) -> Option<&str> {
        self.parts().map(|(method, _)| method)
    }

    /// The number, if the id is of the OpFlex form.
    pub fn number(&self) -> Option<u64> {
        self.parts().map(|(_, number)| number)
    }

    fn parts(&self) -> Option<(&str, u64)> {
        match self.0.as_array()?.as_slice() {
            [method, number] => Some((method.as_str()?, number.as_u64()?)),
            _ => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One frame's content.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The peer asks. The call is an error if its method is unknown or its parameters are broken.
    Request {
        /// Comes back in the answer.
        id: Id,
        /// What is asked.
        call: Result<Call, BadCall>,
    },
    /// The peer answers.
    Response {
        /// The id of our request.
        id: Id,
        /// The answer.
        outcome: Outcome,
    },
}

/// The answer to a request.
pub type Outcome = Result<Reply, Refusal>;

/// A request, with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `send_identity`: an agent introduces itself.
    SendIdentity(Identity),
    /// `policy_resolve`: give me these objects, and their changes for a time.
    PolicyResolve(Vec<Resolve>),
    /// `policy_unresolve`: no more changes of these.
    PolicyUnresolve(Vec<Reference>),
    /// `policy_update`: these changed. Never answered, unless it is malformed.
    PolicyUpdate(Update),
    /// `endpoint_declare`: these endpoints are at this agent.
    EndpointDeclare(Vec<Declare>),
    /// `endpoint_undeclare`: these no longer are.
    EndpointUndeclare(Vec<Reference>),
    /// `endpoint_resolve`: tell me where these endpoints are, and their changes for a time.
    EndpointResolve(Vec<Resolve>),
    /// `endpoint_unresolve`: no more changes of these.
    EndpointUnresolve(Vec<Reference>),
    /// `endpoint_update`: these changed. Never answered, unless it is malformed.
    EndpointUpdate(Update),
    /// `state_report`: what the agent observes.
    StateReport(Vec<Object>),
    /// `echo`: the parameters come back.
    Echo(Vec<Json>),
}

/// A lease on an object: resolved once, then updated while the lease holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// What is asked for.
    pub target: Reference,
    /// Policy refresh rate: how long the lease holds, in seconds.
    pub prr: u64,
}

/// Objects an agent declares together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declare {
    /// The objects, parents before children.
    pub objects: Vec<Object>,
    /// How long the declaration holds, in seconds.
    pub prr: u64,
}

/// What changed. The parts apply in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Objects that replace what is held; children that they do not list go.
    pub replace: Vec<Object>,
    /// Objects that replace what is held; children stay. Policy updates only.
    pub merge_children: Vec<Object>,
    /// Objects that are gone, each alone: what hangs below one goes as an orphan.
    pub delete: Vec<Reference>,
}

/// A result.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Of `send_identity`.
    Identity(IdentityReply),
    /// Of `policy_resolve`: each object asked for, with everything below it.
    Policy(Vec<Object>),
    /// Of `endpoint_resolve`.
    Endpoint(Vec<Object>),
    /// Of every other request.
    Empty,
    /// Of `echo`.
    Echo(Json),
}

/// An error as it travels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// What kind of error.
    pub code: Code,
    /// Text for a person.
    pub message: String,
}

impl Refusal {
    /// An error with code `ERROR`.
    pub fn error(message: impl Into<String>) -> Refusal {
        Refusal { code: Code::Error, message: message.into() }
    }

    /// The answer to a method that the peer's role does not offer.
    pub fn unsupported() -> Refusal {
        Refusal { code: Code::Unsupported, message: "Unsupported request".into() }
    }
}

/// Error codes, as observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// Malformed, unknown subject, or refused.
    Error,
    /// A known method, but not for the role that was asked.
    Unsupported,
    /// Before the identity exchange. The connection is dropped after it.
    State,
    /// A code of another implementation.
    Other(String),
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::Error => "ERROR",
            Code::Unsupported => "EUNSUPPORTED",
            Code::State => "ESTATE",
            Code::Other(code) => code,
        })
    }
}

/// A request that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCall {
    /// No method of OpFlex. The reference implementation does not answer, so nobody does.
    #[error("unknown method `{0}`")]
    UnknownMethod(String),
    /// Its parameters are broken, or ask for what nobody offers.
    #[error(transparent)]
    Refused(Refusal),
}

impl Call {
    /// The method's name on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Call::SendIdentity(_) => "send_identity",
            Call::PolicyResolve(_) => "policy_resolve",
            Call::PolicyUnresolve(_) => "policy_unresolve",
            Call::PolicyUpdate(_) => "policy_update",
            Call::EndpointDeclare(_) => "endpoint_declare",
            Call::EndpointUndeclare(_) => "endpoint_undeclare",
            Call::EndpointResolve(_) => "endpoint_resolve",
            Call::EndpointUnresolve(_) => "endpoint_unresolve",
            Call::EndpointUpdate(_) => "endpoint_update",
            Call::StateReport(_) => "state_report",
            Call::Echo(_) => "echo",
        }
    }
}
