//! The catalogue by our own API.

use std::collections::BTreeSet;

use http::Method;
use postrider_tests::{
    tenant::text,
    world::{Options, World},
};
use serde_json::{Value, json};

use super::paging;

#[tokio::test]
async fn every_documented_topic_is_told_of() {
    let tenant = World::shared().tenant("topics").await;
    let all = paging::walk(&tenant.client, "/v1/topics", 50).await;
    assert!(all.len() > 100, "{}", all.len());
    let names: BTreeSet<_> = all.iter().map(|topic| text(topic, "topic").to_owned()).collect();
    assert_eq!(names.len(), all.len());
    for topic in &all {
        let name = text(topic, "topic");
        assert!(text(topic, "description").ends_with('.'), "{topic}");
        let whole = tenant.client.get(&format!("/v1/topics/{name}")).await.expect(200);
        let dialects: BTreeSet<_> = whole["names"].as_object().unwrap().keys().collect();
        let samples: BTreeSet<_> = whole["samples"].as_object().unwrap().keys().collect();
        assert_eq!(dialects, samples, "{name} has a sample for each dialect that names it");
        assert!(whole["sample"].is_object() && whole["schema"]["type"] == "object", "{whole}");
        for field in ["topic", "description", "custom", "names"] {
            assert_eq!(whole[field], topic[field], "{name}");
        }
    }
    let order = tenant.client.get("/v1/topics/order.created").await.expect(200);
    let names = json!({ "centry": "on_order_save", "sapo": "orders/create", "shipstream": "order:created" });
    assert_eq!(order["names"], names);
    assert_eq!(
        tenant.client.get("/v1/topics/no.such").await.expect(404)["type"],
        "urn:postrider:problem:not-found"
    );
}

#[tokio::test]
async fn an_operators_topic_is_kept_changed_and_forgotten() {
    let world = World::start(Options::default());
    let (tenant, operator) = (world.tenant("custom").await, world.operator());
    let path = "/v1/topics/review.created";
    let body = json!({
        "description": "A review was written.", "names": { "sapo": "reviews/create" },
        "sample": { "id": 1, "stars": 5 }, "samples": { "sapo": { "id": 1, "content": "Tốt" } },
    });
    let made = operator.put(path, &body).await.expect(200);
    assert_eq!(made["custom"], true);
    assert_eq!(made["schema"]["properties"]["stars"], json!({ "type": "integer" }), "as its sample has it");
    assert_eq!(made["samples"], body["samples"]);
    assert_eq!(tenant.client.get(path).await.expect(200), made);

    let again = operator.put(path, &json!({ "description": "Somebody wrote a review." })).await.expect(200);
    assert_eq!(again["created_at"], made["created_at"]);
    assert!(text(&again, "updated_at") > text(&made, "updated_at"));
    assert_eq!((&again["names"], &again["sample"]), (&json!({}), &Value::Null), "the whole is replaced");

    operator.delete(path).await.expect(204);
    operator.delete(path).await.expect(404);
    tenant.client.get(path).await.expect(404);
    operator.delete("/v1/topics/order.created").await.expect(404);
    let described = json!({ "description": "Ours." });
    operator.put("/v1/topics/order.created", &described).await.expect(200);
    assert_eq!(tenant.client.get("/v1/topics/order.created").await.expect(200)["description"], "Ours.");
    operator.delete("/v1/topics/order.created").await.expect(204);
    assert_ne!(tenant.client.get("/v1/topics/order.created").await.expect(200)["description"], "Ours.");
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_refused_with_the_path_of_its_fault() {
    let world = World::start(Options::default());
    let (tenant, operator) = (world.tenant("schema").await, world.operator());
    let schema = json!({
        "type": "object",
        "required": ["lines"],
        "properties": { "lines": { "type": "array", "items": {
            "type": "object", "properties": { "qty": { "type": "integer", "minimum": 1 } },
        } } },
    });
    operator.put("/v1/topics/basket.left", &json!({ "schema": schema })).await.expect(200);
    let publish = async |payload: Value| {
        tenant.client.post("/v1/events", &json!({ "topic": "basket.left", "payload": payload })).await
    };
    for (payload, field) in [
        (json!(null), "payload"),
        (json!({}), "payload"),
        (json!({ "lines": [{ "qty": 1 }, { "qty": 0 }] }), "payload/lines/1/qty"),
    ] {
        let refused = publish(payload).await.expect(422);
        assert_eq!(refused["field"], field, "{refused}");
    }
    publish(json!({ "lines": [{ "qty": 1 }] })).await.expect(202);
    operator.delete("/v1/topics/basket.left").await.expect(204);
    publish(json!({})).await.expect(202);
}

#[tokio::test]
async fn what_cannot_be_a_topic_is_refused_and_changes_nothing() {
    let world = World::start(Options::default());
    let (tenant, operator) = (world.tenant("refused").await, world.operator());
    operator.put("/v1/topics/a.b", &json!({ "names": { "sapo": "a/b" } })).await.expect(200);
    let before = paging::walk(&tenant.client, "/v1/topics", 250).await;
    let deep = json!({ "$ref": "https://example.com/schema.json" });
    for (path, body, status, field) in [
        ("/v1/topics/Not-a-topic", json!({}), 422, "topic"),
        ("/v1/topics/c.d", json!({ "schema": { "type": "nonsense" } }), 422, "schema/type"),
        ("/v1/topics/c.d", json!({ "schema": 7 }), 422, "schema"),
        ("/v1/topics/c.d", json!({ "schema": deep }), 422, "schema"),
        ("/v1/topics/c.d", json!({ "names": { "ebay": "x" } }), 422, "names"),
        ("/v1/topics/c.d", json!({ "names": { "sapo": 7 } }), 422, "names"),
        ("/v1/topics/c.d", json!({ "names": { "sapo": "" } }), 422, "names"),
        ("/v1/topics/c.d", json!({ "names": { "sapo": "a b" } }), 422, "names/sapo"),
        ("/v1/topics/c.d", json!({ "names": { "sapo": "a/b" } }), 422, "names/sapo"),
        ("/v1/topics/c.d", json!({ "names": { "sapo": "orders/create" } }), 422, "names/sapo"),
        ("/v1/topics/c.d", json!({ "names": { "centry": "callback_url" } }), 422, "names/centry"),
        ("/v1/topics/c.d", json!({ "names": { "v1": "x.y" } }), 422, "names/v1"),
        ("/v1/topics/order.created", json!({ "names": { "sapo": "x/y" } }), 422, "names/sapo"),
        ("/v1/topics/c.d", json!({ "samples": { "ebay": 1 } }), 422, "samples"),
        ("/v1/topics/c.d", json!({ "samples": [] }), 422, "samples"),
        ("/v1/topics/c.d", json!({ "description": "x".repeat(1001) }), 422, "description"),
        ("/v1/topics/c.d", json!({ "tpoic": 1 }), 422, "tpoic"),
        ("/v1/topics/c.d", json!({ "sample": "x".repeat(64 * 1024) }), 413, ""),
    ] {
        let refused = operator.put(path, &body).await.expect(status);
        assert_eq!(refused["field"].as_str().unwrap_or_default(), field, "{body}: {refused}");
    }
    let admin = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["admin"] })).await);
    for client in [&tenant.client, &admin] {
        client.put("/v1/topics/c.d", &json!({})).await.expect(403);
        client.delete("/v1/topics/a.b").await.expect(403);
    }
    for method in [Method::POST, Method::PATCH] {
        operator.send(method, "/v1/topics/a.b", Some(&json!({}))).await.expect(405);
    }
    assert_eq!(paging::walk(&tenant.client, "/v1/topics", 250).await, before);
}
