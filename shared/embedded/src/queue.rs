//! The queue, in the same file as the rest: delays, visibility, redelivery, dead letters.
//!
//! Every message is on disk before its sender is answered. Those of one event share a row, which goes when the
//! last of them is done with: a fan-out costs the queue two writes, however wide it is. What waits is handed out
//! from memory, tenant by tenant in turn, and each tenant's in order; a backlog too long for memory stays on disk
//! and is fetched as the tenant's line in memory gets short. What is
//! being worked on, and what is done of a row, is known in memory alone: if the process dies, the whole row is
//! handed out again, as messages that were handed out before.

mod lines;
mod waiting;

use std::{
    convert::identity,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    errand::Errand,
    error::Error,
    fan_out,
    hint::Lane,
    model::{Event, TenantId},
    ports::{MAX_DELAY, Queue, Sending},
};
use rusqlite::{Connection, params};
use tokio::time::{Instant, timeout_at};

use self::{
    lines::{Message, Wanted},
    waiting::{Row, Waiting},
};
use crate::{Engine, rows};

/// Rows fetched from disk at once, of one tenant.
const FETCH: usize = 200;
/// With so many messages, no further row is fetched.
const FETCHED: usize = 1000;
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

/// Both lanes.
#[derive(Clone)]
pub(crate) struct Lanes {
    fast: Arc<Waiting>,
    slow: Arc<Waiting>,
    /// The newest row's number. SQLite would give the number of a deleted row again.
    last_row: Arc<AtomicI64>,
}

impl Lanes {
    /// Looks at what an earlier process left: all of it waits again.
    pub(crate) fn load(db: &Connection, settings: Settings) -> rusqlite::Result<Self> {
        db.execute("UPDATE queue SET visible_at = 0 WHERE visible_at < 0", [])?;
        let last = db.query_row("SELECT coalesce(max(id), 0) FROM queue", [], |row| row.get(0))?;
        let waiting = |lane| {
            let tenants = db
                .prepare("SELECT DISTINCT tenant FROM queue WHERE lane = ? AND visible_at = 0")?
                .query_map([lane], |row| rows::parsed(row, 0))?
                .collect::<rusqlite::Result<_>>()?;
            Ok::<_, rusqlite::Error>(
                Waiting::new(lane, settings, tenants, last, next_delayed(db, lane)?).into(),
            )
        };
        Ok(Self { fast: waiting(0)?, slow: waiting(1)?, last_row: Arc::new(last.into()) })
    }

    fn of(&self, lane: Lane) -> &Arc<Waiting> {
        match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        }
    }

    /// A number for a new row, larger than all before. Asked for on the writing thread alone.
    fn next_row(&self) -> i64 {
        self.last_row.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn next_delayed(db: &Connection, lane: i64) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT min(visible_at) FROM queue WHERE lane = ? AND visible_at > 0")?
        .query_row([lane], |row| row.get(0))
}

impl Engine {
    /// Hands out up to `max` messages of a lane; waits up to `patience` for the first. `now` is asked for the time.
    pub async fn receive(
        &self,
        lane: Lane,
        max: usize,
        patience: Duration,
        now: impl Fn() -> Timestamp,
    ) -> Result<Vec<Received>, Error> {
        let (end, waiting) = (Instant::now() + patience, self.0.queue.of(lane));
        loop {
            self.refill(waiting, now()).await?;
            let (taken, dead) = waiting.take(max, Instant::now());
            self.bury(waiting, dead, now()).await?;
            if !taken.is_empty() || Instant::now() >= end {
                return Ok(taken);
            }
            let look = waiting.next_look(now(), Instant::now()).map_or(end, |look| look.min(end));
            // Either something arrived, or it is time to look.
            let _ = timeout_at(look, waiting.arrival()).await;
        }
    }

    /// Deletes messages of a lane that are done with.
    pub async fn delete(&self, lane: Lane, ids: Vec<u64>) -> Result<(), Error> {
        let (_, emptied) = self.0.queue.of(lane).land(&ids);
        if emptied.is_empty() {
            return Ok(());
        }
        self.0.writer.write(move |db| delete(db, &emptied), identity).await
    }

    /// Makes messages of a lane visible again after `delay`, and notes how often they were handed out.
    pub async fn put_back(
        &self,
        lane: Lane,
        ids: Vec<u64>,
        delay: Duration,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (queue, waiting) = (self.0.queue.clone(), self.0.queue.of(lane).clone());
        let (messages, emptied) = waiting.land(&ids);
        let visible_at = visible_at(delay, now).max(1);
        // Each in a row of its own: a later one may fail where the others of its row did not.
        let job = move |db: &Connection| {
            let sql = "INSERT INTO queue (id, lane, tenant, visible_at, received, body)
                       VALUES (?, ?, ?, ?, ?, ?)";
            let mut insert = db.prepare_cached(sql)?;
            for Message { tenant, received, body, .. } in &messages {
                let (id, tenant) = (queue.next_row(), tenant.as_str());
                insert.execute(params![id, waiting.lane, tenant, visible_at, received, body])?;
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
    async fn refill(&self, waiting: &Arc<Waiting>, now: Timestamp) -> Result<(), Error> {
        let (lane, now) = (waiting.lane, now.as_microsecond());
        let (wanted, promote) = waiting.to_do(now);
        if !wanted.is_empty() {
            let (filling, asked) = (waiting.clone(), wanted.clone());
            let job = move |db: &Connection| asked.iter().map(|asked| fetch(db, lane, asked)).collect();
            let fetched = self.0.writer.write(job, move |found| filling.fetched(found));
            if let Err(error) = fetched.await {
                waiting.not_fetched(wanted);
                return Err(error);
            }
        }
        if promote {
            let waiting = waiting.clone();
            let job = move |db: &Connection| Ok((promoted(db, lane, now)?, next_delayed(db, lane)?));
            self.0.writer.write(job, move |(found, next)| waiting.promoted(found, next)).await?;
        }
        Ok(())
    }

    /// Moves messages that were handed out too often where somebody can look at them.
    async fn bury(&self, waiting: &Waiting, dead: Vec<Message>, now: Timestamp) -> Result<(), Error> {
        if dead.is_empty() {
            return Ok(());
        }
        tracing::error!(messages = dead.len(), "messages became dead letters");
        let emptied = waiting.done(&dead);
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
    Ok(Row { id: row.get(0)?, bodies: row.get(1)?, received: row.get(2)?, tenant: rows::parsed(row, 3)? })
}

/// A tenant's rows that are next, and after which row there may be more.
fn fetch(
    db: &Connection,
    lane: i64,
    (tenant, after): &Wanted,
) -> rusqlite::Result<(TenantId, Vec<Row>, Option<i64>)> {
    let sql = "SELECT id, body, received, tenant FROM queue
               WHERE lane = ? AND tenant = ? AND id > ? AND visible_at = 0 ORDER BY id LIMIT ?";
    let mut statement = db.prepare_cached(sql)?;
    let limit = i64::try_from(FETCH).unwrap_or(i64::MAX);
    let mut found = statement.query(params![lane, tenant.as_str(), after, limit])?;
    let (mut rows, mut messages) = (Vec::new(), 0);
    while messages < FETCHED
        && let Some(next) = found.next()?
    {
        let next = row(next)?;
        messages += next.bodies.split(BETWEEN).count();
        rows.push(next);
    }
    let is_all = rows.len() < FETCH && messages < FETCHED;
    let more_after = rows.last().map(|row| row.id).filter(|_| !is_all);
    Ok((tenant.clone(), rows, more_after))
}

/// Delayed messages whose time has come. They keep a mark of their own (-1 instead of 0) so that a fetch from
/// disk does not find them once more; the next process finds them by that mark.
fn promoted(db: &Connection, lane: i64, now: i64) -> rusqlite::Result<Vec<Row>> {
    let sql = "UPDATE queue SET visible_at = -1 WHERE id IN
               (SELECT id FROM queue WHERE lane = ? AND visible_at > 0 AND visible_at <= ?
                ORDER BY visible_at LIMIT ?)
               RETURNING id, body, received, tenant";
    let limit = i64::try_from(FETCH).unwrap_or(i64::MAX);
    db.prepare_cached(sql)?.query_map([lane, now, limit], row)?.collect()
}

fn visible_at(delay: Duration, now: Timestamp) -> i64 {
    let micros = i64::try_from(delay.min(MAX_DELAY).as_micros()).unwrap_or(i64::MAX);
    now.as_microsecond().saturating_add(micros)
}

/// Rows to be.
pub(crate) struct Rows(Vec<NewRow>);

struct NewRow {
    lane: Lane,
    tenant: TenantId,
    visible_at: i64,
    messages: usize,
    bodies: String,
}

/// A message to be.
struct NewMessage {
    lane: Lane,
    tenant: TenantId,
    body: String,
    delay: Duration,
}

impl NewMessage {
    /// The event is not in the message: it is in the same file, and the newest are in memory.
    fn hint(Sending { hint, delay, .. }: Sending) -> Result<Self, Error> {
        Ok(Self { lane: hint.lane(), body: hint.write(None)?, tenant: hint.tenant, delay })
    }

    fn errand(errand: &Errand, delay: Duration) -> Result<Self, Error> {
        Ok(Self { lane: errand.lane(), tenant: errand.tenant().clone(), body: errand.write()?, delay })
    }
}

/// Rows that were written, of each lane.
#[derive(Default)]
pub(crate) struct Written {
    fast: Arrived,
    slow: Arrived,
}

#[derive(Default)]
struct Arrived {
    ready: Vec<Row>,
    delayed_until: Option<i64>,
}

impl Rows {
    pub(crate) fn gather(batch: impl IntoIterator<Item = Sending>) -> Result<Self, Error> {
        Self::of(batch.into_iter().map(NewMessage::hint))
    }

    /// What is queued of an event just accepted.
    pub(crate) fn accepted(event: &Arc<Event>) -> Result<Self, Error> {
        let first = Sending::first(event).map(NewMessage::hint);
        let rest = fan_out::rest(event, fan_out::PAGE);
        Self::of(first.chain(rest.map(|errand| NewMessage::errand(&errand, Duration::ZERO))))
    }

    fn of(messages: impl Iterator<Item = Result<NewMessage, Error>>) -> Result<Self, Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the queue is an adapter: its delays run on the real clock"
        )]
        let now = Timestamp::try_from(std::time::SystemTime::now()).unwrap_or_default();
        let mut rows: Vec<NewRow> = Vec::new();
        for message in messages {
            let NewMessage { lane, tenant, body, delay } = message?;
            let visible_at = if delay.is_zero() { 0 } else { visible_at(delay, now) };
            match rows.last_mut() {
                Some(row)
                    if (row.visible_at, row.lane, &row.tenant) == (visible_at, lane, &tenant)
                        && row.messages < IN_A_ROW =>
                {
                    row.messages += 1;
                    row.bodies.push(BETWEEN);
                    row.bodies.push_str(&body);
                }
                _ => rows.push(NewRow { lane, tenant, visible_at, messages: 1, bodies: body }),
            }
        }
        Ok(Self(rows))
    }
}

impl Lanes {
    pub(crate) fn write(&self, db: &Connection, rows: Rows) -> rusqlite::Result<Written> {
        let sql = "INSERT INTO queue (id, lane, tenant, visible_at, body) VALUES (?, ?, ?, ?, ?)";
        let mut insert = db.prepare_cached(sql)?;
        let mut written = Written::default();
        for NewRow { lane, tenant, visible_at, bodies, .. } in rows.0 {
            let id = self.next_row();
            insert.execute(params![id, self.of(lane).lane, tenant.as_str(), visible_at, bodies])?;
            let arrived = match lane {
                Lane::Fast => &mut written.fast,
                Lane::Slow => &mut written.slow,
            };
            if visible_at == 0 {
                arrived.ready.push(Row { id, tenant, bodies, received: 0 });
            } else {
                let first = arrived.delayed_until.map_or(visible_at, |next| next.min(visible_at));
                arrived.delayed_until = Some(first);
            }
        }
        Ok(written)
    }

    pub(crate) fn written(&self, Written { fast, slow }: Written) {
        for (waiting, Arrived { ready, delayed_until }) in [(&self.fast, fast), (&self.slow, slow)] {
            if !ready.is_empty() || delayed_until.is_some() {
                waiting.arrive(ready, delayed_until);
            }
        }
    }
}

#[async_trait]
impl Queue for Engine {
    async fn send(&self, batch: Vec<Sending>) -> Result<(), Error> {
        self.enqueue(Rows::gather(batch)?).await
    }

    async fn charge(&self, errand: &Errand, delay: Duration) -> Result<(), Error> {
        self.enqueue(Rows::of(std::iter::once(NewMessage::errand(errand, delay)))?).await
    }
}

impl Engine {
    async fn enqueue(&self, rows: Rows) -> Result<(), Error> {
        let (queue, arriving) = (self.0.queue.clone(), self.0.queue.clone());
        let write = move |db: &Connection| queue.write(db, rows);
        self.0.writer.write(write, move |written| arriving.written(written)).await
    }
}

#[cfg(test)]
mod tests;
