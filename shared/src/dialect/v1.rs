//! Our own API, `/v1`: JSON, bearer keys, RFC 9457 problems, cursor pagination.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Call, Context, Dialect, Message, Posting, Request, Response, Table,
    json::{Fields, Query},
    only, v1_auth, v1_delivery, v1_events, v1_filters, v1_history, v1_limits, v1_lines, v1_polling,
    v1_replays, v1_undelivered, v1_views,
};
use crate::{
    access,
    catalogue::Catalogue,
    error::Error,
    model::{EventId, Header, RedirectUri, Secret, Signature, TenantId, Topic, TopicPattern},
    operation::{
        Asked, Change, Document, Draft, Operation, Outcome, PageRequest, Selector, TestDraft, TopicChange,
        TopicDraft,
    },
    verdict::Rules,
};

pub(super) struct V1;

const NAME: &str = "v1";
pub(super) const JSON: &str = "application/json";
/// Redirect URIs of one key at most.
const MAX_REDIRECT_URIS: usize = 10;
/// Topics and headers of one webhook at most.
const MAX_LIST: usize = 100;

impl Dialect for V1 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, _: &Method, _: &str) -> bool {
        true
    }

    fn decode(&self, request: &Request, catalogue: &Catalogue) -> Vec<Call> {
        let credentials = access::bearer(request.headers()).into_iter().collect();
        vec![Call { credentials, operation: operation(request, catalogue) }]
    }

    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response {
        match only(results) {
            Ok(Outcome::Published(receipts)) => {
                v1_views::published(context, receipts, v1_events::is_batch(context.request.body()))
            }
            Ok(outcome) => v1_views::success(outcome),
            Err(error) => v1_views::problem(context, &error),
        }
    }

    fn table(&self) -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("v1_topics.json")));
        &TABLE
    }

    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error> {
        /// The payload structure that the Standard Webhooks specification recommends.
        #[derive(Serialize)]
        struct Head<'a> {
            id: &'a EventId,
            r#type: &'a str,
            timestamp: Timestamp,
        }
        let event = posting.event;
        let timestamp = event.occurred_at.unwrap_or(event.accepted_at);
        let head = Head { id: &event.id, r#type: event.topic.as_str(), timestamp };
        let body = posting.payload.in_envelope(&head, "data")?;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(granted) = &posting.target.credentials {
            let mut value = HeaderValue::from_str(granted.authorization().reveal())
                .map_err(|_| Error::Internal("credentials that cannot be sent".into()))?;
            value.set_sensitive(true);
            headers.insert(http::header::AUTHORIZATION, value);
        }
        Ok(Message { headers, body: Bytes::from(body) })
    }

    fn openapi(&self) -> Option<&'static str> {
        Some(include_str!("../../../docs/openapi/v1.json"))
    }

    fn rules(&self) -> &'static Rules {
        &Rules::STANDARD
    }
}

fn operation(request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
    let path = request.uri().path();
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
    match (parts.next(), parts.clone().next()) {
        (Some("v1"), _) => {}
        (Some(name @ ("openapi.json" | "openrpc.json")), None) if request.method() == Method::GET => {
            let rpc = name == "openrpc.json";
            return Ok(Operation::Describe(if rpc { Document::OpenRpc } else { Document::OpenApi }));
        }
        (Some("openapi.json" | "openrpc.json"), None) => return Err(Error::MethodNotAllowed),
        (Some(".well-known"), Some("jwks.json")) if parts.clone().count() == 1 => {
            let is_read = request.method() == Method::GET;
            return is_read.then(|| v1_auth::public_keys(request)).ok_or(Error::MethodNotAllowed);
        }
        _ => return Err(Error::NotFound("path")),
    }
    let parts: Vec<&str> = parts.collect();
    let method = request.method().as_str();
    match (method, parts.as_slice()) {
        ("GET", ["health"]) => Ok(Operation::CheckHealth),
        ("POST", ["events"]) => v1_events::publish(request.body(), catalogue),
        (_, ["topics", ..]) => topics_desk(request, method, &parts[1..]),
        (_, ["tenants", ..]) => tenants(request, method, &parts[1..]),
        (_, ["webhooks", ..]) => webhooks(request, catalogue, method, &parts[1..]),
        (_, ["replays", ..]) => v1_replays::operation(request, catalogue, method, &parts[1..]),
        ("GET", ["undelivered"]) => v1_undelivered::list(request, catalogue),
        ("GET", ["deliveries", id]) => {
            let id = id.parse().map_err(|_| Error::NotFound("delivery"))?;
            Ok(Operation::GetDelivery(asked(request)?, id))
        }
        ("POST", ["deliveries", id, "retry"]) => {
            let id = id.parse().map_err(|_| Error::NotFound("delivery"))?;
            Ok(Operation::RetryDelivery(asked(request)?, id))
        }
        ("DELETE", ["deliveries", id]) => {
            let id = id.parse().map_err(|_| Error::NotFound("delivery"))?;
            Ok(Operation::GiveUp(asked(request)?, id))
        }
        ("PUT", ["credentials"]) => {
            let mut fields = Fields::of(request)?;
            let asked = Asked { tenant: fields.parsed("tenant")?, dialect: None };
            let id = fields.required("id")?;
            let secret = Secret::new(fields.required("secret")?);
            fields.end()?;
            Ok(Operation::GrantCredentials { asked, id, secret })
        }
        ("POST", ["filters", "test"]) => v1_filters::test(request, catalogue),
        (
            _,
            ["health" | "events" | "credentials" | "undelivered"]
            | ["deliveries", _]
            | ["deliveries", _, "retry"]
            | ["filters", "test"],
        ) => Err(Error::MethodNotAllowed),
        _ => Err(Error::NotFound("path")),
    }
}

fn topics_desk(request: &Request, method: &str, parts: &[&str]) -> Result<Operation, Error> {
    let topic = |text: &str| text.parse().map_err(|_| Error::NotFound("topic"));
    match (method, parts) {
        ("GET", []) => Ok(Operation::ListTopics(page(request)?)),
        ("GET", [name]) => Ok(Operation::GetTopic(topic(name)?)),
        ("PUT", [name]) => Ok(Operation::PutTopic(topic_draft(request, name)?)),
        ("DELETE", [name]) => Ok(Operation::DeleteTopic(topic(name)?)),
        (_, [] | [_]) => Err(Error::MethodNotAllowed),
        _ => Err(Error::NotFound("path")),
    }
}

fn topic_draft(request: &Request, name: &str) -> Result<TopicDraft, Error> {
    let mut fields = Fields::of(request)?;
    let mut map = |name: &str| match fields.value(name) {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Error::invalid(name, "must be an object by dialect")),
    };
    let text = |(dialect, name): (String, Value)| match name {
        Value::String(name) if !name.is_empty() => Ok((dialect, name)),
        _ => Err(Error::invalid("names", "must be texts by dialect")),
    };
    let names = map("names")?.into_iter().map(text).collect::<Result<_, _>>()?;
    let samples = map("samples")?.into_iter().collect();
    let description = fields.text("description")?;
    if description.as_ref().is_some_and(|text| text.chars().count() > 1000) {
        return Err(Error::invalid("description", "must be at most 1,000 characters"));
    }
    let draft = TopicDraft {
        topic: name.parse().map_err(Error::field("topic"))?,
        description,
        schema: fields.value("schema"),
        names,
        sample: fields.value("sample"),
        samples,
    };
    fields.end()?;
    Ok(draft)
}

fn tenants(request: &Request, method: &str, parts: &[&str]) -> Result<Operation, Error> {
    let tenant = |text: &str| text.parse::<TenantId>().map_err(|_| Error::NotFound("tenant"));
    match (method, parts) {
        ("POST", []) => {
            let mut fields = Fields::of(request)?;
            let id = fields.parsed("id")?.ok_or_else(|| Error::invalid("id", "is required"))?;
            let name = name(&mut fields)?.unwrap_or_default();
            fields.end()?;
            Ok(Operation::CreateTenant { id, name })
        }
        ("GET", []) => Ok(Operation::ListTenants(page(request)?)),
        ("GET", [id]) => Ok(Operation::GetTenant(tenant(id)?)),
        ("DELETE", [id]) => Ok(Operation::DeleteTenant(tenant(id)?)),
        ("POST", [id, "keys"]) => {
            let tenant = tenant(id)?;
            let mut fields = Fields::of(request)?;
            let scopes = fields.value("scopes").ok_or_else(|| Error::invalid("scopes", "is required"))?;
            let scopes = serde_json::from_value(scopes).map_err(|_| {
                Error::invalid("scopes", "must be a list of admin, publish, manage, read and write")
            })?;
            let expires_at = time(&mut fields, "expires_at")?;
            let redirect_uris = redirect_uris(&mut fields)?;
            fields.end()?;
            Ok(Operation::CreateKey { tenant, scopes, expires_at, redirect_uris })
        }
        ("GET", [id, "keys"]) => Ok(Operation::ListKeys(tenant(id)?, page(request)?)),
        ("DELETE", [id, "keys", key]) => {
            Ok(Operation::DeleteKey(tenant(id)?, key.parse().map_err(|_| Error::NotFound("key"))?))
        }
        (_, [] | [_] | [_, "keys"] | [_, "keys", _]) => Err(Error::MethodNotAllowed),
        _ => Err(Error::NotFound("path")),
    }
}

fn redirect_uris(fields: &mut Fields) -> Result<Vec<RedirectUri>, Error> {
    let texts = fields.texts("redirect_uris")?.unwrap_or_default();
    if texts.len() > MAX_REDIRECT_URIS {
        return Err(Error::invalid("redirect_uris", "must be at most 10"));
    }
    let parse = |text: &String| text.parse().map_err(Error::field("redirect_uris"));
    texts.iter().map(parse).collect()
}

fn webhooks(
    request: &Request,
    catalogue: &Catalogue,
    method: &str,
    parts: &[&str],
) -> Result<Operation, Error> {
    let id = |text: &str| text.parse().map_err(|_| Error::NotFound("webhook"));
    let which = |text: &str| id(text).map(Selector::Id);
    match (method, parts) {
        ("POST", []) => register(request, catalogue),
        ("GET", []) => Ok(Operation::ListWebhooks(asked(request)?, page(request)?)),
        ("GET", [id]) => Ok(Operation::GetWebhook(asked(request)?, which(id)?)),
        ("PATCH", [id]) => {
            Ok(Operation::UpdateWebhook(asked(request)?, which(id)?, change(request, catalogue)?))
        }
        ("DELETE", [id]) => Ok(Operation::DeleteWebhook(asked(request)?, which(id)?)),
        ("POST", [id, "secret", "rotate"]) => Ok(Operation::RotateSecret(asked(request)?, which(id)?)),
        ("GET", [id, "health"]) => Ok(Operation::GetHealth(asked(request)?, which(id)?)),
        ("GET", [id, "parked"]) => Ok(Operation::CountParked(asked(request)?, which(id)?)),
        ("DELETE", [id, "parked"]) => Ok(Operation::Discard(asked(request)?, which(id)?)),
        ("GET", [id, "events"]) => {
            Ok(Operation::Poll(asked(request)?, which(id)?, v1_polling::poll(request)?))
        }
        ("POST", [id, "test"]) => {
            let test = TestDraft { topic: test_topic(request, catalogue)?, url: None };
            Ok(Operation::SendTest(asked(request)?, which(id)?, test))
        }
        ("GET", [text, "deliveries"]) => {
            let sought = v1_history::sought(request, catalogue)?;
            Ok(Operation::ListDeliveries(asked(request)?, id(text)?, sought, page(request)?))
        }
        ("GET", [id, "stats"]) => {
            Ok(Operation::GetStats(asked(request)?, which(id)?, v1_history::hours(request)?))
        }
        (
            _,
            []
            | [_]
            | [_, "secret", "rotate"]
            | [_, "deliveries" | "events" | "health" | "parked" | "stats" | "test"],
        ) => Err(Error::MethodNotAllowed),
        _ => Err(Error::NotFound("path")),
    }
}

pub(super) fn asked(request: &Request) -> Result<Asked, Error> {
    Ok(Asked { tenant: Query::of(request).parsed("tenant")?, dialect: None })
}

pub(super) fn page(request: &Request) -> Result<PageRequest, Error> {
    let query = Query::of(request);
    let limit = match query.get("limit") {
        None => PageRequest::DEFAULT,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=PageRequest::MAX) => limit,
            _ => return Err(Error::invalid("limit", "must be a number from 1 to 250")),
        },
    };
    let after = query.get("cursor").map(|text| read_cursor(text).ok_or(text)).transpose();
    Ok(PageRequest { limit, after: after.map_err(|_| Error::invalid("cursor", "is not one that we gave"))? })
}

/// A cursor is the store's own word for where a page ended, wrapped so that nobody builds on its look.
pub(super) fn write_cursor(after: &str) -> String {
    URL_SAFE_NO_PAD.encode(after)
}

fn read_cursor(text: &str) -> Option<String> {
    // An empty one would begin again, and a client that took null for it would never end.
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok().filter(|after| !after.is_empty())
}

fn register(request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
    let mut fields = Fields::of(request)?;
    let asked = Asked { tenant: fields.parsed("tenant")?, dialect: None };
    let name = name(&mut fields)?;
    let url = match fields.flag("polled")? {
        Some(true) => v1_polling::sent_nothing(&mut fields).map(|()| None)?,
        _ => Some(fields.required("url")?),
    };
    let topics = topics(&mut fields, catalogue)?.ok_or_else(|| Error::invalid("topics", "is required"))?;
    let headers = headers(&mut fields)?.unwrap_or_default();
    let filter = v1_filters::filter(&mut fields)?;
    let ordered = v1_lines::ordered(&mut fields, url.is_none())?;
    let draft = Draft {
        name,
        filter,
        headers,
        ordered,
        rules: v1_delivery::rules(&mut fields)?,
        limits: v1_limits::limits(&mut fields)?,
        auth: v1_auth::auth(&mut fields)?,
        certificate: v1_auth::certificate(&mut fields)?,
        signed: Some(v1_auth::signature(&mut fields)?.unwrap_or(Signature::Hmac)),
        ..Draft::new(NAME, url, topics)
    };
    fields.end()?;
    Ok(Operation::CreateWebhook(asked, draft))
}

fn change(request: &Request, catalogue: &Catalogue) -> Result<Change, Error> {
    let mut fields = Fields::of(request)?;
    let change = Change {
        name: fields.has("name").then(|| name(&mut fields)).transpose()?,
        url: fields.text("url")?,
        topics: topics(&mut fields, catalogue)?.map(TopicChange::All),
        filter: fields.has("filter").then(|| v1_filters::filter(&mut fields)).transpose()?,
        headers: headers(&mut fields)?,
        rules: fields.has("delivery").then(|| v1_delivery::rules(&mut fields)).transpose()?,
        auth: fields.has("auth").then(|| v1_auth::auth(&mut fields)).transpose()?,
        certificate: fields
            .has("client_certificate")
            .then(|| v1_auth::certificate(&mut fields))
            .transpose()?,
        signature: v1_auth::signature(&mut fields)?,
        max_per_second: fields.has("max_per_second").then(|| v1_limits::rate(&mut fields)).transpose()?,
        max_in_flight: fields.has("max_in_flight").then(|| v1_limits::in_flight(&mut fields)).transpose()?,
        active: fields.flag("active")?,
        ..Change::default()
    };
    fields.end()?;
    Ok(change)
}

/// The topic that a test event is to be of; a request without a body leaves it open.
fn test_topic(request: &Request, catalogue: &Catalogue) -> Result<Option<Topic>, Error> {
    if request.body().is_empty() {
        return Ok(None);
    }
    let mut fields = Fields::of(request)?;
    let name = fields.text("topic")?;
    fields.end()?;
    name.map(|name| catalogue.topic(&name).ok_or(Error::UnknownTopic(name))).transpose()
}

fn name(fields: &mut Fields) -> Result<Option<String>, Error> {
    let name = fields.text("name")?;
    if name.as_ref().is_some_and(|name| name.chars().count() > 200 || name.chars().any(char::is_control)) {
        return Err(Error::invalid("name", "must be at most 200 characters, without control characters"));
    }
    Ok(name)
}

fn topics(fields: &mut Fields, catalogue: &Catalogue) -> Result<Option<Vec<TopicPattern>>, Error> {
    let Some(names) = fields.texts("topics")? else { return Ok(None) };
    if names.is_empty() || names.len() > MAX_LIST {
        return Err(Error::invalid("topics", "must name 1 to 100 topics"));
    }
    let pattern = |name: String| {
        let known = || catalogue.topic(&name).map(TopicPattern::One);
        let pattern = TopicPattern::try_from(name.clone()).ok().or_else(known);
        pattern.ok_or_else(|| Error::invalid("topics", format!("no topic is called {name:?}")))
    };
    let mut patterns = names.into_iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
    patterns.sort();
    patterns.dedup();
    Ok(Some(patterns))
}

fn headers(fields: &mut Fields) -> Result<Option<Vec<Header>>, Error> {
    let wrong = || Error::invalid("headers", "must be an object of strings");
    match fields.value("headers") {
        None => Ok(None),
        Some(serde_json::Value::Object(map)) if map.len() <= MAX_LIST => {
            let header = |(name, value): (String, serde_json::Value)| {
                Header::new(&name, value.as_str().ok_or_else(wrong)?).map_err(Error::field("headers"))
            };
            map.into_iter().map(header).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(wrong()),
    }
}

pub(super) fn time(fields: &mut Fields, name: &str) -> Result<Option<Timestamp>, Error> {
    let parse = |text: String| text.parse().map_err(|_| Error::invalid(name, "must be an RFC 3339 time"));
    fields.text(name)?.map(parse).transpose()
}
