//! Trying filters: whether an event would get through, and why not. Nothing is published or kept.

use crate::{
    access::Principal,
    error::Error,
    filter::{Judged, Miss},
    model::{TopicPattern, Webhook},
    operation::{Asked, NewEvent, Outcome, Selector, Tried},
    ports::Ports,
    publish, webhooks,
};

/// Tries a filter, or a webhook's topics and filter, on a sample.
pub async fn try_on(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    tried: &Tried,
    sample: NewEvent,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref().or(sample.tenant.as_ref()))?;
    if sample.tenant.as_ref().is_some_and(|named| *named != tenant) {
        return Err(Error::invalid("event/tenant", "is not the tenant that is asked for"));
    }
    let now = ports.clock.now();
    let id = sample.id.map_or_else(|| publish::new_id(ports.dice.uuid(now)), Ok)?;
    let judged = Judged {
        topic: &sample.topic,
        tenant: &tenant,
        id: &id,
        occurred_at: sample.occurred_at.unwrap_or(now),
        payload: &sample.payload,
        metadata: &sample.metadata,
    };
    let misses = match tried {
        Tried::Filter(filter) if ports.store.tenant(&tenant).await?.is_some() => {
            filter.explain(&judged.seen())
        }
        Tried::Filter(_) => return Err(Error::NotFound("tenant")),
        Tried::Webhook(id) => {
            let webhook = webhooks::find(ports, &tenant, asked, &Selector::Id(*id)).await?;
            let mut misses: Vec<_> = wrong_topic(&webhook, &judged).into_iter().collect();
            misses.extend(webhook.filter.iter().flat_map(|filter| filter.explain(&judged.seen())));
            misses
        }
    };
    Ok(Outcome::FilterTried(misses))
}

fn wrong_topic(webhook: &Webhook, judged: &Judged<'_>) -> Option<Miss> {
    if webhook.topics.iter().any(|pattern| pattern.takes(judged.topic)) {
        return None;
    }
    let wanted: Vec<_> = webhook.topics.iter().map(TopicPattern::as_str).collect();
    let wanted = format!("what the webhook subscribes to: {}", wanted.join(", "));
    Some(Miss { path: "topic".to_owned(), wanted, found: Some(format!("\"{}\"", judged.topic)) })
}
