//! What JSON APIs with a bearer token have in common.

use anyhow::{Context, Result, bail};
use bytes::{BufMut, BytesMut};
use http::{
    Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::Value;

use super::Access;
use crate::client::{Body, HttpClient};

pub(super) struct Api {
    base: String,
    bearer: String,
}

impl Api {
    /// An API whose paths begin with `prefix`.
    pub(super) fn new(access: &Access, prefix: &str) -> Self {
        Self {
            base: format!("{}{prefix}", access.url.trim_end_matches('/')),
            bearer: format!("Bearer {}", access.token),
        }
    }

    pub(super) fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>> {
        Ok(Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, &self.bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(body)?)
    }

    pub(super) async fn get(&self, http: &HttpClient, path: &str) -> Result<Value> {
        self.call(http, Method::GET, path, Body::default()).await
    }

    pub(super) async fn post(&self, http: &HttpClient, path: &str, body: &Value) -> Result<Value> {
        self.call(http, Method::POST, path, Body::from(body.to_string())).await
    }

    async fn call(&self, http: &HttpClient, method: Method, path: &str, body: Body) -> Result<Value> {
        let (status, reply) = http.send(self.request(method, path, body)?).await?;
        if !status.is_success() {
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&reply));
        }
        if reply.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&reply).with_context(|| format!("{path}: not JSON"))
    }
}

/// The `id` of what was just created.
pub(super) fn id(created: &Value) -> Result<&str> {
    created["id"].as_str().with_context(|| format!("no id in {created}"))
}

/// Joins the pieces of a request body, so that the payload is copied once and never parsed.
pub(super) fn body(pieces: &[&[u8]]) -> Body {
    let mut out = BytesMut::with_capacity(pieces.iter().map(|p| p.len()).sum());
    for piece in pieces {
        out.put_slice(piece);
    }
    Body::new(out.freeze())
}
