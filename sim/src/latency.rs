//! Whom a noisy tenant delays: how long events take to their receivers, tenant by tenant, while the receivers of one that
//! publishes many times as much do not answer.

use std::fmt;

use postrider::model::DeliveryId;

use crate::{
    clockwork::{self, OUTSIDE},
    executor::Executor,
    faults::{Faults, MINUTE},
    fleet::{Fleet, Size},
    operators::Keeper,
    publishers::{self, Plan},
    receivers::Manner,
    run::{name, settle_in},
    world::{START, World},
};

/// Who shares the processes.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// Tenants that do well.
    pub quiet: usize,
    /// Events of each in ten minutes.
    pub events: usize,
    /// How many times as much the noisy one publishes; 0: there is none.
    pub times: usize,
    /// What its receivers do.
    pub manner: Manner,
}

/// From a publisher's event to its receiver, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// What half of the quiet tenants' deliveries are within.
    pub p50: i64,
    /// What 99 of a hundred are within.
    pub p99: i64,
    /// The longest: that of one that never arrived is longer than any life.
    pub longest: i64,
    /// How many there were.
    pub count: usize,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, longest, count } = self;
        write!(f, "p50 {p50} ms, p99 {p99} ms, longest {longest} ms, of {count} deliveries")
    }
}

/// How long the quiet tenants' events take.
pub fn measure(seed: u64, noise: Noise) -> Latency {
    let world = World::new(seed);
    world.spawn(OUTSIDE, publish(world.clone(), noise));
    Executor::new(world.clone()).run();
    let core = world.lock();
    let mut all: Vec<i64> = Vec::new();
    for event in core.tables.events.values().filter(|event| event.tenant != name(0)) {
        for &webhook in event.webhooks.iter() {
            let arrivals = core.ledger.arrivals.get(&DeliveryId { event: event.uid, webhook });
            let first = arrivals.and_then(|arrivals| arrivals.first()).map_or(i64::MAX, |arrival| arrival.at);
            all.push((first - event.accepted_at.as_microsecond()) / 1000);
        }
    }
    all.sort_unstable();
    let part = |of_100: usize| all.get(all.len() * of_100 / 100).copied().unwrap_or_default();
    Latency {
        p50: part(50),
        p99: part(99),
        longest: all.last().copied().unwrap_or_default(),
        count: all.len(),
    }
}

async fn publish(world: World, noise: Noise) {
    let span = 10 * MINUTE;
    {
        let mut core = world.lock();
        core.faults = Faults { is_calm: true, ..Faults::default() };
        core.ledger.calm_at = START + 3 * span;
    }
    let size = Size { publishers: 2, deliverers: 2, schedulers: 1, batches: 5 };
    let fleet = Fleet::start(&world, size);
    let first = usize::from(noise.times == 0);
    for n in first..=noise.quiet {
        let topic = "order.created".parse().expect("a topic");
        let keeper = Keeper { tenant: name(n), topic, is_plain: true };
        world.lock().receivers.always = Some(if n == 0 { noise.manner } else { Manner::Takes });
        settle_in(&world, &keeper, 1).await;
        let events = if n == 0 { noise.events * noise.times } else { noise.events };
        let plan = Plan { tenant: keeper.tenant, topic: keeper.topic, events, span, tries: 3, keys: 0 };
        world.spawn(OUTSIDE, publishers::publish(world.clone(), fleet.clone(), plan));
    }
    world.spawn(OUTSIDE, clockwork::tick(world.clone(), fleet));
    // Long after the last publish nothing is left to measure, however long a dead receiver is tried.
    world.sleep(3 * span).await;
    world.finish();
}
