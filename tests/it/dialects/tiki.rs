//! Tiki's Open API, webhooks of 2020, as its documentation has it. What it leaves open is ours, and pinned here.

use http::Method;
use postrider_tests::{
    client::Client,
    receiver::Receiver,
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};
use uuid::Uuid;

const WEBHOOKS: &str = "/integration/v1/webhooks";
const CREDENTIALS: &str = "/integration/v1/webhooks/credentials";
const REJECTED: &str = "product:request:rejected";
/// The sample delivery of the seed.
const MESSAGE: &str = include_str!("../../golden/tiki/message.json");
/// The header that Tiki's documentation gives for its sample credentials.
const AUTHORIZATION: &str = "Basic aXlvZmltM2VydTBia2l3ejpCdXFpY0Ixa3djeTRUbDlkaWtxUEI3RmtQd2REaDhmZA==";

/// Plays a file of requests and answers on a tenant of its own, in their order.
async fn play(name: &str, file: &str) {
    let tenant = World::shared().tenant(&format!("tiki-{name}")).await;
    let exchanges: Vec<Value> = serde_json::from_str(file).unwrap();
    let publisher = tenant.new_key(&json!({ "scopes": ["publish"] })).await;
    for (n, exchange) in exchanges.iter().enumerate() {
        let (request, expected) = (&exchange["request"], &exchange["answer"]);
        let client = with_key(&tenant, &publisher, request["key"].as_str());
        let method: Method = text(request, "method").parse().unwrap();
        let answer = client.send(method, text(request, "path"), request.get("body")).await;
        let place = format!("{name}, exchange {}: {request}\n{answer}", n + 1);
        assert_eq!(answer.status, expected["status"], "{place}");
        assert_eq!(masked(answer.json()), expected["body"], "{place}");
        assert_eq!(answer.content_type(), "application/json", "{place}");
    }
}

fn with_key(tenant: &Tenant, publisher: &str, key: Option<&str>) -> Client {
    let bare = tenant.client.anonymous();
    // The right id, and a secret that is wrong in its last character alone.
    let (begin, last) = tenant.key.split_at(tenant.key.len() - 1);
    let wrong = format!("{begin}{}", if last == "0" { "1" } else { "0" });
    match key {
        None => bare.tiki(&tenant.key),
        Some("bearer") => bare.bearer(&tenant.key),
        Some("publish only") => bare.tiki(publisher),
        Some("wrong") => bare.tiki(&wrong),
        Some("wrong bearer") => bare.bearer(&wrong),
        Some("garbage") => bare.tiki("garbage"),
        Some("none") => bare,
        Some(other) => panic!("no key is called {other}"),
    }
}

/// An answer with its occurrence's number masked, which must be there.
fn masked(mut answer: Value) -> Value {
    if let Some(id) = answer.pointer_mut("/error/id") {
        assert!(id.as_str().is_some_and(|id| Uuid::parse_str(id).is_ok()), "{id}");
        *id = json!("[uuid]");
    }
    answer
}

macro_rules! plays {
    ($($test:ident: $file:literal,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                play($file, include_str!(concat!("../../golden/tiki/", $file, ".json"))).await;
            }
        )*
    };
}

plays! {
    a_seller_registers_one_uri_an_event: "register",
    a_seller_updates_what_is_registered: "update",
    a_seller_unregisters: "unregister",
    a_seller_grants_credentials: "credentials",
    both_headers_carry_a_key_and_other_keys_open_nothing: "keys",
    the_documented_spellings_of_a_path_are_served: "paths",
    what_is_wrong_is_answered_in_tikis_shape: "errors",
}

#[tokio::test]
async fn each_occurrence_of_an_error_has_its_own_id() {
    let client = World::shared().client();
    let id = async || client.get(WEBHOOKS).await.expect(401)["error"]["id"].clone();
    assert_ne!(id().await, id().await);
}

#[tokio::test]
async fn the_seeds_story_is_told_to_its_end() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("seed").await;
    let seller = tenant.client.tiki(&tenant.key);
    let sample: Value = serde_json::from_str(MESSAGE).unwrap();

    let uri = receiver.url("/your/product/request/rejected/endpoint");
    let body = json!({ "uri": uri, "event": REJECTED });
    assert_eq!(seller.post(WEBHOOKS, &body).await.expect(200), body);
    let granted = json!({ "id": "iyofim3eru0bkiwz", "secret": "BuqicB1kwcy4Tl9dikqPB7FkPwdDh8fd" });
    assert_eq!(seller.put(CREDENTIALS, &granted).await.expect(200), json!({}));

    let event = json!({
        "tenant": tenant.id, "id": "request-1154523837593192401", "topic": REJECTED, "payload": sample["payload"],
    });
    let receipt = tenant.operator.post("/v1/events", &event).await.expect(202);
    assert_eq!(receipt["deliveries"], 1);

    let request = receiver.first().await;
    assert_eq!(
        (&request.method, request.path.as_str()),
        (&Method::POST, "/your/product/request/rejected/endpoint")
    );
    assert_eq!(request.header("authorization"), Some(AUTHORIZATION));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("webhook-id"), Some("request-1154523837593192401"));
    assert_eq!(
        request.header("webhook-signature"),
        None,
        "Tiki's clients know of no secret to check it with"
    );
    let mut message = request.json();
    assert!(Uuid::parse_str(text(&message, "id")).is_ok(), "{message}");
    message["id"] = sample["id"].clone();
    assert_eq!(message, sample, "exactly id, event and payload");
}

#[tokio::test]
async fn without_granted_credentials_nothing_is_claimed() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("ungranted").await;
    tenant.tiki_webhook(&receiver.url("/"), REJECTED).await;
    tenant.publish("product_request.rejected", Value::Null).await;
    let request = receiver.first().await;
    assert_eq!(request.header("authorization"), None);
    let message = request.json();
    assert_eq!((&message["event"], &message["payload"]), (&json!(REJECTED), &Value::Null), "it may be empty");
    assert_eq!(message.as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn a_message_keeps_its_id_and_another_has_its_own() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("tiki-ids").await;
    tenant.tiki_webhook(&receiver.url("/"), REJECTED).await;
    for n in 0..2 {
        tenant.publish(REJECTED, json!(n)).await;
    }
    let ids: Vec<_> = receiver.wait(2).await.iter().map(|request| request.json()["id"].clone()).collect();
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn an_update_moves_the_next_delivery() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("tiki-move").await;
    let seller = tenant.client.tiki(&tenant.key);
    tenant.tiki_webhook(&receiver.url("/old"), REJECTED).await;
    tenant.publish(REJECTED, json!(1)).await;
    receiver.wait(1).await;
    seller.put(WEBHOOKS, &json!({ "uri": receiver.url("/new"), "event": REJECTED })).await.expect(200);
    tenant.publish(REJECTED, json!(2)).await;
    let paths: Vec<_> = receiver.wait(2).await.into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/old", "/new"]);
    seller.delete(&format!("{WEBHOOKS}?event={REJECTED}")).await.expect(200);
    let event = json!({ "topic": REJECTED });
    assert_eq!(tenant.client.post("/v1/events", &event).await.expect(202)["deliveries"], 0);
}

#[tokio::test]
async fn tikis_api_shows_tikis_webhooks_alone() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("tiki-mixed").await;
    let seller = tenant.client.tiki(&tenant.key);
    tenant.webhook(&receiver.url("/own"), &[REJECTED]).await;
    assert_eq!(seller.get(WEBHOOKS).await.expect(200), json!({ "data": [] }));
    tenant.tiki_webhook(&receiver.url("/tiki"), REJECTED).await;
    assert_eq!(seller.get(WEBHOOKS).await.expect(200)["data"].as_array().unwrap().len(), 1);
    let both = tenant.client.get("/v1/webhooks").await.expect(200);
    assert_eq!(both["data"].as_array().unwrap().len(), 2, "our own API shows all");

    tenant.publish(REJECTED, json!({ "n": 1 })).await;
    for request in receiver.wait(2).await {
        let message = request.json();
        let (name, payload) = if request.path == "/tiki" { ("event", "payload") } else { ("type", "data") };
        let expected = if request.path == "/tiki" { REJECTED } else { "product_request.rejected" };
        assert_eq!(
            (text(&message, name), &message[payload]),
            (expected, &json!({ "n": 1 })),
            "{}",
            request.path
        );
    }
    seller.delete(&format!("{WEBHOOKS}?event={REJECTED}")).await.expect(200);
    let left = tenant.client.get("/v1/webhooks").await.expect(200);
    assert_eq!(left["data"][0]["dialect"], "v1", "our own stays");
}

#[tokio::test]
async fn our_own_api_changes_all_of_tikis_webhook_but_its_event() {
    let tenant = World::shared().tenant("tiki-patched").await;
    let seller = tenant.client.tiki(&tenant.key);
    tenant.tiki_webhook("https://example.com/old", REJECTED).await;
    let shown = tenant.client.get("/v1/webhooks").await.expect(200);
    let path = format!("/v1/webhooks/{}", text(&shown["data"][0], "id"));
    for topics in [json!(["product_request.locked"]), json!(["*"]), json!([REJECTED, "order.created"])] {
        let problem = tenant.client.patch(&path, &json!({ "topics": topics })).await.expect(422);
        assert_eq!(problem["field"], "topics", "there the event is the webhook's name");
    }
    tenant.client.patch(&path, &json!({ "url": "https://example.com/new" })).await.expect(200);
    let hook = json!({ "uri": "https://example.com/new", "event": REJECTED });
    assert_eq!(seller.get(WEBHOOKS).await.expect(200), json!({ "data": [hook] }));
    tenant.client.delete(&path).await.expect(204);
    assert_eq!(seller.get(WEBHOOKS).await.expect(200), json!({ "data": [] }));
    seller.post(WEBHOOKS, &hook).await.expect(200);
}
