//! Measures the latency of answers.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer ones are counted as this long.
pub const LATENCY_MAX: Duration = Duration::from_secs(3_600);
/// Significant decimal digits that are kept.
const DIGITS: u8 = 3;

/// Latencies of answers, in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// Latencies in microseconds; all 0 where nothing was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Percentiles {
    /// Half of the answers were at least this fast.
    pub p50_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1,000.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
    pub mean_us: f64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let longest = LATENCY_MAX.as_micros() as u64;
        let histogram = Histogram::new_with_bounds(1, longest, DIGITS);
        Latencies {
            histogram: histogram.expect("1 µs to 1 h with 3 digits are valid bounds"),
        }
    }
}

impl Latencies {
    /// Counts an answer that came at `answered_at` to a request that was meant to be sent at `intended_at`, both since
    /// the start of the load. Saturates at 0 and [`LATENCY_MAX`].
    pub fn record(&mut self, intended_at: Duration, answered_at: Duration) {
        let latency = answered_at.saturating_sub(intended_at);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros);
    }

    /// Adds what another thread or process counted.
    pub fn merge(&mut self, other: &Latencies) {
        let added = self.histogram.add(&other.histogram);
        added.expect("all have the same bounds");
    }

    /// Number of answers.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency that this share of the answers (0 to 1) didn't exceed.
    pub fn at(&self, share: f64) -> Duration {
        Duration::from_micros(self.histogram.value_at_quantile(share))
    }

    /// The usual ones.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50_us: self.histogram.value_at_quantile(0.5),
            p99_us: self.histogram.value_at_quantile(0.99),
            p999_us: self.histogram.value_at_quantile(0.999),
            max_us: self.histogram.max(),
            mean_us: self.histogram.mean(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn percentiles_are_those_of_the_answers() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|i| latencies.record(Duration::ZERO, ms(i)));
        let near = |us: u64, ms: u64| us.abs_diff(ms * 1_000) <= ms;
        let found = latencies.percentiles();
        assert!(
            near(found.p50_us, 500) && near(found.p99_us, 990) && near(found.p999_us, 999),
            "{found:?}"
        );
        assert!(near(found.max_us, 1_000) && latencies.count() == 1_000);
    }

    #[test]
    fn a_stall_counts_for_every_request_that_was_meant_to_be_sent_in_it() {
        let mut latencies = Latencies::default();
        (0..100).for_each(|i| latencies.record(ms(10 * i), ms(1_000)));
        assert!(latencies.at(0.5) >= ms(490), "not the time since each was really sent");
    }

    #[test]
    fn impossible_values_saturate() {
        let mut latencies = Latencies::default();
        latencies.record(ms(5), ms(1));
        latencies.record(Duration::ZERO, Duration::MAX);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.at(1.0) >= LATENCY_MAX && latencies.at(0.1) <= Duration::from_micros(1));
    }

    #[test]
    fn merging_adds() {
        let (mut a, mut b) = (Latencies::default(), Latencies::default());
        a.record(Duration::ZERO, ms(1));
        b.record(Duration::ZERO, ms(3));
        a.merge(&b);
        assert_eq!((a.count(), a.at(1.0).as_millis()), (2, 3));
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
    }
}
