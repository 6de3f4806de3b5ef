//! What happens to webhooks themselves is told: to whoever names those topics, and to the operator's own tenant.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use postrider_tests::{
    poll,
    receiver::{Receiver, Reply},
    tenant::text,
    world::{Options, World},
};
use serde_json::{Value, json};

const TOPICS: [&str; 2] = ["webhook.*", "delivery.exhausted"];

/// What a receiver was told of a topic.
fn told(receiver: &Receiver, topic: &str) -> Vec<Value> {
    let messages =
        receiver.arrived().into_iter().map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    messages.filter(|message| message["type"] == topic).map(|message| message["data"].clone()).collect()
}

async fn told_once(receiver: &Receiver, topic: &str) -> Value {
    let found = || async { told(receiver, topic).pop() };
    let data = poll::until(poll::SOON * 3, "it is told", found).await;
    assert_eq!(told(receiver, topic).len(), 1, "{topic}");
    data
}

#[tokio::test]
async fn a_failing_receiver_and_its_recovery_are_told_to_its_owner_and_the_operator() {
    let args = vec!["--operations-tenant".to_owned(), "platform".to_owned()];
    let world = World::start(Options { args, ..Options::default() });
    let operator = world.operator();
    operator.post("/v1/tenants", &json!({ "id": "platform", "name": "Us" })).await.expect(201);
    let (watcher, platform, everything) = (Receiver::ok().await, Receiver::ok().await, Receiver::ok().await);
    let body = json!({ "tenant": "platform", "url": platform.url("/"), "topics": TOPICS });
    operator.post("/v1/webhooks", &body).await.expect(201);

    let well = Arc::new(AtomicBool::new(false));
    let is_well = well.clone();
    let rule = move |_: &_| Reply::status(if is_well.load(Ordering::SeqCst) { 200 } else { 500 });
    let shaky = Receiver::start(rule).await;
    let tenant = world.tenant("told").await;
    tenant.webhook(&watcher.url("/"), &TOPICS).await;
    tenant.webhook(&everything.url("/"), &["*"]).await;
    let webhook = tenant.webhook(&shaky.url("/?token=hush"), &["order.*", "webhook.*"]).await;
    for n in 0..12 {
        tenant.publish("order.created", json!(n)).await;
    }
    for receiver in [&watcher, &platform] {
        let failing = told_once(receiver, "webhook.failing").await;
        assert_eq!((&failing["tenant"], &failing["webhook"]), (&json!(tenant.id), &webhook["id"]));
        assert_eq!(failing["failures"], 10);
        assert!(failing["since"].is_string(), "{failing}");
        assert!(!failing.to_string().contains("hush"), "{failing}");
    }
    well.store(true, Ordering::SeqCst);
    for receiver in [&watcher, &platform] {
        let recovered = told_once(receiver, "webhook.recovered").await;
        assert_eq!(recovered["webhook"], webhook["id"]);
    }
    everything.wait(12).await;
    assert_eq!(everything.arrived().len(), 12, "who asks for everything asks for what platforms publish");
    assert_eq!(told(&shaky, "webhook.failing").len(), 0, "nobody is told of himself");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_once() {
    let (watcher, gone) = (Receiver::ok().await, Receiver::start(|_| Reply::status(410)).await);
    let tenant = World::shared().tenant("gone-told").await;
    tenant.webhook(&watcher.url("/"), &TOPICS).await;
    let webhook = tenant.webhook(&gone.url("/"), &["order.created"]).await;
    let event = tenant.publish("order.created", json!(1)).await;
    let disabled = told_once(&watcher, "webhook.disabled").await;
    assert_eq!(disabled["reason"], "the receiver answered 410 Gone");
    let exhausted = told_once(&watcher, "delivery.exhausted").await;
    let delivery = tenant.attempted(text(&webhook, "id"), &event, 1).await;
    for (field, expected) in [
        ("delivery", &delivery["id"]),
        ("event", &json!(event)),
        ("topic", &json!("order.created")),
        ("attempts", &json!(1)),
        ("failure", &json!("status")),
        ("status", &json!(410)),
    ] {
        assert_eq!(exhausted[field], *expected, "{field}");
    }
}

#[tokio::test]
async fn nobody_else_publishes_them() {
    let tenant = World::shared().tenant("forger").await;
    for topic in ["webhook.failing", "webhook.recovered", "webhook.disabled", "delivery.exhausted"] {
        let refused = tenant.client.post("/v1/events", &json!({ "topic": topic })).await.expect(422);
        assert_eq!(refused["field"], "topic");
        let known = tenant.client.get(&format!("/v1/topics/{topic}")).await.expect(200);
        assert!(known["sample"]["webhook"].is_string(), "{known}");
    }
}
