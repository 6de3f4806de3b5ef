//! Requests to the runner, and their answers.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

/// A client with a key, in the header that its dialect carries it in.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    auth: Option<(&'static str, String)>,
}

impl Client {
    /// A client without a key. A test has its own, for connections belong to the test's runtime.
    pub fn new(base: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        Self { http: http.expect("a client can be made"), base: base.into(), auth: None }
    }

    /// The same without a key.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { auth: None, ..self.clone() }
    }

    /// The same with a key as our own API takes it.
    #[must_use]
    pub fn bearer(&self, key: &str) -> Self {
        self.with("authorization", format!("Bearer {key}"))
    }

    /// The same with a key as Tiki's first API took it.
    #[must_use]
    pub fn tiki(&self, key: &str) -> Self {
        self.with("tiki-api", key.to_owned())
    }

    /// The same with any header for a key.
    #[must_use]
    pub fn with(&self, header: &'static str, value: impl Into<String>) -> Self {
        Self { auth: Some((header, value.into())), ..self.clone() }
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Puts JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// Patches with JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends any method with JSON, or with nothing.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        self.send_bytes(method, path, bytes, &HeaderMap::new()).await
    }

    /// Sends any bytes.
    pub async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        headers: &HeaderMap,
    ) -> Answer {
        let what = format!("{method} {path}");
        self.try_send(method, path, body, headers).await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends, where the runner may be down.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        headers: &HeaderMap,
    ) -> Result<Answer, reqwest::Error> {
        let what = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some((name, value)) = &self.auth {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.headers(headers.clone()).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { what, status, headers, body: response.bytes().await? })
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    what: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where there is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The body of an answer with this status, and no other.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        self.json()
    }

    /// The content type without its parameters.
    pub fn content_type(&self) -> &str {
        let value = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        value.and_then(|value| value.split(';').next()).unwrap_or_default()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} -> {} {}", self.what, self.status, body.get(..2000).unwrap_or(&body))
    }
}
