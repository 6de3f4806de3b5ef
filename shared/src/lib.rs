//! The common model of Postrider, in reading order:
//!
//! - [`model`]: the words of the field as types
//! - [`error`]: what can go wrong
//! - [`operation`]: what every dialect speaks; [`dialect`]: the documented APIs
//! - [`ports`]: what the use cases need of the world; [`hint`], [`errand`]: what waits in the queue
//! - [`access`]: who asks, and whether they may; [`oauth`]: how a client gets tokens
//! - [`door`]: a request from decoding to answer; [`tenants`], [`webhooks`], [`credentials`], [`filters`],
//!   [`publish`], [`history`], [`undelivered`], [`stats`]: the use cases behind it; [`fan_out`]: events for many
//! - [`authentication`]: how a delivery proves itself; [`token`]: the tokens that it may take
//! - [`deliver`]: one attempt; [`again`], [`replay`]: one that is asked for, or many; [`sweep`]: what is due or stranded;
//!   [`polling`]: events that their receiver fetches; [`lines`]: what goes out one after the other;
//!   [`announce`]: what happens to webhooks themselves; [`telemetry`]: what is counted and timed
//! - [`filter`]: which events a webhook gets
//! - [`guard`], [`retry`], [`verdict`], [`in_force`], [`signing`], [`sealing`], [`bucket`]: pure rules
//!
//! There is no I/O here, no clock, no environment and no AWS: time and chance are arguments.

pub mod access;
pub mod again;
pub mod announce;
pub mod authentication;
pub mod bucket;
pub mod catalogue;
pub mod credentials;
pub mod deliver;
pub mod description;
pub mod dialect;
pub mod door;
pub mod errand;
pub mod error;
pub mod fan_out;
pub mod filter;
pub mod filters;
pub mod guard;
pub mod health;
pub mod hint;
pub mod history;
pub mod in_force;
pub mod lines;
pub mod model;
pub mod oauth;
pub mod operation;
pub mod parked;
pub mod polling;
pub mod ports;
pub mod publish;
pub mod replay;
pub mod retry;
mod rotation;
pub mod schema;
pub mod sealing;
pub mod signing;
pub mod stats;
pub mod sweep;
pub mod telemetry;
pub mod tenants;
pub mod testing;
pub mod token;
pub mod topics;
mod turn;
pub mod undelivered;
pub mod verdict;
pub mod webhooks;
