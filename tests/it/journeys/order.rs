//! Events with one ordering key come to a webhook that asks for it one after the other.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use postrider_tests::{
    poll,
    receiver::{Arrived, Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

async fn ordered(tenant: &Tenant, url: &str, on_failure: &str) -> String {
    let body = json!({ "url": url, "topics": ["*"], "ordered": true, "on_failure": on_failure });
    let made = tenant.client.post("/v1/webhooks", &body).await.expect(201);
    assert_eq!((&made["ordered"], &made["on_failure"]), (&json!(true), &json!(on_failure)));
    text(&made, "id").to_owned()
}

fn event(key: Option<&str>, payload: impl Into<Value>) -> Value {
    let payload: Value = payload.into();
    json!({ "topic": "order.created", "ordering_key": key, "payload": payload })
}

async fn publish(tenant: &Tenant, events: &[Value]) -> Vec<String> {
    let receipts = tenant.client.post("/v1/events", &json!(events)).await.expect(202);
    receipts["events"].as_array().unwrap().iter().map(|one| text(one, "id").to_owned()).collect()
}

fn said(requests: &[Arrived]) -> Vec<Value> {
    requests.iter().map(|request| request.json()["data"].clone()).collect()
}

#[tokio::test]
async fn who_fails_is_waited_for_by_its_own_line_alone() {
    let receiver = Receiver::start(|request| match request.json()["data"].as_str() {
        Some("a0") if request.before == 0 => Reply::status(500),
        _ => Reply::status(200),
    })
    .await;
    let tenant = World::shared().tenant("line").await;
    let webhook = ordered(&tenant, &receiver.url("/"), "skip").await;
    publish(&tenant, &[event(Some("a"), "a0")]).await;
    receiver.wait(1).await;
    let ids = publish(&tenant, &[event(Some("a"), "a1"), event(Some("a"), "a2")]).await;
    publish(&tenant, &[event(Some("b"), "b0"), event(None, "c0")]).await;
    let waits = tenant.delivery(&webhook, &ids[1], |delivery| delivery["state"] == "waiting").await;
    assert_eq!((&waits["ordering_key"], &waits["attempt_count"]), (&json!("a"), &json!(0)));
    let mut all = said(&receiver.wait(6).await);
    all.retain(|one| one.as_str().unwrap().starts_with('a'));
    assert_eq!(all, ["a0", "a0", "a1", "a2"]);
    assert_eq!(tenant.attempted(&webhook, &ids[1], 1).await["state"], "delivered");
}

#[tokio::test]
async fn many_lines_go_at_once_and_each_in_its_order() {
    let receiver =
        Receiver::start(|_| Reply::Late(Duration::from_millis(5), Box::new(Reply::status(200)))).await;
    let tenant = World::shared().tenant("lines").await;
    let webhook = ordered(&tenant, &receiver.url("/"), "block").await;
    for start in [0, 40] {
        let some: Vec<_> = (start..start + 40).map(|n| event(Some(&format!("k{}", n % 4)), n)).collect();
        publish(&tenant, &some).await;
    }
    let mut lines: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for one in said(&receiver.wait(80).await) {
        let n = one.as_u64().unwrap();
        lines.entry(n % 4).or_default().push(n);
    }
    for (line, seen) in lines {
        assert_eq!(seen, (0..20).map(|n| 4 * n + line).collect::<Vec<_>>());
    }
    assert_eq!(receiver.arrived().len(), 80);
    // Who wants no order gets none, and waits for nobody.
    let plain = Receiver::ok().await;
    let other = tenant.webhook(&plain.url("/"), &["*"]).await;
    assert_eq!((&other["ordered"], &other["on_failure"]), (&json!(false), &Value::Null));
    let ids = publish(&tenant, &[event(Some("k"), 1), event(Some("k"), 2)]).await;
    let free = tenant.attempted(text(&other, "id"), &ids[1], 1).await;
    assert_eq!((&free["state"], &free["ordering_key"]), (&json!("delivered"), &Value::Null));
    assert_eq!(tenant.attempted(&webhook, &ids[1], 1).await["state"], "delivered");
}

#[tokio::test]
async fn a_backlog_goes_out_in_the_order_of_its_lines() {
    let receiver = Receiver::ok().await;
    let tenant = World::shared().tenant("backlog-lines").await;
    let webhook = ordered(&tenant, &receiver.url("/"), "skip").await;
    let path = format!("/v1/webhooks/{webhook}");
    tenant.client.patch(&path, &json!({ "active": false })).await.expect(200);
    let events: Vec<_> = (0..60).map(|n| event(Some(if n % 3 == 0 { "a" } else { "b" }), n)).collect();
    publish(&tenant, &events).await;
    poll::until(poll::SOON, "they are parked", || async {
        (tenant.client.get(&format!("{path}/parked")).await.expect(200)["parked"] == 60).then_some(())
    })
    .await;
    tenant.client.patch(&path, &json!({ "active": true })).await.expect(200);
    let all: Vec<_> = said(&receiver.wait(60).await).iter().map(|one| one.as_u64().unwrap()).collect();
    let (a, b): (Vec<u64>, Vec<u64>) = all.iter().partition(|n| **n % 3 == 0);
    assert!(a.is_sorted() && b.is_sorted(), "{all:?}");
    assert_eq!(all.len(), 60);
}

/// A line whose first is answered 410, which disables its webhook; then that is resumed.
async fn failed_first(tenant: &Tenant, receiver: &Receiver, on_failure: &str) -> (String, Vec<String>) {
    let webhook = ordered(tenant, &receiver.url("/"), on_failure).await;
    let path = format!("/v1/webhooks/{webhook}");
    let ids = publish(tenant, &[event(Some("a"), 0), event(Some("a"), 1), event(Some("a"), 2)]).await;
    tenant.delivery(&webhook, &ids[0], |delivery| delivery["state"] == "failed").await;
    tenant.client.patch(&path, &json!({ "active": true })).await.expect(200);
    (webhook, ids)
}

fn gone_at_first(request: &Arrived) -> Reply {
    Reply::status(if request.before == 0 { 410 } else { 200 })
}

#[tokio::test]
async fn a_line_skips_what_failed_for_good() {
    let (tenant, receiver) = (World::shared().tenant("skip").await, Receiver::start(gone_at_first).await);
    let (webhook, ids) = failed_first(&tenant, &receiver, "skip").await;
    assert_eq!(said(&receiver.wait(3).await), [0, 1, 2]);
    assert_eq!(tenant.attempted(&webhook, &ids[2], 1).await["state"], "delivered");
}

#[tokio::test]
async fn a_line_is_blocked_by_what_failed_until_that_is_given_up() {
    let (tenant, receiver) = (World::shared().tenant("block").await, Receiver::start(gone_at_first).await);
    let (webhook, ids) = failed_first(&tenant, &receiver, "block").await;
    // Others go on.
    let other = publish(&tenant, &[event(Some("b"), "b")]).await;
    tenant.attempted(&webhook, &other[0], 1).await;
    for id in &ids[1..] {
        tenant.delivery(&webhook, id, |delivery| delivery["state"] == "waiting").await;
    }
    assert_eq!(said(&receiver.arrived()), [json!(0), json!("b")]);
    let failed = tenant.attempted(&webhook, &ids[0], 1).await;
    let path = format!("/v1/deliveries/{}", text(&failed, "id"));
    let reader = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["read"] })).await);
    reader.delete(&path).await.expect(403);
    tenant.client.delete(&path).await.expect(204);
    assert_eq!(tenant.client.get(&path).await.expect(200)["state"], "discarded");
    tenant.client.delete(&path).await.expect(409);
    assert_eq!(said(&receiver.wait(4).await)[2..], [1, 2]);
    tenant.client.delete(&format!("/v1/deliveries/dlv_{:064x}", 1)).await.expect(404);
}

#[tokio::test]
async fn what_cannot_be_in_order_is_refused() {
    let tenant = World::shared().tenant("bad-order").await;
    for (more, field) in [
        (json!({ "ordered": "yes" }), "ordered"),
        (json!({ "ordered": true, "on_failure": "stop" }), "on_failure"),
        (json!({ "on_failure": "skip" }), "on_failure"),
        (json!({ "ordered": true, "polled": true, "url": null }), "ordered"),
    ] {
        let mut body = json!({ "url": "https://example.com/", "topics": ["*"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(tenant.client.post("/v1/webhooks", &body).await.expect(422)["field"], field, "{more}");
    }
    let bad = [json!(""), json!("k".repeat(129)), json!("a\nb"), json!(7)];
    for key in bad {
        let event = json!({ "topic": "order.created", "ordering_key": key });
        let answer = tenant.client.send(Method::POST, "/v1/events", Some(&event)).await;
        assert_eq!(answer.expect(422)["field"], "ordering_key", "{key}");
    }
    // The same event with another key is another.
    let event = |key: &str| json!({ "id": "e-1", "topic": "order.created", "ordering_key": key });
    tenant.client.post("/v1/events", &event("a")).await.expect(202);
    tenant.client.post("/v1/events", &event("a")).await.expect(202);
    tenant.client.post("/v1/events", &event("b")).await.expect(409);
}
