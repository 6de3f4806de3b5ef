//! What our own API is not to be asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use postrider_tests::{client::Answer, tenant::text};
use serde_json::{Value, json};

use super::{NOT_JSON, Stage, Wrong, bad_urls, wrong};

/// RFC 9457: each answer is a problem of ours, with `names` as its kind, or as the field that it is about.
pub(super) fn judge(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "application/problem+json", "{answer}");
    let problem = answer.json();
    let kind = text(&problem, "type").strip_prefix("urn:postrider:problem:").unwrap();
    assert_eq!(problem["status"], answer.status, "{answer}");
    assert!(text(&problem, "instance").starts_with("urn:uuid:"), "{answer}");
    assert!(!text(&problem, "title").is_empty(), "{answer}");
    let detail = text(&problem, "detail");
    assert!(!detail.is_empty(), "{answer}");
    let is_said =
        names == kind || problem["field"] == names || (kind == "malformed" && detail.contains(names));
    assert!(is_said, "it is to name {names:?}: {answer}");
}

/// A body with one field changed, or taken away where `value` is null.
pub(super) fn with(base: &Value, field: &str, value: Value) -> Value {
    let mut body = base.clone();
    let fields = body.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(field)
    } else {
        fields.insert(field.to_owned(), value)
    };
    body
}

#[tokio::test]
async fn no_route_takes_what_is_not_json() {
    let stage = Stage::set("not-json").await;
    let own = format!("/v1/tenants/{}/keys", stage.tenant.id);
    let mut table = Vec::new();
    for body in NOT_JSON.into_iter().chain([&b"[]"[..], b"null", b"5", b"\"text\""]) {
        for (method, path) in [
            (Method::POST, "/v1/webhooks"),
            (Method::PATCH, &stage.webhook),
            (Method::PUT, "/v1/credentials"),
            (Method::POST, "/v1/tenants"),
            (Method::POST, &own),
        ] {
            table.push(wrong(method, path, body, 400, "malformed"));
        }
        if body != b"[]" {
            table.push(wrong(Method::POST, "/v1/events", body, 400, "malformed"));
        }
    }
    let deep = Bytes::from([vec![b'['; 100_000], vec![b']'; 100_000]].concat());
    let mut row = wrong(Method::POST, "/v1/webhooks", (), 400, "malformed");
    row.body = Some(deep);
    table.push(row);
    stage.check(&stage.tenant.operator, &table, judge).await;
}

/// Ways of authentication that are none.
fn no_proofs() -> Vec<(&'static str, Value)> {
    let long = "x".repeat(4097);
    let oauth = |field: &str, value: Value| {
        let good = json!({
            "type": "oauth2_client_credentials", "token_url": "https://id.example/", "client_id": "a", "client_secret": "b",
        });
        with(&good, field, value)
    };
    vec![
        ("auth", json!("Bearer x")),
        ("auth", json!([])),
        ("auth/type", json!({})),
        ("auth/type", json!({ "type": "digest", "username": "a", "password": "b" })),
        ("auth/token", json!({ "type": "bearer" })),
        ("auth/token", json!({ "type": "bearer", "token": "" })),
        ("auth/token", json!({ "type": "bearer", "token": 5 })),
        ("auth/token", json!({ "type": "bearer", "token": "a b" })),
        ("auth/token", json!({ "type": "bearer", "token": "a\r\nx: y" })),
        ("auth/token", json!({ "type": "bearer", "token": "é" })),
        ("auth/token", json!({ "type": "bearer", "token": long })),
        ("auth/password", json!({ "type": "bearer", "token": "a", "password": "b" })),
        ("auth/username", json!({ "type": "basic", "password": "b" })),
        ("auth/username", json!({ "type": "basic", "username": "a:b", "password": "b" })),
        ("auth/password", json!({ "type": "basic", "username": "a" })),
        ("auth/password", json!({ "type": "basic", "username": "a", "password": "b\n" })),
        ("auth/token_url", oauth("token_url", json!("ftp://id.example/"))),
        ("auth/token_url", oauth("token_url", json!("https://a:b@id.example/"))),
        ("auth/token_url", oauth("token_url", json!(null))),
        ("auth/client_id", oauth("client_id", json!(null))),
        ("auth/client_secret", oauth("client_secret", json!("a\0"))),
        ("auth/scope", oauth("scope", json!(["a"]))),
        ("auth/audience", oauth("audience", json!(""))),
        ("auth/auth_style", oauth("auth_style", json!("jwt"))),
        ("auth/token", oauth("token", json!("a"))),
        ("client_certificate", json!("PEM")),
        ("client_certificate/certificate", json!({})),
        ("client_certificate/private_key", json!({ "certificate": "x" })),
        ("client_certificate/certificate", json!({ "certificate": "x", "private_key": "y" })),
        ("signature", json!("rsa")),
        ("signature", json!(true)),
    ]
}

#[tokio::test]
async fn a_webhook_is_checked_field_by_field() {
    let stage = Stage::set("fields").await;
    let good = json!({ "url": "https://example.com/", "topics": ["order.created"] });
    let many = |count: usize| {
        json!((0..count).map(|n| (format!("x-{n}"), json!("1"))).collect::<serde_json::Map<_, _>>())
    };
    let topics: Vec<_> = (0..101).map(|n| format!("order.t{n}")).collect();
    let header = |name: &str, value: &str| json!({ name: value });
    let long = "x".repeat(4097);
    let wide = "x".repeat(4000);
    let wide = (0..17).map(|n| (format!("x-{n}"), json!(wide))).collect::<serde_json::Map<_, _>>();
    let mut fields = vec![
        ("url", json!(5)),
        ("url", json!(["https://example.com/"])),
        ("topics", json!("order.created")),
        ("topics", json!([])),
        ("topics", json!([5])),
        ("topics", json!(topics)),
        ("topics", json!(["order"])),
        ("topics", json!(["Order.Created"])),
        ("topics", json!(["order.created\n"])),
        ("topics", json!(["product:request:unheard"])),
        ("topics", json!([""])),
        ("topics", json!([".*"])),
        ("topics", json!(["order*"])),
        ("topics", json!(["*.created"])),
        ("topics", json!(["order.*.created"])),
        ("headers", json!([])),
        ("headers", json!("a: b")),
        ("headers", json!({ "a": 5 })),
        ("headers", many(101)),
        ("headers", json!(wide)),
        ("headers", header("", "x")),
        ("headers", header("a b", "x")),
        ("headers", header("a:", "x")),
        ("headers", header("é", "x")),
        ("headers", header(&"a".repeat(257), "x")),
        ("headers", header("x-a", &long)),
        ("headers", header("x-a", "a\r\nx-b: c")),
        ("headers", header("x-a", "a\0")),
        ("headers", header("x-a", "\u{7f}")),
        ("headers", header("x-a", "é")),
        ("headers", header("Host", "example.com")),
        ("headers", header("content-length", "0")),
        ("headers", header("Transfer-Encoding", "chunked")),
        ("headers", header("webhook-signature", "v1,x")),
        ("headers", json!({ "X-A": "1", "x-a": "2" })),
        ("filter", json!("topic")),
        ("filter", json!([])),
        ("filter", json!({})),
        ("filter", json!({ "topic": ["x".repeat(4096)] })),
        ("filter/data", json!({ "data": { "total": [1] } })),
        ("filter/topic", json!({ "topic": "order.created" })),
        ("filter/payload/total/0", json!({ "payload": { "total": [[100]] } })),
        ("filter/payload/total/0/numeric", json!({ "payload": { "total": [{ "numeric": [">"] }] } })),
        ("name", json!(5)),
        ("name", json!("x".repeat(201))),
        ("name", json!("a\u{1b}[2J")),
        ("colour", json!("red")),
        ("secret", json!("whsec_AAAA")),
        ("state", json!("active")),
    ];
    fields.extend(no_proofs());
    fields.extend(bad_urls().into_iter().map(|url| ("url", json!(url))));
    let mut table: Vec<Wrong> = vec![
        wrong(Method::POST, "/v1/webhooks", with(&good, "url", Value::Null), 422, "url"),
        wrong(Method::POST, "/v1/webhooks", with(&good, "topics", Value::Null), 422, "topics"),
        wrong(Method::POST, "/v1/webhooks", with(&good, "tenant", json!(5)), 422, "tenant"),
        wrong(Method::POST, "/v1/webhooks", with(&good, "tenant", json!("No Tenant")), 422, "tenant"),
        wrong(Method::POST, "/v1/webhooks", with(&good, "active", json!(true)), 422, "active"),
        wrong(Method::PATCH, &stage.webhook, json!({ "active": "yes" }), 422, "active"),
        wrong(Method::PATCH, &stage.webhook, json!({ "name": "new", "active": 1 }), 422, "active"),
    ];
    for (names, value) in fields {
        // What is wrong within a field is named by its path.
        let field = names.split('/').next().unwrap();
        table.push(wrong(Method::POST, "/v1/webhooks", with(&good, field, value.clone()), 422, names));
        // A change is refused as a whole, also for the part that is right.
        table.push(wrong(
            Method::PATCH,
            &stage.webhook,
            json!({ "active": false, field: value }),
            422,
            names,
        ));
    }
    stage.check(&stage.tenant.client, &table, judge).await;
}

#[tokio::test]
async fn an_event_is_checked_field_by_field() {
    let stage = Stage::set("events").await;
    let good = json!({ "topic": "order.created", "payload": { "a": 1 } });
    let mut table = Vec::new();
    for (field, value, status, names) in [
        ("topic", Value::Null, 422, "topic"),
        ("topic", json!(5), 422, "topic"),
        ("topic", json!(["order.created"]), 422, "topic"),
        ("topic", json!(""), 422, "topic"),
        ("topic", json!("order"), 422, "topic"),
        ("topic", json!("*"), 422, "topic"),
        ("topic", json!("product:request:unheard"), 422, "topic"),
        ("topic", json!(format!("a.{}", "b".repeat(127))), 422, "topic"),
        ("id", json!(7), 422, "id"),
        ("id", json!(""), 422, "id"),
        ("id", json!("a b"), 422, "id"),
        ("id", json!("a\r\nb"), 422, "id"),
        ("id", json!("é"), 422, "id"),
        ("id", json!("x".repeat(129)), 422, "id"),
        ("tenant", json!(5), 422, "tenant"),
        ("tenant", json!("UPPER"), 422, "tenant"),
        ("tenant", json!("somebody-else"), 403, "forbidden"),
        ("occurred_at", json!(1_580_644_800), 422, "occurred_at"),
        ("occurred_at", json!("2020-02-02 12:00"), 422, "occurred_at"),
        ("occurred_at", json!("yesterday"), 422, "occurred_at"),
        ("colour", json!("red"), 422, "colour"),
        ("metadata", json!("web"), 422, "metadata"),
        ("metadata", json!(["web"]), 422, "metadata"),
        ("metadata", json!({ "a": 1 }), 422, "metadata"),
        ("metadata", json!({ "a": null }), 422, "metadata"),
        ("metadata", json!({ "a": "x".repeat(4096) }), 422, "metadata"),
        (
            "metadata",
            json!((0..51).map(|n| (n.to_string(), "x")).collect::<BTreeMap<_, _>>()),
            422,
            "metadata",
        ),
        ("payload", json!("x".repeat(256 * 1024)), 413, "too-large"),
    ] {
        table.push(wrong(Method::POST, "/v1/events", with(&good, field, value), status, names));
    }
    let taken = json!({ "id": "taken", "topic": "order.created", "payload": 2 });
    table.push(wrong(Method::POST, "/v1/events", taken, 409, "conflict"));
    stage.check(&stage.tenant.client, &table, judge).await;

    let nameless = wrong(Method::POST, "/v1/events", good.clone(), 422, "tenant");
    let nobody = wrong(Method::POST, "/v1/events", with(&good, "tenant", json!("nobody")), 404, "not-found");
    stage.check(&stage.tenant.operator, &[nameless, nobody], judge).await;
}

#[tokio::test]
async fn credentials_tenants_and_keys_are_checked_field_by_field() {
    let stage = Stage::set("others").await;
    let id = &stage.tenant.id;
    let (tenants, keys) = ("/v1/tenants", format!("/v1/tenants/{id}/keys"));
    let mut table = Vec::new();
    for (field, value) in [
        ("id", Value::Null),
        ("id", json!("")),
        ("id", json!(5)),
        ("id", json!("a:b")),
        ("id", json!("a\nb")),
        ("id", json!("x".repeat(1025))),
        ("secret", Value::Null),
        ("secret", json!("")),
        ("secret", json!({})),
        ("secret", json!("a\rb")),
        ("secret", json!("\u{0}")),
        ("secret", json!("x".repeat(1025))),
        ("user", json!("x")),
    ] {
        let good = json!({ "tenant": id, "id": "other", "secret": "other" });
        table.push(wrong(Method::PUT, "/v1/credentials", with(&good, field, value), 422, field));
    }
    for (field, value) in [
        ("id", Value::Null),
        ("id", json!(5)),
        ("id", json!("")),
        ("id", json!("UPPER")),
        ("id", json!("a/b")),
        ("id", json!("..")),
        ("id", json!("-a")),
        ("id", json!("a b")),
        ("id", json!("x".repeat(65))),
        ("name", json!(5)),
        ("name", json!("x".repeat(201))),
        ("name", json!("a\nb")),
        ("owner", json!("me")),
    ] {
        let good = json!({ "id": "never-made", "name": "Never" });
        table.push(wrong(Method::POST, tenants, with(&good, field, value), 422, field));
    }
    for (field, value) in [
        ("scopes", Value::Null),
        ("scopes", json!([])),
        ("scopes", json!("admin")),
        ("scopes", json!(["root"])),
        ("scopes", json!([5])),
        ("expires_at", json!(5)),
        ("expires_at", json!("tomorrow")),
        ("expires_at", json!("2020-01-01T00:00:00Z")),
        ("redirect_uris", json!("https://app.example/")),
        ("redirect_uris", json!([5])),
        ("redirect_uris", json!(["https://app.example/", "http://app.example/"])),
        ("redirect_uris", json!(["https://app.example/#part"])),
        ("redirect_uris", json!(vec!["https://app.example/"; 11])),
        ("key", json!("prk_x")),
    ] {
        table.push(wrong(
            Method::POST,
            &keys,
            with(&json!({ "scopes": ["publish"] }), field, value),
            422,
            field,
        ));
    }
    let nobody = json!({ "tenant": "nobody", "id": "a", "secret": "b" });
    table.push(wrong(Method::PUT, "/v1/credentials", nobody, 404, "not-found"));
    table.push(wrong(
        Method::POST,
        "/v1/tenants/nobody/keys",
        json!({ "scopes": ["admin"] }),
        404,
        "not-found",
    ));
    table.push(wrong(Method::POST, tenants, json!({ "id": id, "name": "Usurper" }), 409, "conflict"));
    stage.check(&stage.tenant.operator, &table, judge).await;
    stage.tenant.operator.get("/v1/tenants/never-made").await.expect(404);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let stage = Stage::set("unknown").await;
    let uuid = format!("{:032x}", 7);
    let mut table = Vec::new();
    for id in
        [format!("wh_{uuid}"), "wh_1".to_owned(), uuid.to_uppercase(), "..".to_owned(), "%00".to_owned()]
    {
        let path = format!("/v1/webhooks/{id}");
        // A dot segment is resolved by the client; what is left is a list's path, not a webhook's.
        if id != ".." {
            table.push(wrong(Method::GET, &path, (), 404, "not-found"));
            table.push(wrong(Method::PATCH, &path, json!({ "active": false }), 404, "not-found"));
            table.push(wrong(Method::DELETE, &path, (), 404, "not-found"));
        }
        table.push(wrong(Method::GET, &format!("/v1/webhooks/{id}x/deliveries"), (), 404, "not-found"));
        table.push(wrong(Method::POST, &format!("/v1/webhooks/{id}x/secret/rotate"), (), 404, "not-found"));
    }
    for id in [format!("dlv_{uuid}{uuid}"), format!("dlv_{uuid}"), "x".to_owned()] {
        table.push(wrong(Method::GET, &format!("/v1/deliveries/{id}"), (), 404, "not-found"));
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/health",
        "/v1/health/x",
        "/v1/events/e-1",
        "/v1/webhooks/x/y",
        "/favicon.ico",
    ] {
        table.push(wrong(Method::GET, path, (), 404, "not-found"));
    }
    for (method, path) in [
        (Method::POST, "/v1/health"),
        (Method::GET, "/v1/events"),
        (Method::DELETE, "/v1/events"),
        (Method::PATCH, "/v1/webhooks"),
        (Method::GET, "/v1/credentials"),
        (Method::POST, "/v1/deliveries/x"),
        (Method::POST, "/v1/undelivered"),
        (Method::PUT, "/v1/tenants"),
        (Method::PATCH, "/v1/tenants/x"),
        (Method::PUT, "/v1/tenants/x/keys"),
        (Method::GET, "/v1/tenants/x/keys/y"),
        (Method::POST, &stage.webhook),
        (Method::PUT, &stage.webhook),
        (Method::POST, &format!("{}/deliveries", stage.webhook)),
        (Method::GET, &format!("{}/secret/rotate", stage.webhook)),
        (Method::OPTIONS, "/v1/webhooks"),
    ] {
        table.push(wrong(method, path, (), 405, "method-not-allowed"));
    }
    stage.check(&stage.tenant.client, &table, judge).await;
}

#[tokio::test]
async fn a_key_that_is_missing_wrong_or_over_opens_nothing() {
    let stage = Stage::set("no-key").await;
    let (tenant, bare) = (&stage.tenant, stage.tenant.client.anonymous());
    let (begin, last) = tenant.key.split_at(tenant.key.len() - 1);
    let other = format!("{begin}{}", if last == "x" { "y" } else { "x" });
    let swapped = tenant.key.to_uppercase().replacen("PRK", "prk", 1);
    let clients = [
        bare.clone(),
        bare.bearer(""),
        bare.bearer("prk_"),
        bare.bearer(&other),
        bare.bearer(&swapped),
        bare.bearer(&format!("{}x", tenant.key)),
        bare.bearer(&tenant.key[..tenant.key.len() - 1]),
        bare.bearer("prk_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        bare.bearer("' OR 1=1 --"),
        bare.with("authorization", tenant.key.clone()),
        bare.with("authorization", format!("Token {}", tenant.key)),
        bare.with("x-api-key", tenant.key.clone()),
    ];
    let id = &tenant.id;
    let table = [
        wrong(Method::GET, "/v1/webhooks", (), 401, "unauthenticated"),
        wrong(Method::DELETE, &stage.webhook, (), 401, "unauthenticated"),
        wrong(Method::PATCH, &stage.webhook, json!({ "active": false }), 401, "unauthenticated"),
        wrong(Method::POST, "/v1/events", json!({ "topic": "order.never" }), 401, "unauthenticated"),
        wrong(Method::POST, "/v1/events", &b"{"[..], 401, "unauthenticated"),
        wrong(Method::PUT, "/v1/credentials", json!({ "id": "a", "secret": "b" }), 401, "unauthenticated"),
        wrong(Method::DELETE, &format!("/v1/tenants/{id}"), (), 401, "unauthenticated"),
        wrong(
            Method::POST,
            &format!("/v1/tenants/{id}/keys"),
            json!({ "scopes": ["admin"] }),
            401,
            "unauthenticated",
        ),
    ];
    for client in &clients {
        stage.check(client, &table, judge).await;
    }
}
