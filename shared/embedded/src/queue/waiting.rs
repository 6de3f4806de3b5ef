//! The part of the queue that is in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use postrider::model::TenantId;
use tokio::{sync::Notify, time::Instant};

use super::{
    BETWEEN, Received, Settings,
    lines::{ALL, Lines, Message, Wanted},
};

/// What waits in a lane, as far as it is in memory.
pub(crate) struct Waiting {
    /// As its rows name it.
    pub(super) lane: i64,
    settings: Settings,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    ready: Lines,
    in_flight: HashMap<u64, Message>,
    /// Flights in the order in which their messages become visible again.
    deadlines: VecDeque<(Instant, u64)>,
    /// How many messages of a row are not done with, of the rows that are in memory.
    rows: HashMap<i64, usize>,
    /// The newest flight's number.
    last_flight: u64,
    /// Rows up to this one were there before this process: it cannot know whether they were handed out.
    inherited: i64,
    /// When the next delayed message becomes visible, in microseconds since 1970.
    next_delayed: Option<i64>,
}

/// A row of the queue's table.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) tenant: TenantId,
    pub(super) bodies: String,
    pub(super) received: u32,
}

impl State {
    fn take_in(&mut self, Row { id, tenant, bodies, received }: Row) {
        let received = if id <= self.inherited { received.max(1) } else { received };
        let mut count = 0;
        let messages = bodies.split(BETWEEN).map(|body| {
            count += 1;
            Message { tenant: tenant.clone(), row: id, body: body.to_owned(), received }
        });
        self.ready.put(&tenant, messages);
        self.rows.insert(id, count);
    }

    /// Ends flights that are not over yet.
    fn land(&mut self, ids: &[u64]) -> Vec<Message> {
        let landed = ids.iter().filter_map(|id| self.in_flight.remove(id)).collect();
        // Deadlines of ended flights are dropped as they come to the front; a long queue of them is dropped now.
        if self.deadlines.len() > 4 * (self.in_flight.len() + ALL) {
            let Self { deadlines, in_flight, .. } = self;
            deadlines.retain(|(_, id)| in_flight.contains_key(id));
        }
        landed
    }

    /// Counts messages as done with; returns the rows of which they were the last.
    fn done<'a>(&mut self, messages: impl IntoIterator<Item = &'a Message>) -> Vec<i64> {
        let mut emptied = Vec::new();
        for Message { row, .. } in messages {
            let Some(left) = self.rows.get_mut(row) else { continue };
            *left -= 1;
            if *left == 0 {
                self.rows.remove(row);
                emptied.push(*row);
            }
        }
        emptied
    }
}

impl Waiting {
    /// Rows up to `last_row` are there already, of these tenants.
    pub(super) fn new(
        lane: i64,
        settings: Settings,
        tenants: Vec<TenantId>,
        last_row: i64,
        next_delayed: Option<i64>,
    ) -> Self {
        let ready = Lines::on_disk(tenants);
        let state = State { ready, inherited: last_row, next_delayed, ..State::default() };
        Self { lane, settings, state: Mutex::new(state), arrived: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When something has come.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Takes in rows that have just been committed, in the order of their ids.
    pub(super) fn arrive(&self, rows: impl IntoIterator<Item = Row>, delayed_until: Option<i64>) {
        let mut state = self.state();
        for row in rows {
            if state.ready.has_room(&row.tenant, row.id) {
                state.take_in(row);
            }
        }
        if let Some(time) = delayed_until {
            state.next_delayed = Some(state.next_delayed.map_or(time, |next| next.min(time)));
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes messages that may be handed out; those handed out too often are apart.
    pub(super) fn take(&self, max: usize, now: Instant) -> (Vec<Received>, Vec<Message>) {
        let mut state = self.state();
        while let Some((_, id)) = state.deadlines.pop_front_if(|(until, _)| *until <= now) {
            // A flight that was ended has nothing to do with its deadline.
            if let Some(message) = state.in_flight.remove(&id) {
                let tenant = message.tenant.clone();
                state.ready.put(&tenant, [message]);
            }
        }
        let (mut taken, mut dead) = (Vec::new(), Vec::new());
        let until = now + self.settings.visibility;
        while taken.len() < max {
            let Some(mut message) = state.ready.next() else { break };
            if message.received >= self.settings.max_receives {
                dead.push(message);
                continue;
            }
            message.received += 1;
            state.last_flight += 1;
            let id = state.last_flight;
            taken.push(Received { id, body: message.body.clone(), received: message.received });
            state.in_flight.insert(id, message);
            state.deadlines.push_back((until, id));
        }
        (taken, dead)
    }

    /// When to look again at the latest, if nothing arrives.
    pub(super) fn next_look(&self, now: Timestamp, here: Instant) -> Option<Instant> {
        let state = self.state();
        let delayed = state.next_delayed.map(|at| {
            let micros = u64::try_from(at.saturating_sub(now.as_microsecond())).unwrap_or_default();
            here + Duration::from_micros(micros)
        });
        let returning = state.deadlines.front().map(|(until, _)| *until);
        delayed.into_iter().chain(returning).min()
    }

    /// What is to be read from disk now: rows of some tenants; delayed rows.
    pub(super) fn to_do(&self, now: i64) -> (Vec<Wanted>, bool) {
        let mut state = self.state();
        let promote = state.next_delayed.is_some_and(|at| at <= now) && !state.ready.is_full();
        (state.ready.wanted(), promote)
    }

    /// Takes in what was asked for after [`Waiting::to_do`], and beyond which row there is more of each tenant. To be
    /// called on the writing thread: nothing can have been sent between the query and this.
    pub(super) fn fetched(&self, found: Vec<(TenantId, Vec<Row>, Option<i64>)>) {
        let mut state = self.state();
        for (tenant, rows, more_after) in found {
            for row in rows {
                state.take_in(row);
            }
            state.ready.fetched(&tenant, more_after);
        }
    }

    /// Takes in what was delayed, which a fetch does not find; `next` is the next to be.
    pub(super) fn promoted(&self, found: Vec<Row>, next: Option<i64>) {
        let mut state = self.state();
        for row in found {
            state.take_in(row);
        }
        state.next_delayed = next;
    }

    /// It could not be read.
    pub(super) fn not_fetched(&self, wanted: Vec<Wanted>) {
        self.state().ready.not_fetched(wanted);
    }

    /// Ends flights that are not over yet, for good: their messages, and the rows that are done with them.
    pub(super) fn land(&self, ids: &[u64]) -> (Vec<Message>, Vec<i64>) {
        let mut state = self.state();
        let landed = state.land(ids);
        let emptied = state.done(&landed);
        (landed, emptied)
    }

    /// Counts messages that are not in flight as done with; returns the rows of which they were the last.
    pub(super) fn done(&self, messages: &[Message]) -> Vec<i64> {
        self.state().done(messages)
    }
}
