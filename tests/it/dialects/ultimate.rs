//! Ultimate Multisite's REST API; the plain cases are in `tests/dialects/ultimate-multisite`.

use base64::{Engine, engine::general_purpose::STANDARD};

use postrider_tests::{
    poll,
    receiver::{Receiver, Reply},
    tenant::text,
    world::World,
};
use serde_json::json;

use super::golden::{self, Keys};

const KEYS: Keys = Keys {
    header: "authorization",
    value: |key| {
        let halves = key.strip_prefix("prk_").unwrap_or(key).replacen('_', ":", 1);
        format!("Basic {}", STANDARD.encode(halves))
    },
    content_type: "application/json; charset=UTF-8",
};

golden::documented!("ultimate-multisite", KEYS);

#[tokio::test]
async fn a_webhook_tells_how_many_events_it_was_sent_and_when_one_failed() {
    let receiver =
        Receiver::start(|request| Reply::status(if request.before == 1 { 500 } else { 200 })).await;
    let tenant = World::shared().tenant("um-tally").await;
    let client = tenant.client.with("authorization", (KEYS.value)(&tenant.key));
    let webhook = json!({
        "name": "Mine", "webhook_url": receiver.url("/"), "event": "site_published", "integration": "manual",
    });
    let made = client.post("/wp-json/wu/v2/webhook", &webhook).await.expect(200);
    let never = "0000-00-00 00:00:00";
    assert_eq!((&made["event_count"], text(&made, "date_last_failed")), (&json!(0), never));
    let path = format!("/wp-json/wu/v2/webhook/{}", made["id"]);
    let counted = |count: u64| {
        let (client, path) = (&client, &path);
        poll::until(poll::SOON, "it is counted", move || async move {
            let shown = client.get(path).await.expect(200);
            (shown["event_count"] == count).then_some(shown)
        })
    };
    tenant.publish("site.published", json!({ "n": 1 })).await;
    assert_eq!(text(&counted(1).await, "date_last_failed"), never);
    tenant.publish("site.published", json!({ "n": 2 })).await;
    // It was answered, so it was sent: its retry is not counted again.
    let failed = counted(2).await;
    assert_ne!(text(&failed, "date_last_failed"), never);
    receiver.wait(3).await;
    tenant.publish("site.published", json!({ "n": 3 })).await;
    let shown = counted(3).await;
    assert_eq!(shown["date_last_failed"], failed["date_last_failed"]);
    assert_eq!(client.get("/wp-json/wu/v2/webhook").await.expect(200), json!([shown]));
    // A client that sends back what it read before turns nothing back.
    let changed = client.put(&path, &json!({ "name": "Yours", "event_count": 1 })).await.expect(200);
    assert_eq!(changed["event_count"], 3);
}
