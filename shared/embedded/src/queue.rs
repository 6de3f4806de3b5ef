//! The queue, in the same file as the rest: delays, visibility, redelivery, dead letters.
//!
//! Every message is on disk before its sender is answered. What waits is handed out from memory, in order; a
//! backlog too long for memory stays on disk and is fetched as memory empties. That a message is being worked
//! on is known in memory alone: if the process dies, it is simply handed out again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    ports::{MAX_DELAY, Queue, Sending},
};
use rusqlite::{Connection, params};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::Engine;

/// Messages kept in memory; more wait on disk.
const IN_MEMORY: usize = 10_000;
/// Messages fetched from disk at once.
const FETCH: usize = 2_000;

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
    /// By which it is deleted or put back.
    pub id: i64,
    /// What its sender wrote.
    pub body: String,
    /// How often it was handed out, this time included.
    pub received: u32,
}

/// What waits, as far as it is in memory.
pub(crate) struct Waiting {
    settings: Settings,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Received>,
    in_flight: HashMap<i64, Flight>,
    /// Messages in the order in which they become visible again.
    deadlines: VecDeque<(Instant, i64)>,
    /// Beyond this id, messages are on disk alone; none: all that are visible are in memory.
    on_disk_after: Option<i64>,
    /// Whether a fetch is under way.
    fetching: bool,
    /// When the next delayed message becomes visible, in microseconds since 1970.
    next_delayed: Option<i64>,
}

struct Flight {
    until: Instant,
    body: String,
    received: u32,
}

impl Waiting {
    /// Looks at what an earlier process left: all of it waits again.
    pub(crate) fn load(db: &Connection, settings: Settings) -> rusqlite::Result<Self> {
        db.execute("UPDATE queue SET visible_at = 0 WHERE visible_at < 0", [])?;
        let state = State { on_disk_after: Some(0), next_delayed: next_delayed(db)?, ..State::default() };
        Ok(Self { settings, state: Mutex::new(state), arrived: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in messages that have just been committed, in the order of their ids.
    fn arrive(&self, messages: impl IntoIterator<Item = Received>, delayed_until: Option<i64>) {
        let mut state = self.state();
        for message in messages {
            if state.on_disk_after.is_none() && state.ready.len() >= IN_MEMORY {
                state.on_disk_after = Some(message.id - 1);
            }
            if state.on_disk_after.is_none() {
                state.ready.push_back(message);
            }
        }
        if let Some(time) = delayed_until {
            state.next_delayed = Some(state.next_delayed.map_or(time, |next| next.min(time)));
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes messages that may be handed out; those handed out too often are apart.
    fn take(&self, max: usize, now: Instant) -> (Vec<Received>, Vec<Received>) {
        let mut state = self.state();
        while let Some(&(until, id)) = state.deadlines.front().filter(|(until, _)| *until <= now) {
            state.deadlines.pop_front();
            // A message that was deleted, or handed out again since, has nothing to do with this deadline.
            if state.in_flight.get(&id).is_some_and(|flight| flight.until == until)
                && let Some(flight) = state.in_flight.remove(&id)
            {
                state.ready.push_back(Received { id, body: flight.body, received: flight.received });
            }
        }
        let (mut taken, mut dead) = (Vec::new(), Vec::new());
        let until = now + self.settings.visibility;
        while taken.len() < max {
            let Some(mut message) = state.ready.pop_front() else { break };
            if message.received >= self.settings.max_receives {
                dead.push(message);
                continue;
            }
            message.received += 1;
            let flight = Flight { until, body: message.body.clone(), received: message.received };
            state.in_flight.insert(message.id, flight);
            state.deadlines.push_back((until, message.id));
            taken.push(message);
        }
        (taken, dead)
    }

    /// When to look again at the latest, if nothing arrives.
    fn next_look(&self, now: Timestamp, here: Instant) -> Option<Instant> {
        let state = self.state();
        let delayed = state.next_delayed.map(|at| {
            let micros = u64::try_from(at.saturating_sub(now.as_microsecond())).unwrap_or_default();
            here + Duration::from_micros(micros)
        });
        let returning = state.deadlines.front().map(|(until, _)| *until);
        delayed.into_iter().chain(returning).min()
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
            let _ = timeout_at(look, self.0.waiting.arrived.notified()).await;
        }
    }

    /// Deletes messages that are done with.
    pub async fn delete(&self, ids: Vec<i64>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let waiting = self.0.waiting.clone();
        let job = move |db: &Connection| {
            let mut delete = db.prepare_cached("DELETE FROM queue WHERE id = ?")?;
            for id in &ids {
                delete.execute([id])?;
            }
            Ok(ids)
        };
        let forget = move |ids: &Vec<i64>| {
            let mut state = waiting.state();
            for id in ids {
                state.in_flight.remove(id);
            }
            // Deadlines of deleted messages are dropped as they come to the front; a long queue of them is
            // dropped now.
            if state.deadlines.len() > 4 * (state.in_flight.len() + IN_MEMORY) {
                let State { deadlines, in_flight, .. } = &mut *state;
                deadlines.retain(|(until, id)| in_flight.get(id).is_some_and(|f| f.until == *until));
            }
        };
        self.0.writer.write(job, forget).await.map(drop)
    }

    /// Makes messages visible again after `delay`, and notes how often they were handed out.
    pub async fn put_back(&self, ids: Vec<i64>, delay: Duration, now: Timestamp) -> Result<(), Error> {
        let flights: Vec<_> = {
            let mut state = self.0.waiting.state();
            ids.iter().filter_map(|id| Some((*id, state.in_flight.remove(id)?.received))).collect()
        };
        let visible_at = visible_at(delay, now).max(1);
        let waiting = self.0.waiting.clone();
        let job = move |db: &Connection| {
            let mut update =
                db.prepare_cached("UPDATE queue SET visible_at = ?, received = ? WHERE id = ?")?;
            for (id, received) in &flights {
                update.execute(params![visible_at, received, id])?;
            }
            Ok(())
        };
        self.0.writer.write(job, move |()| waiting.arrive([], Some(visible_at))).await
    }

    /// How many messages became dead letters.
    pub async fn dead_letters(&self) -> Result<usize, Error> {
        self.read(|db| db.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))).await
    }

    /// Brings messages into memory: those on disk alone, and those whose delay has passed.
    async fn refill(&self, now: Timestamp) -> Result<(), Error> {
        let now = now.as_microsecond();
        let (fetch_after, promote) = {
            let mut state = self.0.waiting.state();
            let low = state.ready.len() < IN_MEMORY / 2 && !state.fetching;
            let fetch_after = state.on_disk_after.filter(|_| low);
            state.fetching |= fetch_after.is_some();
            (fetch_after, state.next_delayed.is_some_and(|at| at <= now))
        };
        if let Some(after) = fetch_after {
            let waiting = self.0.waiting.clone();
            let fetched =
                self.0.writer.write(move |db| fetch(db, after), move |found| waiting.fetched(found));
            if let Err(error) = fetched.await {
                self.0.waiting.state().fetching = false;
                return Err(error);
            }
        }
        if promote {
            let waiting = self.0.waiting.clone();
            let job = move |db: &Connection| Ok((promoted(db, now)?, next_delayed(db)?));
            let then = move |(found, next): &(Vec<Received>, Option<i64>)| waiting.promoted(found, *next);
            self.0.writer.write(job, then).await?;
        }
        Ok(())
    }

    /// Moves messages that were handed out too often where somebody can look at them.
    async fn bury(&self, dead: Vec<Received>, now: Timestamp) -> Result<(), Error> {
        if dead.is_empty() {
            return Ok(());
        }
        tracing::error!(messages = dead.len(), "messages became dead letters");
        let job = move |db: &Connection| {
            for Received { id, body, received } in &dead {
                let sql =
                    "INSERT OR REPLACE INTO dead_letters (id, received, body, died_at) VALUES (?, ?, ?, ?)";
                db.execute(sql, params![id, received, body, now.as_microsecond()])?;
                db.execute("DELETE FROM queue WHERE id = ?", [id])?;
            }
            Ok(())
        };
        self.0.writer.write(job, |()| {}).await
    }
}

impl Waiting {
    /// Runs on the writing thread: nothing can have been sent between the query and this.
    fn fetched(&self, found: &[Received]) {
        let mut state = self.state();
        state.fetching = false;
        let known: Vec<Received> =
            found.iter().filter(|m| !state.in_flight.contains_key(&m.id)).cloned().collect();
        state.ready.extend(known);
        state.on_disk_after = if found.len() < FETCH { None } else { found.last().map(|m| m.id) };
    }

    fn promoted(&self, found: &[Received], next: Option<i64>) {
        let mut state = self.state();
        // One beyond `on_disk_after` is not fetched a second time: see `promoted` below.
        state.ready.extend(found.iter().cloned());
        state.next_delayed = next;
    }
}

fn message(row: &rusqlite::Row<'_>) -> rusqlite::Result<Received> {
    Ok(Received { id: row.get(0)?, body: row.get(1)?, received: row.get(2)? })
}

fn fetch(db: &Connection, after: i64) -> rusqlite::Result<Vec<Received>> {
    let sql = "SELECT id, body, received FROM queue WHERE id > ? AND visible_at = 0 ORDER BY id LIMIT ?";
    let limit = i64::try_from(FETCH).unwrap_or(i64::MAX);
    db.prepare_cached(sql)?.query_map([after, limit], message)?.collect()
}

/// Delayed messages whose time has come. They keep a mark of their own (-1 instead of 0) so that a fetch from
/// disk does not find them once more; the next process finds them by that mark.
fn promoted(db: &Connection, now: i64) -> rusqlite::Result<Vec<Received>> {
    let sql = "UPDATE queue SET visible_at = -1 WHERE id IN
               (SELECT id FROM queue WHERE visible_at > 0 AND visible_at <= ? ORDER BY visible_at LIMIT ?)
               RETURNING id, body, received";
    let limit = i64::try_from(FETCH).unwrap_or(i64::MAX);
    db.prepare_cached(sql)?.query_map([now, limit], message)?.collect()
}

fn visible_at(delay: Duration, now: Timestamp) -> i64 {
    let micros = i64::try_from(delay.min(MAX_DELAY).as_micros()).unwrap_or(i64::MAX);
    now.as_microsecond().saturating_add(micros)
}

#[async_trait]
impl Queue for Engine {
    async fn send(&self, batch: Vec<Sending>) -> Result<(), Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the queue is an adapter: its delays run on the real clock"
        )]
        let now = Timestamp::try_from(std::time::SystemTime::now()).unwrap_or_default();
        let messages = batch.iter().map(|sending| {
            let visible = if sending.delay.is_zero() { 0 } else { visible_at(sending.delay, now) };
            // The event is not in the message: it is in the same file, and the newest are in memory.
            sending.hint.write(None).map(|body| (visible, body))
        });
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        let waiting = self.0.waiting.clone();
        let job = move |db: &Connection| {
            let mut insert = db.prepare_cached("INSERT INTO queue (visible_at, body) VALUES (?, ?)")?;
            let (mut ready, mut delayed_until) = (Vec::with_capacity(messages.len()), None::<i64>);
            for (visible_at, body) in messages {
                let id = insert.insert(params![visible_at, body])?;
                if visible_at == 0 {
                    ready.push(Received { id, body, received: 0 });
                } else {
                    delayed_until = Some(delayed_until.map_or(visible_at, |next| next.min(visible_at)));
                }
            }
            Ok((Mutex::new(ready), delayed_until))
        };
        let then = move |(ready, delayed): &(Mutex<Vec<Received>>, Option<i64>)| {
            let ready = std::mem::take(&mut *ready.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.arrive(ready, *delayed);
        };
        self.0.writer.write(job, then).await.map(drop)
    }
}
