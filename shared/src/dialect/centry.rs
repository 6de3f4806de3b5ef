//! Centry's API: `/conexion/v1/webhooks.json`, a flag for each topic, notifications that name what changed and no more.
//!
//! Its clients are lenient with paths: a doubled slash in front, a `?` or a space behind (`centry.md`).

use std::{cmp::Ordering, collections::BTreeMap, sync::LazyLock, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use jiff::{
    SignedDuration, Timestamp,
    tz::{Offset, TimeZone},
};
use serde_json::{Map, Value, json};

use super::{
    Call, Context, Dialect, Message, Posting, Request, Response, Table, answer,
    json::{Fields, Query},
    oauth::{Endpoint, Profile},
    only,
};
use crate::{
    access,
    catalogue::Catalogue,
    error::Error,
    model::{Payload, Scope, TenantId, Topic, TopicPattern, Webhook},
    oauth::{Terms, Word},
    operation::{Asked, Change, Draft, Operation, Outcome, PageRequest, Selector, TopicChange},
    retry,
    verdict::{Rules, Success},
};

pub(super) struct Centry;

const NAME: &str = "centry";
const JSON: &str = "application/json; charset=utf-8";
/// The hours of the samples are Chile's summer time.
const CHILE: TimeZone = TimeZone::fixed(Offset::constant(-3));

/// "Exactly 200 in 15 s, every 5 minutes for 48 hours" (`centry.md`).
const RULES: Rules = Rules {
    success: Success::Exactly200,
    schedule: retry::CENTRY,
    timeout: Duration::from_secs(15),
    connect_timeout: Duration::from_secs(5),
};

/// As its chapter on authentication has it: Doorkeeper's.
static OAUTH: Profile = Profile {
    terms: Terms {
        dialect: NAME,
        words: &WORDS,
        default: "public read_webhook write_webhook",
        lifetime: SignedDuration::from_secs(7200),
        refreshed_with: None,
    },
    authorize: "/oauth/authorize",
    token: "/oauth/token",
    json: JSON,
    tokens: &["access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at"],
    denied: &[],
};

/// Only two of Centry's scopes are about webhooks.
const WORDS: [Word; 13] = [
    Word { name: "public", opens: &[] },
    Word { name: "read_webhook", opens: &[Scope::Read] },
    Word { name: "write_webhook", opens: &[Scope::Write] },
    Word { name: "read_orders", opens: &[] },
    Word { name: "write_orders", opens: &[] },
    Word { name: "read_products", opens: &[] },
    Word { name: "write_products", opens: &[] },
    Word { name: "read_integration_config", opens: &[] },
    Word { name: "write_integration_config", opens: &[] },
    Word { name: "read_user", opens: &[] },
    Word { name: "write_user", opens: &[] },
    Word { name: "read_warehouses", opens: &[] },
    Word { name: "write_warehouses", opens: &[] },
];

/// What a path means.
enum Place<'a> {
    Webhooks,
    Webhook(&'a str),
    /// As the seed's section on deleting has it, a slip that its clients may have copied.
    ToDelete(&'a str),
    OAuth(Endpoint),
    Nowhere,
}

fn place(path: &str) -> Option<Place<'_>> {
    let path = path.strip_prefix('/').filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let path = path.strip_suffix("%20").unwrap_or(path);
    if let Some(endpoint) = OAUTH.endpoint(path) {
        return Some(Place::OAuth(endpoint));
    }
    let rest = path.strip_prefix("/conexion/")?;
    let id = |folder: &str| rest.strip_prefix(folder)?.strip_suffix(".json");
    let object = || id("v1/webhooks/").map(Place::Webhook).or_else(|| id("v1/webhook/").map(Place::ToDelete));
    Some(match rest {
        "v1/webhooks.json" => Place::Webhooks,
        _ => object().unwrap_or(Place::Nowhere),
    })
}

impl Dialect for Centry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, _: &Method, path: &str) -> bool {
        place(path).is_some()
    }

    fn decode(&self, request: &Request, catalogue: &Catalogue) -> Vec<Call> {
        if let Some(Place::OAuth(endpoint)) = place(request.uri().path()) {
            return OAUTH.decode(endpoint, request);
        }
        let credentials = access::bearer(request.headers()).into_iter().collect();
        vec![Call { credentials, operation: operation(self, request, catalogue) }]
    }

    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response {
        if let Some(Place::OAuth(endpoint)) = place(context.request.uri().path()) {
            return OAUTH.encode(endpoint, context, only(results));
        }
        match only(results).and_then(|outcome| success(self, outcome, context)) {
            Ok(body) => answer(StatusCode::OK, JSON, &body),
            Err(error) => failure(&error),
        }
    }

    fn table(&self) -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("centry_topics.json")));
        &TABLE
    }

    fn may_name(&self, name: &str) -> bool {
        // A flag stands among an object's other fields.
        name.starts_with("on_")
    }

    fn lack(&self, topic: &Topic, payload: &Payload) -> Option<String> {
        let field = format!("{}_id", topic.resource());
        let lacks = changed_id(payload.as_bytes(), &field).is_none();
        lacks.then(|| format!("must have {field}, _id or id, a number or a text"))
    }

    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error> {
        let event = posting.event;
        let field = format!("{}_id", event.topic.resource());
        let id = changed_id(posting.payload.as_bytes(), &field)
            .ok_or_else(|| Error::Internal(format!("the payload has no {field}, _id or id")))?;
        let body = serde_json::to_vec(&json!({ "topic": posting.topic, field: id }))
            .map_err(|error| Error::Internal(format!("writing a message: {error}")))?;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Message { headers, body: Bytes::from(body) })
    }

    fn openapi(&self) -> Option<&'static str> {
        Some(include_str!("../../../docs/openapi/centry.json"))
    }

    fn rules(&self) -> &'static Rules {
        &RULES
    }
}

/// What a payload is about: `product_id` and the like, or else its own `_id` or `id`.
fn changed_id(payload: &[u8], field: &str) -> Option<Value> {
    let fields: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    [field, "_id", "id"]
        .iter()
        .filter_map(|name| fields.get(*name))
        .find(|id| id.is_number() || id.as_str().is_some_and(|id| !id.is_empty()))
        .cloned()
}

/// 24 hexadecimal digits, as Mongo's are, and in order of age: the webhook's number.
fn object_id(webhook: &Webhook) -> String {
    format!("{:024x}", webhook.number)
}

fn number(id: &str) -> Result<u64, Error> {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let digits = Some(id).filter(|id| id.len() == 24 && hex(id));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Error::NotFound("webhook"))
}

/// A company's id: Centry's are 24 hexadecimal digits, ours are names.
fn company_id(tenant: &TenantId) -> String {
    let hash = digest(&SHA256, tenant.as_str().as_bytes());
    let start = hash.as_ref().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
    format!("{:024x}", start >> 32)
}

fn operation(centry: &Centry, request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
    let asked = Asked { tenant: None, dialect: Some(NAME) };
    let one = |id: &str| number(id).map(Selector::Number);
    match (place(request.uri().path()), request.method().as_str()) {
        (Some(Place::Webhooks), "GET") => {
            Filter::of(&Query::of(request))?;
            Ok(Operation::ListWebhooks(asked, PageRequest::all()))
        }
        (Some(Place::Webhooks), "POST") => {
            let mut fields = Fields::of(request)?;
            let url = fields.required("callback_url")?;
            let topics = topics(&flags(centry, &mut fields, catalogue)?, true);
            Ok(Operation::CreateWebhook(asked, Draft::new(NAME, url, topics)))
        }
        (Some(Place::Webhook(id)), "GET") => Ok(Operation::GetWebhook(asked, one(id)?)),
        (Some(Place::Webhook(id)), "PUT") => {
            let mut fields = Fields::of(request)?;
            let url = fields.text("callback_url")?;
            let flags = flags(centry, &mut fields, catalogue)?;
            let (add, remove) = (topics(&flags, true), topics(&flags, false));
            let change = Change { url, topics: Some(TopicChange::Some { add, remove }), ..Change::default() };
            Ok(Operation::UpdateWebhook(asked, one(id)?, change))
        }
        (Some(Place::Webhook(id) | Place::ToDelete(id)), "DELETE") => {
            Ok(Operation::DeleteWebhook(asked, one(id)?))
        }
        (Some(Place::Webhooks | Place::Webhook(_) | Place::ToDelete(_)), _) => Err(Error::MethodNotAllowed),
        _ => Err(Error::NotFound("path")),
    }
}

/// The topics of each flag: one flag stands for all that saves a thing.
fn by_flag<'a>(centry: &'a Centry, catalogue: &'a Catalogue) -> BTreeMap<&'a str, Vec<&'a Topic>> {
    let mut flags: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (topic, name) in catalogue.own_names(centry) {
        flags.entry(name).or_default().push(topic);
    }
    flags
}

/// The flags that a body sets. What else it has (an object read before, changed and sent back) is let pass.
fn flags(
    centry: &Centry,
    fields: &mut Fields,
    catalogue: &Catalogue,
) -> Result<Vec<(TopicPattern, bool)>, Error> {
    let mut flags = Vec::new();
    for (name, topics) in by_flag(centry, catalogue) {
        if let Some(set) = fields.flag(name)? {
            flags.extend(topics.into_iter().map(|topic| (TopicPattern::One(topic.clone()), set)));
        }
    }
    Ok(flags)
}

/// The topics of all flags that are set so.
fn topics(flags: &[(TopicPattern, bool)], set: bool) -> Vec<TopicPattern> {
    flags.iter().filter(|(_, flag)| *flag == set).map(|(topic, _)| topic.clone()).collect()
}

fn time(at: Timestamp) -> String {
    at.to_zoned(CHILE).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
}

/// An object, its fields in the order of the samples: the flags by name.
fn view(centry: &Centry, webhook: &Webhook, catalogue: &Catalogue) -> Value {
    let mut view = Map::new();
    view.insert("_id".into(), json!(object_id(webhook)));
    view.insert("callback_url".into(), json!(webhook.address()));
    view.insert("company_id".into(), json!(company_id(&webhook.tenant)));
    view.insert("created_at".into(), json!(time(webhook.created_at)));
    for (name, topics) in by_flag(centry, catalogue) {
        let set = |topic: &&Topic| webhook.topics.iter().any(|pattern| pattern.as_str() == topic.as_str());
        view.insert(name.into(), json!(topics.iter().any(set)));
    }
    view.insert("updated_at".into(), json!(time(webhook.updated_at)));
    Value::Object(view)
}

fn success(centry: &Centry, outcome: Outcome, context: Context<'_>) -> Result<Value, Error> {
    let view = |webhook: &Webhook| view(centry, webhook, context.catalogue);
    Ok(match outcome {
        Outcome::WebhookCreated(webhook) | Outcome::Webhook(webhook) => view(&webhook),
        Outcome::Webhooks(page) => {
            let filter = Filter::of(&Query::of(context.request))?;
            filter.page(page.items).iter().map(view).collect()
        }
        Outcome::Deleted => json!(true),
        other => {
            return Err(Error::Internal(format!("an outcome that Centry's API has no words for: {other:?}")));
        }
    })
}

/// Only a table of statuses is documented. The body is an object, for one of its clients sets properties on it.
fn failure(error: &Error) -> Response {
    let status = match error {
        Error::Malformed(_) | Error::Invalid { .. } | Error::UnknownTopic(_) | Error::Conflict(_) => {
            StatusCode::BAD_REQUEST
        }
        Error::Unauthenticated => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Quota(_) | Error::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = match error {
        Error::Invalid { field, reason } if field == "url" => format!("callback_url: {reason}"),
        error => error.to_string(),
    };
    answer(status, JSON, &json!({ "error": message }))
}

/// How a time of a webhook's may stand to a given one.
struct Comparison {
    field: &'static str,
    may_be: &'static [Ordering],
    at: Timestamp,
}

impl Comparison {
    fn holds(&self, webhook: &Webhook) -> bool {
        let at = if self.field == "created_at" { webhook.created_at } else { webhook.updated_at };
        // Its clients see milliseconds, and compare by them.
        let seen = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        self.may_be.contains(&seen.cmp(&self.at))
    }
}

const COMPARISONS: [(&str, &[Ordering]); 5] = [
    ("", &[Ordering::Equal]),
    ("_gte", &[Ordering::Greater, Ordering::Equal]),
    ("_lte", &[Ordering::Less, Ordering::Equal]),
    ("_gt", &[Ordering::Greater]),
    ("_lt", &[Ordering::Less]),
];

/// What of a list the parameters of Centry's chapter on filters leave.
struct Filter {
    times: Vec<Comparison>,
    after: Option<String>,
    offset: usize,
    limit: usize,
}

impl Filter {
    fn of(query: &Query) -> Result<Self, Error> {
        let mut times = Vec::new();
        for field in ["created_at", "updated_at"] {
            for (end, may_be) in COMPARISONS {
                let name = format!("{field}{end}");
                let Some(text) = query.get(&name).filter(|text| !text.is_empty()) else { continue };
                let at = text.parse().map_err(|_| Error::invalid(name, "must be a time in ISO 8601"))?;
                times.push(Comparison { field, may_be, at });
            }
        }
        let count = |name: &'static str| match query.get(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| Error::invalid(name, "must be a number")),
        };
        Ok(Self {
            times,
            after: query.get("after").filter(|text| !text.is_empty()).map(str::to_owned),
            offset: count("offset")?.unwrap_or_default(),
            limit: count("limit")?.unwrap_or(usize::MAX),
        })
    }

    fn page(&self, mut all: Vec<Webhook>) -> Vec<Webhook> {
        all.retain(|webhook| {
            self.times.iter().all(|comparison| comparison.holds(webhook))
                && self.after.as_ref().is_none_or(|after| object_id(webhook) > *after)
        });
        all.sort_by_cached_key(object_id);
        all.into_iter().skip(self.offset).take(self.limit).collect()
    }
}
