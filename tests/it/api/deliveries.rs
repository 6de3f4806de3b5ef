//! The record of what was delivered, and what deliveries authenticate with.

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_tests::{receiver::Receiver, tenant::text, world::World};
use serde_json::{Value, json};

#[tokio::test]
async fn a_delivery_explains_itself() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("record").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event = tenant.publish("order.created", json!({})).await;
    let delivery = tenant.attempted(text(&webhook, "id"), &event, 1).await;
    for (field, value) in [
        ("tenant", json!(tenant.id)),
        ("webhook", webhook["id"].clone()),
        ("event", json!(event)),
        ("topic", json!("order.created")),
        ("state", json!("delivered")),
        ("attempt_count", json!(1)),
        ("next_attempt_at", Value::Null),
        ("last_status", json!(200)),
        ("last_failure", Value::Null),
    ] {
        assert_eq!(delivery[field], value, "{field}: {delivery}");
    }
    let attempt = &delivery["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["reply"]["status"]), (&json!(1), &json!(200)));
    assert_eq!(attempt["address"], receiver.address().to_string());
    assert_eq!((&attempt["failure"], &attempt["detail"]), (&Value::Null, &Value::Null));
    let began: jiff::Timestamp = text(attempt, "at").parse().unwrap();
    let created: jiff::Timestamp = text(&delivery, "created_at").parse().unwrap();
    assert!(began >= created, "{delivery}");
    let phase = |name: &str| attempt["phases"][name].as_u64();
    let parts = ["dns_us", "connect_us", "first_byte_us"].map(|name| phase(name).expect(name));
    assert_eq!(phase("tls_us"), None, "there is none without TLS");
    assert!(parts.iter().sum::<u64>() <= phase("total_us").unwrap(), "{attempt}");

    let mut listed = delivery.clone();
    listed.as_object_mut().unwrap().remove("attempts");
    assert_eq!(tenant.deliveries(text(&webhook, "id")).await, [listed], "a list leaves the attempts out");
}

#[tokio::test]
async fn granted_credentials_go_with_every_delivery_from_then_on() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("granted").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    tenant.publish("order.created", json!(0)).await;
    assert_eq!(receiver.first().await.header("authorization"), None);
    for (n, (id, secret)) in [("me", "hush"), ("ü", "a:b c"), ("me", "other")].into_iter().enumerate() {
        let answer = tenant.client.put("/v1/credentials", &json!({ "id": id, "secret": secret })).await;
        answer.expect(204);
        assert!(answer.body.is_empty());
        tenant.publish("order.created", json!(n)).await;
        let request = receiver.wait(n + 2).await.pop().unwrap();
        let expected = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        assert_eq!(request.header("authorization"), Some(expected.as_str()));
    }
    // The operator grants for a tenant by name.
    let body = json!({ "tenant": tenant.id, "id": "op", "secret": "s" });
    tenant.operator.put("/v1/credentials", &body).await.expect(204);
    tenant.publish("order.created", json!(9)).await;
    let last = receiver.wait(5).await.pop().unwrap();
    assert_eq!(last.header("authorization"), Some(&*format!("Basic {}", STANDARD.encode("op:s"))));
}

#[tokio::test]
async fn what_a_paused_webhook_misses_is_parked() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("parked").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    tenant.client.patch(&path, &json!({ "active": false })).await.expect(200);
    let receipt = tenant.client.post("/v1/events", &json!({ "topic": "order.created" })).await.expect(202);
    assert_eq!(receipt["deliveries"], 1, "it is counted");
    let parked = tenant
        .delivery(text(&webhook, "id"), text(&receipt, "id"), |delivery| delivery["state"] == "parked")
        .await;
    assert_eq!((&parked["attempt_count"], &parked["attempts"]), (&json!(0), &json!([])));

    tenant.client.patch(&path, &json!({ "active": true })).await.expect(200);
    let sent = tenant.attempted(text(&webhook, "id"), text(&receipt, "id"), 1).await;
    assert_eq!((&sent["state"], receiver.arrived().len()), (&json!("delivered"), 1));
}
