//! Percentiles over plain samples; exact, no buckets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) n: usize,
    pub(crate) min_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Summarises samples given in nanoseconds (they may be negative).
pub(crate) fn summarize(mut samples: Vec<i64>) -> Option<Summary> {
    if samples.is_empty() {
        return None;
    }
    samples.sort_unstable();
    let at = |per_cent: usize| {
        let rank = (samples.len() * per_cent).div_ceil(100);
        ms(samples[rank.clamp(1, samples.len()) - 1])
    };
    Some(Summary {
        n: samples.len(),
        min_ms: at(0),
        p50_ms: at(50),
        p90_ms: at(90),
        p99_ms: at(99),
        max_ms: at(100),
    })
}

/// Minimum, median and maximum of a few repeated runs.
pub(crate) fn spread(mut values: Vec<f64>) -> Option<(f64, f64, f64)> {
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    Some((first, median, last))
}

/// A duration as the signed nanoseconds that all samples are kept in.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

pub(crate) fn ms(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_ranks() {
        let p = |samples: Vec<i64>| summarize(samples).map(|s| [s.min_ms, s.p50_ms, s.p99_ms, s.max_ms]);
        assert_eq!(p((1..=100).map(|x| x * 1_000_000).collect()), Some([1.0, 50.0, 99.0, 100.0]));
        assert_eq!(p(vec![-2_000_000]), Some([-2.0; 4]));
        assert_eq!(p(vec![]), None);
    }

    #[test]
    fn median_of_even_and_odd() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread(vec![4.0, 1.0]), Some((1.0, 2.5, 4.0)));
        assert_eq!(spread(vec![]), None);
    }
}
