//! Messages to frames. Members come in the order of the recordings.

use serde::Serialize;
use serde_json::Value as Json;

use super::{Call, Id, Outcome, Refusal, Reply, Resolve, Update};
use crate::Uri;
use crate::mo::{Object, Reference};

impl Call {
    /// The frame of this request, NUL included.
    pub fn encode(&self, id: &Id) -> Vec<u8> {
        frame(&RequestFrame { id: &id.0, method: self.method(), params: Params::of(self) })
    }
}

/// The frame of an answer, NUL included.
pub fn encode_outcome(id: &Id, outcome: &Outcome) -> Vec<u8> {
    match outcome {
        Ok(reply) => frame(&ResultFrame { id: &id.0, result: Body::of(reply) }),
        Err(refusal) => frame(&ErrorFrame { id: &id.0, error: ErrorBody::of(refusal) }),
    }
}

fn frame(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Writing to memory cannot fail, and every key is a string.
    let written = serde_json::to_writer(&mut bytes, message);
    debug_assert!(written.is_ok(), "{written:?}");
    bytes.push(0);
    bytes
}

#[derive(Serialize)]
struct RequestFrame<'a> {
    id: &'a Json,
    method: &'static str,
    params: Params<'a>,
}

#[derive(Serialize)]
struct ResultFrame<'a> {
    id: &'a Json,
    result: Body<'a>,
}

#[derive(Serialize)]
struct ErrorFrame<'a> {
    id: &'a Json,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: String,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Params<'a> {
    Identity([Json; 1]),
    Resolve(Vec<ResolveBody<'a>>),
    Update([UpdateBody<'a>; 1]),
    Declare(Vec<DeclareBody<'a>>),
    Report([ReportBody<'a>; 1]),
    Echo(&'a [Json]),
}

#[derive(Serialize)]
struct ResolveBody<'a> {
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_uri: Option<&'a Uri>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_uri: Option<&'a Uri>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prr: Option<u64>,
}

#[derive(Serialize)]
struct UpdateBody<'a> {
    replace: &'a [Object],
    #[serde(skip_serializing_if = "Option::is_none")]
    merge_children: Option<&'a [Object]>,
    delete: Vec<DeleteBody<'a>>,
}

#[derive(Serialize)]
struct DeleteBody<'a> {
    subject: &'a str,
    uri: &'a Uri,
}

#[derive(Serialize)]
struct DeclareBody<'a> {
    endpoint: &'a [Object],
    prr: u64,
}

#[derive(Serialize)]
struct ReportBody<'a> {
    observable: &'a [Object],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Identity(Json),
    Policy { policy: &'a [Object] },
    Endpoint { endpoint: &'a [Object] },
    Empty {},
    Echo(&'a Json),
}

/// Which of the two URI members a request has.
#[derive(Clone, Copy)]
enum Kind {
    Policy,
    Endpoint,
}

impl<'a> Params<'a> {
    fn of(call: &'a Call) -> Params<'a> {
        match call {
            Call::SendIdentity(identity) => Params::Identity([identity.encode()]),
            Call::PolicyResolve(list) => Params::resolves(list, Kind::Policy),
            Call::EndpointResolve(list) => Params::resolves(list, Kind::Endpoint),
            Call::PolicyUnresolve(list) => Params::references(list, Kind::Policy),
            Call::EndpointUnresolve(list) | Call::EndpointUndeclare(list) => {
                Params::references(list, Kind::Endpoint)
            }
            Call::PolicyUpdate(update) => Params::Update([UpdateBody::of(update, Kind::Policy)]),
            Call::EndpointUpdate(update) => {
                Params::Update([UpdateBody::of(update, Kind::Endpoint)])
            }
            Call::EndpointDeclare(list) => Params::Declare(
                list.iter().map(|d| DeclareBody { endpoint: &d.objects, prr: d.prr }).collect(),
            ),
            Call::StateReport(observable) => Params::Report([ReportBody { observable }]),
            Call::Echo(params) => Params::Echo(params),
        }
    }

    fn resolves(list: &'a [Resolve], kind: Kind) -> Params<'a> {
        let body = |resolve: &'a Resolve| ResolveBody {
            prr: Some(resolve.prr),
            ..ResolveBody::of(&resolve.target, kind)
        };
        Params::Resolve(list.iter().map(body).collect())
    }

    fn references(list: &'a [Reference], kind: Kind) -> Params<'a> {
        Params::Resolve(list.iter().map(|target| ResolveBody::of(target, kind)).collect())
    }
}

impl<'a> ResolveBody<'a> {
    fn of(target: &'a Reference, kind: Kind) -> ResolveBody<'a> {
        let (policy_uri, endpoint_uri) = match kind {
            Kind::Policy => (Some(&target.uri), None),
            Kind::Endpoint => (None, Some(&target.uri)),
        };
        ResolveBody { subject: &target.subject, policy_uri, endpoint_uri, prr: None }
    }
}

impl<'a> UpdateBody<'a> {
    fn of(update: &'a Update, kind: Kind) -> UpdateBody<'a> {
        let delete = |gone: &'a Reference| DeleteBody { subject: &gone.subject, uri: &gone.uri };
        UpdateBody {
            replace: &update.replace,
            merge_children: match kind {
                Kind::Policy => Some(&update.merge_children),
                Kind::Endpoint => None,
            },
            delete: update.delete.iter().map(delete).collect(),
        }
    }
}

impl<'a> Body<'a> {
    fn of(reply: &'a Reply) -> Body<'a> {
        match reply {
            Reply::Identity(identity) => Body::Identity(identity.encode()),
            Reply::Policy(policy) => Body::Policy { policy },
            Reply::Endpoint(endpoint) => Body::Endpoint { endpoint },
            Reply::Empty => Body::Empty {},
            Reply::Echo(params) => Body::Echo(params),
        }
    }
}

impl<'a> ErrorBody<'a> {
    fn of(refusal: &'a Refusal) -> ErrorBody<'a> {
        ErrorBody { code: refusal.code.to_string(), message: &refusal.message }
    }
}
