//! How much may go to a webhook.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::BadId;

/// What a webhook that was idle may be sent at once: what it could have taken in this time.
const BURST: SignedDuration = SignedDuration::from_secs(1);
/// How far ahead slots are given. It is less than the time after which a sweep takes an attempt for lost.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);
/// How late a slot may be used. Queues are late by a second and more; of those that a queue held up for longer, too many would
/// go at once.
const LATE: SignedDuration = SignedDuration::from_secs(3);

/// How many deliveries a second may go to a webhook: 0.1 to 1,000, in steps of 0.1. With less, a day's retries would not go out in
/// a day; more is no limit, for one receiver takes no more of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate {
    tenths: u16,
}

impl TryFrom<f64> for Rate {
    type Error = BadId;
    fn try_from(number: f64) -> Result<Self, BadId> {
        let tenths =
            format!("{:.0}", number * 10.0).parse().ok().filter(|tenths| (1..=10_000).contains(tenths));
        let rate =
            tenths.map(|tenths| Self { tenths }).filter(|rate| (f64::from(*rate) - number).abs() < 1e-9);
        rate.ok_or(BadId("must be a number from 0.1 to 1000, in steps of 0.1"))
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        Self::from(rate.tenths) / 10.0
    }
}

/// Slots: each is the time from which on one delivery may go. This is the generic cell rate algorithm (ITU-T I.371) by
/// reservation: all that is kept is when the next slot is free.
impl Rate {
    /// The time from one slot to the next.
    pub fn interval(self) -> SignedDuration {
        SignedDuration::from_micros(10_000_000_i64.div_euclid(i64::from(self.tenths)))
    }

    /// The earliest slot that can be used now: an idle webhook's are not saved up for longer than a second.
    pub fn first(self, now: Timestamp) -> Timestamp {
        now - (BURST - self.interval()).max(SignedDuration::ZERO)
    }

    /// The latest that is given.
    pub fn last(self, now: Timestamp) -> Timestamp {
        now + AHEAD
    }

    /// The next slot; none: it is too far away.
    ///
    /// ```
    /// use jiff::{SignedDuration, Timestamp};
    /// use postrider::model::Rate;
    /// let (rate, now) = (Rate::try_from(0.5).unwrap(), Timestamp::UNIX_EPOCH);
    /// assert_eq!(rate.reserve(None, now), Some(now));
    /// let next = now + rate.interval();
    /// assert_eq!(rate.reserve(Some(next), now), Some(now + SignedDuration::from_secs(2)));
    /// assert_eq!(rate.reserve(Some(now + SignedDuration::from_secs(61)), now), None);
    /// ```
    pub fn reserve(self, free_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let slot = free_at.map_or(self.first(now), |free_at| free_at.max(self.first(now)));
        (slot <= self.last(now)).then_some(slot)
    }

    /// Whether a slot that was reserved can be used.
    pub fn holds(slot: Option<Timestamp>, now: Timestamp) -> bool {
        slot.is_some_and(|slot| now.duration_since(slot) <= LATE)
    }
}

/// How many deliveries may be under way to a webhook at once: 1 to 100. Who can take more needs no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct InFlight(u8);

impl TryFrom<u64> for InFlight {
    type Error = BadId;
    fn try_from(number: u64) -> Result<Self, BadId> {
        let number = u8::try_from(number).ok().filter(|number| (1..=100).contains(number));
        number.map(Self).ok_or(BadId("must be a whole number from 1 to 100"))
    }
}

impl From<InFlight> for u64 {
    fn from(InFlight(number): InFlight) -> Self {
        number.into()
    }
}

impl From<InFlight> for usize {
    fn from(InFlight(number): InFlight) -> Self {
        number.into()
    }
}

/// What its owner bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// How many deliveries may begin in a second; none: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<Rate>,
    /// How many may be under way at once; none: as many as the process that sends them can do with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<InFlight>,
}

impl Limits {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_tenths() {
        for (number, millis) in [(0.1, 10_000), (0.5, 2000), (1.0, 1000), (12.5, 80), (1000.0, 1)] {
            let rate = Rate::try_from(number).unwrap();
            assert_eq!(rate.interval().as_millis(), millis, "{number}");
            assert!((f64::from(rate) - number).abs() < 1e-9);
        }
        for number in [0.0, 0.05, 0.15, -1.0, 1000.1, f64::NAN, f64::INFINITY] {
            assert!(Rate::try_from(number).is_err(), "{number}");
        }
    }

    #[test]
    fn in_no_time_are_there_more_slots_than_the_rate_and_a_seconds_burst() {
        let rate = Rate::try_from(10.0).unwrap();
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let mut free_at = None;
        let mut at_once = |now: Timestamp| {
            let mut count = 0;
            while let Some(slot) = rate.reserve(free_at, now).filter(|slot| *slot <= now) {
                free_at = Some(slot + rate.interval());
                count += 1;
            }
            count
        };
        assert_eq!(at_once(at(0)), 10);
        assert_eq!(at_once(at(99)), 0);
        assert_eq!(at_once(at(100)), 1);
        assert_eq!(at_once(at(600)), 5);
        assert_eq!(at_once(at(3_600_000)), 10, "what was not used is not saved up");
    }
}
