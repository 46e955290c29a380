//! The controller's REST API, as a client of it sees it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::exit::{Failure, Kind};

/// The longest a single request may take; waiting for hosts is asked for in slices of this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which controller to ask, and as whom.
#[derive(clap::Args)]
pub struct Target {
    /// URL of the controller [default: the one running on this machine]
    #[arg(long, env = "SELVAGE_CONTROLLER", value_name = "URL", global = true)]
    controller: Option<String>,
    /// Where daemons on this machine leave their sockets and addresses
    #[arg(long, env = "SELVAGE_RUN_DIR", value_name = "DIR", default_value = "/run/selvage")]
    pub run_dir: PathBuf,
    /// User to log in as
    #[arg(long, env = "SELVAGE_USER", default_value = "admin")]
    user: String,
    /// File that holds the password [default: the one the controller made at its first start]
    #[arg(long, env = "SELVAGE_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// PEM file of the certificate the controller must show [default: the one it made]
    #[arg(long, env = "SELVAGE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What a controller on this machine leaves in its run directory.
#[derive(serde::Deserialize)]
struct Beacon {
    url: String,
    certificate: PathBuf,
    password_file: PathBuf,
}

/// A session with a controller.
pub struct Rest {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Target {
    /// Logs in.
    pub fn login(&self) -> Result<Rest, Failure> {
        let beacon = self.beacon()?;
        let url = self.controller.clone().or_else(|| beacon.as_ref().map(|b| b.url.clone()));
        let url = url.ok_or_else(|| {
            let place = self.run_dir.display();
            Failure::new(
                Kind::Unreachable,
                format!("no controller runs here: `{place}` names none"),
            )
            .hint("start one with `selvage controller`, or say where it is with --controller URL")
        })?;
        let password_file =
            self.password_file.clone().or(beacon.as_ref().map(|b| b.password_file.clone()));
        let password_file = password_file.ok_or_else(|| {
            Failure::new(Kind::Input, "no password")
                .hint("say where it is with --password-file FILE")
        })?;
        let password = read(&password_file)?;
        let ca = self.ca.clone().or(beacon.map(|b| b.certificate));
        let mut rest = Rest {
            agent: agent(ca)?,
            url: url.trim_end_matches('/').to_owned(),
            token: String::new(),
        };
        rest.token = rest.log_in(&self.user, password.trim_end())?;
        Ok(rest)
    }

    fn beacon(&self) -> Result<Option<Beacon>, Failure> {
        let path = self.run_dir.join("controller.json");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::new(Kind::Failed, format!("{}: {error}", path.display()))
                .hint("it is written anew when the controller starts")
        })
    }
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::new(Kind::Input, format!("cannot read {}: {error}", path.display()))
    })
}

fn agent(ca: Option<PathBuf>) -> Result<ureq::Agent, Failure> {
    // Idempotent: a second installation is refused, and the first one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut tls = TlsConfig::builder();
    if let Some(path) = ca {
        let certificate = Certificate::from_pem(read(&path)?.as_bytes()).map_err(|error| {
            Failure::new(Kind::Input, format!("{} holds no certificate: {error}", path.display()))
        })?;
        tls = tls.root_certs(RootCerts::new_with_certs(&[certificate]));
    }
    let config = ureq::Agent::config_builder()
        .tls_config(tls.build())
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .build();
    Ok(config.new_agent())
}

impl Rest {
    fn log_in(&self, user: &str, password: &str) -> Result<String, Failure> {
        let body = json!({"aaaUser": {"attributes": {"name": user, "pwd": password}}});
        let answer = self.send("POST", "/api/aaaLogin.json", Some(&body))?;
        answer
            .pointer("/imdata/0/aaaLogin/attributes/token")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(Kind::Failed, "the controller's login answer has no token"))
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send("GET", path, None)
    }

    /// Writes, or asks with a body.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send("POST", path, Some(body))
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.url);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("Cookie", format!("APIC-cookie={}", self.token))
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .map_err(|error| Failure::new(Kind::Input, format!("`{url}` is no URL: {error}")))?;
        let mut answer = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()
            .map_err(|error| self.unreachable(&error))?;
        let value: Value = serde_json::from_str(&text).map_err(|_| {
            Failure::new(Kind::Failed, format!("{} answered {status} without JSON", self.url))
                .hint("is this the URL of a Selvage controller or an APIC?")
        })?;
        if status < 300 { Ok(value) } else { Err(refusal(status, &value)) }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(
            Kind::Unreachable,
            format!("cannot reach the controller at {}: {error}", self.url),
        )
        .hint("is it running? `selvage controller` starts it; its log says on which address")
    }
}

/// An APIC-shaped error as a failure: everything it says, a line each.
fn refusal(status: u16, answer: &Value) -> Failure {
    let errors = answer.get("imdata").and_then(Value::as_array).into_iter().flatten();
    let texts: Vec<String> = errors
        .filter_map(|e| e.pointer("/error/attributes"))
        .map(|e| {
            let field = |name| e.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("{} (APIC error {})", field("text"), field("code"))
        })
        .collect();
    match status {
        401 => Failure::new(Kind::Input, texts.join("\n"))
            .hint("wrong user or password; --user, --password-file"),
        409 => Failure::new(Kind::Stale, texts.join("\n"))
            .hint("plan again: somebody else has changed the policy since"),
        400 => Failure::new(Kind::Input, texts.join("\n")),
        _ => Failure::new(Kind::Failed, format!("HTTP {status}: {}", texts.join("\n"))),
    }
}
