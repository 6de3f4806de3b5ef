//! `POST /v1/deliveries/{id}/retry`.

use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

async fn retry(tenant: &Tenant, delivery: &Value, status: u16) -> Value {
    let path = format!("/v1/deliveries/{}/retry", text(delivery, "id"));
    tenant.client.send(Method::POST, &path, None).await.expect(status)
}

/// A receiver that says that it is gone the first so many times, and takes everything afterwards.
async fn gone(times: usize) -> Receiver {
    Receiver::start(move |request| match request.before {
        n if n < times => Reply::Whole(410, vec![], Bytes::new()),
        _ => Reply::status(200),
    })
    .await
}

#[tokio::test]
async fn what_has_failed_is_attempted_again_at_once() {
    let (tenant, receiver) = (World::shared().tenant("retry").await, gone(1).await);
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    let event = tenant.publish("order.created", json!({})).await;
    let failed = tenant.delivery(id, &event, |delivery| delivery["state"] == "failed").await;
    // A 410 disabled its webhook.
    tenant.client.patch(&format!("/v1/webhooks/{id}"), &json!({ "active": true })).await.expect(200);
    let answer = retry(&tenant, &failed, 202).await;
    assert_eq!((&answer["state"], &answer["attempt_count"]), (&json!("pending"), &json!(1)));
    assert!(answer["next_attempt_at"].is_string(), "{answer}");
    let sent = tenant.delivery(id, &event, |delivery| delivery["state"] == "delivered").await;
    let numbers: Vec<_> = sent["attempts"].as_array().unwrap().iter().map(|one| &one["number"]).collect();
    assert_eq!(numbers, [1, 2]);
    let ids: Vec<_> =
        receiver.wait(2).await.iter().map(|one| one.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!(ids, [Some(event.clone()), Some(event)], "it is the same event");
}

#[tokio::test]
async fn what_was_delivered_is_sent_again_once_by_all_who_ask_at_the_same_time() {
    let (tenant, receiver) = (World::shared().tenant("again").await, Receiver::ok().await);
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    let event = tenant.publish("order.created", json!({})).await;
    let sent = tenant.attempted(id, &event, 1).await;
    // Paused, so that what one of them set going is not over before another asks.
    tenant.client.patch(&format!("/v1/webhooks/{id}"), &json!({ "active": false })).await.expect(200);
    for answer in join_all((0..8).map(|_| retry(&tenant, &sent, 202))).await {
        assert!(matches!(text(&answer, "state"), "pending" | "parked"), "{answer}");
    }
    tenant.delivery(id, &event, |delivery| delivery["state"] == "parked").await;
    assert_eq!(receiver.arrived().len(), 1, "a paused webhook gets nothing");
    tenant.client.patch(&format!("/v1/webhooks/{id}"), &json!({ "active": true })).await.expect(200);
    let delivery = tenant.delivery(id, &event, |delivery| delivery["state"] == "delivered").await;
    assert_eq!((&delivery["attempt_count"], receiver.arrived().len()), (&json!(2), 2));
}

#[tokio::test]
async fn what_waits_for_its_next_attempt_need_not() {
    let receiver = Receiver::start(|request| match request.before {
        // Later than the suite waits: it would come by itself after 5 s, and then after 5 min.
        0 | 1 => Reply::status(500),
        _ => Reply::status(200),
    })
    .await;
    let tenant = World::shared().tenant("sooner").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    let event = tenant.publish("order.created", json!({})).await;
    let waits = tenant.attempted(id, &event, 1).await;
    retry(&tenant, &waits, 202).await;
    let waits = tenant.attempted(id, &event, 2).await;
    assert_eq!(waits["state"], "pending", "the attempt that was asked for does not count in its schedule");
    let next: jiff::Timestamp = text(&waits, "next_attempt_at").parse().unwrap();
    let tried: jiff::Timestamp = text(&waits["attempts"][1], "at").parse().unwrap();
    assert!(
        next.duration_since(tried).as_secs() < 10,
        "the second in the schedule is still to come: {waits}"
    );
    retry(&tenant, &waits, 202).await;
    assert_eq!(tenant.attempted(id, &event, 3).await["state"], "delivered");
}

#[tokio::test]
async fn only_who_may_write_retries_and_only_what_is_there() {
    let (tenant, receiver) = (World::shared().tenant("who").await, Receiver::ok().await);
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event = tenant.publish("order.created", json!({})).await;
    let sent = tenant.attempted(text(&webhook, "id"), &event, 1).await;
    let reader = Tenant {
        client: tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["read"] })).await),
        ..tenant.clone()
    };
    retry(&reader, &sent, 403).await;
    retry(&tenant, &json!({ "id": format!("dlv_{:064x}", 7) }), 404).await;
    retry(&tenant, &json!({ "id": "dlv_7" }), 404).await;
    tenant.client.delete(&format!("/v1/webhooks/{}", text(&webhook, "id"))).await.expect(204);
    let refused = retry(&tenant, &sent, 409).await;
    assert!(text(&refused, "detail").contains("webhook"), "{refused}");
    let path = format!("/v1/deliveries/{}/retry", text(&sent, "id"));
    tenant.client.get(&path).await.expect(405);
}
