//! The scheduler's rounds, and when a run is over.

use std::sync::Arc;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use futures::future::select;
use jiff::Timestamp;

use crate::{
    executor::Who,
    faults::{HOUR, MINUTE, SECOND},
    fleet::Fleet,
    world::{Core, START, World, time},
};

/// How long an invocation of the scheduler function may take (template.yaml).
const TIMEOUT: i64 = 60 * SECOND;
/// How long it is calm at least: some retry for minutes, and what was stopped is resumed.
const LULL: i64 = 20 * MINUTE;
/// After what time all must have come to rest: events are kept for 30 days. Centry's 576 attempts last nearly as long for a
/// receiver that asks for more than an hour each time.
const LIMIT: i64 = 30 * 24 * HOUR;

impl Core {
    /// The newest event that no sweep has looked for.
    fn is_unswept(&self) -> bool {
        let newest = self.tables.events.values().map(|event| event.accepted_at).max();
        newest > self.tables.swept_until.map(|until| until - jiff::SignedDuration::from_nanos(1))
    }

    fn next_due(&self) -> Option<i64> {
        let looks = self.tables.looks.values().map(|(_, at)| *at);
        let due = self.tables.deliveries.values().filter_map(|kept| kept.due);
        let replays = self.tables.replays.values().filter_map(|(_, due)| *due);
        due.chain(looks).chain(replays).map(Timestamp::as_microsecond).min()
    }

    fn is_quiet(&self) -> bool {
        self.messages.is_empty() && self.next_due().is_none() && !self.is_unswept()
    }

    /// When the next round is needed: nobody can tell a round that finds nothing from none.
    fn next_round(&self) -> i64 {
        let soon = self.now + MINUTE;
        match self.next_due() {
            Some(due) if self.faults.is_calm && !self.is_unswept() => due.max(soon),
            _ => soon,
        }
    }
}

/// Begins a round every minute; when the faults have stopped and all has come to rest, ends the run.
pub async fn tick(world: World, fleet: Arc<Fleet>) {
    // A deployment begins with a sweep, or the first one would look back no further than an hour.
    // A little before the run, for a publisher's clock may be behind.
    world.lock().tables.swept_until = Some(time(START - MINUTE));
    loop {
        let (rounds, next) = {
            let core = &mut *world.lock();
            if core.now > core.ledger.calm_at + LULL && core.is_quiet() {
                core.orders.stop();
                return;
            }
            if core.now - START > LIMIT {
                let left = core.tables.deliveries.iter().find(|(_, kept)| kept.due.is_some());
                let left = left.map(|(id, _)| *id);
                let what = format!("the queue is empty: {}", core.messages.is_empty());
                core.violated("all comes to rest", left, what);
                return;
            }
            let odd = !core.faults.is_calm && core.chance.in_1000(core.faults.rounds);
            let rounds = if odd { core.chance.pick(&[0, 2, 3]) } else { 1 };
            let jitter = core.chance.between(0, SECOND);
            (rounds, (core.next_round() / MINUTE) * MINUTE + jitter)
        };
        for _ in 0..rounds {
            let who = fleet.any("scheduler");
            if let Some(ports) = fleet.ports(who) {
                let limit = world.sleep(TIMEOUT);
                world.spawn(who, async move {
                    let round = Box::pin(scheduler::handle(&ports, EventBridgeEvent::default()));
                    // A round that fails or takes too long makes the next one all the more needed.
                    let _ = select(round, limit).await;
                });
            }
        }
        world.sleep_until(next).await;
    }
}

/// A name for who is outside of all processes.
pub const OUTSIDE: Who = Who("world", 0);
