//! Deliveries: each attempt is on record in one write.

use std::convert::identity;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use postrider::{
    error::Error,
    hint::Hint,
    model::{
        Attempt, Delivery, DeliveryId, DeliveryState, DeliverySummary, OrderingKey, ReplayId, Tally,
        TenantId, WebhookId, Window,
    },
    operation::{Page, PageRequest, Sought},
    ports::{Claim, Deliveries},
    undelivered::Undelivered,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::{Engine, parked, rows};

pub(crate) const COLUMNS: &str =
    "webhook, event, tenant, event_id, topic, state, attempt_count, attempts, created_at, next_attempt_at,
     probes, parked_at, replay, ordering_key";
/// The state that an attempt found must still be there.
const PUT: &str = "
    INSERT INTO deliveries
        (webhook, event, tenant, event_id, topic, state, attempt_count, attempts, created_at, next_attempt_at,
         probes, parked_at, replay, ordering_key, due_at, leased_until)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (webhook, event) DO UPDATE SET
        state = excluded.state, attempt_count = excluded.attempt_count, attempts = excluded.attempts,
        next_attempt_at = excluded.next_attempt_at, probes = excluded.probes, parked_at = excluded.parked_at,
        replay = excluded.replay, due_at = excluded.due_at, leased_until = excluded.leased_until
    WHERE attempt_count = ?";
/// How long after its lease a claimed attempt comes due again, if its claimer died.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

pub(crate) fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: DeliveryId { webhook: WebhookId(rows::uuid(row, 0)?), event: rows::uuid(row, 1)? },
        tenant: rows::parsed(row, 2)?,
        event: rows::parsed(row, 3)?,
        topic: rows::parsed(row, 4)?,
        state: state(row, 5)?,
        attempt_count: row.get(6)?,
        attempts: rows::json::<Vec<Attempt>>(row, 7)?,
        created_at: rows::time(row, 8)?,
        next_attempt_at: rows::maybe_time(row, 9)?,
        probes: row.get(10)?,
        parked_at: rows::maybe_time(row, 11)?,
        replay: row.get::<_, Option<[u8; 16]>>(12)?.map(|id| ReplayId(Uuid::from_bytes(id))),
        ordering_key: rows::maybe_parsed(row, 13)?,
    })
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<DeliveryState> {
    match row.get_ref(column)?.as_str().map_err(|error| rows::odd(column, error))? {
        "pending" => Ok(DeliveryState::Pending),
        "delivered" => Ok(DeliveryState::Delivered),
        "failed" => Ok(DeliveryState::Failed),
        "parked" => Ok(DeliveryState::Parked),
        "discarded" => Ok(DeliveryState::Discarded),
        "waiting" => Ok(DeliveryState::Waiting),
        _ => Err(rusqlite::Error::InvalidQuery),
    }
}

fn state_text(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
        DeliveryState::Parked => "parked",
        DeliveryState::Discarded => "discarded",
        DeliveryState::Waiting => "waiting",
    }
}

fn find(db: &Connection, id: DeliveryId) -> rusqlite::Result<Option<(Delivery, Option<i64>)>> {
    let sql = format!("SELECT {COLUMNS}, leased_until FROM deliveries WHERE webhook = ? AND event = ?");
    db.prepare_cached(&sql)?
        .query_row(params![id.webhook.0.as_bytes(), id.event.as_bytes()], |row| {
            Ok((delivery(row)?, row.get(14)?))
        })
        .optional()
}

/// Ends all leases: their holders died with the process before this one, and their messages are in the queue.
pub(crate) fn end_leases(db: &Connection) -> rusqlite::Result<()> {
    // A leased delivery always has a due time, by whose index it is found.
    let sql = "UPDATE deliveries SET leased_until = NULL
               WHERE due_at IS NOT NULL AND leased_until IS NOT NULL";
    db.execute(sql, []).map(drop)
}

/// Writes a delivery whose record is `expected` attempts long, or not there; false: it is another.
pub(crate) fn put(
    db: &Connection,
    delivery: &Delivery,
    attempts: &[u8],
    expected: u32,
    due: Option<i64>,
    lease: Option<i64>,
) -> rusqlite::Result<bool> {
    let written = db.prepare_cached(PUT)?.execute(params![
        delivery.id.webhook.0.as_bytes(),
        delivery.id.event.as_bytes(),
        delivery.tenant.as_str(),
        delivery.event.as_str(),
        delivery.topic.as_str(),
        state_text(delivery.state),
        delivery.attempt_count,
        attempts,
        delivery.created_at.as_microsecond(),
        delivery.next_attempt_at.map(Timestamp::as_microsecond),
        delivery.probes,
        delivery.parked_at.map(Timestamp::as_microsecond),
        delivery.replay.map(|id| id.0.into_bytes()),
        delivery.ordering_key.as_ref().map(OrderingKey::as_str),
        due,
        lease,
        expected,
    ])?;
    Ok(written > 0)
}

fn claim(
    db: &Connection,
    blank: &Delivery,
    number: u32,
    now: Timestamp,
    lease: Timestamp,
) -> rusqlite::Result<Claim> {
    let kept = find(db, blank.id)?;
    if let Some((kept, leased_until)) = &kept {
        if kept.is_settled() || kept.attempt_count >= number {
            return Ok(Claim::Done);
        }
        if leased_until.is_some_and(|end| now.as_microsecond() < end) {
            return Ok(Claim::Busy);
        }
    }
    let delivery = kept.map_or_else(|| blank.clone(), |(kept, _)| kept);
    let attempts = serde_json::to_vec(&delivery.attempts).map_err(|error| rows::odd(0, error))?;
    let (due, lease) = ((lease + GRACE).as_microsecond(), lease.as_microsecond());
    put(db, &delivery, &attempts, delivery.attempt_count, Some(due), Some(lease))?;
    Ok(Claim::Taken(Box::new(delivery)))
}

fn reopen(
    db: &Connection,
    kept: &Delivery,
    again: &Delivery,
    now: Timestamp,
    due: Timestamp,
) -> rusqlite::Result<bool> {
    if let Some((there, leased_until)) = find(db, kept.id)? {
        let is_busy = leased_until.is_some_and(|end| now.as_microsecond() < end);
        if is_busy || !there.stands_as(kept) {
            return Ok(false);
        }
    }
    let attempts = serde_json::to_vec(&again.attempts).map_err(|error| rows::odd(0, error))?;
    put(db, again, &attempts, kept.attempt_count, Some(due.as_microsecond()), None)
}

fn sequence(db: &Connection, id: DeliveryId) -> rusqlite::Result<u64> {
    let (webhook, event) = (id.webhook.0.as_bytes(), id.event.as_bytes());
    let kept = db
        .prepare_cached("SELECT number FROM sequences WHERE webhook = ? AND event = ?")?
        .query_row(params![webhook, event], |row| row.get(0))
        .optional()?;
    if let Some(number) = kept {
        return Ok(number);
    }
    let number = db
        .prepare_cached(
            "INSERT INTO counters (webhook, last) VALUES (?, 1)
             ON CONFLICT (webhook) DO UPDATE SET last = last + 1 RETURNING last",
        )?
        .query_row([webhook], |row| row.get(0))?;
    db.prepare_cached("INSERT INTO sequences (webhook, event, number) VALUES (?, ?, ?)")?
        .execute(params![webhook, event, number])?;
    Ok(number)
}

fn list(
    db: &Connection,
    tenant: &TenantId,
    webhook: WebhookId,
    sought: &Sought,
    after: Option<DeliveryId>,
    limit: usize,
) -> rusqlite::Result<Page<Delivery>> {
    let (mut items, mut passed_over) = (Vec::<Delivery>::new(), 0);
    let Some((oldest, newest)) = sought.numbers(after.map(|id| id.event)) else {
        return Ok(Page { items, next: None });
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE webhook = ? AND event BETWEEN ? AND ? AND tenant = ?
         ORDER BY event DESC"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut found =
        query.query(params![webhook.0.as_bytes(), oldest.as_bytes(), newest.as_bytes(), tenant.as_str()])?;
    while let Some(row) = found.next()? {
        let topic = row.get_ref(4)?.as_str().map_err(|error| rows::odd(4, error))?;
        if !sought.take(state(row, 5)?, topic, rows::time(row, 8)?) {
            passed_over += 1;
            if passed_over == Sought::PASSED_OVER {
                let id = DeliveryId { webhook, event: rows::uuid(row, 1)? };
                return Ok(Page { items, next: Some(id.to_string()) });
            }
        } else if items.len() == limit {
            let next = items.last().map(|delivery| delivery.id.to_string());
            return Ok(Page { items, next });
        } else {
            items.push(delivery(row)?);
        }
    }
    Ok(Page { items, next: None })
}

#[async_trait]
impl Deliveries for Engine {
    async fn claim(
        &self,
        blank: &Delivery,
        number: u32,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Claim, Error> {
        let blank = blank.clone();
        self.0.writer.write(move |db| claim(db, &blank, number, now, lease), identity).await
    }

    async fn record(&self, delivery: &Delivery, due: Option<Timestamp>) -> Result<bool, Error> {
        let attempts = serde_json::to_vec(&delivery.attempts)
            .map_err(|error| Error::Internal(format!("writing a record: {error}")))?;
        let delivery = delivery.clone();
        let expected = delivery.attempt_count.saturating_sub(1);
        let due = due.map(Timestamp::as_microsecond);
        let write = move |db: &Connection| put(db, &delivery, &attempts, expected, due, None);
        self.0.writer.write(write, identity).await
    }

    async fn park(&self, delivery: &Delivery, had: u32) -> Result<bool, Error> {
        let attempts = serde_json::to_vec(&delivery.attempts)
            .map_err(|error| Error::Internal(format!("writing a record: {error}")))?;
        let delivery = delivery.clone();
        let write = move |db: &Connection| put(db, &delivery, &attempts, had, None, None);
        self.0.writer.write(write, identity).await
    }

    async fn reopen(
        &self,
        kept: &Delivery,
        again: &Delivery,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, Error> {
        let (kept, again) = (kept.clone(), again.clone());
        self.0.writer.write(move |db| reopen(db, &kept, &again, now, due), identity).await
    }

    async fn sequence(&self, id: DeliveryId) -> Result<u64, Error> {
        self.0.writer.write(move |db| sequence(db, id), identity).await
    }

    async fn add_to_tally(&self, webhook: WebhookId, more: Tally) -> Result<(), Error> {
        let write = move |db: &Connection| {
            let sql = "INSERT INTO tallies (webhook, sent, failed_at) VALUES (?, ?, ?)
                 ON CONFLICT (webhook) DO UPDATE SET sent = sent + excluded.sent,
                     failed_at = coalesce(excluded.failed_at, failed_at)";
            let failed_at = more.failed_at.map(Timestamp::as_microsecond);
            db.prepare_cached(sql)?.execute(params![webhook.0.as_bytes(), more.sent, failed_at]).map(drop)
        };
        self.0.writer.write(write, identity).await
    }

    async fn tallies(&self, webhooks: &[WebhookId]) -> Result<Vec<Tally>, Error> {
        let webhooks = webhooks.to_vec();
        let query = self.read(move |db| {
            let mut find = db.prepare_cached("SELECT sent, failed_at FROM tallies WHERE webhook = ?")?;
            let tally = |row: &Row<'_>| Ok(Tally { sent: row.get(0)?, failed_at: rows::maybe_time(row, 1)? });
            let mut of = |id: &WebhookId| find.query_row([id.0.as_bytes()], tally).optional();
            webhooks.iter().map(|id| Ok(of(id)?.unwrap_or_default())).collect()
        });
        query.await
    }

    async fn release(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        due: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, Error> {
        let tenant = tenant.clone();
        let write =
            self.0.writer.write(move |db| parked::release(db, &tenant, webhook, due, limit), identity);
        write.await
    }

    async fn discard(&self, tenant: &TenantId, webhook: WebhookId, limit: usize) -> Result<usize, Error> {
        let tenant = tenant.clone();
        self.0.writer.write(move |db| parked::discard(db, &tenant, webhook, limit), identity).await
    }

    async fn waiting(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let tenant = tenant.clone();
        self.read(move |db| parked::waiting(db, &tenant, webhook, limit)).await
    }

    async fn acknowledge(
        &self,
        tenant: &TenantId,
        deliveries: &[DeliveryId],
        by: &Attempt,
    ) -> Result<(), Error> {
        let (tenant, deliveries, by) = (tenant.clone(), deliveries.to_vec(), by.clone());
        let write = move |db: &Connection| parked::acknowledge(db, &tenant, &deliveries, &by);
        self.0.writer.write(write, identity).await
    }

    async fn give_up(&self, tenant: &TenantId, id: DeliveryId, now: Timestamp) -> Result<bool, Error> {
        let tenant = tenant.clone();
        self.0.writer.write(move |db| parked::give_up(db, &tenant, id, now), identity).await
    }

    async fn parked(&self, webhook: WebhookId, most: usize) -> Result<usize, Error> {
        self.read(move |db| parked::count(db, webhook, most)).await
    }

    async fn look_at(&self, tenant: &TenantId, webhook: WebhookId, at: Timestamp) -> Result<(), Error> {
        let tenant = tenant.clone();
        self.0.writer.write(move |db| parked::look_at(db, &tenant, webhook, at), identity).await
    }

    async fn look_no_more(&self, webhook: WebhookId) -> Result<(), Error> {
        let write = move |db: &Connection| {
            db.execute("DELETE FROM looks WHERE webhook = ?", [webhook.0.as_bytes()]).map(drop)
        };
        self.0.writer.write(write, identity).await
    }

    async fn to_look_at(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, WebhookId)>, Error> {
        self.0.writer.write(move |db| parked::to_look_at(db, now, lease, limit), identity).await
    }

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<Delivery>, Error> {
        let found = self.read(move |db| find(db, id)).await?;
        Ok(found.map(|(delivery, _)| delivery).filter(|delivery| delivery.tenant == *tenant))
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        sought: &Sought,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let wrong = |_| Error::invalid("cursor", "is not one that we gave");
        let after = page.after.as_deref().map(str::parse::<DeliveryId>).transpose().map_err(wrong)?;
        let (tenant, sought, limit) = (tenant.clone(), sought.clone(), page.limit);
        self.read(move |db| list(db, &tenant, webhook, &sought, after, limit)).await
    }

    async fn deliveries_within(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        self.deliveries_in(tenant, webhook, window, page).await
    }

    async fn undelivered(
        &self,
        sought: &Undelivered,
        page: &PageRequest,
    ) -> Result<Page<DeliverySummary>, Error> {
        self.list_undelivered(sought, page).await
    }

    async fn due(&self, now: Timestamp, lease: Timestamp, limit: usize) -> Result<Vec<Hint>, Error> {
        let write = self.0.writer.write(
            move |db| {
                let sql = format!(
                    "UPDATE deliveries SET due_at = ?1 WHERE (webhook, event) IN
                     (SELECT webhook, event FROM deliveries WHERE due_at <= ?2 ORDER BY due_at LIMIT ?3)
                     RETURNING {COLUMNS}"
                );
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                db.prepare_cached(&sql)?
                    .query_map(params![lease.as_microsecond(), now.as_microsecond(), limit], delivery)?
                    .map(|found| found.map(|delivery| Hint::next(&delivery)))
                    .collect::<rusqlite::Result<Vec<_>>>()
            },
            identity,
        );
        write.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postrider::model::{Event, Metadata, Payload, Payloads};

    use super::*;

    #[tokio::test]
    async fn the_next_process_need_not_wait_for_a_dead_ones_lease() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Engine::open(&dir.path().join("d.db"), crate::QueueSettings::default()).unwrap();
        let webhook = WebhookId(Uuid::from_u128(2));
        let event = Event {
            tenant: "acme".parse().unwrap(),
            id: "e-1".parse().unwrap(),
            uid: Uuid::from_u128(1),
            topic: "order.created".parse().unwrap(),
            payload: Payload::null(),
            payloads: Payloads::new(),
            metadata: Metadata::new(),
            occurred_at: None,
            accepted_at: Timestamp::UNIX_EPOCH,
            webhooks: Arc::from([webhook]),
            ordering_key: None,
            ordered: Vec::new(),
        };
        let blank = Hint::again(&event, webhook).blank(&event);
        let (now, lease) = (Timestamp::UNIX_EPOCH, "9000-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let engine = open();
        assert!(matches!(engine.claim(&blank, 1, now, lease).await, Ok(Claim::Taken(_))));
        assert_eq!(engine.claim(&blank, 1, now, lease).await, Ok(Claim::Busy));
        drop(engine);
        assert!(matches!(open().claim(&blank, 1, now, lease).await, Ok(Claim::Taken(_))));
    }
}
