//! The tree over REST: queries, posts and deletions.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use selvage_controller::Write;
use selvage_model::query::{Query, QueryError, Scope, modified};
use selvage_model::wire::json;
use selvage_model::{Dn, canonical};
use selvage_rules::Revision;

use super::Api;
use super::own::{internal, stopping};
use super::reply::{Refusal, Reply, json_text, objects};
use crate::controller::desk::{Ask, WriteError};

/// Names the revision that a write made, or found in force if it changed nothing.
pub const REVISION_HEADER: &str = "selvage-revision";

/// The parameter that asks for a write only if this revision is in force; else it is refused with
/// 409.
const AT_REVISION: &str = "at-revision";

type Parameters = Vec<(String, String)>;

impl Api {
    /// `GET /api/mo/DN.json`
    pub(super) fn object(&self, dn: &str, parameters: &Parameters) -> Result<Reply, Refusal> {
        let dn = parse_dn(dn)?;
        // `tn-[x]` is `tn-x`. A name that no class has names nothing, which is no error.
        let dn = canonical(&dn).map(|(dn, _)| dn).unwrap_or(dn);
        self.query(Scope::Object(dn), parameters)
    }

    /// `GET /api/class/CLASS.json`
    pub(super) fn class(
        &self,
        class: String,
        below: Option<String>,
        parameters: &Parameters,
    ) -> Result<Reply, Refusal> {
        let below = below.as_deref().map(parse_dn).transpose()?;
        let below = below.map(|dn| canonical(&dn).map(|(dn, _)| dn).unwrap_or(dn));
        self.query(Scope::Class { class, below }, parameters)
    }

    fn query(&self, scope: Scope, parameters: &Parameters) -> Result<Reply, Refusal> {
        let pairs = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = Query::parse(scope, pairs).map_err(|error| refused_query(&error))?;
        let view = self.desk.view();
        // A large answer takes a while: other tasks of this thread move to another meanwhile.
        let text = tokio::task::block_in_place(|| json::answer(&query.run(&view.tree)));
        Ok(json_text(text))
    }

    /// `POST /api/mo/DN.json`
    pub(super) async fn post(
        &self,
        user: String,
        dn: Option<String>,
        body: &[u8],
        parameters: &Parameters,
    ) -> Result<Reply, Refusal> {
        let at = dn.as_deref().map(parse_dn).transpose()?;
        let post = tokio::task::block_in_place(|| json::parse(body))
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        self.write(user, Write::Post { at, post }, parameters).await
    }

    /// `DELETE /api/mo/DN.json`
    pub(super) async fn delete(
        &self,
        user: String,
        dn: &str,
        parameters: &Parameters,
    ) -> Result<Reply, Refusal> {
        self.write(user, Write::Delete { dn: parse_dn(dn)? }, parameters).await
    }

    /// `POST /selvage/v1/plan`: what the same body would do if it were posted to `/api/mo/uni.json`.
    pub(super) async fn plan(&self, body: &[u8]) -> Result<Reply, Refusal> {
        let post = tokio::task::block_in_place(|| json::parse(body))
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        let write = Write::Post { at: Some(parse_dn("uni")?), post };
        let answer = self.desk.ask(|reply| Ask::Plan { write, reply }).await;
        match answer.ok_or_else(stopping)? {
            Ok(planned) => Ok(json_text(serde_json::to_string(&planned).map_err(internal)?)),
            Err(refusals) => Ok(refused(&refusals)),
        }
    }

    /// `POST /selvage/v1/capacity`: what each host would need with this body posted.
    pub(super) async fn capacity(&self, body: &[u8]) -> Result<Reply, Refusal> {
        let post = tokio::task::block_in_place(|| json::parse(body))
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        let write = Write::Post { at: Some(parse_dn("uni")?), post };
        let answer = self.desk.ask(|reply| Ask::Capacity { write, reply }).await;
        match answer.ok_or_else(stopping)? {
            Ok(hosts) => {
                let body = serde_json::json!({ "hosts": hosts });
                Ok(json_text(body.to_string()))
            }
            Err(refusals) => Ok(refused(&refusals)),
        }
    }

    /// `POST /selvage/v1/check`: what the tree would say of itself with this body posted to it.
    pub(super) fn check(&self, body: &[u8]) -> Result<Reply, Refusal> {
        let view = self.desk.view();
        let checked = tokio::task::block_in_place(|| {
            let post =
                json::parse(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
            Ok(selvage_controller::check(&view.tree, &[post]))
        })?;
        match checked {
            Ok(checked) => Ok(json_text(serde_json::to_string(&checked).map_err(internal)?)),
            Err(refusals) => Ok(refused(&refusals)),
        }
    }

    async fn write(
        &self,
        user: String,
        write: Write,
        parameters: &Parameters,
    ) -> Result<Reply, Refusal> {
        let at = parameters.iter().find(|(name, _)| name == AT_REVISION);
        let at = at.map(|(_, text)| {
            let bad = || Refusal::bad_request(format!("`{AT_REVISION}={text}` is not a number"));
            text.parse().map(Revision).map_err(|_| bad())
        });
        let at = at.transpose()?;
        let answer = self.desk.ask(|reply| Ask::Write { user, write, at, reply }).await;
        let written = match answer.ok_or_else(stopping)? {
            Ok(written) => written,
            Err(WriteError::Refused(refusals)) => return Ok(refused(&refusals)),
            Err(stale @ WriteError::Stale { .. }) => {
                return Err(Refusal::new(StatusCode::CONFLICT, stale.to_string()));
            }
            Err(WriteError::Store(error)) => return Err(internal(error)),
        };
        let shows = |(name, value): &(String, String)| name == "rsp-subtree" && value == "modified";
        let mut reply = if parameters.iter().any(shows) {
            json_text(json::answer(&modified(&written.changes)))
        } else {
            objects(&[], 0)
        };
        let revision = HeaderValue::from(written.revision.0);
        reply.headers_mut().insert(REVISION_HEADER, revision);
        Ok(reply)
    }
}

fn refused(refusals: &[selvage_model::Refusal]) -> Reply {
    let mut reply = json_text(json::refusals(refusals));
    *reply.status_mut() = StatusCode::BAD_REQUEST;
    reply
}

fn parse_dn(text: &str) -> Result<Dn, Refusal> {
    text.parse().map_err(|error: selvage_model::ParseDnError| {
        Refusal::bad_request(format!("Invalid DN {text}: {error}"))
    })
}

fn refused_query(error: &QueryError) -> Refusal {
    Refusal::coded(StatusCode::BAD_REQUEST, vec![(error.code().to_string(), error.to_string())])
}
