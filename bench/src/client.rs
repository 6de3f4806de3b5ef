//! A small keep-alive HTTP/1.1 client over loopback.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

pub(crate) type Body = Full<Bytes>;

#[derive(Clone)]
pub(crate) struct HttpClient {
    inner: Client<HttpConnector, Body>,
    timeout: Duration,
}

impl HttpClient {
    pub(crate) fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector);
        Self { inner, timeout }
    }

    /// Sends one request and reads the whole reply.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<(StatusCode, Bytes)> {
        tokio::time::timeout(self.timeout, async {
            let reply = self.inner.request(request).await?;
            let status = reply.status();
            let body = reply.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, body))
        })
        .await?
    }
}
