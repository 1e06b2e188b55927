//! Pauses between attempts: longer after each failure, and different for each caller.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Doublings after which every pause has reached its longest.
const DOUBLINGS_MAX: u32 = 30;

/// Counts failed attempts and says how long to pause after each.
///
/// The pause doubles with every failure, from `first` up to `longest`. Jitter takes away up to half of it, so that
/// callers that failed together do not try again together.
///
/// ```
/// # use std::time::Duration;
/// # use interlock_streams::backoff::Backoff;
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
/// assert!(backoff.failed() <= Duration::from_millis(100));
/// assert!(backoff.failed() <= Duration::from_millis(200));
/// backoff.succeeded();
/// assert!(backoff.failed() <= Duration::from_millis(100));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    seed: u64,
    failures: u32,
}

impl Backoff {
    /// Starts without a failure, with jitter of its own.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self::with_seed(first, longest, RandomState::new().hash_one(()))
    }

    /// Starts without a failure. The same seed gives the same pauses again, as a simulation needs.
    pub fn with_seed(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            first,
            longest,
            seed,
            failures: 0,
        }
    }

    /// Counts a failure and returns the pause before the next attempt.
    pub fn failed(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX));
        let pause = doubled.min(self.longest);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(1.0 - 0.5 * self.chance())
    }

    /// Forgets the failures: the next one is paused for the shortest time.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Returns how many attempts have failed since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns a number in [0, 1) that depends on the seed and the number of failures (SplitMix64).
    fn chance(&self) -> f64 {
        let mut z = self
            .seed
            .wrapping_add(u64::from(self.failures).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    fn pauses(seed: u64) -> Vec<Duration> {
        let mut backoff = Backoff::with_seed(FIRST, LONGEST, seed);
        (0..100).map(|_| backoff.failed()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        for seed in 0..100 {
            for (failures, pause) in pauses(seed).into_iter().enumerate() {
                let full = FIRST.saturating_mul(1 << failures.min(20)).min(LONGEST);
                assert!(full / 2 <= pause && pause <= full, "{seed}, {failures}: {pause:?}");
            }
        }
    }

    #[test]
    fn callers_that_failed_together_pause_apart() {
        let mut firsts: Vec<Duration> = (0..100).map(|seed| pauses(seed)[0]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 90, "{} different pauses of 100", firsts.len());
        assert_eq!(pauses(7), pauses(7));
        let unseeded = || Backoff::new(FIRST, LONGEST).failed();
        assert!((0..10).any(|_| unseeded() != unseeded()));
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::with_seed(FIRST, LONGEST, 1);
        let first = backoff.failed();
        backoff.failed();
        assert_eq!(backoff.failures(), 2);
        backoff.succeeded();
        assert_eq!((backoff.failures(), backoff.failed()), (0, first));
    }
}
