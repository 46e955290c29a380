//! Answers in the shape of the APIC: `imdata`, a `totalCount` that is always there and always a
//! string, and errors as objects of class `error`.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, SERVER, SET_COOKIE};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// An answer.
pub type Reply = Response<Full<Bytes>>;

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Code and text of each error; clients read the first.
    pub errors: Vec<(String, String)>,
    /// Methods that would be served, for 405.
    allow: Option<&'static str>,
}

impl Refusal {
    /// One error, its code the number of the status.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Refusal {
        let code = status.as_u16().to_string();
        Refusal { status, errors: vec![(code, text.into())], allow: None }
    }

    /// Several errors of one request.
    pub fn coded(status: StatusCode, errors: Vec<(String, String)>) -> Refusal {
        Refusal { status, errors, allow: None }
    }

    /// 400.
    pub fn bad_request(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404.
    pub fn not_found(path: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, format!("there is nothing at `{path}`"))
    }

    /// 405.
    pub fn method(method: &Method, allow: &'static str) -> Refusal {
        let text = format!("`{method}` is not served here, only {allow}");
        Refusal { allow: Some(allow), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    /// 403, which makes clients log in again.
    pub fn no_token(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, text)
    }

    /// 503: later, perhaps.
    pub fn busy(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// The answer.
    pub fn into_reply(self) -> Reply {
        let error = |(code, text): &(String, String)| json!({"error": {"attributes": {"code": code, "text": text}}});
        let imdata: Vec<Value> = self.errors.iter().map(error).collect();
        let mut reply = objects(&imdata, imdata.len());
        *reply.status_mut() = self.status;
        if let Some(allow) = self.allow {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        reply
    }
}

/// 200 with these objects; `total` counts them before paging.
pub fn objects(imdata: &[Value], total: usize) -> Reply {
    json_reply(&json!({"totalCount": total.to_string(), "imdata": imdata}))
}

/// 200 with any JSON.
pub fn json_reply(body: &Value) -> Reply {
    json_text(body.to_string())
}

/// 200 with text that is JSON.
pub fn json_text(text: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(SERVER, HeaderValue::from_static("selvage"));
    reply
}

/// Adds the session's cookie to an answer. An empty token clears it.
pub fn with_cookie(mut reply: Reply, token: &str) -> Reply {
    let life = if token.is_empty() { "; Max-Age=0" } else { "" };
    let cookie = format!("APIC-cookie={token}; path=/; HttpOnly; Secure; SameSite=Strict{life}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}
