//! A receiver that fails again and again is left in peace but for one try at a time, and gets all when it is back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use postrider_tests::{
    poll,
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

/// A receiver that answers 500 until it is told to do well.
async fn failing() -> (Receiver, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let told = well.clone();
    let rule = move |_: &_| Reply::status(if told.load(Ordering::SeqCst) { 200 } else { 500 });
    (Receiver::start(rule).await, well)
}

async fn publish(tenant: &Tenant, numbers: std::ops::Range<usize>) {
    let events: Vec<_> = numbers.map(|n| json!({ "topic": "order.created", "payload": n })).collect();
    tenant.client.post("/v1/events", &json!(events)).await.expect(202);
}

async fn parked(tenant: &Tenant, id: &str) -> u64 {
    let parked = tenant.client.get(&format!("/v1/webhooks/{id}/parked")).await.expect(200);
    parked["parked"].as_u64().unwrap()
}

async fn until_parked(tenant: &Tenant, id: &str, count: u64) {
    poll::until(poll::SOON, "they are parked", || async {
        (parked(tenant, id).await == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_failing_receiver_is_left_in_peace_and_gets_all_when_it_is_back() {
    let (receiver, well) = failing().await;
    let tenant = World::shared().tenant("breaker").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    publish(&tenant, 0..20).await;
    let health = poll::until(poll::SOON, "it is failing", || async {
        let health = tenant.client.get(&format!("/v1/webhooks/{id}/health")).await.expect(200);
        (health["state"] == "failing" && health["next_try_at"].is_string()).then_some(health)
    })
    .await;
    assert!(health["failures"].as_u64() >= Some(10), "{health}");
    assert!(health["since"].is_string(), "{health}");
    let before = receiver.arrived().len();
    publish(&tenant, 20..60).await;
    // All that comes from now on waits; the first retries of those before may still come, and wait then.
    poll::until(poll::SOON, "they wait", || async { (parked(&tenant, id).await >= 49).then_some(()) }).await;
    let asked = receiver.arrived().len() - before;
    assert!(asked <= 12, "{asked} more");

    well.store(true, Ordering::SeqCst);
    // The next try comes some 10 s after the breaker opened; then all of it.
    let states = poll::until(poll::SOON * 3, "all have arrived", || async {
        let list = tenant.client.get(&format!("/v1/webhooks/{id}/deliveries?limit=100")).await.expect(200);
        let states: Vec<Value> =
            list["data"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
        states.iter().all(|state| state == "delivered").then_some(states)
    })
    .await;
    assert_eq!(states.len(), 60);
    let health = tenant.client.get(&format!("/v1/webhooks/{id}/health")).await.expect(200);
    // Whether it counts as slow is the machine's doing, if that is busy.
    let slow = &health["slow_until"];
    let good =
        json!({ "state": "healthy", "failures": 0, "since": null, "next_try_at": null, "slow_until": slow });
    assert_eq!(health, good);
}

#[tokio::test]
async fn a_few_failures_open_nothing() {
    let receiver = Receiver::start(|request| match request.before % 5 {
        4 => Reply::status(200),
        _ => Reply::status(500),
    })
    .await;
    let tenant = World::shared().tenant("hiccups").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    publish(&tenant, 0..5).await;
    receiver.wait(5).await;
    let health = async || tenant.client.get(&format!("/v1/webhooks/{id}/health")).await.expect(200);
    assert_eq!(health().await["state"], "healthy");
    until_parked(&tenant, id, 0).await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_rest_gets_it_for_all_its_deliveries() {
    for status in [429, 503] {
        let receiver = Receiver::start(move |request| match request.before {
            0 => Reply::Whole(status, vec![("retry-after", "4".to_owned())], Bytes::new()),
            _ => Reply::status(200),
        })
        .await;
        let tenant = World::shared().tenant("rest").await;
        let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
        let id = text(&webhook, "id");
        publish(&tenant, 0..1).await;
        let health = poll::until(poll::SOON, "it rests", || async {
            let health = tenant.client.get(&format!("/v1/webhooks/{id}/health")).await.expect(200);
            (health["state"] == "resting").then_some(health)
        })
        .await;
        assert!(health["next_try_at"].is_string(), "{health}");
        publish(&tenant, 1..9).await;
        until_parked(&tenant, id, 8).await;
        let requests = receiver.wait(9).await;
        for (n, request) in requests[1..].iter().enumerate() {
            let waited = request.at - requests[0].at;
            assert!(waited >= std::time::Duration::from_millis(3_900), "{n} came after {waited:?}");
        }
    }
}
