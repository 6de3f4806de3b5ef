//! A tenant of a test's own, with a key, and the steps that most tests begin with.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::{client::Client, poll, world::World};

/// A tenant and its key.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// A key of its own that may publish and manage.
    pub key: String,
    /// A client with that key.
    pub client: Client,
    /// A client with the operator's key.
    pub operator: Client,
}

impl Tenant {
    pub(crate) async fn make(world: &World, label: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("{label}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let operator = world.operator();
        operator.post("/v1/tenants", &json!({ "id": id, "name": label })).await.expect(201);
        let key = make_key(&operator, &id, &json!({ "scopes": ["publish", "manage"] })).await;
        let client = operator.bearer(&key);
        Self { id, key, client, operator }
    }

    /// Another key, by the body of the request for it.
    pub async fn new_key(&self, body: &Value) -> String {
        make_key(&self.operator, &self.id, body).await
    }

    /// Registers a webhook by our own API; the answer has its secret.
    pub async fn webhook(&self, url: &str, topics: &[&str]) -> Value {
        self.client.post("/v1/webhooks", &json!({ "url": url, "topics": topics })).await.expect(201)
    }

    /// Registers a webhook by Tiki's.
    pub async fn tiki_webhook(&self, uri: &str, event: &str) {
        let body = json!({ "uri": uri, "event": event });
        self.client.tiki(&self.key).post("/integration/v1/webhooks", &body).await.expect(200);
    }

    /// Publishes an event; its id.
    pub async fn publish(&self, topic: &str, payload: Value) -> String {
        let body = json!({ "topic": topic, "payload": payload });
        let receipt = self.client.post("/v1/events", &body).await.expect(202);
        text(&receipt, "id").to_owned()
    }

    /// A webhook's deliveries, newest first.
    pub async fn deliveries(&self, webhook: &str) -> Vec<Value> {
        let list = self.client.get(&format!("/v1/webhooks/{webhook}/deliveries")).await.expect(200);
        list["data"].as_array().cloned().unwrap_or_default()
    }

    /// The whole record of a webhook's delivery of an event, once `is_so`.
    pub async fn delivery(&self, webhook: &str, event: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let (event, is_so) = (&event, &is_so);
        poll::until(poll::SOON, "the delivery is as it should be", async move || {
            let deliveries = self.deliveries(webhook).await;
            let found = deliveries.iter().find(|delivery| delivery["event"] == **event)?;
            let whole = self.client.get(&format!("/v1/deliveries/{}", text(found, "id"))).await.expect(200);
            is_so(&whole).then_some(whole)
        })
        .await
    }

    /// The same, once it was tried so often.
    pub async fn attempted(&self, webhook: &str, event: &str, attempts: u64) -> Value {
        self.delivery(webhook, event, |delivery| delivery["attempt_count"].as_u64() >= Some(attempts)).await
    }

    /// All that the API shows of the tenant: what bad input must leave as it was.
    pub async fn snapshot(&self) -> Value {
        let mut shown = json!({});
        let tenant = format!("/v1/tenants/{}", self.id);
        for path in [&tenant, &format!("{tenant}/keys?limit=250")] {
            shown[path] = self.operator.get(path).await.expect(200);
        }
        let webhooks = self.client.get("/v1/webhooks?limit=250").await.expect(200);
        for webhook in webhooks["data"].as_array().into_iter().flatten() {
            let path = format!("/v1/webhooks/{}/deliveries?limit=250", text(webhook, "id"));
            shown[&path] = self.client.get(&path).await.expect(200);
        }
        shown["webhooks"] = webhooks;
        shown
    }
}

async fn make_key(operator: &Client, tenant: &str, body: &Value) -> String {
    let made = operator.post(&format!("/v1/tenants/{tenant}/keys"), body).await.expect(201);
    text(&made, "key").to_owned()
}

/// A text in an answer.
#[track_caller]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text {field} in {value}"))
}
