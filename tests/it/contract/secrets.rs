//! Whatever is registered, rotated and delivered with: no secret lies in clear in a table, a message, a file or a line of
//! the log, of either engine.

use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, header::AUTHORIZATION};
use postrider::{
    deliver::deliver,
    dialect::Request,
    door::{self, Desk},
    hint::{Hint, Lane},
    model::{KeyHash, Secret},
    ports::{Policy, Ports},
};
use postrider_lambda::{SystemClock, SystemDice};
use postrider_outbound::{Outbound, Settings};
use postrider_tests::{
    receiver::{Arrived, Receiver, Reply},
    servers::Servers,
    tenant::text,
    world::OPERATOR,
};
use serde_json::{Value, json};

use super::{Kept, World, inbox::Inbox, samples};

#[tokio::test]
async fn embedded() {
    nothing_secret_lies_in_clear(&World::embedded()).await;
}

#[tokio::test]
async fn aws() {
    nothing_secret_lies_in_clear(&World::aws().await).await;
}

/// What is logged while it is the subscriber.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A process without a server around it.
struct Service<'a> {
    world: &'a World,
    ports: Ports,
    outbound: Outbound,
}

impl Service<'_> {
    async fn ask(&self, key: &str, method: Method, path: &str, body: &Value) -> Value {
        let desk = match path {
            "/v1/credentials" => Desk::Credentials,
            "/v1/events" => Desk::Publish,
            path if path.ends_with("/test") => Desk::Testing(&self.outbound),
            _ => Desk::Registration,
        };
        let mut request = Request::new(body.to_string().into());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        let answer = door::answer(&self.ports, desk, &request).await;
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        serde_json::from_slice(answer.body()).unwrap_or_default()
    }

    /// Delivers what waits; what the messages said.
    async fn deliver_all(&self) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            let bodies = self.receive().await;
            if bodies.is_empty() {
                return said;
            }
            for body in bodies {
                said.extend_from_slice(body.as_bytes());
                let (hint, event) = Hint::read(&body).unwrap();
                deliver(&self.ports, &self.outbound, &hint, event, 1).await.unwrap();
            }
        }
    }

    async fn receive(&self) -> Vec<String> {
        let mut bodies = Vec::new();
        for lane in Lane::ALL {
            bodies.extend(self.receive_of(lane).await);
        }
        bodies
    }

    async fn receive_of(&self, lane: Lane) -> Vec<String> {
        let soon = std::time::Duration::from_millis(200);
        match &self.world.inbox {
            Inbox::Embedded(engine) => {
                let found = engine.receive(lane, 10, soon, jiff::Timestamp::now).await.unwrap();
                engine.delete(lane, found.iter().map(|message| message.id).collect()).await.unwrap();
                found.into_iter().map(|message| message.body).collect()
            }
            Inbox::Aws { engine, .. } => {
                let found = engine.receive(lane, 10, soon).await.unwrap();
                let receipts: Vec<_> = found.iter().map(|message| message.receipt.clone()).collect();
                if !receipts.is_empty() {
                    engine.delete_messages(lane, &receipts).await.unwrap();
                }
                found.into_iter().map(|message| message.body).collect()
            }
            Inbox::Simulated(_) => unreachable!("it keeps nothing anywhere"),
        }
    }
}

/// A receiver that repeats all that it is told; and a token endpoint.
fn echo(request: &Arrived) -> Reply {
    if request.path == "/token" {
        let granted = json!({ "access_token": "access-token-that-opens-all", "expires_in": 3600 });
        return Reply::Whole(200, Vec::new(), granted.to_string().into());
    }
    let said = format!("{:?} {:?}", request.headers, request.body);
    Reply::Whole(if request.path == "/bad" { 500 } else { 200 }, Vec::new(), said.into())
}

/// The bodies of requests that register webhooks with every kind of secret.
fn kinds(receiver: &Receiver) -> Vec<Value> {
    let certificate = samples::certificate();
    let source = |style: &str, secret: &str| {
        json!({
            "type": "oauth2_client_credentials", "token_url": receiver.url("/token"), "client_id": "shop",
            "client_secret": secret, "auth_style": style,
        })
    };
    let mut bodies = vec![
        json!({ "auth": { "type": "bearer", "token": "bearer-token-7f3a" } }),
        json!({ "auth": { "type": "basic", "username": "Aladdin", "password": "basic password ☃" } }),
        json!({ "auth": source("basic", "client secret one") }),
        json!({ "auth": source("body", "client secret two") }),
        json!({ "headers": { "Authorization": "Token static-header-secret", "X-Api-Key": "static-api-key" } }),
        json!({ "signature": "both", "client_certificate": {
            "certificate": certificate.chain(), "private_key": certificate.key().reveal(),
        } }),
        json!({ "signature": "both" }),
    ];
    for (n, body) in bodies.iter_mut().enumerate() {
        body["url"] = json!(receiver.url(if n % 2 == 0 { "/good" } else { "/bad" }));
        body["topics"] = json!(["*"]);
    }
    bodies
}

async fn nothing_secret_lies_in_clear(world: &World) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let operator_key = Some(KeyHash::of(&Secret::new(OPERATOR)));
    let ports = Ports {
        store: world.store.clone(),
        queue: world.queue.clone(),
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
        policy: Policy { allow_private_targets: true, operator_key, ..Policy::default() },
    };
    let outbound = Outbound::new(Settings { allow_private: true, ..Settings::default() }).unwrap();
    let service = Service { world, ports, outbound };
    let receiver = Receiver::start(echo).await;

    let tenant = json!({ "id": "acme", "name": "Acme" });
    service.ask(OPERATOR, Method::POST, "/v1/tenants", &tenant).await;
    let scopes = json!({ "scopes": ["publish", "manage"] });
    let key = service.ask(OPERATOR, Method::POST, "/v1/tenants/acme/keys", &scopes).await;
    let key = text(&key, "key");
    let granted = json!({ "id": "tenant", "secret": "granted password" });
    service.ask(key, Method::PUT, "/v1/credentials", &granted).await;
    let mut secrets: Vec<String> = [
        key.rsplit('_').next().unwrap(),
        OPERATOR.rsplit('_').next().unwrap(),
        "granted password",
        "bearer-token-7f3a",
        "basic password ☃",
        "client secret one",
        "client secret two",
        "client+secret+two",
        "access-token-that-opens-all",
        "static-header-secret",
        "static-api-key",
    ]
    .map(str::to_owned)
    .into();
    secrets.push(STANDARD.encode("Aladdin:basic password ☃"));
    secrets.push(STANDARD.encode("tenant:granted password"));
    secrets.extend(
        samples::certificate().key().reveal().lines().map(str::to_owned).filter(|l| !l.contains('-')),
    );
    let event = json!({ "topic": "order.created", "payload": { "n": 1 } });
    let mut said = Vec::new();
    for body in kinds(&receiver) {
        let made = service.ask(key, Method::POST, "/v1/webhooks", &body).await;
        let path = format!("/v1/webhooks/{}", text(&made, "id"));
        service.ask(key, Method::POST, "/v1/events", &event).await;
        said.extend(service.deliver_all().await);
        let rotated = service.ask(key, Method::POST, &format!("{path}/secret/rotate"), &json!({})).await;
        service.ask(key, Method::PATCH, &path, &json!({ "name": "changed" })).await;
        service.ask(key, Method::POST, &format!("{path}/test"), &json!({})).await;
        service.ask(key, Method::POST, "/v1/events", &event).await;
        said.extend(service.deliver_all().await);
        secrets.extend([&made, &rotated].map(|shown| text(shown, "secret")["whsec_".len()..].to_owned()));
        let (tenant, id) = ("acme".parse().unwrap(), text(&made, "id").parse().unwrap());
        let kept = world.store.webhook(&tenant, id).await.unwrap().unwrap();
        secrets.extend(kept.key_pairs.iter().map(|pair| pair.key.reveal()["whsk_".len()..].to_owned()));
        assert_eq!(kept.key_pairs.len(), if body.get("signature").is_some() { 2 } else { 0 });
        let shown = format!("{path}/deliveries");
        said.extend(service.ask(key, Method::GET, &shown, &Value::Null).await.to_string().into_bytes());
        said.extend(
            service.ask(key, Method::GET, "/v1/webhooks", &Value::Null).await.to_string().into_bytes(),
        );
    }
    let arrived = receiver.arrived();
    for proof in
        ["Bearer bearer-token-7f3a", "Bearer access-token-that-opens-all", "Token static-header-secret"]
    {
        assert!(arrived.iter().any(|request| request.header("authorization") == Some(proof)), "{proof}");
    }
    let mut places = vec![("messages and answers".to_owned(), said)];
    places.extend(tables(world).await);
    assert!(places.len() > 4);
    let is_told = |(_, bytes): &(String, Vec<u8>)| characters(bytes).contains("[secret]");
    assert!(places.iter().any(is_told), "a receiver's repetitions are on record");
    let has_name = |(_, bytes): &(String, Vec<u8>)| characters(bytes).contains(&receiver.url("/good"));
    assert!(places.iter().skip(1).any(has_name), "what is no secret is found where it lies");
    places.push(("the log".to_owned(), log.0.lock().unwrap().clone()));
    assert!(
        secrets.len() > 25
            && places.iter().all(|(place, bytes)| place.ends_with("-wal") || !bytes.is_empty())
    );
    let forms: Vec<_> =
        secrets.iter().flat_map(|secret| forms(secret).into_iter().map(move |form| (secret, form))).collect();
    for (place, bytes) in &places {
        let text = characters(bytes);
        for (secret, form) in &forms {
            assert!(!text.contains(&characters(form)), "{secret} is in {place}");
        }
    }
}

/// Bytes as characters, one each, so that the search for a text finds them: it is quick even here.
fn characters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// A secret as it may be written: as it is, in hexadecimal digits, in base64 at any place of a longer text; and the same of
/// the bytes of which it is the base64.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let bare = STANDARD.decode(secret).ok().filter(|bytes| bytes.len() >= 16);
    for bytes in [Some(secret.as_bytes().to_vec()), bare].into_iter().flatten() {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        forms.extend([hex.to_uppercase().into_bytes(), hex.into_bytes(), format!("{bytes:?}").into_bytes()]);
        for before in 0..3 {
            let text = STANDARD.encode([vec![0; before], bytes.clone()].concat());
            let whole = text.trim_end_matches('=');
            // What shares a letter with its neighbours is not its own.
            forms.push(whole.as_bytes()[(before * 8).div_ceil(6)..whole.len() - 1].to_vec());
        }
        forms.push(bytes);
    }
    forms
}

/// All that an engine keeps.
async fn tables(world: &World) -> Vec<(String, Vec<u8>)> {
    match &world.kept {
        Kept::Embedded { path, .. } => files(path.parent().unwrap()),
        Kept::Aws { settings, .. } => {
            let names = [
                &settings.webhooks_table,
                &settings.keys_table,
                &settings.events_table,
                &settings.deliveries_table,
            ];
            let db = aws_sdk_dynamodb::Client::new(&Servers::shared().config());
            let mut tables = Vec::new();
            for name in names {
                let mut bytes = Vec::new();
                let mut pages = db.scan().table_name(name).into_paginator().send();
                while let Some(page) = pages.next().await {
                    let items = page.unwrap().items.unwrap_or_default();
                    items.iter().flatten().for_each(|(_, value)| write(value, &mut bytes));
                }
                tables.push((name.clone(), bytes));
            }
            tables
        }
        Kept::Simulated(_) => unreachable!("it keeps nothing anywhere"),
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

fn write(value: &AttributeValue, bytes: &mut Vec<u8>) {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => bytes.extend_from_slice(text.as_bytes()),
        AttributeValue::B(blob) => bytes.extend_from_slice(blob.as_ref()),
        AttributeValue::L(items) => items.iter().for_each(|item| write(item, bytes)),
        AttributeValue::M(fields) => fields.iter().for_each(|(name, value)| {
            bytes.extend_from_slice(name.as_bytes());
            write(value, bytes);
        }),
        AttributeValue::Ss(texts) => texts.iter().for_each(|text| bytes.extend_from_slice(text.as_bytes())),
        AttributeValue::Bs(blobs) => blobs.iter().for_each(|blob| bytes.extend_from_slice(blob.as_ref())),
        AttributeValue::Bool(_) | AttributeValue::Null(_) | AttributeValue::Ns(_) => {}
        other => panic!("{other:?}"),
    }
    bytes.push(b'\n');
}
