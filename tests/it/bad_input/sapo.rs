//! What Sapo's API is not to be asked; the plain cases are in `tests/dialects/sapo`.

use http::Method;
use postrider_tests::{client::Answer, tenant::text, world::World};
use serde_json::json;

use super::{NOT_JSON, Stage, bad_urls, hard_json, wrong};

const WEBHOOKS: &str = "/admin/webhooks.json";

/// Each answer is Sapo's `{"errors": …}`, with `names` in it.
fn judge(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "application/json", "{answer}");
    let body = answer.json();
    let errors = &body["errors"];
    assert!(errors.is_string() || errors.as_object().is_some_and(|fields| !fields.is_empty()), "{answer}");
    assert!(errors.to_string().contains(names), "it is to name {names:?}: {answer}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{answer}");
}

#[tokio::test]
async fn sapos_api_refuses_in_its_own_shape() {
    let mut stage = Stage::set("sapo-bad").await;
    let other = World::shared().tenant("sapo-other").await;
    let made = json!({ "webhook": { "topic": "orders/create", "address": "https://example.com/" } });
    let others = other.client.with("x-sapo-access-token", &other.key).post(WEBHOOKS, &made).await.expect(201);
    // Our own and Tiki's, and one of another tenant's: not this API's, or not this tenant's.
    let ids = ["1", "2", "77", "0", "-1", "1.0", "wh_1", "%31", "", &others["webhook"]["id"].to_string()]
        .map(str::to_owned);

    let mut table = Vec::new();
    for (method, path) in [(Method::POST, WEBHOOKS), (Method::PUT, "/admin/webhooks/1.json")] {
        for body in NOT_JSON {
            table.push(wrong(method.clone(), path, body, 422, "JSON"));
        }
        for body in [json!([]), json!(null), json!(5), json!("text")] {
            table.push(wrong(method.clone(), path, body, 422, "JSON object"));
        }
        for body in [
            json!({}),
            json!({ "webhook": null }),
            json!({ "webhook": 5 }),
            json!({ "topic": "orders/create" }),
        ] {
            table.push(wrong(method.clone(), path, body, 422, "webhook"));
        }
        for body in hard_json() {
            let mut row = wrong(method.clone(), path, (), 422, "");
            row.body = Some(body);
            table.push(row);
        }
    }
    for url in bad_urls() {
        let body = json!({ "webhook": { "topic": "orders/create", "address": url } });
        table.push(wrong(Method::POST, WEBHOOKS, body, 422, "address"));
    }
    for topic in
        ["", "orders", "orders/", "ORDERS/CREATE", "order.created", "*", "product:request:locked", "é\n"]
    {
        let body = json!({ "webhook": { "topic": topic, "address": "https://example.com/" } });
        table.push(wrong(Method::POST, WEBHOOKS, body, 422, "topic"));
    }
    for (field, value) in
        [("topic", json!([])), ("address", json!({})), ("format", json!(1)), ("format", json!("XML"))]
    {
        let mut body = json!({ "webhook": { "topic": "orders/create", "address": "https://example.com/" } });
        body["webhook"][field] = value;
        table.push(wrong(Method::POST, WEBHOOKS, body, 422, field));
    }
    for query in ["limit=many", "page=-1", "since_id=x", "created_on_min=yesterday"] {
        // Refused before anything is done.
        table.push(wrong(Method::POST, &format!("{WEBHOOKS}?{query}"), made.clone(), 422, "must be"));
    }
    for id in &ids {
        let path = format!("/admin/webhooks/{id}.json");
        let change = json!({ "webhook": { "address": "https://example.com/usurper" } });
        table.push(wrong(Method::GET, &path, (), 404, "Not Found"));
        table.push(wrong(Method::PUT, &path, change, 404, "Not Found"));
        table.push(wrong(Method::DELETE, &path, (), 404, "Not Found"));
    }
    for path in
        ["/admin/", "/admin/webhooks", "/admin/webhooks.xml", "/admin/webhooks/1", "/admin/orders.json"]
    {
        table.push(wrong(Method::GET, path, (), 404, "Not Found"));
    }
    for (method, path) in
        [(Method::PATCH, WEBHOOKS), (Method::PUT, WEBHOOKS), (Method::POST, "/admin/webhooks/count.json")]
    {
        table.push(wrong(method, path, (), 405, ""));
    }
    // A key may make 40 calls at once.
    let parts: Vec<_> = table.chunks(40).collect();
    let mut keys = Vec::new();
    for _ in &parts {
        keys.push(stage.tenant.new_key(&json!({ "scopes": ["manage"] })).await);
    }
    stage.before = stage.tenant.snapshot().await;
    for (part, key) in parts.into_iter().zip(&keys) {
        stage.check(&stage.tenant.client.with("x-sapo-access-token", key), part, judge).await;
    }
    let theirs = other.client.with("x-sapo-access-token", &other.key).get(WEBHOOKS).await.expect(200);
    assert_eq!(text(&theirs["webhooks"][0], "address"), "https://example.com/");
}
