//! Filters: what a webhook gets.

use postrider_tests::{
    receiver::Receiver,
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

async fn published(tenant: &Tenant, event: Value) -> Value {
    tenant.client.post("/v1/events", &event).await.expect(202)["deliveries"].clone()
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
