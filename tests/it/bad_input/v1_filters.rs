//! Filters that are none, and samples that are no events.

use http::Method;
use serde_json::{Value, json};

use super::{
    NOT_JSON, Stage,
    v1::{judge, with},
    wrong,
};

#[tokio::test]
async fn what_a_filter_is_tried_on_is_checked_field_by_field() {
    let stage = Stage::set("filters").await;
    let path = "/v1/filters/test";
    let good = json!({ "filter": { "topic": ["a.b"] }, "event": { "topic": "order.created" } });
    let mut table = Vec::new();
    for (field, value, status, names) in [
        ("filter", Value::Null, 422, "filter"),
        ("filter", json!("x"), 422, "filter"),
        (
            "filter",
            json!({ "payload": { "total": [{ "numeric": [">", "1"] }] } }),
            422,
            "filter/payload/total/0/numeric",
        ),
        ("filter", json!({ "$or": [{ "topic": ["a.b"] }, { "detail": ["x"] }] }), 422, "filter/detail"),
        ("webhook", json!(format!("wh_{:032x}", 1)), 422, "webhook"),
        ("webhook", json!("wh_1"), 422, "webhook"),
        ("webhook", json!(5), 422, "webhook"),
        ("event", Value::Null, 422, "event"),
        ("event", json!("order.created"), 422, "event"),
        ("event", json!([{ "topic": "order.created" }]), 422, "event"),
        ("event", json!({}), 422, "event/topic"),
        ("event", json!({ "topic": "order" }), 422, "event/topic"),
        ("event", json!({ "topic": "a.b", "colour": "red" }), 422, "event/colour"),
        ("event", json!({ "topic": "a.b", "metadata": { "a": 1 } }), 422, "event/metadata"),
        ("event", json!({ "topic": "a.b", "tenant": "No Tenant" }), 422, "event/tenant"),
        ("event", json!({ "topic": "a.b", "tenant": "somebody-else" }), 403, "forbidden"),
        ("event", json!({ "topic": "a.b", "payload": "x".repeat(256 * 1024) }), 413, "too-large"),
        ("tenant", json!(5), 422, "tenant"),
        ("tenant", json!("somebody-else"), 403, "forbidden"),
        ("colour", json!("red"), 422, "colour"),
    ] {
        table.push(wrong(Method::POST, path, with(&good, field, value), status, names));
    }
    for body in NOT_JSON {
        table.push(wrong(Method::POST, path, body, 400, "malformed"));
    }
    table.push(wrong(Method::GET, path, (), 405, "method-not-allowed"));
    stage.check(&stage.tenant.client, &table, judge).await;

    let nameless = wrong(Method::POST, path, good.clone(), 422, "tenant");
    let nobody = wrong(Method::POST, path, with(&good, "tenant", json!("nobody")), 404, "not-found");
    let other = json!({ "topic": "a.b", "tenant": "another" });
    let other = with(&with(&good, "tenant", json!(stage.tenant.id)), "event", other);
    let other = wrong(Method::POST, path, other, 422, "event/tenant");
    stage.check(&stage.tenant.operator, &[nameless, nobody, other], judge).await;
}
