//! Every test of the whole, in one binary: against the runner, over real HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod api;
mod bad_input;
mod contract;
mod dialects;
mod guard;
mod journeys;
mod openapi;
mod template;
mod tidy;
