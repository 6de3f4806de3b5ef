//! Things to store: valid, and no two alike.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use postrider::{
    filter::Filter,
    hint::Hint,
    model::{
        Attempt, Auth, AuthStyle, ClientCertificate, Credentials, Delivery, DeliveryState, Event, Failure,
        Format, Header, InFlight, KeptHeaders, KeyHash, KeyId, KeyRecord, Limits, Payload, Phases, Rate,
        Reply, Scope, Secret, SigningSecret, State, Tally, TargetUrl, Tenant, TenantId, TokenSource, Topic,
        TopicPattern, Webhook, WebhookId,
    },
    operation::PageRequest,
    ports::{Added, Store},
};
use uuid::Uuid;

pub(crate) const V1: &str = "v1";
pub(crate) const TIKI: &str = "tiki";
/// More webhooks than any test makes.
pub(crate) const MANY: usize = 1000;

fn count() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Now, in the microseconds that stores keep.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}

pub(crate) fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub(crate) fn millis(milliseconds: i64) -> SignedDuration {
    SignedDuration::from_millis(milliseconds)
}

/// A version 7 UUID; of the same millisecond, the later made sorts later.
pub(crate) fn uuid_at(at: Timestamp) -> Uuid {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&count().to_be_bytes());
    let since = u64::try_from(at.as_millisecond()).unwrap();
    uuid::Builder::from_unix_timestamp_millis(since, &random).into_uuid()
}

pub(crate) fn tenant_id() -> TenantId {
    format!("tenant-{}", count()).parse().unwrap()
}

pub(crate) fn topic(name: &str) -> Topic {
    name.parse().unwrap()
}

pub(crate) fn patterns(names: &[&str]) -> Vec<TopicPattern> {
    names.iter().map(|name| TopicPattern::try_from((*name).to_owned()).unwrap()).collect()
}

pub(crate) fn tenant(id: &TenantId) -> Tenant {
    Tenant { id: id.clone(), name: "Bên bán «1» ☃".into(), created_at: now() }
}

/// A tenant that is in the store.
pub(crate) async fn kept_tenant(store: &dyn Store) -> TenantId {
    let id = tenant_id();
    assert!(store.add_tenant(&tenant(&id)).await.unwrap());
    id
}

/// A webhook with something in every field.
pub(crate) fn webhook(tenant: &TenantId, dialect: &str, topics: &[&str]) -> Webhook {
    let made = now();
    let current = SigningSecret::generate(&count().to_be_bytes().repeat(3));
    let retiring = SigningSecret { retires_at: Some(made + secs(3600)), ..SigningSecret::generate(&[7; 24]) };
    let header = |name, value| Header::new(name, value).unwrap();
    Webhook {
        id: WebhookId(uuid_at(made)),
        tenant: tenant.clone(),
        number: 0,
        dialect: dialect.to_owned(),
        name: Some("orders → billing".into()),
        url: Some(TargetUrl::parse("https://例え.jp/hook?x=%20&y=1", false).unwrap()),
        topics: patterns(topics),
        filter: None,
        format: Format::Xml,
        attributes: [("own".to_owned(), serde_json::json!({ "a": [1, "é"] }))].into(),
        rules: serde_json::from_value(
            serde_json::json!({ "schedule": [5, 300], "success": [200, "202-204"] }),
        )
        .unwrap(),
        ordered: None,
        headers: vec![header("x-first", "a, b;c=\"d\""), header("x-second", "\t~ ")],
        limits: Limits {
            max_per_second: Rate::try_from(12.5).ok(),
            max_in_flight: InFlight::try_from(7).ok(),
        },
        state: State::Disabled { reason: "the receiver answered 410 Gone".into() },
        auth: Some(auths().swap_remove(2)),
        certificate: Some(certificate()),
        secrets: vec![current, retiring],
        key_pairs: vec![SigningSecret::generate_key_pair(&[3; 32])],
        tally: Tally::default(),
        created_at: made,
        updated_at: made,
    }
}

/// Each way of authentication.
pub(crate) fn auths() -> Vec<Auth> {
    let source = TokenSource {
        url: TargetUrl::parse("https://id.例え.jp/token?x=\"1\"", false).unwrap(),
        client_id: "é\"".into(),
        client_secret: Secret::new("hush\n\"☃"),
        scope: Some("hooks orders".into()),
        audience: None,
        style: AuthStyle::Body,
    };
    vec![
        Auth::Bearer(Secret::new("hush")),
        Auth::Basic(Credentials { id: "é\"".into(), secret: Secret::new("hush\\\"☃") }),
        Auth::ClientCredentials(Arc::new(source)),
    ]
}

/// A client certificate that signed itself.
pub(crate) fn certificate() -> ClientCertificate {
    static PEM: LazyLock<(String, String)> = LazyLock::new(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["shop.test".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    });
    ClientCertificate::parse(&PEM.0, Secret::new(PEM.1.as_str())).unwrap()
}

/// A webhook that is in the store, as the store has it.
pub(crate) async fn kept_webhook(store: &dyn Store, tenant: &TenantId, topics: &[&str]) -> Webhook {
    added(store.add_webhook(&webhook(tenant, V1, topics), false, MANY).await.unwrap())
}

pub(crate) fn added(added: Added) -> Webhook {
    match added {
        Added::Webhook(webhook) => *webhook,
        refused => panic!("{refused:?}"),
    }
}

pub(crate) fn key(tenant: Option<&TenantId>) -> KeyRecord {
    let id: KeyId = format!("{:016}", count()).parse().unwrap();
    KeyRecord {
        session_of: None,
        redirect_uris: vec!["https://app.example/callback?a=b".parse().unwrap()],
        grant: None,
        hash: KeyHash::of(&Secret::new(format!("prk_{id}"))),
        id,
        tenant: tenant.cloned(),
        scopes: vec![Scope::Publish, Scope::Manage],
        created_at: now(),
        expires_at: Some(now() + secs(86_400)),
    }
}

pub(crate) fn event_at(tenant: &TenantId, webhooks: &[WebhookId], at: Timestamp) -> Event {
    let uid = uuid_at(at);
    Event {
        tenant: tenant.clone(),
        id: format!("order:{}", uid.simple()).parse().unwrap(),
        uid,
        topic: topic("order.created"),
        payload: Payload::from_store(r#"{ "price": 1.10, "b": 1, "a": "é\u00e9" }"#.as_bytes()),
        payloads: [("sapo".to_owned(), Payload::from_store(r#"{ "id": 1.10 }"#.as_bytes()))].into(),
        metadata: [("channel".to_owned(), "é ☃".to_owned())].into(),
        occurred_at: Some(at - secs(60)),
        accepted_at: at,
        webhooks: Arc::from(webhooks),
        ordering_key: None,
        ordered: Vec::new(),
    }
}

pub(crate) fn event(tenant: &TenantId, webhooks: &[WebhookId]) -> Arc<Event> {
    Arc::new(event_at(tenant, webhooks, now()))
}

/// A delivery before anything is kept of it.
pub(crate) fn blank(tenant: &TenantId, webhook: WebhookId) -> Delivery {
    blank_at(tenant, webhook, now())
}

pub(crate) fn blank_at(tenant: &TenantId, webhook: WebhookId, at: Timestamp) -> Delivery {
    let event = event_at(tenant, &[webhook], at);
    Hint::again(&event, webhook).blank(&event)
}

pub(crate) fn some_webhook() -> WebhookId {
    WebhookId(uuid_at(now()))
}

/// The delivery after one attempt more.
pub(crate) fn attempted(delivery: &Delivery, state: DeliveryState, next: Option<Timestamp>) -> Delivery {
    let mut after = delivery.clone();
    let failed = state != DeliveryState::Delivered;
    after.add(Attempt {
        number: delivery.attempt_count + 1,
        at: now(),
        phases: Phases {
            dns_us: Some(1),
            connect_us: None,
            tls_us: Some(3),
            first_byte_us: Some(4),
            total_us: count(),
        },
        address: Some("[2001:db8::1]:443".into()),
        sent_headers: kept_headers("x-shop", if failed { 40 } else { 0 }),
        failure: failed.then_some(Failure::Status),
        detail: failed.then(|| "the receiver answered 500".into()),
        reply: Some(Reply {
            status: if failed { 500 } else { 204 },
            body: "Không ☃\n".into(),
            truncated: failed,
            headers: kept_headers("x-reason", usize::from(failed)),
        }),
    });
    after.state = state;
    after.next_attempt_at = next;
    after
}

/// So many headers, as a record keeps them.
fn kept_headers(name: &str, count: usize) -> KeptHeaders {
    let header =
        |n| (format!("{name}-{n}").parse().unwrap(), HeaderValue::from_bytes("é \"".as_bytes()).unwrap());
    KeptHeaders::of(&(0..count).map(header).collect::<HeaderMap>())
}

/// Who gets events of a topic, in order of age, whatever their filters; none: there is no such tenant.
pub(crate) async fn subscribers(store: &dyn Store, tenant: &TenantId, name: &str) -> Option<Vec<WebhookId>> {
    let found = store.matching(tenant, &topic(name)).await.unwrap()?;
    let mut ids: Vec<_> = found.all.iter().chain(found.choosy.iter().map(|(id, _)| id)).copied().collect();
    ids.sort_unstable();
    Some(ids)
}

/// A filter that takes one state in the payload.
pub(crate) fn filter(state: &str) -> Filter {
    Filter::of_events(&serde_json::json!({ "payload": { "state": [state, { "prefix": "é\"#" }] } })).unwrap()
}

pub(crate) fn all() -> PageRequest {
    PageRequest::all()
}
