//! One event, and a subscriber in each dialect that knows its topic.

use std::{io::Write, process};

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_tests::{
    receiver::{Arrived, Receiver},
    tenant::text,
    world::World,
};
use serde_json::json;

const PAYLOAD: &str = r#"{"id":450789469,"unique_id":"SON00001","total":409.50,"customer":"Trần"}"#;

/// HMAC-SHA256 in base64, by a library that is not ours: Python's.
fn signed(secret: &str, body: &[u8]) -> String {
    let script = "import base64, hashlib, hmac, sys\n\
                  print(base64.b64encode(hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), hashlib.sha256).digest()).decode())";
    let mut python = process::Command::new("python3")
        .args(["-c", script, secret])
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn one_event_reaches_each_subscriber_in_the_shape_of_its_own_api() {
    let receiver = Receiver::ok().await;
    let tenant = World::shared().tenant("together").await;
    let granted = json!({ "id": "app", "secret": "sapo-secret" });
    tenant.client.put("/v1/credentials", &granted).await.expect(204);

    let own = tenant.webhook(&receiver.url("/own"), &["order.created"]).await;
    let sapo = tenant.client.with("x-sapo-access-token", &tenant.key);
    for (path, format) in [("/sapo", "json"), ("/sapo-xml", "xml")] {
        let webhook = json!({ "topic": "orders/create", "address": receiver.url(path), "format": format });
        sapo.post("/admin/webhooks.json", &json!({ "webhook": webhook })).await.expect(201);
    }
    let centry = json!({ "callback_url": receiver.url("/centry"), "on_order_save": true });
    tenant.client.post("/conexion/v1/webhooks.json", &centry).await.expect(200);
    let webhook =
        json!({ "url": receiver.url("/shipstream"), "topics": "order:created", "secret_key": "ship-secret" });
    let call =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": [null, "webhook.create", [webhook]] });
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{}", tenant.key)));
    let made = tenant.client.with("authorization", basic).post("/api/jsonrpc", &call).await.expect(200);
    assert_eq!(made["result"], true);

    let body = format!(
        r#"{{"topic":"orders/create","id":"order-1","occurred_at":"2021-12-07T16:08:15Z","payload":{PAYLOAD}}}"#
    );
    let none = http::HeaderMap::new();
    let receipt = tenant.client.send_bytes(http::Method::POST, "/v1/events", Some(body.into()), &none).await;
    assert_eq!(receipt.expect(202)["deliveries"], 5);

    let requests = receiver.wait(5).await;
    let at = |path: &str| -> &Arrived { requests.iter().find(|request| request.path == path).unwrap() };
    let is =
        |path: &str, expected: &str| assert_eq!(String::from_utf8_lossy(&at(path).body), expected, "{path}");
    is(
        "/own",
        &format!(
            r#"{{"id":"order-1","type":"order.created","timestamp":"2021-12-07T16:08:15Z","data":{PAYLOAD}}}"#
        ),
    );
    assert!(at("/own").verifies(text(&own, "secret")));
    is("/sapo", PAYLOAD);
    is(
        "/sapo-xml",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><order><id type=\"integer\">450789469</id>\
         <unique-id>SON00001</unique-id><total type=\"decimal\">409.50</total><customer>Trần</customer></order>",
    );
    for path in ["/sapo", "/sapo-xml"] {
        let signature = signed("sapo-secret", &at(path).body);
        assert_eq!(at(path).header("x-sapo-hmac-sha256"), Some(signature.as_str()), "{path}");
    }
    is("/centry", r#"{"topic":"on_order_save","order_id":450789469}"#);
    let message = PAYLOAD.strip_suffix('}').unwrap();
    is(
        "/shipstream",
        &format!(
            r#"{{"topic":"order:created","message":{message},"webhook_increment_id":1,"event_timestamp":"2021-12-07T16:08:15+00:00"}}}}"#
        ),
    );
    let signature = signed("ship-secret", &at("/shipstream").body);
    assert_eq!(at("/shipstream").header("x-plugin-hmac-sha256"), Some(signature.as_str()));
}
