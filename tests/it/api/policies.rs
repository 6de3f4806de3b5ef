//! How a webhook's deliveries are made, where its owner has a say in it.

use std::time::Duration;

use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

/// What our own API documents.
fn documented() -> Value {
    json!({
        "schedule": [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400], "attempts": 10, "timeout": 15,
        "success": ["2xx"],
    })
}

async fn webhook(tenant: &Tenant, url: &str, delivery: &Value) -> Value {
    let body = json!({ "url": url, "topics": ["*"], "delivery": delivery });
    tenant.client.post("/v1/webhooks", &body).await.expect(201)
}

/// The webhook's delivery of a new event, once it is settled.
async fn settled(tenant: &Tenant, webhook: &Value) -> Value {
    let event = tenant.publish("order.created", json!({})).await;
    tenant.delivery(text(webhook, "id"), &event, |delivery| delivery["state"] != "pending").await
}

#[tokio::test]
async fn own_rules_are_read_as_they_were_written_beside_what_is_in_force() {
    let tenant = World::shared().tenant("policies").await;
    let own =
        json!({ "schedule": [5, 300], "attempts": 3, "timeout": 30, "success": ["2xx", "404-405", 409] });
    let made = webhook(&tenant, "https://example.com/", &own).await;
    assert_eq!((&made["delivery"], &made["delivery_in_force"]), (&own, &own));
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    for (change, own, in_force) in [
        (json!({ "name": "x" }), own.clone(), own.clone()),
        // All of it at once, as headers and filters change.
        (json!({ "delivery": { "timeout": 7 } }), json!({ "timeout": 7 }), {
            let mut in_force = documented();
            in_force["timeout"] = json!(7);
            in_force
        }),
        (
            json!({ "delivery": { "attempts": 2, "success": null } }),
            json!({ "attempts": 2 }),
            json!({ "schedule": [5], "attempts": 2, "timeout": 15, "success": ["2xx"] }),
        ),
        (json!({ "delivery": {} }), Value::Null, documented()),
        (json!({ "delivery": own }), own.clone(), own.clone()),
        (json!({ "delivery": null }), Value::Null, documented()),
    ] {
        let changed = tenant.client.patch(&path, &change).await.expect(200);
        assert_eq!((&changed["delivery"], &changed["delivery_in_force"]), (&own, &in_force), "{change}");
        assert_eq!(tenant.client.get(&path).await.expect(200), changed);
    }
    let plain = tenant.webhook("https://example.com/", &["*"]).await;
    assert_eq!((&plain["delivery"], &plain["delivery_in_force"]), (&Value::Null, &documented()));
}

#[tokio::test]
async fn own_rules_suit_webhooks_of_every_api_and_change_no_answer_of_theirs() {
    let tenant = World::shared().tenant("policies-tiki").await;
    tenant.tiki_webhook("https://example.com/", "product:request:approved").await;
    let tiki = tenant.client.tiki(&tenant.key);
    let before = tiki.get("/integration/v1/webhooks").await.expect(200);
    let centry = json!({ "callback_url": "https://example.com/", "on_order_save": true });
    tenant.client.post("/conexion/v1/webhooks.json", &centry).await.expect(200);
    let all = tenant.client.get("/v1/webhooks").await.expect(200);
    for (webhook, attempts, success) in
        [(&all["data"][0], 10, json!(["2xx"])), (&all["data"][1], 576, json!([200]))]
    {
        let in_force = &webhook["delivery_in_force"];
        assert_eq!((&in_force["attempts"], &in_force["success"]), (&json!(attempts), &success));
        let path = format!("/v1/webhooks/{}", text(webhook, "id"));
        let own = json!({ "delivery": { "attempts": attempts, "success": [204] } });
        let changed = tenant.client.patch(&path, &own).await.expect(200);
        assert_eq!(changed["delivery_in_force"]["schedule"], in_force["schedule"]);
        assert_eq!(changed["delivery_in_force"]["success"], json!([204]));
        let more = json!({ "delivery": { "attempts": attempts + 1 } });
        assert_eq!(tenant.client.patch(&path, &more).await.expect(422)["field"], "delivery/attempts");
    }
    assert_eq!(tiki.get("/integration/v1/webhooks").await.expect(200), before);
}

#[tokio::test]
async fn a_schedule_of_ones_own_is_kept_and_used_up() {
    let (world, receiver) = (World::shared(), Receiver::start(|_| Reply::status(500)).await);
    let tenant = world.tenant("policies-schedule").await;
    let own = webhook(&tenant, &receiver.url("/"), &json!({ "schedule": [1, 1] })).await;
    let delivery = settled(&tenant, &own).await;
    assert_eq!((&delivery["state"], &delivery["attempt_count"]), (&json!("failed"), &json!(3)));
    let arrived = receiver.arrived();
    assert!(arrived.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(800)));
    assert_eq!(arrived.len(), 3);
}

#[tokio::test]
async fn a_success_of_ones_own_is_taken_for_it_and_nothing_else_is() {
    let receiver = Receiver::start(|request| Reply::status(request.path[1..].parse().unwrap())).await;
    let tenant = World::shared().tenant("policies-success").await;
    let rule = json!({ "schedule": [], "success": [202, 409] });
    for (status, state) in
        [(202, "delivered"), (409, "delivered"), (200, "failed"), (204, "failed"), (302, "failed")]
    {
        let own = webhook(&tenant, &receiver.url(&format!("/{status}")), &rule).await;
        let delivery = settled(&tenant, &own).await;
        assert_eq!((&delivery["state"], &delivery["last_status"]), (&json!(state), &json!(status)));
        tenant.client.delete(&format!("/v1/webhooks/{}", text(&own, "id"))).await.expect(204);
    }
    let gone = webhook(&tenant, &receiver.url("/410"), &rule).await;
    assert_eq!(settled(&tenant, &gone).await["state"], "failed");
    let gone = tenant.client.get(&format!("/v1/webhooks/{}", text(&gone, "id"))).await.expect(200);
    assert_eq!(gone["state"], "disabled", "410 is heard whatever the rule");
}

#[tokio::test]
async fn a_timeout_of_ones_own_ends_an_attempt() {
    let receiver = Receiver::start(|_| Reply::Never).await;
    let tenant = World::shared().tenant("policies-timeout").await;
    let own = webhook(&tenant, &receiver.url("/"), &json!({ "schedule": [], "timeout": 1 })).await;
    let delivery = settled(&tenant, &own).await;
    let attempt = &delivery["attempts"][0];
    assert_eq!(
        (&attempt["failure"], &attempt["detail"]),
        (&json!("timeout"), &json!("no whole answer within 1 s"))
    );
    let total = attempt["phases"]["total_us"].as_u64().unwrap();
    assert!((1_000_000..5_000_000).contains(&total), "{total}");
    // A test event is answered by the same rules.
    let test =
        tenant.client.post(&format!("/v1/webhooks/{}/test", text(&own, "id")), &json!({})).await.expect(200);
    assert_eq!(test["attempt"]["failure"], "timeout");
}
