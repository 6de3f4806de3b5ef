//! How our own API shows things.

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Context, Response, answer,
    v1::{JSON, write_cursor},
    v1_auth, v1_delivery, v1_history, v1_polling, v1_replays, v1_undelivered,
};
use crate::{
    error::Error,
    filter::Miss,
    model::{Delivery, DeliverySummary, KeyRecord, State, Tenant, Webhook},
    operation::{Outcome, Page, Receipt, Tested, TopicEntry},
};

/// An outcome that is a success.
pub(super) fn success(outcome: Outcome) -> Response {
    let (status, body) = match outcome {
        Outcome::Healthy => (StatusCode::OK, json!({ "status": "ok" })),
        Outcome::Described(document) => (StatusCode::OK, document),
        Outcome::TenantCreated(tenant) => (StatusCode::CREATED, tenant_view(&tenant)),
        Outcome::Tenant(tenant) | Outcome::Identified(tenant) => (StatusCode::OK, tenant_view(&tenant)),
        Outcome::Tenants(page) => (StatusCode::OK, page_view(&page, tenant_view)),
        Outcome::KeyCreated(record, key) => {
            let mut view = key_view(&record);
            view["key"] = json!(key.reveal());
            (StatusCode::CREATED, view)
        }
        Outcome::Keys(page) => (StatusCode::OK, page_view(&page, key_view)),
        Outcome::Topics(page) => (StatusCode::OK, page_view(&page, topic_view)),
        Outcome::Topic(topic) => (StatusCode::OK, whole_topic_view(&topic)),
        Outcome::Health(health) => (
            StatusCode::OK,
            json!({
                "state": match health {
                    _ if health.is_failing() => "failing",
                    _ if health.holds_back() => "resting",
                    _ => "healthy",
                },
                "failures": health.failures, "since": health.since, "next_try_at": health.probe_at,
                "slow_until": health.slow_until,
            }),
        ),
        Outcome::Parked(count) => {
            (StatusCode::OK, json!({ "parked": count, "or_more": count >= crate::parked::COUNTED }))
        }
        Outcome::Discarded(count) => (StatusCode::OK, json!({ "discarded": count })),
        Outcome::Polled(events) => return v1_polling::polled(&events),
        Outcome::Tested(tested) => (StatusCode::OK, tested_view(&tested)),
        Outcome::FilterTried(misses) => (StatusCode::OK, misses_view(&misses)),
        Outcome::SessionOpened(_) => (StatusCode::CREATED, json!({})),
        // Of dialects that have OAuth2.
        Outcome::ConsentAsked(_)
        | Outcome::SentBack(_)
        | Outcome::TokensIssued(_)
        | Outcome::TokensRefused(_) => (StatusCode::OK, json!({})),
        Outcome::Switched(count) => (StatusCode::OK, json!(count)),
        Outcome::WebhookCreated(webhook) => (StatusCode::CREATED, with_secret(&webhook)),
        Outcome::SecretRotated(webhook) => (StatusCode::OK, with_secret(&webhook)),
        Outcome::PublicKeys(keys) => return v1_auth::key_set(&keys),
        Outcome::Webhook(webhook) => (StatusCode::OK, webhook_view(&webhook)),
        Outcome::Webhooks(page) => (StatusCode::OK, page_view(&page, webhook_view)),
        Outcome::Deleted | Outcome::CredentialsGranted => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        Outcome::Deliveries(page) => (StatusCode::OK, page_view(&page, |d| delivery_view(d, false))),
        Outcome::Undelivered(page, at) => {
            (StatusCode::OK, page_view(&page, |summary| v1_undelivered::view(summary, at)))
        }
        Outcome::Stats(stats) => (StatusCode::OK, v1_history::stats_view(&stats)),
        Outcome::Delivery(delivery) => (StatusCode::OK, delivery_view(&delivery, true)),
        Outcome::DeliveryRetried(delivery) => (StatusCode::ACCEPTED, delivery_view(&delivery, true)),
        Outcome::ReplayStarted(replay) => (StatusCode::ACCEPTED, v1_replays::view(&replay)),
        Outcome::Replay(replay) => (StatusCode::OK, v1_replays::view(&replay)),
        Outcome::Replays(page) => (StatusCode::OK, page_view(&page, v1_replays::view)),
        Outcome::Published(receipts) => (StatusCode::ACCEPTED, json!(receipts.len())),
    };
    answer(status, JSON, &body)
}

#[derive(Serialize)]
struct ReceiptView<'a> {
    id: &'a str,
    deliveries: usize,
}

/// The answer to a publish. A batch is answered 202 when any of its events was accepted, with each event's own
/// status beside it; else with the status that its first event got.
pub(super) fn published(
    context: Context<'_>,
    mut results: Vec<Result<Receipt, Error>>,
    batch: bool,
) -> Response {
    if !batch {
        return match results.pop() {
            Some(Ok(receipt)) => {
                let view = ReceiptView { id: receipt.id.as_str(), deliveries: receipt.deliveries };
                answer(StatusCode::ACCEPTED, JSON, &view)
            }
            Some(Err(error)) => problem(context, &error),
            None => problem(context, &Error::Internal("a publish without a result".into())),
        };
    }
    let status = match results.first() {
        Some(Err(error)) if results.iter().all(Result::is_err) => status_of(error),
        _ => StatusCode::ACCEPTED,
    };
    let view = |result: &Result<Receipt, Error>| match result {
        Ok(receipt) => json!({ "status": 202, "id": receipt.id, "deliveries": receipt.deliveries }),
        Err(error) => problem_view(context, error),
    };
    answer(status, JSON, &json!({ "events": results.iter().map(view).collect::<Vec<_>>() }))
}

fn page_view<T>(page: &Page<T>, view: impl FnMut(&T) -> Value) -> Value {
    let next = page.next.as_deref().map(write_cursor);
    json!({ "data": page.items.iter().map(view).collect::<Vec<_>>(), "next_cursor": next })
}

fn tenant_view(tenant: &Tenant) -> Value {
    json!({ "id": tenant.id, "name": tenant.name, "created_at": tenant.created_at })
}

fn topic_view(topic: &TopicEntry) -> Value {
    json!({
        "topic": topic.topic, "description": topic.description, "custom": topic.custom.is_some(),
        "names": topic.names,
    })
}

fn whole_topic_view(topic: &TopicEntry) -> Value {
    let mut view = topic_view(topic);
    view["schema"] = topic.schema.clone();
    view["sample"] = topic.sample.clone();
    view["samples"] = json!(topic.samples);
    view["created_at"] = json!(topic.custom.as_ref().map(|custom| custom.created_at));
    view["updated_at"] = json!(topic.custom.as_ref().map(|custom| custom.updated_at));
    view
}

fn key_view(key: &KeyRecord) -> Value {
    json!({
        "id": key.id, "tenant": key.tenant, "scopes": key.scopes,
        "redirect_uris": key.redirect_uris,
        "created_at": key.created_at, "expires_at": key.expires_at,
    })
}

fn webhook_view(webhook: &Webhook) -> Value {
    let (state, reason) = match &webhook.state {
        State::Active => ("active", None),
        State::Paused => ("paused", None),
        State::Disabled { reason } => ("disabled", Some(reason)),
        State::Polled => ("polled", None),
    };
    // Values may be secrets; their owner knows them, a screen need not.
    let headers: serde_json::Map<_, _> =
        webhook.headers.iter().map(|header| (header.name.clone(), json!("[set]"))).collect();
    let mut view = json!({
        "id": webhook.id, "tenant": webhook.tenant, "dialect": webhook.dialect, "name": webhook.name,
        "url": webhook.url, "topics": webhook.topics, "filter": webhook.filter, "headers": headers,
        "delivery": v1_delivery::own_view(webhook), "delivery_in_force": v1_delivery::in_force_view(webhook),
        "max_per_second": webhook.limits.max_per_second,
        "max_in_flight": webhook.limits.max_in_flight,
        "ordered": webhook.ordered.is_some(), "on_failure": webhook.ordered,
        "state": state, "disabled_reason": reason,
        "signed": !(webhook.secrets.is_empty() && webhook.key_pairs.is_empty()),
        "created_at": webhook.created_at, "updated_at": webhook.updated_at,
    });
    v1_auth::show(&mut view, webhook);
    view
}

fn with_secret(webhook: &Webhook) -> Value {
    let secret = webhook.secrets.first().filter(|secret| secret.is_current());
    let retiring = webhook.secrets.iter().chain(&webhook.key_pairs).filter_map(|secret| secret.retires_at);
    let old: Option<Timestamp> = retiring.max();
    let mut view = webhook_view(webhook);
    view["secret"] = json!(secret.map(|secret| secret.key.reveal()));
    if old.is_some() {
        view["previous_secret_signs_until"] = json!(old);
    }
    view
}

fn delivery_view(delivery: &Delivery, whole: bool) -> Value {
    let mut view = summary_view(&DeliverySummary::of(delivery));
    if whole {
        view["attempts"] = json!(delivery.attempts);
    }
    view
}

pub(super) fn summary_view(delivery: &DeliverySummary) -> Value {
    json!({
        "id": delivery.id, "tenant": delivery.tenant, "webhook": delivery.id.webhook, "event": delivery.event,
        "topic": delivery.topic, "state": delivery.state, "attempt_count": delivery.attempt_count,
        "created_at": delivery.created_at, "next_attempt_at": delivery.next_attempt_at,
        "ordering_key": delivery.ordering_key,
        "last_status": delivery.last_status, "last_failure": delivery.last_failure,
    })
}

fn tested_view(tested: &Tested) -> Value {
    let delivered = tested.attempt.failure.is_none();
    json!({ "topic": tested.topic, "delivered": delivered, "attempt": tested.attempt })
}

fn misses_view(misses: &[Miss]) -> Value {
    let view = |miss: &Miss| json!({ "path": miss.path, "wanted": miss.wanted, "found": miss.found });
    json!({ "matches": misses.is_empty(), "misses": misses.iter().map(view).collect::<Vec<_>>() })
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Malformed(_) => StatusCode::BAD_REQUEST,
        Error::Invalid { .. } | Error::UnknownTopic(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Unauthenticated => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Quota(_) | Error::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What kind of problem it is, as the last word of its `type`.
fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Malformed(_) => "malformed",
        Error::Invalid { .. } => "invalid",
        Error::UnknownTopic(_) => "unknown-topic",
        Error::Unauthenticated => "unauthenticated",
        Error::Forbidden(_) => "forbidden",
        Error::NotFound(_) => "not-found",
        Error::MethodNotAllowed => "method-not-allowed",
        Error::Conflict(_) => "conflict",
        Error::TooLarge(_) => "too-large",
        Error::Quota(_) => "quota",
        Error::Throttled(_) => "throttled",
        Error::Unavailable(_) => "unavailable",
        Error::Internal(_) => "internal",
    }
}

fn problem_view(context: Context<'_>, error: &Error) -> Value {
    let status = status_of(error);
    let mut view = json!({
        "type": format!("urn:postrider:problem:{}", kind_of(error)),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": error.to_string(),
        "instance": context.incident.urn(),
    });
    match error {
        Error::Invalid { field, .. } => view["field"] = json!(field),
        Error::UnknownTopic(_) => view["field"] = json!("topic"),
        _ => {}
    }
    view
}

/// RFC 9457.
pub(super) fn problem(context: Context<'_>, error: &Error) -> Response {
    answer(status_of(error), "application/problem+json", &problem_view(context, error))
}
