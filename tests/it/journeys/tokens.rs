//! Access tokens by OAuth2 client credentials: got when they are needed, kept while they last, got anew once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::join_all;
use postrider_tests::{
    receiver::{Arrived, Receiver, Reply},
    tenant::{Tenant, text},
    world::{Options, World},
};
use serde_json::{Value, json};

/// A token endpoint that gives out `token-1`, `token-2`, …; `lasts` is what it says of them.
async fn endpoint(lasts: u64) -> Receiver {
    let number = AtomicU64::new(0);
    Receiver::start(move |_| {
        let number = number.fetch_add(1, Ordering::Relaxed) + 1;
        let granted =
            json!({ "access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": lasts });
        let body = granted.to_string().into();
        // So long that whoever else needs it finds somebody getting it.
        let whole = Reply::Whole(200, vec![("content-type", "application/json".into())], body);
        Reply::Late(Duration::from_millis(200), whole.into())
    })
    .await
}

fn auth(token_url: &str, more: &Value) -> Value {
    let mut auth = json!({
        "type": "oauth2_client_credentials", "token_url": token_url, "client_id": "shop", "client_secret": "hush hush",
    });
    auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    auth
}

async fn webhook(tenant: &Tenant, url: &str, auth: Value) -> Value {
    let body = json!({ "url": url, "topics": ["*"], "auth": auth });
    tenant.client.post("/v1/webhooks", &body).await.expect(201)
}

/// Publishes an event, and waits for its first attempt.
async fn attempt(tenant: &Tenant, webhook: &Value) -> Value {
    let event = tenant.publish("order.created", json!({})).await;
    tenant.attempted(text(webhook, "id"), &event, 1).await["attempts"][0].clone()
}

fn tokens(arrived: &[Arrived]) -> Vec<&str> {
    arrived.iter().map(|request| request.header("authorization").unwrap()).collect()
}

#[tokio::test]
async fn a_token_is_got_once_and_used_while_it_lasts() {
    let (tokens_at, receiver) = (endpoint(3600).await, Receiver::ok().await);
    let tenant = World::shared().tenant("token").await;
    let more = json!({ "scope": "hooks orders", "audience": "https://shop.example/" });
    let webhook = webhook(&tenant, &receiver.url("/"), auth(&tokens_at.url("/token"), &more)).await;
    let shown = json!({
        "type": "oauth2_client_credentials", "token_url": tokens_at.url("/token"), "client_id": "shop",
        "scope": "hooks orders", "audience": "https://shop.example/", "auth_style": "basic",
    });
    assert_eq!(webhook["auth"], shown, "all but the secret");
    join_all((0..8).map(|_| attempt(&tenant, &webhook))).await;
    assert_eq!(tokens(&receiver.wait(8).await), ["Bearer token-1"; 8]);
    let asked = tokens_at.arrived();
    assert_eq!(asked.len(), 1, "for all of them");
    assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    let pair = STANDARD.encode("shop:hush+hush");
    assert_eq!(asked[0].header("authorization"), Some(&*format!("Basic {pair}")));
    let form = "grant_type=client_credentials&scope=hooks+orders&audience=https%3A%2F%2Fshop.example%2F";
    assert_eq!(asked[0].body, form);

    // What the client is has changed: its token is another.
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let body = auth(&tokens_at.url("/token"), &json!({ "auth_style": "body" }));
    tenant.client.patch(&path, &json!({ "auth": body })).await.expect(200);
    attempt(&tenant, &webhook).await;
    assert_eq!(tokens(&receiver.wait(9).await)[8], "Bearer token-2");
    let asked = tokens_at.arrived();
    assert_eq!(asked[1].header("authorization"), None);
    assert_eq!(asked[1].body, "grant_type=client_credentials&client_id=shop&client_secret=hush+hush");
}

#[tokio::test]
async fn a_token_that_the_receiver_does_not_know_is_replaced_once() {
    let tokens_at = endpoint(3600).await;
    let first_known = Arc::new(AtomicU64::new(2));
    let from = first_known.clone();
    let receiver = Receiver::start(move |request| {
        let number: u64 = request.header("authorization").unwrap()["Bearer token-".len()..].parse().unwrap();
        Reply::status(if number >= from.load(Ordering::Relaxed) { 200 } else { 401 })
    })
    .await;
    let tenant = World::shared().tenant("unknown").await;
    let webhook = webhook(&tenant, &receiver.url("/"), auth(&tokens_at.url("/"), &json!({}))).await;
    let made = attempt(&tenant, &webhook).await;
    assert_eq!((&made["reply"]["status"], &made["failure"]), (&json!(200), &Value::Null), "{made}");
    let arrived = receiver.wait(2).await;
    assert_eq!(tokens(&arrived), ["Bearer token-1", "Bearer token-2"]);
    assert_eq!(arrived[0].header("webhook-id"), arrived[1].header("webhook-id"));

    // One that no token opens is asked twice in an attempt, and no more.
    first_known.store(1000, Ordering::Relaxed);
    let made = attempt(&tenant, &webhook).await;
    assert_eq!((&made["reply"]["status"], &made["failure"]), (&json!(401), &json!("status")), "{made}");
    let arrived = receiver.arrived();
    assert_eq!(tokens(&arrived)[2..4], ["Bearer token-2", "Bearer token-3"]);
}

#[tokio::test]
async fn a_token_is_not_used_to_its_end() {
    let (tokens_at, receiver) = (endpoint(1).await, Receiver::ok().await);
    let tenant = World::shared().tenant("short").await;
    let webhook = webhook(&tenant, &receiver.url("/"), auth(&tokens_at.url("/"), &json!({}))).await;
    attempt(&tenant, &webhook).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    attempt(&tenant, &webhook).await;
    assert_eq!(tokens(&receiver.wait(2).await), ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_record_says_why() {
    let receiver = Receiver::ok().await;
    let tenant = World::shared().tenant("refused").await;
    let refuses = Receiver::start(|request| {
        let said = r#"{"error":"invalid_client","error_description":"hush hush is wrong"}"#;
        match &*request.path {
            "/400" => Reply::Whole(400, Vec::new(), said.into()),
            "/302" => Reply::Whole(302, vec![("location", "/400".into())], "".into()),
            "/410" => Reply::status(410),
            "/endless" => Reply::Endless,
            _ => Reply::Whole(200, Vec::new(), "hush hush".into()),
        }
    })
    .await;
    for (path, says) in [
        ("/400", "the token endpoint answered 400: invalid_client"),
        ("/302", "the token endpoint answered 302"),
        ("/410", "the token endpoint answered 410"),
        ("/200", "the token endpoint's answer is not as RFC 6749 has it"),
        ("/endless", "the token endpoint's answer is longer than 16 KiB"),
    ] {
        let webhook = webhook(&tenant, &receiver.url("/"), auth(&refuses.url(path), &json!({}))).await;
        let made = attempt(&tenant, &webhook).await;
        assert_eq!((&made["failure"], &made["reply"]), (&json!("token"), &Value::Null), "{made}");
        assert_eq!(text(&made, "detail"), format!("no access token: {says}"));
        let now = tenant.client.get(&format!("/v1/webhooks/{}", text(&webhook, "id"))).await.expect(200);
        assert_eq!(now["state"], "active", "what a token endpoint says is not its receiver's word");
        tenant.client.delete(&format!("/v1/webhooks/{}", text(&webhook, "id"))).await.expect(204);
    }
    assert!(receiver.arrived().is_empty());
}

#[tokio::test]
async fn a_token_endpoint_is_guarded_as_a_receiver_is() {
    let endpoint = endpoint(3600).await;
    let port = endpoint.address().port();
    let args = vec!["--resolve=id.test=127.0.0.1".to_owned(), "--resolve=shop.test=93.184.216.34".to_owned()];
    let world = World::start(Options { private_targets: false, args, ..Options::default() });
    let tenant = world.tenant("guarded").await;
    let body = |token_url: &str| json!({ "url": "https://shop.test/", "topics": ["*"], "auth": auth(token_url, &json!({})) });
    for url in [
        "https://127.0.0.1/token",
        "https://localhost/token",
        "https://[::ffff:169.254.169.254]/",
        "https://0x7f.1/",
        "https://user@id.test/",
        "http://id.example/token",
    ] {
        let problem = tenant.client.post("/v1/webhooks", &body(url)).await.expect(422);
        assert_eq!(problem["field"], "auth/token_url", "{url}");
    }
    let made =
        tenant.client.post("/v1/webhooks", &body(&format!("https://id.test:{port}/"))).await.expect(201);
    let made = attempt(&tenant, &made).await;
    assert_eq!(made["failure"], "token", "{made}");
    assert!(text(&made, "detail").ends_with("the address is private, local or otherwise special"), "{made}");
    assert_eq!(endpoint.connections(), 0, "nothing was dialled");
}
