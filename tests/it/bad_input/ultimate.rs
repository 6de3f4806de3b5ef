//! What Ultimate Multisite's API is not to be asked; the plain cases are in `tests/dialects/ultimate-multisite`.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use postrider_tests::{client::Answer, tenant::text};
use serde_json::json;

use super::{NOT_JSON, Stage, bad_urls, hard_json, wrong};

const WEBHOOKS: &str = "/wp-json/wu/v2/webhook";

/// Each answer is `WordPress`'s `{"code", "message", "data"}`, with `names` in it.
fn judge(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "application/json", "{answer}");
    let body = answer.json();
    assert_eq!(body["data"]["status"], answer.status, "{answer}");
    assert!(!text(&body, "code").is_empty() && !text(&body, "message").is_empty(), "{answer}");
    assert!(body.to_string().contains(names), "it is to name {names:?}: {answer}");
    assert_eq!(body.as_object().unwrap().len(), 3, "{answer}");
}

#[tokio::test]
async fn ultimate_multisites_api_refuses_in_its_own_shape() {
    let stage = Stage::set("ultimate-bad").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{}", stage.tenant.key)));
    let client = stage.tenant.client.with("authorization", basic);
    let good = json!({
        "name": "My CRM", "webhook_url": "https://example.com/", "event": "payment_received", "integration": "manual",
    });
    let mut table = Vec::new();
    for (method, path) in [(Method::POST, WEBHOOKS), (Method::PUT, "/wp-json/wu/v2/webhooks/1")] {
        for body in NOT_JSON {
            table.push(wrong(method.clone(), path, body, 400, "rest_invalid_json"));
        }
        for body in [json!([]), json!(null), json!(5), json!("text")] {
            table.push(wrong(method.clone(), path, body, 400, "rest_invalid_json"));
        }
        for body in hard_json() {
            let mut row = wrong(method.clone(), path, (), 400, "");
            row.body = Some(body);
            table.push(row);
        }
    }
    for url in bad_urls() {
        let mut body = good.clone();
        body["webhook_url"] = json!(url);
        table.push(wrong(Method::POST, WEBHOOKS, body, 400, "webhook_url"));
    }
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("x".repeat(201))),
        ("name", json!("a\u{0}b")),
        ("name", json!(7)),
        ("event", json!("payment.received")),
        ("event", json!("*")),
        ("event", json!([])),
        ("integration", json!({})),
        ("migrated_from_id", json!("x")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        table.push(wrong(Method::POST, WEBHOOKS, body, 400, field));
    }
    // Our own and Tiki's webhooks are not this API's.
    for id in ["1", "2", "77", "0", "-1", "1.0", "wh_1"] {
        let path = format!("{WEBHOOKS}/{id}");
        table.push(wrong(Method::GET, &path, (), 404, "wu_rest_webhook_invalid_id"));
        table.push(wrong(
            Method::PATCH,
            &path,
            json!({ "name": "stolen" }),
            404,
            "wu_rest_webhook_invalid_id",
        ));
        table.push(wrong(Method::DELETE, &path, (), 404, "wu_rest_webhook_invalid_id"));
    }
    for (method, path) in [
        (Method::PUT, WEBHOOKS),
        (Method::GET, "/wp-json/wu/v2/customers"),
        (Method::DELETE, "/wp-json/wu/v2/auth"),
    ] {
        table.push(wrong(method, path, (), 404, "rest_no_route"));
    }
    stage.check(&client, &table, judge).await;
}
