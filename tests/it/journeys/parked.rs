//! Events for a webhook that is paused or disabled wait for it, and go out when it is resumed.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use postrider_tests::{
    poll,
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

/// Publishes so many events, and waits until they are parked.
async fn backlog(tenant: &Tenant, webhook: &str, count: usize) {
    let events: Vec<_> = (0..count).map(|n| json!({ "topic": "order.created", "payload": n })).collect();
    for some in events.chunks(100) {
        tenant.client.post("/v1/events", &json!(some)).await.expect(202);
    }
    poll::until(poll::SOON, "they are parked", || async {
        let parked = tenant.client.get(&format!("/v1/webhooks/{webhook}/parked")).await.expect(200);
        (parked == json!({ "parked": count, "or_more": false })).then_some(())
    })
    .await;
}

async fn switch(tenant: &Tenant, webhook: &str, active: bool) {
    tenant.client.patch(&format!("/v1/webhooks/{webhook}"), &json!({ "active": active })).await.expect(200);
}

#[tokio::test]
async fn a_resumed_webhook_gets_all_that_was_parked_oldest_first() {
    let receiver = Receiver::ok().await;
    let tenant = World::shared().tenant("resumed").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    switch(&tenant, id, false).await;
    backlog(&tenant, id, 150).await;
    assert!(receiver.arrived().is_empty(), "a paused webhook gets nothing");
    switch(&tenant, id, true).await;
    let arrived: Vec<Value> = receiver.wait(150).await.iter().map(|one| one.json()["data"].clone()).collect();
    assert_eq!(arrived.len(), 150);
    assert_eq!(arrived[0], 0, "one goes first");
    // Up to 32 are on their way at once: each comes within that of its place.
    for (place, n) in arrived.iter().enumerate() {
        assert!(n.as_u64().unwrap().abs_diff(place as u64) <= 40, "{n} came at {place}");
    }
    let parked = tenant.client.get(&format!("/v1/webhooks/{id}/parked")).await.expect(200);
    assert_eq!(parked["parked"], 0);
}

#[tokio::test]
async fn a_backlog_goes_out_gently() {
    let receiver =
        Receiver::start(|_| Reply::Late(Duration::from_millis(100), Box::new(Reply::status(200)))).await;
    let tenant = World::shared().tenant("gently").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    switch(&tenant, id, false).await;
    backlog(&tenant, id, 100).await;
    switch(&tenant, id, true).await;
    let requests = receiver.wait(100).await;
    let begin = requests[0].at;
    let within =
        |millis| requests.iter().filter(|request| request.at - begin < Duration::from_millis(millis)).count();
    // One, two more, four more: not all at once.
    assert!(within(90) <= 1, "{}", within(90));
    assert!(within(190) <= 3, "{}", within(190));
    assert!(within(290) <= 7, "{}", within(290));
}

#[tokio::test]
async fn a_backlog_stops_when_its_webhook_is_paused_and_goes_on_when_it_is_resumed() {
    let receiver =
        Receiver::start(|_| Reply::Late(Duration::from_millis(20), Box::new(Reply::status(200)))).await;
    let tenant = World::shared().tenant("stop-go").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    switch(&tenant, id, false).await;
    backlog(&tenant, id, 200).await;
    switch(&tenant, id, true).await;
    receiver.wait(10).await;
    switch(&tenant, id, false).await;
    let parked = poll::until(poll::SOON, "it stands still", || async {
        let count = async || {
            let parked = tenant.client.get(&format!("/v1/webhooks/{id}/parked")).await.expect(200);
            (parked["parked"].as_u64().unwrap(), receiver.arrived().len())
        };
        let before = count().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        (before == count().await).then_some(before)
    })
    .await;
    assert_eq!(parked.0 + parked.1 as u64, 200, "what did not go out is parked again");
    assert!(parked.1 < 200, "{parked:?}");
    switch(&tenant, id, true).await;
    assert_eq!(receiver.wait(200).await.len(), 200);
}

#[tokio::test]
async fn what_is_given_up_is_not_sent() {
    let receiver = Receiver::ok().await;
    let tenant = World::shared().tenant("given-up").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    switch(&tenant, id, false).await;
    backlog(&tenant, id, 30).await;
    let path = format!("/v1/webhooks/{id}/parked");
    assert_eq!(tenant.client.delete(&path).await.expect(200), json!({ "discarded": 30 }));
    assert_eq!(tenant.client.delete(&path).await.expect(200), json!({ "discarded": 0 }));
    switch(&tenant, id, true).await;
    let event = tenant.publish("order.created", json!("new")).await;
    assert_eq!(tenant.attempted(id, &event, 1).await["state"], "delivered");
    assert_eq!(receiver.arrived().len(), 1);
    let states: Vec<_> = tenant.deliveries(id).await.iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == "discarded").count(), 30, "they stay on record");
    let reader = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["read"] })).await);
    reader.get(&path).await.expect(200);
    reader.delete(&path).await.expect(403);
    reader.send(Method::POST, &path, None).await.expect(405);
}

#[tokio::test]
async fn a_webhook_that_was_gone_gets_its_backlog_once_it_is_back() {
    let receiver = Receiver::start(|request| match request.before {
        0 => Reply::Whole(410, vec![], Bytes::new()),
        _ => Reply::status(200),
    })
    .await;
    let tenant = World::shared().tenant("back").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    tenant.publish("order.created", json!("first")).await;
    let path = format!("/v1/webhooks/{id}");
    poll::until(poll::SOON, "it is disabled", || async {
        (tenant.client.get(&path).await.expect(200)["state"] == "disabled").then_some(())
    })
    .await;
    backlog(&tenant, id, 5).await;
    switch(&tenant, id, true).await;
    assert_eq!(receiver.wait(6).await.len(), 6);
}
