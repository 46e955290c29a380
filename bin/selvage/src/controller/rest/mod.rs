//! The REST API: HTTP/1.1 over TLS, the APIC's paths, and a few of our own under `/selvage/v1`.

mod body;
mod judges;
mod lenient;
mod login;
mod objects;
mod own;
mod reply;
mod route;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use self::body::Budget;
use self::lenient::Lenient;
pub use self::login::Door;
use self::reply::{Refusal, Reply};
use self::route::Route;
use super::desk::Desk;
use super::peers::accept;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 2_048;
/// For the TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// For the head of a request, and between requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(90);
/// The longest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// What serves a request.
pub struct Api {
    /// Who may come in.
    pub door: Door,
    /// The one that owns the tree.
    pub desk: Desk,
    /// Memory for bodies.
    budget: Budget,
}

impl Api {
    /// An API in front of `desk`.
    pub fn new(door: Door, desk: Desk) -> Api {
        Api { door, desk, budget: Budget::new() }
    }
}

/// Accepts connections for ever.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, api: Arc<Api>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, remote) = accept(&listener).await;
        let (tls, api) = (tls.clone(), Arc::clone(&api));
        tokio::spawn(async move {
            converse(stream, remote, &tls, &api).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, remote: SocketAddr, tls: &TlsAcceptor, api: &Arc<Api>) {
    // Only a delay is lost where the system refuses it.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%remote, %error, "no TLS"),
        Err(_) => return tracing::debug!(%remote, "no TLS in time"),
    };
    let service = service_fn(|request| {
        let api = Arc::clone(api);
        async move { Ok::<_, std::convert::Infallible>(api.answer(request, remote).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Lenient::new(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%remote, %error, "the connection ended");
    }
}

impl Api {
    async fn answer(&self, request: Request<Incoming>, remote: SocketAddr) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let reply = self.serve(request, remote).await.unwrap_or_else(Refusal::into_reply);
        tracing::debug!(%remote, %method, path, status = reply.status().as_u16(), "request");
        reply
    }

    async fn serve(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
    ) -> Result<Reply, Refusal> {
        let route = Route::find(request.method(), request.uri().path())?;
        let parameters = route::parameters(request.uri().query().unwrap_or_default())?;
        let (head, body) = request.into_parts();
        if route.is_open() {
            let body = self.budget.read(body, body::STRANGER_LIMIT).await?;
            return self.door.login(&body.bytes, remote.ip()).await;
        }
        let user = self.door.user(&head.headers)?;
        let body = match route.takes_body() {
            true => Some(self.budget.read(body, body::LIMIT).await?),
            false => None,
        };
        let text = body.as_ref().map_or(&[][..], |body| &body.bytes);
        match route {
            Route::Login | Route::Refresh => self.door.refresh(&user, remote.ip()),
            Route::Logout => Ok(self.door.logout(&head.headers)),
            Route::Get { dn } => self.object(&dn, &parameters),
            Route::Class { class, below } => self.class(class, below, &parameters),
            Route::Post { dn } => self.post(user, dn, text, &parameters).await,
            Route::Delete { dn } => self.delete(user, &dn, &parameters).await,
            Route::Status => self.status().await,
            Route::Trace => self.trace(text).await,
            Route::Flows => self.flows(text),
            Route::Plan => self.plan(text).await,
            Route::Check => self.check(text),
            Route::Capacity => self.capacity(text).await,
            Route::Revision => self.revision(&parameters).await,
            Route::Log => self.log(&parameters).await,
        }
    }
}
