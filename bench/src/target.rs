//! The system under test, as the harness sees it.
//!
//! To add a system: implement [`Target`] in a new file and add one arm to [`build`]. Nothing
//! else in the harness knows which system it drives. The hot path (sending the publish request,
//! timing it, reading the reply) is the harness's own and the same for every system; a target
//! only says what the request looks like.

mod api;
mod null;
mod postrider;
mod svix;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};

use crate::client::{Body, HttpClient};

/// What the harness needs to know of an endpoint once it is registered.
pub(crate) struct Endpoint {
    /// Signing secret in Standard Webhooks form (`whsec_...`); `None` if it cannot be had, and
    /// then signatures are not checked.
    pub(crate) secret: Option<String>,
}

/// One message to publish.
pub(crate) struct Message<'a> {
    /// The id that `create_app` returned.
    pub(crate) app: &'a str,
    /// Unique per message, the same on each retry of one message.
    pub(crate) key: &'a str,
    /// JSON object.
    pub(crate) payload: &'a Bytes,
}

/// How the target's reply to a publish is to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The target has taken responsibility for the message.
    Accepted,
    /// The target says it already has this message (a retry of one that did land).
    AlreadyKnown,
    /// The target pushed back (429, 503): try again later.
    Busy,
    /// Anything else.
    Failed,
}

#[async_trait]
pub(crate) trait Target: Send + Sync {
    fn name(&self) -> &'static str;

    /// One readiness probe; `Ok(())` means that it is serving.
    async fn probe(&self, http: &HttpClient) -> Result<()>;

    /// Creates an application (tenant) and returns its id. `label` is unique per run.
    async fn create_app(&self, http: &HttpClient, label: &str) -> Result<String>;

    /// Registers `url` as an endpoint of `app`, for every event type.
    async fn create_endpoint(&self, http: &HttpClient, app: &str, url: &str) -> Result<Endpoint>;

    /// Builds the publish request. No I/O.
    fn publish(&self, message: Message<'_>) -> Result<Request<Body>>;

    /// Reads the status of the reply to a publish.
    fn reply(&self, status: StatusCode) -> Reply {
        match status.as_u16() {
            200..=299 => Reply::Accepted,
            409 => Reply::AlreadyKnown,
            429 | 503 => Reply::Busy,
            _ => Reply::Failed,
        }
    }
}

/// How to reach the target.
pub(crate) struct Access {
    pub(crate) url: String,
    pub(crate) token: String,
}

pub(crate) fn build(name: &str, access: &Access) -> Result<Arc<dyn Target>> {
    Ok(match name {
        "postrider" => Arc::new(postrider::Postrider::new(access)),
        "svix" => Arc::new(svix::Svix::new(access)),
        "null" => Arc::new(null::Null::default()),
        other => bail!("no target called {other}; known: postrider, svix, null"),
    })
}

/// Probes until the target answers.
pub(crate) async fn wait_ready(target: &dyn Target, http: &HttpClient, limit: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        match target.probe(http).await {
            Ok(()) => return Ok(()),
            Err(e) if start.elapsed() > limit => bail!("{} not ready: {e:#}", target.name()),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
