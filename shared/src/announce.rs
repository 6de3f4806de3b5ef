//! Operational events: what happens to webhooks and deliveries themselves is told like any event, to those of the tenant's
//! webhooks that name its topic, and to those of the operator's own tenant.
//!
//! They say nothing secret: a URL may carry a token, so a webhook is told by its id, number and name. What cannot be told
//! holds nothing up: it is logged.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{
    error::Error,
    model::{Delivery, Event, Health, Metadata, Payload, Payloads, TenantId, Topic, Webhook},
    ports::Ports,
    publish,
};

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// Its receiver failed so often in a row that its deliveries wait.
    Failing(&'a Health),
    /// Its receiver is back, after it did like this.
    Recovered(&'a Health),
    /// It was disabled, for this reason.
    Disabled(&'a str),
    /// A delivery to it failed for the last time by its schedule.
    Exhausted(&'a Delivery),
}

impl News<'_> {
    fn topic(self) -> &'static str {
        match self {
            Self::Failing(_) => "webhook.failing",
            Self::Recovered(_) => "webhook.recovered",
            Self::Disabled(_) => "webhook.disabled",
            Self::Exhausted(_) => "delivery.exhausted",
        }
    }

    fn details(self) -> Value {
        match self {
            Self::Failing(health) | Self::Recovered(health) => {
                json!({ "failures": health.failures, "since": health.since })
            }
            Self::Disabled(reason) => json!({ "reason": reason }),
            Self::Exhausted(delivery) => {
                let last = delivery.attempts.last();
                json!({
                    "delivery": delivery.id, "event": delivery.event, "topic": delivery.topic,
                    "attempts": delivery.attempt_count, "failure": last.and_then(|attempt| attempt.failure),
                    "status": last.and_then(|attempt| attempt.reply.as_ref()).map(|reply| reply.status),
                })
            }
        }
    }
}

/// Tells what happened to a webhook.
pub async fn announce(ports: &Ports, webhook: &Webhook, news: News<'_>) {
    // That news cannot be delivered is no news, or it would have no end.
    if matches!(news, News::Exhausted(delivery) if delivery.topic.is_operational()) {
        return;
    }
    let operators = ports.policy.operations.as_ref().filter(|tenant| **tenant != webhook.tenant);
    for tenant in std::iter::once(&webhook.tenant).chain(operators) {
        if let Err(error) = tell(ports, tenant, webhook, news).await {
            let (fault, topic) = (error.fault(), news.topic());
            tracing::warn!(%error, fault, %tenant, webhook = %webhook.id, topic, "an operational event was not published");
        }
    }
}

async fn tell(ports: &Ports, tenant: &TenantId, webhook: &Webhook, news: News<'_>) -> Result<(), Error> {
    let topic: Topic = news.topic().parse().map_err(Error::field("topic"))?;
    let Some(subscribers) = ports.store.matching(tenant, &topic).await? else { return Ok(()) };
    if subscribers.all.is_empty() && subscribers.choosy.is_empty() {
        return Ok(());
    }
    let now = ports.clock.now();
    let uid = ports.dice.uuid(now);
    let mut event = Event {
        tenant: tenant.clone(),
        id: publish::new_id(uid)?,
        uid,
        topic,
        payload: payload(webhook, news)?,
        payloads: Payloads::new(),
        metadata: Metadata::new(),
        occurred_at: None,
        accepted_at: now,
        webhooks: Arc::default(),
        ordering_key: None,
        ordered: Vec::new(),
    };
    // A webhook need not be told of itself.
    let others = publish::takers(&subscribers, &event);
    event.webhooks = others.iter().copied().filter(|id| *id != webhook.id).collect();
    if event.webhooks.is_empty() {
        return Ok(());
    }
    ports.store.accept(&[Arc::new(event)]).await.into_iter().try_for_each(|accepted| accepted.map(drop))
}

fn payload(webhook: &Webhook, news: News<'_>) -> Result<Payload, Error> {
    let mut fields = Map::from_iter([
        ("tenant".to_owned(), json!(webhook.tenant)),
        ("webhook".to_owned(), json!(webhook.id)),
        ("number".to_owned(), json!(webhook.number)),
        ("dialect".to_owned(), json!(webhook.dialect)),
        ("name".to_owned(), json!(webhook.name)),
    ]);
    if let Value::Object(details) = news.details() {
        fields.extend(details);
    }
    let written = serde_json::to_vec(&fields);
    written.map(Payload::from_store).map_err(|error| Error::Internal(format!("writing an event: {error}")))
}
