//! A receiver behind a firewall asks for its events, and says which it has by asking for more.

use http::{HeaderMap, HeaderName};
use postrider_tests::{
    poll,
    receiver::Receiver,
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

async fn polled_webhook(tenant: &Tenant) -> Value {
    tenant.client.post("/v1/webhooks", &json!({ "polled": true, "topics": ["*"] })).await.expect(201)
}

/// Asks, with what the answer before said.
async fn ask(tenant: &Tenant, webhook: &str, query: &str, before: Option<&Value>) -> Value {
    let cursor = before.and_then(|answer| answer["next_cursor"].as_str());
    let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    tenant.client.get(&format!("/v1/webhooks/{webhook}/events?{query}{cursor}")).await.expect(200)
}

/// The payloads that were handed out.
fn payloads(answer: &Value) -> Vec<Value> {
    let body = |one: &Value| serde_json::from_str::<Value>(text(one, "body")).unwrap()["data"].clone();
    answer["data"].as_array().unwrap().iter().map(body).collect()
}

async fn publish(tenant: &Tenant, webhook: &str, payloads: std::ops::Range<u64>, waiting: u64) {
    let events: Vec<_> = payloads.map(|n| json!({ "topic": "order.created", "payload": n })).collect();
    tenant.client.post("/v1/events", &json!(events)).await.expect(202);
    wait_until(tenant, webhook, waiting).await;
}

async fn wait_until(tenant: &Tenant, webhook: &str, waiting: u64) {
    poll::until(poll::SOON, "they wait", || async {
        let parked = tenant.client.get(&format!("/v1/webhooks/{webhook}/parked")).await.expect(200);
        (parked["parked"] == waiting).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_event_is_handed_out_in_order_until_its_receiver_has_it() {
    let tenant = World::shared().tenant("polls").await;
    let webhook = polled_webhook(&tenant).await;
    let id = text(&webhook, "id");
    assert_eq!((&webhook["state"], &webhook["url"]), (&json!("polled"), &Value::Null));
    let nothing = ask(&tenant, id, "", None).await;
    assert_eq!(nothing, json!({ "data": [], "next_cursor": null }));
    publish(&tenant, id, 0..7, 7).await;

    let first = ask(&tenant, id, "limit=3", None).await;
    assert_eq!(payloads(&first), [0, 1, 2]);
    assert_eq!(payloads(&ask(&tenant, id, "limit=3", None).await), [0, 1, 2], "nobody said that they came");
    let second = ask(&tenant, id, "limit=3", Some(&first)).await;
    assert_eq!(payloads(&second), [3, 4, 5]);
    assert_eq!(payloads(&ask(&tenant, id, "limit=3", Some(&first)).await), [3, 4, 5], "the same again");
    assert_eq!(
        payloads(&ask(&tenant, id, "limit=2", None).await),
        [3, 4],
        "what came is not handed out again"
    );
    let third = ask(&tenant, id, "limit=3", Some(&second)).await;
    assert_eq!(payloads(&third), [6]);
    // What was published meanwhile comes next, and one who waits long forgets nothing.
    publish(&tenant, id, 7..9, 3).await;
    let fourth = ask(&tenant, id, "", Some(&third)).await;
    assert_eq!(payloads(&fourth), [7, 8]);
    assert_eq!(ask(&tenant, id, "", Some(&fourth)).await, nothing);
    for delivery in tenant.deliveries(id).await {
        assert_eq!((&delivery["state"], &delivery["attempt_count"]), (&json!("delivered"), &json!(1)));
    }
}

#[tokio::test]
async fn what_is_handed_out_is_signed_as_if_it_was_sent() {
    let (tenant, receiver) = (World::shared().tenant("signed-poll").await, Receiver::ok().await);
    tenant.client.put("/v1/credentials", &json!({ "id": "me", "secret": "hush" })).await.expect(204);
    let webhook = polled_webhook(&tenant).await;
    let id = text(&webhook, "id");
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event =
        json!({ "id": "e-1", "topic": "order.created", "payload": { "price": 1.10, "note": "é \"x\"" } });
    tenant.client.post("/v1/events", &event).await.expect(202);
    let sent = receiver.wait(1).await;
    let handed_out = poll::until(poll::SOON, "it is handed out", || async {
        ask(&tenant, id, "", None).await["data"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((text(&handed_out, "event"), text(&handed_out, "topic")), ("e-1", "order.created"));
    assert_eq!(
        text(&handed_out, "body").as_bytes(),
        &sent[0].body[..],
        "the very bytes that others are sent"
    );
    let mut headers = HeaderMap::new();
    for (name, value) in handed_out["headers"].as_object().unwrap() {
        headers.insert(name.parse::<HeaderName>().unwrap(), value.as_str().unwrap().parse().unwrap());
    }
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names.len(), 4, "and no credentials: {names:?}");
    let verifier = standardwebhooks::Webhook::new(text(&webhook, "secret")).unwrap();
    verifier.verify(text(&handed_out, "body").as_bytes(), &headers).unwrap();
    verifier.verify(b"another", &headers).unwrap_err();
}

#[tokio::test]
async fn nothing_is_sent_to_who_polls() {
    let tenant = World::shared().tenant("sent-nothing").await;
    let webhook = polled_webhook(&tenant).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    publish(&tenant, text(&webhook, "id"), 0..3, 3).await;
    for (change, field) in [
        (json!({ "url": "https://example.com/" }), "url"),
        (json!({ "headers": { "x-a": "b" } }), "headers"),
        (json!({ "active": true }), "active"),
        (json!({ "active": false }), "active"),
    ] {
        assert_eq!(tenant.client.patch(&path, &change).await.expect(422)["field"], field);
    }
    tenant.client.post(&format!("{path}/test"), &json!({})).await.expect(409);
    let changed = tenant.client.patch(&path, &json!({ "name": "Till", "topics": ["*"] })).await.expect(200);
    assert_eq!((&changed["state"], &changed["name"]), (&json!("polled"), &json!("Till")));
    assert_eq!(tenant.client.get(&format!("{path}/parked")).await.expect(200)["parked"], 3);
    assert_eq!(tenant.client.delete(&format!("{path}/parked")).await.expect(200)["discarded"], 3);
    assert_eq!(ask(&tenant, text(&webhook, "id"), "", None).await["data"], json!([]));

    let (register, both) =
        ("/v1/webhooks", json!({ "polled": true, "url": "https://a.example/", "topics": ["*"] }));
    assert_eq!(tenant.client.post(register, &both).await.expect(422)["field"], "url");
    let headers = json!({ "polled": true, "headers": { "x-a": "b" }, "topics": ["*"] });
    assert_eq!(tenant.client.post(register, &headers).await.expect(422)["field"], "headers");
    let neither = json!({ "polled": false, "topics": ["*"] });
    assert_eq!(tenant.client.post(register, &neither).await.expect(422)["field"], "url");
}

#[tokio::test]
async fn who_may_not_settle_deliveries_may_not_poll() {
    let (tenant, receiver) = (World::shared().tenant("poll-scope").await, Receiver::ok().await);
    let path = format!("/v1/webhooks/{}/events", text(&polled_webhook(&tenant).await, "id"));
    let reader = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["read"] })).await);
    reader.get(&path).await.expect(403);
    tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["write"] })).await).get(&path).await.expect(200);
    let sent = tenant.webhook(&receiver.url("/"), &["*"]).await;
    tenant.client.get(&format!("/v1/webhooks/{}/events", text(&sent, "id"))).await.expect(409);
    for query in ["limit=0", "limit=101", "limit=x", "cursor=", "cursor=!", "cursor=abcd"] {
        let field = query.split('=').next().unwrap();
        assert_eq!(
            tenant.client.get(&format!("{path}?{query}")).await.expect(422)["field"],
            field,
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_answer_is_no_longer_than_lambda_may_give() {
    let tenant = World::shared().tenant("long-poll").await;
    let webhook = polled_webhook(&tenant).await;
    let id = text(&webhook, "id");
    let payload = "\"".repeat(100_000);
    for n in 1..=8 {
        tenant.publish("order.created", json!(payload)).await;
        wait_until(&tenant, id, n).await;
    }
    let (mut handed_out, mut before) = (0, None);
    while handed_out < 8 {
        let answer = ask(&tenant, id, "limit=100", before.as_ref()).await;
        // As Lambda would have it: our answer is a text in its own.
        assert!(json!(answer.to_string()).to_string().len() < 6 * 1024 * 1024);
        let some = answer["data"].as_array().unwrap().len();
        assert!(some > 0);
        handed_out += some;
        before = Some(answer);
    }
    assert_eq!(handed_out, 8);
}
