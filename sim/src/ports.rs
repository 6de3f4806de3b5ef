//! A process's ports: its views of the store and the queue, its clock, and its dice.

use std::sync::Arc;

use jiff::Timestamp;
use postrider::ports::{Clock, Dice, Policy, Ports};

use crate::{
    executor::Who,
    queue::SimQueue,
    store::SimStore,
    world::{World, time},
};

struct SimClock {
    world: World,
    /// How far it is off.
    skew: i64,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        time(self.world.lock().now + self.skew)
    }
}

struct SimDice(World);

impl Dice for SimDice {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().chance.fill(bytes);
    }
}

/// The ports of a process that has just started: nothing is in its caches.
pub fn ports(world: &World, who: Who) -> Ports {
    let skew = {
        let mut core = world.lock();
        let most = core.faults.skew;
        core.chance.between(-most, most)
    };
    Ports {
        store: Arc::new(SimStore::new(world.clone(), who)),
        queue: Arc::new(SimQueue::new(world.clone(), who)),
        clock: Arc::new(SimClock { world: world.clone(), skew }),
        dice: Arc::new(SimDice(world.clone())),
        policy: Policy::default(),
    }
}
