//! Why something did not arrive, which deliveries that were, and how many.

use std::collections::BTreeSet;

use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

/// A webhook with headers of its own that is tried once.
async fn webhook(tenant: &Tenant, url: &str) -> String {
    let body = json!({
        "url": url, "topics": ["*"], "headers": { "X-Shop": "hush hush" }, "delivery": { "schedule": [], "timeout": 2 },
    });
    text(&tenant.client.post("/v1/webhooks", &body).await.expect(201), "id").to_owned()
}

/// The only attempt of a new event's delivery.
async fn attempt(tenant: &Tenant, webhook: &str) -> Value {
    let event = tenant.publish("order.created", json!({})).await;
    tenant.attempted(webhook, &event, 1).await["attempts"][0].clone()
}

/// A receiver that answers with a status and headers, of which some are nobody else's business.
async fn receiver(status: u16) -> Receiver {
    let headers = || {
        let header = |name, value: &str| (name, value.to_owned());
        vec![
            header("server", "nginx"),
            header("set-cookie", "session=hush"),
            header("www-authenticate", "Basic"),
            header("x-api-key", "hush"),
        ]
    };
    Receiver::start(move |_| Reply::Whole(status, headers(), "no".into())).await
}

#[tokio::test]
async fn an_attempt_that_failed_tells_what_was_sent_and_what_came_back() {
    let receiver = receiver(401).await;
    let tenant = World::shared().tenant("why").await;
    tenant.client.put("/v1/credentials", &json!({ "id": "me", "secret": "hush" })).await.expect(204);
    let webhook = webhook(&tenant, &receiver.url("/")).await;
    let attempt = attempt(&tenant, &webhook).await;
    let request = receiver.first().await;
    let sent = attempt["sent_headers"].as_object().unwrap();
    let names: BTreeSet<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
    // What frames the message is not a matter of ours.
    let kept: BTreeSet<_> = sent.keys().map(String::as_str).chain(["content-length"]).collect();
    assert_eq!(kept, names);
    for (name, value) in sent {
        let hidden = ["authorization", "webhook-signature", "x-shop"].contains(&&**name);
        let shown = if hidden { "[hidden]" } else { request.header(name).unwrap() };
        assert_eq!(value, shown, "{name}");
    }
    let back = &attempt["reply"]["headers"];
    assert_eq!((&back["server"], &back["www-authenticate"]), (&json!("nginx"), &json!("Basic")));
    assert_eq!((&back["set-cookie"], &back["x-api-key"]), (&json!("[hidden]"), &json!("[hidden]")));
    assert!(!attempt.to_string().contains("hush"), "{attempt}");
    assert_eq!((&attempt["failure"], &attempt["reply"]["body"]), (&json!("status"), &json!("no")));
}

#[tokio::test]
async fn a_success_is_kept_without_headers_and_a_test_event_shows_them() {
    let receiver = receiver(200).await;
    let tenant = World::shared().tenant("why-not").await;
    let webhook = webhook(&tenant, &receiver.url("/")).await;
    let attempt = attempt(&tenant, &webhook).await;
    assert_eq!((&attempt["sent_headers"], &attempt["reply"]["headers"]), (&Value::Null, &Value::Null));
    let test = tenant.client.post(&format!("/v1/webhooks/{webhook}/test"), &json!({})).await.expect(200);
    let attempt = &test["attempt"];
    assert_eq!(attempt["sent_headers"]["webhook-test"], "true");
    assert_eq!(attempt["reply"]["headers"]["server"], "nginx");
    assert!(!attempt.to_string().contains("hush"), "{attempt}");
}

#[tokio::test]
async fn what_was_never_sent_has_no_headers() {
    let tenant = World::shared().tenant("why-never").await;
    // Nobody listens there.
    let webhook = webhook(&tenant, "http://127.0.0.1:9/").await;
    let attempt = attempt(&tenant, &webhook).await;
    assert_eq!((&attempt["failure"], &attempt["sent_headers"]), (&json!("refused"), &Value::Null));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_failure_of_its_own() {
    let receiver =
        Receiver::start(|_| Reply::Whole(200, vec![("x-long", "x".repeat(300_000))], "".into())).await;
    let tenant = World::shared().tenant("why-large").await;
    let webhook = webhook(&tenant, &receiver.url("/")).await;
    let attempt = attempt(&tenant, &webhook).await;
    assert_eq!(attempt["failure"], "too_large", "{attempt}");
    assert!(text(&attempt, "detail").contains("64 KiB") && attempt["sent_headers"]["accept"] == "*/*");
}

#[tokio::test]
async fn deliveries_are_listed_by_state_topic_and_time() {
    let receiver =
        Receiver::start(|request| Reply::status(if request.json()["data"] == "bad" { 500 } else { 200 }))
            .await;
    let tenant = World::shared().tenant("sought").await;
    let webhook = webhook(&tenant, &receiver.url("/")).await;
    let mut events = Vec::new();
    for (topic, payload) in
        [("order.created", "good"), ("order.paid", "bad"), ("order.created", "bad"), ("order.paid", "good")]
    {
        let event = tenant.publish(topic, json!(payload)).await;
        let delivery = tenant.attempted(&webhook, &event, 1).await;
        events.push((event, text(&delivery, "created_at").to_owned()));
    }
    let list = format!("/v1/webhooks/{webhook}/deliveries");
    let found = async |query: String| {
        let page = tenant.client.get(&format!("{list}?{query}")).await.expect(200);
        let event = |delivery: &Value| events.iter().position(|(id, _)| delivery["event"] == **id).unwrap();
        page["data"].as_array().unwrap().iter().map(event).collect::<Vec<_>>()
    };
    assert_eq!(found(String::new()).await, [3, 2, 1, 0]);
    assert_eq!(found("state=failed".into()).await, [2, 1]);
    assert_eq!(found("state=pending".into()).await, [] as [usize; 0]);
    assert_eq!(found("topic=order.paid".into()).await, [3, 1]);
    assert_eq!(found("topic=order.paid&state=failed".into()).await, [1]);
    assert_eq!(found(format!("since={}", events[2].1)).await, [3, 2]);
    assert_eq!(found(format!("until={}", events[2].1)).await, [1, 0]);
    assert_eq!(found(format!("since={}&until={}&state=failed", events[0].1, events[3].1)).await, [2, 1]);
    for (query, field) in [
        ("state=late", "state"),
        ("state=", "state"),
        ("topic=product:request:unheard", "topic"),
        ("since=yesterday", "since"),
        ("until=2026-03-01", "until"),
        ("since=2026-03-01T00:00:00Z&until=2026-03-01T00:00:00Z", "until"),
    ] {
        let refused = tenant.client.get(&format!("{list}?{query}")).await.expect(422);
        assert_eq!(refused["field"], field, "{query}");
    }
}

#[tokio::test]
async fn statistics_count_what_became_of_deliveries() {
    let receiver =
        Receiver::start(|request| Reply::status(if request.json()["data"] == "bad" { 500 } else { 200 }))
            .await;
    let tenant = World::shared().tenant("stats").await;
    let webhook = webhook(&tenant, &receiver.url("/")).await;
    let path = format!("/v1/webhooks/{webhook}/stats");
    let empty = tenant.client.get(&path).await.expect(200);
    let none = json!({
        "deliveries": 0, "delivered": 0, "failed": 0, "pending": 0, "parked": 0, "discarded": 0,
        "success_rate": null, "attempts": 0, "latency": null,
    });
    assert_eq!(
        (&empty["total"], &empty["complete"], &empty["webhook"]),
        (&none, &json!(true), &json!(webhook))
    );
    for payload in ["good", "good", "bad", "good"] {
        let event = tenant.publish("order.created", json!(payload)).await;
        tenant.attempted(&webhook, &event, 1).await;
    }
    let stats = tenant.client.get(&path).await.expect(200);
    let total = &stats["total"];
    for (name, count) in
        [("deliveries", 4), ("delivered", 3), ("failed", 1), ("pending", 0), ("parked", 0), ("attempts", 4)]
    {
        assert_eq!(total[name], count, "{name}: {stats}");
    }
    assert_eq!(total["success_rate"], 0.75);
    let took = |name: &str| total["latency"][name].as_u64().unwrap();
    assert!(0 < took("p50_us") && took("p50_us") <= took("p95_us"));
    let hours = stats["by_hour"].as_array().unwrap();
    assert_eq!(hours.len(), 25, "24 full hours and what there is of this one");
    assert_eq!(stats["since"], hours[0]["hour"]);
    let of_all: u64 = hours.iter().map(|hour| hour["deliveries"].as_u64().unwrap()).sum();
    assert_eq!(of_all, 4);
    let week = tenant.client.get(&format!("{path}?hours=168")).await.expect(200);
    assert_eq!((week["by_hour"].as_array().unwrap().len(), &week["total"]), (169, total));
    for hours in ["0", "169", "-1", "a", ""] {
        assert_eq!(tenant.client.get(&format!("{path}?hours={hours}")).await.expect(422)["field"], "hours");
    }
    tenant.client.get(&format!("/v1/webhooks/wh_{:032x}/stats", 1)).await.expect(404);
}
