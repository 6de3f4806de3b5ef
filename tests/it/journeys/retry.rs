//! What is tried again, when, and when no more.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use postrider_tests::{
    poll,
    receiver::{Receiver, Reply},
    tenant::text,
    world::World,
};
use serde_json::{Value, json};

/// Fails the first attempt, with what `Retry-After` says at that time, and returns how long the second one took
/// to come.
async fn pause(label: &str, retry_after: fn() -> Option<String>) -> Duration {
    let receiver = Receiver::start(move |request| match request.before {
        0 => {
            let asked = retry_after().map(|value| ("retry-after", value));
            Reply::Whole(500, asked.into_iter().collect(), Bytes::from_static(b"not now"))
        }
        _ => Reply::status(200),
    })
    .await;
    let tenant = World::shared().tenant(label).await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event = tenant.publish("order.created", json!({ "n": 1 })).await;
    let first = tenant.attempted(text(&webhook, "id"), &event, 1).await;
    assert_eq!((&first["state"], &first["last_status"]), (&json!("pending"), &json!(500)), "{label}");

    let delivery = tenant.attempted(text(&webhook, "id"), &event, 2).await;
    assert_eq!(
        (&delivery["state"], &delivery["next_attempt_at"]),
        (&json!("delivered"), &Value::Null),
        "{label}"
    );
    let attempts = delivery["attempts"].as_array().unwrap();
    let statuses: Vec<_> =
        attempts.iter().map(|attempt| attempt["reply"]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [500, 200], "{label}");
    assert_eq!(attempts[0], first["attempts"][0], "{label}: what is on record stays so");
    assert_eq!(attempts[0]["reply"]["body"], "not now", "{label}");
    let due: Timestamp = text(&first, "next_attempt_at").parse().unwrap();
    let began: Timestamp = text(&attempts[1], "at").parse().unwrap();
    assert!(began >= due - SignedDuration::from_millis(2), "{label}: not before {due}, but at {began}");

    let requests = receiver.arrived();
    assert_eq!(requests.len(), 2, "{label}");
    assert_eq!(requests[0].body, requests[1].body, "{label}");
    for request in &requests {
        assert_eq!(request.header("webhook-id"), Some(event.as_str()), "{label}: the id stays");
        assert!(request.verifies(text(&webhook, "secret")), "{label}");
    }
    let at = |n: usize| requests[n].header("webhook-timestamp").unwrap().parse::<i64>().unwrap();
    assert!(at(1) > at(0), "{label}: each attempt is signed anew");
    requests[1].at - requests[0].at
}

#[tokio::test]
async fn a_failure_is_tried_again_when_it_is_due() {
    let date = || {
        let then = Timestamp::now() + SignedDuration::from_secs(9);
        Some(DateTimePrinter::new().timestamp_to_rfc9110_string(&then).unwrap())
    };
    let (planned, seconds, moment, short, nonsense) = tokio::join!(
        pause("planned", || None),
        pause("seconds", || Some("8".to_owned())),
        pause("moment", date),
        pause("short", || Some("1".to_owned())),
        pause("nonsense", || Some("soon".to_owned())),
    );
    // 5 s, give or take a fifth, and a machine that is busy with other tests.
    for (label, pause) in [("planned", planned), ("short", short), ("nonsense", nonsense)] {
        assert!((3.9..12.0).contains(&pause.as_secs_f64()), "{label}: {pause:?}");
    }
    assert!((7.9..16.0).contains(&seconds.as_secs_f64()), "{seconds:?}");
    // A date has no fractions of a second.
    assert!((7.9..16.0).contains(&moment.as_secs_f64()), "{moment:?}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_webhook() {
    let (gone, alive) = (Receiver::start(|_| Reply::status(410)).await, Receiver::ok().await);
    let tenant = World::shared().tenant("gone").await;
    let webhook = tenant.webhook(&gone.url("/"), &["*"]).await;
    let id = text(&webhook, "id");
    let other = tenant.webhook(&alive.url("/"), &["*"]).await;
    let event = tenant.publish("order.created", json!({})).await;
    let delivery = tenant.attempted(id, &event, 1).await;
    assert_eq!((&delivery["state"], &delivery["next_attempt_at"]), (&json!("failed"), &Value::Null));
    assert_eq!(delivery["last_failure"], "status");

    let path = format!("/v1/webhooks/{id}");
    let is_disabled = async || {
        let shown = tenant.client.get(&path).await.expect(200);
        (shown["state"] == "disabled").then_some(shown)
    };
    let shown = poll::until(poll::SOON, "it is disabled", is_disabled).await;
    assert!(text(&shown, "disabled_reason").contains("410"), "{shown}");

    let next = tenant.publish("order.created", json!({})).await;
    let parked = tenant.delivery(id, &next, |delivery| delivery["state"] == "parked").await;
    assert_eq!(parked["attempt_count"], 0);
    tenant.attempted(text(&other, "id"), &next, 1).await;
    assert_eq!((gone.arrived().len(), alive.arrived().len()), (1, 2), "the other webhook goes on");

    let resumed = tenant.client.patch(&path, &json!({ "active": true })).await.expect(200);
    assert_eq!((&resumed["state"], &resumed["disabled_reason"]), (&json!("active"), &Value::Null));
    tenant.publish("order.created", json!({})).await;
    gone.wait(2).await;

    // What was said of one URL does not hold for another.
    poll::until(poll::SOON, "it is disabled again", is_disabled).await;
    let moved = tenant.client.patch(&path, &json!({ "url": alive.url("/moved") })).await.expect(200);
    assert_eq!(moved["state"], "active");
}
