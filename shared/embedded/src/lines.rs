//! Lines: what goes out one after the other.

use std::convert::identity;

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{Delivery, Event, Line},
    ports::{Lines, Turn},
};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::{
    Engine,
    deliveries::{COLUMNS, delivery, put},
    rows,
};

/// Puts an event, new, into the lines of the webhooks that are ordered.
pub(crate) fn line_up(db: &Connection, event: &Event) -> rusqlite::Result<()> {
    let Some(key) = &event.ordering_key else { return Ok(()) };
    for webhook in &event.ordered {
        db.prepare_cached("INSERT INTO lines (webhook, key, event) VALUES (?, ?, ?)")?.execute(params![
            webhook.0.as_bytes(),
            key.as_str(),
            event.uid.as_bytes()
        ])?;
    }
    Ok(())
}

fn first(db: &Connection, line: &Line) -> rusqlite::Result<Option<Uuid>> {
    let sql = "SELECT event FROM lines WHERE webhook = ? AND key = ? ORDER BY event LIMIT 1";
    let wanted = params![line.webhook.0.as_bytes(), line.key.as_str()];
    db.prepare_cached(sql)?.query_row(wanted, |row| rows::uuid(row, 0)).optional()
}

fn wait_behind(
    db: &Connection,
    delivery: &Delivery,
    had: u32,
    line: &Line,
    before: Uuid,
) -> rusqlite::Result<Turn> {
    let mut stands = db.prepare_cached("SELECT 1 FROM lines WHERE webhook = ? AND key = ? AND event = ?")?;
    let (webhook, key) = (line.webhook.0.as_bytes(), line.key.as_str());
    if !stands.exists(params![webhook, key, delivery.id.event.as_bytes()])? {
        return Ok(Turn::Apart);
    }
    if !stands.exists(params![webhook, key, before.as_bytes()])? {
        return Ok(Turn::Moved);
    }
    let attempts = serde_json::to_vec(&delivery.attempts).map_err(|error| rows::odd(0, error))?;
    Ok(if put(db, delivery, &attempts, had, None, None)? { Turn::Waits } else { Turn::Lost })
}

fn advance(
    db: &Connection,
    line: &Line,
    gone: Option<Uuid>,
    due: Timestamp,
) -> rusqlite::Result<Option<Hint>> {
    let webhook = line.webhook.0.as_bytes();
    if let Some(gone) = gone {
        db.prepare_cached("DELETE FROM lines WHERE webhook = ? AND key = ? AND event = ?")?
            .execute(params![webhook, line.key.as_str(), gone.as_bytes()])?;
        let sql = "UPDATE deliveries SET due_at = NULL WHERE webhook = ? AND event = ?
                   AND state IN ('delivered', 'failed', 'discarded')";
        db.prepare_cached(sql)?.execute(params![webhook, gone.as_bytes()])?;
    }
    let Some(first) = first(db, line)? else { return Ok(None) };
    let sql = format!(
        "UPDATE deliveries SET state = 'pending', due_at = ?, leased_until = NULL
         WHERE webhook = ? AND event = ? AND tenant = ? AND state = 'waiting' RETURNING {COLUMNS}"
    );
    let wanted = params![due.as_microsecond(), webhook, first.as_bytes(), line.tenant.as_str()];
    let woken = db.prepare_cached(&sql)?.query_row(wanted, delivery).optional()?;
    Ok(woken.as_ref().map(Hint::next))
}

#[async_trait]
impl Lines for Engine {
    async fn first(&self, line: &Line) -> Result<Option<Uuid>, Error> {
        let line = line.clone();
        self.read(move |db| first(db, &line)).await
    }

    async fn wait_behind(
        &self,
        delivery: &Delivery,
        had: u32,
        line: &Line,
        before: Uuid,
    ) -> Result<Turn, Error> {
        let (delivery, line) = (delivery.clone(), line.clone());
        let write = move |db: &Connection| wait_behind(db, &delivery, had, &line, before);
        self.0.writer.write(write, identity).await
    }

    async fn advance(&self, line: &Line, gone: Option<Uuid>, due: Timestamp) -> Result<Option<Hint>, Error> {
        let line = line.clone();
        self.0.writer.write(move |db| advance(db, &line, gone, due), identity).await
    }
}
