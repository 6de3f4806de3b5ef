//! The scheduler's rounds: what is due goes to the queue, and what was stranded does too.

use std::time::Duration;

use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};

use crate::{
    deliver::LEASE,
    error::Error,
    hint::Hint,
    operation::PageRequest,
    parked,
    ports::{Ports, Sending},
    replay, telemetry,
};

/// How old an event is when it is looked at: by then its first attempts are on record, or something is wrong.
pub(crate) const STRANDED_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// How much of the past one round looks through, so that a long pause is caught up with in steps. The very first round looks
/// no further back either: a schedule is to run from the day on which events are accepted.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// After how much of it the mark is moved on: what was looked through needs not be again, should the rest fail.
const MARKED: SignedDuration = SignedDuration::from_mins(5);
/// Hints of one step.
const STEP: usize = 1000;
/// Stranded attempts that are put on record at once.
const AT_ONCE: usize = 32;

/// What a round found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Retries that were due.
    pub due: usize,
    /// First attempts that no record shows.
    pub stranded: usize,
    /// Deliveries that were parked, of webhooks whose backlog had stopped going out.
    pub released: usize,
    /// Replays whose next step got lost.
    pub replays: usize,
}

/// Makes a round: all of it, whatever fails, for what one part cannot do is no reason not to do another. The first fault
/// is told.
pub async fn sweep(ports: &Ports) -> Result<Swept, Error> {
    let now = ports.clock.now();
    let mut oldest = None;
    let due = due(ports, now, &mut oldest).await;
    let stranded = stranded(ports, now).await;
    let released = parked::look(ports, now).await;
    let replays = replay::look(ports, now).await;
    let found = Swept { due: due?, stranded: stranded?, released: released?, replays: replays? };
    telemetry::swept(found, oldest, now);
    Ok(found)
}

/// Queues what is due, and notes when the oldest of their events was accepted.
async fn due(ports: &Ports, now: Timestamp, oldest: &mut Option<Timestamp>) -> Result<usize, Error> {
    let mut total = 0;
    loop {
        // The lease is what makes it come due again if the message gets lost.
        let hints = ports.store.due(now, now + LEASE, STEP).await?;
        let found = hints.len();
        total += found;
        *oldest = hints.iter().filter_map(|hint| hint.delivery.accepted_at()).chain(*oldest).min();
        send(ports, hints).await?;
        // A page that is not full is not the last: an engine may look at its shards by turns.
        if found == 0 {
            return Ok(total);
        }
    }
}

async fn stranded(ports: &Ports, now: Timestamp) -> Result<usize, Error> {
    let end = now - STRANDED_AFTER;
    let mut from = ports.store.swept_until().await?.unwrap_or(end - WINDOW);
    let end = end.min(from + WINDOW);
    let mut total = 0;
    while from < end {
        let until = end.min(from + MARKED);
        total += stranded_in(ports, from, until, now).await?;
        // Only after all of it is queued: a round that dies is made again.
        ports.store.set_swept_until(until).await?;
        from = until;
    }
    Ok(total)
}

async fn stranded_in(
    ports: &Ports,
    from: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<usize, Error> {
    let mut total = 0;
    let mut page = PageRequest::first(STEP);
    loop {
        let found = ports.store.stranded(from, until, &page).await?;
        total += found.items.len();
        for some in found.items.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|hint| take_up(ports, hint, now))).await?;
        }
        send(ports, found.items).await?;
        match found.next {
            Some(after) => page.after = Some(after),
            None => return Ok(total),
        }
    }
}

/// Puts a stranded attempt on record, so that it comes due until it is made: nobody looks at its event again, and the
/// message about it may get lost as the first one did. The lease ends as it begins, for nobody makes the attempt yet.
async fn take_up(ports: &Ports, hint: &Hint, now: Timestamp) -> Result<(), Error> {
    let Some(event) = ports.store.event(&hint.tenant, &hint.event).await? else { return Ok(()) };
    ports.store.claim(&hint.blank(&event), hint.attempt, now, now).await.map(drop)
}

async fn send(ports: &Ports, hints: Vec<Hint>) -> Result<(), Error> {
    if hints.is_empty() {
        return Ok(());
    }
    let sending = |hint| Sending { hint, delay: Duration::ZERO, event: None };
    ports.queue.send(hints.into_iter().map(sending).collect()).await
}
