//! What the APIC does not offer: who enforces what, why a flow passes or not, and the log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use selvage_policy::batch::{self, Batch, Told};
use selvage_policy::explain::explain;
use selvage_policy::trace;
use selvage_rules::{EtherType, Revision};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{Refusal, Reply, json_reply};
use super::{Api, judges};
use crate::controller::desk::Ask;

/// The longest wait for hosts.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// The wait where none was asked for.
const WAIT: Duration = Duration::from_secs(30);
/// Rows of the log in one answer, at most and where nothing was said.
const MAX_ROWS: usize = 10_000;
const ROWS: usize = 100;

/// The body of `POST /selvage/v1/trace`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// A group or endpoint, by DN, `TENANT/APP/EPG`, name or address.
    from: String,
    /// The other end.
    to: String,
    /// `tcp/80`, `udp/53`, `icmp`, `arp`.
    flow: String,
    /// `ipv4` or `ipv6`.
    #[serde(default)]
    family: Option<Family>,
    /// Say as well what the oracle and the rule table say, and which endpoints the hosts' judges are
    /// to be asked about.
    #[serde(default)]
    judges: bool,
    /// Say as well which rules were looked at, and the smallest change that would turn the verdict.
    #[serde(default)]
    explain: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Family {
    Ipv4,
    Ipv6,
}

/// The body of `POST /selvage/v1/flows`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flows {
    /// Endpoints beside those that the hosts have.
    #[serde(default)]
    endpoints: Vec<Told>,
    /// What is asked.
    flows: Vec<Value>,
}

impl Api {
    /// `GET /selvage/v1/status`
    pub(super) async fn status(&self) -> Result<Reply, Refusal> {
        let status = self.desk.ask(Ask::Status).await.ok_or_else(stopping)?;
        let mut body = serde_json::to_value(status).map_err(internal)?;
        if let Some(map) = body.as_object_mut() {
            map.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        }
        Ok(json_reply(&body))
    }

    /// `POST /selvage/v1/trace`
    pub(super) async fn trace(&self, body: &[u8]) -> Result<Reply, Refusal> {
        let question: Question = serde_json::from_slice(body).map_err(|error| {
            let form = "{\"from\":\"..\",\"to\":\"..\",\"flow\":\"tcp/80\"}";
            Refusal::bad_request(format!("a trace is asked for with {form}: {error}"))
        })?;
        let view = self.desk.view();
        let find = |text: &str| {
            trace::find(&view.tree, text)
                .map_err(|error| Refusal::new(StatusCode::NOT_FOUND, error.to_string()))
        };
        let (from, to) = (find(&question.from)?, find(&question.to)?);
        let (flow, implied) = trace::parse_flow(&question.flow)
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        let family = question.family.map(|family| match family {
            Family::Ipv4 => EtherType::IPV4,
            Family::Ipv6 => EtherType::IPV6,
        });
        let trace = trace::trace(&view.compiled, &from, &to, flow, family.or(implied));
        let judges = question.judges.then(|| judges::about(&view.tree, &from, &to, &trace));
        let mut body = match question.explain {
            true => tokio::task::block_in_place(|| {
                let packet = &trace.forward.packet;
                serde_json::to_value(explain(&view.tree, &view.compiled, (&from, &to), packet))
            }),
            false => serde_json::to_value(trace),
        }
        .map_err(internal)?;
        if let Some(map) = body.as_object_mut() {
            map.insert("revision".to_owned(), json!(view.revision.0));
            if let Some(judges) = judges {
                map.insert("judges".to_owned(), serde_json::to_value(judges).map_err(internal)?);
            }
        }
        Ok(json_reply(&body))
    }

    /// `POST /selvage/v1/flows`
    pub(super) fn flows(&self, body: &[u8]) -> Result<Reply, Refusal> {
        let asked: Flows = serde_json::from_slice(body).map_err(|error| {
            let form = "{\"endpoints\":[..],\"flows\":[..]}";
            Refusal::bad_request(format!("flows are asked about with {form}: {error}"))
        })?;
        let view = self.desk.view();
        // Those that are told come last, so that they win over those of the same name.
        let told: BTreeSet<&str> = asked.endpoints.iter().map(|told| told.name.as_str()).collect();
        let mut endpoints = batch::learned(&view.tree);
        endpoints.retain(|known| !told.contains(known.name.as_str()));
        endpoints.extend(asked.endpoints.iter().cloned());
        let batch = Batch::new(&view.compiled, &endpoints);
        let answer = |question: &Value| {
            let question: batch::Question =
                serde_json::from_value(question.clone()).map_err(|error| error.to_string())?;
            let answer = batch.ask(&question).map_err(|error| error.to_string())?;
            serde_json::to_value(answer).map_err(|error| error.to_string())
        };
        // One that cannot be understood does not keep the others from theirs.
        let or_error = |question| answer(question).unwrap_or_else(|error| json!({"error": error}));
        let answers: Vec<Value> = asked.flows.iter().map(or_error).collect();
        Ok(json_reply(&json!({"revision": view.revision.0, "answers": answers})))
    }

    /// `GET /selvage/v1/revision?wait=N&timeout=SECONDS`: at once without `wait`; else when all
    /// connected hosts enforce revision N, or when the time is over.
    pub(super) async fn revision(&self, parameters: &[(String, String)]) -> Result<Reply, Refusal> {
        let number = |name: &str| -> Result<Option<u64>, Refusal> {
            let given = parameters.iter().find(|(key, _)| key == name);
            let parse = |(_, text): &(String, String)| {
                let bad = || Refusal::bad_request(format!("`{name}={text}` is not a number"));
                text.parse().map_err(|_| bad())
            };
            given.map(parse).transpose()
        };
        let (wait, timeout) = (number("wait")?, number("timeout")?);
        let timeout = timeout.map_or(WAIT, Duration::from_secs).min(MAX_WAIT);
        let until = Instant::now() + if wait.is_some() { timeout } else { Duration::ZERO };
        let revision = Revision(wait.unwrap_or_default());
        let answer = self.desk.ask(|reply| Ask::Enforced { revision, until, reply }).await;
        let progress = answer.ok_or_else(stopping)?;
        Ok(json_reply(&serde_json::to_value(progress).map_err(internal)?))
    }

    /// `GET /selvage/v1/log?limit=N`
    pub(super) async fn log(&self, parameters: &[(String, String)]) -> Result<Reply, Refusal> {
        let limit = parameters.iter().find(|(name, _)| name == "limit");
        let limit = limit.map_or(Some(ROWS), |(_, text)| text.parse().ok());
        let limit = limit.ok_or_else(|| Refusal::bad_request("`limit` is not a number"))?;
        let answer = self.desk.ask(|reply| Ask::Log(limit.min(MAX_ROWS), reply)).await;
        let rows = answer.ok_or_else(stopping)?.map_err(internal)?;
        let rows = serde_json::to_value(rows).map_err(internal)?;
        Ok(json_reply(&Value::Object([("log".to_owned(), rows)].into_iter().collect())))
    }
}

/// The controller is going down.
pub(super) fn stopping() -> Refusal {
    Refusal::busy("the controller is stopping")
}

/// Something is wrong on this side.
pub(super) fn internal(error: impl ToString) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
