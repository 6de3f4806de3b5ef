//! The suite that guards the whole: what the tests in `it/` are made with.
//!
//! - [`world`]: the runner, as a child process; [`tenant`]: a tenant of a test's own on it
//! - [`client`]: requests and their answers
//! - [`receiver`]: where webhooks arrive, well-behaved or not
//! - [`servers`]: what stands in for AWS; [`faults`]: a proxy before them, with which calls go wrong
//! - [`poll`]: waiting for what is to happen; [`rng`]: chance that can be repeated

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a harness that cannot go on ends its test, and says why"
)]

pub mod client;
pub mod faults;
pub mod poll;
pub mod receiver;
pub mod rng;
pub mod servers;
pub mod tenant;
pub mod world;
