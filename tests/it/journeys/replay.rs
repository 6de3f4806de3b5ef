//! Replays: jobs that take up again what failed, what is missing, or what was delivered.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use postrider_tests::{
    poll,
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::{Options, World},
};
use serde_json::{Value, json};

fn an_hour_ago() -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(1)
}

async fn start(tenant: &Tenant, more: Value) -> Value {
    let mut body = json!({ "since": an_hour_ago(), "per_second": 1000 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tenant.client.post("/v1/replays", &body).await.expect(202)
}

async fn show(tenant: &Tenant, replay: &Value) -> Value {
    tenant.client.get(&format!("/v1/replays/{}", text(replay, "id"))).await.expect(200)
}

/// A replay, once it is as it should be.
async fn until(tenant: &Tenant, replay: &Value, is_so: impl Fn(&Value) -> bool) -> Value {
    let is_so = &is_so;
    poll::until(poll::SOON, "the replay comes that far", || async move {
        Some(show(tenant, replay).await).filter(is_so)
    })
    .await
}

async fn finished(tenant: &Tenant, replay: &Value) -> Value {
    until(tenant, replay, |replay| replay["state"] == "finished").await
}

async fn publish(tenant: &Tenant, topic: &str, count: usize) {
    let events: Vec<_> = (0..count).map(|n| json!({ "topic": topic, "payload": n })).collect();
    for some in events.chunks(100) {
        tenant.client.post("/v1/events", &json!(some)).await.expect(202);
    }
}

/// Waits until so many deliveries of a webhook are on record as delivered.
async fn delivered(tenant: &Tenant, webhook: &Value, count: usize) {
    let path = format!("/v1/webhooks/{}/deliveries?limit=250", text(webhook, "id"));
    poll::until(poll::SOON, "they are delivered", async || {
        let list = tenant.client.get(&path).await.expect(200);
        let states = list["data"].as_array().unwrap().iter().map(|one| &one["state"]);
        (states.filter(|state| **state == "delivered").count() == count).then_some(())
    })
    .await;
}

/// The events that came to a receiver, each once.
fn events(receiver: &Receiver) -> BTreeSet<String> {
    receiver.arrived().iter().map(|one| one.header("webhook-id").unwrap().to_owned()).collect()
}

/// A webhook of which so many deliveries have failed, for its receiver said that it is gone; it is back.
async fn failures(tenant: &Tenant, count: usize) -> (Receiver, Value) {
    let receiver = Receiver::start(move |request| match request.before {
        n if n < count => Reply::Whole(410, vec![], Bytes::new()),
        _ => Reply::status(200),
    })
    .await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    // Each 410 disables it.
    for n in 0..count {
        let event = tenant.publish("order.created", json!(n)).await;
        tenant.delivery(text(&webhook, "id"), &event, |delivery| delivery["state"] == "failed").await;
        tenant.client.patch(&path, &json!({ "active": true })).await.expect(200);
    }
    (receiver, webhook)
}

#[tokio::test]
async fn what_has_failed_is_recovered_and_counted() {
    let tenant = World::shared().tenant("recover").await;
    let (receiver, webhook) = failures(&tenant, 3).await;
    let fine = tenant.publish("order.created", json!("fine")).await;
    tenant.attempted(text(&webhook, "id"), &fine, 1).await;
    let started = start(&tenant, json!({ "webhook": webhook["id"], "topic": "order.*" })).await;
    assert_eq!((&started["state"], &started["total"]), (&json!("queueing"), &Value::Null));
    let replay = finished(&tenant, &started).await;
    let counts = ["queued", "total", "done", "failed", "parked", "pending"].map(|name| &replay[name]);
    assert_eq!(counts, [3, 3, 3, 0, 0, 0], "{replay}");
    assert_eq!(receiver.arrived().len(), 7, "what was delivered is not sent again");
    for delivery in tenant.deliveries(text(&webhook, "id")).await {
        assert_eq!(delivery["state"], "delivered", "{delivery}");
    }
    // Nothing has failed any more.
    let again = finished(&tenant, &start(&tenant, json!({})).await).await;
    assert_eq!((&again["queued"], &again["total"]), (&json!(0), &json!(0)));
    let list = tenant.client.get("/v1/replays?limit=1").await.expect(200);
    assert_eq!(list["data"][0]["id"], again["id"], "newest first");
    let cursor = text(&list, "next_cursor");
    let next = tenant.client.get(&format!("/v1/replays?cursor={cursor}")).await.expect(200);
    assert_eq!(next["data"], json!([replay]));
}

#[tokio::test]
async fn a_new_webhook_gets_its_history_once() {
    let (tenant, old, new) =
        (World::shared().tenant("history").await, Receiver::ok().await, Receiver::ok().await);
    tenant.webhook(&old.url("/"), &["*"]).await;
    publish(&tenant, "order.created", 130).await;
    publish(&tenant, "stock.updated", 3).await;
    old.wait(133).await;
    let webhook = tenant.webhook(&new.url("/"), &["order.*"]).await;
    let missing = json!({ "webhook": webhook["id"], "status": "missing" });
    let replay = finished(&tenant, &start(&tenant, missing.clone()).await).await;
    assert_eq!((&replay["total"], &replay["done"]), (&json!(130), &json!(130)), "{replay}");
    assert_eq!((new.arrived().len(), events(&new).len()), (130, 130), "each once, and only of its topics");
    let again = finished(&tenant, &start(&tenant, missing).await).await;
    assert_eq!(again["total"], 0, "nothing is missing any more");
    let all = finished(&tenant, &start(&tenant, json!({ "status": "missing" })).await).await;
    assert_eq!(all["total"], 0, "nor to the others");
    assert_eq!((old.arrived().len(), new.arrived().len()), (133, 130));
}

#[tokio::test]
async fn what_was_delivered_is_sent_again_for_all_webhooks_of_a_tenant_by_topic() {
    let (tenant, receiver) = (World::shared().tenant("resend").await, Receiver::ok().await);
    let a = tenant.webhook(&receiver.url("/a"), &["*"]).await;
    let b = tenant.webhook(&receiver.url("/b"), &["*"]).await;
    publish(&tenant, "order.created", 5).await;
    publish(&tenant, "stock.updated", 5).await;
    delivered(&tenant, &a, 10).await;
    delivered(&tenant, &b, 10).await;
    let asked = json!({ "status": "delivered", "topic": "stock.updated" });
    let replay = finished(&tenant, &start(&tenant, asked).await).await;
    assert_eq!((&replay["total"], &replay["done"]), (&json!(10), &json!(10)), "{replay}");
    assert_eq!((receiver.arrived().len(), events(&receiver).len()), (30, 10));
}

#[tokio::test]
async fn a_replay_keeps_its_pace_and_can_be_stopped() {
    let (tenant, old, new) =
        (World::shared().tenant("pace").await, Receiver::ok().await, Receiver::ok().await);
    tenant.webhook(&old.url("/"), &["*"]).await;
    publish(&tenant, "order.created", 250).await;
    old.wait(250).await;
    let webhook = tenant.webhook(&new.url("/"), &["*"]).await;
    let asked = json!({ "webhook": webhook["id"], "status": "missing", "per_second": 10 });
    let started = start(&tenant, asked).await;
    let arrived = new.wait(20).await;
    let took = arrived[19].at - arrived[0].at;
    assert!(took.as_millis() >= 1500, "20 in {took:?}");
    let running = until(&tenant, &started, |replay| replay["queued"] == 100).await;
    assert_eq!((&running["state"], &running["total"]), (&json!("queueing"), &Value::Null));
    assert!(running["estimated_end"].is_string(), "{running}");
    let path = format!("/v1/replays/{}", text(&started, "id"));
    let stopped = tenant.client.delete(&path).await.expect(200);
    assert_eq!(stopped["state"], "cancelled");
    assert_eq!(tenant.client.delete(&path).await.expect(200), stopped, "once more changes nothing");
    assert_eq!(new.wait(100).await.len(), 100, "what it has taken up goes out");
    assert_eq!(show(&tenant, &started).await, stopped);
}

#[tokio::test]
async fn a_replay_for_a_paused_webhook_is_parked_and_counted_so() {
    let tenant = World::shared().tenant("paused-replay").await;
    let (receiver, webhook) = failures(&tenant, 2).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    tenant.client.patch(&path, &json!({ "active": false })).await.expect(200);
    let replay = finished(&tenant, &start(&tenant, json!({})).await).await;
    assert_eq!((&replay["total"], &replay["parked"]), (&json!(2), &json!(2)), "{replay}");
    tenant.client.patch(&path, &json!({ "active": true })).await.expect(200);
    assert_eq!(receiver.wait(4).await.len(), 4);
}

#[tokio::test]
async fn a_replay_goes_on_where_a_crash_broke_it_off() {
    let world = World::start(Options::default());
    let (tenant, old, new) = (world.tenant("crash").await, Receiver::ok().await, Receiver::ok().await);
    tenant.webhook(&old.url("/"), &["*"]).await;
    publish(&tenant, "order.created", 350).await;
    old.wait(350).await;
    let webhook = tenant.webhook(&new.url("/"), &["*"]).await;
    let asked = json!({ "webhook": webhook["id"], "status": "missing", "per_second": 200 });
    let started = start(&tenant, asked).await;
    new.wait(150).await;
    world.kill();
    world.restart();
    // A client of its own: the other's connections died with the process.
    let tenant = Tenant { client: world.client().bearer(&tenant.key), ..tenant };
    let replay = finished(&tenant, &started).await;
    assert_eq!((&replay["total"], &replay["done"]), (&json!(350), &json!(350)), "{replay}");
    assert_eq!(events(&new).len(), 350);
    // Those under way when it died are sent once more; the rest are not.
    assert!(new.arrived().len() <= 350 + 100, "{}", new.arrived().len());
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let tenant = World::shared().tenant("refused-replay").await;
    let ago = |hours| Timestamp::now() - SignedDuration::from_hours(hours);
    let nobody = format!("wh_{:032x}", 7);
    for (field, body) in [
        ("since", json!({})),
        ("since", json!({ "since": "yesterday" })),
        ("since", json!({ "since": ago(24 * 31) })),
        ("since", json!({ "since": ago(-1) })),
        ("since", json!({ "since": ago(1), "until": ago(2) })),
        ("until", json!({ "since": ago(1), "until": 7 })),
        ("status", json!({ "since": ago(1), "status": "lost" })),
        ("topic", json!({ "since": ago(1), "topic": "no.such.*.topic" })),
        ("webhook", json!({ "since": ago(1), "webhook": "7" })),
        ("per_second", json!({ "since": ago(1), "per_second": 0 })),
        ("per_second", json!({ "since": ago(1), "per_second": 1001 })),
        ("speed", json!({ "since": ago(1), "speed": 1 })),
    ] {
        let problem = tenant.client.post("/v1/replays", &body).await.expect(422);
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
    tenant.client.post("/v1/replays", &json!({ "since": ago(1), "webhook": nobody })).await.expect(404);
    let reader = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["read"] })).await);
    reader.post("/v1/replays", &json!({ "since": ago(1) })).await.expect(403);
    reader.get("/v1/replays").await.expect(200);
    let missing = format!("/v1/replays/rpl_{:032x}", 7);
    reader.get(&missing).await.expect(404);
    reader.delete(&missing).await.expect(403);
    tenant.client.delete(&missing).await.expect(404);
    tenant.client.send(Method::PATCH, &missing, None).await.expect(405);
}
