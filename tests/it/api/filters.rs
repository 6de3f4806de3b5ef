//! Filters: what a webhook gets, and what is said of a sample.

use postrider_tests::{
    receiver::Receiver,
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

async fn published(tenant: &Tenant, event: Value) -> Value {
    tenant.client.post("/v1/events", &event).await.expect(202)["deliveries"].clone()
}

async fn tried(tenant: &Tenant, body: Value) -> Value {
    tenant.client.post("/v1/filters/test", &body).await.expect(200)
}

#[tokio::test]
async fn a_webhook_gets_what_its_filter_takes() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("filter").await;
    let filter = json!({
        "topic": [{ "anything-but": "order.deleted" }],
        "payload": { "total": [{ "numeric": [">", 100] }], "items": { "sku": ["A-1"] } },
        "metadata": { "channel": [{ "exists": false }, "web"] },
    });
    let body = json!({ "url": receiver.url("/choosy"), "topics": ["order.*"], "filter": filter });
    let made = tenant.client.post("/v1/webhooks", &body).await.expect(201);
    assert_eq!(made["filter"], filter);
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    assert_eq!(tenant.client.get(&path).await.expect(200)["filter"], filter);

    let good = json!({ "total": 100.5, "items": [{ "sku": "B" }, { "sku": "A-1" }] });
    for (event, deliveries) in [
        (json!({ "topic": "order.created", "payload": good }), 1),
        (json!({ "topic": "order.created", "payload": good, "metadata": { "channel": "web" } }), 1),
        (json!({ "topic": "order.created", "payload": good, "metadata": { "channel": "pos" } }), 0),
        (json!({ "topic": "order.deleted", "payload": good }), 0),
        (json!({ "topic": "stock.changed", "payload": good }), 0),
        (json!({ "topic": "order.created", "payload": { "total": 100, "items": [{ "sku": "A-1" }] } }), 0),
        (json!({ "topic": "order.created", "payload": { "total": 101, "items": [] } }), 0),
        (json!({ "topic": "order.created" }), 0),
    ] {
        assert_eq!(published(&tenant, event.clone()).await, deliveries, "{event}");
    }
    // Others of the topic are none the poorer, and a change of the filter is a change at once.
    tenant.webhook(&receiver.url("/all"), &["order.created"]).await;
    assert_eq!(published(&tenant, json!({ "topic": "order.created" })).await, 1);
    let change = json!({ "filter": { "payload": { "total": [{ "exists": false }] } } });
    let changed = tenant.client.patch(&path, &change).await.expect(200);
    assert_eq!((&changed["filter"], &changed["topics"]), (&change["filter"], &made["topics"]));
    assert_eq!(published(&tenant, json!({ "topic": "order.created" })).await, 2);
    assert_eq!(published(&tenant, json!({ "topic": "order.created", "payload": good })).await, 1);
    tenant.client.patch(&path, &json!({ "name": "still choosy" })).await.expect(200);
    assert_eq!(published(&tenant, json!({ "topic": "order.created", "payload": good })).await, 1);
    let changed = tenant.client.patch(&path, &json!({ "filter": null })).await.expect(200);
    assert_eq!(changed["filter"], Value::Null);
    assert_eq!(published(&tenant, json!({ "topic": "order.created", "payload": good })).await, 2);

    let requests = receiver.wait(2 + 1 + 2 + 1 + 1 + 2).await;
    assert_eq!(requests.iter().filter(|request| request.path == "/choosy").count(), 4);
    for request in requests {
        assert_eq!(request.json().get("metadata"), None, "metadata is for filters alone");
        assert!(!String::from_utf8_lossy(&request.body).contains("channel"));
    }
}

#[tokio::test]
async fn an_event_with_metadata_is_one_event() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("metadata").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event =
        |channel: &str| json!({ "id": "e-1", "topic": "order.created", "metadata": { "channel": channel } });
    assert_eq!(published(&tenant, event("web")).await, 1);
    assert_eq!(published(&tenant, event("web")).await, 1);
    tenant.client.post("/v1/events", &event("pos")).await.expect(409);
    assert_eq!(receiver.wait(1).await.len(), 1);
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_taken_and_matches_as_if_it_were_not_there() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("unread").await;
    for (path, filter) in [
        ("/payload", json!({ "payload": { "n": [{ "exists": true }] } })),
        ("/topic", json!({ "topic": ["order.created"] })),
    ] {
        let body = json!({ "url": receiver.url(path), "topics": ["*"], "filter": filter });
        tenant.client.post("/v1/webhooks", &body).await.expect(201);
    }
    for payload in ["{\"n\":1e999}", "{\"n\":\"\\ud800\"}"] {
        let body = format!("{{\"topic\":\"order.created\",\"payload\":{payload}}}");
        let headers = http::HeaderMap::new();
        let answer = tenant.client.send_bytes(http::Method::POST, "/v1/events", Some(body.into()), &headers);
        assert_eq!(answer.await.expect(202)["deliveries"], 1, "{payload}");
    }
    assert!(receiver.wait(2).await.iter().all(|request| request.path == "/topic"));
}

#[tokio::test]
async fn a_filter_is_tried_on_a_sample() {
    let tenant = World::shared().tenant("try").await;
    let filter =
        json!({ "topic": [{ "prefix": "order." }], "payload": { "total": [{ "numeric": [">", 100] }] } });
    let event = |topic: &str, total: Value| json!({ "topic": topic, "payload": { "total": total } });
    let with = |event: Value| json!({ "filter": filter, "event": event });
    let matches = json!({ "matches": true, "misses": [] });
    assert_eq!(tried(&tenant, with(event("order.created", json!(100.5)))).await, matches);
    // By any API's own name of the topic.
    assert_eq!(tried(&tenant, with(event("orders/create", json!(100.5)))).await, matches);
    let total = json!({ "path": "payload.total", "wanted": "a number greater than 100", "found": "9.5" });
    assert_eq!(
        tried(&tenant, with(event("order.created", json!(9.5)))).await,
        json!({ "matches": false, "misses": [total] })
    );
    assert_eq!(
        tried(&tenant, with(json!({ "topic": "stock.changed" }))).await,
        json!({ "matches": false, "misses": [
            { "path": "topic", "wanted": "a text that begins with \"order.\"", "found": "\"stock.changed\"" },
            { "path": "payload.total", "wanted": "a number greater than 100", "found": null },
        ] })
    );
    // All that a filter sees of an event.
    for (pattern, event) in [
        (json!({ "tenant": [tenant.id] }), json!({ "topic": "a.b" })),
        (json!({ "id": ["e-1"] }), json!({ "topic": "a.b", "id": "e-1" })),
        (json!({ "id": [{ "prefix": "evt_" }] }), json!({ "topic": "a.b" })),
        (
            json!({ "occurred_at": [{ "prefix": "2020-02-02T05:" }] }),
            json!({ "topic": "a.b", "occurred_at": "2020-02-02T12:00:00+07:00" }),
        ),
        (json!({ "metadata": { "a": ["b"] } }), json!({ "topic": "a.b", "metadata": { "a": "b" } })),
    ] {
        let body = json!({ "filter": pattern, "event": event });
        assert_eq!(tried(&tenant, body).await, matches, "{pattern}");
    }
    assert_eq!(tenant.client.get("/v1/webhooks").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_webhooks_filter_is_tried_with_its_topics() {
    let tenant = World::shared().tenant("try-webhook").await;
    let webhook = tenant.webhook("https://example.com/", &["order.*", "stock.changed"]).await;
    let id = text(&webhook, "id");
    let with = |event: Value| json!({ "webhook": id, "event": event });
    assert_eq!(tried(&tenant, with(json!({ "topic": "order.paid" }))).await["matches"], true);
    let subscribed = json!({
        "path": "topic", "wanted": "what the webhook subscribes to: stock.changed, order.*", "found": "\"a.b\"",
    });
    assert_eq!(tried(&tenant, with(json!({ "topic": "a.b" }))).await["misses"], json!([subscribed]));
    let change = json!({ "filter": { "payload": { "state": ["paid"] } } });
    tenant.client.patch(&format!("/v1/webhooks/{id}"), &change).await.expect(200);
    let unpaid = tried(&tenant, with(json!({ "topic": "order.paid", "payload": { "state": "new" } }))).await;
    assert_eq!(
        unpaid["misses"],
        json!([{ "path": "payload.state", "wanted": "\"paid\"", "found": "\"new\"" }])
    );
    // With the operator's key the tenant is named, in the body or in the event.
    for body in [
        json!({ "tenant": tenant.id, "webhook": id, "event": { "topic": "a.b" } }),
        json!({ "webhook": id, "event": { "topic": "a.b", "tenant": tenant.id } }),
    ] {
        assert_eq!(tenant.operator.post("/v1/filters/test", &body).await.expect(200)["matches"], false);
    }
    let reader = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["read"] })).await);
    reader.post("/v1/filters/test", &with(json!({ "topic": "a.b" }))).await.expect(200);
    let publisher = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["publish"] })).await);
    publisher.post("/v1/filters/test", &with(json!({ "topic": "a.b" }))).await.expect(403);
    let unknown = json!({ "webhook": format!("wh_{:032x}", 1), "event": { "topic": "a.b" } });
    tenant.client.post("/v1/filters/test", &unknown).await.expect(404);
}
