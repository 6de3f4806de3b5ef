//! Tiki's Open API, webhooks of 2020, as its documentation has it. What it leaves open is ours, and pinned here.

use http::Method;
use postrider_tests::{receiver::Receiver, tenant::text, world::World};
use serde_json::{Value, json};
use uuid::Uuid;

use super::golden::{self, Keys};

const WEBHOOKS: &str = "/integration/v1/webhooks";
const CREDENTIALS: &str = "/integration/v1/webhooks/credentials";
const REJECTED: &str = "product:request:rejected";
/// The sample delivery of the seed.
const MESSAGE: &str = include_str!("../../dialects/tiki/samples/message.json");
/// The header that Tiki's documentation gives for its sample credentials.
const AUTHORIZATION: &str = "Basic aXlvZmltM2VydTBia2l3ejpCdXFpY0Ixa3djeTRUbDlkaWtxUEI3RmtQd2REaDhmZA==";

const KEYS: Keys = Keys { header: "tiki-api", value: |key| key.to_owned(), content_type: "application/json" };

golden::documented!("tiki", KEYS);

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
