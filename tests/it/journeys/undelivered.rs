//! What is accepted and not delivered yet, and why: until it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use postrider_tests::{
    poll,
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

use crate::dialects::golden;

/// How long one receiver takes to answer: until then, nothing is recorded of what it was sent.
const TAKES: Duration = Duration::from_secs(25);

mod all_that_waits_is_listed_until_it_arrives {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn embedded() {
        each_in_its_way(World::shared()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn aws() {
        each_in_its_way(golden::on_aws().await).await;
    }
}

/// Everything that is listed, page by page.
async fn listed(tenant: &Tenant, query: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/undelivered?limit={limit}&{query}{cursor}");
        let page = tenant.client.get(&path).await.expect(200);
        let some = page["data"].as_array().unwrap();
        assert!(some.len() <= limit, "{page}");
        all.extend(some.iter().cloned());
        match &page["next_cursor"] {
            Value::Null => return all,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
}

/// What of an entry says why it waits.
fn why(entry: &Value) -> (&str, u64, &Value, &Value) {
    (
        text(entry, "state"),
        entry["attempt_count"].as_u64().unwrap(),
        &entry["last_status"],
        &entry["last_failure"],
    )
}

async fn made(tenant: &Tenant, url: &str, topic: &str, more: Value) -> String {
    let mut body = json!({ "url": url, "topics": [topic], "delivery": { "schedule": [600], "timeout": 30 } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    text(&tenant.client.post("/v1/webhooks", &body).await.expect(201), "id").to_owned()
}

async fn switch(tenant: &Tenant, webhook: &str, active: bool) {
    tenant.client.patch(&format!("/v1/webhooks/{webhook}"), &json!({ "active": active })).await.expect(200);
}

async fn each_in_its_way(world: &World) {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let receiver = Receiver::start(move |request| match request.path.as_str() {
        "/slow" => Reply::Late(TAKES, Box::new(Reply::status(200))),
        _ if well.load(Ordering::Relaxed) => Reply::status(200),
        _ => Reply::status(500),
    })
    .await;
    let tenant = world.tenant("undelivered").await;
    assert_eq!(listed(&tenant, "", 50).await, [] as [Value; 0]);

    let failing = made(&tenant, &receiver.url("/failing"), "order.created", json!({})).await;
    let paused = made(&tenant, &receiver.url("/paused"), "order.paid", json!({})).await;
    switch(&tenant, &paused, false).await;
    let ordered = made(&tenant, &receiver.url("/line"), "order.cancelled", json!({ "ordered": true })).await;
    let slow = made(&tenant, &receiver.url("/slow"), "cart.created", json!({})).await;
    let first = tenant.publish("order.created", json!(1)).await;
    let parked = tenant.publish("order.paid", json!(2)).await;
    let line = json!({ "topic": "order.cancelled", "ordering_key": "k", "payload": 3 });
    let mut in_line = Vec::new();
    for state in ["pending", "waiting"] {
        let receipt = tenant.client.post("/v1/events", &line).await.expect(202);
        let one = tenant.delivery(&ordered, text(&receipt, "id"), |one| one["state"] == state).await;
        in_line.push(text(&one, "id").to_owned());
    }
    let failed = tenant.attempted(&failing, &first, 1).await;
    tenant.delivery(&paused, &parked, |one| one["state"] == "parked").await;
    let before = receiver.arrived().len();
    tenant.publish("cart.created", json!(4)).await;
    receiver.wait(before + 1).await;

    let all = listed(&tenant, "", 50).await;
    let (status, none) = ((json!(500), json!("status")), Value::Null);
    let expected = [
        ("pending", 1, &status.0, &status.1),
        ("parked", 0, &none, &none),
        ("pending", 1, &status.0, &status.1),
        ("waiting", 0, &none, &none),
        ("pending", 0, &none, &none),
    ];
    assert_eq!(all.iter().map(why).collect::<Vec<_>>(), expected, "{all:#?}");
    let webhooks: Vec<_> = all.iter().map(|entry| text(entry, "webhook")).collect();
    assert_eq!(webhooks, [&failing, &paused, &ordered, &ordered, &slow]);
    is_shown_as_elsewhere(&tenant, &all[0], &failing).await;
    assert_eq!(all[0]["next_attempt_at"], failed["next_attempt_at"]);
    for limit in [1, 2, 3, 5] {
        let ids = |entries: &[Value]| entries.iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&listed(&tenant, "", limit).await), ids(&all), "by {limit}");
    }
    is_narrowed(&tenant, [&failing, &paused, &ordered, &slow]).await;

    is_well.store(true, Ordering::Relaxed);
    switch(&tenant, &paused, true).await;
    for id in [text(&failed, "id"), &in_line[0]] {
        tenant.client.post(&format!("/v1/deliveries/{id}/retry"), &json!({})).await.expect(202);
    }
    poll::until(poll::SOON, "all arrived, and nothing is listed", || async {
        listed(&tenant, "", 50).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(receiver.arrived().len(), 7, "each of the five, and what failed at first twice");
}

/// An entry is one of the webhook's deliveries, and its age.
async fn is_shown_as_elsewhere(tenant: &Tenant, entry: &Value, webhook: &str) {
    let mut entry = entry.clone();
    let age = entry.as_object_mut().unwrap().remove("age").unwrap();
    assert_eq!(tenant.deliveries(webhook).await, [entry.clone()]);
    let created: jiff::Timestamp = text(&entry, "created_at").parse().unwrap();
    let since = jiff::Timestamp::now().duration_since(created).as_secs();
    assert!((0..=since).contains(&age.as_i64().unwrap()), "{age} of {since}");
}

async fn is_narrowed(tenant: &Tenant, webhooks: [&str; 4]) {
    let found = async |query: String| {
        let all = listed(tenant, &query, 2).await;
        let place = |entry: &Value| webhooks.iter().position(|id| entry["webhook"] == **id).unwrap();
        all.iter().map(place).collect::<Vec<_>>()
    };
    for (at, count) in [(0, 1), (1, 1), (2, 2), (3, 1)] {
        assert_eq!(found(format!("webhook={}", webhooks[at])).await, vec![at; count]);
    }
    assert_eq!(found("topic=order.cancelled".into()).await, [2, 2]);
    assert_eq!(found("topic=cart.created&older_than=0".into()).await, [3]);
    assert_eq!(found(format!("topic=order.paid&webhook={}", webhooks[0])).await, [] as [usize; 0]);
    assert_eq!(found("older_than=3600".into()).await, [] as [usize; 0]);
    assert_eq!(found(format!("tenant={}", tenant.id)).await, [0, 1, 2, 2, 3]);
    // An operator's key that names nobody sees all.
    let mut of_all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = tenant.operator.get(&format!("/v1/undelivered?limit=250{cursor}")).await.expect(200);
        of_all.extend(page["data"].as_array().unwrap().iter().cloned());
        match &page["next_cursor"] {
            Value::Null => break,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
    assert_eq!(of_all.iter().filter(|entry| entry["tenant"] == *tenant.id).count(), 5);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let world = World::shared();
    let (tenant, stranger) = (world.tenant("askers").await, world.tenant("others").await);
    let webhook = tenant.webhook("https://example.com/", &["*"]).await;
    let id = text(&webhook, "id");
    for (query, field) in [
        ("older_than=-1", "older_than"),
        ("older_than=2592001", "older_than"),
        ("older_than=1.5", "older_than"),
        ("older_than=", "older_than"),
        ("webhook=x", "webhook"),
        ("webhook=", "webhook"),
        ("topic=product:request:unheard", "topic"),
        ("tenant=A", "tenant"),
        ("limit=0", "limit"),
        ("limit=251", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=cmVjb3JkZWQgeA", "cursor"),
        ("cursor=dW5yZWNvcmRlZCAgeA", "cursor"),
    ] {
        let refused = tenant.client.get(&format!("/v1/undelivered?{query}")).await.expect(422);
        assert_eq!(refused["field"], field, "{query}");
    }
    tenant.client.get("/v1/undelivered?older_than=2592000").await.expect(200);
    let path = format!("/v1/undelivered?webhook={id}");
    tenant.client.get(&path).await.expect(200);
    stranger.client.get(&path).await.expect(404);
    stranger.client.get(&format!("/v1/undelivered?tenant={}", tenant.id)).await.expect(403);
    tenant.client.get(&format!("/v1/undelivered?webhook=wh_{:032x}", 1)).await.expect(404);
    // An operator's key says whose webhook it is.
    assert_eq!(tenant.operator.get(&path).await.expect(422)["field"], "tenant");
    tenant.operator.get(&format!("{path}&tenant={}", tenant.id)).await.expect(200);
    let publisher = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["publish"] })).await);
    publisher.get("/v1/undelivered").await.expect(403);
    let reader = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["read"] })).await);
    reader.get("/v1/undelivered").await.expect(200);
    reader.send(Method::DELETE, "/v1/undelivered", None).await.expect(405);
}
