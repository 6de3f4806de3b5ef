//! When the next attempt is due: a list of delays, jitter, and what the receiver asks for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn m(minutes: u64) -> Duration {
    s(minutes * 60)
}

const fn h(hours: u64) -> Duration {
    m(hours * 60)
}

/// The default schedule, and that of the Standard Webhooks specification: ten attempts over 75 h 35 min 5 s.
pub const STANDARD: &[Duration] = &[s(0), s(5), m(5), m(30), h(2), h(5), h(10), h(14), h(20), h(24)];

/// `ShipStream`'s 14 retries.
pub const SHIPSTREAM: &[Duration] =
    &[s(0), m(1), m(2), m(4), m(8), m(15), m(30), h(1), h(2), h(4), h(8), h(16), h(24), h(24), h(24)];

/// Every 5 minutes for 48 hours, as Centry documents: 576 attempts.
pub const CENTRY: &[Duration] = {
    const DELAYS: [Duration; 576] = {
        let mut delays = [m(5); 576];
        delays[0] = s(0);
        delays
    };
    &DELAYS
};

/// 19 retries within 48 hours, as Sapo promises without saying when.
pub const SAPO: &[Duration] = &[
    s(0),
    m(1),
    m(2),
    m(5),
    m(10),
    m(20),
    m(30),
    m(45),
    h(1),
    m(90),
    h(2),
    m(150),
    h(3),
    m(200),
    h(4),
    m(270),
    h(5),
    m(327),
    m(390),
    m(440),
];

/// The longest wait that a receiver may ask for.
pub const MAX_RETRY_AFTER: Duration = h(24);

/// How far a delay is spread, so that the retries of an outage do not come back as one wave.
const JITTER: f64 = 0.2;

/// A planned wait, spread over 80 % to 120 % of itself by `chance`, which is in 0..1; what the receiver asked for is never
/// shortened.
pub fn spread(planned: Duration, asked: Option<Duration>, chance: f64) -> Duration {
    let spread = planned.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance);
    spread.max(asked.unwrap_or_default().min(MAX_RETRY_AFTER))
}

/// Reads `Retry-After` in either form of RFC 9110, 10.2.3: seconds, or a date.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are simply a very long wait.
        return Some(s(value.parse().unwrap_or(u64::MAX)));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(date.duration_since(now).max(SignedDuration::ZERO).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_standard_schedule_lasts_as_documented() {
        assert_eq!((SAPO.len(), SAPO.iter().sum()), (20, h(48)));
        assert_eq!(STANDARD.iter().sum::<Duration>(), h(75) + m(35) + s(5));
    }

    #[test]
    fn waits_are_spread_by_a_fifth() {
        assert_eq!(spread(s(5), None, 0.0), s(4));
        assert_eq!(spread(s(5), None, 0.5), s(5));
        assert_eq!(spread(m(5), None, 1.0), m(6));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_up_to_a_day() {
        assert_eq!(spread(s(5), Some(m(2)), 0.5), m(2));
        assert_eq!(spread(m(30), Some(m(2)), 0.5), m(30));
        assert_eq!(spread(s(5), Some(h(1000)), 0.5), h(24));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "2015-10-21T07:28:00Z".parse().unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(s(120)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:30:00 GMT", now), Some(m(2)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:00:00 GMT", now), Some(s(0)));
        assert_eq!(retry_after("99999999999999999999999", now), Some(s(u64::MAX)));
        for bad in ["", "-1", "soon", "1.5"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_wait_or_none_and_no_wait_is_too_long(value in "\\PC*", chance in 0.0..1.0) {
            let now = Timestamp::from_second(1_445_412_480).unwrap();
            let asked = retry_after(&value, now);
            let wait = spread(h(24), asked, chance);
            prop_assert!(wait <= h(24).mul_f64(1.0 + JITTER) && wait >= h(24).mul_f64(1.0 - JITTER));
        }

        #[test]
        fn a_date_is_waited_for(
            seconds in 0_i64..250_000_000_000,
            now in -1_000_000_000_i64..2_000_000_000,
        ) {
            let (then, now) = (Timestamp::from_second(seconds).unwrap(), Timestamp::from_second(now).unwrap());
            let written = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then).unwrap();
            let expected = u64::try_from(then.as_second() - now.as_second()).unwrap_or_default();
            prop_assert_eq!(retry_after(&written, now), Some(s(expected)));
            prop_assert_eq!(retry_after(&seconds.to_string(), now), Some(s(seconds.unsigned_abs())));
        }

        #[test]
        fn a_number_is_a_wait(digits in "[0-9]{1,40}") {
            prop_assert!(retry_after(&digits, Timestamp::UNIX_EPOCH).is_some());
        }
    }
}
