//! Ultimate Multisite's REST API (WordPress): `/wp-json/wu/v2/webhook`, one event a webhook, payloads without an envelope.

use std::{fmt::Write, sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Call, Context, Dialect, Message, Posting, Request, Response, Table, answer,
    json::{Fields, Query},
    only,
    ultimate_list::listed,
};
use crate::{
    access,
    catalogue::Catalogue,
    error::Error,
    model::{Attributes, Secret, State, Topic, TopicPattern, Webhook},
    operation::{
        Asked, Change, Draft, Operation, Outcome, PageRequest, Selector, TestDraft, Tested, TopicChange,
    },
    retry,
    verdict::{Rules, Success},
};

pub(super) struct Ultimate;

const NAME: &str = "ultimate-multisite";
const JSON: &str = "application/json; charset=UTF-8";
/// What it keeps of a webhook and does nothing with.
const KEPT: [&str; 3] = ["hidden", "integration", "migrated_from_id"];
/// How its database writes a time that never was.
const NEVER: &str = "0000-00-00 00:00:00";
/// What else its model has a setter for, and we nothing to set. A client that sends back a whole object must not turn
/// the count of events back.
const IGNORED: [&str; 8] = [
    "event_count",
    "date_created",
    "date_modified",
    "skip_validation",
    "api_key",
    "api_secret",
    "api-key",
    "api-secret",
];

/// 45 s. It documents no retry; an event that was accepted is tried again all the same.
const RULES: Rules = Rules {
    success: Success::Any2xx,
    schedule: retry::STANDARD,
    timeout: Duration::from_secs(45),
    connect_timeout: Duration::from_secs(5),
};

/// What a path means.
enum Place {
    Webhooks,
    Webhook(Option<u64>),
    Test(Option<u64>),
    Ajax,
    Auth,
    Hooks,
    Nowhere,
}

/// Where `WordPress`'s own pages send their forms.
const AJAX: &str = "/wp-admin/admin-ajax.php";

fn place(path: &str) -> Option<Place> {
    if path == AJAX {
        return Some(Place::Ajax);
    }
    let rest = path.strip_prefix("/wp-json/wu/v2").filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let parts: Vec<_> = rest.trim_matches('/').split('/').collect();
    Some(match parts[..] {
        // The documents print the plural, its source registers the singular.
        ["webhook" | "webhooks"] => Place::Webhooks,
        ["webhook" | "webhooks", id] => Place::Webhook(id.parse().ok()),
        // Not in its source, whose button sends a form; a client without a browser needs a door too.
        ["webhook" | "webhooks", id, "test"] => Place::Test(id.parse().ok()),
        ["auth"] => Place::Auth,
        ["hooks"] => Place::Hooks,
        _ => Place::Nowhere,
    })
}

impl Dialect for Ultimate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, _: &Method, path: &str) -> bool {
        place(path).is_some()
    }

    fn decode(&self, request: &Request, catalogue: &Catalogue) -> Vec<Call> {
        vec![Call { credentials: credentials(request), operation: self.operation(request, catalogue) }]
    }

    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response {
        match only(results).and_then(|outcome| self.success(outcome, context)) {
            Ok(body) => answer(StatusCode::OK, JSON, &body),
            Err(error) => failure(&error, context.request),
        }
    }

    fn table(&self) -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("ultimate_topics.json")));
        &TABLE
    }

    fn is_tallied(&self) -> bool {
        true
    }

    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error> {
        let body = Bytes::from(as_wordpress(posting.payload.as_bytes())?);
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Message { headers, body })
    }

    fn openapi(&self) -> Option<&'static str> {
        Some(include_str!("../../../docs/openapi/ultimate-multisite.json"))
    }

    fn rules(&self) -> &'static Rules {
        &RULES
    }
}

/// JSON as `wp_json_encode` writes it: slashes and all that is not ASCII escaped.
fn as_wordpress(json: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(json).map_err(|_| Error::Internal("a payload that is not text".into()))?;
    let mut out = String::with_capacity(text.len() + 64);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // Whatever is escaped already stays so.
            '\\' => {
                out.push('\\');
                out.extend(chars.next());
            }
            '/' => out.push_str("\\/"),
            c if c.is_ascii() => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Ok(out)
}

/// HTTP Basic, or two parameters in the query or in the body.
fn credentials(request: &Request) -> Vec<Secret> {
    if let Some(key) = access::basic(request.headers()) {
        return vec![key];
    }
    let query = Query::of(request);
    let mut body = Fields::of(request).ok();
    let mut find = |names: [&str; 2]| {
        let in_query = names.iter().find_map(|name| query.get(name)).map(str::to_owned);
        in_query.or_else(|| names.iter().find_map(|name| body.as_mut()?.text(name).ok().flatten()))
    };
    let form = matches!(place(request.uri().path()), Some(Place::Ajax)).then(|| Query::of_form(request));
    let mut find = |names: [&str; 2]| {
        let in_form = || names.iter().find_map(|name| form.as_ref()?.get(name)).map(str::to_owned);
        find(names).or_else(in_form)
    };
    match (find(["api_key", "api-key"]), find(["api_secret", "api-secret"])) {
        (Some(key), Some(secret)) => vec![Secret::new(format!("prk_{key}_{secret}"))],
        _ => Vec::new(),
    }
}

impl Ultimate {
    fn operation(&self, request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
        let asked = Asked { tenant: None, dialect: Some(NAME) };
        let one = |id: Option<u64>| id.map(Selector::Number).ok_or(Error::NotFound("webhook"));
        match (place(request.uri().path()), request.method().as_str()) {
            (Some(Place::Auth | Place::Hooks), "GET") => Ok(Operation::Identify),
            (Some(Place::Webhooks), "GET") => Ok(Operation::ListWebhooks(asked, PageRequest::all())),
            (Some(Place::Webhooks), "POST") => {
                Ok(Operation::CreateWebhook(asked, self.draft(request, catalogue)?))
            }
            (Some(Place::Webhook(id)), "GET") => Ok(Operation::GetWebhook(asked, one(id)?)),
            (Some(Place::Webhook(id)), "PUT" | "PATCH" | "POST") => {
                Ok(Operation::UpdateWebhook(asked, one(id)?, self.change(request, catalogue)?))
            }
            (Some(Place::Webhook(id)), "DELETE") => Ok(Operation::DeleteWebhook(asked, one(id)?)),
            (Some(Place::Test(id)), "POST") => Ok(Operation::SendTest(asked, one(id)?, TestDraft::default())),
            (Some(Place::Ajax), "POST") => self.form(asked, &Query::of_form(request), catalogue),
            // WordPress knows no 405: no route matches.
            _ => Err(Error::NotFound("path")),
        }
    }

    /// Send Test Event, with the address and the event as its page shows them, saved or not.
    fn form(&self, asked: Asked, form: &Query, catalogue: &Catalogue) -> Result<Operation, Error> {
        let said = |name: &str| form.get(name).filter(|text| !text.is_empty());
        if said("action") != Some("wu_send_test_event") {
            return Err(Error::invalid("action", "must be wu_send_test_event"));
        }
        let id = said("webhook_id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound("webhook"))?;
        let topic = said("webhook_event").map(|event| self.topic(event, catalogue)).transpose()?;
        let test = TestDraft { topic, url: said("webhook_url").map(str::to_owned) };
        Ok(Operation::SendTest(asked, Selector::Number(id), test))
    }

    fn draft(&self, request: &Request, catalogue: &Catalogue) -> Result<Draft, Error> {
        let mut fields = Fields::of(request)?;
        if !missing(&fields).is_empty() {
            return Err(Error::invalid(MISSING, "is required"));
        }
        let mut attributes = Attributes::new();
        for name in KEPT {
            if let Some(value) = fields.value(name) {
                attributes.insert(name.to_owned(), kept(name, value)?);
            }
        }
        let name = long_enough("name", fields.required("name")?)?;
        let url = fields.required("webhook_url")?;
        let event = self.pattern(&fields.required("event")?, catalogue)?;
        Ok(Draft {
            name: Some(name),
            attributes,
            // Its database says 1, its API false; but it sends to both, so that a client need not say.
            active: fields.value("active").is_none_or(|value| is_true(&value)),
            ..Draft::new(NAME, url, vec![event])
        })
    }

    fn change(&self, request: &Request, catalogue: &Catalogue) -> Result<Change, Error> {
        let mut fields = Fields::of(request)?;
        let mut change = Change::default();
        if let Some(name) = fields.text("name")? {
            change.name = Some(Some(long_enough("name", name)?));
        }
        change.url = fields.text("webhook_url")?;
        if let Some(event) = fields.text("event")? {
            change.topics = Some(TopicChange::All(vec![self.pattern(&event, catalogue)?]));
        }
        change.active = fields.value("active").map(|value| is_true(&value));
        for name in KEPT {
            if let Some(value) = fields.value(name) {
                change.attributes.insert(name.to_owned(), kept(name, value)?);
            }
        }
        for name in IGNORED {
            fields.value(name);
        }
        match fields.end() {
            Err(Error::Invalid { field, .. }) => Err(Error::invalid(field, NO_SETTER)),
            _ => Ok(change),
        }
    }

    fn topic(&self, event: &str, catalogue: &Catalogue) -> Result<Topic, Error> {
        catalogue.canonical(self, event).ok_or_else(|| Error::UnknownTopic(event.to_owned()))
    }

    fn pattern(&self, event: &str, catalogue: &Catalogue) -> Result<TopicPattern, Error> {
        self.topic(event, catalogue).map(TopicPattern::One)
    }

    /// An object, its fields in the order of the model's.
    fn view(&self, webhook: &Webhook, catalogue: &Catalogue) -> Value {
        let event = webhook.topics.first().map(|pattern| catalogue.own_pattern(self, pattern));
        let kept = |name: &str, default: Value| webhook.attributes.get(name).cloned().unwrap_or(default);
        json!({
            "name": webhook.name,
            "webhook_url": webhook.address(),
            "event": event,
            "event_count": webhook.tally.sent,
            "active": webhook.state == State::Active,
            "hidden": kept("hidden", json!(false)),
            "integration": kept("integration", json!("manual")),
            "date_created": date(webhook.created_at),
            "date_last_failed": webhook.tally.failed_at.map_or_else(|| NEVER.to_owned(), date),
            "id": webhook.number,
            "model": "webhook",
            "slug": "",
            "date_modified": date(webhook.updated_at),
            "migrated_from_id": kept("migrated_from_id", Value::Null),
        })
    }

    /// Slug, name, description and a full sample payload of each event.
    fn hooks(&self, catalogue: &Catalogue) -> Value {
        let mut hooks = serde_json::Map::new();
        for entry in self.table().topics() {
            let mut hook = json!({
                "name": entry.more.get("title"),
                "desc": entry.more.get("desc"),
                "payload": self.table().sample(entry),
            });
            if let Some(arguments) = entry.more.get("deprecated_args") {
                hook["deprecated_args"] = arguments.clone();
            }
            hooks.insert(entry.name.clone(), hook);
        }
        for (name, topic) in catalogue.custom_names(self) {
            let sample = catalogue.sample(self, &topic.topic).unwrap_or_else(|| json!({}));
            let hook = json!({ "name": topic.topic, "desc": topic.description, "payload": sample });
            hooks.insert(name.to_owned(), hook);
        }
        hooks.into()
    }

    fn success(&self, outcome: Outcome, context: Context<'_>) -> Result<Value, Error> {
        let Context { request, catalogue, .. } = context;
        Ok(match outcome {
            Outcome::Identified(tenant) => match place(request.uri().path()) {
                Some(Place::Hooks) => self.hooks(catalogue),
                _ => json!({ "success": true, "label": tenant.name, "message": "Welcome to our API" }),
            },
            Outcome::WebhookCreated(webhook) | Outcome::Webhook(webhook) => self.view(&webhook, catalogue),
            Outcome::Webhooks(page) => {
                let views = page.items.iter().map(|webhook| self.view(webhook, catalogue)).collect();
                Value::Array(listed(views, &Query::of(request)))
            }
            Outcome::Tested(tested) => tested_view(&tested, request),
            // What the database answers to a deletion.
            Outcome::Deleted => json!(1),
            other => {
                let fault = format!("an outcome that Ultimate Multisite's API has no words for: {other:?}");
                return Err(Error::Internal(fault));
            }
        })
    }
}

/// What the page shows: the receiver's answer, or why there was none. The id is as the caller had it.
fn tested_view(tested: &Tested, request: &Request) -> Value {
    let said = match &tested.attempt.reply {
        Some(reply) => reply.body.as_str(),
        None => tested.attempt.detail.as_deref().unwrap_or_default(),
    };
    let id = match place(request.uri().path()) {
        Some(Place::Ajax) => json!(tested.number.to_string()),
        _ => json!(tested.number),
    };
    // The page puts it in its markup: `htmlentities` in its source.
    json!({ "response": html_escape::encode_quoted_attribute(said), "id": id })
}

const REQUIRED: [&str; 4] = ["name", "webhook_url", "event", "integration"];
/// The field of an error that names all that is missing.
const MISSING: &str = "(missing)";
const NO_SETTER: &str = "has no setter";

fn missing(fields: &Fields) -> Vec<&'static str> {
    REQUIRED.into_iter().filter(|name| !fields.has(name)).collect()
}

fn long_enough(field: &'static str, text: String) -> Result<String, Error> {
    if (2..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(Error::invalid(field, "must be 2 to 200 characters long"))
    }
}

fn kept(name: &'static str, value: Value) -> Result<Value, Error> {
    match (name, value) {
        ("hidden", value) => Ok(json!(is_true(&value))),
        ("integration", Value::String(text)) => long_enough(name, text).map(Value::from),
        ("migrated_from_id", value) => {
            // 7.0 is a whole number too, to PHP and to JSON Schema.
            let whole = || value.as_f64().filter(|n| n.fract() == 0.0)?.to_string().parse().ok();
            let number = value.as_u64().or_else(whole).or_else(|| value.as_str()?.parse().ok());
            number.map(Value::from).ok_or_else(|| Error::invalid(name, "must be a number"))
        }
        (name, _) => Err(Error::invalid(name, "must be a string")),
    }
}

/// PHP's idea of truth.
fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
        && value.as_f64() != Some(0.0)
        && !matches!(value.as_str(), Some("" | "0" | "false"))
}

fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `{"code", "message", "data": {"status"}}`, `WordPress`'s and the plugin's own.
fn failure(error: &Error, request: &Request) -> Response {
    let mut params = None;
    let (status, code, message) = match error {
        Error::Invalid { field, .. } if field == MISSING => {
            let missing = Fields::of(request).map(|fields| missing(&fields)).unwrap_or_default();
            let message = format!("Missing parameter(s): {}", missing.join(", "));
            params = Some(missing);
            (400, "rest_missing_callback_param".to_owned(), message)
        }
        Error::Invalid { field, reason } if reason == NO_SETTER => (
            400,
            "wu_rest_webhook_invalid_set_method".to_owned(),
            format!("The WP_Ultimo\\Models\\Webhook object does not have a set_{field} method"),
        ),
        Error::Invalid { field, reason } => {
            let field = if field == "url" { "webhook_url" } else { field };
            (400, field.to_owned(), format!("{field} {reason}"))
        }
        Error::UnknownTopic(_) => (400, "event".to_owned(), error.to_string()),
        Error::Malformed(_) => (400, "rest_invalid_json".to_owned(), "Invalid JSON body passed.".to_owned()),
        Error::Unauthenticated | Error::Forbidden(_) => {
            (401, "rest_forbidden".to_owned(), "Sorry, you are not allowed to do that.".to_owned())
        }
        Error::NotFound("path") | Error::MethodNotAllowed => (
            404,
            "rest_no_route".to_owned(),
            "No route was found matching the URL and request method.".to_owned(),
        ),
        Error::NotFound(_) => (404, "wu_rest_webhook_invalid_id".to_owned(), "Item not found.".to_owned()),
        Error::Conflict(_) => (409, "wu_rest_webhook_conflict".to_owned(), error.to_string()),
        Error::TooLarge(_) => (413, "wu_rest_webhook_too_large".to_owned(), error.to_string()),
        Error::Quota(_) | Error::Throttled(_) => (429, "wu_rest_webhook_quota".to_owned(), error.to_string()),
        Error::Unavailable(_) => (503, "wu_rest_unavailable".to_owned(), error.to_string()),
        Error::Internal(_) => (500, "wu_rest_error".to_owned(), error.to_string()),
    };
    let data = match params {
        Some(params) => json!({ "status": status, "params": params }),
        None => json!({ "status": status }),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, JSON, &json!({ "code": code, "message": message, "data": data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_wordpress_escapes_it() {
        let payload = r#"{"url":"https://a.b/c","done":"\/","name":"Trà 🫖","quote":"\"\\/"}"#;
        let written = as_wordpress(payload.as_bytes()).unwrap();
        assert_eq!(
            written,
            r#"{"url":"https:\/\/a.b\/c","done":"\/","name":"Tr\u00e0 \ud83e\uded6","quote":"\"\\\/"}"#
        );
        let (read, expected): (Value, Value) =
            (serde_json::from_str(&written).unwrap(), serde_json::from_str(payload).unwrap());
        assert_eq!(read, expected);
    }
}
