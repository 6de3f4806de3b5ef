//! Events: one conditional put for each.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure};
use futures::{StreamExt, future::try_join_all, stream};
use jiff::Timestamp;
use postrider::{
    error::Error,
    fan_out,
    hint::Hint,
    model::{Event, EventId, Metadata, Payload, Payloads, TenantId, WebhookId, Window},
    operation::{Page, PageRequest},
    ports::{Accepted, Events, Queue, Sending},
};
use uuid::Uuid;

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, bytes, expiry, micros, text},
    stranded::bucket,
};

/// Puts of one batch under way at once.
const AT_ONCE: usize = 32;

fn primary(tenant: &TenantId, id: &EventId) -> String {
    format!("{tenant}#{id}")
}

pub(crate) fn item(event: &Event) -> Result<Item, Error> {
    // JSON is text, so the payload is kept as text: readable in the console, and byte for byte the same.
    let payload = str::from_utf8(event.payload.as_bytes()).map_err(|_| odd("payload"))?;
    let webhooks: Vec<u8> = event.webhooks.iter().flat_map(|id| *id.0.as_bytes()).collect();
    let mut item = Item::from([
        ("pk".to_owned(), text(primary(&event.tenant, &event.id))),
        ("tenant".to_owned(), text(event.tenant.as_str())),
        ("event_id".to_owned(), text(event.id.as_str())),
        ("uid".to_owned(), text(event.uid.simple().to_string())),
        ("bucket".to_owned(), text(bucket(event.uid, event.accepted_at))),
        ("topic".to_owned(), text(event.topic.as_str())),
        ("accepted_at".to_owned(), micros(event.accepted_at)),
        ("webhooks".to_owned(), bytes(webhooks)),
        ("payload".to_owned(), text(payload)),
        ("expires_at".to_owned(), expiry(event.accepted_at)),
    ]);
    if !event.payloads.is_empty() {
        let payloads = serde_json::to_string(&event.payloads).map_err(|_| odd("payloads"))?;
        item.insert("payloads".into(), text(payloads));
    }
    if !event.metadata.is_empty() {
        let metadata = serde_json::to_string(&event.metadata).map_err(|_| odd("metadata"))?;
        item.insert("metadata".into(), text(metadata));
    }
    if let Some(key) = &event.ordering_key {
        item.insert("ordering_key".into(), text(key.as_str()));
    }
    if !event.ordered.is_empty() {
        let ordered: Vec<u8> = event.ordered.iter().flat_map(|id| *id.0.as_bytes()).collect();
        item.insert("ordered".into(), bytes(ordered));
    }
    if let Some(time) = event.occurred_at {
        item.insert("occurred_at".into(), micros(time));
    }
    Ok(item)
}

pub(crate) fn webhooks(item: &Item) -> Result<Vec<WebhookId>, Error> {
    ids(item, "webhooks")
}

fn ids(item: &Item, name: &str) -> Result<Vec<WebhookId>, Error> {
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).map(WebhookId).map_err(|_| odd(name));
    item.blob(name)?.chunks(16).map(id).collect()
}

pub(crate) fn event(item: &Item) -> Result<Event, Error> {
    Ok(Event {
        tenant: item.parsed("tenant")?,
        id: item.parsed("event_id")?,
        uid: item.parsed("uid")?,
        topic: item.parsed("topic")?,
        payload: Payload::from_store(item.text("payload")?.to_owned()),
        payloads: match item.get("payloads") {
            None => Payloads::new(),
            Some(_) => serde_json::from_str(item.text("payloads")?).map_err(|_| odd("payloads"))?,
        },
        metadata: match item.get("metadata") {
            None => Metadata::new(),
            Some(_) => serde_json::from_str(item.text("metadata")?).map_err(|_| odd("metadata"))?,
        },
        occurred_at: item.maybe_time("occurred_at")?,
        accepted_at: item.time("accepted_at")?,
        webhooks: webhooks(item)?.into(),
        ordering_key: item.maybe_parsed("ordering_key")?,
        ordered: if item.has("ordered") { ids(item, "ordered")? } else { Vec::new() },
    })
}

impl Engine {
    async fn accept_one(&self, event_: &Event) -> Result<Accepted, Error> {
        if !event_.ordered.is_empty() {
            return self.accept_in_line(event_).await;
        }
        let put = self
            .0
            .db
            .put_item()
            .table_name(&self.0.settings.events_table)
            .set_item(Some(item(event_)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(Accepted::New) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(fault("accepting an event")(error));
        };
        let kept = event(failed.item().ok_or_else(|| odd("answer"))?)?;
        // The SDK tries again when an answer gets lost: then what is there is what we put ourselves.
        if kept.uid == event_.uid { Ok(Accepted::New) } else { Ok(Accepted::Already(Box::new(kept))) }
    }
}

impl Engine {
    async fn queue_new(&self, events: Vec<&Arc<Event>>) -> Result<(), Error> {
        let first: Vec<_> = events.iter().flat_map(|event| Sending::first(event)).collect();
        if !first.is_empty() {
            self.send(first).await?;
        }
        let rest = events.iter().filter_map(|event| fan_out::rest(event, fan_out::PAGE));
        try_join_all(rest.map(async |errand| self.charge(&errand, Duration::ZERO).await)).await.map(drop)
    }
}

#[async_trait]
impl Events for Engine {
    async fn accept(&self, events: &[Arc<Event>]) -> Vec<Result<Accepted, Error>> {
        // Of events with one id the first comes first; all others go side by side.
        let mut seen = HashSet::new();
        let (first, again): (Vec<_>, Vec<_>) =
            events.iter().enumerate().partition(|(_, event)| seen.insert((&event.tenant, &event.id)));
        let accept = async |(at, event): (usize, &Arc<Event>)| (at, self.accept_one(event).await);
        let mut results: Vec<_> = stream::iter(first).map(accept).buffer_unordered(AT_ONCE).collect().await;
        for (at, event) in again {
            results.push((at, self.accept_one(event).await));
        }
        results.sort_unstable_by_key(|(at, _)| *at);
        let mut results: Vec<_> = results.into_iter().map(|(_, result)| result).collect();
        let new = events.iter().zip(&results).filter(|(_, result)| **result == Ok(Accepted::New));
        if let Err(error) = self.queue_new(new.map(|(event, _)| event).collect()).await {
            // What was accepted stays accepted: publishing the same again queues it, or the sweep does.
            tracing::error!(%error, fault = error.fault(), "accepted events were not queued");
            for result in results.iter_mut().filter(|result| **result == Ok(Accepted::New)) {
                *result = Err(error.clone());
            }
        }
        results
    }

    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<Arc<Event>>, Error> {
        let get = self
            .0
            .db
            .get_item()
            .table_name(&self.0.settings.events_table)
            .key("pk", text(primary(tenant, id)))
            .consistent_read(true);
        let found =
            get.send().await.map_err(fault("reading an event"))?.item.filter(|item| !item.is_expired());
        found.as_ref().map(|item| event(item).map(Arc::new)).transpose()
    }

    async fn stranded(
        &self,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Hint>, Error> {
        self.stranded_in(from, until, page).await
    }

    async fn events_within(
        &self,
        tenant: &TenantId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Arc<Event>>, Error> {
        self.events_in(tenant, window, page).await
    }

    async fn swept_until(&self) -> Result<Option<Timestamp>, Error> {
        self.read_swept_until().await
    }

    async fn set_swept_until(&self, until: Timestamp) -> Result<(), Error> {
        self.write_swept_until(until).await
    }
}
