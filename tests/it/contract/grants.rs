//! Codes and tokens over each engine, with a clock that can be set.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, StatusCode, header::LOCATION};
use jiff::{SignedDuration, Timestamp};
use postrider::{
    access,
    dialect::{Request, Response},
    door::{self, Desk},
    model::{KeyId, Scope, TenantId},
    ports::{Clock, Policy, Ports},
};
use postrider_lambda::SystemDice;
use serde_json::Value;

use super::{
    World, on_every_engine,
    samples::{kept_tenant, now},
};

on_every_engine!(
    a_code_can_be_redeemed_for_ten_minutes,
    an_access_token_ends_after_two_hours_and_a_refresh_token_after_ninety_days,
    tokens_end_with_each_key_behind_them,
    tokens_end_with_the_tenant,
    what_was_used_before_ends_the_grant,
    of_two_exchanges_at_once_one_succeeds_at_most,
    another_process_takes_the_newest_tokens_at_once,
);

const CALLBACK: &str = "https://app.example/callback";

/// A clock that stands still until it is set.
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A client, and somebody who has webhooks.
struct Stage {
    ports: Ports,
    hand: Arc<Hand>,
    client: (KeyId, String),
    owner: (KeyId, String),
    tenants: [TenantId; 2],
}

impl Stage {
    async fn set(world: &World) -> Self {
        let hand = Arc::new(Hand(Mutex::new(now())));
        let ports = ports(world, &hand);
        let tenants = [kept_tenant(&*world.store).await, kept_tenant(&*world.store).await];
        let client = key(&ports, &tenants[0], Scope::Publish).await;
        let owner = key(&ports, &tenants[1], Scope::Manage).await;
        Self { ports, hand, client, owner, tenants }
    }

    fn pass(&self, time: SignedDuration) {
        *self.hand.0.lock().unwrap() += time;
    }

    /// Another process, with caches of its own, at the same time.
    fn next_process(&self, world: &World) -> Ports {
        ports(&world.next_process(), &self.hand)
    }

    async fn code(&self) -> String {
        let key = &self.owner.1;
        let form = format!(
            "client_id={}&redirect_uri={CALLBACK}&response_type=code&api_key={key}&decision=allow",
            self.client.0
        );
        let answer = ask(&self.ports, Method::POST, "/oauth/authorize", &form, None).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{answer:?}");
        let location = answer.headers()[LOCATION].to_str().unwrap();
        location.strip_prefix(&format!("{CALLBACK}?code=")).unwrap().to_owned()
    }

    async fn exchange(&self, ports: &Ports, offer: &str) -> Result<Value, String> {
        let (id, key) = &self.client;
        let form = format!(
            "client_id={id}&client_secret={}&redirect_uri={CALLBACK}&{offer}",
            &key[key.len() - 32..]
        );
        let answer = ask(ports, Method::POST, "/oauth/token", &form, None).await;
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        match answer.status() {
            StatusCode::OK => Ok(body),
            _ => Err(body["error"].as_str().unwrap().to_owned()),
        }
    }

    async fn redeem(&self, code: &str) -> Result<Value, String> {
        self.exchange(&self.ports, &format!("grant_type=authorization_code&code={code}")).await
    }

    async fn refresh(&self, tokens: &Value) -> Result<Value, String> {
        self.exchange(&self.ports, &offered(tokens)).await
    }

    async fn opens(&self, tokens: &Value) -> bool {
        opens(&self.ports, tokens).await
    }
}

fn offered(tokens: &Value) -> String {
    format!("grant_type=refresh_token&refresh_token={}", tokens["refresh_token"].as_str().unwrap())
}

fn ports(world: &World, hand: &Arc<Hand>) -> Ports {
    Ports {
        store: world.store.clone(),
        queue: world.queue.clone(),
        clock: hand.clone(),
        dice: Arc::new(SystemDice),
        policy: Policy::default(),
    }
}

async fn key(ports: &Ports, tenant: &TenantId, scope: Scope) -> (KeyId, String) {
    let now = ports.clock.now();
    let (mut record, key) =
        access::new_key(&*ports.dice, Some(tenant.clone()), vec![scope], now, None).unwrap();
    record.redirect_uris = vec![CALLBACK.parse().unwrap()];
    ports.store.add_key(&record).await.unwrap();
    (record.id, key.reveal().to_owned())
}

async fn ask(ports: &Ports, method: Method, path: &str, body: &str, bearer: Option<&str>) -> Response {
    let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    if let Some(token) = bearer {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    door::answer(ports, Desk::Registration, &request).await
}

async fn opens(ports: &Ports, tokens: &Value) -> bool {
    let token = tokens["access_token"].as_str().unwrap();
    let answer = ask(ports, Method::GET, "/conexion/v1/webhooks.json", "", Some(token)).await;
    match answer.status() {
        StatusCode::OK => true,
        StatusCode::UNAUTHORIZED => false,
        _ => panic!("{answer:?}"),
    }
}

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn refused<T>() -> Result<T, String> {
    Err("invalid_grant".to_owned())
}

async fn a_code_can_be_redeemed_for_ten_minutes(world: &World) {
    let stage = Stage::set(world).await;
    let (first, second) = (stage.code().await, stage.code().await);
    stage.pass(SignedDuration::from_mins(10) - SECOND);
    assert!(stage.redeem(&first).await.is_ok());
    stage.pass(SECOND);
    assert_eq!(stage.redeem(&second).await, refused());
}

async fn an_access_token_ends_after_two_hours_and_a_refresh_token_after_ninety_days(world: &World) {
    let stage = Stage::set(world).await;
    let first = stage.redeem(&stage.code().await).await.unwrap();
    stage.pass(SignedDuration::from_hours(2) - SECOND);
    assert!(stage.opens(&first).await);
    stage.pass(SECOND);
    assert!(!stage.opens(&first).await);
    stage.pass(SignedDuration::from_hours(90 * 24 - 2) - SECOND);
    let second = stage.refresh(&first).await.unwrap();
    assert!(stage.opens(&second).await && !stage.opens(&first).await);
    stage.pass(SignedDuration::from_hours(90 * 24));
    assert_eq!(stage.refresh(&second).await, refused());
}

async fn tokens_end_with_each_key_behind_them(world: &World) {
    for which in 0..2 {
        let stage = Stage::set(world).await;
        let tokens = stage.redeem(&stage.code().await).await.unwrap();
        let code = stage.code().await;
        assert!(stage.opens(&tokens).await);
        let key = [&stage.client.0, &stage.owner.0][which];
        assert!(stage.ports.store.remove_key(&stage.tenants[which], key).await.unwrap());
        assert!(!stage.opens(&tokens).await);
        let said = if which == 0 { "invalid_client" } else { "invalid_grant" };
        assert_eq!(stage.refresh(&tokens).await, Err(said.to_owned()));
        assert_eq!(stage.redeem(&code).await, Err(said.to_owned()));
    }
    let stage = Stage::set(world).await;
    let own = stage.exchange(&stage.ports, "grant_type=client_credentials&scope=public").await.unwrap();
    assert_eq!(own.get("refresh_token"), None);
    let path = "/conexion/v1/webhooks.json";
    let token = own["access_token"].as_str().unwrap();
    let answer = async || ask(&stage.ports, Method::GET, path, "", Some(token)).await.status();
    assert_eq!(answer().await, StatusCode::FORBIDDEN, "it is good, and opens nothing");
    assert!(stage.ports.store.remove_key(&stage.tenants[0], &stage.client.0).await.unwrap());
    assert_eq!(answer().await, StatusCode::UNAUTHORIZED);
}

async fn tokens_end_with_the_tenant(world: &World) {
    for which in 0..2 {
        let stage = Stage::set(world).await;
        let tokens = stage.redeem(&stage.code().await).await.unwrap();
        assert!(stage.opens(&tokens).await);
        assert!(stage.ports.store.remove_tenant(&stage.tenants[which]).await.unwrap());
        assert!(!stage.opens(&tokens).await);
        assert!(stage.refresh(&tokens).await.is_err());
    }
}

async fn what_was_used_before_ends_the_grant(world: &World) {
    let stage = Stage::set(world).await;
    let code = stage.code().await;
    let first = stage.redeem(&code).await.unwrap();
    let second = stage.refresh(&first).await.unwrap();
    assert!(stage.opens(&second).await && !stage.opens(&first).await, "one access token at a time");
    assert_eq!(stage.refresh(&first).await, refused());
    assert!(!stage.opens(&second).await);
    assert_eq!(stage.refresh(&second).await, refused());

    let code = stage.code().await;
    let tokens = stage.redeem(&code).await.unwrap();
    assert_eq!(stage.redeem(&code).await, refused());
    assert!(!stage.opens(&tokens).await);
    assert_eq!(stage.refresh(&tokens).await, refused());
}

async fn of_two_exchanges_at_once_one_succeeds_at_most(world: &World) {
    let stage = Stage::set(world).await;
    let other = stage.next_process(world);
    let first = stage.redeem(&stage.code().await).await.unwrap();
    let offer = offered(&first);
    let (one, two) = futures::join!(stage.exchange(&stage.ports, &offer), stage.exchange(&other, &offer));
    assert!(one.is_err() || two.is_err(), "{one:?} {two:?}");
    for tokens in [&one, &two].into_iter().flatten() {
        let fresh = stage.next_process(world);
        assert!(!opens(&fresh, tokens).await, "it was used twice");
    }
}

async fn another_process_takes_the_newest_tokens_at_once(world: &World) {
    let stage = Stage::set(world).await;
    let other = stage.next_process(world);
    let first = stage.redeem(&stage.code().await).await.unwrap();
    assert!(opens(&other, &first).await, "its cache has the grant");
    let second = stage.refresh(&first).await.unwrap();
    assert!(opens(&other, &second).await);
    let third = stage.exchange(&other, &offered(&second)).await.unwrap();
    assert!(stage.opens(&third).await);
}
