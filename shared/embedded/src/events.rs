//! Accepted events.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{Event, EventId, Metadata, OrderingKey, Payload, Payloads, TenantId, WebhookId, Window},
    operation::{Page, PageRequest},
    ports::{Accepted, Events},
};
use quick_cache::{Weighter, sync::Cache};
use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};
use uuid::Uuid;

use crate::{
    Engine, lines,
    queue::{Rows, Written},
    rows,
};

const COLUMNS: &str =
    "tenant, id, uid, topic, occurred_at, accepted_at, webhooks, payload, payloads, metadata,
     ordering_key, ordered";
const SWEPT_UNTIL: &str = "swept_until";

/// The newest events, so that their first deliveries read nothing: some 16 MiB of them. Events never change.
pub(crate) struct EventCache(Cache<(TenantId, EventId), Arc<Event>, Weight>);

impl EventCache {
    const BYTES: u64 = 16 << 20;

    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(16_384, Self::BYTES, Weight))
    }

    fn put(&self, event: Arc<Event>) {
        self.0.insert((event.tenant.clone(), event.id.clone()), event);
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<(TenantId, EventId), Arc<Event>> for Weight {
    fn weight(&self, _: &(TenantId, EventId), event: &Arc<Event>) -> u64 {
        // What an entry costs besides its payload is about half a kilobyte.
        let payloads: usize = event.payloads.values().map(|payload| payload.as_bytes().len() + 128).sum();
        let metadata: usize = event.metadata.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        (event.payload.as_bytes().len() + payloads + metadata + event.webhooks.len() * 16 + 512) as u64
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        tenant: rows::parsed(row, 0)?,
        id: rows::parsed(row, 1)?,
        uid: rows::uuid(row, 2)?,
        topic: rows::parsed(row, 3)?,
        occurred_at: rows::maybe_time(row, 4)?,
        accepted_at: rows::time(row, 5)?,
        webhooks: webhooks(row, 6)?.into(),
        payload: Payload::from_store(row.get::<_, Vec<u8>>(7)?),
        payloads: match row.get_ref(8)? {
            ValueRef::Null => Payloads::new(),
            _ => rows::json(row, 8)?,
        },
        metadata: match row.get_ref(9)? {
            ValueRef::Null => Metadata::new(),
            _ => rows::json(row, 9)?,
        },
        ordering_key: rows::maybe_parsed(row, 10)?,
        ordered: match row.get_ref(11)? {
            ValueRef::Null => Vec::new(),
            _ => webhooks(row, 11)?,
        },
    })
}

fn webhooks(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<WebhookId>> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|error| rows::odd(column, error))?;
    let uuid =
        |bytes: &[u8]| Uuid::from_slice(bytes).map(WebhookId).map_err(|error| rows::odd(column, error));
    bytes.chunks(16).map(uuid).collect()
}

fn accept(db: &Connection, event: &Event) -> rusqlite::Result<Accepted> {
    let sql = "INSERT INTO events (tenant, id, uid, topic, occurred_at, accepted_at, webhooks, payload,
                                   payloads, metadata, ordering_key, ordered)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, id) DO NOTHING";
    let bytes = |ids: &[WebhookId]| ids.iter().flat_map(|id| *id.0.as_bytes()).collect::<Vec<u8>>();
    let payloads = (!event.payloads.is_empty()).then(|| serde_json::to_vec(&event.payloads));
    let payloads = payloads.transpose().map_err(|error| rows::odd(0, error))?;
    let metadata = (!event.metadata.is_empty()).then(|| rows::to_json(&event.metadata));
    let metadata = metadata.transpose().map_err(|error| rows::odd(0, error))?;
    let added = db.prepare_cached(sql)?.execute(params![
        event.tenant.as_str(),
        event.id.as_str(),
        event.uid.as_bytes(),
        event.topic.as_str(),
        event.occurred_at.map(Timestamp::as_microsecond),
        event.accepted_at.as_microsecond(),
        bytes(&event.webhooks),
        &event.payload.as_bytes()[..],
        payloads,
        metadata,
        event.ordering_key.as_ref().map(OrderingKey::as_str),
        (!event.ordered.is_empty()).then(|| bytes(&event.ordered)),
    ])?;
    if added > 0 {
        lines::line_up(db, event)?;
        return Ok(Accepted::New);
    }
    find(db, &event.tenant, &event.id)?
        .map(|kept| Accepted::Already(Box::new(kept)))
        .ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn find(db: &Connection, tenant: &TenantId, id: &EventId) -> rusqlite::Result<Option<Event>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE tenant = ? AND id = ?"))?
        .query_row([tenant.as_str(), id.as_str()], event)
        .optional()
}

/// The event at a place in the order of acceptance.
pub(crate) fn numbered(db: &Connection, seq: i64) -> rusqlite::Result<Event> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE seq = ?"))?.query_row([seq], event)
}

impl Engine {
    /// One transaction for the events and the messages about them.
    async fn accept_all(&self, events: &[Arc<Event>]) -> Result<Vec<Accepted>, Error> {
        let rows = |event: &Arc<Event>| Ok((event.clone(), Rows::accepted(event)?));
        let batch = events.iter().map(rows).collect::<Result<Vec<_>, Error>>()?;
        let queue = self.0.queue.clone();
        let write = move |db: &Connection| {
            let mut accepted = Vec::with_capacity(batch.len());
            for (event, rows) in batch {
                let outcome = accept(db, &event)?;
                let new = match outcome {
                    Accepted::New => Some((event, queue.write(db, rows)?)),
                    Accepted::Already(_) => None,
                };
                accepted.push((outcome, new));
            }
            Ok(accepted)
        };
        let (queue, cache) = (self.0.queue.clone(), self.0.events.clone());
        let tell = move |(outcome, new): (Accepted, Option<(Arc<Event>, Written)>)| {
            if let Some((event, written)) = new {
                // In the cache before anybody can ask for it.
                cache.put(event);
                queue.written(written);
            }
            outcome
        };
        let then = |accepted: Vec<_>| accepted.into_iter().map(tell).collect();
        self.0.writer.write(write, then).await
    }
}

#[async_trait]
impl Events for Engine {
    async fn accept(&self, events: &[Arc<Event>]) -> Vec<Result<Accepted, Error>> {
        if events.is_empty() {
            return Vec::new();
        }
        match self.accept_all(events).await {
            Ok(accepted) => accepted.into_iter().map(Ok).collect(),
            Err(error) => events.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<Arc<Event>>, Error> {
        let asked = (tenant.clone(), id.clone());
        let sought = asked.clone();
        // The deliveries of a batch ask at the same time: one of them reads, for all.
        let read = async {
            match self.read(move |db| find(db, &sought.0, &sought.1)).await {
                Ok(Some(event)) => Ok(Arc::new(event)),
                Ok(None) => Err(None),
                Err(error) => Err(Some(error)),
            }
        };
        match self.0.events.0.get_or_insert_async(&asked, read).await {
            Ok(event) => Ok(Some(event)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    async fn stranded(
        &self,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Hint>, Error> {
        let wrong = |_| Error::invalid("cursor", "is not one that we gave");
        let after: i64 = page.after.as_deref().map_or(Ok(0), str::parse).map_err(wrong)?;
        let limit = page.limit;
        let query = self.read(move |db| {
            let sql = format!(
                "SELECT {COLUMNS}, seq FROM events
                 WHERE accepted_at >= ? AND accepted_at < ? AND seq > ? ORDER BY seq LIMIT ?"
            );
            let mut events = db.prepare_cached(&sql)?;
            let window = params![from.as_microsecond(), until.as_microsecond(), after, rows::beyond(limit)];
            let events = events
                .query_map(window, |row| Ok((event(row)?, row.get::<_, i64>("seq")?)))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let next = (events.len() > limit).then(|| events[limit - 1].1.to_string());
            let sql = "SELECT 1 FROM deliveries WHERE webhook = ? AND event = ?";
            let mut recorded = db.prepare_cached(sql)?;
            let mut items = Vec::new();
            for (event, _) in events.iter().take(limit) {
                for &webhook in &*event.webhooks {
                    if !recorded.exists(params![webhook.0.as_bytes(), event.uid.as_bytes()])? {
                        items.push(Hint::again(event, webhook));
                    }
                }
            }
            Ok(Page { items, next })
        });
        query.await
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
        self.setting(SWEPT_UNTIL).await
    }

    async fn set_swept_until(&self, until: Timestamp) -> Result<(), Error> {
        self.set(SWEPT_UNTIL, until).await
    }
}
