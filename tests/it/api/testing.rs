//! Test events: sent at once, told of at once, and kept nowhere.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};
use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

fn basic(tenant: &Tenant) -> String {
    format!("Basic {}", STANDARD.encode(format!("user:{}", tenant.key)))
}

/// The id by our own API of the webhook that was registered last.
async fn newest(tenant: &Tenant) -> String {
    let all = tenant.client.get("/v1/webhooks").await.expect(200);
    text(all["data"].as_array().unwrap().last().unwrap(), "id").to_owned()
}

#[tokio::test]
async fn a_test_event_is_a_signed_sample_and_leaves_no_trace() {
    let receiver = Receiver::start(|_| Reply::Whole(201, vec![], Bytes::from_static(b"thanks"))).await;
    let tenant = World::shared().tenant("test").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["order.paid", "*"]).await;
    let path = format!("/v1/webhooks/{}/test", text(&webhook, "id"));
    let bare = tenant.client.send(Method::POST, &path, None).await.expect(200);
    assert_eq!((&bare["topic"], &bare["delivered"]), (&json!("test.ping"), &json!(true)), "{bare}");
    let asked = tenant.client.post(&path, &json!({ "topic": "orders/create" })).await.expect(200);
    assert_eq!(asked["topic"], "order.created");
    let reply = &asked["attempt"]["reply"];
    assert_eq!((&reply["status"], &reply["body"]), (&json!(201), &json!("thanks")), "{asked}");
    assert_eq!(asked["attempt"]["number"], 1);

    let sent = &receiver.wait(2).await[1];
    assert!(sent.verifies(text(&webhook, "secret")));
    assert_eq!(sent.header("webhook-test"), Some("true"));
    assert!(sent.header("webhook-id").unwrap().starts_with("evt_test_"));
    let sample = tenant.client.get("/v1/topics/order.created").await.expect(200)["sample"].clone();
    assert_eq!((&sent.json()["type"], &sent.json()["data"]), (&json!("order.created"), &sample));
    assert_eq!(tenant.deliveries(text(&webhook, "id")).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_test_event_comes_in_the_shape_of_each_dialect() {
    let receiver = Receiver::ok().await;
    let tenant = World::shared().tenant("test-dialects").await;
    tenant.client.put("/v1/credentials", &json!({ "id": "a", "secret": "b" })).await.expect(204);
    let test = async |tenant: &Tenant| {
        let path = format!("/v1/webhooks/{}/test", newest(tenant).await);
        let tested = tenant.client.send(Method::POST, &path, None).await.expect(200);
        assert_eq!(tested["delivered"], true, "{tested}");
        receiver.arrived().pop().unwrap()
    };
    let sapo = json!({ "webhook": { "topic": "orders/cancelled", "address": receiver.url("/sapo") } });
    tenant.client.with("token", &tenant.key).post("/admin/webhooks.json", &sapo).await.expect(201);
    let sent = test(&tenant).await;
    assert_eq!(
        (sent.header("x-sapo-test"), sent.header("x-sapo-topic")),
        (Some("true"), Some("orders/cancelled"))
    );
    assert!(sent.header("x-sapo-hmac-sha256").is_some() && sent.json()["id"].is_u64());

    let centry = json!({ "callback_url": receiver.url("/centry"), "on_product_delete": true });
    tenant.client.post("/conexion/v1/webhooks.json", &centry).await.expect(200);
    let sent = test(&tenant).await.json();
    assert_eq!(sent["topic"], "on_product_delete");
    assert_eq!(text(&sent, "product_id").len(), 24);

    tenant.tiki_webhook(&receiver.url("/tiki"), "product:request:locked").await;
    let sent = test(&tenant).await;
    assert_eq!(
        (&sent.json()["event"], &sent.json()["payload"]["state"]),
        (&json!("product:request:locked"), &json!("locked"))
    );
    assert_eq!(sent.header("authorization"), Some("Basic YTpi"));

    let webhook = json!({ "url": receiver.url("/shipstream"), "topics": "order:created", "secret_key": "s" });
    let call =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": [null, "webhook.create", [webhook]] });
    tenant.client.with("authorization", basic(&tenant)).post("/api/jsonrpc", &call).await.expect(200);
    for _ in 0..2 {
        let sent = test(&tenant).await;
        assert_eq!(sent.json()["topic"], "test:ping");
        assert_eq!(sent.json()["message"]["webhook_increment_id"], 0, "it is not counted");
        assert!(sent.header("x-plugin-hmac-sha256").is_some());
    }
    tenant.publish("order.created", json!({ "n": 1 })).await;
    let real = receiver.wait(6).await.pop().unwrap();
    assert_eq!(real.json()["message"]["webhook_increment_id"], 1);
    assert_eq!(real.header("webhook-test"), None);
}

#[tokio::test]
async fn a_receiver_that_fails_is_told_of_and_not_tried_again() {
    let receiver = Receiver::start(|_| Reply::status(410)).await;
    let tenant = World::shared().tenant("test-fails").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    tenant.client.patch(&path, &json!({ "active": false })).await.expect(200);
    let test = format!("{path}/test");
    let tested = tenant.client.send(Method::POST, &test, None).await.expect(200);
    assert_eq!((&tested["delivered"], &tested["attempt"]["failure"]), (&json!(false), &json!("status")));
    let state = tenant.client.get(&path).await.expect(200)["state"].clone();
    assert_eq!(state, "paused", "a test switches nothing off");
    assert_eq!(receiver.wait(1).await.len(), 1);

    tenant.client.patch(&path, &json!({ "url": "http://no-such-host.invalid/" })).await.expect(200);
    let tested = tenant.client.send(Method::POST, &test, None).await.expect(200);
    assert_eq!(tested["attempt"]["failure"], "dns");

    for (body, status) in
        [("{\"topic\":\"no such\"}", 422), ("{\"topic\":7}", 422), ("{\"tpoic\":\"a.b\"}", 422), ("[", 400)]
    {
        let body = Some(Bytes::from(body));
        tenant.client.send_bytes(Method::POST, &test, body, &HeaderMap::new()).await.expect(status);
    }
    let unknown = format!("/v1/webhooks/wh_{:032x}/test", 1);
    tenant.client.send(Method::POST, &unknown, None).await.expect(404);
    let publisher = tenant.client.bearer(&tenant.new_key(&json!({ "scopes": ["publish"] })).await);
    publisher.send(Method::POST, &test, None).await.expect(403);
}

#[tokio::test]
async fn ultimate_multisites_button_shows_the_receivers_answer() {
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/says" => Reply::Whole(500, vec![], Bytes::from_static(b"<b>\"no\" & 'why'</b>")),
        _ => Reply::status(200),
    })
    .await;
    let tenant = World::shared().tenant("test-button").await;
    let client = tenant.client.with("authorization", basic(&tenant));
    let webhook = json!({
        "name": "Mine", "webhook_url": receiver.url("/says"), "event": "payment_received", "integration": "manual",
    });
    let id = client.post("/wp-json/wu/v2/webhook", &webhook).await.expect(200)["id"].clone();
    let shown = json!({ "response": "&lt;b&gt;&quot;no&quot; &amp; &#x27;why&#x27;&lt;/b&gt;", "id": id });
    for path in ["webhook", "webhooks"] {
        let path = format!("/wp-json/wu/v2/{path}/{id}/test");
        assert_eq!(client.send(Method::POST, &path, None).await.expect(200), shown);
    }
    let sent = receiver.wait(2).await.pop().unwrap();
    assert_eq!(sent.json()["payment_product_names"], "Example Product", "the sample of /hooks");

    let form = async |form: &str, key: bool| {
        let mut headers = HeaderMap::new();
        if key {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&basic(&tenant)).unwrap());
        }
        let body = Some(Bytes::from(form.to_owned()));
        tenant.client.anonymous().send_bytes(Method::POST, "/wp-admin/admin-ajax.php", body, &headers).await
    };
    let action = format!("action=wu_send_test_event&nonce=0123456789&webhook_id={id}");
    let answer = form(&action, true).await.expect(200);
    assert_eq!(answer, json!({ "response": shown["response"], "id": id.to_string() }));
    // What the page shows and is not saved yet.
    let unsaved =
        url::form_urlencoded::byte_serialize(receiver.url("/unsaved").as_bytes()).collect::<String>();
    let (user, secret) = tenant.key.strip_prefix("prk_").unwrap().split_once('_').unwrap();
    let keyed = format!(
        "{action}&webhook_url={unsaved}&webhook_event=site_published&api_key={user}&api_secret={secret}"
    );
    assert_eq!(form(&keyed, false).await.expect(200)["response"], "");
    let sent = receiver.wait(4).await.pop().unwrap();
    assert_eq!((sent.path.as_str(), &sent.json()["site_title"]), ("/unsaved", &json!("Example Site")));

    form(&action, false).await.expect(401);
    form("action=wu_send_test_event", true).await.expect(404);
    form("action=heartbeat&webhook_id=1", true).await.expect(400);
    form(&format!("{action}&webhook_event=nonsense"), true).await.expect(400);
    form(&format!("{action}&webhook_url=ftp%3A%2F%2Fx"), true).await.expect(400);
    assert_eq!(client.get(&format!("/wp-json/wu/v2/webhook/{id}")).await.expect(200)["event_count"], 0);
}

#[tokio::test]
async fn a_tenant_may_send_so_many_tests_and_others_are_not_troubled() {
    let receiver = Receiver::ok().await;
    let (eager, other) =
        (World::shared().tenant("test-eager").await, World::shared().tenant("test-other").await);
    let path = async |tenant: &Tenant| {
        let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
        format!("/v1/webhooks/{}/test", text(&webhook, "id"))
    };
    let (own, others) = (path(&eager).await, path(&other).await);
    let tests = join_all((0..40).map(|_| eager.client.send(Method::POST, &own, None))).await;
    let refused: Vec<_> = tests.into_iter().filter(|answer| answer.status == 429).collect();
    // One a second may be sent meanwhile, on a machine that takes some for this.
    assert!((5..=20).contains(&refused.len()), "{}", refused.len());
    other.client.send(Method::POST, &others, None).await.expect(200);
}
