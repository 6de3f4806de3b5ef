//! How a webhook's receiver does.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Failures in a row from which on a receiver counts as failing.
pub const BREAKER: u32 = 10;

/// What is known of a receiver that has failed since it last took something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was.
    pub since: Option<Timestamp>,
    /// When it is next tried, while it is failing.
    pub probe_at: Option<Timestamp>,
}

impl Health {
    /// Whether its deliveries wait, but for one at a time that finds out whether it is back.
    pub fn is_failing(&self) -> bool {
        self.failures >= BREAKER
    }

    /// How long until the next try: 10 s after the breaker opens, twice as long after each that fails, at most 15 min.
    ///
    /// ```
    /// use postrider::model::{BREAKER, Health};
    /// let pause = |failures| Health { failures, ..Health::default() }.pause().as_secs();
    /// assert_eq!([BREAKER, BREAKER + 1, BREAKER + 2].map(pause), [10, 20, 40]);
    /// assert_eq!(pause(u32::MAX), 900);
    /// ```
    pub fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(BREAKER).min(10);
        (Duration::from_secs(10) * 2_u32.pow(doublings)).min(Duration::from_mins(15))
    }
}
