//! What the runner tells of itself: to Prometheus, and to a collector of traces.

use postrider_tests::{
    client::Client,
    poll,
    receiver::{Receiver, Reply},
    tenant::text,
    world::{Options, World},
};
use serde_json::json;

/// The value of a sample in Prometheus's text format.
fn value(page: &str, sample: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
}

async fn page(client: &Client) -> String {
    let answer = client.get("/metrics").await;
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn prometheus_reads_what_came_of_events_with_the_operators_key_alone() {
    let world = World::start(Options::default());
    let tenant = world.tenant("counted").await;
    world.client().get("/metrics").await.expect(401);
    tenant.client.get("/metrics").await.expect(403);
    let (fine, failing) = (Receiver::ok().await, Receiver::start(|_| Reply::status(500)).await);
    tenant.webhook(&fine.url("/"), &["order.created"]).await;
    let webhook = tenant.webhook(&failing.url("/"), &["order.created"]).await;
    let event = tenant.publish("order.created", json!(1)).await;
    tenant
        .client
        .post("/v1/events", &json!({ "topic": "order.created", "payload": 1, "id": event }))
        .await
        .expect(202);
    tenant.attempted(text(&webhook, "id"), &event, 1).await;
    fine.first().await;

    let operator = world.operator();
    let page = poll::until(poll::SOON, "both are counted", || async {
        let page = page(&operator).await;
        (value(&page, "postrider_delivery_seconds_count") == Some(1.0)).then_some(page)
    })
    .await;
    for (sample, expected) in [
        ("postrider_events_accepted_total", 1.0),
        ("postrider_attempts_total{outcome=\"delivered\"}", 1.0),
        ("postrider_attempts_total{outcome=\"failed\"}", 1.0),
        ("postrider_failures_total{failure=\"status\"}", 1.0),
        ("postrider_attempt_seconds_count{outcome=\"failed\"}", 1.0),
    ] {
        assert_eq!(value(&page, sample), Some(expected), "{sample}\n{page}");
    }
    assert!(value(&page, "postrider_oldest_due_seconds").is_some(), "{page}");
    assert!(!page.contains(&tenant.id), "{page}");
}

#[tokio::test]
async fn spans_go_to_the_collector_that_the_environment_names() {
    let collector = Receiver::ok().await;
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url("")),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        // Deliveries know no proxy; the exporter's client does, as its users expect.
        ("NO_PROXY", "127.0.0.1".to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let world = World::start(Options { env, ..Options::default() });
    let (tenant, receiver) = (world.tenant("traced").await, Receiver::ok().await);
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event = tenant.publish("order.created", json!(1)).await;
    let spans = || async {
        let sent = collector.arrived();
        let delivery = sent
            .iter()
            .find(|request| request.body.windows(event.len()).any(|part| part == event.as_bytes()));
        delivery.cloned()
    };
    let spans = poll::until(poll::SOON, "a span of the delivery is sent", spans).await;
    assert_eq!(spans.path, "/v1/traces");
    assert_eq!(spans.header("content-type"), Some("application/x-protobuf"));
}
