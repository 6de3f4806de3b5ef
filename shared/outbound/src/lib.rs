//! The way out: a client that reaches no forbidden address.
//!
//! Built on hyper's own client instead of a ready-made one, because a delivery needs two things of its
//! connector: to judge the very address that is dialled, and to time each phase
//! (`docs/decisions/0004-outbound-on-hyper.md`).

mod connection;
mod connector;
mod crowd;
mod pool;
mod post;
mod resolve;
mod tokens;
mod trust;

pub use post::{Outbound, Settings};
pub use resolve::{BadName, LocalName};
pub use trust::{Authorities, BadAuthorities};

#[cfg(test)]
mod tests;
