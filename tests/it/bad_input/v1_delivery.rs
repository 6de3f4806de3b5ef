//! Delivery rules that are none, or out of bounds.

use http::Method;
use serde_json::json;

use super::{
    Stage,
    v1::{judge, with},
    wrong,
};

#[tokio::test]
async fn delivery_rules_are_checked_part_by_part() {
    let stage = Stage::set("delivery-rules").await;
    let good = json!({ "url": "https://example.com/", "topics": ["order.created"] });
    let mut table = Vec::new();
    for (delivery, names) in [
        (json!("fast"), "delivery"),
        (json!([5, 300]), "delivery"),
        (json!({ "retries": 3 }), "delivery/retries"),
        (json!({ "schedule": 5 }), "delivery/schedule"),
        (json!({ "schedule": [0] }), "delivery/schedule"),
        (json!({ "schedule": [-5] }), "delivery/schedule"),
        (json!({ "schedule": [1.5] }), "delivery/schedule"),
        (json!({ "schedule": ["5s"] }), "delivery/schedule"),
        (json!({ "schedule": [null] }), "delivery/schedule"),
        (json!({ "schedule": [172_801] }), "delivery/schedule"),
        (json!({ "schedule": [4_294_967_296_u64] }), "delivery/schedule"),
        (json!({ "schedule": vec![1; 101] }), "delivery/schedule"),
        (json!({ "schedule": vec![172_800; 11] }), "delivery/schedule"),
        (json!({ "attempts": 0 }), "delivery/attempts"),
        (json!({ "attempts": 11 }), "delivery/attempts"),
        (json!({ "attempts": "3" }), "delivery/attempts"),
        (json!({ "schedule": [5], "attempts": 3 }), "delivery/attempts"),
        (json!({ "timeout": 0 }), "delivery/timeout"),
        (json!({ "timeout": 31 }), "delivery/timeout"),
        (json!({ "timeout": 0.5 }), "delivery/timeout"),
        (json!({ "success": "2xx" }), "delivery/success"),
        (json!({ "success": [] }), "delivery/success"),
        (json!({ "success": vec![200; 21] }), "delivery/success"),
        (json!({ "success": [410] }), "delivery/success"),
        (json!({ "success": [302] }), "delivery/success"),
        (json!({ "success": ["3xx"] }), "delivery/success"),
        (json!({ "success": ["200-500"] }), "delivery/success"),
        (json!({ "success": ["204-200"] }), "delivery/success"),
        (json!({ "success": [[200]] }), "delivery/success"),
    ] {
        table.push(wrong(
            Method::POST,
            "/v1/webhooks",
            with(&good, "delivery", delivery.clone()),
            422,
            names,
        ));
        let change = json!({ "active": false, "delivery": delivery });
        table.push(wrong(Method::PATCH, &stage.webhook, change, 422, names));
    }
    stage.check(&stage.tenant.client, &table, judge).await;
}
