//! Request bodies, within bounds: each one, all together, and in time.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::Refusal;

/// The longest body.
pub const LIMIT: usize = 64 << 20;
/// What may be said without a token: enough for any login.
pub const STRANGER_LIMIT: usize = 64 << 10;
/// Bytes of bodies held at a time, over all connections.
const ALL: usize = 256 << 20;
/// Memory is counted in pieces of this size.
const PIECE: usize = 64 << 10;
/// A body that is too long, but no longer than this, is read before it is refused.
const DRAINED: u64 = 1 << 20;
/// A body that is to be refused and takes longer is not read to its end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// A body that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The memory for all bodies.
#[derive(Clone)]
pub struct Budget(Arc<Semaphore>);

/// A body, and its part of the budget until it is dropped.
pub struct Bytes {
    /// The body.
    pub bytes: Vec<u8>,
    _held: Vec<OwnedSemaphorePermit>,
}

impl Budget {
    /// All of it free.
    pub fn new() -> Budget {
        Budget(Arc::new(Semaphore::new(ALL / PIECE)))
    }

    /// Reads a body of at most `limit` bytes.
    pub async fn read(&self, body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
        let announced = body.size_hint().lower();
        if announced > limit as u64 {
            if announced <= DRAINED {
                drain(body).await;
            }
            return Err(too_long(limit));
        }
        let late = || {
            let text = format!("the body did not arrive within {} s", PATIENCE.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, text)
        };
        tokio::time::timeout(PATIENCE, self.collect(body, limit)).await.map_err(|_| late())?
    }

    async fn collect(&self, mut body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
        let mut bytes = Vec::new();
        let mut held = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Refusal::bad_request(format!("the body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(too_long(limit));
            }
            while held.len() * PIECE < bytes.len() + data.len() {
                let permit = Arc::clone(&self.0).try_acquire_owned();
                held.push(permit.map_err(|_| {
                    Refusal::busy("too many large requests at a time; try again later")
                })?);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Bytes { bytes, _held: held })
    }
}

/// Reads a body nobody wants. A connection that is closed with bytes unread is reset, and a reset can
/// overtake the answer that says why.
async fn drain(mut body: Incoming) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whoever is slower than this has had its chance.
    let _ = tokio::time::timeout(DRAIN_PATIENCE, all).await;
}

fn too_long(limit: usize) -> Refusal {
    let text = format!("the body is longer than the {limit} bytes that are allowed");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}
