//! Keys: what they open, and when they stop.

use http::Method;
use postrider_tests::{
    client::Client,
    poll,
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

/// Whether a key opens each door; one row for each scope.
async fn check(tenant: &Tenant, scopes: Value, publish: bool, [read, write]: [bool; 2], admin: bool) {
    let client = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": scopes })).await);
    let own = format!("/v1/tenants/{}", tenant.id);
    let event = json!({ "topic": "order.created" });
    let credentials = json!({ "id": "a", "secret": "b" });
    let doors = [
        (Method::POST, "/v1/events".to_owned(), Some(&event), publish, 202),
        (Method::GET, "/v1/webhooks".to_owned(), None, read, 200),
        (Method::PUT, "/v1/credentials".to_owned(), Some(&credentials), write, 204),
        (Method::GET, "/v1/topics".to_owned(), None, read, 200),
        (Method::GET, "/integration/v1/webhooks".to_owned(), None, read, 200),
        (Method::GET, own.clone(), None, admin, 200),
        (Method::GET, format!("{own}/keys"), None, admin, 200),
        (Method::GET, "/v1/tenants".to_owned(), None, false, 200),
        (Method::DELETE, own, None, false, 204),
    ];
    for (method, path, body, opens, status) in doors {
        let answer = client.send(method, &path, body).await;
        assert_eq!(answer.status, if opens { status } else { 403 }, "{scopes}: {answer}");
    }
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say() {
    let tenant = World::shared().tenant("scopes").await;
    let (none, both) = ([false; 2], [true; 2]);
    check(&tenant, json!(["publish"]), true, none, false).await;
    check(&tenant, json!(["manage"]), false, both, false).await;
    check(&tenant, json!(["read"]), false, [true, false], false).await;
    check(&tenant, json!(["write"]), false, [false, true], false).await;
    check(&tenant, json!(["read", "write"]), false, both, false).await;
    check(&tenant, json!(["publish", "manage"]), true, both, false).await;
    check(&tenant, json!(["admin"]), true, both, true).await;
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let tenant = World::shared().tenant("shown").await;
    let keys = format!("/v1/tenants/{}/keys", tenant.id);
    let body = json!({ "scopes": ["manage", "publish", "manage"], "expires_at": "2999-01-01T00:00:00Z" });
    let mut made = tenant.operator.post(&keys, &body).await.expect(201);
    let key = text(&made, "key").to_owned();
    assert!(key.starts_with(&format!("prk_{}_", text(&made, "id"))), "{made}");
    let mut scopes: Vec<_> =
        made["scopes"].as_array().unwrap().iter().map(|scope| scope.as_str().unwrap()).collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["manage", "publish"], "each scope once");
    assert_eq!(made["expires_at"], "2999-01-01T00:00:00Z");

    let list = tenant.operator.get(&keys).await;
    list.expect(200);
    assert!(!String::from_utf8_lossy(&list.body).contains(&key), "{list}");
    made.as_object_mut().unwrap().remove("key");
    assert!(list.json()["data"].as_array().unwrap().contains(&made), "{list}");
}

#[tokio::test]
async fn a_key_works_in_every_dialects_own_header() {
    let tenant = World::shared().tenant("headers").await;
    let bare = tenant.client.anonymous();
    for client in [bare.bearer(&tenant.key), bare.with("authorization", format!("bearer   {}", tenant.key))] {
        client.get("/v1/webhooks").await.expect(200);
        client.get("/integration/v1/webhooks").await.expect(200);
    }
    bare.tiki(&tenant.key).get("/integration/v1/webhooks").await.expect(200);
    bare.tiki(&tenant.key).get("/v1/webhooks").await.expect(401);
}

#[tokio::test]
async fn a_key_that_is_revoked_or_expired_opens_nothing() {
    let tenant = World::shared().tenant("ends").await;
    let keys = format!("/v1/tenants/{}/keys", tenant.id);
    let revoked = tenant.operator.post(&keys, &json!({ "scopes": ["manage"] })).await.expect(201);
    let client = tenant.client.bearer(text(&revoked, "key"));
    client.get("/v1/webhooks").await.expect(200);
    let path = format!("{keys}/{}", text(&revoked, "id"));
    tenant.operator.delete(&path).await.expect(204);
    refused(&client).await;
    tenant.operator.delete(&path).await.expect(404);

    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1500);
    let short = tenant.new_key(&json!({ "scopes": ["manage"], "expires_at": soon.to_string() })).await;
    let client = tenant.client.bearer(&short);
    client.get("/v1/webhooks").await.expect(200);
    poll::until(poll::SOON, "the key expires", async || {
        (client.get("/v1/webhooks").await.status == 401).then_some(())
    })
    .await;
    assert!(jiff::Timestamp::now() >= soon, "not before its time");
    refused(&client).await;
}

async fn refused(client: &Client) {
    let problem = client.get("/v1/webhooks").await.expect(401);
    assert_eq!(problem["type"], "urn:postrider:problem:unauthenticated");
    client.get("/integration/v1/webhooks").await.expect(401);
    client.post("/v1/events", &json!({ "topic": "order.created" })).await.expect(401);
}
