//! Parked deliveries, and the webhooks whose backlog is on its way.

use jiff::Timestamp;
use postrider::{
    hint::Hint,
    model::{Attempt, Delivery, DeliveryId, TenantId, WebhookId},
};
use rusqlite::{Connection, params};

use crate::{
    deliveries::{COLUMNS, delivery},
    rows,
};

/// The first parked deliveries of a webhook.
const FIRST: &str = "SELECT webhook, event FROM deliveries
    WHERE webhook = ?1 AND state = 'parked' AND tenant = ?2 ORDER BY parked_at, event LIMIT ?3";

/// One that is given up is due no more, but to leave the line that it stands in.
const LEAVES: &str = "due_at = CASE WHEN ordering_key IS NOT NULL THEN 0 END";

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(crate) fn release(
    db: &Connection,
    tenant: &TenantId,
    webhook: WebhookId,
    due: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Hint>> {
    let sql = format!(
        "UPDATE deliveries SET state = 'pending', due_at = ?4, leased_until = NULL
         WHERE (webhook, event) IN ({FIRST}) RETURNING {COLUMNS}"
    );
    let wanted = params![webhook.0.as_bytes(), tenant.as_str(), at_most(limit), due.as_microsecond()];
    let mut released =
        db.prepare_cached(&sql)?.query_map(wanted, delivery)?.collect::<rusqlite::Result<Vec<_>>>()?;
    // RETURNING has no order of its own.
    released.sort_by_key(|delivery| (delivery.parked_at, delivery.id.event));
    Ok(released.iter().map(Hint::next).collect())
}

pub(crate) fn discard(
    db: &Connection,
    tenant: &TenantId,
    webhook: WebhookId,
    limit: usize,
) -> rusqlite::Result<usize> {
    let sql =
        format!("UPDATE deliveries SET state = 'discarded', {LEAVES} WHERE (webhook, event) IN ({FIRST})");
    db.prepare_cached(&sql)?.execute(params![webhook.0.as_bytes(), tenant.as_str(), at_most(limit)])
}

pub(crate) fn give_up(
    db: &Connection,
    tenant: &TenantId,
    id: DeliveryId,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE deliveries SET state = 'discarded', next_attempt_at = NULL, leased_until = NULL, {LEAVES}
         WHERE webhook = ? AND event = ? AND tenant = ? AND state NOT IN ('delivered', 'discarded')
           AND (state <> 'pending' OR leased_until IS NULL OR leased_until <= ?)"
    );
    let (webhook, event) = (id.webhook.0.as_bytes(), id.event.as_bytes());
    let wanted = params![webhook, event, tenant.as_str(), now.as_microsecond()];
    Ok(db.prepare_cached(&sql)?.execute(wanted)? > 0)
}

pub(crate) fn waiting(
    db: &Connection,
    tenant: &TenantId,
    webhook: WebhookId,
    limit: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries
         WHERE webhook = ? AND state = 'parked' AND tenant = ? ORDER BY parked_at, event LIMIT ?"
    );
    let wanted = params![webhook.0.as_bytes(), tenant.as_str(), at_most(limit)];
    db.prepare_cached(&sql)?.query_map(wanted, delivery)?.collect()
}

pub(crate) fn acknowledge(
    db: &Connection,
    tenant: &TenantId,
    deliveries: &[DeliveryId],
    by: &Attempt,
) -> rusqlite::Result<()> {
    let attempts = serde_json::to_vec(&[by]).map_err(|error| rows::odd(0, error))?;
    let sql = "UPDATE deliveries SET state = 'delivered', attempt_count = ?, attempts = ?
        WHERE webhook = ? AND event = ? AND tenant = ? AND state = 'parked'";
    let mut update = db.prepare_cached(sql)?;
    for id in deliveries {
        let (webhook, event) = (id.webhook.0.as_bytes(), id.event.as_bytes());
        update.execute(params![by.number, attempts, webhook, event, tenant.as_str()])?;
    }
    Ok(())
}

pub(crate) fn count(db: &Connection, webhook: WebhookId, most: usize) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM
        (SELECT 1 FROM deliveries WHERE webhook = ? AND state = 'parked' LIMIT ?)";
    db.prepare_cached(sql)?.query_row(params![webhook.0.as_bytes(), at_most(most)], |row| row.get(0))
}

pub(crate) fn look_at(
    db: &Connection,
    tenant: &TenantId,
    webhook: WebhookId,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO looks (webhook, tenant, at) VALUES (?, ?, ?)";
    db.prepare_cached(sql)?
        .execute(params![webhook.0.as_bytes(), tenant.as_str(), at.as_microsecond()])
        .map(drop)
}

pub(crate) fn to_look_at(
    db: &Connection,
    now: Timestamp,
    lease: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<(TenantId, WebhookId)>> {
    let sql = "UPDATE looks SET at = ?1 WHERE webhook IN
        (SELECT webhook FROM looks WHERE at <= ?2 ORDER BY at LIMIT ?3) RETURNING tenant, webhook";
    let wanted = params![lease.as_microsecond(), now.as_microsecond(), at_most(limit)];
    db.prepare_cached(sql)?
        .query_map(wanted, |row| Ok((rows::parsed(row, 0)?, WebhookId(rows::uuid(row, 1)?))))?
        .collect()
}
