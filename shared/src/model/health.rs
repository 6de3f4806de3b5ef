//! How a webhook's receiver does.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Failures in a row from which on a receiver counts as failing.
pub const BREAKER: u32 = 10;

/// What is known of a receiver that has failed since it last took something, or takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was.
    pub since: Option<Timestamp>,
    /// When it is next tried, while it is failing, or asked for a rest.
    pub probe_at: Option<Timestamp>,
    /// Until when it counts as slow: what goes to it goes by the slow lane.
    #[serde(default)]
    pub slow_until: Option<Timestamp>,
}

impl Health {
    /// Whether it has failed since it last took something.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether it counts as slow.
    pub fn is_slow(&self, now: Timestamp) -> bool {
        self.slow_until.is_some_and(|until| now < until)
    }

    /// Whether its deliveries wait, but for one at a time that finds out whether it is back.
    pub fn is_failing(&self) -> bool {
        self.failures >= BREAKER
    }

    /// Whether its deliveries wait: it is failing, or asked for a rest.
    pub fn holds_back(&self) -> bool {
        self.is_failing() || self.probe_at.is_some()
    }

    /// How long until the next try: as long as it has been failing, so that each wait is twice the one before; at least
    /// 10 s, at most 15 min.
    ///
    /// ```
    /// use jiff::{SignedDuration, Timestamp};
    /// use postrider::model::Health;
    /// let health = Health { since: Some(Timestamp::UNIX_EPOCH), ..Health::default() };
    /// let pause = |after| health.pause(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(after)).as_secs();
    /// assert_eq!([0, 10, 20, 40, 1_000_000].map(pause), [10, 10, 20, 40, 900]);
    /// ```
    pub fn pause(&self, now: Timestamp) -> Duration {
        let failing = self.since.map_or(Duration::ZERO, |since| now.duration_since(since).unsigned_abs());
        failing.clamp(Duration::from_secs(10), Duration::from_mins(15))
    }
}
