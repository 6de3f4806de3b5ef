//! Sapo's API, of both of its products; the plain cases are in `tests/dialects/sapo`.

use postrider_tests::{tenant::text, world::World};
use serde_json::json;

use super::golden::{self, Keys};

const KEYS: Keys = Keys {
    header: "x-sapo-access-token",
    value: |key| key.to_owned(),
    content_type: "application/json; charset=utf-8",
};

golden::documented!("sapo", KEYS);

#[tokio::test]
async fn a_key_may_make_forty_calls_at_once() {
    let tenant = World::shared().tenant("sapo-limit").await;
    let client = tenant.client.with("x-sapo-access-token", &tenant.key);
    let mut refused = None;
    for n in 1..=60 {
        let answer = client.get("/admin/webhooks/count.json").await;
        let limit = answer.headers["x-sapo-api-call-limit"].to_str().unwrap().to_owned();
        assert_eq!(answer.headers["x-bizweb-api-call-limit"], limit);
        if n == 1 {
            assert_eq!(limit, "1/40");
        }
        if answer.status == 429 {
            assert_eq!(limit, "40/40");
            refused = Some((n, answer));
            break;
        }
        answer.expect(200);
    }
    let (n, answer) = refused.expect("it is refused at last");
    assert!(n > 40, "{n}");
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(answer.json()["errors"].as_str().unwrap().starts_with("Exceeded 2 calls per second"));
    // Another key has a bucket of its own.
    let other = tenant.new_key(&json!({ "scopes": ["manage"] })).await;
    client.with("x-sapo-access-token", &other).get("/admin/webhooks.json").await.expect(200);
}

#[tokio::test]
async fn a_topic_that_our_own_api_changed_is_shown_as_it_is_now() {
    let tenant = World::shared().tenant("sapo-changed").await;
    let client = tenant.client.with("x-sapo-access-token", &tenant.key);
    let made = json!({ "webhook": { "topic": "orders/updated", "address": "https://example.com/" } });
    client.post("/admin/webhooks.json", &made).await.expect(201);
    let shown = async || client.get("/admin/webhooks.json").await.expect(200)["webhooks"][0]["topic"].clone();
    assert_eq!(shown().await, "orders/updated");
    let all = tenant.client.get("/v1/webhooks").await.expect(200);
    let path = format!("/v1/webhooks/{}", text(&all["data"][0], "id"));
    tenant.client.patch(&path, &json!({ "name": "the same topic" })).await.expect(200);
    assert_eq!(shown().await, "orders/updated");
    tenant.client.patch(&path, &json!({ "topics": ["order.paid"] })).await.expect(200);
    assert_eq!(shown().await, "orders/paid");
}
