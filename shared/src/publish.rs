//! Accepting events: each once, with a hint for each webhook that it goes to, durably before the answer.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    access::Principal,
    catalogue::Catalogue,
    dialect::{self, Dialect},
    error::Error,
    fan_out,
    filter::Judged,
    model::{Event, EventId, WebhookId},
    operation::{NewEvent, Receipt},
    ports::{Accepted, Ports, Subscribers},
    telemetry,
};

/// When an event that was published before is queued again. The publish that accepted it may have died before
/// it queued anything; if it did not, its attempts are on record by then, or are claimed.
pub const AGAIN_AFTER: Duration = Duration::from_mins(3);

/// Lines that one event is put into at most: it goes there with the event itself, and a transaction of `DynamoDB`'s takes
/// 100 items.
const MOST_LINES: usize = 99;

/// Publishes events, each judged by itself.
pub async fn publish(
    ports: &Ports,
    principal: &Principal,
    batch: Vec<Result<NewEvent, Error>>,
) -> Vec<Result<Receipt, Error>> {
    let now = ports.clock.now();
    let mut prepared = Vec::with_capacity(batch.len());
    for (place, new) in (0..).zip(batch) {
        prepared.push(match new {
            Ok(new) => prepare(ports, principal, new, now, place).await.map(Arc::new),
            Err(error) => Err(error),
        });
    }
    let events: Vec<_> = prepared.iter().filter_map(|event| event.as_ref().ok().cloned()).collect();
    let mut accepted = ports.store.accept(&events).await.into_iter();
    let mut again: Vec<Arc<Event>> = Vec::new();
    let mut results = Vec::with_capacity(prepared.len());
    for event in prepared {
        let missing = || Err(Error::Internal("a store that answered for fewer events than it took".into()));
        results.push(match event {
            Ok(event) => settle(&event, accepted.next().unwrap_or_else(missing), &mut again),
            Err(error) => Err(error),
        });
    }
    if let Err(error) = queue_again(ports, &again).await {
        tracing::error!(%error, fault = error.fault(), "events published before were not queued again");
        return results.into_iter().map(|result| result.and(Err(error.clone()))).collect();
    }
    results
}

/// Queues events that were published before.
async fn queue_again(ports: &Ports, events: &[Arc<Event>]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let first = events.iter().flat_map(|event| fan_out::page(event, 0, AGAIN_AFTER));
    ports.queue.send(first.collect()).await?;
    for errand in events.iter().filter_map(|event| fan_out::rest(event, fan_out::PAGE)) {
        ports.queue.charge(&errand, AGAIN_AFTER).await?;
    }
    Ok(())
}

async fn prepare(
    ports: &Ports,
    principal: &Principal,
    new: NewEvent,
    now: Timestamp,
    place: i64,
) -> Result<Event, Error> {
    let tenant = principal.tenant_for(new.tenant.as_ref())?;
    if new.topic.is_operational() {
        return Err(Error::invalid("topic", "is published by the service itself"));
    }
    let subscribers = ports.store.matching(&tenant, &new.topic).await?.ok_or(Error::NotFound("tenant"))?;
    let catalogue = ports.store.catalogue().await?;
    catalogue.check(&new.topic, &new.payload)?;
    // Those of one batch sort as they came: their numbers are a microsecond apart.
    let uid = ports.dice.uuid(now + SignedDuration::from_micros(place));
    let id = match new.id {
        Some(id) => id,
        None => new_id(uid)?,
    };
    let mut event = Event {
        tenant,
        id,
        uid,
        topic: new.topic,
        payload: new.payload,
        payloads: new.payloads,
        metadata: new.metadata,
        occurred_at: new.occurred_at,
        accepted_at: now,
        webhooks: Arc::default(),
        ordering_key: new.ordering_key,
        ordered: Vec::new(),
    };
    event.webhooks = takers(&subscribers, &event);
    line_up(&subscribers, &mut event)?;
    see_to_needs(ports, &catalogue, &event).await?;
    Ok(event)
}

/// The name of an event that its publisher gave none.
pub(crate) fn new_id(uid: Uuid) -> Result<EventId, Error> {
    let id = format!("evt_{}", uid.simple());
    id.parse().map_err(|error| Error::Internal(format!("an event id of ours: {error}")))
}

/// The webhooks that an event goes to. Its payload is read for those alone that have a filter, and once for all of them.
pub(crate) fn takers(subscribers: &Subscribers, event: &Event) -> Arc<[WebhookId]> {
    if subscribers.choosy.is_empty() {
        return subscribers.all.clone();
    }
    let judged = Judged {
        topic: &event.topic,
        tenant: &event.tenant,
        id: &event.id,
        occurred_at: event.occurred_at.unwrap_or(event.accepted_at),
        payload: &event.payload,
        metadata: &event.metadata,
    };
    let seen = judged.seen();
    let takers = subscribers.choosy.iter().filter(|(_, filter)| filter.matches(&seen));
    subscribers.all.iter().copied().chain(takers.map(|(id, _)| *id)).collect()
}

/// Finds those of an event's webhooks that get it in its key's order.
fn line_up(subscribers: &Subscribers, event: &mut Event) -> Result<(), Error> {
    if event.ordering_key.is_none() || subscribers.ordered.is_empty() {
        return Ok(());
    }
    event.ordered = subscribers.ordered.iter().copied().filter(|id| event.webhooks.contains(id)).collect();
    if event.ordered.len() > MOST_LINES {
        let reason =
            format!("must not be given: more than {MOST_LINES} webhooks would get the event in order");
        return Err(Error::invalid("ordering_key", reason));
    }
    Ok(())
}

/// Refuses an event of which a webhook's dialect could make no message. Which dialects a tenant's webhooks are in
/// is asked only when there is one that could not.
async fn see_to_needs(ports: &Ports, catalogue: &Catalogue, event: &Event) -> Result<(), Error> {
    let lack = |dialect: &&dyn Dialect| {
        catalogue.own_name(*dialect, &event.topic)?;
        let lack = dialect.lack(&event.topic, event.payload_for(dialect.name()))?;
        Some((dialect.name(), lack))
    };
    let lacks: Vec<_> = dialect::ALL.iter().filter_map(lack).collect();
    if lacks.is_empty() || event.webhooks.is_empty() {
        return Ok(());
    }
    let dialects = ports.store.dialects(&event.tenant, &event.webhooks).await?;
    match lacks.into_iter().find(|(name, _)| dialects.contains(*name)) {
        None => Ok(()),
        Some((dialect, lack)) => {
            let own = event.payloads.contains_key(dialect);
            let field = if own { format!("payloads/{dialect}") } else { "payload".to_owned() };
            Err(Error::invalid(field, format!("{lack}: it goes to a webhook of the dialect {dialect}")))
        }
    }
}

fn settle(
    event: &Arc<Event>,
    accepted: Result<Accepted, Error>,
    again: &mut Vec<Arc<Event>>,
) -> Result<Receipt, Error> {
    match accepted? {
        Accepted::New => {
            telemetry::accepted();
            Ok(Receipt { id: event.id.clone(), deliveries: event.webhooks.len() })
        }
        Accepted::Already(kept) if kept.repeats(event) => {
            let receipt = Receipt { id: kept.id.clone(), deliveries: kept.webhooks.len() };
            again.push(Arc::from(kept));
            Ok(receipt)
        }
        Accepted::Already(_) => {
            Err(Error::Conflict(format!("the id {} is another event's already", event.id)))
        }
    }
}
