//! Svix server, open-source edition, over its public HTTP API (`/api/v1`).

use anyhow::Result;
use async_trait::async_trait;
use http::{Method, Request};
use serde_json::json;

use super::{
    Access, Endpoint, Message, Target,
    api::{Api, body, id},
};
use crate::client::{Body, HttpClient};

pub(super) struct Svix(Api);

impl Svix {
    pub(super) fn new(access: &Access) -> Self {
        Self(Api::new(access, "/api/v1"))
    }
}

#[async_trait]
impl Target for Svix {
    fn name(&self) -> &'static str {
        "svix"
    }

    async fn probe(&self, http: &HttpClient) -> Result<()> {
        self.0.get(http, "/health/").await.map(drop)
    }

    async fn create_app(&self, http: &HttpClient, label: &str) -> Result<String> {
        let app = self.0.post(http, "/app/", &json!({"name": label})).await?;
        Ok(id(&app)?.to_owned())
    }

    async fn create_endpoint(&self, http: &HttpClient, app: &str, url: &str) -> Result<Endpoint> {
        let path = format!("/app/{app}/endpoint/");
        let endpoint = self.0.post(http, &path, &json!({"url": url, "version": 1})).await?;
        let secret = self.0.get(http, &format!("{path}{}/secret/", id(&endpoint)?)).await?;
        Ok(Endpoint { secret: secret["key"].as_str().map(str::to_owned) })
    }

    fn publish(&self, message: Message<'_>) -> Result<Request<Body>> {
        let body = body(&[
            br#"{"eventType":"bench.event","eventId":""#,
            message.key.as_bytes(),
            br#"","payload":"#,
            message.payload,
            b"}",
        ]);
        // with_content=false: the reply does not echo the payload.
        self.0.request(Method::POST, &format!("/app/{}/msg/?with_content=false", message.app), body)
    }
}
