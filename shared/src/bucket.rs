//! Leaky buckets: how many calls a key may make at once, and how quickly it may go on.

use jiff::{SignedDuration, Timestamp};

/// A bucket that each call fills by one, and that leaks steadily.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// How many calls it holds.
    pub capacity: u32,
    /// How many leak out in a second.
    pub leak: u32,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poured {
    /// It went in.
    In {
        /// How full the bucket is now, in calls.
        level: u32,
        /// When it will be empty, if nothing else comes: all that need be kept of it.
        empty_at: Timestamp,
    },
    /// It would have overflowed: nothing changed.
    Full {
        /// When there is room again.
        wait: SignedDuration,
    },
}

impl Bucket {
    /// Pours a call in. `empty_at` is what was kept of the bucket, if anything was.
    ///
    /// ```
    /// use postrider::bucket::{Bucket, Poured};
    /// let (bucket, now) = (Bucket { capacity: 40, leak: 2 }, jiff::Timestamp::UNIX_EPOCH);
    /// assert!(matches!(bucket.pour(None, now), Poured::In { level: 1, .. }));
    /// ```
    pub fn pour(self, empty_at: Option<Timestamp>, now: Timestamp) -> Poured {
        let one = SignedDuration::from_secs(1) / i32::try_from(self.leak.max(1)).unwrap_or(i32::MAX);
        let whole = one * i32::try_from(self.capacity).unwrap_or(i32::MAX);
        let after = empty_at.unwrap_or(now).max(now) + one;
        let filled = after.duration_since(now);
        if filled > whole {
            return Poured::Full { wait: filled - whole };
        }
        let calls = (filled.as_nanos() + one.as_nanos() - 1) / one.as_nanos().max(1);
        Poured::In { level: u32::try_from(calls).unwrap_or(u32::MAX), empty_at: after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_calls_go_in_at_once_and_then_two_a_second() {
        let bucket = Bucket { capacity: 40, leak: 2 };
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let mut kept = None;
        let mut pour = |now| match bucket.pour(kept, now) {
            Poured::In { level, empty_at } => {
                kept = Some(empty_at);
                Ok(level)
            }
            Poured::Full { wait } => Err(wait.as_millis()),
        };
        for n in 1..=40 {
            assert_eq!(pour(at(0)), Ok(n));
        }
        assert_eq!(pour(at(0)), Err(500));
        assert_eq!(pour(at(200)), Err(300));
        assert_eq!(pour(at(500)), Ok(40));
        assert_eq!(pour(at(500)), Err(500));
        assert_eq!(pour(at(10_500)), Ok(21));
        assert_eq!(pour(at(3_600_000)), Ok(1));
    }
}
