//! The core in a simulated world: the real use cases run against a clock, a store, a queue and receivers that a seed
//! decides, on one thread. In reading order:
//!
//! - [`chance`]: what a seed says; [`executor`]: tasks in simulated time, which a crash drops where they stand
//! - [`world`]: everything that outlives a process, and the one way into it: [`world::World::call`]
//! - [`faults`]: what goes wrong in a run; [`trace`]: what happened, to be read
//! - [`store`], [`queue`], [`receivers`], [`ports`]: the ports
//! - [`fleet`], [`publishers`], [`operators`], [`clockwork`]: who is at work
//! - [`ledger`], [`check`]: what must hold all along, and in the end
//! - [`run`]: a run from beginning to end; [`latency`]: whom a noisy tenant delays

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a simulation that cannot go on ends its test, and says why"
)]

pub mod chance;
pub mod check;
pub mod clockwork;
pub mod executor;
pub mod faults;
pub mod fleet;
pub mod latency;
pub mod ledger;
pub mod operators;
pub mod ports;
pub mod publishers;
pub mod queue;
pub mod receivers;
pub mod run;
pub mod store;
pub mod trace;
pub mod world;
