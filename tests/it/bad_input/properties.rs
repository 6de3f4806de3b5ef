//! Whatever is asked, in every API: the answer is one of that API's shape, and a refusal changes nothing. Through the same
//! door as over HTTP, into the simulated store, so that a case takes a millisecond.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, header::CONTENT_TYPE};
use postrider::{
    access::{self, Principal},
    dialect::{self, Request, Response},
    door::{self, Desk},
    model::{KeyRecord, Scope, Secret, Tenant, TenantId, TopicPattern, Webhook},
    operation::{Asked, Draft, PageRequest},
    ports::Ports,
    webhooks,
};
use postrider_sim::{executor::Who, ports::ports, world::World};
use proptest::prelude::*;
use serde_json::{Value, json};

const CASES: u32 = 1000;

static ROUTES: LazyLock<Vec<(Method, String, String)>> = LazyLock::new(crate::template::routes);

/// A service in which somebody has a webhook of each API.
struct Service {
    world: World,
    ports: Ports,
    tenant: TenantId,
    key: Secret,
    webhooks: Vec<Webhook>,
}

/// All that an answer may change.
#[derive(Debug, PartialEq)]
struct Kept {
    tenants: Vec<Tenant>,
    keys: Vec<KeyRecord>,
    webhooks: Vec<Webhook>,
    events: usize,
    topics: String,
}

impl Service {
    async fn open() -> Self {
        let world = World::direct();
        let ports = ports(&world, Who("door", 0));
        let tenant: TenantId = "acme".parse().unwrap();
        let now = ports.clock.now();
        let kept = Tenant { id: tenant.clone(), name: "Acme".into(), created_at: now };
        assert!(ports.store.add_tenant(&kept).await.unwrap());
        let scopes = vec![Scope::Publish, Scope::Manage];
        let (record, key) = access::new_key(&*ports.dice, Some(tenant.clone()), scopes, now, None).unwrap();
        ports.store.add_key(&record).await.unwrap();
        let asked = Asked { tenant: Some(tenant.clone()), dialect: None };
        for dialect in dialect::ALL {
            let topic = dialect.table().topics()[0].topic.clone();
            let url = format!("https://example.com/{}", dialect.name());
            let draft = Draft::new(dialect.name(), url, vec![TopicPattern::One(topic)]);
            webhooks::create(&ports, &Principal::operator(), &asked, draft).await.unwrap();
        }
        let all = PageRequest::all();
        let webhooks = ports.store.webhooks(&tenant, None, &all).await.unwrap().items;
        Self { world, ports, tenant, key, webhooks }
    }

    async fn kept(&self) -> Kept {
        let (store, all) = (&self.ports.store, PageRequest::all());
        let events = self.world.lock().tables.events.len();
        Kept {
            tenants: store.tenants(&all).await.unwrap().items,
            keys: store.keys(&self.tenant, &all).await.unwrap().items,
            webhooks: store.webhooks(&self.tenant, None, &all).await.unwrap().items,
            events,
            topics: format!("{:?}", store.catalogue().await.unwrap()),
        }
    }

    /// A route's path with what there is in the place of its variables.
    fn filled(&self, pattern: &str, chosen: usize) -> String {
        let webhook = &self.webhooks[chosen % self.webhooks.len()];
        let id = match pattern.split('/').nth(1) {
            Some("admin") => format!("{}.json", webhook.number),
            Some("conexion") => format!("{:024x}.json", webhook.number),
            Some("wp-json") => webhook.number.to_string(),
            _ if pattern.contains("/deliveries/") => format!("dlv_{chosen:064x}"),
            _ => webhook.id.to_string(),
        };
        let filled = pattern.replace("{id}", &id).replace("{tenant}", "acme");
        filled.replace("{topic}", "order.created").replace("{key}", "abcdefgh01234567")
    }
}

/// What is asked.
#[derive(Debug, Clone)]
struct Question {
    route: usize,
    chosen: usize,
    method: Option<Method>,
    path: Option<String>,
    query: Option<String>,
    key: usize,
    header: (String, Vec<u8>),
    body: Vec<u8>,
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "https://example.com/x",
            "http://127.0.0.1/",
            "order.created",
            "product:request:locked",
            "orders/create",
            "*",
            "acme",
            "site_published",
            "webhook.create",
            "webhook.list",
            "manage",
            "2026-03-01T00:00:00Z",
            "2xx",
        ])
        .prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "url",
        "topics",
        "topic",
        "payload",
        "payloads",
        "metadata",
        "filter",
        "headers",
        "delivery",
        "schedule",
        "success",
        "timeout",
        "attempts",
        "name",
        "active",
        "tenant",
        "id",
        "secret",
        "scopes",
        "redirect_uris",
        "uri",
        "event",
        "webhook",
        "address",
        "format",
        "fields",
        "callback_url",
        "on_order_save",
        "webhook_url",
        "integration",
        "jsonrpc",
        "method",
        "params",
        "sample",
        "schema",
        "names",
        "grant_type",
        "client_id",
    ]);
    leaf.prop_recursive(3, 24, 5, move |inner| {
        let fields = prop::collection::vec((names.clone().prop_map(str::to_owned), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A request that would do, with something in one of its fields.
fn almost_right() -> impl Strategy<Value = Value> {
    let right = prop::sample::select(vec![
        json!({ "url": "https://example.com/", "topics": ["order.created"] }),
        json!({ "topic": "order.created", "payload": { "a": 1 } }),
        json!({ "id": "me", "secret": "hush" }),
        json!({ "uri": "https://example.com/", "event": "product:request:locked" }),
        json!({ "webhook": { "topic": "carts/update", "address": "https://example.com/" } }),
        json!({ "callback_url": "https://example.com/", "on_order_save": true }),
        json!({ "name": "x", "webhook_url": "https://example.com/", "event": "site_published", "integration": "x" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "call", "params": [null, "webhook.list", []] }),
        json!({ "filter": { "topic": ["a.b"] }, "event": { "topic": "order.created" } }),
    ]);
    (right, any::<prop::sample::Index>(), json_value()).prop_map(|(mut right, at, value)| {
        let names: Vec<_> = right.as_object().unwrap().keys().cloned().collect();
        right[at.get(&names)] = value;
        right
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let text = |value: Value| value.to_string().into_bytes();
    prop_oneof![
        4 => almost_right().prop_map(text),
        2 => json_value().prop_map(text),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => "[a-z_=&%0-9+]{0,80}".prop_map(String::into_bytes),
        1 => (almost_right(), any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(right, at, byte)| {
            let mut bytes = text(right);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        1 => (0_usize..1000).prop_map(|depth| [vec![b'['; depth], vec![b']'; depth]].concat()),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let methods =
        prop::sample::select(vec![Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]);
    let path = "(/(v1|webhooks|admin|conexion|wp-json|wu|v2|integration|oauth|api|jsonrpc|[a-z0-9._~%-]{0,12})){0,6}";
    let query = "((limit|cursor|page|since|until|state|topic|hours|event|tenant|fields|page_info|[a-z_]{1,8})=[!-~]{0,12}&){0,3}";
    let header = (
        "(content-type|accept|x-forwarded-for|cookie|[a-z-]{1,12})",
        prop::collection::vec(0x20_u8..=0xff, 0..40),
    );
    (
        (any::<usize>(), any::<usize>(), 0_usize..5),
        (
            prop::option::weighted(0.2, methods),
            prop::option::weighted(0.2, path),
            prop::option::weighted(0.3, query),
        ),
        header,
        body(),
    )
        .prop_map(|((route, chosen, key), (method, path, query), header, body)| Question {
            route,
            chosen,
            method,
            path,
            query,
            key,
            header,
            body,
        })
}

/// The request, and the function that gets it; none: HTTP itself knows no such thing.
fn request(service: &Service, question: &Question) -> Option<(Request, &'static str)> {
    let (method, pattern, function) = &ROUTES[question.route % ROUTES.len()];
    let mut path = question.path.clone().unwrap_or_else(|| service.filled(pattern, question.chosen));
    if let Some(query) = &question.query {
        path = format!("{path}?{query}");
    }
    let key = service.key.reveal();
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{key}")));
    let mut request = http::Request::builder().uri(path).method(question.method.as_ref().unwrap_or(method));
    request = match question.key {
        0 => request.header("authorization", format!("Bearer {key}")),
        1 => request.header("authorization", basic),
        2 => request.header("tiki-api", key),
        3 => request.header("x-sapo-access-token", key),
        _ => request,
    };
    request = request.header(&question.header.0, question.header.1.as_slice());
    request.body(Bytes::from(question.body.clone())).ok().map(|request| (request, function.as_str()))
}

/// What an answer says; an error if it is none of its API's.
fn said(name: &str, response: &Response) -> Result<Value, String> {
    let status = response.status();
    if status.is_server_error() {
        return Err("it is no fault of ours".into());
    }
    let kind = response.headers().get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap_or("?"));
    if response.body().is_empty() {
        return if status.is_client_error() { Err("it says nothing".into()) } else { Ok(Value::Null) };
    }
    if kind.starts_with("text/html") && status.as_u16() != 200 && name == "v1" {
        return Err("our own API has no pages".into());
    }
    if kind.starts_with("text/") {
        return Ok(Value::Null);
    }
    let body: Value = serde_json::from_slice(response.body()).map_err(|error| format!("{kind}: {error}"))?;
    let problem =
        kind == "application/problem+json" && body["status"] == status.as_u16() && body["type"].is_string();
    match name {
        "v1" if status.is_client_error() && !problem && body.get("events").is_none() => {
            Err("it is no problem".into())
        }
        _ if !kind.contains("json") => Err(format!("it is JSON, but says {kind}")),
        _ => Ok(body),
    }
}

async fn ask(question: &Question) -> Result<(), TestCaseError> {
    let service = Service::open().await;
    let Some((request, function)) = request(&service, question) else { return Ok(()) };
    let before = service.kept().await;
    let desk = match function {
        "PublishFunction" => Desk::Publish,
        "CredentialsFunction" => Desk::Credentials,
        _ => Desk::Registration,
    };
    let name = dialect::of(&request).name();
    let response = door::answer(&service.ports, desk, &request).await;
    let text = String::from_utf8_lossy(response.body()).into_owned();
    let body = said(name, &response).map_err(|wrong| {
        TestCaseError::fail(format!("{name}, {wrong}: {} {:.300} to {request:?}", response.status(), text))
    })?;
    // JSON-RPC refuses with 200.
    let is_refused =
        response.status().is_client_error() || body.get("error").is_some_and(|error| !error.is_null());
    if is_refused {
        let after = service.kept().await;
        prop_assert_eq!(before, after, "{} refused with {} {:.300}, and yet", name, response.status(), text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_has_an_answer_and_a_refusal_changes_nothing(question in question()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ask(&question))?;
    }
}
