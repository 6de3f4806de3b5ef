//! What lies in a window of time: a webhook's deliveries by their keys, and a tenant's events by the minute.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use postrider::{
    error::Error,
    model::{Delivery, DeliveryId, Event, EventId, TenantId, WebhookId, Window},
    operation::{Page, PageRequest},
    ports::Events,
};
use uuid::Uuid;

use crate::{
    Engine,
    claims::AT_ONCE,
    deliveries::{delivery, delivery_key},
    fault::fault,
    item::{Read, text},
    stranded::SHARDS,
};

/// Partitions of the index by the minute that one page looks at: an hour of events.
const PARTITIONS: i64 = 60 * SHARDS as i64;
/// Events of one partition that a page looks at, whosesoever they are.
const LOOKED_AT: i32 = 1000;

fn odd_cursor() -> Error {
    Error::invalid("cursor", "is not one that we gave")
}

/// Where a walk through the events goes on: a partition, and the event in it that was the last.
#[derive(Clone, Copy)]
struct Cursor {
    partition: i64,
    after: Option<Uuid>,
}

impl Cursor {
    fn read(text: &str) -> Result<Self, Error> {
        let (partition, after) = text.split_once('#').map_or((text, None), |(at, uid)| (at, Some(uid)));
        let after = after.map(Uuid::try_parse).transpose().map_err(|_| odd_cursor())?;
        Ok(Self { partition: partition.parse().map_err(|_| odd_cursor())?, after })
    }

    fn write(self) -> String {
        match self.after {
            None => self.partition.to_string(),
            Some(uid) => format!("{}#{}", self.partition, uid.simple()),
        }
    }
}

/// A tenant's events in a partition, and where it was looked no further.
struct Found {
    events: Vec<(Uuid, EventId)>,
    stopped: Option<Uuid>,
}

impl Engine {
    pub(crate) async fn deliveries_in(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let after = page.after.as_deref().map(str::parse::<DeliveryId>).transpose();
        let after = after.map_err(|_| odd_cursor())?;
        let mut start = after.map(|id| delivery_key(DeliveryId { webhook, event: id.event }));
        let (first, last) = window.numbers().into_inner();
        let mut items: Vec<Delivery> = Vec::new();
        loop {
            let query = self
                .0
                .db
                .query()
                .table_name(&self.0.settings.deliveries_table)
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", text(webhook.to_string()))
                .expression_attribute_values(":first", text(first.simple().to_string()))
                .expression_attribute_values(":last", text(last.simple().to_string()))
                .consistent_read(true)
                .set_exclusive_start_key(start.take())
                .set_limit(i32::try_from(page.limit).ok().map(|limit| limit.saturating_add(1)));
            let found = query.send().await.map_err(fault("reading deliveries of a window"))?;
            for item in found.items.unwrap_or_default().iter().filter(|item| !item.is_expired()) {
                let delivery = delivery(item)?;
                if delivery.tenant != *tenant || !window.contains(delivery.created_at) {
                    continue;
                }
                if items.len() == page.limit {
                    let next = items.last().map(|delivery| delivery.id.to_string());
                    return Ok(Page { items, next });
                }
                items.push(delivery);
            }
            start = found.last_evaluated_key;
            if start.is_none() {
                return Ok(Page { items, next: None });
            }
        }
    }

    pub(crate) async fn events_in(
        &self,
        tenant: &TenantId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Arc<Event>>, Error> {
        let partition = |minute: i64| minute * i64::from(SHARDS);
        let minute = |at: jiff::Timestamp| at.as_second().div_euclid(60);
        let begin = match &page.after {
            None => Cursor { partition: partition(minute(window.since)), after: None },
            Some(after) => Cursor::read(after)?,
        };
        let end = partition(minute(window.until) + 1);
        let until = end.min(begin.partition.saturating_add(PARTITIONS));
        let look = |at: i64| {
            let after = if at == begin.partition { begin.after } else { None };
            async move { Ok::<_, Error>((at, self.partition(tenant, window, at, after).await?)) }
        };
        let mut looked = stream::iter(begin.partition..until).map(look).buffered(AT_ONCE);
        let (mut found, mut next) =
            (Vec::new(), (until < end).then_some(Cursor { partition: until, after: None }));
        while let Some((at, Found { events, stopped })) = looked.try_next().await? {
            let room = page.limit.saturating_sub(found.len());
            let left = events.len() > room;
            found.extend(events.into_iter().take(room));
            if left {
                // Within a partition they come in the order of their numbers.
                let after = found.last().map(|(uid, _): &(Uuid, EventId)| *uid);
                next = Some(Cursor { partition: at, after });
                break;
            }
            if stopped.is_some() {
                next = Some(Cursor { partition: at, after: stopped });
                break;
            }
            if found.len() >= page.limit {
                next = (at + 1 < end).then_some(Cursor { partition: at + 1, after: None });
                break;
            }
        }
        drop(looked);
        let mut items = Vec::with_capacity(found.len());
        for some in found.chunks(AT_ONCE) {
            let read = try_join_all(some.iter().map(|(_, id)| self.event(tenant, id))).await?;
            items.extend(read.into_iter().flatten().filter(|event| window.contains(event.accepted_at)));
        }
        Ok(Page { items, next: next.map(Cursor::write) })
    }

    async fn partition(
        &self,
        tenant: &TenantId,
        window: &Window,
        at: i64,
        after: Option<Uuid>,
    ) -> Result<Found, Error> {
        let shards = i64::from(SHARDS);
        let bucket = format!("{}#{}", at.div_euclid(shards), at.rem_euclid(shards));
        let (first, last) = window.numbers().into_inner();
        // What comes after a number: the next there can be.
        let first = after.map_or(first, |uid| Uuid::from_u128(uid.as_u128().saturating_add(1)));
        if last < first {
            // A key condition takes no range the wrong way round.
            return Ok(Found { events: Vec::new(), stopped: None });
        }
        let query = self
            .0
            .db
            .query()
            .table_name(&self.0.settings.events_table)
            .index_name("by_minute")
            .key_condition_expression("#bucket = :bucket AND uid BETWEEN :first AND :last")
            .filter_expression("#tenant = :tenant")
            .expression_attribute_names("#bucket", "bucket")
            .expression_attribute_names("#tenant", "tenant")
            .expression_attribute_values(":bucket", text(&bucket))
            .expression_attribute_values(":tenant", text(tenant.as_str()))
            .expression_attribute_values(":first", text(first.simple().to_string()))
            .expression_attribute_values(":last", text(last.simple().to_string()))
            .limit(LOOKED_AT);
        let found = query.send().await.map_err(fault("reading events by the minute"))?;
        let read = |item: &crate::item::Item| Ok((item.parsed("uid")?, item.parsed("event_id")?));
        let events = found.items.unwrap_or_default().iter().map(read).collect::<Result<_, Error>>()?;
        let stopped = found.last_evaluated_key.map(|item| item.parsed("uid")).transpose()?;
        Ok(Found { events, stopped })
    }
}
