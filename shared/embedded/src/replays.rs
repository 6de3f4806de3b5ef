//! Replays, and what lies in a window of time.

use std::{convert::identity, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Delivery, DeliveryId, Event, Replay, ReplayId, TenantId, WebhookId, Window},
    operation::{Page, PageRequest},
    ports::Replays,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    Engine,
    deliveries::{COLUMNS, delivery},
    events, rows,
};

/// Events that one page looks at, whosesoever they are.
const LOOKED_AT: i64 = 1000;

fn odd_cursor() -> Error {
    Error::invalid("cursor", "is not one that we gave")
}

fn replay(row: &Row<'_>) -> rusqlite::Result<Replay> {
    rows::json(row, 0)
}

#[async_trait]
impl Replays for Engine {
    async fn add_replay(&self, replay: &Replay, due: Timestamp) -> Result<(), Error> {
        let (replay, body) = (replay.clone(), rows::to_json(replay)?);
        let write = move |db: &Connection| {
            let sql =
                "INSERT INTO replays (tenant, id, step, due_at, created_at, body) VALUES (?, ?, ?, ?, ?, ?)";
            db.prepare_cached(sql)?
                .execute(params![
                    replay.tenant.as_str(),
                    replay.id.0.as_bytes(),
                    replay.step,
                    due.as_microsecond(),
                    replay.created_at.as_microsecond(),
                    body
                ])
                .map(drop)
        };
        self.0.writer.write(write, identity).await
    }

    async fn replay(&self, tenant: &TenantId, id: ReplayId) -> Result<Option<Replay>, Error> {
        let tenant = tenant.clone();
        let query = self.read(move |db| {
            db.prepare_cached("SELECT body FROM replays WHERE tenant = ? AND id = ?")?
                .query_row(params![tenant.as_str(), id.0.as_bytes()], replay)
                .optional()
        });
        query.await
    }

    async fn replays(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Replay>, Error> {
        let (tenant, limit) = (tenant.clone(), page.limit);
        let before = match page.after.as_deref().map(str::parse::<ReplayId>) {
            None => [0xff; 16],
            Some(Ok(id)) => id.0.into_bytes(),
            Some(Err(_)) => return Err(odd_cursor()),
        };
        let query = self.read(move |db| {
            let sql = "SELECT body FROM replays WHERE tenant = ? AND id < ? ORDER BY id DESC LIMIT ?";
            let wanted = params![tenant.as_str(), before, rows::beyond(limit)];
            db.prepare_cached(sql)?.query_map(wanted, replay)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(rows::page(query.await?, limit, |replay| replay.id.to_string()))
    }

    async fn advance_replay(&self, new: &Replay, due: Option<Timestamp>) -> Result<bool, Error> {
        let (new, body) = (new.clone(), rows::to_json(new)?);
        let write = move |db: &Connection| {
            let sql = "UPDATE replays SET step = ?1, due_at = ?2, body = ?3
                       WHERE tenant = ?4 AND id = ?5 AND step = ?1 - 1";
            let due = due.map(Timestamp::as_microsecond);
            let moved = db.prepare_cached(sql)?.execute(params![
                new.step,
                due,
                body,
                new.tenant.as_str(),
                new.id.0.as_bytes()
            ])?;
            Ok(moved > 0)
        };
        self.0.writer.write(write, identity).await
    }

    async fn due_replays(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, ReplayId)>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let write = move |db: &Connection| {
            let sql = "UPDATE replays SET due_at = ?1 WHERE (tenant, id) IN
                (SELECT tenant, id FROM replays WHERE due_at <= ?2 ORDER BY due_at LIMIT ?3)
                RETURNING tenant, id";
            db.prepare_cached(sql)?
                .query_map(params![lease.as_microsecond(), now.as_microsecond(), limit], |row| {
                    Ok((rows::parsed(row, 0)?, ReplayId(rows::uuid(row, 1)?)))
                })?
                .collect()
        };
        self.0.writer.write(write, identity).await
    }
}

impl Engine {
    pub(crate) async fn deliveries_in(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let (tenant, window, limit) = (tenant.clone(), *window, page.limit);
        let (first, last) = window.numbers().into_inner();
        let after = match page.after.as_deref().map(str::parse::<DeliveryId>) {
            None => [0; 16],
            Some(Ok(id)) => id.event.into_bytes(),
            Some(Err(_)) => return Err(odd_cursor()),
        };
        let query = self.read(move |db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM deliveries WHERE webhook = ? AND event > ? AND event >= ? AND event <= ?
                 AND tenant = ? AND created_at >= ? AND created_at < ? ORDER BY event LIMIT ?"
            );
            let wanted = params![
                webhook.0.as_bytes(),
                after,
                first.as_bytes(),
                last.as_bytes(),
                tenant.as_str(),
                window.since.as_microsecond(),
                window.until.as_microsecond(),
                rows::beyond(limit)
            ];
            db.prepare_cached(&sql)?.query_map(wanted, delivery)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(rows::page(query.await?, limit, |delivery| delivery.id.to_string()))
    }

    pub(crate) async fn events_in(
        &self,
        tenant: &TenantId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Arc<Event>>, Error> {
        let (tenant, window, limit) = (tenant.clone(), *window, page.limit);
        let after = match page.after.as_deref().map(|text| text.split_once('.')) {
            None => (i64::MIN, 0),
            Some(Some((at, seq))) => match (at.parse(), seq.parse()) {
                (Ok(at), Ok(seq)) => (at, seq),
                _ => return Err(odd_cursor()),
            },
            Some(None) => return Err(odd_cursor()),
        };
        self.read(move |db| events_in(db, &tenant, &window, after, limit)).await
    }
}

/// A page ends when it is full, or when many events were looked at: those of others lie among them.
fn events_in(
    db: &Connection,
    tenant: &TenantId,
    window: &Window,
    after: (i64, i64),
    limit: usize,
) -> rusqlite::Result<Page<Arc<Event>>> {
    let sql = "SELECT accepted_at, seq, tenant = ?1 FROM events
        WHERE accepted_at >= ?2 AND accepted_at < ?3 AND (accepted_at, seq) > (?4, ?5)
        ORDER BY accepted_at, seq LIMIT ?6";
    let (since, until) = (window.since.as_microsecond(), window.until.as_microsecond());
    let wanted = params![tenant.as_str(), since.max(after.0), until, after.0, after.1, LOOKED_AT];
    let mut statement = db.prepare_cached(sql)?;
    let mut found = statement.query(wanted)?;
    let (mut items, mut looked, mut last) = (Vec::new(), 0, after);
    while let Some(row) = found.next()? {
        if items.len() == limit {
            return Ok(Page { items, next: Some(format!("{}.{}", last.0, last.1)) });
        }
        last = (row.get(0)?, row.get(1)?);
        looked += 1;
        if row.get(2)? {
            items.push(Arc::new(events::numbered(db, last.1)?));
        }
    }
    let next = (looked == LOOKED_AT).then(|| format!("{}.{}", last.0, last.1));
    Ok(Page { items, next })
}
