//! Tiki's Open API, webhooks of 2020: one URI an event, HTTP Basic to the receiver.
//!
//! Its documents write some paths without `/integration`. Those of them that our own API does not use are
//! served too: `PUT` and `DELETE /v1/webhooks`, `PUT /v1/webhooks/credentials`, `PUT /webhooks/credentials`.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::json;

use super::{
    Call, Context, Dialect, Message, Posting, Request, Response, Table, answer,
    json::{Fields, Query},
    oauth::Profile,
    only,
};
use crate::{
    access,
    catalogue::Catalogue,
    error::Error,
    model::{Scope, Secret, Topic, TopicPattern, Webhook},
    oauth::{Terms, Word},
    operation::{Asked, Change, Draft, Operation, Outcome, PageRequest, Selector},
    verdict::Rules,
};

pub(super) struct Tiki;

const NAME: &str = "tiki";
const WEBHOOKS: &str = "/integration/v1/webhooks";
const CREDENTIALS: &str = "/integration/v1/webhooks/credentials";

/// As its guide to OAuth2 has it, but for `id_token`: nobody logs in here.
static OAUTH: Profile = Profile {
    terms: Terms {
        dialect: NAME,
        words: &WORDS,
        default: "all",
        lifetime: SignedDuration::from_secs(3600),
        refreshed_with: Some("offline"),
    },
    authorize: "/sc/oauth2/auth",
    token: "/sc/oauth2/token",
    json: "application/json",
    tokens: &["access_token", "expires_in", "refresh_token", "scope", "token_type"],
    denied: &[("error_code", "403"), ("error_hint", "The resource owner denied the request")],
};

/// Webhooks are about product requests, and belong to `product`.
const WORDS: [Word; 7] = [
    Word { name: "all", opens: &[Scope::Read, Scope::Write] },
    Word { name: "product", opens: &[Scope::Read, Scope::Write] },
    Word { name: "offline", opens: &[] },
    Word { name: "order", opens: &[] },
    Word { name: "inventory", opens: &[] },
    Word { name: "multichannel", opens: &[] },
    Word { name: "openid", opens: &[] },
];

/// The path in its full form, if it is one of Tiki's.
fn full_path(method: &Method, path: &str) -> Option<&'static str> {
    match path {
        WEBHOOKS => Some(WEBHOOKS),
        "/v1/webhooks" if matches!(*method, Method::PUT | Method::DELETE) => Some(WEBHOOKS),
        CREDENTIALS | "/v1/webhooks/credentials" | "/webhooks/credentials" => Some(CREDENTIALS),
        // Everything else below its root gets its own kind of 404.
        _ => path.starts_with("/integration/").then_some(""),
    }
}

impl Dialect for Tiki {
    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, method: &Method, path: &str) -> bool {
        full_path(method, path).is_some() || OAUTH.endpoint(path).is_some()
    }

    fn decode(&self, request: &Request, catalogue: &Catalogue) -> Vec<Call> {
        if let Some(endpoint) = OAUTH.endpoint(request.uri().path()) {
            return OAUTH.decode(endpoint, request);
        }
        vec![Call {
            credentials: credentials(request.headers()),
            operation: self.operation(request, catalogue),
        }]
    }

    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response {
        if let Some(endpoint) = OAUTH.endpoint(context.request.uri().path()) {
            return OAUTH.encode(endpoint, context, only(results));
        }
        match only(results) {
            Ok(outcome) => success(self, outcome, context),
            Err(error) => failure(&error, context),
        }
    }

    fn table(&self) -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("tiki_topics.json")));
        &TABLE
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error> {
        #[derive(Serialize)]
        struct Head<'a> {
            id: uuid::Uuid,
            event: &'a str,
        }
        let head = Head { id: posting.event.uid, event: posting.topic };
        let body = posting.payload.in_envelope(&head, "payload")?;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(granted) = &posting.target.credentials {
            let mut value = HeaderValue::from_str(granted.authorization().reveal())
                .map_err(|_| Error::Internal("credentials that cannot be sent".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Message { headers, body: Bytes::from(body) })
    }

    fn openapi(&self) -> Option<&'static str> {
        Some(include_str!("../../../docs/openapi/tiki.json"))
    }

    fn rules(&self) -> &'static Rules {
        // Tiki documents neither retries nor a timeout.
        &Rules::STANDARD
    }
}

/// The legacy header `tiki-api`, or an OAuth2 bearer token.
fn credentials(headers: &HeaderMap) -> Vec<Secret> {
    let legacy = headers.get("tiki-api").and_then(|value| value.to_str().ok());
    legacy.map(|key| Secret::new(key.trim())).or_else(|| access::bearer(headers)).into_iter().collect()
}

impl Tiki {
    fn operation(&self, request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
        let asked = Asked { tenant: None, dialect: Some(NAME) };
        let method = request.method();
        match (full_path(method, request.uri().path()), method.as_str()) {
            (Some(WEBHOOKS), "GET") => Ok(Operation::ListWebhooks(asked, PageRequest::all())),
            (Some(WEBHOOKS), "POST") => {
                let (uri, topic) = self.webhook(request, catalogue)?;
                let draft = Draft::new(NAME, uri, vec![TopicPattern::One(topic)]);
                Ok(Operation::CreateWebhook(asked, draft))
            }
            (Some(WEBHOOKS), "PUT") => {
                let (uri, topic) = self.webhook(request, catalogue)?;
                let change = Change { url: Some(uri), ..Change::default() };
                Ok(Operation::UpdateWebhook(asked, Selector::Topic(topic), change))
            }
            (Some(WEBHOOKS), "DELETE") => {
                let query = Query::of(request);
                let event = query.get("event").ok_or_else(|| Error::invalid("event", "is required"))?;
                Ok(Operation::DeleteWebhook(asked, Selector::Topic(self.topic(event, catalogue)?)))
            }
            (Some(CREDENTIALS), "PUT") => {
                let mut fields = Fields::of(request)?;
                let id = fields.required("id")?;
                let secret = Secret::new(fields.required("secret")?);
                Ok(Operation::GrantCredentials { asked, id, secret })
            }
            (Some(WEBHOOKS | CREDENTIALS), _) => Err(Error::MethodNotAllowed),
            _ => Err(Error::NotFound("path")),
        }
    }

    /// `{uri, event}`; other fields are let pass, as Tiki's own clients may send `seller_id` back.
    fn webhook(&self, request: &Request, catalogue: &Catalogue) -> Result<(String, Topic), Error> {
        let mut fields = Fields::of(request)?;
        let uri = fields.required("uri")?;
        Ok((uri, self.topic(&fields.required("event")?, catalogue)?))
    }

    fn topic(&self, event: &str, catalogue: &Catalogue) -> Result<Topic, Error> {
        catalogue.canonical(self, event).ok_or_else(|| Error::UnknownTopic(event.to_owned()))
    }
}

fn view(tiki: &Tiki, webhook: &Webhook, catalogue: &Catalogue) -> serde_json::Value {
    let event = webhook.topics.first().map(|pattern| catalogue.own_pattern(tiki, pattern));
    json!({ "uri": webhook.address(), "event": event })
}

fn success(tiki: &Tiki, outcome: Outcome, context: Context<'_>) -> Response {
    let body = match outcome {
        Outcome::WebhookCreated(webhook) | Outcome::Webhook(webhook) => {
            view(tiki, &webhook, context.catalogue)
        }
        Outcome::Webhooks(page) => {
            let data: Vec<_> =
                page.items.iter().map(|webhook| view(tiki, webhook, context.catalogue)).collect();
            json!({ "data": data })
        }
        // Not documented; Tiki's own clients read the body as JSON.
        Outcome::Deleted | Outcome::CredentialsGranted => json!({}),
        other => {
            let error = Error::Internal(format!("an outcome that Tiki's API has no words for: {other:?}"));
            return failure(&error, context);
        }
    };
    answer(StatusCode::OK, "application/json", &body)
}

/// `{"error": {"id", "message"}}`: the reference shows the id, the samples leave it out; a client of either reads
/// this. The table of statuses is the one of the whole API.
fn failure(error: &Error, context: Context<'_>) -> Response {
    let (status, message) = match error {
        Error::Invalid { field, .. } if field == "url" => (StatusCode::BAD_REQUEST, "Invalid URI".to_owned()),
        Error::UnknownTopic(_) => (StatusCode::BAD_REQUEST, "Invalid event".to_owned()),
        Error::Malformed(_) | Error::Invalid { .. } => (StatusCode::BAD_REQUEST, error.to_string()),
        Error::Unauthenticated => (StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()),
        Error::Forbidden(_) => (StatusCode::FORBIDDEN, error.to_string()),
        Error::NotFound(_) => (StatusCode::NOT_FOUND, error.to_string()),
        Error::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, error.to_string()),
        Error::Conflict(_) => (
            StatusCode::CONFLICT,
            "Webhook for this event has been registered. Please update it instead.".to_owned(),
        ),
        Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        Error::Quota(_) | Error::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let body = json!({ "error": { "id": context.incident, "message": message } });
    answer(status, "application/json", &body)
}
