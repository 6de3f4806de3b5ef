//! Secrets are sealed at rest, never shown again, never logged.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method};
use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::{OPERATOR, Options, World},
};
use serde_json::json;

/// What the token endpoint gives.
const TOKEN: &str = "access-token-e07b";

#[tokio::test]
async fn no_secret_is_in_a_file_a_log_or_a_later_answer() {
    let world = World::start(Options { log: "trace", ..Options::default() });
    let receiver =
        // It repeats what it is told, for all to read.
        Receiver::start(|request| match &*request.path {
            "/bad" => Reply::status(500),
            "/token" => Reply::Whole(200, vec![], json!({ "access_token": TOKEN }).to_string().into()),
            _ => Reply::Whole(200, vec![], format!("{:?}", request.headers).into()),
        })
        .await;
    let tenant = world.tenant("secrets").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    tenant.webhook(&receiver.url("/bad"), &["*"]).await;
    let rotate = format!("/v1/webhooks/{}/secret/rotate", text(&webhook, "id"));
    let rotated = tenant.client.post(&rotate, &json!({})).await.expect(200);
    let password = "Tr0ub4dor-and-3-horses";
    tenant.client.put("/v1/credentials", &json!({ "id": "me", "secret": password })).await.expect(204);
    // Wrong input that carries a secret must not be quoted either.
    let wrong = json!({ "id": "a:b", "secret": password });
    let problem = tenant.client.put("/v1/credentials", &wrong).await;
    problem.expect(422);
    let source = json!({
        "type": "oauth2_client_credentials", "token_url": receiver.url("/token"), "client_id": "shop",
        "client_secret": "client-secret-5b1d",
    });
    for proof in [
        json!({ "auth": { "type": "bearer", "token": "bearer-token-7f3a" } }),
        json!({ "auth": { "type": "basic", "username": "Aladdin", "password": "open-sesame-9c2e" } }),
        json!({ "auth": source, "signature": "both" }),
        json!({ "headers": { "Authorization": "Token static-header-1d44" } }),
    ] {
        let proven = tenant.webhook(&receiver.url("/"), &["*"]).await;
        let path = format!("/v1/webhooks/{}", text(&proven, "id"));
        tenant.client.patch(&path, &proof).await.expect(200);
        let tested = tenant.client.post(&format!("{path}/test"), &json!({})).await.expect(200);
        assert!(text(&tested["attempt"]["reply"], "body").contains("[secret]"), "{tested}");
    }
    let event = tenant.publish("order.created", json!({})).await;
    tenant.attempted(text(&webhook, "id"), &event, 1).await;
    receiver.wait(11).await;
    let tokens = tokens(&tenant).await;

    let mut places = vec![
        ("an answer to wrong input".to_owned(), problem.body.to_vec()),
        ("what was printed".to_owned(), world.printed().into_bytes()),
        ("the log".to_owned(), world.log().into_bytes()),
        ("what the API shows".to_owned(), tenant.snapshot().await.to_string().into_bytes()),
    ];
    for file in fs::read_dir(world.dir()).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("data")) {
            places.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    assert!(places.len() >= 6, "the database, and the key that seals, are among them");
    // A secret is as bare as its bytes: the part after the prefix, and in base64 what goes over the wire.
    let bare = |secret: &str| secret.rsplit(['_', ' ']).next().unwrap().to_owned();
    let secrets = [
        ("the tenant's key", bare(&tenant.key)),
        ("the operator's key", bare(OPERATOR)),
        ("the first signing secret", bare(text(&webhook, "secret"))),
        ("the second signing secret", bare(text(&rotated, "secret"))),
        ("the granted secret", password.to_owned()),
        ("the code", tokens[0].clone()),
        ("the access token", tokens[1].clone()),
        ("the refresh token", tokens[2].clone()),
        ("the client's secret", tokens[3].clone()),
        ("the granted secret in its header", STANDARD.encode(format!("me:{password}"))),
        ("a bearer token", "bearer-token-7f3a".to_owned()),
        ("a password", "open-sesame-9c2e".to_owned()),
        ("a password in its header", STANDARD.encode("Aladdin:open-sesame-9c2e")),
        ("the token endpoint's secret", "client-secret-5b1d".to_owned()),
        ("the token endpoint's secret in its header", STANDARD.encode("shop:client-secret-5b1d")),
        ("what it gave", TOKEN.to_owned()),
        ("a header", "static-header-1d44".to_owned()),
    ];
    for (place, bytes) in &places {
        for (name, secret) in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{name} is in {place}");
        }
    }
}

/// A code, and the access token, the refresh token and the client's secret with which it was redeemed; of each what
/// comes after the part that finds its record.
async fn tokens(tenant: &Tenant) -> [String; 4] {
    let uri = "https://app.example/";
    let key = tenant.new_key(&json!({ "scopes": ["publish"], "redirect_uris": [uri] })).await;
    let (id, secret) = key.rsplit_once('_').unwrap();
    let anonymous = tenant.client.anonymous();
    let body = json!({
        "client_id": id, "redirect_uri": uri, "response_type": "code", "api_key": tenant.key, "decision": "allow",
    });
    let body = Some(body.to_string().into());
    let back = anonymous.send_bytes(Method::POST, "/oauth/authorize", body, &HeaderMap::new()).await;
    let code = back.headers["location"].to_str().unwrap().split_once("code=").unwrap().1;
    let body = json!({
        "client_id": id, "client_secret": secret, "redirect_uri": uri, "grant_type": "authorization_code", "code": code,
    });
    let found = anonymous.post("/oauth/token", &body).await.expect(200);
    tenant.client.bearer(text(&found, "access_token")).get("/v1/webhooks").await.expect(200);
    // Used again, it is wrong input that carries a secret.
    anonymous.post("/oauth/token", &body).await.expect(400);
    let own = |token: &str| token[16..].to_owned();
    [own(code), own(text(&found, "access_token")), own(text(&found, "refresh_token")), secret.to_owned()]
}
