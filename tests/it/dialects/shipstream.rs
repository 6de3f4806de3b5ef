//! `ShipStream`'s JSON-RPC; the plain cases are in `tests/dialects/shipstream`.

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::text,
    world::World,
};
use serde_json::json;

use super::golden::{self, Keys};

const KEYS: Keys = Keys {
    header: "authorization",
    value: |key| format!("Basic {}", STANDARD.encode(format!("apiuser:{key}"))),
    content_type: "application/json; charset=utf8",
};

golden::documented!("shipstream", KEYS);

#[tokio::test]
async fn a_session_ends_with_the_key_that_opened_it() {
    let tenant = World::shared().tenant("shipstream-session").await;
    let key = tenant.new_key(&json!({ "scopes": ["manage"] })).await;
    let client = tenant.client.anonymous();
    let ask = async |method: &str, params: serde_json::Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        client.post("/api/jsonrpc", &body).await.expect(200)
    };
    let session = text(&ask("login", json!(["apiuser", key])).await, "result").to_owned();
    let list = json!([session, "webhook.list"]);
    assert_eq!(ask("call", list.clone()).await["result"], json!([]));

    let keys = format!("/v1/tenants/{}/keys", tenant.id);
    let shown = tenant.operator.get(&keys).await.expect(200);
    assert_eq!(shown["data"].as_array().unwrap().len(), 2, "a session is no key: {shown}");
    let id = key.strip_prefix("prk_").unwrap().split_once('_').unwrap().0;
    tenant.operator.delete(&format!("{keys}/{id}")).await.expect(204);
    assert_eq!(ask("call", list).await["error"]["code"], -32005);
}

#[tokio::test]
async fn a_message_that_failed_has_taken_its_number() {
    let receiver =
        Receiver::start(|request| Reply::status(if request.before == 0 { 503 } else { 200 })).await;
    let tenant = World::shared().tenant("shipstream-retry").await;
    let webhook = json!({ "url": receiver.url("/"), "topics": "order:created" });
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": [null, "webhook.create", [webhook]] });
    let basic = format!("Basic {}", STANDARD.encode(format!("apiuser:{}", tenant.key)));
    tenant.client.with("authorization", basic).post("/api/jsonrpc", &body).await.expect(200);
    tenant.publish("order:created", json!({ "n": 1 })).await;
    receiver.wait(1).await;
    tenant.publish("order:created", json!({ "n": 2 })).await;
    // The retry comes a minute later, with the number that it had: that is the contract suite's to show.
    let numbers: Vec<_> =
        receiver.wait(2).await.iter().map(|r| r.json()["message"]["webhook_increment_id"].clone()).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn headers_that_our_own_api_changed_are_shown_as_they_are_now() {
    let tenant = World::shared().tenant("shipstream-changed").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("apiuser:{}", tenant.key)));
    let client = tenant.client.with("authorization", basic);
    let call = async |path: &str, args: serde_json::Value| {
        let params = serde_json::Value::Array(vec![serde_json::Value::Null, path.into(), args]);
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": params });
        client.post("/api/jsonrpc", &body).await.expect(200)["result"].clone()
    };
    let webhook =
        json!({ "url": "https://example.com/", "topics": "order:created", "extra_headers": "X-A:  b" });
    assert_eq!(call("webhook.create", json!([webhook])).await, true);
    assert_eq!(call("webhook.list", json!([])).await[0]["extra_headers"], "X-A:  b");
    let all = tenant.client.get("/v1/webhooks").await.expect(200);
    let path = format!("/v1/webhooks/{}", text(&all["data"][0], "id"));
    tenant.client.patch(&path, &json!({ "headers": { "X-C": "d" } })).await.expect(200);
    assert_eq!(call("webhook.list", json!([])).await[0]["extra_headers"], "x-c: d");
}
