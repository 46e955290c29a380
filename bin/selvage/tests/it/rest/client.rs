//! HTTP/1.1 over TLS by hand, so that a test can say anything, however wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// The longest a controller may take to answer in a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Someone who asks the controller.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    /// Sent as it is, as the `Cookie` header.
    pub cookie: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `totalCount`, which must be there as a string.
    pub fn total(&self) -> usize {
        let json = self.json();
        let total = json["totalCount"].as_str();
        total.unwrap_or_else(|| panic!("no totalCount: {self:?}")).parse().unwrap()
    }

    /// The attributes of the first object of `imdata`, which must be of this class.
    pub fn first(&self, class: &str) -> Value {
        let json = self.json();
        let attributes = &json["imdata"][0][class]["attributes"];
        assert!(attributes.is_object(), "no {class}: {self:?}");
        attributes.clone()
    }

    /// Status and code of an error in the APIC's shape.
    pub fn error(&self) -> (u16, String) {
        let code = self.first("error")["code"].as_str().unwrap().to_owned();
        let count = self.json()["imdata"].as_array().unwrap().len();
        assert_eq!(self.total(), count, "{self:?}");
        (self.status, code)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Client {
    pub fn new(address: SocketAddr, certificate: &Path) -> Client {
        let versions = &[&rustls::version::TLS13, &rustls::version::TLS12];
        Client { address, tls: tls(certificate, versions), cookie: String::new() }
    }

    /// Speaks nothing newer than TLS 1.2.
    pub fn tls12(mut self, certificate: &Path) -> Client {
        self.tls = tls(certificate, &[&rustls::version::TLS12]);
        self
    }

    pub fn login(&mut self, user: &str, password: &str) -> Answer {
        let body =
            format!(r#"{{"aaaUser":{{"attributes":{{"name":{user:?},"pwd":{password:?}}}}}}}"#);
        let answer = self.post("/api/aaaLogin.json", &body);
        if answer.status == 200 {
            let token = answer.first("aaaLogin")["token"].as_str().unwrap().to_owned();
            self.cookie = format!("APIC-cookie={token}");
        }
        answer
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "")
    }

    pub fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let head = format!("Content-Length: {}\r\n", body.len());
        self.raw(method, path, &head, body.as_bytes())
    }

    /// Sends a request with these further header lines.
    pub fn raw(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.stream();
        let cookie = match self.cookie.as_str() {
            "" => String::new(),
            cookie => format!("Cookie: {cookie}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{cookie}{head}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        // The controller may have answered and closed before it has read everything.
        let _ = stream.write_all(body).and_then(|()| stream.flush());
        answer(&mut stream)
    }

    /// A connection of this client's own.
    pub fn stream(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::from(self.address.ip());
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.tls), name).unwrap(), socket)
    }
}

/// Reads an answer with a `Content-Length`.
pub fn answer(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let mut piece = [0; 16384];
    loop {
        let count = stream.read(&mut piece).unwrap_or(0);
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.split_once("\r\n\r\n").map(|(headers, body)| {
            let length = |line: &str| {
                let value = line.to_ascii_lowercase();
                value.strip_prefix("content-length:").map(|v| v.trim().parse::<usize>().unwrap())
            };
            (headers.to_owned(), body.to_owned(), headers.lines().find_map(length).unwrap_or(0))
        });
        match whole {
            Some((headers, body, length)) if count == 0 || body.len() >= length => {
                let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
                return Answer { status, headers, body };
            }
            _ => assert_ne!(count, 0, "the connection ended early: {text}"),
        }
    }
}

fn tls(
    certificate: &Path,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
