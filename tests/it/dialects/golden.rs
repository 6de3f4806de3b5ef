//! Golden files: what is printed in a dialect's documents, played over real HTTP.
//!
//! `tests/dialects/<name>/*.json` are lists of steps on a tenant of their own, in order:
//!
//! - `request` (`method`, `path`, `key`, `headers`, and `body` as JSON or `text` as it is) and `answer` (`status`, and `body`
//!   or `text`, or neither where anything will do; `type` where the content type is another; `headers` if more counts);
//! - `client` (a list of redirect URIs): a key that is an OAuth2 client; its halves are `{client}` and `{client_secret}`;
//! - `grant` (credentials, as `/v1/credentials` takes them);
//! - `publish` (an event as `/v1/events` takes it) and `deliveries`, one for each webhook that it goes to (`path`,
//!   `headers`, `body` or `text`; a header that is null must not be there).
//!
//! With `save`, a part of the answer (for each name a JSON pointer, or `?` and a parameter of `location`) is `{name}` in
//! what follows. `{user}` and `{secret}` are
//! the halves of the tenant's key.
//!
//! Everything is compared byte for byte, but for texts that begin with `~`: those give the shape, in which a
//! hexadecimal digit stands for any; `~number` is any number. `{receiver}` is where a receiver listens, `{tenant}` the tenant's id.

use std::{fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use postrider_aws::provision::{QueueSettings, provision};
use postrider_tests::{
    client::Answer,
    receiver::{Arrived, Receiver},
    servers::Servers,
    tenant::{Tenant, text},
    world::{Options, World},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How a dialect's clients show their key.
pub(super) struct Keys {
    /// The header.
    pub(super) header: &'static str,
    /// Its value for a key.
    pub(super) value: fn(&str) -> String,
    /// The content type of every answer.
    pub(super) content_type: &'static str,
}

/// Makes two tests, which play every file of a dialect over each engine.
macro_rules! documented {
    ($dialect:literal, $keys:expr) => {
        mod what_is_documented_is_what_happens {
            use super::*;

            #[tokio::test]
            async fn embedded() {
                golden::play_all($dialect, &$keys, World::shared()).await;
            }

            #[tokio::test]
            async fn aws() {
                golden::play_all($dialect, &$keys, golden::on_aws().await).await;
            }
        }
    };
}
pub(super) use documented;

/// The runner over the AWS engine, which all tests share.
pub(crate) async fn on_aws() -> &'static World {
    static SHARED: OnceCell<World> = OnceCell::const_new();
    SHARED.get_or_init(start_on_aws).await
}

async fn start_on_aws() -> World {
    let servers = Servers::shared();
    let queue = QueueSettings { visibility: Duration::from_mins(1), max_receives: 5 };
    let (settings, _) = provision(&servers.config(), "golden", queue).await.unwrap();
    let mut env = servers.environment();
    let names = [
        ("POSTRIDER_WEBHOOKS_TABLE", settings.webhooks_table),
        ("POSTRIDER_KEYS_TABLE", settings.keys_table),
        ("POSTRIDER_EVENTS_TABLE", settings.events_table),
        ("POSTRIDER_DELIVERIES_TABLE", settings.deliveries_table),
        ("POSTRIDER_QUEUE_URL", settings.queue_url),
        ("POSTRIDER_SLOW_QUEUE_URL", settings.slow_queue_url),
        ("POSTRIDER_KMS_KEY_ID", settings.kms_key_id.unwrap()),
    ];
    env.extend(names.map(|(name, value)| (name.to_owned(), value)));
    World::start(Options { args: vec!["--engine=aws".to_owned()], env, ..Options::default() })
}

/// Plays every file of a dialect.
pub(super) async fn play_all(dialect: &str, keys: &Keys, world: &World) {
    let folder = postrider_tests::world::repository().join("tests/dialects").join(dialect);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "json"));
    assert!(!files.is_empty(), "{}", folder.display());
    for file in files {
        play(dialect, &file, keys, world).await;
    }
}

async fn play(dialect: &str, file: &Path, keys: &Keys, world: &World) {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let tenant = world.tenant(&format!("{dialect}-{name}")).await;
    let receiver = Receiver::ok().await;
    let filled = fs::read_to_string(file)
        .unwrap()
        .replace("{receiver}", &receiver.url(""))
        .replace("{tenant}", &tenant.id);
    let (user, secret) = tenant.key.strip_prefix("prk_").unwrap().split_once('_').unwrap();
    let filled = filled.replace("{user}", user).replace("{secret}", secret);
    let steps: Vec<Value> = serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{name}: {error}"));
    let publisher = tenant.new_key(&json!({ "scopes": ["publish"] })).await;
    let mut arrived = 0;
    let mut saved = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let step = &put_in(step, &saved);
        let place = format!("{dialect}/{name}, step {}: {step}", n + 1);
        if step.get("publish").is_some() {
            published(&tenant, &receiver, step, &mut arrived, &place).await;
        } else if let Some(uris) = step.get("client") {
            let key = tenant.new_key(&json!({ "scopes": ["manage"], "redirect_uris": uris })).await;
            let (id, secret) = key.strip_prefix("prk_").unwrap().split_once('_').unwrap();
            saved.push(("{client}".to_owned(), id.to_owned()));
            saved.push(("{client_secret}".to_owned(), secret.to_owned()));
        } else if let Some(granted) = step.get("grant") {
            assert_eq!(tenant.client.put("/v1/credentials", granted).await.status, 204, "{place}");
        } else {
            let answer = asked(&tenant, &publisher, step, keys, &place).await;
            for (name, pointer) in step["save"].as_object().into_iter().flatten() {
                let found = part(&answer, pointer.as_str().unwrap());
                saved.push((format!("{{{name}}}"), found.unwrap_or_else(|| panic!("no {pointer}; {place}"))));
            }
        }
    }
}

/// A part of an answer: of its body, or of where it sends its reader.
fn part(answer: &Answer, pointer: &str) -> Option<String> {
    if let Some(name) = pointer.strip_prefix('?') {
        let location: url::Url = answer.headers["location"].to_str().unwrap().parse().unwrap();
        let mut pairs = location.query_pairs();
        return pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned());
    }
    answer.json().pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// A step with what earlier ones saved.
fn put_in(step: &Value, saved: &[(String, String)]) -> Value {
    let filled = saved.iter().fold(step.to_string(), |text, (name, value)| text.replace(name, value));
    serde_json::from_str(&filled).unwrap()
}

async fn asked(tenant: &Tenant, publisher: &str, step: &Value, keys: &Keys, place: &str) -> Answer {
    let (request, expected) = (&step["request"], &step["answer"]);
    let method: Method = text(request, "method").parse().unwrap();
    let mut headers = headers(request);
    if let Some(value) = credential(tenant, publisher, request["key"].as_str(), keys) {
        let (name, value) = value.split_once(": ").unwrap();
        headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let client = tenant.client.anonymous();
    let answer = client.send_bytes(method, text(request, "path"), content(request), &headers).await;
    let place = format!("{place}\n{answer}");
    assert_eq!(answer.status, expected["status"], "{place}");
    let own = json!(keys.content_type);
    let kind = answer.headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap());
    assert_eq!(kind, expected.get("type").unwrap_or(&own).as_str(), "{place}");
    compare_headers(&answer.headers, expected, &place);
    if expected.get("body").or(expected.get("text")).is_some() {
        compare(&answer.body, expected, &place);
    }
    answer
}

async fn published(tenant: &Tenant, receiver: &Receiver, step: &Value, arrived: &mut usize, place: &str) {
    let expected = step["deliveries"].as_array().unwrap();
    let receipt = tenant.client.post("/v1/events", &step["publish"]).await.expect(202);
    assert_eq!(receipt["deliveries"], expected.len(), "{place}");
    let all = receiver.wait(*arrived + expected.len()).await;
    for delivery in expected {
        let path = text(delivery, "path");
        let found: Vec<&Arrived> = all[*arrived..].iter().filter(|request| request.path == path).collect();
        let [request] = found[..] else { panic!("{place}\n{} requests at {path}", found.len()) };
        let place = format!("{place}\n{:?}\n{}", request.headers, String::from_utf8_lossy(&request.body));
        compare_headers(&request.headers, delivery, &place);
        compare(&request.body, delivery, &place);
    }
    *arrived = all.len();
}

fn headers(request: &Value) -> HeaderMap {
    let pairs = request["headers"].as_object().into_iter().flatten();
    pairs
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
        })
        .collect()
}

/// The header that shows a key: by default the tenant's own.
fn credential(tenant: &Tenant, publisher: &str, key: Option<&str>, keys: &Keys) -> Option<String> {
    // The right id, and a secret that is wrong in its last character alone.
    let (begin, last) = tenant.key.split_at(tenant.key.len() - 1);
    let wrong = format!("{begin}{}", if last == "0" { "1" } else { "0" });
    let own = |key: &str| format!("{}: {}", keys.header, (keys.value)(key));
    let halves = || tenant.key.strip_prefix("prk_").unwrap().replacen('_', ":", 1);
    Some(match key {
        None => own(&tenant.key),
        Some("publish only") => own(publisher),
        Some("wrong") => own(&wrong),
        Some("garbage") => own("garbage"),
        Some("bearer") => format!("authorization: Bearer {}", tenant.key),
        Some("wrong bearer") => format!("authorization: Bearer {wrong}"),
        Some("basic") => format!("authorization: Basic {}", STANDARD.encode(halves())),
        Some("none") => return None,
        // Any header with the key in it.
        Some(other) => other.replace("{key}", &tenant.key),
    })
}

fn content(request: &Value) -> Option<Bytes> {
    let whole = request.get("body").map(|body| body.to_string().into());
    whole.or_else(|| request["text"].as_str().map(|text| Bytes::copy_from_slice(text.as_bytes())))
}

fn compare_headers(headers: &HeaderMap, expected: &Value, place: &str) {
    for (name, expected) in expected["headers"].as_object().into_iter().flatten() {
        let value = headers.get(name).map(|value| value.to_str().unwrap());
        match (value, expected.as_str()) {
            (Some(value), Some(expected)) => {
                assert!(fits(value, expected), "{name} is {value}, not {expected}; {place}");
            }
            (value, expected) => assert_eq!(value, expected, "{name}; {place}"),
        }
    }
}

fn compare(body: &[u8], expected: &Value, place: &str) {
    let body = std::str::from_utf8(body).unwrap();
    if let Some(text) = expected["text"].as_str() {
        assert_eq!(body, text, "{place}");
        return;
    }
    let mut value: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {place}"));
    assert_eq!(value.to_string(), body, "it is written compactly; {place}");
    shape(&mut value, &expected["body"]);
    assert_eq!(value.to_string(), expected["body"].to_string(), "{place}");
}

/// Puts the expected text in the place of each that fits its shape.
fn shape(value: &mut Value, expected: &Value) {
    match (value, expected) {
        (Value::Object(fields), Value::Object(expected)) => {
            for (name, value) in fields {
                shape(value, expected.get(name).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(items), Value::Array(expected)) => {
            items.iter_mut().zip(expected).for_each(|(value, expected)| shape(value, expected));
        }
        (number @ Value::Number(_), Value::String(expected)) if expected == "~number" => {
            *number = expected.as_str().into();
        }
        (Value::String(text), Value::String(expected)) if fits(text, expected) => text.clone_from(expected),
        _ => {}
    }
}

fn fits(text: &str, expected: &str) -> bool {
    let Some(shape) = expected.strip_prefix('~') else { return text == expected };
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(a, b)| a == b || (digit(a) && digit(b)))
}
