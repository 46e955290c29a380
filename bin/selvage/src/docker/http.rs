//! HTTP/1.1 on the plugin socket. Docker keeps connections open and may use several at a time.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use selvage_agent::docker::Reply;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::Call;

/// The longest body: calls are a few hundred bytes.
const MOST: usize = 1 << 20;

/// What Docker says it accepts.
const JSON: &str = "application/vnd.docker.plugins.v1.2+json";

/// Accepts connections for ever.
pub async fn serve(listener: &UnixListener, calls: mpsc::Sender<Call>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, calls.clone()));
            }
            Err(error) => {
                tracing::warn!("cannot accept on Docker's plugin socket: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) {
    let service = service_fn(|request| {
        let calls = calls.clone();
        async move { Ok::<_, Infallible>(answer(request, calls).await) }
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of Docker's ended");
    }
}

async fn answer(request: Request<Incoming>, calls: mpsc::Sender<Call>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return response(StatusCode::METHOD_NOT_ALLOWED, "plugins are called with POST");
    }
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let Ok(body) = Limited::new(request.into_body(), MOST).collect().await else {
        return response(StatusCode::BAD_REQUEST, "no body of at most 1 MiB");
    };
    let (reply, answer) = oneshot::channel();
    // A call outlives the connection that it came by: Docker asks again what it got no answer to.
    let call = Call { method, body: body.to_bytes().to_vec(), reply };
    if calls.send(call).await.is_err() {
        return response(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    }
    match answer.await {
        Ok(Reply { status, body }) => {
            response(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body)
        }
        Err(_) => response(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping"),
    }
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}
