//! Everything that outlives a process, and the one way into it: a call, which takes time and may fail.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use postrider::error::Error;

use crate::{
    chance::Chance,
    executor::{Orders, Timers, Who},
    faults::{Fault, Faults, Part},
    ledger::Ledger,
    queue::Messages,
    receivers::Receivers,
    store::Tables,
    trace::{About, Trace},
};

/// 2026-01-01, in microseconds since 1970: when every run begins.
pub const START: i64 = 1_767_225_600_000_000;

/// The world, shared by all that are in it.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    core: Mutex<Core>,
    /// Whether it is used outside of a run: calls are done at once, and the time is the real one.
    is_direct: bool,
}

/// What is in the world.
pub struct Core {
    /// The true time, in microseconds since 1970.
    pub now: i64,
    /// The seed's word.
    pub chance: Chance,
    /// What goes wrong.
    pub faults: Faults,
    /// What happened.
    pub trace: Trace,
    /// What the executor is to do.
    pub orders: Orders,
    /// What waits for a moment.
    pub timers: Timers,
    /// What the store keeps.
    pub tables: Tables,
    /// What the queue holds.
    pub messages: Messages,
    /// Where deliveries go.
    pub receivers: Receivers,
    /// What was promised, and what became of it.
    pub ledger: Ledger,
    /// What the call under way is to say in the trace.
    told: Cow<'static, str>,
}

/// A moment of the simulation as the domain has it.
pub fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

impl Core {
    fn new(seed: u64) -> Self {
        Self {
            now: START,
            chance: Chance::new(seed),
            faults: Faults::default(),
            trace: Trace::default(),
            orders: Orders::default(),
            timers: Timers::default(),
            tables: Tables::default(),
            messages: Messages::default(),
            receivers: Receivers::default(),
            ledger: Ledger::default(),
            told: Cow::Borrowed(""),
        }
    }

    /// What the call under way says of itself in the trace.
    pub fn say(&mut self, told: impl Into<Cow<'static, str>>) {
        self.told = told.into();
    }

    /// Notes what happened.
    pub fn note(&mut self, who: Who, about: &About, text: impl FnOnce() -> String) {
        self.trace.note(self.now, who, about, text);
    }
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Inner { core: Mutex::new(Core::new(seed)), is_direct: false }))
    }

    /// An empty world outside of any run.
    pub fn direct() -> Self {
        Self(Arc::new(Inner { core: Mutex::new(Core::new(0)), is_direct: true }))
    }

    /// What is in it. Not to be held across an await: everything is on one thread.
    pub fn lock(&self) -> MutexGuard<'_, Core> {
        let mut core = self.0.core.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.is_direct {
            core.now = Timestamp::now().as_microsecond();
        }
        core
    }

    /// Does something at once in the world, after a while and if nothing goes wrong, and answers after another while.
    /// Everything that a port does comes through here.
    pub async fn call<T: Send>(
        &self,
        who: Who,
        part: Part,
        verb: &'static str,
        about: About,
        effect: impl FnOnce(&mut Core) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        if self.0.is_direct {
            return effect(&mut self.lock());
        }
        let plan = {
            let Core { faults, chance, now, .. } = &mut *self.lock();
            faults.plan(chance, part, *now)
        };
        self.sleep(plan.before).await;
        let result = {
            let mut core = self.lock();
            if plan.fault == Some(Fault::Before) {
                core.note(who, &about, || format!("{verb}: no answer, and nothing was done"));
                return Err(Error::Unavailable(format!("{verb} (simulated)")));
            }
            core.say("");
            let result = effect(&mut core);
            let told = std::mem::take(&mut core.told);
            let error = result.as_ref().err().map(ToString::to_string);
            let lost = if plan.fault.is_some() { ", but the answer got lost" } else { "" };
            let told = error.as_deref().unwrap_or(&told);
            core.trace.step(told.is_empty() && lost.is_empty());
            core.note(who, &about, || format!("{verb}: {told}{lost}"));
            result
        };
        self.sleep(plan.after).await;
        if plan.fault == Some(Fault::After) {
            return Err(Error::Unavailable(format!("the answer to {verb} (simulated)")));
        }
        result
    }
}
