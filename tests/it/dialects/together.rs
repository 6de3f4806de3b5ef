//! One event, and a subscriber in every dialect.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method};
use postrider_tests::{
    receiver::{Arrived, Receiver},
    tenant::{Tenant, text},
    world::{Options, World},
};
use serde_json::{Value, json};

use super::verifiers::{hmac_by_openssl, taken_by_python_and_node};

const PAYLOAD: &str = r#"{"id":1154523837593192401,"state":"approved","price":409.50,"name":"Trà/Tea"}"#;

/// Only Tiki documents this topic; the operator gives it a name in the others.
const NAMES: [(&str, &str); 4] = [
    ("sapo", "product_requests/approve"),
    ("shipstream", "product_request:approved"),
    ("centry", "on_product_request_approve"),
    ("ultimate-multisite", "product_request_approved"),
];

async fn subscribe(tenant: &Tenant, receiver: &Receiver) -> Value {
    let granted = json!({ "id": "iyofim3eru0bkiwz", "secret": "BuqicB1kwcy4Tl9dikqPB7FkPwdDh8fd" });
    tenant.client.put("/v1/credentials", &granted).await.expect(204);
    let own = tenant.webhook(&receiver.url("/own"), &["product_request.approved"]).await;
    tenant.tiki_webhook(&receiver.url("/tiki"), "product:request:approved").await;
    let sapo = tenant.client.with("x-sapo-access-token", &tenant.key);
    for (path, format) in [("/sapo", "json"), ("/sapo-xml", "xml")] {
        let webhook = json!({ "topic": NAMES[0].1, "address": receiver.url(path), "format": format });
        sapo.post("/admin/webhooks.json", &json!({ "webhook": webhook })).await.expect(201);
    }
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{}", tenant.key)));
    let basic = tenant.client.with("authorization", basic);
    let webhook =
        json!({ "url": receiver.url("/shipstream"), "topics": NAMES[1].1, "secret_key": "ship-secret" });
    let params = json!([null, "webhook.create", [webhook]]);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": params });
    assert_eq!(basic.post("/api/jsonrpc", &call).await.expect(200)["result"], true);
    let centry = json!({ "callback_url": receiver.url("/centry"), NAMES[2].0: true, NAMES[2].1: true });
    let made = tenant.client.post("/conexion/v1/webhooks.json", &centry).await.expect(200);
    assert_eq!(made[NAMES[2].1], true, "{made}");
    let ultimate = json!({
        "name": "Approved", "webhook_url": receiver.url("/ultimate"), "event": NAMES[3].1, "integration": "manual",
    });
    let made = basic.post("/wp-json/wu/v2/webhook", &ultimate).await.expect(200);
    assert_eq!(made["event"], NAMES[3].1);
    let hooks = basic.get("/wp-json/wu/v2/hooks").await.expect(200);
    assert_eq!(hooks[NAMES[3].1]["desc"], "A product was approved.");
    own
}

#[tokio::test]
async fn one_event_reaches_each_subscriber_in_the_shape_of_its_own_api() {
    let world = World::start(Options::default());
    let receiver = Receiver::ok().await;
    let tenant = world.tenant("together").await;
    let names: serde_json::Map<_, _> =
        NAMES.map(|(dialect, name)| (dialect.to_owned(), json!(name))).into_iter().collect();
    let topic = json!({ "description": "A product was approved.", "names": names });
    world.operator().put("/v1/topics/product_request.approved", &topic).await.expect(200);
    let own = subscribe(&tenant, &receiver).await;

    let body = format!(
        r#"{{"topic":"product:request:approved","id":"request-1","occurred_at":"2021-12-07T16:08:15Z","payload":{PAYLOAD}}}"#
    );
    let publish = async |body: String| {
        tenant.client.send_bytes(Method::POST, "/v1/events", Some(Bytes::from(body)), &HeaderMap::new()).await
    };
    assert_eq!(publish(body).await.expect(202)["deliveries"], 7);

    let requests = receiver.wait(7).await;
    let at = |path: &str| -> &Arrived { requests.iter().find(|request| request.path == path).unwrap() };
    let is =
        |path: &str, expected: &str| assert_eq!(String::from_utf8_lossy(&at(path).body), expected, "{path}");
    is(
        "/own",
        &format!(
            r#"{{"id":"request-1","type":"product_request.approved","timestamp":"2021-12-07T16:08:15Z","data":{PAYLOAD}}}"#
        ),
    );
    assert_eq!(taken_by_python_and_node(at("/own"), text(&own, "secret")), [true, true]);
    let forged = Arrived { body: Bytes::from(PAYLOAD), ..at("/own").clone() };
    assert_eq!(taken_by_python_and_node(&forged, text(&own, "secret")), [false, false]);

    let tiki = at("/tiki").json();
    is(
        "/tiki",
        &format!(r#"{{"id":{},"event":"product:request:approved","payload":{PAYLOAD}}}"#, tiki["id"]),
    );
    assert_eq!(text(&tiki, "id").len(), 36);
    assert_eq!(
        at("/tiki").header("authorization"),
        Some("Basic aXlvZmltM2VydTBia2l3ejpCdXFpY0Ixa3djeTRUbDlkaWtxUEI3RmtQd2REaDhmZA=="),
        "the documents' own example"
    );
    is("/sapo", PAYLOAD);
    is(
        "/sapo-xml",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><product-request><id type=\"integer\">1154523837593192401</id>\
         <state>approved</state><price type=\"decimal\">409.50</price><name>Trà/Tea</name></product-request>",
    );
    for path in ["/sapo", "/sapo-xml"] {
        let signature = hmac_by_openssl("BuqicB1kwcy4Tl9dikqPB7FkPwdDh8fd", &at(path).body);
        assert_eq!(at(path).header("x-sapo-hmac-sha256"), Some(signature.as_str()), "{path}");
        assert_eq!(at(path).header("x-sapo-topic"), Some(NAMES[0].1));
    }
    is("/centry", r#"{"topic":"on_product_request_approve","product_request_id":1154523837593192401}"#);
    let message = PAYLOAD.strip_suffix('}').unwrap();
    is(
        "/shipstream",
        &format!(
            r#"{{"topic":"product_request:approved","message":{message},"webhook_increment_id":1,"event_timestamp":"2021-12-07T16:08:15+00:00"}}}}"#
        ),
    );
    let signature = hmac_by_openssl("ship-secret", &at("/shipstream").body);
    assert_eq!(at("/shipstream").header("x-plugin-hmac-sha256"), Some(signature.as_str()));
    is("/ultimate", r#"{"id":1154523837593192401,"state":"approved","price":409.50,"name":"Tr\u00e0\/Tea"}"#);
}

#[tokio::test]
async fn an_event_may_say_something_else_to_a_dialect() {
    let world = World::start(Options::default());
    let receiver = Receiver::ok().await;
    let tenant = world.tenant("payloads").await;
    tenant.webhook(&receiver.url("/own"), &["order.created"]).await;
    let centry = json!({ "callback_url": receiver.url("/centry"), "on_order_save": true });
    tenant.client.post("/conexion/v1/webhooks.json", &centry).await.expect(200);
    let sapo = json!({ "webhook": { "topic": "orders/create", "address": receiver.url("/sapo") } });
    tenant.client.with("token", &tenant.key).post("/admin/webhooks.json", &sapo).await.expect(201);

    let event = json!({
        "topic": "order.created", "payload": { "number": "A-1" },
        "payloads": { "centry": { "_id": "59c93b6d96afee6c2f5c3ea5" }, "sapo": { "id": 7, "code": "SON7" } },
    });
    assert_eq!(tenant.client.post("/v1/events", &event).await.expect(202)["deliveries"], 3);
    let requests = receiver.wait(3).await;
    let at = |path: &str| requests.iter().find(|request| request.path == path).unwrap().json();
    assert_eq!(at("/own")["data"], json!({ "number": "A-1" }));
    assert_eq!(at("/centry"), json!({ "topic": "on_order_save", "order_id": "59c93b6d96afee6c2f5c3ea5" }));
    assert_eq!(at("/sapo"), json!({ "id": 7, "code": "SON7" }));
}

#[tokio::test]
async fn what_a_dialect_needs_and_is_not_there_is_said_at_publish() {
    let receiver = Receiver::ok().await;
    let tenant = World::shared().tenant("lacks").await;
    let publish = async |event: Value| tenant.client.post("/v1/events", &event).await;
    let without = json!({ "topic": "order.created", "payload": { "number": "A-1" } });
    // While nobody needs it, nobody asks for it.
    publish(without.clone()).await.expect(202);
    let centry = json!({ "callback_url": receiver.url("/centry"), "on_order_save": true });
    tenant.client.post("/conexion/v1/webhooks.json", &centry).await.expect(200);
    let refused = publish(without).await.expect(422);
    assert_eq!(refused["field"], "payload");
    assert!(text(&refused, "detail").contains("must have order_id, _id or id"), "{refused}");
    let refused =
        publish(json!({ "topic": "order.created", "payload": { "id": 1 }, "payloads": { "centry": [] } }));
    assert_eq!(refused.await.expect(422)["field"], "payloads/centry");
    let refused =
        publish(json!({ "topic": "order.created", "payload": { "id": 1 }, "payloads": { "ebay": {} } }));
    assert_eq!(refused.await.expect(422)["field"], "payloads");
    for payload in [json!({ "order_id": 7 }), json!({ "_id": "7" }), json!({ "id": 7 })] {
        publish(json!({ "topic": "order.created", "payload": payload })).await.expect(202);
    }
    assert_eq!(receiver.wait(3).await.len(), 3);
}
