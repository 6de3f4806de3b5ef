//! A run from beginning to end: a storm of faults, then calm, until all has come to rest.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use postrider::model::{Tenant, TenantId, Topic};

use crate::{
    check::{Tally, check},
    clockwork::{self, OUTSIDE},
    executor::Executor,
    faults::{Faults, MINUTE},
    fleet::{Fleet, Size},
    ledger::Violation,
    operators::{self, Keeper},
    ports::ports,
    publishers::{self, Plan},
    trace::About,
    world::{START, World, time},
};

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What became of its deliveries, or what must not be.
    pub outcome: Result<Tally, Violation>,
    /// The steps that were made, and a number that only the same run has.
    pub fingerprint: (u64, u64),
    /// How long it took, in simulated hours.
    pub hours: i64,
    /// How often a process crashed.
    pub crashes: usize,
    /// What happened, if it was asked for.
    pub trace: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, fingerprint: (calls, _), hours, crashes, .. } = self;
        match &self.outcome {
            Ok(tally) => {
                write!(f, "seed {seed}: {calls} steps, {hours} h, {crashes} crashes, {tally:?}")
            }
            Err(Violation { invariant, delivery, detail }) => {
                let which = delivery.map_or_else(String::new, |id| format!("\n  {id}"));
                write!(f, "seed {seed}: not so: {invariant}\n  {detail}{which}\n{}", self.trace)
            }
        }
    }
}

/// Runs a seed. If something is wrong, it is run once more with its trace kept: the same seed goes the same way.
pub fn run(seed: u64) -> Report {
    let report = run_once(seed, false);
    if report.outcome.is_ok() { report } else { run_once(seed, true) }
}

/// Runs a seed, and keeps a trace if asked to.
pub fn run_once(seed: u64, is_traced: bool) -> Report {
    let world = World::new(seed);
    world.lock().trace.is_kept = is_traced;
    world.spawn(OUTSIDE, storm_and_calm(world.clone()));
    let mut executor = Executor::new(world.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| executor.run()));
    // What is left of the tasks tells the world that it is gone.
    drop(executor);
    let core = world.lock();
    let outcome = match (&core.ledger.violation, ran) {
        (Some(violation), _) => Err(violation.clone()),
        (None, Ok(true)) => check(&core),
        (None, Ok(false)) => Err(odd("a run ends by itself", "nobody waits for anything")),
        (None, Err(_)) => Err(odd("nothing panics", "see above")),
    };
    let wrong = outcome.as_ref().err().and_then(|violation| violation.delivery);
    let event = wrong.and_then(|id| core.tables.events.values().find(|event| event.uid == id.event));
    let about = wrong.zip(event).map(|(id, event)| (id, &event.tenant, &event.id));
    let faults = if is_traced { format!("  {:?}\n", core.faults) } else { String::new() };
    Report {
        seed,
        fingerprint: core.trace.fingerprint(),
        hours: (core.now - START) / (60 * MINUTE),
        crashes: core.ledger.crashes,
        trace: faults + &core.trace.of(about, START),
        outcome,
    }
}

fn odd(invariant: &'static str, detail: &str) -> Violation {
    Violation { invariant, delivery: None, detail: detail.into() }
}

/// What a seed says of who is there.
struct Cast {
    keepers: Vec<Keeper>,
    webhooks: usize,
    events: usize,
    size: Size,
    storm: i64,
}

fn cast(world: &World) -> Cast {
    let core = &mut *world.lock();
    let chance = &mut core.chance;
    let storm = chance.between(5 * MINUTE, 70 * MINUTE);
    let topic: Topic = "order.created".parse().expect("a topic");
    let tenants = 1 + chance.index(3);
    let keeper = |n| Keeper { tenant: name(n), topic: topic.clone(), is_plain: false };
    let cast = Cast {
        keepers: (0..tenants).map(keeper).collect(),
        // Some tenants have more than fit a page of a fan-out.
        webhooks: if chance.in_1000(10) { 104 } else { 1 + chance.index(3) },
        events: 2 + chance.index(10),
        size: Size {
            publishers: 1 + chance.index(2),
            deliverers: 1 + chance.index(3),
            schedulers: 1 + chance.index(2),
            batches: 1 + chance.index(4),
        },
        storm,
    };
    core.faults = Faults { is_calm: true, ..Faults::draw(&mut core.chance, START, storm) };
    core.ledger.calm_at = START + storm;
    cast
}

/// The name of a tenant.
pub fn name(n: usize) -> TenantId {
    format!("t{n}").parse().expect("a tenant's id")
}

/// Makes a tenant with webhooks.
pub async fn settle_in(world: &World, keeper: &Keeper, webhooks: usize) {
    let ports = ports(world, OUTSIDE);
    let tenant = Tenant { id: keeper.tenant.clone(), name: "a tenant".into(), created_at: time(START) };
    ports.store.add_tenant(&tenant).await.expect("nothing goes wrong yet");
    for _ in 0..webhooks {
        // Of a dialect that allows one webhook a topic there may be one already.
        let _ = keeper.register(world, &ports).await;
    }
}

async fn storm_and_calm(world: World) {
    let Cast { keepers, webhooks, events, size, storm } = cast(&world);
    for keeper in &keepers {
        settle_in(&world, keeper, webhooks).await;
    }
    let fleet = Fleet::start(&world, size);
    begin(&world, &fleet, &keepers, events, storm);
    world.sleep_until(START + storm).await;
    world.lock().faults.is_calm = true;
    world.lock().note(OUTSIDE, &About::World, || "the faults are over".into());
    // Whoever crashed is back by then.
    world.sleep(6 * MINUTE).await;
    for keeper in &keepers {
        operators::settle(&world, &fleet, keeper).await;
    }
}

fn begin(world: &World, fleet: &Arc<Fleet>, keepers: &[Keeper], events: usize, storm: i64) {
    let (crashes, operators) = {
        let mut core = world.lock();
        core.faults.is_calm = false;
        (core.faults.crashes, core.faults.operators)
    };
    world.spawn(OUTSIDE, clockwork::tick(world.clone(), fleet.clone()));
    if let Some(seconds) = crashes {
        world.spawn(OUTSIDE, fleet.clone().fate(seconds));
    }
    for keeper in keepers {
        let Keeper { tenant, topic, .. } = keeper.clone();
        let (tries, keys) = {
            let chance = &mut world.lock().chance;
            (1 + chance.index(8), chance.index(4))
        };
        let plan = Plan { tenant, topic, events, span: storm, tries, keys };
        world.spawn(OUTSIDE, publishers::publish(world.clone(), fleet.clone(), plan));
        if operators {
            world.spawn(OUTSIDE, operators::meddle(world.clone(), fleet.clone(), keeper.clone()));
        }
    }
}
