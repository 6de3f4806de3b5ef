//! Chance as a client: whatever is asked, nothing is answered 5xx, and nobody else's things change.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider_tests::{rng::Rng, tenant::Tenant, world::World};
use serde_json::{Value, json};

use super::{Stage, raw::say};

/// Another seed is another run; a failing one is repeated by its own.
const SEED: u64 = 20_261_121;
const TASKS: u64 = 8;
const REQUESTS_EACH: usize = 250;
const RAW_EACH: usize = 25;

const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
const WORDS: [&str; 22] = [
    "v1",
    "integration",
    "webhooks",
    "credentials",
    "tenants",
    "keys",
    "events",
    "filters",
    "deliveries",
    "undelivered",
    "health",
    "secret",
    "rotate",
    "wh_",
    "dlv_",
    "%00",
    "%ff",
    "..",
    "*",
    "é",
    "{id}",
    "$default",
];
const TEXTS: [&str; 16] = [
    "",
    "order.created",
    "product:request:rejected",
    "*",
    "https://example.com/",
    "http://127.0.0.1:9/",
    "\u{0}",
    "\r\nx: y",
    "é",
    "𝄞",
    "null",
    "2020-02-02T12:00:00Z",
    "-1",
    "' OR 1=1 --",
    "admin",
    "../../etc/passwd",
];
const FIELDS: [&str; 18] = [
    "tenant",
    "topic",
    "payload",
    "filter",
    "metadata",
    "id",
    "occurred_at",
    "url",
    "topics",
    "headers",
    "name",
    "active",
    "uri",
    "event",
    "secret",
    "scopes",
    "expires_at",
    "x",
];

fn path(rng: &mut Rng, known: &[String]) -> String {
    if rng.below(3) == 0 {
        return rng.pick(known).clone();
    }
    let mut path = String::new();
    for _ in 0..=rng.below(5) {
        path.push('/');
        path += *rng.pick(&WORDS);
    }
    if rng.below(4) == 0 {
        let queries = ["?", "?limit=", "?cursor=", "?tenant=", "?event=", "?limit=1&cursor="];
        path += *rng.pick(&queries);
        path += *rng.pick(&WORDS);
    }
    path
}

fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(rng.below(2) == 0),
        2 => json!(rng.number()),
        3 => json!(f64::from_bits(rng.number())),
        4 => json!("x".repeat(rng.index(5000))),
        5 => json!(rng.pick(&TEXTS)),
        6 => (0..rng.below(4)).map(|_| value(rng, depth - 1)).collect(),
        _ => object(rng, depth - 1),
    }
}

fn object(rng: &mut Rng, depth: usize) -> Value {
    Value::Object((0..rng.below(6)).map(|_| ((*rng.pick(&FIELDS)).to_owned(), value(rng, depth))).collect())
}

/// A body that may be right, with a field or a byte that may be wrong.
fn body(rng: &mut Rng) -> Bytes {
    let mut good = match rng.below(7) {
        0 => json!({ "url": "http://127.0.0.1:9/", "topics": ["order.never"] }),
        1 => json!({ "topic": "order.created", "payload": value(rng, 2) }),
        2 => json!([{ "topic": "order.created" }, { "topic": "product:request:locked" }]),
        3 => json!({ "uri": "http://127.0.0.1:9/", "event": "product:request:locked" }),
        4 => json!({ "id": "a", "secret": "b" }),
        5 => {
            json!({ "filter": object(rng, 3), "event": { "topic": "order.created", "payload": value(rng, 2) } })
        }
        _ => object(rng, 3),
    };
    if let (Some(fields), 0..2) = (good.as_object_mut(), rng.below(4)) {
        fields.insert((*rng.pick(&FIELDS)).to_owned(), value(rng, 2));
    }
    let mut bytes = good.to_string().into_bytes();
    match rng.below(5) {
        0 if !bytes.is_empty() => {
            let at = rng.index(bytes.len());
            bytes[at] = rng.bytes(1)[0];
        }
        1 => bytes.truncate(rng.index(bytes.len() + 1)),
        2 => {
            bytes = {
                let length = rng.index(300);
                rng.bytes(length)
            }
        }
        _ => {}
    }
    bytes.into()
}

fn headers(rng: &mut Rng) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..rng.below(3) {
        let name = *rng.pick(&[
            "content-type",
            "accept",
            "x-forwarded-for",
            "tiki-api",
            "expect",
            "range",
            "cookie",
        ]);
        let length = rng.index(40);
        if let Ok(value) = HeaderValue::from_bytes(&rng.bytes(length)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

async fn requests(seed: u64, tenant: &Tenant, known: &[String]) {
    let mut rng = Rng::new(seed);
    let clients = [tenant.client.clone(), tenant.client.tiki(&tenant.key), tenant.client.anonymous()];
    for n in 0..REQUESTS_EACH {
        let (method, path) = (rng.pick(&METHODS).clone(), path(&mut rng, known));
        let body = (rng.below(4) > 0 && method != Method::HEAD).then(|| body(&mut rng));
        let headers = headers(&mut rng);
        let client = rng.pick(&clients);
        let answer = client.send_bytes(method, &path, body.clone(), &headers).await;
        assert!(answer.status < 500, "seed {seed}, request {n}: {answer}\nto {body:?}\nwith {headers:?}");
    }
    for n in 0..RAW_EACH {
        // A head that is right at first, and then anything.
        let mut bytes =
            format!("POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", tenant.key)
                .into_bytes();
        bytes.truncate(rng.index(bytes.len() + 1));
        let length = rng.index(200);
        bytes.extend(rng.bytes(length));
        let status = say(&bytes, Duration::from_millis(100)).await;
        assert!(status.is_none_or(|status| status < 500), "seed {seed}, raw {n}: {status:?} to {bytes:?}");
    }
}

#[tokio::test]
async fn no_request_is_answered_5xx() {
    let stage = Stage::set("fuzz-bystander").await;
    let tenant = World::shared().tenant("fuzz").await;
    let webhook = tenant.webhook("http://127.0.0.1:9/", &["order.never"]).await;
    let webhook = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    let mut known: Vec<_> = crate::template::routes().into_iter().map(|(_, path, _)| path).collect();
    known.extend([webhook.clone(), format!("{webhook}/deliveries"), format!("{webhook}/secret/rotate")]);
    known.push(stage.webhook.clone());
    known.push(format!("/v1/tenants/{}", stage.tenant.id));
    join_all((0..TASKS).map(|task| requests(SEED + task, &tenant, &known))).await;
    stage.is_unchanged().await;
    let log = World::shared().log();
    let panic = log.lines().find(|line| line.contains("panicked at"));
    assert_eq!(panic, None, "seed {SEED}: a panic is reachable from outside, answered or not");
}
