//! Postrider, over its own HTTP API (`/v1`), with an operator's key.

use anyhow::Result;
use async_trait::async_trait;
use http::{Method, Request, StatusCode};
use serde_json::json;

use super::{
    Access, Endpoint, Message, Reply, Target,
    api::{Api, body, id},
};
use crate::client::{Body, HttpClient};

/// The longest tenant id.
const ID_MAX: usize = 64;

pub(super) struct Postrider(Api);

impl Postrider {
    pub(super) fn new(access: &Access) -> Self {
        Self(Api::new(access, "/v1"))
    }
}

#[async_trait]
impl Target for Postrider {
    fn name(&self) -> &'static str {
        "postrider"
    }

    async fn probe(&self, http: &HttpClient) -> Result<()> {
        self.0.get(http, "/health").await.map(drop)
    }

    async fn create_app(&self, http: &HttpClient, label: &str) -> Result<String> {
        let tenant = json!({"id": tenant_id(label), "name": label});
        Ok(id(&self.0.post(http, "/tenants", &tenant).await?)?.to_owned())
    }

    async fn create_endpoint(&self, http: &HttpClient, app: &str, url: &str) -> Result<Endpoint> {
        let webhook = json!({"tenant": app, "url": url, "topics": ["*"]});
        let created = self.0.post(http, "/webhooks", &webhook).await?;
        Ok(Endpoint { secret: created["secret"].as_str().map(str::to_owned) })
    }

    fn publish(&self, message: Message<'_>) -> Result<Request<Body>> {
        let body = body(&[
            br#"{"tenant":""#,
            message.app.as_bytes(),
            br#"","topic":"bench.event","id":""#,
            message.key.as_bytes(),
            br#"","payload":"#,
            message.payload,
            b"}",
        ]);
        self.0.request(Method::POST, "/events", body)
    }

    /// The same event published again is answered as the first time, so 409 is never good news: the
    /// id is taken by another body.
    fn reply(&self, status: StatusCode) -> Reply {
        match status.as_u16() {
            200..=299 => Reply::Accepted,
            429 | 503 => Reply::Busy,
            _ => Reply::Failed,
        }
    }
}

/// `label` as a tenant id. Its end is what tells one run and one application from another, so a long
/// one loses its beginning.
fn tenant_id(label: &str) -> String {
    let tail = label.len().saturating_sub(ID_MAX);
    label.to_ascii_lowercase().split_off(tail).trim_start_matches(['.', '_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;

    fn postrider() -> Postrider {
        Postrider::new(&Access { url: "http://127.0.0.1:1/".into(), token: "prk_x".into() })
    }

    #[test]
    fn a_tenant_id_is_lower_case_and_keeps_its_end() {
        assert_eq!(tenant_id("Sat-1x1-1763722000-77-0"), "sat-1x1-1763722000-77-0");
        let long = format!("{}--{}", "a".repeat(30), "b".repeat(63));
        assert_eq!(tenant_id(&long), "b".repeat(63));
    }

    #[tokio::test]
    async fn a_publish_carries_tenant_key_and_payload() {
        let payload = br#"{"bench_seq":"0000000007"}"#.as_slice().into();
        let message = Message { app: "t-0", key: "run-7", payload: &payload };
        let request = postrider().publish(message).unwrap();
        assert_eq!(request.uri(), "http://127.0.0.1:1/v1/events");
        assert_eq!(request.headers()["authorization"], "Bearer prk_x");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let want = json!({
            "tenant": "t-0", "topic": "bench.event", "id": "run-7", "payload": {"bench_seq": "0000000007"},
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), want);
    }

    #[test]
    fn a_conflict_is_a_failure_and_pushback_is_not() {
        let reply = |code| postrider().reply(StatusCode::from_u16(code).unwrap());
        assert_eq!(reply(202), Reply::Accepted);
        assert_eq!(reply(429), Reply::Busy);
        assert_eq!(reply(503), Reply::Busy);
        assert_eq!(reply(409), Reply::Failed);
        assert_eq!(reply(401), Reply::Failed);
    }
}
