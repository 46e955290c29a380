//! Frames to messages: every doubt about a peer's bytes ends here.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{
    BadCall, Call, Code, Declare, Id, Identity, IdentityReply, Message, Outcome, Refusal, Reply,
    Resolve, Update,
};
use crate::Uri;
use crate::mo::{Object, Parent, Reference, Value};

/// A frame after which nothing that follows can be trusted: the connection ends without an answer,
/// as observed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAMessage {
    /// Not one JSON value, or one that nests too deep (128 levels).
    #[error("the frame is not JSON: {0}")]
    Json(String),
    /// One JSON value, but no object.
    #[error("the frame is not a JSON object")]
    NotAnObject,
    /// A request or an answer needs an id.
    #[error("the message has no id")]
    NoId,
    /// The id of an answer is what says which method it answers.
    #[error("the answer's id `{0}` is not [method, number]")]
    BadId(String),
    /// Neither method, result nor error; or a result or error of the wrong shape.
    #[error("the message is neither a request nor an answer: {0}")]
    Shape(&'static str),
}

/// Reads one frame, without its NUL.
pub fn decode(frame: &[u8]) -> Result<Message, NotAMessage> {
    let json: Json = serde_json::from_slice(frame).map_err(|e| NotAMessage::Json(e.to_string()))?;
    let Json::Object(mut map) = json else { return Err(NotAMessage::NotAnObject) };
    let id = Id(map.shift_remove("id").ok_or(NotAMessage::NoId)?);
    if let Some(method) = map.get("method") {
        let method = method.as_str().ok_or(NotAMessage::Shape("`method` is not a string"))?;
        let params = map.get("params").and_then(Json::as_array);
        return Ok(Message::Request { call: call(method, params), id });
    }
    let method = id.method().ok_or_else(|| NotAMessage::BadId(id.to_string()))?.to_owned();
    let outcome = outcome(&method, &mut map)?;
    Ok(Message::Response { id, outcome })
}

fn call(method: &str, params: Option<&Vec<Json>>) -> Result<Call, BadCall> {
    let body = match method {
        "send_identity" => identity_call,
        "policy_resolve" => policy_resolve,
        "policy_unresolve" => policy_unresolve,
        "policy_update" => policy_update,
        "endpoint_declare" => endpoint_declare,
        "endpoint_undeclare" => endpoint_undeclare,
        "endpoint_resolve" => endpoint_resolve,
        "endpoint_unresolve" => endpoint_unresolve,
        "endpoint_update" => endpoint_update,
        "state_report" => state_report,
        "echo" => echo,
        _ => return Err(BadCall::UnknownMethod(method.to_owned())),
    };
    params
        .ok_or_else(|| malformed("params is not an array"))
        .and_then(|params| body(params))
        .map_err(BadCall::Refused)
}

fn identity_call(params: &[Json]) -> Result<Call, Refusal> {
    let first = params.first().ok_or_else(|| malformed("params is empty"))?;
    Identity::decode(first).map(Call::SendIdentity)
}

fn policy_resolve(params: &[Json]) -> Result<Call, Refusal> {
    params.iter().map(|p| resolve(p, "policy")).collect::<Result<_, _>>().map(Call::PolicyResolve)
}

fn endpoint_resolve(params: &[Json]) -> Result<Call, Refusal> {
    let list = params.iter().map(|p| resolve(p, "endpoint"));
    list.collect::<Result<_, _>>().map(Call::EndpointResolve)
}

fn policy_unresolve(params: &[Json]) -> Result<Call, Refusal> {
    let list = params.iter().map(|p| target(p, "policy"));
    list.collect::<Result<_, _>>().map(Call::PolicyUnresolve)
}

fn endpoint_undeclare(params: &[Json]) -> Result<Call, Refusal> {
    let list = params.iter().map(|p| target(p, "endpoint"));
    list.collect::<Result<_, _>>().map(Call::EndpointUndeclare)
}

fn endpoint_unresolve(params: &[Json]) -> Result<Call, Refusal> {
    let list = params.iter().map(|p| target(p, "endpoint"));
    list.collect::<Result<_, _>>().map(Call::EndpointUnresolve)
}

fn policy_update(params: &[Json]) -> Result<Call, Refusal> {
    update(params).map(Call::PolicyUpdate)
}

fn endpoint_update(params: &[Json]) -> Result<Call, Refusal> {
    update(params).map(Call::EndpointUpdate)
}

fn endpoint_declare(params: &[Json]) -> Result<Call, Refusal> {
    let declare = |param: &Json| {
        let objects = objects(param, "endpoint")?.ok_or_else(|| malformed("no endpoint"))?;
        Ok(Declare { objects, prr: prr(param)? })
    };
    params.iter().map(declare).collect::<Result<_, _>>().map(Call::EndpointDeclare)
}

fn state_report(params: &[Json]) -> Result<Call, Refusal> {
    let mut all = Vec::new();
    for param in params {
        all.extend(objects(param, "observable")?.ok_or_else(|| malformed("no observable"))?);
    }
    Ok(Call::StateReport(all))
}

fn echo(params: &[Json]) -> Result<Call, Refusal> {
    Ok(Call::Echo(params.to_vec()))
}

fn resolve(param: &Json, what: &str) -> Result<Resolve, Refusal> {
    if param.get(format!("{what}_ident")).is_some() {
        let what = if what == "policy" { "Policy" } else { "Endpoint" };
        let message = format!("{what} resolution by ident is not supported");
        return Err(Refusal { code: Code::Unsupported, message });
    }
    let target = target(param, what)?;
    Ok(Resolve { target, prr: prr(param)? })
}

fn prr(param: &Json) -> Result<u64, Refusal> {
    let prr = param.get("prr").ok_or_else(|| malformed("no prr"))?;
    prr.as_u64().ok_or_else(|| malformed("prr is not an integer"))
}

fn target(param: &Json, what: &str) -> Result<Reference, Refusal> {
    let subject = required_text(param, "subject")?;
    let uri = uri(&required_text(param, &format!("{what}_uri"))?)?;
    Ok(Reference { subject: subject.into(), uri })
}

fn update(params: &[Json]) -> Result<Update, Refusal> {
    let mut all = Update::default();
    for param in params {
        all.replace.extend(objects(param, "replace")?.unwrap_or_default());
        all.merge_children.extend(objects(param, "merge_children")?.unwrap_or_default());
        for gone in list(param, "delete")?.into_iter().flatten() {
            let subject = required_text(gone, "subject")?.into();
            all.delete.push(Reference { subject, uri: uri(&required_text(gone, "uri")?)? });
        }
    }
    Ok(all)
}

fn outcome(method: &str, map: &mut Map<String, Json>) -> Result<Outcome, NotAMessage> {
    let Some(result) = map.shift_remove("result") else {
        let error = map.get("error").ok_or(NotAMessage::Shape("no method, result or error"))?;
        let error = error.as_object().ok_or(NotAMessage::Shape("`error` is not an object"))?;
        return Ok(Err(refusal(error)));
    };
    // The OVSDB way to say that an operation failed, which the library underneath also reads.
    if let Some(Json::Object(first)) = result.get(0)
        && first.contains_key("error")
    {
        return Ok(Err(refusal(first)));
    }
    let broken = || Refusal::error("the result is malformed");
    let reply = match method {
        "send_identity" => IdentityReply::decode(&result).map(Reply::Identity).ok_or_else(broken),
        "policy_resolve" => listed(&result, "policy").map(Reply::Policy),
        "endpoint_resolve" => listed(&result, "endpoint").map(Reply::Endpoint),
        "echo" => Ok(Reply::Echo(result)),
        _ => Ok(Reply::Empty),
    };
    Ok(reply)
}

fn listed(result: &Json, name: &str) -> Result<Vec<Object>, Refusal> {
    objects(result, name)?.ok_or_else(|| malformed(&format!("no {name}")))
}

fn refusal(error: &Map<String, Json>) -> Refusal {
    let part = |name| error.get(name).and_then(Json::as_str).unwrap_or_default();
    let code = match part("code") {
        "ERROR" => Code::Error,
        "EUNSUPPORTED" => Code::Unsupported,
        "ESTATE" => Code::State,
        other => Code::Other(other.to_owned()),
    };
    Refusal { code, message: part("message").to_owned() }
}

fn list<'a>(param: &'a Json, name: &str) -> Result<Option<&'a Vec<Json>>, Refusal> {
    match param.get(name) {
        None => Ok(None),
        Some(Json::Array(list)) => Ok(Some(list)),
        Some(_) => Err(malformed(&format!("{name} is not an array"))),
    }
}

fn objects(param: &Json, name: &str) -> Result<Option<Vec<Object>>, Refusal> {
    let Some(list) = list(param, name)? else { return Ok(None) };
    list.iter().map(object).collect::<Result<_, _>>().map(Some)
}

fn object(json: &Json) -> Result<Object, Refusal> {
    let subject: Arc<str> = required_text(json, "subject")?.into();
    let mut object = Object {
        uri: uri(&required_text(json, "uri")?)?,
        properties: Vec::new(),
        children: Vec::new(),
        parent: parent(json, &subject)?,
        subject,
    };
    for property in list(json, "properties")?.into_iter().flatten() {
        let name = required_text(property, "name")?;
        // A value of a type that no property has is as good as unset (observed).
        if let Some(value) = property.get("data").and_then(value) {
            object.properties.push((name.into(), value));
        }
    }
    for child in list(json, "children")?.into_iter().flatten() {
        let child = child.as_str().ok_or_else(|| malformed("a child is not a string"))?;
        object.children.push(uri(child)?);
    }
    Ok(object)
}

fn parent(json: &Json, subject: &Arc<str>) -> Result<Option<Parent>, Refusal> {
    let (Some(class), Some(at)) = (text(json, "parent_subject"), text(json, "parent_uri")) else {
        return Ok(None);
    };
    let relation = text(json, "parent_relation").map_or_else(|| subject.clone(), Arc::from);
    Ok(Some(Parent { subject: class.into(), uri: uri(&at)?, relation }))
}

fn value(data: &Json) -> Option<Value> {
    match data {
        Json::String(text) => Some(Value::Text(text.as_str().into())),
        Json::Number(number) => {
            number.as_u64().map(Value::Number).or_else(|| number.as_i64().map(Value::Negative))
        }
        Json::Array(list) => Some(Value::List(list.iter().filter_map(scalar).collect())),
        _ => scalar(data),
    }
}

fn scalar(data: &Json) -> Option<Value> {
    match data {
        Json::Object(map) => {
            let subject = map.get("subject")?.as_str()?.into();
            let uri = Uri::parse(map.get("reference_uri")?.as_str()?).ok()?;
            Some(Value::Reference(Reference { subject, uri }))
        }
        Json::Array(_) => None,
        _ => value(data),
    }
}

fn uri(text: &str) -> Result<Uri, Refusal> {
    Uri::parse(text).map_err(|e| malformed(&e.to_string()))
}

/// The string member `name`, if there is one.
pub(super) fn text(json: &Json, name: &str) -> Option<String> {
    json.get(name).and_then(Json::as_str).map(str::to_owned)
}

/// The string member `name`, which must be there.
pub(super) fn required_text(json: &Json, name: &str) -> Result<String, Refusal> {
    text(json, name).ok_or_else(|| malformed(&format!("no {name}")))
}

/// The error of the reference implementation for what is not as it should be.
pub(super) fn malformed(what: &str) -> Refusal {
    Refusal::error(format!("Malformed message: {what}"))
}

impl<'de> serde::Deserialize<'de> for Object {
    /// Reads an object as it travels, for those who keep objects in files.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        object(&Json::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
