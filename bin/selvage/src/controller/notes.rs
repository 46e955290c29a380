//! What the log says of what happens.

use std::time::Duration;

use selvage_opflex::server::Event;

use super::desk::{WriteError, Written};

/// A write, done or not.
pub fn written(user: &str, answer: &Result<Written, WriteError>, took: Duration) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match answer {
        Ok(Written { changes, revision }) if !changes.is_empty() => tracing::info!(
            revision = revision.0,
            user,
            created = changes.created.len(),
            modified = changes.modified.len(),
            deleted = changes.deleted.len(),
            took_ms,
            "committed"
        ),
        Ok(_) => tracing::debug!(user, "nothing to change"),
        Err(WriteError::Refused(refusals)) => {
            tracing::info!(user, errors = refusals.len(), "refused");
        }
        Err(error @ WriteError::Stale { .. }) => tracing::info!(user, %error, "refused"),
        Err(WriteError::Store(error)) => tracing::error!(user, %error, "not committed"),
    }
}

/// What an agent did.
pub fn event(event: &Event) {
    match event {
        Event::Up { conn, agent, selvage } => {
            tracing::info!(conn = conn.0, %agent, selvage, "agent is here");
        }
        Event::Down { conn, agent: Some(agent), reason } => {
            tracing::warn!(conn = conn.0, %agent, %reason, "agent is gone");
        }
        Event::Down { conn, agent: None, reason } => {
            tracing::debug!(conn = conn.0, %reason, "connection ended");
        }
        Event::Touched { agent, revision } => {
            tracing::debug!(%agent, revision = revision.0, "sent policy");
        }
        Event::Applied(applied) => {
            tracing::debug!(agent = %applied.agent, revision = applied.revision.0, "enforced");
        }
        Event::Reported { agent, object } => {
            tracing::debug!(%agent, uri = %object.uri, "reported");
        }
        Event::Located(at) => {
            tracing::info!(endpoint = %at.id().0, group = %at.group, ips = ?at.ips, "endpoint");
        }
        Event::Departed(at) => tracing::info!(endpoint = %at.id().0, "endpoint is gone"),
        Event::HostDeclared(host) => {
            tracing::info!(agent = %host.name, tunnel = %host.tunnel, "host");
        }
        Event::HostGone(host) => tracing::info!(agent = %host.name, "host is gone"),
    }
}
