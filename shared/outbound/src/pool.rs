//! Connections kept for the next message to the same place.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::connection::Connection;

/// How long an unused connection is kept: shorter than receivers usually keep theirs, and than a function is
/// left frozen.
const IDLE: Duration = Duration::from_secs(10);
/// Unused connections to one place at most.
const PER_PLACE: usize = 512;
/// Unused connections at most: each holds a file descriptor.
const IN_ALL: usize = 4096;

#[derive(Default)]
pub(crate) struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    /// By scheme, host and port; of each place, the longest unused first.
    places: HashMap<Box<str>, VecDeque<Kept>>,
    count: usize,
    sweeping: bool,
}

struct Kept {
    connection: Connection,
    since: Instant,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is open as far as we know: the one used last.
    pub(crate) fn take(&self, place: &str) -> Option<Connection> {
        loop {
            let mut kept = {
                let mut state = self.state();
                let kept = state.places.get_mut(place)?.pop_back()?;
                state.count -= 1;
                kept
            };
            if kept.since.elapsed() < IDLE && kept.connection.is_ready() {
                return Some(kept.connection);
            }
        }
    }

    /// Keeps a connection, if it can take another message.
    pub(crate) fn keep(self: &Arc<Self>, place: &str, mut connection: Connection) {
        if !connection.is_ready() {
            return;
        }
        let kept = Kept { connection, since: Instant::now() };
        let mut state = self.state();
        if state.count >= IN_ALL {
            return;
        }
        match state.places.get_mut(place) {
            Some(kepts) if kepts.len() >= PER_PLACE => return,
            Some(kepts) => kepts.push_back(kept),
            None => drop(state.places.insert(place.into(), VecDeque::from([kept]))),
        }
        state.count += 1;
        if !state.sweeping {
            state.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes what was unused for too long, until nothing is left.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.state();
        let State { places, count, sweeping } = &mut *state;
        places.retain(|_, kepts| {
            while kepts.pop_front_if(|kept| kept.since.elapsed() >= IDLE).is_some() {
                *count -= 1;
            }
            !kepts.is_empty()
        });
        *sweeping = !places.is_empty();
        if !*sweeping {
            return;
        }
    }
}
