//! Sapo (once Bizweb), both of its products: `/admin/webhooks.json`.
//!
//! The address is judged, and everything else about a webhook is read, here; where Sapo's documents say nothing, its
//! model's do (Shopify's REST API of 2018).

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call, Context, Dialect, Message, Posting, Request, Response, Table, answer,
    json::{Fields, Query},
    only, sapo_list, xml,
};
use crate::{
    access,
    bucket::Bucket,
    catalogue::Catalogue,
    error::Error,
    model::{Format, Secret, TargetUrl, TopicPattern, Webhook},
    operation::{Asked, Change, Draft, Operation, Outcome, PageRequest, Selector, TopicChange},
    retry, signing,
    verdict::{Rules, Success},
};

pub(super) struct Sapo;

const NAME: &str = "sapo";
const JSON: &str = "application/json; charset=utf-8";
/// The attribute that keeps the topic as the client named it, for two names may mean one topic.
const TOPIC: &str = "topic";

/// 5 s, and 19 retries within 48 hours (`sapo.md`, from sapogo.dev); how they are spaced is not published.
const RULES: Rules = Rules {
    success: Success::Any2xx,
    schedule: retry::SAPO,
    timeout: Duration::from_secs(5),
    connect_timeout: Duration::from_secs(5),
};

/// 40 calls, of which 2 leak out in a second.
const BUCKET: Bucket = Bucket { capacity: 40, leak: 2 };

/// What a path means.
enum Place {
    Webhooks,
    Count,
    Webhook(Option<u64>),
    Nowhere,
}

fn place(path: &str) -> Option<Place> {
    let rest = path.strip_prefix("/admin/")?;
    Some(match rest {
        "webhooks.json" => Place::Webhooks,
        "webhooks/count.json" => Place::Count,
        _ => match rest.strip_prefix("webhooks/").and_then(|name| name.strip_suffix(".json")) {
            Some(id) => Place::Webhook(id.parse().ok()),
            None => Place::Nowhere,
        },
    })
}

impl Dialect for Sapo {
    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, _: &Method, path: &str) -> bool {
        place(path).is_some()
    }

    fn decode(&self, request: &Request, catalogue: &Catalogue) -> Vec<Call> {
        vec![Call {
            credentials: credentials(request.headers()),
            operation: self.operation(request, catalogue),
        }]
    }

    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response {
        let mut response = match only(results).and_then(|outcome| self.success(outcome, context)) {
            Ok((status, body)) => answer(status, JSON, &body),
            Err(error) => self.failure(&error, context),
        };
        if let Some(level) = context.level
            && let Ok(limit) = HeaderValue::from_str(&format!("{level}/{}", BUCKET.capacity))
        {
            response.headers_mut().insert("x-sapo-api-call-limit", limit.clone());
            response.headers_mut().insert("x-bizweb-api-call-limit", limit);
        }
        response
    }

    fn bucket(&self) -> Option<Bucket> {
        Some(BUCKET)
    }

    fn table(&self) -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("sapo_topics.json")));
        &TABLE
    }

    fn refuses_twins(&self) -> bool {
        true
    }

    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error> {
        let webhook = &posting.target.webhook;
        let payload = posting.payload.as_bytes();
        let resource = posting.event.topic.resource();
        let (content_type, body) = match webhook.format {
            Format::Json => (JSON, payload.clone()),
            Format::Xml => ("application/xml; charset=utf-8", Bytes::from(xml::document(resource, payload)?)),
        };
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let mut set = |name: &'static str, value: &str| -> Result<(), Error> {
            let value = HeaderValue::from_str(value)
                .map_err(|_| Error::Internal(format!("a header {name} that cannot be sent")))?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        let topic = self.topic_named(webhook, posting.topic);
        set("x-sapo-topic", topic)?;
        set("x-bizweb-topic", topic)?;
        if let Some(granted) = &posting.target.credentials {
            let signature = signing::hmac_base64(&granted.secret, &body);
            set("x-sapo-hmac-sha256", &signature)?;
            set("x-bizweb-hmac-sha256", &signature)?;
        }
        // Each product has its own name for the store's host.
        set("x-sapo-tenant-domain", &format!("{}.mysapogo.com", webhook.tenant))?;
        set("x-sapo-shop-domain", &format!("{}.mysapo.net", webhook.tenant))?;
        if let Some(id) = object_id(payload) {
            set("x-sapo-object-id", &id)?;
            if resource == "order" {
                set("x-sapo-order-id", &id)?;
            }
        }
        set("x-sapo-webhook-address", webhook.url.as_ref().map_or("", TargetUrl::as_header))?;
        set("x-sapo-test", if posting.is_test { "true" } else { "false" })?;
        set("x-event-version", "1")?;
        Ok(Message { headers, body })
    }

    fn openapi(&self) -> Option<&'static str> {
        Some(include_str!("../../../docs/openapi/sapo.json"))
    }

    fn rules(&self) -> &'static Rules {
        &RULES
    }
}

/// The resource's `id`, if it has one that is a number or a short text.
fn object_id(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Resource {
        id: Value,
    }
    match serde_json::from_slice::<Resource>(payload).ok()?.id {
        Value::Number(id) => Some(id.to_string()),
        Value::String(id) if id.len() <= 64 && id.bytes().all(|b| b.is_ascii_graphic()) => Some(id),
        _ => None,
    }
}

/// OAuth apps' header under both of its names, private apps' HTTP Basic, and `Token` as the documents of 2018 have
/// it. Some clients send several at once.
fn credentials(headers: &HeaderMap) -> Vec<Secret> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let token = text("token").map(|value| value.strip_prefix("X-Sapo-Access-Token").unwrap_or(value).trim());
    let plain = [text("x-sapo-access-token"), text("x-bizweb-access-token"), token];
    plain.into_iter().flatten().map(Secret::new).chain(access::basic(headers)).collect()
}

/// What a body says of a webhook.
struct Said {
    topic: Option<String>,
    address: Option<String>,
    format: Option<String>,
}

fn said(request: &Request) -> Result<Said, Error> {
    // Whatever the content type: curl's own, a form's, is what the live API takes JSON under (`sapo.md`).
    let mut outer = Fields::of(request)?;
    let mut fields = match outer.value("webhook") {
        Some(Value::Object(fields)) => Fields::from(fields),
        Some(_) => return Err(Error::invalid("webhook", "must be an object")),
        None => return Err(Error::invalid("webhook", "Required parameter missing or invalid")),
    };
    // `id`, `fields`, `metafield_namespaces` and the like may come along.
    let mut text = |name| fields.text(name);
    Ok(Said { topic: text("topic")?, address: text("address")?, format: text("format")? })
}

impl Sapo {
    fn operation(&self, request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
        let operation = self.asked_for(request, catalogue)?;
        // Whatever the request: once something is done, its answer can no longer refuse the parameters.
        sapo_list::Filter::of(&Query::of(request))?;
        Ok(operation)
    }

    fn asked_for(&self, request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
        let asked = Asked { tenant: None, dialect: Some(NAME) };
        let one = |id: Option<u64>| id.map(Selector::Number).ok_or(Error::NotFound("webhook"));
        match (place(request.uri().path()), request.method().as_str()) {
            (Some(Place::Webhooks | Place::Count), "GET") => {
                Ok(Operation::ListWebhooks(asked, PageRequest::all()))
            }
            (Some(Place::Webhooks), "POST") => {
                Ok(Operation::CreateWebhook(asked, self.draft(request, catalogue)?))
            }
            (Some(Place::Webhook(id)), "GET") => Ok(Operation::GetWebhook(asked, one(id)?)),
            (Some(Place::Webhook(id)), "PUT") => {
                Ok(Operation::UpdateWebhook(asked, one(id)?, self.change(request, catalogue)?))
            }
            (Some(Place::Webhook(id)), "DELETE") => Ok(Operation::DeleteWebhook(asked, one(id)?)),
            (Some(Place::Webhooks | Place::Count | Place::Webhook(_)), _) => Err(Error::MethodNotAllowed),
            _ => Err(Error::NotFound("path")),
        }
    }

    fn draft(&self, request: &Request, catalogue: &Catalogue) -> Result<Draft, Error> {
        let said = said(request)?;
        if let Some(field) = self.faults(&said, true, catalogue).keys().next() {
            return Err(Error::invalid(field, "is not acceptable"));
        }
        let topic = said.topic.unwrap_or_default();
        Ok(Draft {
            format: format(said.format.as_deref()).unwrap_or_default(),
            attributes: [(TOPIC.to_owned(), json!(topic))].into(),
            ..Draft::new(
                NAME,
                said.address.unwrap_or_default(),
                self.pattern(&topic, catalogue).into_iter().collect(),
            )
        })
    }

    fn change(&self, request: &Request, catalogue: &Catalogue) -> Result<Change, Error> {
        let said = said(request)?;
        if let Some(field) = self.faults(&said, false, catalogue).keys().next() {
            return Err(Error::invalid(field, "is not acceptable"));
        }
        Ok(Change {
            url: said.address,
            topics: said
                .topic
                .as_deref()
                .map(|topic| TopicChange::All(self.pattern(topic, catalogue).into_iter().collect())),
            format: said.format.as_deref().and_then(|text| format(Some(text))),
            attributes: said.topic.map(|topic| (TOPIC.to_owned(), json!(topic))).into_iter().collect(),
            ..Change::default()
        })
    }

    fn pattern(&self, topic: &str, catalogue: &Catalogue) -> Option<TopicPattern> {
        catalogue.canonical(self, topic).map(TopicPattern::One)
    }

    /// All that is wrong with a body, each field with its reasons, as a 422 tells them.
    fn faults(&self, said: &Said, whole: bool, catalogue: &Catalogue) -> serde_json::Map<String, Value> {
        let mut faults = serde_json::Map::new();
        let blank = |text: &Option<String>| match text {
            None => whole,
            Some(text) => text.trim().is_empty(),
        };
        let mut topic = Vec::new();
        if blank(&said.topic) {
            topic.push("can't be blank".to_owned());
        }
        if blank(&said.topic)
            || said.topic.as_deref().is_some_and(|topic| self.pattern(topic, catalogue).is_none())
        {
            let allowed: Vec<_> = catalogue.own_names(self).map(|(_, own)| own).collect();
            topic.push(format!("Invalid topic specified. Topics allowed: {}", allowed.join(", ")));
        }
        if !topic.is_empty() {
            faults.insert("topic".into(), json!(topic));
        }
        if blank(&said.address) {
            faults.insert("address".into(), json!(["can't be blank"]));
        }
        if said.format.is_some() && format(said.format.as_deref()).is_none() {
            faults.insert("format".into(), json!(["must be json or xml"]));
        }
        faults
    }

    /// The topic as its client named it; if our own API has changed it since, by its first name.
    fn topic_of<'a>(&self, webhook: &'a Webhook, catalogue: &'a Catalogue) -> &'a str {
        let Some(pattern) = webhook.topics.first() else { return "" };
        self.topic_named(webhook, catalogue.own_pattern(self, pattern))
    }

    /// The name that the client chose for a topic, if it has several of which `name` is one.
    fn topic_named<'a>(&self, webhook: &'a Webhook, name: &'a str) -> &'a str {
        let table = self.table();
        let kept = webhook.attributes.get(TOPIC).and_then(Value::as_str);
        let same =
            |kept: &&str| table.canonical(name).is_some_and(|topic| table.canonical(kept) == Some(topic));
        kept.filter(same).unwrap_or(name)
    }

    fn view(&self, webhook: &Webhook, catalogue: &Catalogue) -> serde_json::Map<String, Value> {
        let time = |at: jiff::Timestamp| json!(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let format = match webhook.format {
            Format::Json => "json",
            Format::Xml => "xml",
        };
        [
            ("id", json!(webhook.number)),
            ("address", json!(webhook.address())),
            ("format", json!(format)),
            ("topic", json!(self.topic_of(webhook, catalogue))),
            ("created_on", time(webhook.created_at)),
            ("modified_on", time(webhook.updated_at)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    fn success(&self, outcome: Outcome, context: Context<'_>) -> Result<(StatusCode, Value), Error> {
        let Context { request, catalogue, .. } = context;
        let filter = sapo_list::Filter::of(&Query::of(request))?;
        Ok(match outcome {
            Outcome::WebhookCreated(webhook) => {
                (StatusCode::CREATED, json!({ "webhook": self.view(&webhook, catalogue) }))
            }
            Outcome::Webhook(webhook) => {
                (StatusCode::OK, json!({ "webhook": filter.shown(self.view(&webhook, catalogue)) }))
            }
            Outcome::Webhooks(page) => {
                let passing = page
                    .items
                    .iter()
                    .filter(|webhook| filter.passes(webhook, self.topic_of(webhook, catalogue)));
                let body = if matches!(place(request.uri().path()), Some(Place::Count)) {
                    json!({ "count": passing.count() })
                } else {
                    let views = filter.page(passing.collect());
                    let views = views.into_iter().map(|webhook| filter.shown(self.view(webhook, catalogue)));
                    json!({ "webhooks": views.collect::<Vec<_>>() })
                };
                (StatusCode::OK, body)
            }
            Outcome::Deleted => (StatusCode::OK, json!({})),
            other => {
                return Err(Error::Internal(format!(
                    "an outcome that Sapo's API has no words for: {other:?}"
                )));
            }
        })
    }

    fn failure(&self, error: &Error, context: Context<'_>) -> Response {
        let Context { request, catalogue, .. } = context;
        let whole = request.method() == Method::POST;
        let faults = match error {
            Error::Invalid { .. } => {
                said(request).map(|said| self.faults(&said, whole, catalogue)).unwrap_or_default()
            }
            _ => serde_json::Map::new(),
        };
        let (status, errors) = match error {
            _ if !faults.is_empty() => (StatusCode::UNPROCESSABLE_ENTITY, Value::Object(faults)),
            Error::Invalid { field, reason } => {
                let field = if field == "url" { "address" } else { field };
                (StatusCode::UNPROCESSABLE_ENTITY, json!({ field: [reason] }))
            }
            Error::Malformed(_) | Error::UnknownTopic(_) | Error::Conflict(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, json!(error.to_string()))
            }
            Error::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                json!("[API] Invalid API key or access token (unrecognized login or wrong password)"),
            ),
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, json!(error.to_string())),
            Error::NotFound(_) => (StatusCode::NOT_FOUND, json!("Not Found")),
            Error::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, json!("Method Not Allowed")),
            Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, json!(error.to_string())),
            Error::Quota(_) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "base": [error.to_string()] })),
            Error::Throttled(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                json!(
                    "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service."
                ),
            ),
            Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, json!(error.to_string())),
            Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, json!(error.to_string())),
        };
        let mut response = answer(status, JSON, &json!({ "errors": errors }));
        if let Error::Throttled(seconds) = error {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        response
    }
}

/// Which format a text names; none given is JSON.
fn format(text: Option<&str>) -> Option<Format> {
    match text {
        None | Some("json") => Some(Format::Json),
        Some("xml") => Some(Format::Xml),
        Some(_) => None,
    }
}
