//! Bad input: each kind gets the dialect's own error with the right status, names the field, and changes nothing.

mod centry;
mod fuzz;
mod oauth;
mod properties;
mod raw;
mod sapo;
mod shipstream;
mod tiki;
mod ultimate;
mod v1;
mod v1_delivery;
mod v1_filters;
mod wire;

use bytes::Bytes;
use http::{HeaderMap, Method};
use postrider_tests::{
    client::{Answer, Client},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

/// A wrong request, and what it is answered.
struct Wrong {
    method: Method,
    path: String,
    body: Option<Bytes>,
    status: u16,
    /// What the error has to name: a field, or what kind of problem it is.
    names: &'static str,
}

/// One row of a table.
fn wrong(method: Method, path: &str, body: impl Into<Input>, status: u16, names: &'static str) -> Wrong {
    Wrong { method, path: path.to_owned(), body: body.into().0, status, names }
}

/// A body: JSON, bytes that are to look like it, or none.
struct Input(Option<Bytes>);

impl From<Value> for Input {
    fn from(json: Value) -> Self {
        Self(Some(json.to_string().into()))
    }
}

impl From<&'static [u8]> for Input {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Some(Bytes::from_static(bytes)))
    }
}

impl From<()> for Input {
    fn from((): ()) -> Self {
        Self(None)
    }
}

/// Bodies that are not JSON at all, whatever they are sent to.
const NOT_JSON: [&[u8]; 8] = [
    b"",
    b"{",
    b"{\"a\":1,}",
    b"{\"a\":\xff\xfe}",
    b"\xef\xbb\xbf{}",
    b"{'a':1}",
    b"\0",
    b"{\"a\":1} trailing",
];

/// What there is before bad input comes: a tenant with one of everything.
struct Stage {
    tenant: Tenant,
    /// The path of a webhook of its own.
    webhook: String,
    before: Value,
}

impl Stage {
    async fn set(label: &str) -> Self {
        let tenant = World::shared().tenant(label).await;
        // Nothing listens there; the one event is settled before the story begins.
        let webhook = tenant.webhook("http://127.0.0.1:9/", &["order.never"]).await;
        tenant.tiki_webhook("https://example.com/", "product:request:approved").await;
        tenant.client.put("/v1/credentials", &json!({ "id": "me", "secret": "hush" })).await.expect(204);
        let event = json!({ "id": "taken", "topic": "order.created", "payload": 1 });
        tenant.client.post("/v1/events", &event).await.expect(202);
        let webhook = format!("/v1/webhooks/{}", text(&webhook, "id"));
        let before = tenant.snapshot().await;
        Self { tenant, webhook, before }
    }

    /// Sends each, and checks its answer by the dialect's `judge`; at last, that nothing has changed.
    async fn check(&self, client: &Client, table: &[Wrong], judge: fn(&Answer, &'static str)) {
        for row in table {
            let answer =
                client.send_bytes(row.method.clone(), &row.path, row.body.clone(), &HeaderMap::new()).await;
            let body = row.body.as_ref().map(|body| String::from_utf8_lossy(&body[..body.len().min(200)]));
            assert_eq!(answer.status, row.status, "{answer}\nto {body:?}");
            judge(&answer, row.names);
        }
        self.is_unchanged().await;
    }

    async fn is_unchanged(&self) {
        self.tenant.client.get("/v1/health").await.expect(200);
        assert_eq!(self.tenant.snapshot().await, self.before);
    }
}

/// JSON that is hard to read: nested deep, or with a million bytes of keys.
fn hard_json() -> [Bytes; 3] {
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let keys: Vec<_> = (0..80_000).map(|n| format!("\"key{n:06}\":0")).collect();
    [deep.into(), objects.into(), format!("{{{}}}", keys.join(",")).into()]
}

/// Texts that are no URL to deliver to.
fn bad_urls() -> Vec<String> {
    let mut urls: Vec<_> = [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://:@example.com/",
        "https://example.com/#part",
        "https://example.com/a b",
        "https://example.com/a\r\nx: y",
        "https://example.com/\u{0}",
        "https://exa mple.com/",
        " https://example.com/",
        "http://",
        "https://[::1",
        "https://example.com:99999/",
        "https://%00/",
    ]
    .map(str::to_owned)
    .into();
    urls.push(format!("https://example.com/{}", "a".repeat(2029)));
    urls
}
