//! The queue, in the same file as the rest: delays, visibility, redelivery, dead letters.
//!
//! Every message is on disk before its sender is answered. Those of one event share a row, which goes when the
//! last of them is done with: a fan-out costs the queue two writes, however wide it is. What waits is handed out
//! from memory, in order; a backlog too long for memory stays on disk and is fetched as memory empties. What is
//! being worked on, and what is done of a row, is known in memory alone: if the process dies, the whole row is
//! handed out again, as messages that were handed out before.

mod waiting;

use std::{convert::identity, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    errand::Errand,
    error::Error,
    fan_out,
    model::Event,
    ports::{MAX_DELAY, Queue, Sending},
};
use rusqlite::{Connection, params};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::waiting::Waiting;
use self::waiting::{Message, Row};
use crate::Engine;

/// Rows fetched from disk at once.
const FETCH: usize = 200;
/// Messages of one row at most: those that are done with stay on disk with those that are not.
const IN_A_ROW: usize = 100;
/// What parts the messages of a row. They are JSON on one line each.
const BETWEEN: char = '\n';

/// What the queue's owner decides.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a message that was handed out stays invisible.
    pub visibility: Duration,
    /// How often a message is handed out before it becomes a dead letter.
    pub max_receives: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { visibility: Duration::from_mins(6), max_receives: 5 }
    }
}

/// A message that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// By which it is deleted or put back, for as long as it is invisible.
    pub id: u64,
    /// What its sender wrote.
    pub body: String,
    /// How often it was handed out, this time included.
    pub received: u32,
}

impl Waiting {
    /// Looks at what an earlier process left: all of it waits again.
    pub(crate) fn load(db: &Connection, settings: Settings) -> rusqlite::Result<Self> {
        db.execute("UPDATE queue SET visible_at = 0 WHERE visible_at < 0", [])?;
        let last = db.query_row("SELECT coalesce(max(id), 0) FROM queue", [], |row| row.get(0))?;
        Ok(Self::new(settings, last, next_delayed(db)?))
    }
}

fn next_delayed(db: &Connection) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT min(visible_at) FROM queue WHERE visible_at > 0")?
        .query_row([], |row| row.get(0))
}

impl Engine {
    /// Hands out up to `max` messages; waits up to `patience` for the first. `now` is asked for the time.
    pub async fn receive(
        &self,
        max: usize,
        patience: Duration,
        now: impl Fn() -> Timestamp,
    ) -> Result<Vec<Received>, Error> {
        let end = Instant::now() + patience;
        loop {
            self.refill(now()).await?;
            let (taken, dead) = self.0.waiting.take(max, Instant::now());
            self.bury(dead, now()).await?;
            if !taken.is_empty() || Instant::now() >= end {
                return Ok(taken);
            }
            let look = self.0.waiting.next_look(now(), Instant::now()).map_or(end, |look| look.min(end));
            // Either something arrived, or it is time to look.
            let _ = timeout_at(look, self.0.waiting.arrival()).await;
        }
    }

    /// Deletes messages that are done with.
    pub async fn delete(&self, ids: Vec<u64>) -> Result<(), Error> {
        let (_, emptied) = self.0.waiting.land(&ids);
        if emptied.is_empty() {
            return Ok(());
        }
        self.0.writer.write(move |db| delete(db, &emptied), identity).await
    }

    /// Makes messages visible again after `delay`, and notes how often they were handed out.
    pub async fn put_back(&self, ids: Vec<u64>, delay: Duration, now: Timestamp) -> Result<(), Error> {
        let (messages, emptied) = self.0.waiting.land(&ids);
        let visible_at = visible_at(delay, now).max(1);
        let waiting = self.0.waiting.clone();
        // Each in a row of its own: a later one may fail where the others of its row did not.
        let job = move |db: &Connection| {
            let mut insert =
                db.prepare_cached("INSERT INTO queue (id, visible_at, received, body) VALUES (?, ?, ?, ?)")?;
            for Message { received, body, .. } in &messages {
                insert.execute(params![waiting.next_row(), visible_at, received, body])?;
            }
            delete(db, &emptied)?;
            Ok(waiting)
        };
        self.0.writer.write(job, move |waiting| waiting.arrive([], Some(visible_at))).await
    }

    /// How many messages became dead letters.
    pub async fn dead_letters(&self) -> Result<usize, Error> {
        self.read(|db| db.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))).await
    }

    /// Brings messages into memory: those on disk alone, and those whose delay has passed.
    async fn refill(&self, now: Timestamp) -> Result<(), Error> {
        let now = now.as_microsecond();
        let (fetch_after, promote) = self.0.waiting.to_do(now);
        if let Some(after) = fetch_after {
            let waiting = self.0.waiting.clone();
            let fetched =
                self.0.writer.write(move |db| fetch(db, after), move |found| waiting.fetched(found, FETCH));
            if let Err(error) = fetched.await {
                self.0.waiting.not_fetched();
                return Err(error);
            }
        }
        if promote {
            let waiting = self.0.waiting.clone();
            let job = move |db: &Connection| Ok((promoted(db, now)?, next_delayed(db)?));
            self.0.writer.write(job, move |(found, next)| waiting.promoted(found, next)).await?;
        }
        Ok(())
    }

    /// Moves messages that were handed out too often where somebody can look at them.
    async fn bury(&self, dead: Vec<Message>, now: Timestamp) -> Result<(), Error> {
        if dead.is_empty() {
            return Ok(());
        }
        tracing::error!(messages = dead.len(), "messages became dead letters");
        let emptied = self.0.waiting.done(&dead);
        let job = move |db: &Connection| {
            for Message { body, received, .. } in &dead {
                db.prepare_cached("INSERT INTO dead_letters (received, body, died_at) VALUES (?, ?, ?)")?
                    .execute(params![received, body, now.as_microsecond()])?;
            }
            delete(db, &emptied)
        };
        self.0.writer.write(job, identity).await
    }
}

fn delete(db: &Connection, rows: &[i64]) -> rusqlite::Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM queue WHERE id = ?")?;
    rows.iter().try_for_each(|row| delete.execute([row]).map(drop))
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row { id: row.get(0)?, bodies: row.get(1)?, received: row.get(2)? })
}

fn fetch(db: &Connection, after: i64) -> rusqlite::Result<Vec<Row>> {
    let sql = "SELECT id, body, received FROM queue WHERE id > ? AND visible_at = 0 ORDER BY id LIMIT ?";
    let limit = i64::try_from(FETCH).unwrap_or(i64::MAX);
    db.prepare_cached(sql)?.query_map([after, limit], row)?.collect()
}

/// Delayed messages whose time has come. They keep a mark of their own (-1 instead of 0) so that a fetch from
/// disk does not find them once more; the next process finds them by that mark.
fn promoted(db: &Connection, now: i64) -> rusqlite::Result<Vec<Row>> {
    let sql = "UPDATE queue SET visible_at = -1 WHERE id IN
               (SELECT id FROM queue WHERE visible_at > 0 AND visible_at <= ? ORDER BY visible_at LIMIT ?)
               RETURNING id, body, received";
    let limit = i64::try_from(FETCH).unwrap_or(i64::MAX);
    db.prepare_cached(sql)?.query_map([now, limit], row)?.collect()
}

fn visible_at(delay: Duration, now: Timestamp) -> i64 {
    let micros = i64::try_from(delay.min(MAX_DELAY).as_micros()).unwrap_or(i64::MAX);
    now.as_microsecond().saturating_add(micros)
}

/// Rows to be.
pub(crate) struct Rows(Vec<NewRow>);

struct NewRow {
    visible_at: i64,
    messages: usize,
    bodies: String,
}

/// Rows that were written.
pub(crate) struct Written {
    ready: Vec<Row>,
    delayed_until: Option<i64>,
}

impl Rows {
    pub(crate) fn gather(batch: impl IntoIterator<Item = Sending>) -> Result<Self, Error> {
        // The event is not in the message: it is in the same file, and the newest are in memory.
        Self::of(batch.into_iter().map(|sending| Ok((sending.hint.write(None)?, sending.delay))))
    }

    /// What is queued of an event just accepted.
    pub(crate) fn accepted(event: &Arc<Event>) -> Result<Self, Error> {
        let first = Sending::first(event).map(|sending| Ok((sending.hint.write(None)?, sending.delay)));
        let rest = fan_out::rest(event, fan_out::PAGE);
        Self::of(first.chain(rest.map(|errand| Ok((errand.write()?, Duration::ZERO)))))
    }

    fn of(messages: impl Iterator<Item = Result<(String, Duration), Error>>) -> Result<Self, Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the queue is an adapter: its delays run on the real clock"
        )]
        let now = Timestamp::try_from(std::time::SystemTime::now()).unwrap_or_default();
        let mut rows: Vec<NewRow> = Vec::new();
        for message in messages {
            let (body, delay) = message?;
            let visible_at = if delay.is_zero() { 0 } else { visible_at(delay, now) };
            match rows.last_mut() {
                Some(row) if row.visible_at == visible_at && row.messages < IN_A_ROW => {
                    row.messages += 1;
                    row.bodies.push(BETWEEN);
                    row.bodies.push_str(&body);
                }
                _ => rows.push(NewRow { visible_at, messages: 1, bodies: body }),
            }
        }
        Ok(Self(rows))
    }
}

impl Waiting {
    pub(crate) fn write(&self, db: &Connection, rows: Rows) -> rusqlite::Result<Written> {
        let mut insert = db.prepare_cached("INSERT INTO queue (id, visible_at, body) VALUES (?, ?, ?)")?;
        let mut written = Written { ready: Vec::with_capacity(rows.0.len()), delayed_until: None };
        for NewRow { visible_at, bodies, .. } in rows.0 {
            let id = self.next_row();
            insert.execute(params![id, visible_at, bodies])?;
            if visible_at == 0 {
                written.ready.push(Row { id, bodies, received: 0 });
            } else {
                let first = written.delayed_until.map_or(visible_at, |next| next.min(visible_at));
                written.delayed_until = Some(first);
            }
        }
        Ok(written)
    }

    pub(crate) fn written(&self, Written { ready, delayed_until }: Written) {
        self.arrive(ready, delayed_until);
    }
}

#[async_trait]
impl Queue for Engine {
    async fn send(&self, batch: Vec<Sending>) -> Result<(), Error> {
        self.enqueue(Rows::gather(batch)?).await
    }

    async fn charge(&self, errand: &Errand, delay: Duration) -> Result<(), Error> {
        self.enqueue(Rows::of(std::iter::once(errand.write().map(|body| (body, delay))))?).await
    }
}

impl Engine {
    async fn enqueue(&self, rows: Rows) -> Result<(), Error> {
        let (waiting, arriving) = (self.0.waiting.clone(), self.0.waiting.clone());
        let write = move |db: &Connection| waiting.write(db, rows);
        self.0.writer.write(write, move |written| arriving.written(written)).await
    }
}

#[cfg(test)]
mod tests;
