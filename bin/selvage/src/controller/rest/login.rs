//! Logging in and out, and the token in the cookie.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::header::COOKIE;
use hyper::{HeaderMap, StatusCode};
use selvage_controller::{Sessions, TOKEN_LIFE, TokenDigest};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::reply::{Refusal, Reply, objects, with_cookie};
use crate::controller::clock::Clock;
use crate::controller::password::{self, Gate};

/// Passwords checked at a time; each takes 19 MiB and a core for a while.
const CHECKS: usize = 2;
/// Longer names are nobody's.
const MAX_NAME: usize = 128;

/// Who may come in.
pub struct Door {
    gate: Arc<Gate>,
    sessions: Mutex<Sessions>,
    checks: Semaphore,
    clock: Clock,
}

impl Door {
    /// Nobody is in yet.
    pub fn new(gate: Gate, clock: Clock) -> Door {
        Door {
            gate: Arc::new(gate),
            sessions: Mutex::new(Sessions::default()),
            checks: Semaphore::new(CHECKS),
            clock,
        }
    }

    /// `POST /api/aaaLogin.json`
    pub async fn login(&self, body: &[u8], from: IpAddr) -> Result<Reply, Refusal> {
        let (user, password) = credentials(body)?;
        let from = from.to_string();
        let may = || self.sessions().may_try(&user, &from, self.clock.now()).map_err(too_often);
        may()?;
        let check = self.checks.acquire().await.map_err(|_| Refusal::busy("stopping"))?;
        // Others may have guessed while this one waited for its turn.
        may()?;
        let (gate, name) = (Arc::clone(&self.gate), user.clone());
        let admitted = tokio::task::spawn_blocking(move || gate.admits(&name, &password)).await;
        drop(check);
        if !admitted.unwrap_or(false) {
            self.sessions().failed(&user, &from, self.clock.now());
            tracing::warn!(user, from, "wrong user name or password");
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Username or password is incorrect - FAILED local authentication",
            ));
        }
        tracing::info!(user, from, "logged in");
        self.welcome(&user, &from)
    }

    /// `GET /api/aaaRefresh.json`: a new token for an old one, which keeps its own time.
    pub fn refresh(&self, user: &str, from: IpAddr) -> Result<Reply, Refusal> {
        self.welcome(user, &from.to_string())
    }

    /// `POST /api/aaaLogout.json`
    pub fn logout(&self, headers: &HeaderMap) -> Reply {
        if let Some(digest) = token(headers).map(digest) {
            self.sessions().end(&digest);
        }
        with_cookie(objects(&[], 0), "")
    }

    /// The user whose token the request carries.
    pub fn user(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let Some(token) = token(headers) else {
            return Err(Refusal::no_token("Need a valid webtoken cookie (named APIC-Cookie)"));
        };
        let sessions = self.sessions();
        let user = sessions.user(&digest(token), self.clock.now()).map(str::to_owned);
        user.ok_or_else(|| Refusal::no_token("Token was invalid (Error: Token timeout)"))
    }

    fn welcome(&self, user: &str, from: &str) -> Result<Reply, Refusal> {
        let token = password::token()
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        self.sessions().start(digest(&token), user, from, self.clock.now());
        let created = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let attributes = json!({
            "token": token,
            "refreshTimeoutSeconds": TOKEN_LIFE.as_secs().to_string(),
            "maximumLifetimeSeconds": "86400",
            "creationTime": created.to_string(),
            "userName": user,
            "remoteUser": "false",
            "version": env!("CARGO_PKG_VERSION"),
        });
        let reply = objects(&[json!({"aaaLogin": {"attributes": attributes}})], 1);
        Ok(with_cookie(reply, &token))
    }

    /// The sessions stay consistent at every step, so a panic elsewhere spoils nothing.
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_often(wait: Duration) -> Refusal {
    let seconds = wait.as_millis().div_ceil(1000);
    let text = format!("too many wrong passwords; try again in {seconds} s");
    Refusal::new(StatusCode::UNAUTHORIZED, text)
}

/// `{"aaaUser":{"attributes":{"name":"..","pwd":".."}}}`
fn credentials(body: &[u8]) -> Result<(String, String), Refusal> {
    let parsed: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("JSON parsing failed - {error}")))?;
    let attribute = |name: &str| {
        let text = parsed.pointer("/aaaUser/attributes")?.get(name)?.as_str()?;
        Some(text.to_owned())
    };
    match (attribute("name"), attribute("pwd")) {
        (Some(user), Some(password)) if user.len() <= MAX_NAME => {
            Ok((local_name(&user).to_owned(), password))
        }
        _ => Err(Refusal::bad_request(
            "a login is {\"aaaUser\":{\"attributes\":{\"name\":\"..\",\"pwd\":\"..\"}}}",
        )),
    }
}

/// A name without its login domain: `apic:local\admin`, `apic#local\admin`.
fn local_name(user: &str) -> &str {
    let has_domain = user.starts_with("apic:") || user.starts_with("apic#");
    user.rsplit_once('\\').filter(|_| has_domain).map_or(user, |(_, name)| name)
}

/// The value of `APIC-cookie`, whatever the case of its name. Clients that send a `Set-Cookie` back
/// whole add parts like `path=/`, which are passed over.
fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        name.eq_ignore_ascii_case("APIC-cookie").then_some(value.trim_matches('"'))
    })
}

fn digest(token: &str) -> TokenDigest {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    // A SHA-256 digest has 32 bytes.
    digest.as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_however_clients_write_the_cookie() {
        let of = |line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, line.parse().unwrap());
            token(&headers).map(str::to_owned)
        };
        assert_eq!(of("APIC-cookie=abc").as_deref(), Some("abc"));
        assert_eq!(of("APIC-Cookie=abc").as_deref(), Some("abc"));
        assert_eq!(of("APIC-cookie=abc; path=/; HttpOnly; Secure").as_deref(), Some("abc"));
        assert_eq!(of("a=b; apic-cookie=abc").as_deref(), Some("abc"));
        assert_eq!(of("a=b"), None);
    }

    #[test]
    fn a_login_domain_is_left_out() {
        assert_eq!(local_name("apic:local\\admin"), "admin");
        assert_eq!(local_name("apic#local\\admin"), "admin");
        assert_eq!(local_name("admin"), "admin");
    }
}
