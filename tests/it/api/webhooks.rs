//! Webhooks by our own API.

use postrider_tests::{receiver::Receiver, tenant::text, world::World};
use serde_json::{Value, json};

#[tokio::test]
async fn a_webhook_is_registered_read_changed_and_deleted() {
    let tenant = World::shared().tenant("crud").await;
    let url = "https://example.com/Hook%20a?x=1&y=%2F";
    let body = json!({
        "url": url, "name": "mine", "topics": ["order.created", "product:request:rejected", "order.created"],
        "headers": { "X-Shop": "hush hush" },
    });
    let made = tenant.client.post("/v1/webhooks", &body).await.expect(201);
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    assert!(text(&made, "id").starts_with("wh_"));
    assert!(text(&made, "secret").starts_with("whsec_"));
    for (field, value) in [
        ("tenant", json!(tenant.id)),
        ("dialect", json!("v1")),
        ("name", json!("mine")),
        ("url", json!(url)),
        ("topics", json!(["order.created", "product_request.rejected"])),
        ("headers", json!({ "x-shop": "[set]" })),
        ("state", json!("active")),
        ("signed", json!(true)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }

    let read = tenant.client.get(&path).await;
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(read.expect(200), shown, "all but the secret");
    assert_eq!(tenant.client.get("/v1/webhooks").await.expect(200)["data"], json!([shown]));

    for (change, field, value) in [
        (json!({ "name": "yours" }), "name", json!("yours")),
        (json!({ "name": null }), "name", Value::Null),
        (json!({ "url": "https://example.com/b" }), "url", json!("https://example.com/b")),
        (json!({ "topics": ["*"] }), "topics", json!(["*"])),
        (
            json!({ "topics": ["order.*", "stock.*", "order.*", "order.paid"] }),
            "topics",
            json!(["order.paid", "order.*", "stock.*"]),
        ),
        (json!({ "headers": {} }), "headers", json!({})),
        (json!({ "active": false }), "state", json!("paused")),
        (json!({ "active": false }), "state", json!("paused")),
        (json!({ "active": true }), "state", json!("active")),
    ] {
        let before = tenant.client.get(&path).await.expect(200);
        let after = tenant.client.patch(&path, &change).await.expect(200);
        assert_eq!(after[field], value, "{change}");
        assert!(text(&after, "updated_at") > text(&before, "updated_at"), "{change}");
        let rest = |webhook: &Value| {
            let mut webhook = webhook.clone();
            for changed in [field, "updated_at"] {
                webhook.as_object_mut().unwrap().remove(changed);
            }
            webhook
        };
        assert_eq!(rest(&before), rest(&after), "{change} changes nothing else");
        assert_eq!(tenant.client.get(&path).await.expect(200), after);
    }

    tenant.client.delete(&path).await.expect(204);
    for answer in [
        tenant.client.get(&path).await,
        tenant.client.delete(&path).await,
        tenant.client.patch(&path, &json!({ "name": "x" })).await,
        tenant.client.post(&format!("{path}/secret/rotate"), &json!({})).await,
        tenant.client.get(&format!("{path}/deliveries")).await,
    ] {
        assert_eq!(answer.expect(404)["type"], "urn:postrider:problem:not-found");
    }
    assert_eq!(tenant.client.get("/v1/webhooks").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_change_takes_effect_on_the_next_event() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("change").await;
    let webhook = tenant.webhook(&receiver.url("/old"), &["order.created"]).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    tenant.publish("order.created", json!(1)).await;
    receiver.wait(1).await;

    let headers =
        json!({ "url": receiver.url("/new"), "topics": ["order.paid"], "headers": { "X-Shop": "7" } });
    tenant.client.patch(&path, &headers).await.expect(200);
    let unwanted = tenant.client.post("/v1/events", &json!({ "topic": "order.created" })).await.expect(202);
    assert_eq!(unwanted["deliveries"], 0);
    tenant.publish("order.paid", json!(2)).await;
    let last = receiver.wait(2).await.pop().unwrap();
    assert_eq!((last.path.as_str(), last.header("x-shop")), ("/new", Some("7")));

    tenant.client.delete(&path).await.expect(204);
    let none = tenant.client.post("/v1/events", &json!({ "topic": "order.paid" })).await.expect(202);
    assert_eq!(none["deliveries"], 0);
    assert_eq!(receiver.arrived().len(), 2);
}

#[tokio::test]
async fn a_pattern_of_topics_gets_whatever_lies_below_it() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("below").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["order.*"]).await;
    let publish = async |topic: &str| {
        let receipt = tenant.client.post("/v1/events", &json!({ "topic": topic })).await.expect(202);
        receipt["deliveries"].clone()
    };
    assert_eq!(publish("order.created").await, 1);
    assert_eq!(publish("order.item.added").await, 1);
    assert_eq!(publish("order_return.created").await, 0);
    let sent = receiver.wait(2).await;
    let mut topics: Vec<_> = sent.iter().map(|request| request.json()["type"].clone()).collect();
    topics.sort_by_key(ToString::to_string);
    assert_eq!(topics, ["order.created", "order.item.added"]);
    // A test event is of a known topic among them.
    let path = format!("/v1/webhooks/{}/test", text(&webhook, "id"));
    let tested = tenant.client.post(&path, &json!({})).await.expect(200);
    assert!(text(&tested, "topic").starts_with("order."), "{tested}");
    // Nothing of it shows in an API that has its own names, and such an API takes none.
    let tiki = json!({ "uri": receiver.url("/"), "event": "order.*" });
    let refused = tenant.client.tiki(&tenant.key).post("/integration/v1/webhooks", &tiki).await;
    assert!((400..500).contains(&refused.status), "{refused}");
}

#[tokio::test]
async fn while_secrets_overlap_both_verify() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("rotate").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["order.created"]).await;
    let rotate = format!("/v1/webhooks/{}/secret/rotate", text(&webhook, "id"));
    let mut secrets = vec![text(&webhook, "secret").to_owned()];
    // Signatures: with the newest secret and its predecessor, and with no other.
    for expected in [&[true][..], &[true, true], &[false, true, true]] {
        tenant.publish("order.created", json!({ "größe": "42" })).await;
        let request = receiver.wait(secrets.len()).await.pop().unwrap();
        let found: Vec<_> = secrets.iter().map(|secret| request.verifies(secret)).collect();
        assert_eq!(found, expected);
        let rotated = tenant.client.post(&rotate, &json!({})).await.expect(200);
        let until: jiff::Timestamp = text(&rotated, "previous_secret_signs_until").parse().unwrap();
        let overlap = until.duration_since(jiff::Timestamp::now());
        assert!(overlap.as_hours() >= 23, "{overlap}");
        assert!(!secrets.contains(&text(&rotated, "secret").to_owned()));
        secrets.push(text(&rotated, "secret").to_owned());
    }
}

#[tokio::test]
async fn two_webhooks_of_one_url_are_two() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("twins").await;
    let one = tenant.webhook(&receiver.url("/"), &["order.created"]).await;
    let two = tenant.webhook(&receiver.url("/"), &["order.created", "*"]).await;
    assert_ne!(one["id"], two["id"]);
    let receipt = tenant.client.post("/v1/events", &json!({ "topic": "order.created" })).await.expect(202);
    assert_eq!(receipt["deliveries"], 2, "once each, though the second matches twice");
    let requests = receiver.wait(2).await;
    let by = |secret: &str| requests.iter().filter(|request| request.verifies(secret)).count();
    assert_eq!((by(text(&one, "secret")), by(text(&two, "secret"))), (1, 1));
}
