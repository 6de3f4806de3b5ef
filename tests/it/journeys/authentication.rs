//! What deliveries have in `Authorization`, and by what they are signed.

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_tests::{
    receiver::{Arrived, Receiver},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

use crate::dialects::verifiers::taken_with_public_keys;

async fn change(tenant: &Tenant, webhook: &Value, change: Value) -> Value {
    tenant.client.patch(&format!("/v1/webhooks/{}", text(webhook, "id")), &change).await.expect(200)
}

/// What arrives of an event that is published now.
async fn next(tenant: &Tenant, receiver: &Receiver, topic: &str) -> Arrived {
    let before = receiver.arrived().len();
    tenant.publish(topic, json!({ "n": before })).await;
    receiver.wait(before + 1).await.pop().unwrap()
}

#[tokio::test]
async fn a_webhooks_own_authorization_takes_the_place_of_what_its_tenant_granted() {
    let (tenant, receiver) = (World::shared().tenant("own").await, Receiver::ok().await);
    let granted = json!({ "id": "tenant", "secret": "granted" });
    tenant.client.put("/v1/credentials", &granted).await.expect(204);
    let basic = |pair: &str| Some(format!("Basic {}", STANDARD.encode(pair)));
    let own = tenant.webhook(&receiver.url("/own"), &["order.created"]).await;
    tenant.tiki_webhook(&receiver.url("/tiki"), "product:request:rejected").await;
    let all = tenant.client.get("/v1/webhooks").await.expect(200);
    let tikis = all["data"].as_array().unwrap().iter().find(|webhook| webhook["dialect"] == "tiki").unwrap();
    for (webhook, topic) in [(&own, "order.created"), (tikis, "product:request:rejected")] {
        for (auth, shown, sent) in [
            (Value::Null, Value::Null, basic("tenant:granted")),
            (
                json!({ "type": "bearer", "token": "a.b-c_d~e+f/g=" }),
                json!({ "type": "bearer" }),
                Some("Bearer a.b-c_d~e+f/g=".to_owned()),
            ),
            (
                json!({ "type": "basic", "username": "Aladdin", "password": "open: sésame" }),
                json!({ "type": "basic", "username": "Aladdin" }),
                basic("Aladdin:open: sésame"),
            ),
            (Value::Null, Value::Null, basic("tenant:granted")),
        ] {
            let changed = change(&tenant, webhook, json!({ "auth": auth })).await;
            assert_eq!(changed["auth"], shown);
            // What another change leaves out stays.
            assert_eq!(change(&tenant, webhook, json!({ "active": true })).await["auth"], shown);
            let arrived = next(&tenant, &receiver, topic).await;
            assert_eq!(arrived.header("authorization"), sent.as_deref(), "{auth} for {webhook}");
        }
    }
    let auth = json!({ "type": "bearer", "token": "t" });
    let body = json!({ "url": receiver.url("/new"), "topics": ["stock.changed"], "auth": auth });
    let made = tenant.client.post("/v1/webhooks", &body).await.expect(201);
    assert_eq!(made["auth"], json!({ "type": "bearer" }));
    let arrived = next(&tenant, &receiver, "stock.changed").await;
    assert_eq!(
        arrived.header("authorization"),
        Some("Bearer t"),
        "it goes before a header of its owner's too"
    );
    let headers = json!({ "headers": { "Authorization": "Mine" }, "auth": auth });
    change(&tenant, &made, headers).await;
    assert_eq!(next(&tenant, &receiver, "stock.changed").await.header("authorization"), Some("Bearer t"));
    let test = format!("/v1/webhooks/{}/test", text(&made, "id"));
    tenant.client.post(&test, &json!({})).await.expect(200);
    let tested = receiver.arrived().pop().unwrap();
    assert_eq!(tested.header("authorization"), Some("Bearer t"), "a test event proves itself too");
}

/// Where the public keys of a webhook are, for anybody.
async fn keys(tenant: &Tenant, webhook: &Value) -> Value {
    let answer = tenant.client.anonymous().get(text(webhook, "jwks")).await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    assert_eq!(answer.content_type(), "application/jwk-set+json");
    answer.expect(200)
}

fn versions(arrived: &Arrived) -> Vec<&str> {
    let signatures = arrived.header("webhook-signature").unwrap().split(' ');
    signatures.map(|signature| signature.split_once(',').unwrap().0).collect()
}

#[tokio::test]
async fn ed25519_signatures_verify_with_the_public_keys_alone() {
    let (tenant, receiver) = (World::shared().tenant("ed25519").await, Receiver::ok().await);
    let body = json!({ "url": receiver.url("/"), "topics": ["*"], "signature": "ed25519" });
    let made = tenant.client.post("/v1/webhooks", &body).await.expect(201);
    assert_eq!((&made["secret"], &made["signature"]), (&Value::Null, &json!("ed25519")));
    let first = keys(&tenant, &made).await;
    let key = &first["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["d"]), (&json!("OKP"), &json!("Ed25519"), &Value::Null));
    let point = STANDARD.decode(text(&made, "public_key").strip_prefix("whpk_").unwrap()).unwrap();
    assert_eq!(key["x"], base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(point));
    let arrived = next(&tenant, &receiver, "order.created").await;
    assert_eq!(versions(&arrived), ["v1a"]);
    assert!(taken_with_public_keys(&arrived, &first));
    let forged = Arrived { body: "{}".into(), ..arrived.clone() };
    assert!(!taken_with_public_keys(&forged, &first));

    // Another webhook's messages are not this one's, though all else is the same.
    let others = tenant.client.post("/v1/webhooks", &body).await.expect(201);
    assert!(!taken_with_public_keys(&arrived, &keys(&tenant, &others).await));
    tenant.client.delete(&format!("/v1/webhooks/{}", text(&others, "id"))).await.expect(204);
    assert_eq!(keys(&tenant, &others).await, json!({ "keys": [] }));
    assert_eq!(
        tenant.client.anonymous().get("/.well-known/jwks.json").await.expect(200),
        json!({ "keys": [] })
    );

    // Receivers change over in a day of their own.
    let rotate = format!("/v1/webhooks/{}/secret/rotate", text(&made, "id"));
    let rotated = tenant.client.post(&rotate, &json!({})).await.expect(200);
    assert_eq!(rotated["secret"], Value::Null);
    assert_ne!(rotated["public_key"], made["public_key"]);
    assert!(rotated["previous_secret_signs_until"].is_string());
    let both = keys(&tenant, &rotated).await;
    assert_eq!((both["keys"].as_array().unwrap().len(), &both["keys"][1]), (2, key));
    let arrived = next(&tenant, &receiver, "order.created").await;
    assert_eq!(versions(&arrived), ["v1a", "v1a"]);
    let second = json!({ "keys": [both["keys"][0]] });
    assert!(taken_with_public_keys(&arrived, &first) && taken_with_public_keys(&arrived, &second));
}

#[tokio::test]
async fn a_receiver_changes_from_secrets_to_public_keys_without_a_gap() {
    let (tenant, receiver) = (World::shared().tenant("over").await, Receiver::ok().await);
    let made = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let secret = text(&made, "secret");
    assert_eq!((&made["signature"], &made["public_key"]), (&json!("hmac"), &Value::Null));
    let both = change(&tenant, &made, json!({ "signature": "both" })).await;
    assert!(both.get("secret").is_none(), "the old one stays, and is not shown again");
    let arrived = next(&tenant, &receiver, "order.created").await;
    assert_eq!(versions(&arrived), ["v1", "v1a"]);
    let known = keys(&tenant, &both).await;
    assert!(arrived.verifies(secret) && taken_with_public_keys(&arrived, &known));

    let asymmetric = change(&tenant, &made, json!({ "signature": "ed25519" })).await;
    assert_eq!(
        (&asymmetric["signature"], &asymmetric["public_key"]),
        (&json!("ed25519"), &both["public_key"])
    );
    let arrived = next(&tenant, &receiver, "order.created").await;
    assert!(arrived.verifies(secret), "for a day more");
    assert!(taken_with_public_keys(&arrived, &known));

    let back = change(&tenant, &made, json!({ "signature": "hmac" })).await;
    assert_ne!(text(&back, "secret"), secret, "a new secret is shown, for there is no other time");
    assert_eq!((&back["signature"], &back["public_key"]), (&json!("hmac"), &Value::Null));
    let arrived = next(&tenant, &receiver, "order.created").await;
    assert_eq!(versions(&arrived), ["v1", "v1", "v1a"]);
    assert!(arrived.verifies(secret) && arrived.verifies(text(&back, "secret")));
    assert!(taken_with_public_keys(&arrived, &known));
    // Of what is asked for and is so already, nothing changes.
    let same = change(&tenant, &made, json!({ "signature": "hmac" })).await;
    assert!(same.get("secret").is_none());
    assert!(next(&tenant, &receiver, "order.created").await.verifies(text(&back, "secret")));
}
