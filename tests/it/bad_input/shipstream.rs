//! What `ShipStream`'s API is not to be asked; the plain cases are in `tests/dialects/shipstream`.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use postrider_tests::client::Answer;
use serde_json::{Value, json};

use super::{NOT_JSON, Stage, Wrong, bad_urls, hard_json, wrong};

const PATH: &str = "/api/jsonrpc";

/// Each answer is a fault, its code and words with `names` in them.
fn judge(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "application/json", "{answer}");
    let body = answer.json();
    assert!(body["error"]["code"].is_i64() && body["result"].is_null(), "{answer}");
    assert!(body["error"].to_string().contains(names), "it is to name {names:?}: {answer}");
    assert_eq!(body.as_object().unwrap().len(), 4, "{answer}");
}

fn call(path: &str, args: Value, names: &'static str) -> Wrong {
    let params = Value::Array(vec![Value::Null, path.into(), args]);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": params });
    wrong(Method::POST, PATH, body, 200, names)
}

#[tokio::test]
async fn shipstreams_api_refuses_in_its_own_shape() {
    let stage = Stage::set("shipstream-bad").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("apiuser:{}", stage.tenant.key)));
    let client = stage.tenant.client.with("authorization", basic);
    let mut table = Vec::new();
    for body in NOT_JSON {
        table.push(wrong(Method::POST, PATH, body, 200, "-32700"));
        table.push(wrong(Method::POST, "/api/jsonrpc/", body, 200, "-32700"));
    }
    for body in [json!([]), json!(null), json!(5), json!("text"), json!({ "method": "call" })] {
        table.push(wrong(Method::POST, PATH, body, 200, "-32600"));
    }
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": [null, "webhook.list"] });
    table.push(wrong(Method::POST, PATH, json!(vec![list; 101]), 200, "-32600"));
    for body in hard_json() {
        let mut row = wrong(Method::POST, PATH, (), 200, "");
        row.body = Some(body);
        table.push(row);
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        table.push(wrong(method, PATH, (), 200, "-32700"));
    }
    for url in bad_urls() {
        table.push(call("webhook.create", json!([{ "url": url, "topics": "order:created" }]), "url"));
    }
    for topics in
        [json!(null), json!(""), json!(","), json!([5]), json!({}), json!("ORDER:CREATED"), json!("*")]
    {
        table.push(call(
            "webhook.create",
            json!([{ "url": "https://example.com/", "topics": topics }]),
            "topics",
        ));
    }
    for headers in [
        "x",
        "X-A b: c",
        "X-A: \u{0}",
        "X-A: b\rX-B: c",
        "X-A: \u{e9}",
        ": b",
        "Webhook-Id: 1",
        "Content-Length: 0",
    ] {
        let webhook =
            json!({ "url": "https://example.com/", "topics": "order:created", "extra_headers": headers });
        table.push(call("webhook.create", json!([webhook]), "extra_headers"));
    }
    for field in ["url", "extra_headers", "secret_key", "name"] {
        let mut webhook = json!({ "url": "https://example.com/", "topics": "order:created" });
        webhook[field] = json!({ "a": 1 });
        table.push(call("webhook.create", json!([webhook]), field));
    }
    // Our own and Tiki's webhooks are not this API's.
    for id in [json!(1), json!(2), json!(77), json!("1"), json!(0)] {
        table.push(call("webhook.delete", json!([id]), "-32103"));
        table.push(call("webhook.update_status", json!([id, 0]), "-32100"));
    }
    for id in [json!(-1), json!(1.5), json!("one"), json!([]), json!(null)] {
        table.push(call("webhook.delete", json!([id]), "-32602"));
        table.push(call("webhook.update_status", json!([id, 0]), "-32100"));
    }
    table.push(call("webhook.update_status", json!([{ "status": 0 }]), "-32100"));
    for path in ["", "webhook", "webhook.", "webhook.info", "order.list", "../webhook.list"] {
        table.push(call(path, json!([]), "-3200"));
    }
    stage.check(&client, &table, judge).await;
}
