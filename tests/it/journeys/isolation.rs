//! No tenant sees or touches another's anything: every route is walked with a stranger's keys.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method};
use postrider_tests::{
    client::Client,
    receiver::Receiver,
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

const STOLEN: &str = "https://example.com/stolen";
/// The owner's third and fourth webhooks.
const SAPO: &str = "/admin/webhooks/3.json";
const CENTRY: &str = "/conexion/v1/webhooks/000000000000000000000004.json";

const ULTIMATE: &str = "/wp-json/wu/v2/webhook";

/// A request for the owner's things, and what a stranger is answered.
struct Walk {
    /// The route in the template.
    route: &'static str,
    path: String,
    body: Option<Value>,
    status: u16,
}

fn walk(route: &'static str, path: impl Into<String>, body: Option<Value>, status: u16) -> Walk {
    Walk { route, path: path.into(), body, status }
}

/// Every route of the template, asking for `owner`'s things.
fn walks(owner: &Tenant, key: &str, webhook: &str, delivery: &str, replay: &str) -> Vec<Walk> {
    let id = &owner.id;
    let (tenant, named) = (format!("/v1/tenants/{id}"), format!("tenant={id}"));
    let hook = json!({ "uri": STOLEN, "event": "product:request:locked" });
    let body = |more: Value| {
        let mut body = json!({ "tenant": id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(body)
    };
    let sample = json!({ "webhook": webhook, "event": { "topic": "order.created" } });
    let (hook_id, webhook) = (webhook, format!("/v1/webhooks/{webhook}"));
    let granted = json!({ "id": "thief", "secret": "s" });
    vec![
        walk("POST /v1/tenants", "/v1/tenants", Some(json!({ "id": id })), 403),
        walk("GET /v1/tenants", "/v1/tenants", None, 403),
        walk("GET /v1/tenants/{tenant}", &tenant, None, 403),
        walk("DELETE /v1/tenants/{tenant}", &tenant, None, 403),
        walk(
            "POST /v1/tenants/{tenant}/keys",
            format!("{tenant}/keys"),
            Some(json!({ "scopes": ["admin"] })),
            403,
        ),
        walk("GET /v1/tenants/{tenant}/keys", format!("{tenant}/keys"), None, 403),
        walk("DELETE /v1/tenants/{tenant}/keys/{key}", format!("{tenant}/keys/{key}"), None, 403),
        walk(
            "POST /v1/webhooks",
            "/v1/webhooks",
            body(json!({ "url": "https://example.com/", "topics": ["*"] })),
            403,
        ),
        walk("GET /v1/webhooks", format!("/v1/webhooks?{named}"), None, 403),
        walk("GET /v1/webhooks/{id}", &webhook, None, 404),
        walk("GET /v1/webhooks/{id}", format!("{webhook}?{named}"), None, 403),
        walk("PATCH /v1/webhooks/{id}", &webhook, Some(json!({ "active": false })), 404),
        walk("PATCH /v1/webhooks/{id}", format!("{webhook}?{named}"), Some(json!({ "active": false })), 403),
        walk("DELETE /v1/webhooks/{id}", &webhook, None, 404),
        walk("DELETE /v1/webhooks/{id}", format!("{webhook}?{named}"), None, 403),
        walk(
            "POST /v1/webhooks/{id}/secret/rotate",
            format!("{webhook}/secret/rotate"),
            Some(json!({})),
            404,
        ),
        walk("POST /v1/webhooks/{id}/test", format!("{webhook}/test"), Some(json!({})), 404),
        walk("POST /v1/webhooks/{id}/test", format!("{webhook}/test?{named}"), Some(json!({})), 403),
        walk("PUT /v1/topics/{topic}", "/v1/topics/order.created", Some(json!({})), 403),
        walk("DELETE /v1/topics/{topic}", "/v1/topics/order.created", None, 403),
        walk("GET /v1/webhooks/{id}/health", format!("{webhook}/health"), None, 404),
        walk("GET /v1/webhooks/{id}/health", format!("{webhook}/health?{named}"), None, 403),
        walk("GET /v1/webhooks/{id}/parked", format!("{webhook}/parked"), None, 404),
        walk("GET /v1/webhooks/{id}/parked", format!("{webhook}/parked?{named}"), None, 403),
        walk("DELETE /v1/webhooks/{id}/parked", format!("{webhook}/parked"), None, 404),
        walk("DELETE /v1/webhooks/{id}/parked", format!("{webhook}/parked?{named}"), None, 403),
        walk("GET /v1/webhooks/{id}/events", format!("{webhook}/events"), None, 404),
        walk("GET /v1/webhooks/{id}/events", format!("{webhook}/events?{named}"), None, 403),
        walk("GET /v1/webhooks/{id}/deliveries", format!("{webhook}/deliveries"), None, 404),
        walk("GET /v1/webhooks/{id}/deliveries", format!("{webhook}/deliveries?{named}"), None, 403),
        walk("GET /v1/webhooks/{id}/stats", format!("{webhook}/stats"), None, 404),
        walk("GET /v1/webhooks/{id}/stats", format!("{webhook}/stats?{named}"), None, 403),
        walk("GET /v1/undelivered", format!("/v1/undelivered?webhook={hook_id}"), None, 404),
        walk("GET /v1/undelivered", format!("/v1/undelivered?{named}"), None, 403),
        walk("DELETE /v1/deliveries/{id}", format!("/v1/deliveries/{delivery}"), None, 404),
        walk("DELETE /v1/deliveries/{id}", format!("/v1/deliveries/{delivery}?{named}"), None, 403),
        walk("GET /v1/deliveries/{id}", format!("/v1/deliveries/{delivery}"), None, 404),
        walk("GET /v1/deliveries/{id}", format!("/v1/deliveries/{delivery}?{named}"), None, 403),
        walk("POST /v1/deliveries/{id}/retry", format!("/v1/deliveries/{delivery}/retry"), None, 404),
        walk("POST /v1/deliveries/{id}/retry", format!("/v1/deliveries/{delivery}/retry?{named}"), None, 403),
        walk(
            "POST /v1/replays",
            "/v1/replays",
            body(json!({ "since": jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1) })),
            403,
        ),
        walk("GET /v1/replays", format!("/v1/replays?{named}"), None, 403),
        walk("GET /v1/replays/{id}", format!("/v1/replays/{replay}"), None, 404),
        walk("GET /v1/replays/{id}", format!("/v1/replays/{replay}?{named}"), None, 403),
        walk("DELETE /v1/replays/{id}", format!("/v1/replays/{replay}"), None, 404),
        walk("DELETE /v1/replays/{id}", format!("/v1/replays/{replay}?{named}"), None, 403),
        walk("POST /v1/filters/test", "/v1/filters/test", Some(sample.clone()), 404),
        walk("POST /v1/filters/test", "/v1/filters/test", body(sample), 403),
        walk("PUT /v1/credentials", "/v1/credentials", body(granted.clone()), 403),
        walk("POST /v1/events", "/v1/events", body(json!({ "topic": "order.created" })), 403),
        // Tiki's API has no word for a tenant: a key means its own.
        walk("PUT /integration/v1/webhooks", "/integration/v1/webhooks", Some(hook.clone()), 404),
        walk("PUT /v1/webhooks", "/v1/webhooks", Some(hook), 404),
        walk(
            "DELETE /integration/v1/webhooks",
            "/integration/v1/webhooks?event=product:request:locked",
            None,
            404,
        ),
        walk("DELETE /v1/webhooks", "/v1/webhooks?event=product:request:locked", None, 404),
    ]
}

/// The same of the APIs in which a number is a webhook's within its tenant.
fn numbered_walks() -> Vec<Walk> {
    vec![
        walk("GET /admin/webhooks/{id}", SAPO, None, 404),
        walk("PUT /admin/webhooks/{id}", SAPO, Some(json!({ "webhook": { "address": STOLEN } })), 404),
        walk("DELETE /admin/webhooks/{id}", SAPO, None, 404),
        walk("GET /conexion/v1/webhooks/{id}", CENTRY, None, 404),
        walk("PUT /conexion/v1/webhooks/{id}", CENTRY, Some(json!({ "callback_url": STOLEN })), 404),
        walk("DELETE /conexion/v1/webhooks/{id}", CENTRY, None, 404),
        walk("DELETE /conexion/v1/webhook/{id}", CENTRY.replace("webhooks", "webhook"), None, 404),
        walk("GET /wp-json/wu/v2/webhook/{id}", "/wp-json/wu/v2/webhook/6", None, 404),
        walk(
            "PUT /wp-json/wu/v2/webhook/{id}",
            "/wp-json/wu/v2/webhook/6",
            Some(json!({ "webhook_url": STOLEN })),
            404,
        ),
        walk(
            "PATCH /wp-json/wu/v2/webhook/{id}",
            "/wp-json/wu/v2/webhook/6",
            Some(json!({ "active": false })),
            404,
        ),
        walk(
            "POST /wp-json/wu/v2/webhook/{id}",
            "/wp-json/wu/v2/webhook/6",
            Some(json!({ "name": "stolen" })),
            404,
        ),
        walk("DELETE /wp-json/wu/v2/webhook/{id}", "/wp-json/wu/v2/webhook/6", None, 404),
        walk("GET /wp-json/wu/v2/webhooks/{id}", "/wp-json/wu/v2/webhooks/6", None, 404),
        walk(
            "PUT /wp-json/wu/v2/webhooks/{id}",
            "/wp-json/wu/v2/webhooks/6",
            Some(json!({ "webhook_url": STOLEN })),
            404,
        ),
        walk(
            "PATCH /wp-json/wu/v2/webhooks/{id}",
            "/wp-json/wu/v2/webhooks/6",
            Some(json!({ "active": false })),
            404,
        ),
        walk(
            "POST /wp-json/wu/v2/webhooks/{id}",
            "/wp-json/wu/v2/webhooks/6",
            Some(json!({ "name": "stolen" })),
            404,
        ),
        walk("DELETE /wp-json/wu/v2/webhooks/{id}", "/wp-json/wu/v2/webhooks/6", None, 404),
        walk("POST /wp-json/wu/v2/webhook/{id}/test", "/wp-json/wu/v2/webhook/6/test", None, 404),
        walk("POST /wp-json/wu/v2/webhooks/{id}/test", "/wp-json/wu/v2/webhooks/6/test", None, 404),
    ]
}

/// Routes on which a stranger acts on its own things alone: what follows shows that the owner's stay.
const OWN: [&str; 31] = [
    "GET /v1/health",
    // Public keys are everybody's.
    "GET /.well-known/jwks.json",
    "GET /openapi.json",
    "GET /openrpc.json",
    // The catalogue is everybody's.
    "GET /v1/topics",
    "GET /v1/topics/{topic}",
    // Tested below: it takes a form.
    "POST /wp-admin/admin-ajax.php",
    "GET /integration/v1/webhooks",
    "POST /integration/v1/webhooks",
    "PUT /integration/v1/webhooks/credentials",
    "PUT /v1/webhooks/credentials",
    "PUT /webhooks/credentials",
    "GET /admin/webhooks.json",
    "POST /admin/webhooks.json",
    "GET /admin/webhooks/count.json",
    "GET /conexion/v1/webhooks.json",
    "POST /conexion/v1/webhooks.json",
    "POST /api/jsonrpc",
    "POST /api/jsonrpc/",
    "GET /wp-json/wu/v2/webhook",
    "POST /wp-json/wu/v2/webhook",
    "GET /wp-json/wu/v2/webhooks",
    "POST /wp-json/wu/v2/webhooks",
    "GET /wp-json/wu/v2/auth",
    "GET /wp-json/wu/v2/hooks",
    // Open to all; whose tokens they are is in `dialects/oauth.rs`.
    "GET /oauth/authorize",
    "POST /oauth/authorize",
    "POST /oauth/token",
    "GET /sc/oauth2/auth",
    "POST /sc/oauth2/auth",
    "POST /sc/oauth2/token",
];

#[tokio::test]
async fn a_stranger_gets_nowhere_on_any_route() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let owner = world.tenant("owner").await;
    let webhook = owner.webhook(&receiver.url("/"), &["*"]).await;
    owner.tiki_webhook(&receiver.url("/tiki"), "product:request:locked").await;
    let sapo = json!({ "webhook": { "topic": "carts/update", "address": receiver.url("/sapo") } });
    let made = owner.client.with("token", &owner.key).post("/admin/webhooks.json", &sapo).await.expect(201);
    assert_eq!(SAPO, format!("/admin/webhooks/{}.json", made["webhook"]["id"]));
    let centry = json!({ "callback_url": receiver.url("/centry"), "on_integration_config_delete": true });
    let made = owner.client.post("/conexion/v1/webhooks.json", &centry).await.expect(200);
    assert_eq!(CENTRY, format!("/conexion/v1/webhooks/{}.json", text(&made, "_id")));
    let shipstream = json!({ "url": receiver.url("/shipstream"), "topics": "test:ping" });
    assert_eq!(rpc(&owner.client, &owner.key, "webhook.create", json!([shipstream])).await["result"], true);
    let ultimate = json!({
        "name": "owner", "webhook_url": receiver.url("/ultimate"), "event": "site_published", "integration": "manual",
    });
    let made =
        owner.client.with("authorization", basic(&owner.key)).post(ULTIMATE, &ultimate).await.expect(200);
    assert_eq!(made["id"], 6);
    owner.client.put("/v1/credentials", &json!({ "id": "owner", "secret": "s" })).await.expect(204);
    let event = json!({ "id": "e-1", "topic": "order.created", "payload": "owner" });
    owner.client.post("/v1/events", &event).await.expect(202);
    let delivery = owner.attempted(text(&webhook, "id"), "e-1", 1).await;
    let since = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let replay = owner.client.post("/v1/replays", &json!({ "since": since })).await.expect(202);
    let keys = owner.operator.get(&format!("/v1/tenants/{}/keys", owner.id)).await.expect(200);
    let before = owner.snapshot().await;

    let stranger = world.tenant("stranger").await;
    let admin = stranger.new_key(&json!({ "scopes": ["admin"] })).await;
    let walks = walks(
        &owner,
        text(&keys["data"][0], "id"),
        text(&webhook, "id"),
        text(&delivery, "id"),
        text(&replay, "id"),
    );
    let walks: Vec<_> = walks.into_iter().chain(numbered_walks()).collect();
    for walk in &walks {
        for key in [&stranger.key, &admin] {
            let client = match walk.path.split('/').nth(1) {
                Some("admin") => stranger.client.with("token", key),
                Some("wp-json") => stranger.client.with("authorization", basic(key)),
                _ => stranger.client.bearer(key),
            };
            let (method, _) = walk.route.split_once(' ').unwrap();
            let answer = client.send(method.parse::<Method>().unwrap(), &walk.path, walk.body.as_ref()).await;
            assert_eq!(answer.status, walk.status, "{}: {answer}", walk.route);
        }
    }
    let walked: BTreeSet<_> = walks.iter().map(|walk| walk.route).chain(OWN).collect();
    let routes = crate::template::routes();
    let all: BTreeSet<_> = routes.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(walked, all.iter().map(String::as_str).collect(), "a new route is walked here too");

    own_things(&stranger.client, &stranger.key).await;
    // The same id of an event is another event, and goes to nobody but its own tenant's webhooks.
    let event = json!({ "id": "e-1", "topic": "order.created", "payload": "stranger" });
    assert_eq!(stranger.client.post("/v1/events", &event).await.expect(202)["deliveries"], 0);
    assert_eq!(owner.snapshot().await, before);
    owner.publish("product:request:locked", json!("owner")).await;
    let requests = receiver.wait(3).await;
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert!(String::from_utf8_lossy(&request.body).contains("owner"));
        assert!(request.header("authorization").is_some_and(|value| value == "Basic b3duZXI6cw=="));
    }
}

fn basic(key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("user:{key}")))
}

/// The answer to a call of `ShipStream`'s API.
async fn rpc(client: &Client, key: &str, path: &str, args: Value) -> Value {
    let client = client.with("authorization", basic(key));
    let params = Value::Array(vec![Value::Null, path.into(), args]);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": params });
    client.post("/api/jsonrpc", &call).await.expect(200)
}

/// What a stranger sees of its own is empty, and what it does there stays there.
async fn own_things(stranger: &Client, key: &str) {
    let seller = stranger.tiki(key);
    assert_eq!(stranger.get("/v1/webhooks").await.expect(200)["data"], json!([]));
    assert_eq!(stranger.get("/v1/undelivered").await.expect(200)["data"], json!([]));
    assert_eq!(seller.get("/integration/v1/webhooks").await.expect(200), json!({ "data": [] }));
    assert_eq!(stranger.with("authorization", basic(key)).get(ULTIMATE).await.expect(200), json!([]));
    assert_eq!(rpc(stranger, key, "webhook.list", json!([])).await["result"], json!([]));
    for (path, args, code) in [
        ("webhook.delete", json!([5]), -32103),
        ("webhook.update_status", json!([5, 0]), -32100),
        ("webhook.update_status", json!(["test:ping", 0]), -32100),
        ("webhook.update_status", json!([{ "status": 0 }]), -32100),
    ] {
        assert_eq!(rpc(stranger, key, path, args).await["error"]["code"], code, "{path}");
    }
    let form = Some(Bytes::from_static(b"action=wu_send_test_event&webhook_id=6"));
    let ajax = stranger.with("authorization", basic(key));
    ajax.send_bytes(Method::POST, "/wp-admin/admin-ajax.php", form, &HeaderMap::new()).await.expect(404);
    let sapo = stranger.with("token", key);
    assert_eq!(sapo.get("/admin/webhooks.json").await.expect(200), json!({ "webhooks": [] }));
    assert_eq!(sapo.get("/admin/webhooks/count.json").await.expect(200), json!({ "count": 0 }));
    assert_eq!(stranger.get("/conexion/v1/webhooks.json").await.expect(200), json!([]));
    let hook = json!({ "uri": "https://example.com/", "event": "product:request:locked" });
    seller.post("/integration/v1/webhooks", &hook).await.expect(200);
    for path in ["/integration/v1/webhooks/credentials", "/v1/webhooks/credentials", "/webhooks/credentials"]
    {
        seller.put(path, &json!({ "id": "stranger", "secret": "s" })).await.expect(200);
    }
    seller.delete("/integration/v1/webhooks?event=product:request:locked").await.expect(200);
}
