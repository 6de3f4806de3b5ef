//! What Centry's API is not to be asked; the plain cases are in `tests/dialects/centry`.

use http::Method;
use postrider_tests::{client::Answer, tenant::text, world::World};
use serde_json::json;

use super::{NOT_JSON, Stage, bad_urls, hard_json, wrong};

const WEBHOOKS: &str = "/conexion/v1/webhooks.json";

/// Each answer is an object with `error` in it, which has `names` in it.
fn judge(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "application/json", "{answer}");
    let body = answer.json();
    assert!(text(&body, "error").contains(names), "it is to name {names:?}: {answer}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{answer}");
}

#[tokio::test]
async fn centrys_api_refuses_in_its_own_shape() {
    let stage = Stage::set("centry-bad").await;
    let client = &stage.tenant.client;
    let other = World::shared().tenant("centry-other").await;
    let made = json!({ "callback_url": "https://example.com/", "on_order_save": true });
    let others = other.client.post(WEBHOOKS, &made).await.expect(200);
    // Our own and Tiki's, and one of another tenant's: not this API's, or not this tenant's.
    let mut ids = [1, 2, 77].map(|number| format!("{number:024x}")).to_vec();
    ids.extend(
        ["1", "", "00000000000000000000000Z", "+00000000000000000000001", text(&others, "_id")]
            .map(str::to_owned),
    );

    let one = format!("/conexion/v1/webhooks/{}.json", ids[0]);
    let mut table = Vec::new();
    for (method, path) in [(Method::POST, WEBHOOKS), (Method::PUT, &one)] {
        for body in NOT_JSON {
            table.push(wrong(method.clone(), path, body, 400, "JSON"));
        }
        for body in [json!([]), json!(null), json!(5), json!("text")] {
            table.push(wrong(method.clone(), path, body, 400, "JSON object"));
        }
        for flag in [json!("true"), json!(1), json!([])] {
            let body = json!({ "callback_url": "https://example.com/", "on_order_save": flag });
            table.push(wrong(method.clone(), path, body, 400, "on_order_save"));
        }
    }
    for body in hard_json() {
        let mut row = wrong(Method::POST, WEBHOOKS, (), 400, "");
        row.body = Some(body);
        table.push(row);
    }
    for url in bad_urls() {
        table.push(wrong(Method::POST, WEBHOOKS, json!({ "callback_url": url }), 400, "callback_url"));
    }
    for id in &ids {
        let path = format!("/conexion/v1/webhooks/{id}.json");
        table.push(wrong(Method::GET, &path, (), 404, ""));
        table.push(wrong(Method::PUT, &path, json!({ "on_order_save": true }), 404, ""));
        table.push(wrong(Method::DELETE, &path, (), 404, ""));
        table.push(wrong(Method::DELETE, &format!("/conexion/v1/webhook/{id}.json"), (), 404, ""));
    }
    for path in
        ["/conexion/", "/conexion/v1/webhooks", "/conexion/v2/webhooks.json", "/conexion/v1/orders.json"]
    {
        table.push(wrong(Method::GET, path, (), 404, "path"));
    }
    for (method, path) in [(Method::PATCH, &*one), (Method::PUT, WEBHOOKS), (Method::POST, &one)] {
        table.push(wrong(method, path, json!({}), 405, ""));
    }
    stage.check(client, &table, judge).await;
    let theirs = other.client.get(WEBHOOKS).await.expect(200);
    assert_eq!(theirs, json!([others]));
}
