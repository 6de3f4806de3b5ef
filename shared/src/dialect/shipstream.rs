//! `ShipStream`'s Merchant API: JSON-RPC at `/api/jsonrpc`, always answered 200, faults by number.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Call, Context, Dialect, Message, Posting, Request, Response, Table, answer,
    json::Fields,
    shipstream_rpc::{self, Body, Fault, Method, Rpc},
};
use crate::{
    access,
    catalogue::Catalogue,
    error::Error,
    model::{Attributes, Header, Payload, Secret, State, Topic, TopicPattern, Webhook},
    operation::{Asked, Change, Draft, Operation, Outcome, PageRequest, Selector},
    retry, signing,
    verdict::{Rules, Success},
};

pub(super) struct ShipStream;

const NAME: &str = "shipstream";
/// As stock `OpenMage` spells it.
const JSON: &str = "application/json; charset=utf8";
const PATHS: [&str; 2] = ["/api/jsonrpc", "/api/jsonrpc/"];
/// The attribute that keeps the headers as the client wrote them.
const HEADERS: &str = "extra_headers";
const SIGNATURE: HeaderName = HeaderName::from_static("x-plugin-hmac-sha256");

/// 3 s to connect, 5 s in all, 14 retries (`shipstream.md`).
const RULES: Rules = Rules {
    success: Success::Any20x,
    schedule: retry::SHIPSTREAM,
    timeout: Duration::from_secs(5),
    connect_timeout: Duration::from_secs(3),
};

impl Dialect for ShipStream {
    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, _: &Verb, path: &str) -> bool {
        PATHS.contains(&path)
    }

    fn decode(&self, request: &Request, catalogue: &Catalogue) -> Vec<Call> {
        if request.method() != Verb::POST {
            return vec![Call { credentials: Vec::new(), operation: Err(Error::MethodNotAllowed) }];
        }
        let call = |rpc: &Rpc| match &rpc.method {
            Method::Login(key) => {
                Call { credentials: key.iter().cloned().collect(), operation: Ok(Operation::OpenSession) }
            }
            Method::Call { session, path, args } => Call {
                credentials: session
                    .clone()
                    .or_else(|| access::basic(request.headers()))
                    .into_iter()
                    .collect(),
                operation: self.operation(path, args, catalogue),
            },
            Method::Not(_) => Call { credentials: Vec::new(), operation: Err(Error::NotFound("path")) },
        };
        Body::of(request.body()).calls().iter().map(call).collect()
    }

    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response {
        let body = Body::of(context.request.body());
        let mut answers = body.calls().iter().zip(results).map(|(rpc, result)| {
            rpc.answered(
                result
                    .map_err(|error| fault(rpc, &error))
                    .and_then(|outcome| self.result(outcome, context.catalogue)),
            )
        });
        let answers = match &body {
            Body::Unreadable => shipstream_rpc::unreadable(),
            Body::One(_) => answers.next().unwrap_or_else(shipstream_rpc::unreadable),
            Body::Many(_) => answers.collect(),
        };
        answer(StatusCode::OK, JSON, &answers)
    }

    fn table(&self) -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("shipstream_topics.json")));
        &TABLE
    }

    fn is_counted(&self) -> bool {
        true
    }

    fn test_topic(&self) -> Option<Topic> {
        self.table().canonical("test:ping").cloned()
    }

    fn lack(&self, _: &Topic, payload: &Payload) -> Option<String> {
        fields(payload.as_bytes()).is_none().then(|| "must be an object".to_owned())
    }

    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error> {
        let event = posting.event;
        let number = posting.sequence.ok_or_else(|| Error::Internal("a message without a number".into()))?;
        let time = event.occurred_at.unwrap_or(event.accepted_at);
        let body = body(posting.topic, posting.payload.as_bytes(), number, time)?;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = posting.target.webhook.secrets.first() {
            let signature = HeaderValue::from_str(&signing::hmac_base64(&secret.key, &body));
            headers.insert(SIGNATURE, signature.map_err(|_| Error::Internal("a signature".into()))?);
        }
        Ok(Message { headers, body })
    }

    fn rules(&self) -> &'static Rules {
        &RULES
    }
}

/// What stands between an object's braces.
fn fields(payload: &[u8]) -> Option<&[u8]> {
    payload.trim_ascii().strip_prefix(b"{")?.strip_suffix(b"}").map(<[u8]>::trim_ascii)
}

/// `{"topic", "message"}`: the payload's own bytes, then what every message ends with.
fn body(topic: &str, payload: &[u8], number: u64, time: Timestamp) -> Result<Bytes, Error> {
    let Some(fields) = fields(payload) else {
        return Err(Error::Internal("the payload is not an object, as a message must be".into()));
    };
    let time = time.strftime("%Y-%m-%dT%H:%M:%S+00:00");
    let between = if fields.is_empty() { "" } else { "," };
    let mut body = format!("{{\"topic\":{},\"message\":{{", json!(topic)).into_bytes();
    body.extend_from_slice(fields);
    body.extend_from_slice(
        format!("{between}\"webhook_increment_id\":{number},\"event_timestamp\":\"{time}\"}}}}").as_bytes(),
    );
    Ok(body.into())
}

impl ShipStream {
    fn operation(&self, path: &str, args: &[Value], catalogue: &Catalogue) -> Result<Operation, Error> {
        let asked = Asked { tenant: None, dialect: Some(NAME) };
        let first = args.first().cloned().unwrap_or_default();
        match path {
            "webhook.list" => Ok(Operation::ListWebhooks(asked, PageRequest::all())),
            "webhook.create" => Ok(Operation::CreateWebhook(asked, self.draft(first, catalogue)?)),
            "webhook.update_status" => self.switch(asked, first, args.get(1), catalogue),
            "webhook.delete" => {
                let id = number(&first).ok_or_else(|| Error::invalid("webhook_id", "must be a number"))?;
                Ok(Operation::DeleteWebhook(asked, Selector::Number(id)))
            }
            _ => Err(Error::NotFound("path")),
        }
    }

    fn draft(&self, object: Value, catalogue: &Catalogue) -> Result<Draft, Error> {
        let Value::Object(fields) = object else {
            return Err(Error::invalid("webhook", "must be an object"));
        };
        let mut fields = Fields::from(fields);
        let written = fields.text(HEADERS)?.unwrap_or_default();
        let url = fields.required("url")?;
        let topics = self.patterns(fields.value("topics"), catalogue)?;
        Ok(Draft {
            name: fields.text("name")?,
            headers: headers(&written)?,
            attributes: Attributes::from([(HEADERS.to_owned(), json!(written))]),
            active: fields.value("is_active").map_or(Ok(true), |value| flag(&value))?,
            secret: fields.text("secret_key")?.filter(|key| !key.is_empty()).map(Secret::new),
            ..Draft::new(NAME, url, topics)
        })
    }

    /// A list, or a text with commas.
    fn patterns(&self, topics: Option<Value>, catalogue: &Catalogue) -> Result<Vec<TopicPattern>, Error> {
        let wrong = || Error::invalid("topics", "must be a list of topics, or a text of them with commas");
        let names: Vec<String> = match topics {
            Some(Value::String(names)) => names.split(',').map(|name| name.trim().to_owned()).collect(),
            Some(Value::Array(names)) => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        let mut patterns = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            let pattern = TopicPattern::One(self.topic(name, catalogue)?);
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        if patterns.is_empty() { Err(wrong()) } else { Ok(patterns) }
    }

    fn topic(&self, name: &str, catalogue: &Catalogue) -> Result<Topic, Error> {
        let topic = catalogue.canonical(self, name);
        topic.ok_or_else(|| Error::invalid("topics", format!("no topic is called {name:?}")))
    }

    /// By topic or by id and status, as the signature has it; or by an object of both, as the sample has it.
    fn switch(
        &self,
        asked: Asked,
        first: Value,
        status: Option<&Value>,
        catalogue: &Catalogue,
    ) -> Result<Operation, Error> {
        let (which, status) = match first {
            Value::Object(fields) => {
                let mut fields = Fields::from(fields);
                let which = fields.value("webhook_id").or_else(|| fields.value("topic"));
                (which, fields.value("status"))
            }
            which => (Some(which), status.cloned()),
        };
        let active = flag(&status.ok_or_else(|| Error::invalid("status", "is required"))?)?;
        match which {
            None => Ok(Operation::SwitchWebhooks(asked, None, active)),
            Some(which) => match (number(&which), which.as_str()) {
                (Some(id), _) => {
                    let change = Change { active: Some(active), ..Change::default() };
                    Ok(Operation::UpdateWebhook(asked, Selector::Number(id), change))
                }
                (None, Some(topic)) => {
                    Ok(Operation::SwitchWebhooks(asked, Some(self.topic(topic, catalogue)?), active))
                }
                (None, None) => Err(Error::invalid("topic", "must be a topic or a webhook's id")),
            },
        }
    }

    fn view(&self, webhook: &Webhook, catalogue: &Catalogue) -> Value {
        let topics: Vec<_> =
            webhook.topics.iter().map(|pattern| catalogue.own_pattern(self, pattern)).collect();
        let name = webhook.name.clone().unwrap_or_else(|| format!("Webhook {}", webhook.number));
        let secret = webhook.secrets.first().map_or("", |secret| secret.key.reveal());
        json!({
            "webhook_id": webhook.number,
            "name": name,
            "is_active": u8::from(webhook.state == State::Active),
            "topics": topics.join(","),
            "url": webhook.address(),
            "extra_headers": written(webhook),
            // Its documented API shows the secret to whoever may change it.
            "secret_key": secret,
        })
    }

    fn result(&self, outcome: Outcome, catalogue: &Catalogue) -> Result<Value, Fault> {
        match outcome {
            Outcome::SessionOpened(session) => Ok(json!(session.reveal())),
            Outcome::Webhooks(page) => {
                Ok(page.items.iter().map(|webhook| self.view(webhook, catalogue)).collect())
            }
            // Not the id, which clients find by listing.
            Outcome::WebhookCreated(_) | Outcome::Webhook(_) | Outcome::Switched(_) | Outcome::Deleted => {
                Ok(json!(true))
            }
            _ => Err(Fault::of(Fault::INTERNAL)),
        }
    }
}

/// One header a line. Their names and values are judged, so that none can be smuggled in.
fn headers(written: &str) -> Result<Vec<Header>, Error> {
    let lines = written.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let header = |line: &str| {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Error::invalid(HEADERS, "must be lines such as Name: value"))?;
        Header::new(name, value.trim_matches([' ', '\t'])).map_err(Error::field(HEADERS))
    };
    lines.filter(|line| !line.trim().is_empty()).map(header).collect()
}

/// The headers as their client wrote them; if our own API has changed them since, as they are now.
fn written(webhook: &Webhook) -> String {
    let kept = webhook.attributes.get(HEADERS).and_then(Value::as_str).unwrap_or_default();
    if headers(kept).as_ref() == Ok(&webhook.headers) {
        return kept.to_owned();
    }
    let lines = webhook.headers.iter().map(|header| format!("{}: {}", header.name, header.value));
    lines.collect::<Vec<_>>().join("\n")
}

/// 1, 0, true, false, and "Yes" and "No" as the first documentation has them.
fn flag(value: &Value) -> Result<bool, Error> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        value if number(value) == Some(1) => Ok(true),
        value if number(value) == Some(0) => Ok(false),
        Value::String(text) if text.eq_ignore_ascii_case("yes") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("no") => Ok(false),
        _ => Err(Error::invalid("status", "must be 1 or 0, true or false, Yes or No")),
    }
}

/// A number, also as a text: PHP's clients send both.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The documented fault for an error of ours.
fn fault(rpc: &Rpc, error: &Error) -> Fault {
    let (session, path) = match &rpc.method {
        Method::Not(fault) => return fault.clone(),
        Method::Login(None) => {
            return Fault::api(6, "Required parameter is missing, for more details see \"exception.log\".");
        }
        Method::Login(Some(_)) => (false, ""),
        Method::Call { session, path, .. } => (session.is_some(), path.as_str()),
    };
    match (error, path) {
        (Error::Unauthenticated, _) if session => Fault::api(5, "Session expired. Try to relogin."),
        (Error::Unauthenticated | Error::Forbidden(_), _) => Fault::api(2, "Access denied."),
        (Error::NotFound("path"), path) if path.starts_with("webhook.") => {
            Fault::api(4, "Resource path is not callable.")
        }
        (Error::NotFound("path"), _) => Fault::api(3, "Invalid api path."),
        (Error::Invalid { .. }, "webhook.create") => Fault::api(101, format!("Invalid data given. {error}")),
        (Error::Quota(_) | Error::Conflict(_), "webhook.create") => {
            Fault::api(106, format!("Webhook not created. {error}"))
        }
        (_, "webhook.create") => Fault::api(102, "An unexpected error occurred while creating the webhook."),
        (_, "webhook.update_status") => {
            Fault::api(100, format!("Error changing status for specified webhook. {error}"))
        }
        (Error::NotFound(_), "webhook.delete") => Fault::api(103, "Webhook not exists."),
        (Error::Invalid { .. }, "webhook.delete") => Fault::of(Fault::BAD_PARAMS),
        (Error::Conflict(_), "webhook.delete") => Fault::api(105, format!("Webhook not deleted. {error}")),
        (_, "webhook.delete") => Fault::api(104, "An unexpected error occurred while deleting the webhook."),
        (Error::Internal(_), _) => Fault::api(1, "Internal Error. Please see log for details."),
        _ => Fault::of(Fault::INTERNAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_its_number_and_time() {
        let time = "2021-12-07T16:08:15Z".parse().unwrap();
        for (payload, begins) in [
            (&b"{\"unique_id\": 1.10}"[..], "{\"unique_id\": 1.10,"),
            (b" { } ", "{"),
            (b"{\"a\":\"}\"}", "{\"a\":\"}\","),
        ] {
            let expected = format!(
                "{{\"topic\":\"order:created\",\"message\":{begins}\"webhook_increment_id\":7,\
                 \"event_timestamp\":\"2021-12-07T16:08:15+00:00\"}}}}"
            );
            assert_eq!(body("order:created", payload, 7, time).unwrap(), expected);
            assert!(serde_json::from_str::<Value>(&expected).is_ok());
        }
        for payload in [&b"[]"[..], b"null", b"\"{}\""] {
            assert!(body("order:created", payload, 1, time).is_err());
        }
    }
}
