//! What Tiki's API is not to be asked; the plain cases are in `tests/dialects/tiki`.

use http::Method;
use postrider_tests::{client::Answer, tenant::text};
use serde_json::{Value, json};

use super::{NOT_JSON, Stage, bad_urls, wrong};

const WEBHOOKS: &str = "/integration/v1/webhooks";
const CREDENTIALS: &str = "/integration/v1/webhooks/credentials";

/// Each answer is Tiki's generic error; its message has `names` in it.
fn judge(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "application/json", "{answer}");
    let body = answer.json();
    let error = &body["error"];
    assert!(uuid::Uuid::parse_str(text(error, "id")).is_ok(), "{answer}");
    assert!(text(error, "message").contains(names), "it is to name {names:?}: {answer}");
    assert_eq!((body.as_object().unwrap().len(), error.as_object().unwrap().len()), (1, 2), "{answer}");
}

#[tokio::test]
async fn tikis_api_refuses_in_its_own_shape() {
    let stage = Stage::set("tiki-bad").await;
    let approved = "product:request:approved";
    let mut table = Vec::new();
    for body in NOT_JSON {
        for (method, path) in [
            (Method::POST, WEBHOOKS),
            (Method::PUT, WEBHOOKS),
            (Method::PUT, CREDENTIALS),
            (Method::PUT, "/v1/webhooks"),
            (Method::PUT, "/v1/webhooks/credentials"),
            (Method::PUT, "/webhooks/credentials"),
        ] {
            table.push(wrong(method, path, body, 400, "JSON"));
        }
    }
    for body in [json!([]), json!(null), json!(5), json!("text"), json!([{ "uri": "https://a.com/" }])] {
        table.push(wrong(Method::POST, WEBHOOKS, body.clone(), 400, "JSON object"));
        table.push(wrong(Method::PUT, CREDENTIALS, body, 400, "JSON object"));
    }
    for url in bad_urls().into_iter().filter(|url| !url.is_empty()) {
        let body = json!({ "uri": url, "event": "product:request:locked" });
        table.push(wrong(Method::POST, WEBHOOKS, body, 400, "Invalid URI"));
        table.push(wrong(
            Method::PUT,
            WEBHOOKS,
            json!({ "uri": url, "event": approved }),
            400,
            "Invalid URI",
        ));
    }
    for event in
        ["", "product", "product:request:", "PRODUCT:REQUEST:LOCKED", "product_request.locked", "*", "é\n"]
    {
        let names = if event.is_empty() { "event" } else { "Invalid event" };
        let body = json!({ "uri": "https://example.com/", "event": event });
        table.push(wrong(Method::POST, WEBHOOKS, body.clone(), 400, names));
        table.push(wrong(Method::PUT, WEBHOOKS, body, 400, names));
    }
    for (field, value) in [
        ("id", json!("a:b")),
        ("id", json!("a\r\nb")),
        ("id", json!("x".repeat(1025))),
        ("id", json!([])),
        ("secret", json!("a\u{7f}b")),
        ("secret", json!("x".repeat(1025))),
        ("secret", Value::Null),
    ] {
        let mut body = json!({ "id": "other", "secret": "other" });
        body[field] = value;
        table.push(wrong(Method::PUT, CREDENTIALS, body, 400, field));
    }
    for query in
        ["", "?event=", "?event=%00", "?event=%ff", "?Event=product:request:approved", "?event=order.never"]
    {
        table.push(wrong(Method::DELETE, &format!("{WEBHOOKS}{query}"), (), 400, "event"));
    }
    let taken = json!({ "uri": "https://example.com/usurper", "event": approved });
    table.push(wrong(Method::POST, WEBHOOKS, taken, 409, "has been registered"));
    table.push(wrong(Method::DELETE, &format!("{WEBHOOKS}?event=product:request:locked"), (), 404, ""));
    table.push(wrong(Method::GET, "/integration/v1/webhooks/product:request:approved", (), 404, ""));
    for (method, path) in [
        (Method::PATCH, WEBHOOKS),
        (Method::GET, CREDENTIALS),
        (Method::DELETE, CREDENTIALS),
        (Method::POST, CREDENTIALS),
    ] {
        table.push(wrong(method, path, (), 405, ""));
    }
    stage.check(&stage.tenant.client.tiki(&stage.tenant.key), &table, judge).await;
}

#[tokio::test]
async fn the_operators_key_means_no_seller() {
    let stage = Stage::set("tiki-operator").await;
    let operator = stage.tenant.client.tiki(postrider_tests::world::OPERATOR);
    let hook = json!({ "uri": "https://example.com/", "event": "product:request:locked" });
    let table = [
        wrong(Method::GET, WEBHOOKS, (), 400, "tenant"),
        wrong(Method::POST, WEBHOOKS, hook, 400, "tenant"),
        wrong(Method::PUT, CREDENTIALS, json!({ "id": "a", "secret": "b" }), 400, "tenant"),
    ];
    stage.check(&operator, &table, judge).await;
}
